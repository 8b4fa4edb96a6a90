// The archives of all users as they are kept: a journal of messages in the order of arrival, and an index for each user (XEP-0313 §3).
import { createHash, createHmac, randomBytes } from 'node:crypto';
import type { Store } from '../../hub/store.ts';
import { Jid } from '../../xmpp/jid.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import { Adoptions } from './adoptions.ts';
import { type Posting, Postings } from './postings.ts';
import { adoptedMark, ownersOf, recipientsMark, sendersMark, stanzaOf } from './record.ts';
import { type FoundRecord, Records } from './records.ts';
import { StableIds } from './stable-ids.ts';

/**
 * A place is the milliseconds since 1970, times this, plus a number: it grows with every message, so it is the order
 * of an archive and the time in one. It stays below 2⁵³ for some centuries.
 */
const placesPerMs = 1024;

const schema = ['CREATE TABLE archive_secret (secret BLOB NOT NULL)'];

const mostCached = 20_000;
/** Blocks of an index that are removed at a time. */
const removedAtOnce = 4;
/** A segment of the journal is followed by another at this age in ms: what has become too old is removed by segments. */
const segmentAge = 24 * 3600 * 1000;

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

/** A message that another server has archived. */
export interface Foreign {
  readonly stanza: Stanza;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Its id there. */
  readonly id: string;
}

/** In whose archive a message stands: what one user here sends to another stands once and belongs to both. */
export type Side = 'sender' | 'recipient';

export class Messages {
  readonly #records: Records;
  readonly #postings: Postings;
  readonly #secret: Uint8Array;
  readonly #ids: StableIds;
  readonly #adoptions: Adoptions;
  readonly #contacts = new Map<string, { contact: number; resource: number }>();
  #last: number;
  /** Everything before this place is gone, whether it was removed already or not. */
  #oldest = 0;
  #newest: Added | null = null;

  /** `failed` is told when messages that nobody waits for could not be kept. */
  constructor(
    store: Store,
    failed: (error: unknown) => void = () => {},
    sizes?: { block: number; generation: number; steps: number },
  ) {
    this.#postings = new Postings(store, sizes);
    this.#adoptions = new Adoptions(store);
    const written = () => this.#postings.step(this.#records.end);
    this.#records = new Records(store.journal('archive'), { written, failed });
    store.migrate('archive secret', schema);
    this.#secret = secretOf(store);
    this.#ids = new StableIds(createHash('sha256').update(this.#secret).digest().subarray(0, 16));
    const { position, newest } = this.#postings.progress;
    this.#last = newest;
    // A journal that lost its end in a crash goes on where nothing ever stood.
    this.#records.skipTo(position);
    this.#recover(position);
  }

