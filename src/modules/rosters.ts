// Rosters as they are kept: items with their subscription state, versions, and a cache for the users who are about (RFC 6121 §2).
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
  /** The version of the roster that last changed it. */
  version: number;
}

export interface Roster {
  readonly user: Jid;
  readonly items: Map<string, RosterItem>;
  version: number;
}

const mostCached = 30_000;
/** Items in one roster; a user who wants more gets an error, a stranger who asks is not kept. */
export const mostItems = 5_000;

/** The schema; a removed item stays as a row that is neither listed nor anything else, for its version. */
const schema = [
  `CREATE TABLE roster_items (
     user TEXT NOT NULL, contact TEXT NOT NULL, name TEXT NOT NULL, groups TEXT NOT NULL, subscription INTEGER NOT NULL,
     ask INTEGER NOT NULL, approved INTEGER NOT NULL, pending TEXT, listed INTEGER NOT NULL, version INTEGER NOT NULL,
     PRIMARY KEY (user, contact)) WITHOUT ROWID`,
];

export class Rosters {
  readonly #store: Store;
  readonly #cache = new Map<string, Roster>();

  constructor(store: Store) {
    this.#store = store;
    store.migrate('rosters', schema);
  }

  of(user: Jid): Roster {
    const key = user.bare.toString();
    const known = this.#cache.get(key);
    if (known) return known;
    const roster: Roster = { user: user.bare, items: new Map(), version: 0 };
    for (const row of this.#store.prepare('SELECT * FROM roster_items WHERE user = ?').iterate(key)) {
      const item = itemOf(row);
      roster.items.set(item.contact.toString(), item);
      roster.version = Math.max(roster.version, item.version);
    }
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
    return (
      this.item(user, contact) ?? {
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
      }
    );
  }

  /** Writes an item and gives the roster a new version. False where the roster is full. */
  save(user: Jid, item: RosterItem): boolean {
    const roster = this.of(user);
    const key = item.contact.toString();
    if (!roster.items.has(key) && roster.items.size >= mostItems) return false;
    item.version = ++roster.version;
    roster.items.set(key, item);
    this.#store
      .prepare('INSERT OR REPLACE INTO roster_items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        roster.user.toString(),
        key,
        item.name,
        JSON.stringify(item.groups),
        (item.to ? 1 : 0) | (item.from ? 2 : 0),
        item.ask ? 1 : 0,
        item.approved ? 1 : 0,
        item.pending,
        item.listed ? 1 : 0,
        item.version,
      );
    return true;
  }

  /** Forgets a user whose account is gone. */
  forget(user: Jid): void {
    this.#cache.delete(user.bare.toString());
    this.#store.prepare('DELETE FROM roster_items WHERE user = ?').run(user.bare.toString());
  }
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
  };
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
