// Accounts that are disabled: everything is kept for them, but nobody logs in (XEP-0133 §4.3, RFC 6120 §6.5.1).
import type { Hub } from '../hub/module.ts';
import type { Jid } from '../xmpp/jid.ts';

const schema = ['CREATE TABLE disabled_users (user TEXT PRIMARY KEY) WITHOUT ROWID'];

export class DisabledUsers {
  readonly #hub: Hub;
  readonly #users: Set<string>;

  constructor(hub: Hub) {
    this.#hub = hub;
    hub.store.migrate('disabled', schema);
    const rows = hub.store.prepare('SELECT user FROM disabled_users ORDER BY user').all();
    this.#users = new Set(rows.map(row => String(row.user)));
  }

  has(user: Jid): boolean {
    return this.#users.size > 0 && this.#users.has(user.bare.toString());
  }

  /** The bare JIDs of a domain's disabled users. */
  of(domain: string): string[] {
    return [...this.#users].filter(user => user.endsWith(`@${domain}`));
  }

  async set(user: Jid, disabled: boolean): Promise<void> {
    const bare = user.bare.toString();
    if (disabled) {
      this.#users.add(bare);
      this.#hub.store.prepare('INSERT OR IGNORE INTO disabled_users (user) VALUES (?)').run(bare);
    } else {
      this.#users.delete(bare);
      this.#hub.store.prepare('DELETE FROM disabled_users WHERE user = ?').run(bare);
    }
    await this.#hub.store.durable();
  }
}

const ofHub = new WeakMap<Hub, DisabledUsers>();

/** The disabled users of a hub; all modules share them. */
export function disabledUsersOf(hub: Hub): DisabledUsers {
  let users = ofHub.get(hub);
  if (!users) ofHub.set(hub, (users = new DisabledUsers(hub)));
  return users;
}
