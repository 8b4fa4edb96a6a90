// The outgoing short messages in the store: what waits, what is under way, what was set aside, and what awaits its receipt.
import type { Row, Store } from '../../hub/store.ts';
import { Repeats } from './repeats.ts';

const schema = [
  `CREATE TABLE sms_out (
     id INTEGER PRIMARY KEY, bridge TEXT NOT NULL, route TEXT NOT NULL, state INTEGER NOT NULL, due INTEGER NOT NULL,
     number TEXT NOT NULL, text TEXT NOT NULL, sender TEXT NOT NULL, stanza TEXT NOT NULL, flags INTEGER NOT NULL,
     attempts INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0, done TEXT NOT NULL DEFAULT '',
     error TEXT NOT NULL DEFAULT '');
   CREATE INDEX sms_out_waiting ON sms_out (bridge, route, due, id) WHERE state = 0;
   CREATE INDEX sms_out_other ON sms_out (bridge, state, id) WHERE state > 0;
   CREATE TABLE sms_sent (
     id INTEGER PRIMARY KEY, bridge TEXT NOT NULL, smsc TEXT NOT NULL, message TEXT NOT NULL,
     number TEXT NOT NULL, sender TEXT NOT NULL, stanza TEXT NOT NULL, flags INTEGER NOT NULL);
   CREATE UNIQUE INDEX sms_sent_message ON sms_sent (bridge, smsc, message);`,
];

// SQLite takes the index of those that do not wait only where its own condition stands in the query: `state > 0`.
const waiting = 0;
const underWay = 1;
const aside = 2;

/** What is known of a message besides its text. */
export const flag = {
  /** Its sender asked for a receipt (XEP-0184). */
  receipt: 1,
  /** It was written to a user who was offline, and waits for them as well. */
  forwarded: 2,
  /** The bridge itself says it: nobody is to be told what became of it. */
  own: 4,
  /** An answer of the SMSC was lost: it may arrive twice. */
  twice: 8,
} as const;

/** A message that is to go out. */
export interface Outgoing {
  /** '' for the configured SMSCs, else whose account it goes by. */
  route: string;
  number: string;
  /** As it will be read on the phone. */
  text: string;
  /** The full JID of who wrote it, '' for the bridge itself. */
  sender: string;
  /** The id of their stanza. */
  stanza: string;
  flags: number;
}

export interface Queued extends Outgoing {
  id: number;
  /** How often it was tried, and how often the answer was lost. */
  attempts: number;
  lost: number;
  /** Which parts the SMSC has: `udh/3:1,2`. */
  done: string;
  error: string;
}

/** A part that the SMSC has and whose receipt is awaited. */
export interface Sent {
  id: number;
  number: string;
  sender: string;
  stanza: string;
  flags: number;
}

/** Message ids are times: 16 of them for a millisecond since this one. */
const epoch = Date.UTC(2024, 0, 1);
/** A part of a message has the id of the message, times this, and its place. */
const partsPer = 256;

export function idAt(time: number): number {
  return (time - epoch) * 16;
}

/** When a message was taken, in Unix ms. */
export function timeOf(id: number): number {
  return Math.floor(id / 16) + epoch;
}

export class SmsQueue {
  readonly #store: Store;
  readonly #bridge: string;
  readonly #repeats: Repeats;
  readonly #counts = [0, 0, 0];
  #last: number;
  /** Messages of which one part failed while others were under way. */
  readonly #failed = new Set<number>();

