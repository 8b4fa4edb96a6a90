// The index of the archives: for each user where its messages stand and whom they were exchanged with, in blocks.
import type { Store } from '../../hub/store.ts';
import { decodeBlock, encodeBlock, stride } from './block.ts';
import { Generation } from './generation.ts';

/** What the index has of a message, as numbers one after another. */
export interface Posting {
  readonly place: number;
  /** Where it stands in the journal. */
  readonly position: number;
  /** Hashes of the other side's bare address, and of its resource. */
  readonly contact: number;
  readonly resource: number;
}
/**
 * Postings in a block, some 1 KiB; and in a generation, which is written in so many steps, each of them short.
 */
const sizes = { block: 256, generation: 32_768, steps: 64 };
/** Blocks that are read at once. */
const blocksAtOnce = 16;
/** So many generations are kept while the store fails. What comes then is found again at the next start. */
const mostKept = 16;

const schema = [
  `CREATE TABLE archive_blocks (
     user TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, postings BLOB NOT NULL,
     PRIMARY KEY (user, first));
   CREATE INDEX archive_blocks_age ON archive_blocks (last);
   CREATE TABLE archive_progress (position INTEGER NOT NULL, newest INTEGER NOT NULL);
   INSERT INTO archive_progress VALUES (0, 0)`,
];

/**
 * Postings gather in memory, for a block that is written whole costs little more than one that grows by one. From the
 * journal, what was not written is found again: `progress` tells where to begin.
 */
export class Postings {
  readonly #store: Store;
  readonly #sizes: typeof sizes;
  /** It takes what comes. */
  #young: Generation;
  /** It is being written, some users at each step. */
  #old: Generation | null = null;
  /** It was written, and is young again next. */
  #spare: Generation | null = null;
  /** Some were not kept: what the tables lack begins before them. */
  #incomplete = false;

  constructor(store: Store, limits = sizes) {
    this.#store = store;
    this.#sizes = limits;
    store.migrate('archive index', schema);
    this.#young = new Generation(this.progress.position);
  }

  /** The position of the journal up to which everything is in the tables, and the newest place that was ever noted. */
  get progress(): { position: number; newest: number } {
    const row = this.#store
      .prepare(
        'SELECT position, max(newest, (SELECT coalesce(max(last), 0) FROM archive_blocks)) AS newest FROM archive_progress',
      )
      .get()!;
    return { position: Number(row.position), newest: Number(row.newest) };
  }

  /** Adds a posting of a user's, newer than all others of its. */
  add(user: string, place: number, position: number, contact: number, resource: number): void {
    if (this.#young.count < mostKept * this.#sizes.generation)
      this.#young.add(user, place, position, contact, resource);
    else this.#incomplete = true;
  }

  /**
   * Does a part of the writing that is due; to be called now and then. `position` is the journal's end: everything
   * before it was added.
   */
  step(position: number): void {
    if (this.#old?.due) this.#writeSome(this.#old, this.#old.due, Math.ceil(this.#old.users / this.#sizes.steps));
    else if (this.#old === null && this.#young.count >= this.#sizes.generation) this.#age(position);
  }

  /** Writes all there is. */
  flush(position: number): void {
    if (this.#old) this.#writeSome(this.#old, this.#old.all(), this.#old.users + 1);
    const old = this.#age(position);
    this.#writeSome(old, old.all(), old.users + 1);
  }

  #age(position: number): Generation {
    this.#old = this.#young;
    this.#old.due = this.#old.all();
    this.#young = this.#spare?.restart(position) ?? new Generation(position);
    this.#spare = null;
    return this.#old;
  }

  /** Writes the postings of the next `count` users; after the last one it waits for the disk before it lets go of them. */
  #writeSome(old: Generation, due: Iterator<[string, Float64Array]>, count: number): void {
    try {
      this.#store.atomic(() => {
        for (let n = 0; n < count; n++) {
          const { done, value } = due.next();
          if (done) return this.#settle(old);
          this.#write(...value);
        }
      });
    } catch (error) {
      old.due = old.all();
      throw error;
    }
  }

