// Digest authentication both ways, with MD5 and SHA-256 (RFC 3261 §22, RFC 7616, RFC 8760).
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { isToken, quote, splitList } from './fields.ts';
import type { Message } from './message.ts';

type Algorithm = 'MD5' | 'SHA-256';

/** The parameters of a challenge or of credentials; names in lower case. */
export type DigestParams = ReadonlyMap<string, string>;

/** Reads `Digest name="value", name=value`; null for other schemes and broken ones. */
export function parseDigest(value: string): DigestParams | null {
  const scheme = /^Digest[ \t]+/i.exec(value);
  if (!scheme) return null;
  const params = new Map<string, string>();
  for (const part of splitList(value.slice(scheme[0].length))) {
    const found = /^([^\s=]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))$/s.exec(part);
    const name = found?.[1].toLowerCase();
    if (!found || !name || !isToken(name) || params.has(name)) return null;
    params.set(name, found[2] === undefined ? found[3] : found[2].replace(/\\(.)/gs, '$1'));
  }
  return params;
}

function hash(algorithm: Algorithm, text: string): string {
  return createHash(algorithm === 'MD5' ? 'md5' : 'sha256')
    .update(text)
    .digest('hex');
}

function algorithmOf(params: DigestParams): Algorithm | null {
  const name = (params.get('algorithm') ?? 'MD5').toUpperCase();
  return name === 'MD5' || name === 'SHA-256' ? name : null;
}

interface Proof {
  algorithm: Algorithm;
  user: string;
  realm: string;
  password: string;
  method: string;
  uri: string;
  nonce: string;
  /** null: as RFC 2069 has it, without qop. */
  qop: { nc: string; cnonce: string } | null;
}

function proof(of: Proof): string {
  const secret = hash(of.algorithm, `${of.user}:${of.realm}:${of.password}`);
  const request = hash(of.algorithm, `${of.method}:${of.uri}`);
  const middle = of.qop ? `${of.nonce}:${of.qop.nc}:${of.qop.cnonce}:auth` : of.nonce;
  return hash(of.algorithm, `${secret}:${middle}:${request}`);
}

/** A challenge that can be answered: SHA-256 before MD5, `auth` before nothing; null where there is none. */
export function pickChallenge(values: readonly string[]): DigestParams | null {
  const usable = values.flatMap(value => {
    const params = parseDigest(value);
    if (!params?.has('nonce') || !params.has('realm') || algorithmOf(params) === null) return [];
    const qops = params
      .get('qop')
      ?.split(',')
      .map(one => one.trim().toLowerCase());
    return !qops || qops.includes('auth') ? [params] : [];
  });
  return usable.find(params => algorithmOf(params) === 'SHA-256') ?? usable[0] ?? null;
}

/** The value of Authorization or Proxy-Authorization that answers a challenge (RFC 7616 §3.4). */
export function answerChallenge(
  challenge: DigestParams,
  who: { user: string; password: string },
  method: string,
  uri: string,
): string {
  const realm = challenge.get('realm')!;
  const nonce = challenge.get('nonce')!;
  const qop = challenge.has('qop') ? { nc: '00000001', cnonce: randomBytes(12).toString('hex') } : null;
  const algorithm = algorithmOf(challenge)!;
  const response = proof({ algorithm, ...who, realm, method, uri, nonce, qop });
  const parts = [
    `username=${quote(who.user)}`,
    `realm=${quote(realm)}`,
    `nonce=${quote(nonce)}`,
    `uri=${quote(uri)}`,
    `response="${response}"`,
    `algorithm=${algorithm}`,
  ];
  if (qop) parts.push(`cnonce="${qop.cnonce}"`, `nc=${qop.nc}`, 'qop=auth');
  const opaque = challenge.get('opaque');
  if (opaque !== undefined) parts.push(`opaque=${quote(opaque)}`);
  return `Digest ${parts.join(', ')}`;
}

/** For how long a nonce of ours holds, in ms. */
const nonceLife = 300_000;
const mostNonces = 20_000;

/** Asks for digests and checks them. Nonces carry their time and are signed; their counters are kept against replay. */
export class DigestVerifier {
  readonly #realm: string;
  readonly #accounts: ReadonlyMap<string, string>;
  readonly #key = randomBytes(32);
  readonly #counters = new Map<string, number>();

  constructor(realm: string, accounts: ReadonlyMap<string, string>) {
    this.#realm = realm;
    this.#accounts = accounts;
  }

  /** Values of WWW-Authenticate, the stronger first (RFC 8760 §2.3). */
  challenges(stale: boolean): string[] {
    const nonce = this.#nonce(Date.now());
    return (['SHA-256', 'MD5'] as const).map(
      algorithm =>
        `Digest realm=${quote(this.#realm)}, nonce="${nonce}", algorithm=${algorithm}, qop="auth"${stale ? ', stale=true' : ''}`,
    );
  }

  /** Whose credentials a request carries: the account's name, or why none is proven. */
  verify(request: Message): { account: string } | 'absent' | 'stale' | 'wrong' {
    const credentials = request
      .headersOf('authorization')
      .map(parseDigest)
      .find(one => one?.get('realm') === this.#realm);
    if (!credentials) return 'absent';
    const get = (name: string) => credentials.get(name) ?? '';
    const algorithm = algorithmOf(credentials);
    // Phones say their user's name only, and mean it in the realm.
    const names = [get('username').toLowerCase(), `${get('username').toLowerCase()}@${this.#realm}`];
    const account = names.find(name => this.#accounts.has(name)) ?? names[0];
    const password = this.#accounts.get(account);
    const nonce = get('nonce');
    const [nc, cnonce] = [get('nc'), get('cnonce')];
    if (!algorithm || get('qop').toLowerCase() !== 'auth' || !/^[0-9a-f]{8}$/i.test(nc) || cnonce === '')
      return 'wrong';
    if (!this.#ours(nonce)) return 'wrong';
    // A wrong account costs as much time as a wrong password.
    const { method } = request;
    const expected = proof({
      algorithm,
      user: get('username'),
      realm: this.#realm,
      password: password ?? '',
      method,
      uri: get('uri'),
      nonce,
      qop: { nc, cnonce },
    });
    if (!same(expected, get('response').toLowerCase()) || password === undefined) return 'wrong';
    if (Date.now() - Number.parseInt(nonce, 36) > nonceLife || !this.#fresh(nonce, Number.parseInt(nc, 16)))
      return 'stale';
    return { account };
  }

  #nonce(time: number): string {
    const stamp = `${time.toString(36)}.${randomBytes(6).toString('hex')}`;
    return `${stamp}.${this.#sign(stamp)}`;
  }

  #sign(stamp: string): string {
    return createHmac('sha256', this.#key).update(stamp).digest('hex').slice(0, 32);
  }

  #ours(nonce: string): boolean {
    const at = nonce.lastIndexOf('.');
    return same(this.#sign(nonce.slice(0, Math.max(at, 0))), nonce.slice(at + 1));
  }

  /** Each count of a nonce proves one request only (RFC 7616 §3.4). */
  #fresh(nonce: string, count: number): boolean {
    if (count <= (this.#counters.get(nonce) ?? 0)) return false;
    this.#counters.delete(nonce);
    if (this.#counters.size >= mostNonces) this.#counters.delete(this.#counters.keys().next().value!);
    this.#counters.set(nonce, count);
    return true;
  }
}

function same(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b.padEnd(a.length).slice(0, a.length)));
}
