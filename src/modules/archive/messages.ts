// The archives of all users as they are kept: one table in the order of arrival, and an index that is written in bulk (XEP-0313 §3).
import { createHash, createHmac, randomBytes } from 'node:crypto';
import type { Row, SqlValue, Store } from '../../hub/store.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { StableIds } from './stable-ids.ts';

/**
 * A place is the milliseconds since 1970, times this, plus a number: it grows with every message, so it is the order
 * of an archive and the time in one. It stays below 2⁵³ for some centuries.
 */
const placesPerMs = 1024;

/**
 * What one user here sends to another stands once and belongs to both. The index is a table of its own, which is
 * filled in bulk: page by page it would cost more than the messages.
 */
const schema = [
  `CREATE TABLE archive_state (secret BLOB NOT NULL, indexed INTEGER NOT NULL);
   CREATE TABLE archive_users (id INTEGER PRIMARY KEY, user TEXT NOT NULL UNIQUE);
   CREATE TABLE archive (
     place INTEGER PRIMARY KEY, user INTEGER, contact INTEGER, resource TEXT,
     user2 INTEGER, contact2 INTEGER, resource2 TEXT, salt INTEGER NOT NULL, stanza BLOB NOT NULL);
   CREATE TABLE archive_index (
     user INTEGER, place INTEGER, contact INTEGER NOT NULL, PRIMARY KEY (user, place)) WITHOUT ROWID`,
  // Messages that came from another server keep the ids that clients know them by.
  `CREATE TABLE archive_adopted (place INTEGER PRIMARY KEY, user INTEGER NOT NULL, id TEXT NOT NULL, UNIQUE (user, id))`,
];

const joined = 'archive_index AS i JOIN archive AS a ON a.place = i.place';
const row = '(?, ?, ?, ?, ?, ?, ?, ?, ?)';
const inserts = {
  1: `INSERT INTO archive VALUES ${row}`,
  16: `INSERT INTO archive VALUES ${Array(16).fill(row).join(', ')}`,
};
/** Messages wait for company before they are written, so long (in ms) and so many; who must not lose any asks for `durable`. */
const writeDelay = 10;
const mostPending = 64;
const mostUnindexed = 4_000;
const mostCached = 20_000;
/** Messages whose age is up are removed this many at a time. */
const removedAtOnce = 500;

/** Which messages of an archive a query is about; places are exclusive. */
export interface Selection {
  after?: number;
  before?: number;
  with?: Jid;
  places?: readonly number[];
}

export interface ArchivedMessage {
  /** The id that the archive gave it (XEP-0313 §3.4). */
  readonly id: string;
  readonly place: number;
  readonly at: Date;
  readonly stanza: Stanza;
}

/** A message that was added. */
export interface Added {
  readonly place: number;
  readonly salt: number;
}

/** A message that is not in the store yet. */
interface Pending extends Added {
  readonly user: Jid;
  readonly contact: Jid;
  /** The second archive that it belongs to. */
  other: Jid | null;
  otherContact: Jid | null;
  readonly bytes: Uint8Array;
}

export class Messages {
  readonly #store: Store;
  readonly #secret: Uint8Array;
  readonly #ids: StableIds;
  readonly #users = new Map<string, number>();
  readonly #contacts = new Map<string, number>();
  #last: number;
  /** How many messages the index lacks, about. */
  #unindexed: number;
  #pending: Pending[] = [];
  #later: NodeJS.Timeout | null = null;
  /** The place of the message that was adopted last, and where the search for it began. */
  #adopted = { from: 0, place: 0 };

  constructor(store: Store) {
    this.#store = store;
    store.migrate('archive', schema);
    this.#secret = secretOf(store);
    this.#ids = new StableIds(createHash('sha256').update(this.#secret).digest().subarray(0, 16));
    const indexed = Number(store.prepare('SELECT indexed FROM archive_state').get()?.indexed);
    const newest = store.prepare('SELECT max(place) AS place FROM archive').get();
    this.#last = Math.max(indexed, Number(newest?.place ?? 0));
    // Where the process was killed, the index lacks the newest messages.
    this.#unindexed = this.#last > indexed ? mostUnindexed : 0;
  }

