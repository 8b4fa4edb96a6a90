// What all SASL mechanisms share: conditions, steps, and base64 as XMPP carries it (RFC 6120 §6).

/** The conditions of RFC 6120 §6.5. */
export type SaslCondition =
  | 'aborted'
  | 'account-disabled'
  | 'credentials-expired'
  | 'encryption-required'
  | 'incorrect-encoding'
  | 'invalid-authzid'
  | 'invalid-mechanism'
  | 'malformed-request'
  | 'mechanism-too-weak'
  | 'not-authorized'
  | 'temporary-auth-failure';

/** Ends an exchange; what the other side gets as `<failure/>`. */
export class SaslError extends Error {
  override readonly name = 'SaslError';
  readonly condition: SaslCondition;
  readonly text: string;

  constructor(condition: SaslCondition, text = '') {
    super(text ? `${condition}: ${text}` : condition);
    this.condition = condition;
    this.text = text;
  }
}

export type ServerStep = { done: false; challenge: Uint8Array } | { done: true; user: string; data?: Uint8Array };

/** The server's side of one exchange; a new one for each. Steps reject with SaslError. */
export interface ServerMechanism {
  readonly name: string;
  step(response: Uint8Array): Promise<ServerStep>;
}

/** The user that a login name means; null for what cannot be one. May reject where that cannot be known now. */
export type Prepare = (name: string) => string | null | Promise<string | null>;

/** Decodes the text of `<auth/>` or `<response/>`; `=` stands for nothing (RFC 6120 §6.4.2). Throws SaslError. */
export function decodeBase64(text: string): Uint8Array {
  const trimmed = text.trim();
  if (trimmed === '' || trimmed === '=') return new Uint8Array(0);
  if (trimmed.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(trimmed)) throw new SaslError('incorrect-encoding');
  return Buffer.from(trimmed, 'base64');
}

/** Encodes for an element's text. */
export function encodeBase64(bytes: Uint8Array): string {
  return bytes.length === 0 ? '=' : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}
