// Messages that were archived elsewhere keep the ids by which clients know them (XEP-0313 §3.4, XEP-0227 §4.11).
import type { Store } from '../../hub/store.ts';

const schema = [
  `CREATE TABLE archive_adopted (user TEXT, place INTEGER, id TEXT NOT NULL, PRIMARY KEY (user, place)) WITHOUT ROWID;
   CREATE UNIQUE INDEX archive_adopted_id ON archive_adopted (user, id);
   CREATE INDEX archive_adopted_age ON archive_adopted (place)`,
];

export class Adoptions {
  readonly #store: Store;
  /** Those who have any: most users cost no look-up. */
  readonly #users: Set<string>;

  constructor(store: Store) {
    this.#store = store;
    store.migrate('archive adoptions', schema);
    const users = store.prepare('SELECT DISTINCT user FROM archive_adopted').all();
    this.#users = new Set(users.map(({ user }) => String(user)));
  }

  add(user: string, place: number, id: string): void {
    this.#users.add(user);
    this.#store.prepare('INSERT INTO archive_adopted VALUES (?, ?, ?)').run(user, place, id);
  }

  /** The id that the message of a place had elsewhere; null: it is of this hub's own. */
  idOf(user: string, place: number): string | null {
    if (!this.#users.has(user)) return null;
    const row = this.#store.prepare('SELECT id FROM archive_adopted WHERE user = ? AND place = ?').get(user, place);
    return row ? String(row.id) : null;
  }

  placeOf(user: string, id: string): number | null {
    if (!this.#users.has(user)) return null;
    const row = this.#store.prepare('SELECT place FROM archive_adopted WHERE user = ? AND id = ?').get(user, id);
    return row ? Number(row.place) : null;
  }

  forget(user: string): void {
    if (this.#users.delete(user)) this.#store.prepare('DELETE FROM archive_adopted WHERE user = ?').run(user);
  }

  /** Forgets what stands before a place. */
  expire(before: number): void {
    if (this.#users.size > 0) this.#store.prepare('DELETE FROM archive_adopted WHERE place < ?').run(before);
  }
}
