// Blocking: nothing from or to the addresses a user has blocked (XEP-0191).
import type { Hub, Module, Portable } from '../hub/module.ts';
import { hubOrigin } from '../hub/router.ts';
import type { Store } from '../hub/store.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { compositionOf } from './composition.ts';
import { endDirectedTo } from './presence.ts';
import { rostersOf } from './rosters.ts';
import { isSubscription } from './subscription.ts';

const mostBlocked = 1_000;
const mostCached = 30_000;
/** Sessions that asked for the list hear of its changes (XEP-0191 §3.2). */
const interested = Symbol('block list pushes');
let pushes = 0;

const schema = ['CREATE TABLE blocked (user TEXT, jid TEXT, PRIMARY KEY (user, jid)) WITHOUT ROWID'];

/** Who has blocked whom, cached: most users have blocked nobody, which is `null`. */
class BlockLists {
  readonly #store: Store;
  readonly #cache = new Map<string, ReadonlySet<string> | null>();

  constructor(store: Store) {
    this.#store = store;
    store.migrate('blocking', schema);
  }

  of(user: Jid): ReadonlySet<string> | null {
    const key = user.bare.toString();
    const known = this.#cache.get(key);
    if (known !== undefined) return known;
    const rows = this.#store.prepare('SELECT jid FROM blocked WHERE user = ?').all(key);
    const list = rows.length === 0 ? null : new Set(rows.map(row => String(row.jid)));
    if (this.#cache.size >= mostCached) this.#cache.clear();
    this.#cache.set(key, list);
    return list;
  }

  /** XEP-0191 §6: full JID, bare JID, domain with resource, domain. */
  blocks(user: Jid, other: Jid): boolean {
    const list = this.of(user);
    if (list === null) return false;
    return list.has(other.toString()) || list.has(other.bare.toString()) || list.has(other.domain);
  }

  /** Throws a StanzaError where there is no room for so many more. */
  admit(user: Jid, count: number): void {
    if ((this.of(user)?.size ?? 0) + count > mostBlocked) {
      throw new StanzaError('resource-constraint', `at most ${mostBlocked} can be blocked`);
    }
  }

  add(user: Jid, jids: readonly Jid[]): void {
    const insert = this.#store.prepare('INSERT OR IGNORE INTO blocked (user, jid) VALUES (?, ?)');
    this.#store.atomic(() => {
      for (const jid of jids) insert.run(user.bare.toString(), jid.toString());
    });
    this.#cache.delete(user.bare.toString());
  }

  /** Unblocks these, or all where there are none. */
  remove(user: Jid, jids: readonly Jid[]): void {
    const key = user.bare.toString();
    if (jids.length === 0) this.#store.prepare('DELETE FROM blocked WHERE user = ?').run(key);
    const one = this.#store.prepare('DELETE FROM blocked WHERE user = ? AND jid = ?');
    for (const jid of jids) one.run(key, jid.toString());
    this.#cache.delete(key);
  }

  /** What is kept of a user's list is read anew. */
  reread(user: Jid): void {
    this.#cache.delete(user.bare.toString());
  }
}

const ofStore = new WeakMap<Store, BlockLists>();

function blockListsOf(store: Store): BlockLists {
  let lists = ofStore.get(store);
  if (!lists) ofStore.set(store, (lists = new BlockLists(store)));
  return lists;
}

/**
 * The list as what XEP-0227 §4.8 has for it: a privacy list. Of privacy lists, what blocks whole addresses is taken.
 */
const portableBlocks: Portable = {
  export(store, user) {
    const blocked = [...(blockListsOf(store).of(user) ?? [])].sort();
    if (blocked.length === 0) return [];
    const rules = blocked.map((value, index) =>
      el('item', ns.privacy, { type: 'jid', value, action: 'deny', order: String(index + 1) }),
    );
    const name = 'blocked';
    const lists = [el('default', ns.privacy, { name }), el('list', ns.privacy, { name }, ...rules)];
    return [el('query', ns.privacy, {}, ...lists)];
  },
  import(store, user, element, note) {
    if (!element.is('query', ns.privacy)) return false;
    const named = denied(element, note);
    const jids = named.flatMap(jid => Jid.tryParse(jid ?? '') ?? []);
    if (jids.length < named.length) note('a blocked address that is none was left out');
    const lists = blockListsOf(store);
    const before = lists.of(user);
    const fresh = jids.filter(jid => !before?.has(jid.toString()));
    lists.admit(user, fresh.length);
    lists.add(user, fresh);
    return true;
  },
  reread: (store, user) => blockListsOf(store).reread(user),
};

