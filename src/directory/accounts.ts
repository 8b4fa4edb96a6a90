// The hub's own accounts: SCRAM keys in the store, never a password.
import type { Directory, Person, PersonQuery, WritableDirectory } from '../hub/directory.ts';
import type { Row, Store } from '../hub/store.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { makeScramKeys, matchesScramKeys, type ScramHash, type ScramKeys } from '../xmpp/sasl/scram.ts';

const schema = [
  `CREATE TABLE accounts (
     domain TEXT NOT NULL, user TEXT NOT NULL, name TEXT, mail TEXT, mobile TEXT, created INTEGER NOT NULL,
     sha1 BLOB NOT NULL, sha256 BLOB NOT NULL, PRIMARY KEY (domain, user)) WITHOUT ROWID`,
];

/** Accounts whose presence or absence is known; routing asks for every message to somebody offline. */
const mostCached = 20_000;
const hashes = ['SHA-1', 'SHA-256'] as const;

/** What a person may say of themselves. */
export type AccountAttribute = 'name' | 'mail' | 'mobile';

export interface Accounts extends Directory {
  readonly writable: WritableDirectory;
  /** Sets or, given '', clears an attribute. Resolves to false where there is no such user. */
  setAttribute(user: string, attribute: AccountAttribute, value: string): Promise<boolean>;
}

/** The accounts of one domain. They can be made before the hub's first start: all they need is a store. */
export function createAccounts(store: Store, domain: string): Accounts {
  store.migrate('accounts', schema);
  const select = store.prepare('SELECT * FROM accounts WHERE domain = ? AND user = ?');
  const cache = new Map<string, Person | null>();

  const find = (user: string): Person | null => {
    const known = cache.get(user);
    if (known !== undefined) return known;
    const row = select.get(domain, user);
    const person = row ? personOf(row) : null;
    if (cache.size >= mostCached) cache.clear();
    cache.set(user, person);
    return person;
  };

  const keysOf = async (user: string, hash: ScramHash): Promise<ScramKeys | null> => {
    const row = select.get(domain, user);
    const packed = row?.[hash === 'SHA-1' ? 'sha1' : 'sha256'] as Uint8Array | undefined;
    // An account that came from elsewhere may have keys of one kind only.
    return packed?.length ? unpack(hash, packed) : null;
  };

  /** Makes the keys that an account did not bring along, now that its password is known; not over one set meanwhile. */
  const complete = async (user: string, password: string, sha1: ScramKeys | null, sha256: ScramKeys | null) => {
    const [first, second] = await Promise.all([
      sha1 ?? makeScramKeys(password, 'SHA-1'),
      sha256 ?? makeScramKeys(password, 'SHA-256'),
    ]);
    store
      .prepare('UPDATE accounts SET sha1 = ?, sha256 = ? WHERE domain = ? AND user = ? AND sha1 = ? AND sha256 = ?')
      .run(pack(first), pack(second), domain, user, sha1 ? pack(sha1) : nothing, sha256 ? pack(sha256) : nothing);
    await store.durable();
  };

  return {
    name: 'accounts',
    offersScram: true,
    find,
    scram: keysOf,
    async verify(user, password) {
      const [sha1, sha256] = await Promise.all([keysOf(user, 'SHA-1'), keysOf(user, 'SHA-256')]);
      // Somebody unknown takes as long as somebody known.
      const matches = await matchesScramKeys(password, sha256 ?? sha1 ?? noKeys);
      if (!matches || !(sha1 ?? sha256)) return false;
      if (!sha1 || !sha256) await complete(user, password, sha1, sha256);
      return true;
    },
    async *search(query) {
      const { sql, values } = matching(query);
      if (values.length === 0) return;
      const rows = store.prepare(`SELECT * FROM accounts WHERE domain = ? AND ${sql} LIMIT 100`).all(domain, ...values);
      for (const row of rows) yield personOf(row);
    },
    async findByMail(mail) {
      const row = store
        .prepare('SELECT * FROM accounts WHERE domain = ? AND mail = ? COLLATE NOCASE')
        .get(domain, mail);
      return row ? personOf(row) : null;
    },
    async setAttribute(user, attribute, value) {
      const sql = `UPDATE accounts SET ${attribute} = ? WHERE domain = ? AND user = ?`;
      const { changes } = store.prepare(sql).run(value || null, domain, user);
      cache.delete(user);
      await store.durable();
      return changes > 0;
    },
    writable: {
      async add(user, password) {
        const prepared = prepare(user, domain);
        if (find(prepared)) throw new StanzaError('conflict', `${prepared}@${domain} exists already`);
        const [sha1, sha256] = await Promise.all(hashes.map(hash => makeScramKeys(password, hash)));
        if (find(prepared)) throw new StanzaError('conflict', `${prepared}@${domain} exists already`);
        store
          .prepare('INSERT INTO accounts (domain, user, created, sha1, sha256) VALUES (?, ?, ?, ?, ?)')
          .run(domain, prepared, Date.now(), pack(sha1), pack(sha256));
        cache.delete(prepared);
        await store.durable();
      },
      async addKeys(user, keys) {
        const prepared = prepare(user, domain);
        if (find(prepared)) throw new StanzaError('conflict', `${prepared}@${domain} exists already`);
        const [sha1, sha256] = hashes.map(hash => keys.find(key => key.hash === hash));
        store
          .prepare('INSERT INTO accounts (domain, user, created, sha1, sha256) VALUES (?, ?, ?, ?, ?)')
          .run(domain, prepared, Date.now(), sha1 ? pack(sha1) : nothing, sha256 ? pack(sha256) : nothing);
        cache.delete(prepared);
        await store.durable();
      },
      async setPassword(user, password) {
        const [sha1, sha256] = await Promise.all(hashes.map(hash => makeScramKeys(password, hash)));
        const { changes } = store
          .prepare('UPDATE accounts SET sha1 = ?, sha256 = ? WHERE domain = ? AND user = ?')
          .run(pack(sha1), pack(sha256), domain, prepare(user, domain));
        await store.durable();
        return changes > 0;
      },
      async remove(user) {
        const prepared = prepare(user, domain);
        const { changes } = store.prepare('DELETE FROM accounts WHERE domain = ? AND user = ?').run(domain, prepared);
        cache.delete(prepared);
        await store.durable();
        return changes > 0;
      },
      *list() {
        for (const row of store.prepare('SELECT user FROM accounts WHERE domain = ? ORDER BY user').all(domain)) {
          yield String(row.user);
        }
      },
    },
  };
}