  #settle(old: Generation): void {
    old.due = null;
    if (!this.#incomplete) {
      this.#store.prepare('UPDATE archive_progress SET position = ?').run(this.#young.since);
    }
    this.#store.durable().then(
      () => {
        if (this.#old !== old) return;
        this.#old = null;
        // One that the store made grow is let go of.
        if (old.count < 2 * this.#sizes.generation) this.#spare = old;
      },
      () => {
        if (this.#old === old) old.due = old.all();
        else this.#incomplete = true;
      },
    );
  }

  /** The postings of a user between two places (exclusive), in order or from the end on; until `step` or `flush`. */
  *of(user: string, after: number, before: number, backwards: boolean): Generator<Posting> {
    const gathered = [this.#old, this.#young].flatMap(one => one?.of(user) ?? []);
    const blocks = this.#blocks(user, after, before, backwards);
    let last: number | null = null;
    for (const numbers of backwards ? chain(gathered.toReversed(), blocks) : chain(blocks, gathered)) {
      for (const posting of within(numbers, after, before, backwards)) {
        // What is being written stands in both.
        if (last !== null && (backwards ? posting.place >= last : posting.place <= last)) continue;
        last = posting.place;
        yield posting;
      }
    }
  }

  /** The posting of a place. */
  at(user: string, place: number): Posting | null {
    for (const posting of this.of(user, place - 1, place + 1, false)) return posting;
    return null;
  }

  /** The place of a user's newest message; 0 where there is none. */
  newest(user: string): number {
    for (const { place } of this.of(user, -1, Number.MAX_SAFE_INTEGER, true)) return place;
    return 0;
  }

  /** Removes blocks in which all is older than a place, a portion at a time. True: there was nothing (more) to remove. */
  expire(before: number, portion: number): boolean {
    const { changes } = this.#store
      .prepare('DELETE FROM archive_blocks WHERE rowid IN (SELECT rowid FROM archive_blocks WHERE last < ? LIMIT ?)')
      .run(before, portion);
    return changes < portion;
  }

  /** Takes up to `portion` blocks of a user away and returns what was in them. */
  remove(user: string, portion: number): Posting[] {
    const rows = this.#store
      .prepare('SELECT first, postings FROM archive_blocks WHERE user = ? ORDER BY first LIMIT ?')
      .all(user, portion);
    this.#store.atomic(() => {
      for (const { first } of rows) {
        this.#store.prepare('DELETE FROM archive_blocks WHERE user = ? AND first = ?').run(user, first);
      }
    });
    const gathered = [this.#old, this.#young].flatMap(one => one?.take(user) ?? []);
    return [...rows.map(row => decodeBlock(row.postings as Uint8Array)), ...gathered].flatMap(numbers => [
      ...within(numbers, -1, Number.MAX_SAFE_INTEGER, false),
    ]);
  }

  /** Puts postings, in order, among a user's others, all of which are in the tables. */
  merge(user: string, fresh: readonly Posting[]): void {
    if (fresh.length === 0) return;
    this.#store.atomic(() => {
      const rows = this.#store
        .prepare(
          `SELECT first, postings FROM archive_blocks WHERE user = ?1 AND first >=
             (SELECT coalesce(max(first), 0) FROM archive_blocks WHERE user = ?1 AND first <= ?2)`,
        )
        .all(user, fresh[0].place);
      const all = [...fresh];
      for (const { first, postings } of rows) {
        all.push(...within(decodeBlock(postings as Uint8Array), -1, Number.MAX_SAFE_INTEGER, false));
        this.#store.prepare('DELETE FROM archive_blocks WHERE user = ? AND first = ?').run(user, first);
      }
      all.sort((a, b) => a.place - b.place);
      let begin = 0;
      for (let n = 1; n <= all.length; n++) {
        // Positions grow within a block.
        const ends = n === all.length || n - begin === this.#sizes.block || all[n].position < all[n - 1].position;
        if (!ends) continue;
        this.#insert(user, numbersOf(all.slice(begin, n)));
        begin = n;
      }
    });
  }

  /** Notes that no place up to this one may be given again. */
  note(newest: number): void {
    this.#store.prepare('UPDATE archive_progress SET newest = max(newest, ?)').run(newest);
  }

  /** Adds postings behind a user's others: its last block is filled first. */
  #write(user: string, postings: Float64Array): void {
    const row = this.#store
      .prepare('SELECT first, postings FROM archive_blocks WHERE user = ? ORDER BY first DESC LIMIT 1')
      .get(user);
    const last = row ? decodeBlock(row.postings as Uint8Array) : new Float64Array(0);
    const newest = last.length > 0 ? last[last.length - stride] : -1;
    // Where an earlier attempt came so far, it is not done twice.
    let begin = 0;
    while (begin < postings.length && postings[begin] <= newest) begin += stride;
    if (begin === postings.length) return;
    const open = last.length < stride * this.#sizes.block ? last : last.subarray(0, 0);
    const all = new Float64Array(open.length + postings.length - begin);
    all.set(open);
    all.set(postings.subarray(begin), open.length);
    for (let at = 0; at < all.length; at += stride * this.#sizes.block) {
      this.#insert(user, all.subarray(at, at + stride * this.#sizes.block));
    }
  }

  #insert(user: string, block: Float64Array): void {
    this.#store
      .prepare('INSERT OR REPLACE INTO archive_blocks (user, first, last, postings) VALUES (?, ?, ?, ?)')
      .run(user, block[0], block[block.length - stride], encodeBlock(block));
  }

  *#blocks(user: string, after: number, before: number, backwards: boolean): Generator<Float64Array> {
    // Blocks do not overlap: all before this one are too old.
    const start = this.#store
      .prepare('SELECT coalesce(max(first), 0) AS first FROM archive_blocks WHERE user = ? AND first <= ?')
      .get(user, after)!.first;
    const order = backwards ? 'DESC' : 'ASC';
    const select = this.#store.prepare(
      `SELECT first, postings FROM archive_blocks WHERE user = ? AND first >= ? AND first < ? ORDER BY first ${order} LIMIT ?`,
    );
    let [from, to] = [Number(start), before];
    for (;;) {
      const rows = select.all(user, from, to, blocksAtOnce);
      for (const row of rows) yield decodeBlock(row.postings as Uint8Array);
      if (rows.length < blocksAtOnce) return;
      const { first } = rows[rows.length - 1];
      if (backwards) to = Number(first);
      else from = Number(first) + 1;
    }
  }
}

function numbersOf(postings: readonly Posting[]): Float64Array {
  return new Float64Array(
    postings.flatMap(({ place, position, contact, resource }) => [place, position, contact, resource]),
  );
}

function* chain<T>(...sources: Iterable<T>[]): Generator<T> {
  for (const source of sources) yield* source;
}

function* within(numbers: Float64Array, after: number, before: number, backwards: boolean): Generator<Posting> {
  const count = numbers.length / stride;
  for (let n = 0; n < count; n++) {
    const at = stride * (backwards ? count - 1 - n : n);
    const place = numbers[at];
    if (place <= after || place >= before) continue;
    yield { place, position: numbers[at + 1], contact: numbers[at + 2], resource: numbers[at + 3] };
  }
}
