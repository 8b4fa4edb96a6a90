// The times at which users are busy: stored, so that a restart forgets nothing, and asked for by user and by time.
import type { Store } from '../../hub/store.ts';
import type { Busy } from './entry.ts';
import type { Span } from './series.ts';

const schema = [
  `CREATE TABLE calendar_busy (
     user TEXT NOT NULL, uid TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, busy TEXT NOT NULL);
   CREATE INDEX calendar_busy_user ON calendar_busy (user, start);
   CREATE INDEX calendar_busy_event ON calendar_busy (user, uid);
   CREATE INDEX calendar_busy_start ON calendar_busy (start);
   CREATE INDEX calendar_busy_end ON calendar_busy (end)`,
];

export class BusyTimes {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
    store.migrate('calendar-busy', schema);
  }

  /** Replaces the times that an event takes. */
  set(jid: string, uid: string, spans: readonly Span[]): void {
    this.#store.prepare('DELETE FROM calendar_busy WHERE user = ? AND uid = ?').run(jid, uid);
    for (const span of spans) this.add(jid, uid, span);
  }

  add(jid: string, uid: string, { start, end, busy }: Span): void {
    this.#store
      .prepare('INSERT INTO calendar_busy (user, uid, start, end, busy) VALUES (?, ?, ?, ?, ?)')
      .run(jid, uid, start, end, busy);
  }

  clear(jid: string): void {
    this.#store.prepare('DELETE FROM calendar_busy WHERE user = ?').run(jid);
  }

  /** Forgets what was over at a time. */
  tend(before: number): void {
    this.#store.prepare('DELETE FROM calendar_busy WHERE end < ?').run(before);
  }

  get count(): number {
    return Number(this.#store.prepare('SELECT count(*) AS n FROM calendar_busy').get()?.n);
  }

  /** The times of somebody that are not over, the earliest first. */
  spans(jid: string, now: number, most = 200): Span[] {
    const rows = this.#store
      .prepare('SELECT start, end, busy FROM calendar_busy WHERE user = ? AND end > ? ORDER BY start LIMIT ?')
      .all(jid, now, most);
    return rows.map(row => ({ start: Number(row.start), end: Number(row.end), busy: String(row.busy) as Busy }));
  }

  /** Whether a time of somebody runs. What is over is kept for a day only, so few rows are looked at. */
  runs(jid: string, now: number): boolean {
    const sql = 'SELECT 1 FROM calendar_busy WHERE user = ? AND start <= ? AND end > ? LIMIT 1';
    return this.#store.prepare(sql).get(jid, now, now) !== undefined;
  }

  /** When a time of somebody starts next, or one that runs ends; Infinity for never. */
  nextOf(jid: string, now: number): number {
    const start = this.#store.prepare('SELECT min(start) AS at FROM calendar_busy WHERE user = ? AND start > ?');
    const end = this.#store.prepare(
      'SELECT min(end) AS at FROM calendar_busy WHERE user = ? AND start <= ? AND end > ?',
    );
    const times = [start.get(jid, now)?.at, end.get(jid, now, now)?.at];
    return Math.min(...times.map(at => (typeof at === 'number' ? at : Number.POSITIVE_INFINITY)));
  }

  /** Who has a time that runs. */
  busyAt(now: number): string[] {
    const rows = this.#store.prepare('SELECT DISTINCT user FROM calendar_busy WHERE start <= ? AND end > ?');
    return rows.all(now, now).map(row => String(row.user));
  }

  /** Who has a time that starts or ends after `after`, and at or before `now`. */
  changedBetween(after: number, now: number): string[] {
    const sql = `SELECT user FROM calendar_busy WHERE start > ? AND start <= ?
                 UNION SELECT user FROM calendar_busy WHERE end > ? AND end <= ?`;
    return this.#store
      .prepare(sql)
      .all(after, now, after, now)
      .map(row => String(row.user));
  }

  /** When the next time after `after` starts or ends; null for never. */
  nextChange(after: number): number | null {
    const start = this.#store.prepare('SELECT min(start) AS at FROM calendar_busy WHERE start > ?').get(after)?.at;
    const end = this.#store.prepare('SELECT min(end) AS at FROM calendar_busy WHERE end > ?').get(after)?.at;
    const times = [start, end].filter(at => at !== null && at !== undefined).map(Number);
    return times.length > 0 ? Math.min(...times) : null;
  }
}
