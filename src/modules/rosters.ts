// Rosters as they are kept: items with their subscription state, versions, and a cache for the users who are about (RFC 6121 §2).
import { createHash } from 'node:crypto';
import type { Hub } from '../hub/module.ts';
import type { Row, Store } from '../hub/store.ts';
import { type Element, el } from '../xmpp/element.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';

/** A contact of a user. It can be kept without being in the roster: somebody who asked and got no answer yet. */
export interface RosterItem {
  readonly contact: Jid;
  name: string;
  groups: string[];
  /** We receive the contact's presence. */
  to: boolean;
  /** The contact receives ours. */
  from: boolean;
  /** We asked for `to` and were not answered. */
  ask: boolean;
  /** The contact was approved before it asked (RFC 6121 §3.4). */
  approved: boolean;
  /** The contact asked for `from` and was not answered: its request, as XML. */
  pending: string | null;
  /** Whether it is in the roster that clients see. */
  listed: boolean;
  /** The version of the roster that last changed what clients see of it; 0: they never saw it. */
  version: number;
  /** Set where the directory's groups join the two: then both see each other, whatever was agreed. */
  shared: Shared | null;
}

/** A contact that groups give a user. */
export interface SharedContact {
  readonly name: string;
  readonly groups: readonly string[];
}

interface Shared extends SharedContact {
  /** What the item is but for the groups; that is what is kept. */
  readonly own: Pick<RosterItem, 'name' | 'groups' | 'to' | 'from' | 'ask' | 'listed'>;
}

export interface Roster {
  readonly user: Jid;
  readonly items: Map<string, RosterItem>;
  version: number;
  /** Changes up to this version are told as the whole roster: the removed items before it are not known any more. */
  floor: number;
  /** What groups give: for each contact its name and groups, as JSON. */
  shared: Map<string, string>;
}

/**
 * The version of a roster as clients keep it (RFC 6121 §2.6). What groups give changes without the roster's own
 * version, so it has a part in it.
 */
export function versionOf({ version, shared }: Roster): string {
  if (shared.size === 0) return String(version);
  let digest = digests.get(shared);
  if (!digest) {
    const sorted = [...shared].sort(([a], [b]) => (a < b ? -1 : 1));
    digest = createHash('sha1').update(JSON.stringify(sorted)).digest('base64url');
    digests.set(shared, digest);
  }
  return `${version}.${digest}`;
}

const digests = new WeakMap<Roster['shared'], string>();

const mostCached = 30_000;
/** Items in one roster, for each user: a user who wants more gets an error. */
export const mostItems = 5_000;
/** Requests of people who are not in the roster; the request of one more is not kept. */
export const mostRequests = 500;

/** The schema; a removed item stays as a row that is neither listed nor anything else, for its version. */
const schema = [
  `CREATE TABLE roster_items (
     user TEXT NOT NULL, contact TEXT NOT NULL, name TEXT NOT NULL, groups TEXT NOT NULL, subscription INTEGER NOT NULL,
     ask INTEGER NOT NULL, approved INTEGER NOT NULL, pending TEXT, listed INTEGER NOT NULL, version INTEGER NOT NULL,
     PRIMARY KEY (user, contact)) WITHOUT ROWID`,
  'CREATE TABLE roster_floors (user TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID',
];

export class Rosters {
  readonly #store: Store;
  readonly #cache = new Map<string, Roster>();
  /** The contacts that groups give a user, by bare JID. */
  sharedWith: (user: Jid) => ReadonlyMap<string, SharedContact> = () => new Map();

  constructor(store: Store) {
    this.#store = store;
    store.migrate('rosters', schema);
  }

