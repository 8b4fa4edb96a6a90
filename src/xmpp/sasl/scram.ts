// SCRAM, both sides (RFC 5802, RFC 7677), with channel binding (RFC 5929, RFC 9266).
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { opaqueString } from '../precis.ts';
import { type Prepare, SaslError, type ServerMechanism, type ServerStep } from './sasl.ts';

export type ScramHash = 'SHA-1' | 'SHA-256';

/** What a server keeps instead of a password (RFC 5802 §3). */
export interface ScramKeys {
  readonly hash: ScramHash;
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

const digests = { 'SHA-1': 'sha1', 'SHA-256': 'sha256' } as const;
const lengths = { 'SHA-1': 20, 'SHA-256': 32 } as const;
const derive = promisify(pbkdf2);

/** Keys made anew take this many rounds: RFC 7677 §4 asks for at least 4096. */
export const defaultIterations = 10_000;
/** A client derives no key with more rounds than this, whatever the server says. */
const mostIterations = 1_000_000;

function hmac(hash: ScramHash, key: Uint8Array, text: string | Uint8Array): Buffer {
  return createHmac(digests[hash], key).update(text).digest();
}

function digest(hash: ScramHash, bytes: Uint8Array): Buffer {
  return createHash(digests[hash]).update(bytes).digest();
}

function xor(a: Uint8Array, b: Uint8Array): Buffer {
  return Buffer.from(a.map((byte, i) => byte ^ b[i]));
}

/** Derives the keys of a password, which is prepared first (RFC 8265 §4.2). Rejects with SaslError where it cannot be. */
export async function makeScramKeys(
  password: string,
  hash: ScramHash,
  salt: Uint8Array = randomBytes(16),
  iterations = defaultIterations,
): Promise<ScramKeys> {
  const salted = await saltedPassword(password, hash, salt, iterations);
  return {
    hash,
    iterations,
    salt,
    storedKey: digest(hash, hmac(hash, salted, 'Client Key')),
    serverKey: hmac(hash, salted, 'Server Key'),
  };
}

/** Whether a password gives these keys. Takes as long for a wrong one. */
export async function matchesScramKeys(password: string, keys: ScramKeys): Promise<boolean> {
  const made = await makeScramKeys(password, keys.hash, keys.salt, keys.iterations);
  return timingSafeEqual(made.storedKey, keys.storedKey);
}

async function saltedPassword(password: string, hash: ScramHash, salt: Uint8Array, rounds: number): Promise<Buffer> {
  let prepared: string;
  try {
    prepared = opaqueString(password);
  } catch {
    throw new SaslError('not-authorized', 'the password has characters that no password can have');
  }
  return derive(prepared, salt, rounds, lengths[hash], digests[hash]);
}

/** Channel binding data by type, of one connection. */
export type Bindings = ReadonlyMap<string, Uint8Array>;

export interface ScramServerOptions {
  hash: ScramHash;
  /** The mechanism is a -PLUS one. */
  plus: boolean;
  /** Whether -PLUS mechanisms were offered: a client that could but says the server cannot was lied to. */
  plusOffered: boolean;
  bindings: Bindings;
  /** The keys of a user, or null where there is no such user or it has none. */
  keysOf(user: string): Promise<ScramKeys | null>;
  /** Makes salts for users that do not exist, the same each time. */
  secret: Uint8Array;
  /** Prepares a user name; null where it cannot be one. */
  prepare: Prepare;
  /** For tests. */
  nonce?: string;
}

const clientFirstForm =
  /^(?:(n)|(y)|p=([A-Za-z0-9.-]{1,64})),(?:a=((?:[^,=]|=2C|=3D){1,1023}))?,n=((?:[^,=]|=2C|=3D){1,1023}),r=([!-+\--~]{8,512})(?:,.*)?$/su;
const clientFinalForm =
  /^(c=([A-Za-z0-9+/]{1,1024}={0,2}),r=([!-+\--~]{8,1100})(?:,[^p][^,]*)*),p=([A-Za-z0-9+/]{1,128}={0,2})$/;

/** The server's side of one exchange. */
export class ScramServer implements ServerMechanism {
  readonly name: string;
  readonly #options: ScramServerOptions;
  #user = '';
  #known = false;
  #keys: ScramKeys | null = null;
  #gs2 = '';
  #bindingType = '';
  #firstBare = '';
  #serverFirst = '';
  #nonce = '';

  constructor(options: ScramServerOptions) {
    this.#options = options;
    this.name = `SCRAM-${options.hash}${options.plus ? '-PLUS' : ''}`;
  }

  async step(response: Uint8Array): Promise<ServerStep> {
    const text = decode(response);
    return this.#serverFirst === '' ? this.#first(text) : this.#final(text);
  }

