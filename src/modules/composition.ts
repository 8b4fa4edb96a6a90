// Presence composition: a person's devices and what the system knows of them (calendar, phone …) make one presence.
import type { Hub, Module, Session } from '../hub/module.ts';
import type { Store } from '../hub/store.ts';
import { type Element, el } from '../xmpp/element.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';

/**
 * The rule. What a person sets by hand on any device (a `<show/>` that the client does not mark as its own doing by
 * XEP-0256 or XEP-0319) wins until it is cleared: then every device shows what it says itself. Else each device shows
 * the strongest of what it says and what the sources say: dnd, xa, away, available, chat; of equals the latest source
 * that has a text counts, and a device's own text stays. A source that is unavailable, or gone, does not count; no
 * source makes somebody available who has no device that is.
 */
const strength: Readonly<Record<string, number>> = { dnd: 4, xa: 3, away: 2, '': 1, chat: 0 };
export const shows = ['available', 'chat', 'away', 'xa', 'dnd'] as const;

/** The children of a source's presence that are shown in place of the device's own. */
const activityNamespace = 'http://jabber.org/protocol/activity';
const idleNamespace = 'urn:xmpp:idle:1';
const mostSources = 20;

const overlaid = Symbol('presence as composed');
const handTime = Symbol('time of a presence set by hand');

interface Source {
  readonly presence: Stanza;
  readonly since: number;
  /** When it stops counting by itself; null: when it says so. */
  readonly until: number | null;
  /** Set through the admin socket, rather than by a part of the hub. */
  readonly third: boolean;
  readonly timer: NodeJS.Timeout | null;
}

