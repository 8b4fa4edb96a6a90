// Who wants to hear of which nodes: what clients say by `+notify` in their capabilities (XEP-0060 §9.2, XEP-0163 §4.3).
import type { Hub, Session } from '../../hub/module.ts';
import type { Origin } from '../../hub/router.ts';
import { Jid } from '../../xmpp/jid.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import { type CapsTag, capabilitiesOf, type Features, tagOf } from '../caps.ts';
import { rostersOf } from '../rosters.ts';

/** The names of the nodes that somebody wants to hear of. */
export type Wanted = ReadonlySet<string>;

interface Known {
  tag: CapsTag;
  wanted: Wanted;
}

/** Somebody whose presence reaches an account from outside, or without a subscription. */
interface Watcher extends Known {
  readonly jid: Jid;
}

const nothing: Wanted = new Set();
const noWatchers: ReadonlyMap<string, Watcher> = new Map();
const known = Symbol('wanted nodes');
/** The most resources that are remembered for sharing their presence with one account, and with all. */
const most = { ofOne: 2_000, inAll: 200_000 };
/** What of that strangers can take, so that there is room for contacts. */
const shareOfStrangers = 0.5;

export interface InterestEvents {
  /** Whether an account has any nodes: strangers are remembered for nobody else. */
  hasNodes(owner: Jid): boolean;
  /** A local session wants to hear of nodes that it did not want to hear of before. */
  sessionWants(session: Session, fresh: Wanted): void;
  /** As much for somebody else who shares presence with an account. */
  watcherWants(owner: Jid, watcher: Jid, fresh: Wanted): void;
}

export class Interests {
  readonly #hub: Hub;
  readonly #events: InterestEvents;
  readonly #wantedOf = new WeakMap<Features, Wanted>();
  readonly #watchers = new Map<string, Map<string, Watcher>>();
  readonly #most: typeof most;
  #count = 0;

  constructor(hub: Hub, events: InterestEvents, limits = most) {
    this.#hub = hub;
    this.#events = events;
    this.#most = limits;
  }

  /** Follows presence from now on, for the module that is starting. */
  start(): void {
    const hub = this.#hub;
    hub.on('session-available', (session, presence) => this.#sessionShows(session, presence));
    hub.on('session-unavailable', session => void session.notes.delete(known));
    hub.on('session-sent', (session, stanza) => {
      if (session.presence !== null && stanza.name === 'presence' && stanza.to === null && stanza.type === '') {
        this.#sessionShows(session, stanza);
      }
      return false;
    });
    hub.on('presence-received', (stanza, origin) => {
      this.#received(stanza, origin);
      return false;
    });
    hub.on('account-removed', user => {
      const of = this.#watchers.get(user.bare.toString());
      this.#count -= of?.size ?? 0;
      this.#watchers.delete(user.bare.toString());
    });
  }

  /** What a local session wants to hear of. */
  ofSession(session: Session): Wanted {
    return (session.notes.get(known) as Known | undefined)?.wanted ?? nothing;
  }

  /** Those who share their presence with an account and are no local subscribers, by their full JIDs. */
  watchers(owner: Jid): ReadonlyMap<string, Watcher> {
    return this.#watchers.get(owner.toString()) ?? noWatchers;
  }

  /** Forgets somebody who turned out to be gone. */
  forget(owner: Jid, watcher: Jid): void {
    const key = owner.bare.toString();
    const of = this.#watchers.get(key);
    if (!of?.delete(watcher.toString())) return;
    this.#count--;
    if (of.size === 0) this.#watchers.delete(key);
  }

  #sessionShows(session: Session, presence: Stanza): void {
    const tag = tagOf(presence);
    const before = session.notes.get(known) as Known | undefined;
    // A presence without capabilities leaves them as they were (XEP-0115 §8.4).
    if (!tag || (before && same(before.tag, tag))) return;
    const now: Known = { tag, wanted: before?.wanted ?? nothing };
    session.notes.set(known, now);
    this.#learn(now, session.jid, Jid.of('', session.jid.domain, ''), fresh => {
      if (session.notes.get(known) === now) this.#events.sessionWants(session, fresh);
    });
  }

  #received(stanza: Stanza, origin: Origin): void {
    const { type, from, to } = stanza;
    if (!from || !to || from.resource === '' || to.local === '') return;
    if (type === 'unavailable' || type === 'error') {
      if (this.#count > 0) this.forget(to.bare, from);
      return;
    }
    // What the hub itself sends on is the broadcast of a local session.
    if (type !== '' || origin.kind === 'hub') return;
    const tag = tagOf(stanza);
    if (!tag) return;
    const owner = to.bare;
    const subscribed = rostersOf(this.#hub).item(owner, from)?.from === true;
    if (subscribed ? origin.kind === 'session' : !this.#events.hasNodes(owner)) return;
    this.#watcherShows(owner, from, tag, subscribed ? 1 : shareOfStrangers);
  }

  #watcherShows(owner: Jid, jid: Jid, tag: CapsTag, share: number): void {
    const key = owner.toString();
    const of = this.#watchers.get(key) ?? new Map<string, Watcher>();
    const before = of.get(jid.toString());
    if (before && same(before.tag, tag)) return;
    const { ofOne, inAll } = this.#most;
    if (!before && (of.size >= ofOne * share || this.#count >= inAll * share)) return;
    const now: Watcher = { jid, tag, wanted: before?.wanted ?? nothing };
    if (!before) this.#count++;
    of.set(jid.toString(), now);
    this.#watchers.set(key, of);
    this.#learn(now, jid, owner, fresh => {
      if (this.#watchers.get(key)?.get(jid.toString()) === now) this.#events.watcherWants(owner, jid, fresh);
    });
  }

  /** Finds out what a tag says, at once where that is known; `then` gets what is new. */
  #learn(entry: Known, entity: Jid, from: Jid, then: (fresh: Wanted) => void): void {
    const take = (features: Features) => {
      const before = entry.wanted;
      entry.wanted = this.#wanted(features);
      const fresh = before.size === 0 ? entry.wanted : new Set([...entry.wanted].filter(node => !before.has(node)));
      if (fresh.size > 0) then(fresh);
    };
    const capabilities = capabilitiesOf(this.#hub);
    const features = capabilities.known(entry.tag);
    if (features) take(features);
    else void capabilities.of(entry.tag, entity, from).then(take);
  }

  /** The same set for the same kind of client. */
  #wanted(features: Features): Wanted {
    let wanted = this.#wantedOf.get(features);
    if (wanted) return wanted;
    const suffix = '+notify';
    wanted = new Set([...features].filter(one => one.endsWith(suffix)).map(one => one.slice(0, -suffix.length)));
    this.#wantedOf.set(features, wanted);
    return wanted;
  }
}

function same(a: CapsTag, b: CapsTag): boolean {
  return a.ver === b.ver && a.hash === b.hash && (a.hash !== '' || a.node === b.node);
}
