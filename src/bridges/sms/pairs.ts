// Who last wrote to a number, so that its answer finds them; and which numbers asked for no more messages.
import type { Store } from '../../hub/store.ts';
import { Jid } from '../../xmpp/jid.ts';

const schema = [
  `CREATE TABLE sms_pairs (
     bridge TEXT NOT NULL, number TEXT NOT NULL, jid TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (bridge, number)
   ) WITHOUT ROWID;
   CREATE INDEX sms_pairs_age ON sms_pairs (bridge, at);
   CREATE TABLE sms_stopped (
     bridge TEXT NOT NULL, number TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (bridge, number)
   ) WITHOUT ROWID;`,
];

/** A pair that is written to again within this time, in ms, keeps its age: the store is spared. */
const freshness = 3_600_000;
const mostRecent = 10_000;

export class Pairs {
  readonly #store: Store;
  readonly #bridge: string;
  readonly #most: number;
  /** What was written lately, to spare the store. */
  #recent = new Map<string, { jid: string; at: number }>();
  #count: number;
  #stopped: number;

  /** Keeps at most `most` pairs: the one that was not used for longest goes first. */
  constructor(store: Store, bridge: string, most: number) {
    this.#store = store;
    this.#bridge = bridge;
    this.#most = most;
    store.migrate('sms-pairs', schema);
    this.#count = Number(store.prepare('SELECT count(*) AS n FROM sms_pairs WHERE bridge = ?').get(bridge)?.n);
    this.#stopped = Number(store.prepare('SELECT count(*) AS n FROM sms_stopped WHERE bridge = ?').get(bridge)?.n);
  }

  get size(): number {
    return this.#count;
  }

  /** This person wrote to this number just now. Kept once the store is durable. */
  note(number: string, person: Jid): void {
    const jid = person.bare.toString();
    const now = Date.now();
    const recent = this.#recent.get(number);
    if (recent?.jid === jid && now - recent.at < freshness) return;
    if (this.#recent.size >= mostRecent) this.#recent = new Map();
    this.#recent.set(number, { jid, at: now });
    const known = this.#store
      .prepare('SELECT 1 AS n FROM sms_pairs WHERE bridge = ? AND number = ?')
      .get(this.#bridge, number);
    this.#store
      .prepare('INSERT OR REPLACE INTO sms_pairs (bridge, number, jid, at) VALUES (?, ?, ?, ?)')
      .run(this.#bridge, number, jid, now);
    if (!known && ++this.#count > this.#most) this.#evict();
  }

  /** Who wrote to this number last, as a bare JID, or null. */
  find(number: string): Jid | null {
    const row = this.#store
      .prepare('SELECT jid FROM sms_pairs WHERE bridge = ? AND number = ?')
      .get(this.#bridge, number);
    return row ? Jid.tryParse(String(row.jid)) : null;
  }

  /** The number asked for no more messages, or for messages again. True: that is news. */
  setStopped(number: string, stopped: boolean): boolean {
    const { changes } = stopped
      ? this.#store
          .prepare('INSERT OR IGNORE INTO sms_stopped (bridge, number, at) VALUES (?, ?, ?)')
          .run(this.#bridge, number, Date.now())
      : this.#store.prepare('DELETE FROM sms_stopped WHERE bridge = ? AND number = ?').run(this.#bridge, number);
    this.#stopped += stopped ? changes : -changes;
    return changes > 0;
  }

  isStopped(number: string): boolean {
    if (this.#stopped === 0) return false;
    return (
      this.#store
        .prepare('SELECT 1 AS n FROM sms_stopped WHERE bridge = ? AND number = ?')
        .get(this.#bridge, number) !== undefined
    );
  }

  get stopped(): number {
    return this.#stopped;
  }

  /** A tenth of a percent at a time, so that it is not done for each new pair. */
  #evict(): void {
    const some = Math.max(1, Math.floor(this.#most / 1000));
    const gone = this.#store
      .prepare('SELECT number FROM sms_pairs WHERE bridge = ? ORDER BY at LIMIT ?')
      .all(this.#bridge, some);
    for (const { number } of gone) {
      this.#store.prepare('DELETE FROM sms_pairs WHERE bridge = ? AND number = ?').run(this.#bridge, number);
      this.#recent.delete(String(number));
    }
    this.#count -= gone.length;
  }
}
