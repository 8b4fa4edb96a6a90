// What users have chosen: which kinds of alerts they get, and their time zone; kept in the store.
import type { Store } from '../../hub/store.ts';
import { type AlertKind, alertKinds } from './notification.ts';

const schema = [
  `CREATE TABLE calendar_preferences (user TEXT PRIMARY KEY, off TEXT NOT NULL, zone TEXT NOT NULL) WITHOUT ROWID`,
];
const mostCached = 20_000;

export interface Choice {
  /** The kinds of alerts that are off. */
  readonly off: ReadonlySet<AlertKind>;
  /** An IANA name, '' where none was chosen. */
  readonly zone: string;
}

const usual: Choice = { off: new Set(), zone: '' };

export class Preferences {
  readonly #store: Store;
  readonly #cache = new Map<string, Choice>();

  constructor(store: Store) {
    this.#store = store;
    store.migrate('calendar-preferences', schema);
  }

  of(user: string): Choice {
    const cached = this.#cache.get(user);
    if (cached) return cached;
    const row = this.#store.prepare('SELECT off, zone FROM calendar_preferences WHERE user = ?').get(user);
    const off = row ? String(row.off).split(' ') : [];
    const choice = row
      ? { off: new Set(alertKinds.filter(kind => off.includes(kind))), zone: String(row.zone) }
      : usual;
    if (this.#cache.size >= mostCached) this.#cache.clear();
    this.#cache.set(user, choice);
    return choice;
  }

  async set(user: string, choice: Choice): Promise<void> {
    this.#cache.delete(user);
    this.#store
      .prepare('INSERT OR REPLACE INTO calendar_preferences VALUES (?, ?, ?)')
      .run(user, [...choice.off].join(' '), choice.zone);
    await this.#store.durable();
  }

  remove(user: string): void {
    this.#cache.delete(user);
    this.#store.prepare('DELETE FROM calendar_preferences WHERE user = ?').run(user);
  }
}
