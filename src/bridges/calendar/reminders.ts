// Alerts that come again later: the last reminders of each user, and what is put off, which is stored.
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
const mostHeld = 5_000;
/** The longest that a timer is set for. */
const longest = 60_000;

export class Reminders {
  readonly #store: Store;
  readonly #deliver: (stanza: Stanza) => void | Promise<void>;
  readonly #last = new Map<string, Stanza[]>();
  #timer: NodeJS.Timeout | null = null;
  #wake = Number.POSITIVE_INFINITY;
  #stopped = true;

  /** `deliver` sends a reminder again; one that it rejects is tried later. */
  constructor(store: Store, deliver: (stanza: Stanza) => void | Promise<void>) {
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
    this.#last.set(key, [stanza, ...last.filter(one => one.id !== stanza.id)].slice(0, lastOfUser));
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
    this.#insert(stanza, at);
    await this.#store.durable();
    return true;
  }

  /** Puts an alert off for a moment, whatever it is. False: too many wait already. */
  hold(stanza: Stanza, at: number): boolean {
    if (this.count >= mostHeld) return false;
    this.#insert(stanza, at);
    return true;
  }

  #insert(stanza: Stanza, at: number): void {
    const { to } = stanza;
    this.#store
      .prepare('INSERT INTO calendar_snoozed (user, at, stanza) VALUES (?, ?, ?)')
      .run(to!.toString(), at, stanza.toBytes());
    this.#arm(at);
  }

  /** Sets the timer for the next one. */
  start(): void {
    this.#stopped = false;
    const next = this.#store.prepare('SELECT min(at) AS at FROM calendar_snoozed').get()?.at;
    this.#wake = Number.POSITIVE_INFINITY;
    if (next !== null && next !== undefined) this.#arm(Number(next));
  }

  #arm(at: number): void {
    if (this.#stopped || at >= this.#wake) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#wake = at;
    this.#timer = setTimeout(() => void this.#fire(), Math.min(Math.max(at - Date.now(), 0), longest));
    this.#timer.unref();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
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
        const delivered = this.#deliver(stanza);
        this.#store.prepare('DELETE FROM calendar_snoozed WHERE id = ?').run(row.id);
        await delivered;
      } catch {
        // It is tried again in a minute.
        this.#insert(stanza, Date.now() + longest);
      }
    }
    if (!this.#stopped) this.start();
  }
}
