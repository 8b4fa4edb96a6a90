// Which messages were dealt with, across restarts: a broker may deliver a message twice, and does not always say so.
import { createHash } from 'node:crypto';
import type { Store } from '../../hub/store.ts';

const schema = ['CREATE TABLE calendar_seen (id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE)'];
/** A broker that delivers again does so soon: the last ones are remembered. */
const mostSeen = 500_000;

export class Seen {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
    store.migrate('calendar-seen', schema);
  }

  has(hash: Uint8Array): boolean {
    return this.#store.prepare('SELECT 1 FROM calendar_seen WHERE hash = ?').get(hash) !== undefined;
  }

  add(hash: Uint8Array): void {
    this.#store.prepare('INSERT OR IGNORE INTO calendar_seen (hash) VALUES (?)').run(hash);
  }

  remove(hash: Uint8Array): void {
    this.#store.prepare('DELETE FROM calendar_seen WHERE hash = ?').run(hash);
  }

  /** Forgets the oldest. */
  tend(): void {
    const last = this.#store.prepare('SELECT max(id) AS id FROM calendar_seen').get()?.id;
    if (last) this.#store.prepare('DELETE FROM calendar_seen WHERE id <= ?').run(Number(last) - mostSeen);
  }
}

/** What stands for a message of a broker. */
export function messageHash(broker: string, id: string): Buffer {
  return createHash('sha256').update(`${broker}\0${id}`).digest().subarray(0, 16);
}
