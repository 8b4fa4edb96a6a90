// Which mechanisms a connection is offered, and the exchange that each begins (RFC 6120 §6.3.3, XEP-0440).
import { PlainServer } from './plain.ts';
import type { Prepare, ServerMechanism } from './sasl.ts';
import { type Bindings, type ScramHash, type ScramKeys, ScramServer } from './scram.ts';

/** Who can say whether a password is right. */
export interface Verifier {
  readonly offersScram: boolean;
  verify(user: string, password: string): Promise<boolean>;
  scram(user: string, hash: ScramHash): Promise<ScramKeys | null>;
}

export interface OfferOptions {
  /** The names that are configured, in order. */
  configured: readonly string[];
  verifier: Verifier;
  secure: boolean;
  /** False permits PLAIN without TLS. */
  requireTls: boolean;
  bindings: Bindings;
  /** Makes salts for users that do not exist. */
  secret: Uint8Array;
  /** Prepares a user name; null where it cannot be one. */
  prepare: Prepare;
}

export interface Offer {
  readonly names: readonly string[];
  readonly bindingTypes: readonly string[];
  /** Begins an exchange; null where the mechanism is not offered. */
  start(name: string): ServerMechanism | null;
}

export function offer(options: OfferOptions): Offer {
  const { verifier, bindings, secret, prepare } = options;
  const names = options.configured.filter(name => {
    if (name === 'PLAIN') return options.secure || !options.requireTls;
    return verifier.offersScram && (!name.endsWith('-PLUS') || bindings.size > 0);
  });
  const plusOffered = names.some(name => name.endsWith('-PLUS'));
  return {
    names,
    bindingTypes: plusOffered ? [...bindings.keys()] : [],
    start(name) {
      if (!names.includes(name)) return null;
      if (name === 'PLAIN') return new PlainServer((user, password) => verifier.verify(user, password), prepare);
      const hash: ScramHash = name.startsWith('SCRAM-SHA-256') ? 'SHA-256' : 'SHA-1';
      const plus = name.endsWith('-PLUS');
      return new ScramServer({
        hash,
        plus,
        plusOffered,
        bindings,
        secret,
        prepare,
        keysOf: user => verifier.scram(user, hash),
      });
    },
  };
}