  /** Puts a message at the end of a user's archive. `contact` is the other side's address. */
  add(user: Jid, contact: Jid, stanza: Stanza): Added {
    const place = (this.#last = Math.max(this.#last + 1, Date.now() * placesPerMs));
    const added = {
      place,
      salt: this.#ids.salt(),
      user,
      contact,
      other: null,
      otherContact: null,
      bytes: stanza.toBytes(),
    };
    this.#pending.push(added);
    if (this.#pending.length >= mostPending) this.#write();
    else this.#later ??= setTimeout(() => this.#write(), writeDelay);
    return added;
  }

  /** Puts the message into a second archive as well. False: it is too late for that. */
  share(added: Added, user: Jid, contact: Jid): boolean {
    const last = this.#pending[this.#pending.length - 1];
    if (last !== added) return false;
    last.other = user;
    last.otherContact = contact;
    return true;
  }

  /**
   * Puts a message that another server archived into a user's archive, `at` milliseconds, under the id that it had
   * there. False: it is there already.
   */
  adopt(user: Jid, contact: Jid, stanza: Stanza, at: number, id: string): boolean {
    if (this.placeOf(user, id) !== null) return false;
    const place = this.#freePlace(Math.min(at, Date.now()) * placesPerMs);
    const [number, partner] = [this.#user(user), this.#contact(contact)];
    this.#store
      .prepare(inserts[1])
      .run(place, number, partner, contact.resource, null, null, null, this.#ids.salt(), stanza.toBytes());
    this.#store.prepare('INSERT INTO archive_adopted VALUES (?, ?, ?)').run(place, number, id);
    if (place > Number(this.#store.prepare('SELECT indexed FROM archive_state').get()?.indexed)) this.#unindexed++;
    else this.#store.prepare('INSERT INTO archive_index VALUES (?, ?, ?)').run(number, place, partner);
    this.#last = Math.max(this.#last, place);
    return true;
  }

  /** The first place from there on that is free; many messages may bear one time, in the order of their adoption. */
  #freePlace(from: number): number {
    const last = this.#adopted;
    let place = from >= last.from && from <= last.place ? last.place + 1 : from;
    const taken = this.#store.prepare('SELECT 1 FROM archive WHERE place = ?');
    while (taken.get(place)) place++;
    this.#adopted = { from: Math.min(from, last.place === place - 1 ? last.from : from), place };
    return place;
  }

  /** Writes what is pending, and forgets what it remembers of a user: a transaction begins, or was taken back. */
  reread(user: Jid): void {
    this.#write();
    this.#users.delete(user.bare.toString());
    this.#adopted = { from: 0, place: 0 };
  }

  /** Resolves when all that was added is on the disk. */
  durable(): Promise<void> {
    this.#write();
    return this.#store.durable();
  }

  /** The id that clients see of a message. */
  idOf({ salt, place }: Added): string {
    return this.#ids.seal(salt, place);
  }

  /** The place of the message of that id in a user's archive; null where there is none. */
  placeOf(user: Jid, id: string): number | null {
    this.#write();
    const number = this.#user(user);
    const opened = this.#ids.open(id);
    const found =
      opened && this.#store.prepare('SELECT user, user2, salt FROM archive WHERE place = ?').get(opened.place);
    if (opened && found?.salt === opened.salt) {
      return found.user === number || found.user2 === number ? opened.place : null;
    }
    const adopted = this.#store.prepare('SELECT place FROM archive_adopted WHERE user = ? AND id = ?').get(number, id);
    return adopted ? Number(adopted.place) : null;
  }

  /** The first place of a moment, and the first behind it: a moment lasts a millisecond. */
  static placesAt(time: number): { from: number; behind: number } {
    return { from: time * placesPerMs, behind: (time + 1) * placesPerMs };
  }

  /**
   * Up to `limit` messages in the order of the archive, `skip` of them left out: from the front of the selection or,
   * with `backwards`, from its end.
   */
  page(user: Jid, selection: Selection, limit: number, backwards: boolean, skip = 0): ArchivedMessage[] {
    const { where, values } = this.#selected(user, selection);
    const order = backwards ? 'DESC' : 'ASC';
    const rows = this.#store
      .prepare(
        `SELECT a.place, a.salt, a.stanza, (SELECT id FROM archive_adopted AS o WHERE o.place = a.place) AS id
         FROM ${joined} WHERE ${where} ORDER BY i.place ${order} LIMIT ? OFFSET ?`,
      )
      .all(...values, limit, skip);
    if (backwards) rows.reverse();
    return rows.map(found => this.#message(found));
  }

  /** How many messages of the selection there are, counting no further than `most`. */
  count(user: Jid, selection: Selection, most: number): number {
    const { where, values } = this.#selected(user, selection);
    // What can do without the messages reads the index alone.
    const from = selection.with?.resource ? joined : 'archive_index AS i';
    const row = this.#store
      .prepare(`SELECT count(*) AS n FROM (SELECT 1 FROM ${from} WHERE ${where} LIMIT ?)`)
      .get(...values, most);
    return Number(row?.n);
  }

  /** Removes what is older than `time`, a portion at a time. True: there was nothing (more) to remove. */
  expire(time: number): boolean {
    this.#index();
    const rows = this.#store
      .prepare('SELECT place, user, user2 FROM archive WHERE place < ? ORDER BY place LIMIT ?')
      .all(time * placesPerMs, removedAtOnce);
    this.#store.atomic(() => {
      for (const { place, user, user2 } of rows) {
        this.#unindex(user, place);
        this.#unindex(user2, place);
        this.#store.prepare('DELETE FROM archive WHERE place = ?').run(place);
        this.#store.prepare('DELETE FROM archive_adopted WHERE place = ?').run(place);
      }
    });
    return rows.length < removedAtOnce;
  }

  /** Removes a user's archive, a portion at a time. True: nothing is left. */
  forget(user: Jid): boolean {
    this.#index();
    const number = this.#user(user);
    const rows = this.#store
      .prepare('SELECT place FROM archive_index WHERE user = ? ORDER BY place LIMIT ?')
      .all(number, removedAtOnce);
    this.#store.atomic(() => {
      for (const { place } of rows) {
        this.#unindex(number, place);
        // The other user keeps what it shares with this one.
        for (const column of ['user', 'user2']) {
          this.#store
            .prepare(`UPDATE archive SET ${column} = NULL WHERE place = ? AND ${column} = ?`)
            .run(place, number);
        }
        this.#store.prepare('DELETE FROM archive WHERE place = ? AND user IS NULL AND user2 IS NULL').run(place);
        this.#store.prepare('DELETE FROM archive_adopted WHERE place = ?').run(place);
      }
      if (rows.length === removedAtOnce) return;
      this.#users.delete(user.bare.toString());
      this.#store.prepare('DELETE FROM archive_users WHERE user = ?').run(user.bare.toString());
    });
    return rows.length < removedAtOnce;
  }

  #unindex(user: SqlValue, place: SqlValue): void {
    if (user !== null) this.#store.prepare('DELETE FROM archive_index WHERE user = ? AND place = ?').run(user, place);
  }

  #message(row: Row): ArchivedMessage {
    const place = Number(row.place);
    return {
      id: row.id === null ? this.#ids.seal(Number(row.salt), place) : String(row.id),
      place,
      at: new Date(Math.floor(place / placesPerMs)),
      stanza: Stanza.parse(row.stanza as Uint8Array),
    };
  }

