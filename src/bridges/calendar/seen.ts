// Which messages were dealt with, across restarts: a broker may deliver a message twice, and does not always say so.
import { createHash } from 'node:crypto';
import type { Store } from '../../hub/store.ts';

const schema = [
  `CREATE TABLE calendar_seen (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, at INTEGER NOT NULL);
   CREATE INDEX calendar_seen_at ON calendar_seen (at)`,
];
/** A broker that delivers again does so soon; this many, and for this long, are remembered. */
const mostSeen = 500_000;
const memory = 14 * 86_400_000;

export class Seen {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
    store.migrate('calendar-seen', schema);
  }

  has(hash: Uint8Array): boolean {
    return this.#store.prepare('SELECT 1 FROM calendar_seen WHERE hash = ?').get(hash) !== undefined;
  }

  add(hash: Uint8Array, now: number): void {
    this.#store.prepare('INSERT OR IGNORE INTO calendar_seen (hash, at) VALUES (?, ?)').run(hash, now);
  }

  remove(hash: Uint8Array): void {
    this.#store.prepare('DELETE FROM calendar_seen WHERE hash = ?').run(hash);
  }

  /** Forgets the oldest. */
  tend(now: number): void {
    this.#store.prepare('DELETE FROM calendar_seen WHERE at < ?').run(now - memory);
    this.#store.prepare('DELETE FROM calendar_seen WHERE id <= (SELECT max(id) FROM calendar_seen) - ?').run(mostSeen);
  }
}

/** What stands for a message of a broker. */
export function messageHash(broker: string, id: string): Buffer {
  return createHash('sha256').update(`${broker}\0${id}`).digest().subarray(0, 16);
}
