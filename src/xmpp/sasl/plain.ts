// PLAIN, both sides (RFC 4616).
import { type Prepare, SaslError, type ServerMechanism, type ServerStep } from './sasl.ts';

export class PlainServer implements ServerMechanism {
  readonly name = 'PLAIN';
  readonly #verify: (user: string, password: string) => Promise<boolean>;
  readonly #prepare: Prepare;

  /** `verify` may reject where it cannot tell now; `prepare` answers null for what cannot be a user name. */
  constructor(verify: (user: string, password: string) => Promise<boolean>, prepare: Prepare) {
    this.#verify = verify;
    this.#prepare = prepare;
  }

  async step(response: Uint8Array): Promise<ServerStep> {
    const parts = decodeUtf8(response).split('\0');
    if (parts.length !== 3 || parts[1] === '' || parts[2] === '') throw new SaslError('malformed-request');
    const [authzid, name, password] = parts;
    const user = await this.#prepare(name);
    if (authzid !== '' && (await this.#prepare(authzid.replace(/@[^@]*$/, ''))) !== user) {
      throw new SaslError('invalid-authzid', 'nobody may act for somebody else here');
    }
    if (user === null || !(await this.#verify(user, password))) throw new SaslError('not-authorized');
    return { done: true, user };
  }
}

/** The one message of a client. */
export function plainMessage(user: string, password: string): Uint8Array {
  return Buffer.from(`\0${user}\0${password}`);
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SaslError('malformed-request');
  }
}