  of(user: Jid): Roster {
    const key = user.bare.toString();
    const known = this.#cache.get(key);
    if (known) return known;
    const floor = Number(
      this.#store.prepare('SELECT version FROM roster_floors WHERE user = ?').get(key)?.version ?? 0,
    );
    const roster: Roster = { user: user.bare, items: new Map(), version: floor, floor, shared: new Map() };
    for (const row of this.#store.prepare('SELECT * FROM roster_items WHERE user = ?').iterate(key)) {
      const item = itemOf(row);
      roster.items.set(item.contact.toString(), item);
      roster.version = Math.max(roster.version, item.version);
    }
    this.#share(roster);
    if (this.#cache.size >= mostCached) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.set(key, roster);
    return roster;
  }

  /** The item of a contact, if there is one. */
  item(user: Jid, contact: Jid): RosterItem | undefined {
    return this.of(user).items.get(contact.bare.toString());
  }

  /** The item of a contact, made (but not kept before `save`) where there is none. */
  itemOrNew(user: Jid, contact: Jid): RosterItem {
    return this.#itemIn(this.of(user), contact);
  }

  #itemIn(roster: Roster, contact: Jid): RosterItem {
    return (
      roster.items.get(contact.bare.toString()) ?? {
        contact: contact.bare,
        name: '',
        groups: [],
        to: false,
        from: false,
        ask: false,
        approved: false,
        pending: null,
        listed: false,
        version: 0,
        shared: null,
      }
    );
  }

  /** Takes over what groups give a user now. Gives the contacts that came and those that went. */
  refresh(user: Jid): { came: Jid[]; went: Jid[] } {
    const roster = this.#cache.get(user.bare.toString());
    return roster ? this.#share(roster) : { came: [], went: [] };
  }

  /** Lets go of a user's roster; it is read anew when somebody asks for it. */
  release(user: Jid): void {
    this.#cache.delete(user.bare.toString());
  }

  #share(roster: Roster): { came: Jid[]; went: Jid[] } {
    const given = this.sharedWith(roster.user);
    const before = roster.shared;
    const came: Jid[] = [];
    const went: Jid[] = [];
    for (const item of [...roster.items.values()]) {
      if (!item.shared) continue;
      Object.assign(item, item.shared.own, { shared: null });
      if (given.has(item.contact.toString())) continue;
      this.save(roster.user, item);
      went.push(item.contact);
    }
    roster.shared = new Map();
    for (const [key, contact] of given) {
      const item = this.#itemIn(roster, Jid.parse(key));
      overlay(item, contact);
      roster.items.set(key, item);
      const text = JSON.stringify([contact.name, contact.groups]);
      roster.shared.set(key, text);
      if (before.get(key) !== text) came.push(item.contact);
    }
    return { came, went };
  }

  /** Whether there is room for the contact as an item, or for its request. */
  hasRoom(user: Jid, contact: Jid, as: 'item' | 'request'): boolean {
    const roster = this.of(user);
    const known = roster.items.get(contact.bare.toString());
    if (known?.listed || (known && as === 'request')) return true;
    const items = [...roster.items.values()];
    if (as === 'request') return items.filter(isRequest).length < mostRequests;
    if (items.length < mostItems) return true;
    if (items.filter(({ listed }) => listed).length >= mostItems) return false;
    this.#forgetRemoved(roster);
    return true;
  }

  /** Clients that know an older version get the whole roster from now on. */
  #forgetRemoved(roster: Roster): void {
    const user = roster.user.toString();
    roster.floor = roster.version;
    this.#store.prepare('INSERT OR REPLACE INTO roster_floors VALUES (?, ?)').run(user, roster.floor);
    for (const item of roster.items.values()) if (isGone(item)) this.#drop(roster, item);
  }

  #drop(roster: Roster, { contact }: RosterItem): void {
    roster.items.delete(contact.toString());
    this.#store
      .prepare('DELETE FROM roster_items WHERE user = ? AND contact = ?')
      .run(roster.user.toString(), contact.toString());
  }

  /**
   * Writes an item and, where clients see the change, gives the roster a new version. Ask `hasRoom` before. Gives what is
   * to be pushed: this change, whatever follows before that.
   */
  save(user: Jid, item: RosterItem, visible = true): Element | undefined {
    const roster = this.of(user);
    const key = item.contact.toString();
    if (visible) item.version = ++roster.version;
    else if (item.version === 0 && isGone(item)) {
      this.#drop(roster, item);
      return;
    }
    roster.items.set(key, item);
    const { shared } = item;
    const kept = shared ? ownPart(item, shared) : item;
    this.#store
      .prepare('INSERT OR REPLACE INTO roster_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        roster.user.toString(),
        key,
        kept.name,
        JSON.stringify(kept.groups),
        (kept.to ? 1 : 0) | (kept.from ? 2 : 0),
        kept.ask ? 1 : 0,
        item.approved ? 1 : 0,
        item.pending,
        kept.listed ? 1 : 0,
        item.version,
      );
    if (shared) overlay(Object.assign(item, kept), shared);
    return visible ? changeElement(roster, item) : undefined;
  }

  /** Forgets a user whose account is gone. */
  forget(user: Jid): void {
    this.#cache.delete(user.bare.toString());
    for (const table of ['roster_items', 'roster_floors']) {
      this.#store.prepare(`DELETE FROM ${table} WHERE user = ?`).run(user.bare.toString());
    }
  }
}