const nothing = new Uint8Array(0);
/** Free text is looked for anywhere; in a query, `*` stands for anything. */
function matching(query: string | PersonQuery): { sql: string; values: string[] } {
  const escaped = (text: string) => text.replace(/[\\%_]/g, '\\$&');
  const like = (column: string) => `${column} LIKE ? ESCAPE '\\'`;
  if (typeof query === 'string') {
    const text = `%${escaped(query)}%`;
    return { sql: `(${like('user')} OR ${like('name')} OR ${like('mail')})`, values: [text, text, text] };
  }
  const asked = (['user', 'name', 'mail', 'mobile'] as const).filter(column => query[column]);
  const values = asked.map(column => escaped(query[column]!).replaceAll('*', '%'));
  return { sql: asked.map(like).join(' AND '), values };
}

const noKeys: ScramKeys = {
  hash: 'SHA-256',
  iterations: 10_000,
  salt: new Uint8Array(16),
  storedKey: new Uint8Array(32),
  serverKey: new Uint8Array(32),
};

function prepare(user: string, domain: string): string {
  return Jid.parse(`${user}@${domain}`).local;
}

function personOf(row: Row): Person {
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  return { user: String(row.user), name: text(row.name), mail: text(row.mail), mobile: text(row.mobile) };
}

/** Rounds (4 bytes), length of the salt (1 byte), salt, stored key, server key. */
function pack(keys: ScramKeys): Uint8Array {
  const rounds = Buffer.alloc(5);
  rounds.writeUInt32BE(keys.iterations);
  rounds.writeUInt8(keys.salt.length, 4);
  return Buffer.concat([rounds, keys.salt, keys.storedKey, keys.serverKey]);
}

function unpack(hash: ScramHash, bytes: Uint8Array): ScramKeys {
  const packed = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const keysFrom = 5 + packed[4];
  const half = (packed.length - keysFrom) / 2;
  return {
    hash,
    iterations: packed.readUInt32BE(),
    salt: packed.subarray(5, keysFrom),
    storedKey: packed.subarray(keysFrom, keysFrom + half),
    serverKey: packed.subarray(keysFrom + half),
  };
}
