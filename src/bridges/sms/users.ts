// What users have told the bridge: whether their messages go to their phone, which number that is, and an account of their own.
import type { Row, Store } from '../../hub/store.ts';
import { Jid } from '../../xmpp/jid.ts';

const schema = [
  `CREATE TABLE sms_users (
     bridge TEXT NOT NULL, jid TEXT NOT NULL, forward INTEGER, number TEXT NOT NULL DEFAULT '',
     smsc TEXT NOT NULL DEFAULT '', system_id TEXT NOT NULL DEFAULT '', password TEXT NOT NULL DEFAULT '',
     sender TEXT NOT NULL DEFAULT '', PRIMARY KEY (bridge, jid)) WITHOUT ROWID;`,
];

/** Users with an account of their own: each has a connection. */
export const mostOwnAccounts = 500;

/** An SMSC account of a user's own. */
export interface OwnAccount {
  /** The SMSC of the configuration that it is on. */
  smsc: string;
  systemId: string;
  password: string;
  /** The originating address. */
  sender: string;
}

export interface UserSettings {
  /** Null: as the configuration says. */
  forward: boolean | null;
  /** '' where they gave none. */
  number: string;
  account: OwnAccount | null;
}

const nothing: UserSettings = { forward: null, number: '', account: null };

export class Users {
  readonly #store: Store;
  readonly #bridge: string;

  constructor(store: Store, bridge: string) {
    this.#store = store;
    this.#bridge = bridge;
    store.migrate('sms-users', schema);
  }

  get(user: Jid): UserSettings {
    const row = this.#store
      .prepare('SELECT * FROM sms_users WHERE bridge = ? AND jid = ?')
      .get(this.#bridge, user.bare.toString());
    return row ? settingsOf(row) : nothing;
  }

  /** Changes what is given. Resolves when it is kept. */
  async set(user: Jid, changes: Partial<UserSettings>): Promise<void> {
    const { forward, number, account } = { ...this.get(user), ...changes };
    this.#store
      .prepare(
        `INSERT OR REPLACE INTO sms_users (bridge, jid, forward, number, smsc, system_id, password, sender)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        this.#bridge,
        user.bare.toString(),
        forward === null ? null : Number(forward),
        number,
        account?.smsc ?? '',
        account?.systemId ?? '',
        account?.password ?? '',
        account?.sender ?? '',
      );
    await this.#store.durable();
  }

  async remove(user: Jid): Promise<void> {
    this.#store.prepare('DELETE FROM sms_users WHERE bridge = ? AND jid = ?').run(this.#bridge, user.bare.toString());
    await this.#store.durable();
  }

  /** Those who use an account of their own. */
  withAccounts(): { user: Jid; account: OwnAccount }[] {
    return this.#store
      .prepare("SELECT * FROM sms_users WHERE bridge = ? AND smsc <> '' LIMIT ?")
      .all(this.#bridge, mostOwnAccounts)
      .map(row => ({ user: Jid.parse(String(row.jid)), account: settingsOf(row).account! }));
  }
}

function settingsOf(row: Row): UserSettings {
  const account: OwnAccount = {
    smsc: String(row.smsc),
    systemId: String(row.system_id),
    password: String(row.password),
    sender: String(row.sender),
  };
  return {
    forward: row.forward === null ? null : row.forward === 1,
    number: String(row.number),
    account: account.smsc === '' ? null : account,
  };
}