  async #first(text: string): Promise<ServerStep> {
    const match = clientFirstForm.exec(text);
    if (!match) throw new SaslError('malformed-request');
    const [, none, deaf, type, authzid, name, nonce] = match;
    if (this.#options.plus !== (type !== undefined)) {
      throw new SaslError('malformed-request', 'channel binding and mechanism do not go together');
    }
    // The client saw no -PLUS mechanism though we offered some: somebody took them out (RFC 5802 §6).
    if (deaf && this.#options.plusOffered) throw new SaslError('not-authorized', 'channel binding was offered');
    if (type !== undefined && !this.#options.bindings.has(type)) {
      throw new SaslError('not-authorized', `channel binding ${type} is not supported here`);
    }
    const user = await this.#options.prepare(unescapeName(name));
    if (authzid !== undefined && (await this.#options.prepare(unescapeName(authzid).replace(/@[^@]*$/, ''))) !== user) {
      throw new SaslError('invalid-authzid', 'nobody may act for somebody else here');
    }
    const keys = user === null ? null : await this.#options.keysOf(user);
    this.#known = keys !== null;
    this.#user = user ?? '';
    this.#keys = keys ?? this.#madeUp(unescapeName(name));
    this.#bindingType = type ?? '';
    this.#gs2 = text.slice(0, text.indexOf(',', text.indexOf(',') + 1) + 1);
    void none;
    this.#firstBare = text.slice(this.#gs2.length);
    this.#nonce = nonce + (this.#options.nonce ?? randomBytes(18).toString('base64url'));
    const salt = Buffer.from(this.#keys.salt).toString('base64');
    this.#serverFirst = `r=${this.#nonce},s=${salt},i=${this.#keys.iterations}`;
    return { done: false, challenge: Buffer.from(this.#serverFirst) };
  }

  #final(text: string): ServerStep {
    const match = clientFinalForm.exec(text);
    if (!match) throw new SaslError('malformed-request');
    const [, withoutProof, binding, nonce, proof] = match;
    const { hash } = this.#options;
    const keys = this.#keys!;
    const data = this.#bindingType === '' ? Buffer.alloc(0) : this.#options.bindings.get(this.#bindingType)!;
    const expected = Buffer.concat([Buffer.from(this.#gs2), data]).toString('base64');
    const message = `${this.#firstBare},${this.#serverFirst},${withoutProof}`;
    const signature = hmac(hash, keys.storedKey, message);
    const given = Buffer.from(proof, 'base64');
    const right =
      given.length === signature.length && timingSafeEqual(digest(hash, xor(given, signature)), keys.storedKey);
    if (nonce !== this.#nonce || !right || !this.#known || binding !== expected) throw new SaslError('not-authorized');
    const verifier = hmac(hash, keys.serverKey, message).toString('base64');
    return { done: true, user: this.#user, data: Buffer.from(`v=${verifier}`) };
  }

  /** Keys that look like a user's: whether a user exists must not show (RFC 5802 §5.1, RFC 6120 §13.11). */
  #madeUp(name: string): ScramKeys {
    const { hash, secret } = this.#options;
    const salt = createHmac('sha256', secret).update(name).digest().subarray(0, 16);
    const key = Buffer.alloc(lengths[hash]);
    return { hash, iterations: defaultIterations, salt, storedKey: key, serverKey: key };
  }
}

export interface ScramClientOptions {
  hash: ScramHash;
  user: string;
  password: string;
  /** The channel binding to use; null: none. With `serverHasPlus` false we say that we could have (`y`). */
  binding?: { type: string; data: Uint8Array } | null;
  couldBind?: boolean;
  nonce?: string;
}

/** The client's side of one exchange. */
export class ScramClient {
  readonly name: string;
  readonly #options: ScramClientOptions;
  readonly #gs2: string;
  readonly #firstBare: string;
  readonly #nonce: string;
  #verifier = '';

  constructor(options: ScramClientOptions) {
    this.#options = options;
    this.name = `SCRAM-${options.hash}${options.binding ? '-PLUS' : ''}`;
    this.#nonce = options.nonce ?? randomBytes(18).toString('base64url');
    this.#gs2 = options.binding ? `p=${options.binding.type},,` : options.couldBind ? 'y,,' : 'n,,';
    const name = opaqueString(options.user).replace(/[=,]/g, c => (c === '=' ? '=3D' : '=2C'));
    this.#firstBare = `n=${name},r=${this.#nonce}`;
  }

  /** The initial response. */
  first(): Uint8Array {
    return Buffer.from(this.#gs2 + this.#firstBare);
  }

  /** The response to the server's first message. Rejects with SaslError where it is wrong. */
  async final(challenge: Uint8Array): Promise<Uint8Array> {
    const text = decode(challenge);
    const match = /^r=([!-+\--~]+),s=([A-Za-z0-9+/]+={0,2}),i=(\d{1,9})(?:,.*)?$/.exec(text);
    if (!match?.[1].startsWith(this.#nonce) || match[1] === this.#nonce) throw new SaslError('malformed-request');
    const rounds = Number(match[3]);
    if (rounds < 1 || rounds > mostIterations)
      throw new SaslError('malformed-request', 'too many rounds are asked for');
    const { hash, password, binding } = this.#options;
    const salted = await saltedPassword(password, hash, Buffer.from(match[2], 'base64'), rounds);
    const data = Buffer.concat([Buffer.from(this.#gs2), binding?.data ?? Buffer.alloc(0)]).toString('base64');
    const withoutProof = `c=${data},r=${match[1]}`;
    const message = `${this.#firstBare},${text},${withoutProof}`;
    const clientKey = hmac(hash, salted, 'Client Key');
    const proof = xor(clientKey, hmac(hash, digest(hash, clientKey), message));
    this.#verifier = hmac(hash, hmac(hash, salted, 'Server Key'), message).toString('base64');
    return Buffer.from(`${withoutProof},p=${proof.toString('base64')}`);
  }

  /** Checks that the server knew the keys, too. Throws SaslError where it did not. */
  verify(data: Uint8Array): void {
    if (decode(data) !== `v=${this.#verifier}`)
      throw new SaslError('not-authorized', 'the server did not prove itself');
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SaslError('malformed-request');
  }
}

function unescapeName(name: string): string {
  return name.replace(/=2C/g, ',').replace(/=3D/g, '=');
}