/** Whom the default privacy list denies everything, no exception standing in front (XEP-0016 §2.1). */
function denied(query: Element, note: (text: string) => void): (string | undefined)[] {
  const name = query.child('default')?.attrs.name;
  const lists = query.all('list');
  const rules = lists.find(list => list.attrs.name === name)?.all('item') ?? [];
  const inOrder = rules.toSorted((a, b) => Number(a.attrs.order) - Number(b.attrs.order));
  const exception = inOrder.findIndex(({ attrs }) => attrs.action !== 'deny');
  const first = exception < 0 ? inOrder : inOrder.slice(0, exception);
  const blocks = first.filter(rule => rule.attrs.type === 'jid' && rule.all().length === 0);
  const rest = inOrder.filter(rule => !blocks.includes(rule));
  // What is allowed in the end is what happens anyway.
  const told = rest.some(({ attrs }) => attrs.action !== 'allow' || attrs.type !== undefined);
  if (told || lists.length > (rules.length > 0 ? 1 : 0)) note('of the privacy lists, only blocked addresses are kept');
  return blocks.map(({ attrs }) => attrs.value);
}

export const blocking: Module = {
  name: 'blocking',
  implements: ['XEP-0191', 'XEP-0377'],
  portable: portableBlocks,
  start(hub) {
    const lists = blockListsOf(hub.store);
    hub.feature('domain', ns.blocking, ns.reporting);
    hub.iq(ns.blocking, 'blocklist', 'own-account', ({ from, stanza, session }) => {
      if (stanza.type !== 'get') throw new StanzaError('bad-request');
      session?.notes.set(interested, true);
      return el('blocklist', ns.blocking, {}, ...[...(lists.of(from) ?? [])].map(item));
    });
    for (const verb of ['block', 'unblock'] as const) {
      hub.iq(ns.blocking, verb, 'own-account', async ({ from, query, stanza }) => {
        if (stanza.type !== 'set') throw new StanzaError('bad-request');
        const jids = addresses(query);
        if (verb === 'block' && jids.length === 0) throw new StanzaError('bad-request', 'name whom to block');
        const before = lists.of(from) ?? new Set<string>();
        if (verb === 'block') {
          const fresh = jids.filter(jid => !before.has(jid.toString()));
          lists.admit(from, fresh.length);
          // Once they are blocked, nothing reaches them any more.
          hide(hub, from, fresh);
          lists.add(from, fresh);
          tellReports(hub, from, query);
        } else {
          lists.remove(from, jids);
          const freed = jids.length > 0 ? jids : [...before].map(jid => Jid.parse(jid));
          show(
            hub,
            from,
            freed.filter(jid => before.has(jid.toString())),
          );
        }
        await hub.store.durable();
        push(hub, from, el(verb, ns.blocking, {}, ...jids.map(jid => item(jid.toString()))));
        return null;
      });
    }
    // Subscriptions change the roster before they are routed, so they are refused here.
    hub.on('session-sent', ({ jid }, { name, type, to }) => {
      if (name === 'presence' && isSubscription(type) && to && lists.blocks(jid, to)) throw isBlocked();
      return false;
    });
    hub.filter((stanza, origin) => {
      const { from, to } = stanza;
      if (from === null || to === null || from.bare.equals(to.bare)) return stanza;
      // Users who block their own domain still need its server.
      if (from.domain === to.domain && (from.isDomain || to.isDomain)) return stanza;
      if (from.local !== '' && hub.hosts(from.domain) && lists.blocks(from, to)) {
        return origin.kind === 'session' ? refuseOutbound(hub, stanza) : null;
      }
      return to.local !== '' && hub.hosts(to.domain) && lists.blocks(to, from) ? refuseInbound(stanza) : stanza;
    });
    hub.on('account-removed', user => lists.remove(user, []));
  },
};