  /** The condition and its values. */
  #selected(user: Jid, selection: Selection): { where: string; values: SqlValue[] } {
    this.#index();
    let where = 'i.user = ?';
    const values: SqlValue[] = [this.#user(user)];
    const and = (condition: string, ...more: SqlValue[]) => {
      where += ` AND ${condition}`;
      values.push(...more);
    };
    const { after, before, places } = selection;
    if (after !== undefined) and('i.place > ?', after);
    if (before !== undefined) and('i.place < ?', before);
    if (places) and('i.place IN (SELECT value FROM json_each(?))', JSON.stringify(places));
    if (selection.with) and('i.contact = ?', this.#contact(selection.with));
    if (selection.with?.resource) {
      and('CASE a.user WHEN i.user THEN a.resource ELSE a.resource2 END = ?', selection.with.resource);
    }
    return { where, values };
  }

  /** Writes what is pending; several rows in one statement cost less than one after another. */
  #write(): void {
    if (this.#later) clearTimeout(this.#later);
    this.#later = null;
    const pending = this.#pending;
    if (pending.length === 0) return;
    this.#pending = [];
    let at = 0;
    for (const size of [16, 1] as const) {
      const insert = this.#store.prepare(inserts[size]);
      for (; at + size <= pending.length; at += size) {
        insert.run(...pending.slice(at, at + size).flatMap(added => this.#valuesOf(added)));
      }
    }
    this.#unindexed += pending.length;
    if (this.#unindexed >= mostUnindexed) this.#index();
  }

  #valuesOf({ place, salt, user, contact, other, otherContact, bytes }: Pending): SqlValue[] {
    const second = other && otherContact;
    return [
      place,
      this.#user(user),
      this.#contact(contact),
      contact.resource,
      second && this.#user(other),
      second && this.#contact(otherContact),
      second && otherContact.resource,
      salt,
      bytes,
    ];
  }

  /** Brings the index up to date. */
  #index(): void {
    this.#write();
    if (this.#unindexed === 0) return;
    const select = (user: string, contact: string) =>
      `SELECT ${user}, place, ${contact} FROM archive
       WHERE place > (SELECT indexed FROM archive_state) AND ${user} IS NOT NULL`;
    this.#store
      .prepare(
        `INSERT INTO archive_index ${select('user', 'contact')} UNION ALL ${select('user2', 'contact2')} ORDER BY 1, 2`,
      )
      .run();
    this.#store.prepare('UPDATE archive_state SET indexed = ?').run(this.#last);
    this.#unindexed = 0;
  }

  #user(user: Jid): number {
    const key = user.bare.toString();
    const known = this.#users.get(key);
    if (known !== undefined) return known;
    const row = this.#store.prepare('SELECT id FROM archive_users WHERE user = ?').get(key);
    // A random number: were it a counted one, it could be given twice where the store loses a write.
    const id = row ? Number(row.id) : randomBytes(6).readUIntBE(0, 6);
    if (!row) this.#store.prepare('INSERT INTO archive_users (id, user) VALUES (?, ?)').run(id, key);
    if (this.#users.size >= mostCached) this.#users.clear();
    this.#users.set(key, id);
    return id;
  }

  /** A bare address as 48 bits of a keyed hash: nobody outside can make two that meet. */
  #contact(contact: Jid): number {
    const key = contact.bare.toString();
    const known = this.#contacts.get(key);
    if (known !== undefined) return known;
    const hash = createHmac('sha256', this.#secret).update(key).digest().readUIntBE(0, 6);
    if (this.#contacts.size >= mostCached) this.#contacts.clear();
    this.#contacts.set(key, hash);
    return hash;
  }
}

const ofStore = new WeakMap<Store, Messages>();

/** The archives of a hub. */
export function messagesOf(store: Store): Messages {
  let messages = ofStore.get(store);
  if (!messages) ofStore.set(store, (messages = new Messages(store)));
  return messages;
}

/** The secret of the archives: it is made with them, and lost only with them. */
function secretOf(store: Store): Uint8Array {
  const row = store.prepare('SELECT secret FROM archive_state').get();
  if (row) return row.secret as Uint8Array;
  const secret = randomBytes(32);
  store.prepare('INSERT INTO archive_state (secret, indexed) VALUES (?, 0)').run(secret);
  return secret;
}