  /** Puts a message at the end of an archive of its sender or recipient; both are whole, at least on that side. */
  add(stanza: Stanza, side: Side): Added {
    const place = (this.#last = Math.max(this.#last + 1, Date.now() * placesPerMs));
    const salt = this.#ids.salt();
    const at = this.#records.add(stanza, side === 'sender' ? sendersMark : recipientsMark, place, salt);
    this.#index(stanza, side, place, at);
    return (this.#newest = { place, salt });
  }

  /** Puts a message that was added to its sender's archive into its recipient's as well. False: it is too late for that. */
  share(added: Added, stanza: Stanza): boolean {
    if (this.#newest !== added) return false;
    this.#newest = null;
    const position = this.#records.mark(recipientsMark);
    if (position < 0) return false;
    this.#index(stanza, 'recipient', added.place, position);
    return true;
  }

  /**
   * Puts messages that other servers archived among a user's; those that are there already are left out. `settle` comes
   * before; whatever the transaction around it writes of them counts for nothing when it is taken back.
   */
  adopt(user: Jid, messages: readonly Foreign[]): void {
    const name = user.bare.toString();
    const newest = this.#postings.newest(name);
    const fresh: Posting[] = [];
    let place = -1;
    for (const { stanza, at, id } of messages.toSorted((a, b) => a.at - b.at)) {
      // What is too old would go at once.
      if (at * placesPerMs < this.#oldest || this.placeOf(user, id) !== null) continue;
      // Many messages may bear one time, and stay in order.
      place = Math.max(place + 1, Math.min(at, Date.now()) * placesPerMs);
      while (place <= newest && this.#postings.at(name, place)) place++;
      const side = stanza.from?.bare.equals(user.bare) ? 'sender' : 'recipient';
      const mark = side === 'sender' ? sendersMark : recipientsMark;
      const position = this.#records.add(stanza, adoptedMark | mark, place, this.#ids.salt());
      this.#adoptions.add(name, place, id);
      fresh.push({ place, position, ...this.#hashesOf(otherEnd(stanza, side)) });
    }
    this.#last = Math.max(this.#last, place);
    this.#postings.merge(name, fresh);
  }

  /** Writes all that is added: a transaction that may be taken back begins, or was. */
  settle(): void {
    this.#postings.flush(this.#records.end);
  }

  /** Resolves when all that was added is on the disk; rejects where some of it could not be kept. */
  durable(): Promise<void> {
    return this.#records.durable();
  }

  /** Writes the index as well, so that the next start need not. */
  async close(): Promise<void> {
    this.#postings.flush(this.#records.end);
    await this.durable();
  }

  /** The id that clients see of a message. */
  idOf({ salt, place }: Added): string {
    return this.#ids.seal(salt, place);
  }

  /** The place of the message of that id in a user's archive; null where there is none. */
  placeOf(user: Jid, id: string): number | null {
    const name = user.bare.toString();
    const opened = this.#ids.open(id);
    const posting = opened && opened.place >= this.#oldest ? this.#postings.at(name, opened.place) : null;
    if (opened && posting && this.#read(name, posting)?.salt === opened.salt) return opened.place;
    const adopted = this.#adoptions.placeOf(name, id);
    return adopted !== null && adopted >= this.#oldest ? adopted : null;
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
    const found: ArchivedMessage[] = [];
    let left = skip;
    // Now rather than at the first message that is read: the index may change with it.
    this.#records.write();
    for (const posting of this.#selected(user, selection, backwards)) {
      if (found.length === limit) break;
      if (left-- > 0) continue;
      const message = this.#read(user.bare.toString(), posting);
      if (message) found.push(message);
    }
    return backwards ? found.reverse() : found;
  }

  /** How many messages of the selection there are, counting no further than `most`. */
  count(user: Jid, selection: Selection, most: number): number {
    let count = 0;
    for (const _ of this.#selected(user, selection, false)) if (++count === most) break;
    return count;
  }

  /** Removes what is older than `time`, a portion at a time. True: there was nothing (more) to remove. */
  expire(time: number): boolean {
    this.#oldest = Math.max(this.#oldest, time * placesPerMs);
    this.#postings.note(this.#last);
    this.#adoptions.expire(this.#oldest);
    // Nothing of a segment is needed after a crash once the index is in the tables.
    const removing = () => this.#postings.flush(this.#records.end);
    if (this.#records.removeOldest(this.#oldest, (Date.now() - segmentAge) * placesPerMs, removing)) return false;
    return this.#postings.expire(this.#oldest, removedAtOnce);
  }

  /** Removes a user's archive, a portion at a time. True: nothing is left. */
  forget(user: Jid): boolean {
    const removed = this.#postings.remove(user.bare.toString(), removedAtOnce);
    for (const { position } of removed) this.#records.erase(user, position);
    if (removed.length === 0) this.#adoptions.forget(user.bare.toString());
    return removed.length === 0;
  }

  *#selected(user: Jid, selection: Selection, backwards: boolean): Generator<Posting> {
    const { before = Number.MAX_SAFE_INTEGER, places } = selection;
    const after = Math.max(selection.after ?? -1, this.#oldest - 1);
    const name = user.bare.toString();
    const other = selection.with && this.#hashesOf(selection.with);
    for (const posting of places
      ? this.#chosen(name, places, after, before, backwards)
      : this.#postings.of(name, after, before, backwards)) {
      if (other && posting.contact !== other.contact) continue;
      if (other && selection.with?.resource && posting.resource !== other.resource) continue;
      yield posting;
    }
  }

  *#chosen(user: string, places: readonly number[], after: number, before: number, backwards: boolean) {
    const inOrder = [...new Set(places)].sort((a, b) => (backwards ? b - a : a - b));
    for (const place of inOrder) {
      const posting = place > after && place < before ? this.#postings.at(user, place) : null;
      if (posting) yield posting;
    }
  }

  #read(user: string, { place, position }: Posting): (ArchivedMessage & Added) | null {
    const record = this.#records.read(position, place);
    if (!record) return null;
    const { salt, stanza } = record;
    const id = this.#adoptions.idOf(user, place) ?? this.#ids.seal(salt, place);
    return { id, salt, place, at: new Date(Math.floor(place / placesPerMs)), stanza };
  }

  #index(stanza: Stanza, side: Side, place: number, position: number): void {
    const user = side === 'sender' ? stanza.from! : stanza.to!;
    const { contact, resource } = this.#hashesOf(otherEnd(stanza, side));
    this.#postings.add(user.bare.toString(), place, position, contact, resource);
  }

  /** Finds what is in the journal from a position on and not in the index: the process was killed. */
  #recover(since: number): void {
    const known = new Map<string, number>();
    for (const record of this.#records.since(since)) {
      this.#last = Math.max(this.#last, record.place);
      const stanza = record.marks & adoptedMark ? null : stanzaOf(record.bytes, record.at, record.length);
      if (stanza) this.#recoverRecord(known, record, stanza);
    }
  }

  #recoverRecord(known: Map<string, number>, { place, marks, position }: FoundRecord, stanza: Stanza): void {
    for (const { user, contact } of ownersOf(stanza, marks)) {
      const name = user.toString();
      if (!known.has(name)) known.set(name, this.#postings.newest(name));
      if (place <= known.get(name)!) continue;
      known.set(name, place);
      const hashes = this.#hashesOf(contact);
      this.#postings.add(name, place, position, hashes.contact, hashes.resource);
    }
  }

  /** An address as numbers, 48 bits of a keyed hash each: nobody outside can make two that meet. */
  #hashesOf(jid: Jid): { contact: number; resource: number } {
    const key = jid.toString();
    let hashes = this.#contacts.get(key);
    if (!hashes) {
      const hash = (text: string) => createHmac('sha256', this.#secret).update(text).digest().readUIntBE(0, 6);
      hashes = { contact: hash(jid.bare.toString()), resource: hash(jid.resource) };
      if (this.#contacts.size >= mostCached) this.#contacts.clear();
      this.#contacts.set(key, hashes);
    }
    return hashes;
  }
}

/** Whom a message was exchanged with. */
function otherEnd({ from, to }: Stanza, side: Side): Jid {
  return side === 'sender' ? to! : (from ?? Jid.of('', to!.domain, ''));
}

const ofStore = new WeakMap<Store, Messages>();

/** The archives in a store. `failed` counts for who asks first. */
export function messagesOf(store: Store, failed?: (error: unknown) => void): Messages {
  let messages = ofStore.get(store);
  if (!messages) ofStore.set(store, (messages = new Messages(store, failed)));
  return messages;
}

/** The secret of the archives: it is made with them, and lost only with them. */
function secretOf(store: Store): Uint8Array {
  const row = store.prepare('SELECT secret FROM archive_secret').get();
  if (row) return row.secret as Uint8Array;
  const secret = randomBytes(32);
  store.prepare('INSERT INTO archive_secret (secret) VALUES (?)').run(secret);
  return secret;
}
