// Which stanzas were taken lately: what a client sends again because it heard nothing goes out once.
import { createHash } from 'node:crypto';
import type { Store } from '../../hub/store.ts';

const schema = [
  `CREATE TABLE sms_keys_0 (key BLOB PRIMARY KEY) WITHOUT ROWID;
   CREATE TABLE sms_keys_1 (key BLOB PRIMARY KEY) WITHOUT ROWID;
   CREATE TABLE sms_keys_turn (id INTEGER PRIMARY KEY, turn INTEGER NOT NULL);`,
];

/** How long a stanza is known again, in ms: from one to two of these. Two tables take turns; the older is emptied whole. */
const turn = 10 * 60_000;

/** Shared by all SMS bridges of a store. */
export class Repeats {
  readonly #store: Store;
  #turn = 0;

  constructor(store: Store) {
    this.#store = store;
    store.migrate('sms-repeats', schema);
  }

  /** Whether this combination was not seen lately. It counts as seen from now on, once the store is durable. */
  firstTime(parts: readonly string[]): boolean {
    const now = Math.floor(Date.now() / turn);
    if (now !== this.#turn) this.#takeTurns(now);
    const key = createHash('sha256').update(parts.join('\0')).digest().subarray(0, 12);
    const [young, old] = now % 2 === 0 ? ['sms_keys_0', 'sms_keys_1'] : ['sms_keys_1', 'sms_keys_0'];
    if (this.#store.prepare(`SELECT 1 AS n FROM ${old} WHERE key = ?`).get(key)) return false;
    return this.#store.prepare(`INSERT OR IGNORE INTO ${young} (key) VALUES (?)`).run(key).changes > 0;
  }

  #takeTurns(now: number): void {
    const last = Number(this.#store.prepare('SELECT turn FROM sms_keys_turn').get()?.turn ?? 0);
    this.#turn = now;
    if (last === now) return;
    const gone = now - last > 1 ? ['sms_keys_0', 'sms_keys_1'] : [now % 2 === 0 ? 'sms_keys_0' : 'sms_keys_1'];
    for (const table of gone) this.#store.prepare(`DELETE FROM ${table}`).run();
    this.#store.prepare('INSERT OR REPLACE INTO sms_keys_turn (id, turn) VALUES (1, ?)').run(now);
  }
}