/** Somebody who asked, and is not in the roster. */
function isRequest({ listed, pending }: RosterItem): boolean {
  return !listed && pending !== null;
}

/** What is left of a contact that was removed: nothing but the version of that. */
function isGone({ listed, pending, approved }: RosterItem): boolean {
  return !listed && pending === null && !approved;
}

const ofStore = new WeakMap<Store, Rosters>();

/** The rosters of a hub; all modules share them. */
export function rostersOf({ store }: Pick<Hub, 'store'>): Rosters {
  let rosters = ofStore.get(store);
  if (!rosters) ofStore.set(store, (rosters = new Rosters(store)));
  return rosters;
}

function itemOf(row: Row): RosterItem {
  const subscription = Number(row.subscription);
  return {
    contact: Jid.parse(String(row.contact)),
    name: String(row.name),
    groups: JSON.parse(String(row.groups)) as string[],
    to: (subscription & 1) !== 0,
    from: (subscription & 2) !== 0,
    ask: row.ask === 1,
    approved: row.approved === 1,
    pending: row.pending === null ? null : String(row.pending),
    listed: row.listed === 1,
    version: Number(row.version),
    shared: null,
  };
}

/** Puts what groups give over an item. */
function overlay(item: RosterItem, { name, groups }: SharedContact): void {
  const { name: ownName, groups: ownGroups, to, from, ask, listed } = item;
  item.shared = { name, groups, own: { name: ownName, groups: ownGroups, to, from, ask, listed } };
  item.name = ownName || name;
  item.groups = [...new Set([...groups, ...ownGroups])];
  item.to = item.from = item.listed = true;
  item.ask = false;
}

/** What of an item is the user's own: its name and groups may be changed, the groups' part may not. */
function ownPart(item: RosterItem, { name, groups, own }: Shared): Shared['own'] {
  return {
    ...own,
    name: item.name === name ? own.name : item.name,
    groups: item.groups.filter(group => !groups.includes(group)),
  };
}

/** A change of a roster, as it is pushed (RFC 6121 §2.1.6, §2.6.3). */
export function changeElement(roster: Roster, item: RosterItem): Element {
  const ver = roster.shared.size === 0 ? String(item.version) : versionOf(roster);
  return el('query', ns.roster, { ver }, itemElement(item));
}

/** An item as clients see it (RFC 6121 §2.1.2). */
export function itemElement(item: RosterItem): Element {
  const subscription = !item.listed ? 'remove' : item.to ? (item.from ? 'both' : 'to') : item.from ? 'from' : 'none';
  return el(
    'item',
    ns.roster,
    {
      jid: item.contact.toString(),
      name: item.name || undefined,
      subscription,
      ask: item.ask && item.listed ? 'subscribe' : undefined,
      approved: item.approved && item.listed ? 'true' : undefined,
    },
    ...item.groups.map(group => el('group', ns.roster, {}, group)),
  );
}
