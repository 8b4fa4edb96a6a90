// Tokens that let a client log in again without its password: given, proved, renewed and taken back (XEP-0484).
import { createHash, randomBytes } from 'node:crypto';
import type { Hub } from '../hub/module.ts';
import type { Row } from '../hub/store.ts';
import { type Element, el } from '../xmpp/element.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { TokenProof } from '../xmpp/sasl/hashed-token.ts';
import { SaslError } from '../xmpp/sasl/sasl.ts';

/** A client has a token in use and, at times, a new one it has not used yet (XEP-0484 §5.1). */
const schema = [
  `CREATE TABLE login_tokens (
     user TEXT NOT NULL, client TEXT NOT NULL, fresh INTEGER NOT NULL, mechanism TEXT NOT NULL, token TEXT NOT NULL,
     password TEXT NOT NULL, made INTEGER NOT NULL, expires INTEGER NOT NULL, count INTEGER NOT NULL,
     PRIMARY KEY (user, client, fresh)) WITHOUT ROWID`,
];

/** Clients of one user that have tokens; the one whose token is the oldest makes room. */
const mostClients = 50;
/** A token of this age is renewed when it is used, in ms. */
const renewalAge = 86_400_000;

/** A token that was proved. */
export interface ProvedToken {
  readonly token: string;
  readonly mechanism: string;
  /** Whether the client should get another one by now. */
  readonly due: boolean;
}

export class LoginTokens {
  readonly #hub: Hub;

  constructor(hub: Hub) {
    this.#hub = hub;
    hub.store.migrate('login tokens', schema);
    hub.on('account-removed', user => {
      hub.store.prepare('DELETE FROM login_tokens WHERE user = ?').run(user.bare.toString());
    });
  }

  /** Makes a token for one client of a user and one mechanism: `<token/>`. The one in use stays until this one is used. */
  async issue(user: Jid, client: string, mechanism: string): Promise<Element> {
    const token = randomBytes(32).toString('base64url');
    const now = Date.now();
    const expires = now + this.#hub.config.clients.tokenLifetime;
    const password = await this.#passwordOf(user);
    const { store } = this.#hub;
    const key = user.bare.toString();
    store.atomic(() => {
      store
        .prepare('INSERT OR REPLACE INTO login_tokens VALUES (?, ?, 1, ?, ?, ?, ?, ?, 0)')
        .run(key, client, mechanism, token, password, now, expires);
      store.prepare('DELETE FROM login_tokens WHERE user = ? AND expires < ?').run(key, now);
      store
        .prepare(
          `DELETE FROM login_tokens WHERE user = ? AND client NOT IN (
             SELECT client FROM login_tokens WHERE user = ? GROUP BY client ORDER BY max(made) DESC LIMIT ?)`,
        )
        .run(key, key, mostClients);
    });
    await store.durable();
    return el('token', ns.fast, { token, expiry: new Date(expires).toISOString() });
  }

  /**
   * Finds the token that a client proves to have. `count` is the number of the attempt, where the client gives one.
   * Rejects with a SaslError: `credentials-expired` where the token was right and is not any more.
   */
  async prove(
    user: Jid,
    client: string,
    mechanism: string,
    proof: TokenProof,
    count: number | null,
  ): Promise<ProvedToken> {
    const { store } = this.#hub;
    const key = user.bare.toString();
    const rows = store
      .prepare('SELECT * FROM login_tokens WHERE user = ? AND client = ? ORDER BY fresh DESC')
      .all(key, client);
    // Every token is looked at, whichever is right; somebody unknown takes as long as somebody known.
    const right = rows.filter(row => proof.proves(String(row.token)));
    if (rows.length === 0) proof.proves('');
    const row: Row | undefined = right.find(one => one.mechanism === mechanism);
    if (!row) throw new SaslError('not-authorized');
    if (Number(row.expires) < Date.now() || row.password !== (await this.#passwordOf(user))) {
      store.prepare('DELETE FROM login_tokens WHERE user = ? AND token = ?').run(key, row.token);
      throw new SaslError('credentials-expired');
    }
    if (count !== null && count <= Number(row.count)) throw new SaslError('not-authorized', 'that was seen before');
    store.atomic(() => {
      // A new token that is used takes the place of the one before.
      store
        .prepare('UPDATE OR REPLACE login_tokens SET fresh = 0, count = ? WHERE user = ? AND client = ? AND fresh = ?')
        .run(count ?? Number(row.count), key, client, row.fresh);
    });
    const due = Date.now() - Number(row.made) > Math.min(renewalAge, (Number(row.expires) - Number(row.made)) / 2);
    return { token: String(row.token), mechanism, due };
  }

  /** Takes a token back. */
  async revoke(user: Jid, token: string): Promise<void> {
    const { store } = this.#hub;
    store.prepare('DELETE FROM login_tokens WHERE user = ? AND token = ?').run(user.bare.toString(), token);
    await store.durable();
  }

  /** What changes when the user's password does, as far as the directory tells: tokens do not outlive it. */
  async #passwordOf(user: Jid): Promise<string> {
    const directory = this.#hub.directory(user.domain);
    // A login is not answered from what routing remembers.
    const known = directory?.userOf ? await directory.userOf(user.local) : (await directory?.find(user.local))?.user;
    if (!directory || known !== user.local) throw new SaslError('not-authorized');
    const keys = await directory.scram(user.local, 'SHA-256');
    return keys ? createHash('sha256').update(keys.storedKey).digest('base64url') : '';
  }
}