  constructor(store: Store, bridge: string) {
    this.#store = store;
    this.#bridge = bridge;
    store.migrate('sms-queue', schema);
    this.#repeats = new Repeats(store);
    const last = this.#get('SELECT max(id) AS id FROM sms_out')?.id;
    const lastSent = this.#get('SELECT max(id) AS id FROM sms_sent')?.id;
    this.#last = Math.max(Number(last ?? 0), Math.floor(Number(lastSent ?? 0) / partsPer));
    this.#counts[waiting] = this.#count('SELECT count(*) AS n FROM sms_out WHERE bridge = ? AND state = 0');
    this.#counts[aside] = this.#count('SELECT count(*) AS n FROM sms_out WHERE bridge = ? AND state = 2 AND state > 0');
    this.#counts[underWay] = this.#count(
      'SELECT count(*) AS n FROM sms_out WHERE bridge = ? AND state = 1 AND state > 0',
    );
  }

  /** Messages that wait or are under way. */
  get length(): number {
    return this.#counts[waiting] + this.#counts[underWay];
  }

  get setAside(): number {
    return this.#counts[aside];
  }

  /** Parts whose receipts are awaited. Counts them: not for hot paths. */
  get awaiting(): number {
    return this.#count('SELECT count(*) AS n FROM sms_sent WHERE bridge = ?');
  }

  /** Makes what the last run left under way wait again, marked: it may have been sent. Gives how many there were. */
  recover(): number {
    const { changes } = this.#run(
      `UPDATE sms_out SET state = 0, lost = lost + 1, attempts = attempts + 1, flags = flags | ${flag.twice},
       error = 'the hub ended before the answer came' WHERE bridge = ? AND state = 1 AND state > 0`,
      this.#bridge,
    );
    this.#move(underWay, waiting, changes);
    return changes;
  }

  /** Takes a message; it is kept once the store is durable. Null: the same stanza was taken a moment ago. */
  add(message: Outgoing, due = Date.now()): number | null {
    // A stanza that could not be kept must not count as taken when it is sent again.
    return this.#store.atomic(() => (this.#isRepeated(message) ? null : this.#insert(message, due)));
  }

  #isRepeated({ sender, number, stanza, text }: Outgoing): boolean {
    return stanza !== '' && !this.#repeats.firstTime([this.#bridge, sender, number, stanza, text]);
  }

  #insert(message: Outgoing, due: number): number {
    const id = Math.max(this.#last + 1, idAt(Date.now()));
    const { route, number, text, sender, stanza, flags } = message;
    this.#run(
      `INSERT INTO sms_out (id, bridge, route, state, due, number, text, sender, stanza, flags)
       VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?)`,
      ...[id, this.#bridge, route, due, number, text, sender, stanza, flags],
    );
    this.#last = id;
    this.#counts[waiting]++;
    return id;
  }

  /** Takes the next messages of a route out of the line, the longest due first. They are under way once the store is durable. */
  claim(route: string, most: number, now = Date.now()): Queued[] {
    const rows = this.#all(
      `SELECT id, route, number, text, sender, stanza, flags, attempts, lost, done, error FROM sms_out
       WHERE bridge = ? AND route = ? AND state = 0 AND due <= ? ORDER BY due, id LIMIT ?`,
      this.#bridge,
      route,
      now,
      most,
    );
    for (const row of rows) this.#run('UPDATE sms_out SET state = 1 WHERE id = ?', row.id);
    this.#move(waiting, underWay, rows.length);
    return rows as unknown as Queued[];
  }

  /** When the next message of a route is due, or null. */
  nextDue(route: string): number | null {
    const row = this.#get(
      'SELECT due FROM sms_out WHERE bridge = ? AND route = ? AND state = 0 ORDER BY due, id LIMIT 1',
      this.#bridge,
      route,
    );
    return row ? Number(row.due) : null;
  }

  /** When the message that has waited longest was taken, or null. In the order of ids: the index has another one. */
  oldest(): number | null {
    const row = this.#get('SELECT id FROM sms_out WHERE +bridge = ? AND +state = 0 ORDER BY id LIMIT 1', this.#bridge);
    return row ? timeOf(Number(row.id)) : null;
  }

  /** Back into the line: it was not sent. */
  release({ id }: Queued, due: number): void {
    this.#run('UPDATE sms_out SET state = 0, due = ? WHERE id = ? AND state = 1', due, id);
    this.#move(underWay, waiting, 1);
  }

  /** Back into the line after an attempt; `lost`: it may have been sent. */
  retry({ id }: Queued, due: number, error: string, lost: boolean): void {
    this.#run(
      `UPDATE sms_out SET state = 0, due = ?, attempts = attempts + 1, lost = lost + ?, flags = flags | ?, error = ?
       WHERE id = ?`,
      due,
      lost ? 1 : 0,
      lost ? flag.twice : 0,
      error,
      id,
    );
    this.#move(underWay, waiting, 1);
  }

  /** Out of the line, for an operator to look at. */
  putAside({ id }: Queued, error: string): void {
    this.#run(
      `UPDATE sms_out SET state = 2, attempts = attempts + 1, lost = lost + 1, flags = flags | ${flag.twice},
       error = ? WHERE id = ?`,
      error,
      id,
    );
    this.#move(underWay, aside, 1);
  }

  /** The SMSC has a part; `message` is its number there, '' where it gave none. `done` is kept where there are more parts. */
  accepted(queued: Queued, part: number, smsc: string, message: string, done: string): void {
    if (done !== '') this.#run('UPDATE sms_out SET done = ? WHERE id = ?', done, queued.id);
    if (message === '') return;
    this.#run(
      `INSERT OR REPLACE INTO sms_sent (id, bridge, smsc, message, number, sender, stanza, flags)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      queued.id * partsPer + part,
      this.#bridge,
      smsc,
      message,
      queued.number,
      queued.sender,
      queued.stanza,
      queued.flags,
    );
  }

  /** The SMSC has all parts, or will never have them. */
  remove({ id }: { id: number }): void {
    const row = this.#get('DELETE FROM sms_out WHERE id = ? RETURNING state', id);
    if (row) this.#counts[Number(row.state)]--;
    else this.#failed.delete(id);
  }

  /** The part that a receipt is for, by any spelling of its number; the phone that tells must be the one that was written to. */
  findSent(smsc: string, spelled: readonly string[], number: string | null): Sent | null {
    for (const message of spelled) {
      const row = this.#get(
        'SELECT id, number, sender, stanza, flags FROM sms_sent WHERE bridge = ? AND smsc = ? AND message = ?',
        this.#bridge,
        smsc,
        message,
      );
      if (row && (number === null || row.number === number)) return row as unknown as Sent;
    }
    return null;
  }

  /** The receipt of a part came. True: it was the last one that its message waited for. */
  settle({ id }: Sent): boolean {
    this.#run('DELETE FROM sms_sent WHERE id = ?', id);
    const message = Math.floor(id / partsPer);
    const others = this.#get(
      'SELECT 1 AS n FROM sms_sent WHERE id >= ? AND id < ? UNION ALL SELECT 1 FROM sms_out WHERE id = ?',
      ...this.#partsOf(message),
      message,
    );
    return others === undefined;
  }

  /**
   * The SMSC has all parts: the message leaves the line. Says whether receipts are still to come, or all came already,
   * or one came that says it failed.
   */
  complete(queued: Queued): 'awaited' | 'settled' | 'failed' {
    this.remove(queued);
    if (this.#failed.delete(queued.id)) {
      this.#forgetParts(queued.id);
      return 'failed';
    }
    const left = this.#get('SELECT 1 AS n FROM sms_sent WHERE id >= ? AND id < ?', ...this.#partsOf(queued.id));
    return left ? 'awaited' : 'settled';
  }

  /** No more is to be heard of a message: it failed. */
  abandon({ id }: Sent): void {
    const message = Math.floor(id / partsPer);
    this.#forgetParts(message);
    if (this.#get('SELECT 1 AS n FROM sms_out WHERE id = ? AND state = 1', message)) this.#failed.add(message);
  }

  /** Messages that were taken before `time` and not sent since: at most `most`, those under way left out. */
  expired(time: number, most: number): Queued[] {
    const columns = 'id, route, number, text, sender, stanza, flags, attempts, lost, done, error';
    return this.#all(
      `SELECT ${columns} FROM sms_out WHERE +bridge = ? AND id < ? AND state <> 1 ORDER BY id LIMIT ?`,
      this.#bridge,
      idAt(time),
      most,
    ) as unknown as Queued[];
  }

  /** Stops waiting for receipts of what was sent before `time`: at most `most`. Gives how many there were. */
  forgetSent(time: number, most: number): number {
    return this.#run(
      'DELETE FROM sms_sent WHERE id IN (SELECT id FROM sms_sent WHERE id < ? AND +bridge = ? ORDER BY id LIMIT ?)',
      idAt(time) * partsPer,
      this.#bridge,
      most,
    ).changes;
  }

  /** Those that wait for a number and are not the bridge's own words. */
  waitingFor(number: string, most: number): Queued[] {
    return this.#all(
      `SELECT id, route, number, text, sender, stanza, flags, attempts, lost, done, error FROM sms_out
       WHERE bridge = ? AND state = 0 AND number = ? AND flags & ${flag.own} = 0 LIMIT ?`,
      this.#bridge,
      number,
      most,
    ) as unknown as Queued[];
  }

  /** For operators: the messages in a state, the oldest first. */
  list(which: 'waiting' | 'aside' | 'sent' | 'all', most: number): Record<string, unknown>[] {
    if (which === 'sent') {
      return this.#all(
        'SELECT id, smsc, message, number, sender, stanza, flags FROM sms_sent WHERE bridge = ? ORDER BY id LIMIT ?',
        this.#bridge,
        most,
      ).map(row => ({
        id: `${Math.floor(Number(row.id) / partsPer).toString(36)}.${Number(row.id) % partsPer}`,
        state: 'sent',
        number: row.number,
        sender: row.sender,
        smsc: row.smsc,
        message: row.message,
        ...marks(row),
      }));
    }
    const states = which === 'all' ? 'state >= 0' : which === 'aside' ? 'state = 2 AND state > 0' : 'state < 2';
    return this.#all(
      `SELECT id, state, number, sender, attempts, flags, error FROM sms_out
       WHERE bridge = ? AND ${states} ORDER BY id LIMIT ?`,
      this.#bridge,
      most,
    ).map(row => ({
      id: Number(row.id).toString(36),
      state: stateNames[Number(row.state)],
      taken: new Date(timeOf(Number(row.id))).toISOString(),
      number: row.number,
      sender: row.sender,
      attempts: row.attempts,
      ...marks(row),
      error: row.error,
    }));
  }

  /** For operators: all of one message, or null. */
  show(id: number): (Queued & { state: string; due: number }) | null {
    const row = this.#get('SELECT * FROM sms_out WHERE bridge = ? AND id = ?', this.#bridge, id);
    return row
      ? ({ ...row, state: stateNames[Number(row.state)] } as unknown as Queued & { state: string; due: number })
      : null;
  }

  /** For operators: tries those that wait or were set aside again, at once and from the first attempt on. Gives how many. */
  again(ids: readonly number[] | 'all'): number {
    const change = `UPDATE sms_out SET state = 0, due = ?, attempts = 0, lost = 0 WHERE bridge = ? AND state = `;
    let fromAside = 0;
    let inLine = 0;
    if (ids === 'all') fromAside = this.#run(`${change} 2 AND state > 0`, Date.now(), this.#bridge).changes;
    else {
      for (const id of ids) {
        fromAside += this.#run(`${change} 2 AND id = ?`, Date.now(), this.#bridge, id).changes;
        inLine += this.#run(`${change} 0 AND id = ?`, Date.now(), this.#bridge, id).changes;
      }
    }
    this.#move(aside, waiting, fromAside);
    return fromAside + inLine;
  }

  /** Gives what waits on a route that is no more to another one. */
  reroute(from: string, to: string): void {
    this.#run('UPDATE sms_out SET route = ? WHERE bridge = ? AND route = ?', to, this.#bridge, from);
  }

  #partsOf(message: number): [number, number] {
    return [message * partsPer, (message + 1) * partsPer];
  }

  #forgetParts(message: number): void {
    this.#run('DELETE FROM sms_sent WHERE id >= ? AND id < ?', ...this.#partsOf(message));
  }

  #move(from: number, to: number, n: number): void {
    this.#counts[from] -= n;
    this.#counts[to] += n;
  }

  #count(sql: string): number {
    return Number(this.#get(sql, this.#bridge)?.n ?? 0);
  }

  #get(sql: string, ...values: Parameters<ReturnType<Store['prepare']>['get']>): Row | undefined {
    return this.#store.prepare(sql).get(...values);
  }

  #all(sql: string, ...values: Parameters<ReturnType<Store['prepare']>['all']>): Row[] {
    return this.#store.prepare(sql).all(...values);
  }

  #run(sql: string, ...values: Parameters<ReturnType<Store['prepare']>['run']>): { changes: number } {
    const result = this.#store.prepare(sql).run(...values);
    this.#store.commitSoon();
    return result;
  }
}

const stateNames = ['waiting', 'under way', 'set aside'];

function marks({ flags }: Row): Record<string, unknown> {
  const n = Number(flags);
  return { forwarded: (n & flag.forwarded) !== 0, 'possible duplicate': (n & flag.twice) !== 0 };
}
