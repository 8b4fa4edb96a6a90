// HT, the mechanisms that prove a token in one message: a hash over it and what binds it to the connection (draft-schmaus-kitten-sasl-ht).
import { createHmac, timingSafeEqual } from 'node:crypto';
import { SaslError } from './sasl.ts';
import type { Bindings } from './scram.ts';

/** The mechanisms, each with the channel binding it takes; the strongest first. */
const bindingOf: Readonly<Record<string, string | null>> = {
  'HT-SHA-256-EXPR': 'tls-exporter',
  'HT-SHA-256-ENDP': 'tls-server-end-point',
  'HT-SHA-256-NONE': null,
};

/** The mechanisms that a connection with these bindings can use. */
export function tokenMechanisms(bindings: Bindings): string[] {
  return Object.keys(bindingOf).filter(name => bindingOf[name] === null || bindings.has(bindingOf[name]));
}

function dataOf(mechanism: string, bindings: Bindings): Uint8Array {
  const type = bindingOf[mechanism];
  return type === null ? new Uint8Array(0) : bindings.get(type)!;
}

function hash(token: string, who: 'Initiator' | 'Responder', data: Uint8Array): Buffer {
  return createHmac('sha256', token).update(who).update(data).digest();
}

/** The one message of a client. */
export function tokenMessage(mechanism: string, user: string, token: string, bindings: Bindings): Uint8Array {
  return Buffer.concat([Buffer.from(`${user}\0`), hash(token, 'Initiator', dataOf(mechanism, bindings))]);
}

/** What the server proves itself by. */
export function tokenAnswer(mechanism: string, token: string, bindings: Bindings): Uint8Array {
  return hash(token, 'Responder', dataOf(mechanism, bindings));
}

export interface TokenProof {
  readonly user: string;
  /** Whether the message proves that the client has this token; takes as long for a wrong one. */
  proves(token: string): boolean;
}

/** Reads a client's message. Throws a SaslError where it is none. */
export function readTokenMessage(mechanism: string, message: Uint8Array, bindings: Bindings): TokenProof {
  const end = message.indexOf(0);
  const proof = message.subarray(end + 1);
  if (end < 1 || end > 1023 || proof.length !== 32) throw malformed();
  let user: string;
  try {
    user = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(message.subarray(0, end));
  } catch {
    throw malformed();
  }
  const data = dataOf(mechanism, bindings);
  return { user, proves: token => timingSafeEqual(hash(token, 'Initiator', data), proof) };
}

function malformed(): SaslError {
  return new SaslError('malformed-request');
}