export class Composition {
  readonly #hub: Hub;
  readonly #users = new Map<string, Map<string, Source>>();
  /** Sends a device's presence, as it is shown now, to all who are to see it. */
  broadcast: (session: Session, presence: Stanza) => void = () => {};

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** What others see of an available session. */
  shown(session: Session): Stanza {
    const own = session.presence!;
    const sources = this.#users.get(session.jid.bare.toString());
    if (!sources) return own;
    if (this.#setByHand(session.jid)) return own;
    const best = strongest(sources.values());
    return best && outweighs(best.presence, own) ? overlay(own, best.presence) : own;
  }

  /** Keeps in mind what a session has said, and gives what others are to see of it. */
  said(session: Session): Stanza {
    if (byHand(session.presence!)) session.notes.set(handTime, Date.now());
    const shown = this.shown(session);
    // Most users have no sources; their sessions need no notes.
    if (this.#users.has(session.jid.bare.toString())) note(session, shown);
    return shown;
  }

  /** Broadcasts what others see differently of a user's devices, `except` one that was just broadcast. */
  refresh(user: Jid, except?: Session): void {
    if (this.#users.has(user.bare.toString())) this.#show(user, except);
  }

  #show(user: Jid, except?: Session): void {
    for (const session of this.#hub.sessions.of(user)) {
      if (!session.presence || session === except) continue;
      const before = (session.notes.get(overlaid) as Stanza | undefined) ?? session.presence;
      const shown = this.shown(session);
      note(session, shown);
      if (before !== shown && before.toString() !== shown.toString()) this.broadcast(session, shown);
    }
  }

  /** Sets or, given null, clears what a source says of a user. Throws an Error where there are too many. */
  set(user: Jid, name: string, presence: Stanza | null, third = false, lifetime: number | null = null): void {
    const key = user.bare.toString();
    const sources = this.#users.get(key) ?? new Map<string, Source>();
    clearTimeout(sources.get(name)?.timer ?? undefined);
    if (presence === null || presence.type === 'unavailable') sources.delete(name);
    else {
      if (!sources.has(name) && sources.size >= mostSources)
        throw new Error(`${key} has ${mostSources} sources already`);
      const since = Date.now();
      const until = lifetime === null ? null : since + lifetime;
      const timer = lifetime === null ? null : setTimeout(() => this.set(user, name, null), lifetime).unref();
      sources.delete(name);
      sources.set(name, { presence, since, until, third, timer });
    }
    if (sources.size > 0) this.#users.set(key, sources);
    else this.#users.delete(key);
    this.#show(user);
  }

  /** Sets what a third party says; it counts for `lifetime` ms. Throws where the name is one of the hub's own sources. */
  setThird(user: Jid, name: string, presence: Stanza | null, lifetime: number): void {
    const known = this.#users.get(user.bare.toString())?.get(name);
    if (known && !known.third) throw new Error(`${name} is a source of the hub itself; choose another name`);
    this.set(user, name, presence, true, lifetime);
  }

  /** The sources of a user and the presence they make: plain data. */
  describe(user: Jid): Record<string, unknown> {
    const sessions = this.#hub.sessions.of(user).filter(session => session.presence !== null);
    const sources = [...(this.#users.get(user.bare.toString()) ?? [])];
    const hand = this.#setByHand(user);
    const best = strongest(sources.map(([, source]) => source));
    const top = [...sessions].sort((a, b) => b.priority - a.priority)[0];
    const chosen = hand ?? top;
    const result = chosen ? this.shown(chosen) : null;
    const by = !result
      ? 'no device is available'
      : hand
        ? `by hand on ${hand.jid.resource}`
        : result === chosen.presence
          ? `what ${chosen.jid.resource} says`
          : `what ${sources.find(([, source]) => source === best)?.[0]} knows`;
    return {
      user: user.bare.toString(),
      presence: result ? nameOf(result) : 'unavailable',
      status: result?.text('status') ?? '',
      because: by,
      sources: [
        ...sessions.map(session => ({
          source: `device ${session.jid.resource}`,
          presence: nameOf(session.presence!),
          status: session.presence!.text('status'),
          'by hand': byHand(session.presence!),
          until: '',
        })),
        ...sources.map(([name, { presence, until }]) => ({
          source: name,
          presence: nameOf(presence),
          status: presence.text('status'),
          'by hand': false,
          until: until === null ? '' : new Date(until).toISOString(),
        })),
      ],
    };
  }

  stop(): void {
    for (const sources of this.#users.values()) {
      for (const { timer } of sources.values()) clearTimeout(timer ?? undefined);
    }
    this.#users.clear();
  }

  /** The device of a user that says something by hand, the latest of them. */
  #setByHand(user: Jid): Session | null {
    let found: Session | null = null;
    for (const session of this.#hub.sessions.of(user)) {
      if (!session.presence || !byHand(session.presence)) continue;
      if (!found || timeOf(session) > timeOf(found)) found = session;
    }
    return found;
  }
}

function note(session: Session, shown: Stanza): void {
  if (shown === session.presence) session.notes.delete(overlaid);
  else session.notes.set(overlaid, shown);
}

function timeOf(session: Session): number {
  return (session.notes.get(handTime) as number | undefined) ?? 0;
}

/** Whether a person has set this, rather than their client for want of activity. */
function byHand(presence: Stanza): boolean {
  return presence.text('show') !== '' && !presence.has('idle', idleNamespace) && !presence.has('query', ns.last);
}

function strengthOf(presence: Stanza): number {
  return strength[presence.text('show')] ?? 1;
}

function strongest(sources: Iterable<Source>): Source | null {
  let best: Source | null = null;
  for (const source of sources) {
    const more = best ? strengthOf(source.presence) - strengthOf(best.presence) : 1;
    // They are kept in the order in which they were set.
    if (more > 0 || (more === 0 && source.presence.text('status') !== '')) best = source;
  }
  return best;
}

function outweighs(source: Stanza, own: Stanza): boolean {
  const more = strengthOf(source) - strengthOf(own);
  return more > 0 || (more === 0 && own.text('status') === '' && source.text('status') !== '');
}

/** A device's presence that shows what a source knows; everything else in it stays. */
function overlay(own: Stanza, source: Stanza): Stanza {
  const rest = own.without(
    (name, of) =>
      (of === ns.client && (name === 'show' || name === 'status')) ||
      (of === activityNamespace && name === 'activity') ||
      of === idleNamespace ||
      of === ns.last,
  );
  const shown = source.text('show');
  const status = source.text('status');
  const parts: (Element | null)[] = [
    shown ? el('show', ns.client, {}, shown) : null,
    status ? el('status', ns.client, {}, status) : null,
    source.child('activity', activityNamespace),
  ];
  return parts.reduce<Stanza>((stanza, part) => (part ? stanza.with(part) : stanza), rest);
}

function nameOf(presence: Stanza): string {
  return presence.text('show') || 'available';
}

const ofHub = new WeakMap<Store, Composition>();

export function compositionOf(hub: Hub): Composition {
  let composition = ofHub.get(hub.store);
  if (!composition) ofHub.set(hub.store, (composition = new Composition(hub)));
  return composition;
}

/** A presence that a third party says, from its words. Throws an Error for one that there is not. */
export function thirdPresence(user: Jid, show: string, status: string): Stanza {
  if (!shows.includes(show as (typeof shows)[number])) throw new Error(`${show} is not one of ${shows.join(', ')}`);
  return Stanza.of(
    'presence',
    { from: user.bare },
    show === 'available' ? null : el('show', ns.client, {}, show),
    status ? el('status', ns.client, {}, status.slice(0, 500)) : null,
  );
}

/** A user's address, from the words of a command. Throws an Error for what is none. */
export function userOf(text: string): Jid {
  const user = Jid.tryParse(text);
  if (!user?.local || user.resource) throw new Error(`${text} is not a user; user@domain is expected`);
  return user;
}

export const composition: Module = {
  name: 'composition',
  implements: ['XEP-0256', 'XEP-0319'],
  start(hub) {
    const composed = compositionOf(hub);
    hub.on('presence-source', (user, source, presence) => {
      try {
        composed.set(user, source, presence);
      } catch (error) {
        hub.log.warn({ user: user.toString(), source, reason: (error as Error).message }, 'presence source refused');
      }
    });
    hub.on('account-removed', user => {
      for (const { source } of composed.describe(user).sources as { source: string }[]) {
        if (!source.startsWith('device ')) composed.set(user, source, null);
      }
    });
    return () => composed.stop();
  },
};
