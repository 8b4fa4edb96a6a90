// The journal of the archives: records of messages, gathered to be written in portions.
import type { Journal } from '../../hub/store.ts';
import type { Jid } from '../../xmpp/jid.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import {
  type ArchivedRecord,
  markRecord,
  mostBytesOf,
  ownersOf,
  readRecord,
  stanzaOf,
  unmarked,
  writeRecord,
} from './record.ts';

/** Records wait for company before they are written, so long (in ms) and so many bytes; who must not lose any asks for `durable`. */
const writeDelay = 50;
const mostPending = 64 * 1024;
/** How much is read for a record before its length is known, in bytes; and at once where many are. */
const usualRecord = 1024;
const readAtOnce = 1024 * 1024;

export interface FoundRecord extends ArchivedRecord {
  readonly position: number;
  /** The bytes that it stands in, and where. */
  readonly bytes: Uint8Array;
  readonly at: number;
}

/** What `Records` tells: that a portion was written, or could not be. */
export interface RecordsEvents {
  written(): void;
  failed(error: unknown): void;
}

export class Records {
  readonly #journal: Journal;
  readonly #events: RecordsEvents;
  /** Records that are not in the journal yet, and where the last of them begins. */
  readonly #pending = Buffer.allocUnsafeSlow(mostPending);
  #length = 0;
  #newest = 0;
  #later: NodeJS.Timeout | null = null;
  /** The oldest segment, and the newest place in it. */
  #oldest = { from: -1, behind: -1, newest: 0 };
  /** What was added could not be kept: who asks next whether it was is told. */
  #lost: unknown = null;

  constructor(journal: Journal, events: RecordsEvents) {
    this.#journal = journal;
    this.#events = events;
  }

  /** Adds a record, and returns its position. */
  add(stanza: Stanza, marks: number, place: number, salt: number): number {
    let end = writeRecord(this.#pending, this.#length, marks, place, salt, stanza);
    if (end < 0) {
      this.write();
      end = writeRecord(this.#pending, 0, marks, place, salt, stanza);
    }
    if (end < 0) return this.#addLarge(stanza, marks, place, salt);
    this.#newest = this.#length;
    this.#length = end;
    this.#later ??= setTimeout(() => this.write(), writeDelay);
    return this.#journal.end + this.#newest;
  }

  /** Adds to the marks of the record that was added last. Returns its position; -1 where it is too late for that. */
  mark(marks: number): number {
    if (this.#length === 0) return -1;
    markRecord(this.#pending, this.#newest, marks);
    return this.#journal.end + this.#newest;
  }

  /** Where the journal ends, when all is written. */
  get end(): number {
    this.write();
    return this.#journal.end;
  }

  /** Has what comes stand at a position or behind. */
  skipTo(position: number): void {
    if (this.end < position) this.#journal.divide(position);
  }

  /** Writes what is pending. */
  write(): void {
    if (this.#later) clearTimeout(this.#later);
    this.#later = null;
    if (this.#length === 0) return;
    const length = this.#length;
    this.#length = 0;
    // All of these are in the index by now; one that is added as a whole is not yet.
    if (this.#append(this.#pending.subarray(0, length))) this.#try(() => this.#events.written());
  }

  /** Resolves when all that was added is on the disk; rejects where some of it could not be written. */
  async durable(): Promise<void> {
    this.write();
    const lost = this.#lost;
    this.#lost = null;
    if (lost) throw lost;
    await this.#journal.durable();
  }

  /** The record of a place, at a position. Null: a crash has taken it, or it was erased. */
  read(position: number, place: number): (ArchivedRecord & { stanza: Stanza }) | null {
    const bytes = this.#bytesAt(position);
    const record = readRecord(bytes, 0);
    const stanza = record?.place === place ? stanzaOf(bytes, 0, record.length) : null;
    return record && stanza && { ...record, stanza };
  }

  /** Takes a record away from a user; the other end of the message keeps what it shares with this one. */
  erase(user: Jid, position: number): void {
    const bytes = this.#bytesAt(position);
    const record = readRecord(bytes, 0);
    const stanza = record && stanzaOf(bytes, 0, record.length);
    if (!stanza) return;
    const own = ownersOf(stanza, record.marks).filter(owner => owner.user.equals(user.bare));
    const marks = own.reduce((all, { mark }) => all | mark, 0);
    this.#journal.overwrite(position, unmarked(bytes, marks));
  }

  /** The records from a position on. Where a crash has torn one, the rest of its segment is left out, and what comes goes elsewhere. */
  *since(position: number): Generator<FoundRecord> {
    const { segments, end } = this.#journal;
    for (const [n, begin] of segments.entries()) {
      const behind = segments[n + 1] ?? end;
      let whole = Math.max(begin, position);
      for (const record of this.#within(whole, behind)) {
        yield record;
        whole = record.position + record.length;
      }
      if (whole < behind) this.#journal.divide();
    }
  }

  /**
   * Removes the oldest segment if all in it stands before a place; `removing` is called before. False: it stays. A
   * segment that was begun before `divide` is followed by another.
   */
  removeOldest(before: number, divide: number, removing: () => void): boolean {
    const { end } = this;
    const { segments } = this.#journal;
    if (segments.length === 0) return false;
    const behind = segments[1] ?? end;
    if (this.#oldest.from !== segments[0] || this.#oldest.behind !== behind) {
      let newest = 0;
      for (const { place } of this.#within(segments[0], behind)) newest = Math.max(newest, place);
      this.#oldest = { from: segments[0], behind, newest };
    }
    if (this.#oldest.newest < before) {
      removing();
      this.#journal.drop(behind);
      return true;
    }
    const begun = readRecord(this.#journal.read(segments[segments.length - 1], usualRecord), 0);
    if (begun && begun.place < divide) this.#journal.divide();
    return false;
  }

  #addLarge(stanza: Stanza, marks: number, place: number, salt: number): number {
    const bytes = Buffer.allocUnsafe(mostBytesOf(stanza));
    const position = this.#journal.end;
    this.#append(bytes.subarray(0, writeRecord(bytes, 0, marks, place, salt, stanza)));
    return position;
  }

  #append(bytes: Uint8Array): boolean {
    return this.#try(() => this.#journal.append(bytes));
  }

  /** False: it failed, which is told once. */
  #try(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      if (this.#lost === null) this.#events.failed(error);
      this.#lost = error;
      return false;
    }
  }

  /** The bytes of the record at a position, if there is one. */
  #bytesAt(position: number): Uint8Array {
    this.write();
    const bytes = this.#journal.read(position, usualRecord);
    const length = readRecord(bytes, 0)?.length ?? 0;
    return length <= bytes.length ? bytes.subarray(0, length) : this.#journal.read(position, length);
  }

  /** The whole records of a segment, from a position on. */
  *#within(from: number, behind: number): Generator<FoundRecord> {
    let position = from;
    while (position < behind) {
      let bytes = this.#journal.read(position, readAtOnce);
      const first = readRecord(bytes, 0);
      if (first && first.length > bytes.length) bytes = this.#journal.read(position, first.length);
      let at = 0;
      for (;;) {
        const record = readRecord(bytes, at);
        if (record === null || at + record.length > bytes.length) break;
        yield { ...record, bytes, at, position: position + at };
        at += record.length;
      }
      if (at === 0) return;
      position += at;
    }
  }
}
