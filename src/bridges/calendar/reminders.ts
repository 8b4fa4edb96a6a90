// Reminders that somebody wants again later: the last few of each user, and those that are put off, which are stored.
import type { Store } from '../../hub/store.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { Stanza } from '../../xmpp/stanza.ts';

const schema = [
  `CREATE TABLE calendar_snoozed (
     id INTEGER PRIMARY KEY, user TEXT NOT NULL, at INTEGER NOT NULL, stanza BLOB NOT NULL);
   CREATE INDEX calendar_snoozed_at ON calendar_snoozed (at);
   CREATE INDEX calendar_snoozed_user ON calendar_snoozed (user)`,
];
const mostUsers = 20_000;
const lastOfUser = 5;
const mostSnoozed = 50;
/** The longest that a timer is set for. */
const longest = 60_000;

export class Reminders {
  readonly #store: Store;
  readonly #deliver: (stanza: Stanza) => Promise<void>;
  readonly #last = new Map<string, Stanza[]>();
  #timer: NodeJS.Timeout | null = null;

  /** `deliver` sends a reminder again; one that it rejects is tried later. */
  constructor(store: Store, deliver: (stanza: Stanza) => Promise<void>) {
    this.#store = store;
    this.#deliver = deliver;
    store.migrate('calendar-reminders', schema);
  }

  /** Keeps in mind what somebody was reminded of. */
  note(user: Jid, stanza: Stanza): void {
    const key = user.toString();
    const last = this.#last.get(key) ?? [];
    this.#last.delete(key);
    if (this.#last.size >= mostUsers) this.#last.delete(this.#last.keys().next().value!);
    this.#last.set(key, [stanza, ...last].slice(0, lastOfUser));
  }

  /** The last reminders of somebody, the newest first. */
  last(user: Jid): readonly Stanza[] {
    return this.#last.get(user.toString()) ?? [];
  }

  /** Puts a reminder off. False: too many of this user's are put off already. */
  async snooze(user: Jid, stanza: Stanza, at: number): Promise<boolean> {
    const key = user.toString();
    const row = this.#store.prepare('SELECT count(*) AS n FROM calendar_snoozed WHERE user = ?').get(key);
    if (Number(row?.n) >= mostSnoozed) return false;
    this.#store
      .prepare('INSERT INTO calendar_snoozed (user, at, stanza) VALUES (?, ?, ?)')
      .run(key, at, stanza.toBytes());
    await this.#store.durable();
    this.start();
    return true;
  }

  /** Sets the timer for the next one. */
  start(): void {
    if (this.#timer) clearTimeout(this.#timer);
    const next = this.#store.prepare('SELECT min(at) AS at FROM calendar_snoozed').get()?.at;
    if (next === null || next === undefined) return;
    const pause = Math.min(Math.max(Number(next) - Date.now(), 0), longest);
    this.#timer = setTimeout(() => void this.#fire(), pause);
    this.#timer.unref();
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  remove(user: string): void {
    this.#last.delete(user);
    this.#store.prepare('DELETE FROM calendar_snoozed WHERE user = ?').run(user);
  }

  get count(): number {
    return Number(this.#store.prepare('SELECT count(*) AS n FROM calendar_snoozed').get()?.n);
  }

  async #fire(): Promise<void> {
    const rows = this.#store
      .prepare('SELECT id, stanza FROM calendar_snoozed WHERE at <= ? ORDER BY at LIMIT 500')
      .all(Date.now());
    for (const row of rows) {
      const stanza = Stanza.parse(row.stanza as Uint8Array);
      try {
        await this.#deliver(stanza);
        this.#store.prepare('DELETE FROM calendar_snoozed WHERE id = ?').run(row.id);
        this.note(stanza.to!, stanza);
      } catch {
        // It is tried again in a minute.
        this.#store.prepare('UPDATE calendar_snoozed SET at = ? WHERE id = ?').run(Date.now() + longest, row.id);
      }
    }
    if (this.#timer) this.start();
  }
}