/** The reports that a request carries (XEP-0377 §5). */
function tellReports(hub: Hub, user: Jid, query: Element): void {
  for (const blocked of query.all('item')) {
    const reason = blocked.child('report', ns.reporting)?.attrs.reason;
    const jid = Jid.tryParse(blocked.attrs.jid ?? '');
    if (reason && jid) hub.emit('reported', user, jid, reason);
  }
}

/** XEP-0191 §3.3: presence is dropped, what would be answered is answered as if the user were not there. */
function refuseInbound(stanza: Stanza): null {
  if (stanza.name === 'presence' || stanza.isError || stanza.type === 'result') return null;
  if (stanza.name === 'message' && (stanza.type === 'headline' || stanza.type === 'groupchat')) return null;
  throw new StanzaError('service-unavailable');
}

/** XEP-0191 §3.3: what a user sends to a blocked address. */
function refuseOutbound(hub: Hub, stanza: Stanza): null {
  if (stanza.isError || stanza.type === 'result') return null;
  hub.sessions.get(stanza.from!)?.send(stanza.refuse(isBlocked()));
  return null;
}

function isBlocked(): StanzaError {
  const condition = el('blocked', ns.blockingErrors);
  return new StanzaError('not-acceptable', 'you have blocked this address', 'cancel', condition);
}

function addresses(query: Element): Jid[] {
  return query.all('item').map(({ attrs }) => {
    const jid = Jid.tryParse(attrs.jid ?? '');
    if (!jid) throw new StanzaError('jid-malformed');
    return jid;
  });
}

function item(jid: string): Element {
  return el('item', ns.blocking, { jid });
}

/** Those who are blocked see all that is available of the user go (XEP-0191 §3.3). */
function hide(hub: Hub, user: Jid, jids: readonly Jid[]): void {
  for (const session of hub.sessions.of(user)) {
    const gone = Stanza.of('presence', { from: session.jid, type: 'unavailable' });
    for (const jid of jids) {
      endDirectedTo(hub, session, to => covers(jid, to), gone);
      if (!session.presence) continue;
      for (const to of watchers(hub, user, jid)) void hub.router.route(gone.withTo(to), hubOrigin);
    }
  }
}

/** Those who are not blocked any more see the user again, and the user sees them (XEP-0191 §3.4). */
function show(hub: Hub, user: Jid, jids: readonly Jid[]): void {
  const { items } = rostersOf(hub).of(user);
  for (const session of hub.sessions.of(user)) {
    if (!session.presence) continue;
    const shown = compositionOf(hub).shown(session);
    for (const jid of jids) {
      for (const to of watchers(hub, user, jid)) void hub.router.route(shown.withTo(to), hubOrigin);
      for (const { to, contact } of items.values()) {
        if (!to || !covers(jid.bare, contact)) continue;
        void hub.router.route(Stanza.of('presence', { from: session.jid, to: contact, type: 'probe' }), hubOrigin);
      }
    }
  }
}

/** The addresses of those who see the user's presence, as far as an entry of the list covers them. */
function watchers(hub: Hub, user: Jid, jid: Jid): Jid[] {
  const covered = [...rostersOf(hub).of(user).items.values()].filter(
    ({ from, contact }) => from && covers(jid.bare, contact),
  );
  return covered.map(({ contact }) => (jid.isBare ? contact : jid));
}

/** Whether an entry of the list means this address (XEP-0191 §6). */
function covers(entry: Jid, jid: Jid): boolean {
  if (entry.isDomain) return jid.domain === entry.domain;
  return entry.equals(entry.isBare ? jid.bare : jid);
}

function push(hub: Hub, user: Jid, change: Element): void {
  const id = `block-${++pushes}`;
  for (const session of hub.sessions.of(user)) {
    if (!session.notes.has(interested)) continue;
    session.send(Stanza.of('iq', { from: user.bare, to: session.jid, type: 'set', id }, change));
  }
}
