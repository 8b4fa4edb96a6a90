// The two protocol error families: a StanzaError goes back to a sender, a StreamError closes a stream.
import type { Element } from './element.ts';

/** The error types of RFC 6120 §8.3.2. */
export type ErrorType = 'auth' | 'cancel' | 'continue' | 'modify' | 'wait';

/** The stanza conditions of RFC 6120 §8.3.3, each with the type that goes with it where the text gives no other. */
export const stanzaConditions = {
  'bad-request': 'modify',
  conflict: 'cancel',
  'feature-not-implemented': 'cancel',
  forbidden: 'auth',
  gone: 'cancel',
  'internal-server-error': 'cancel',
  'item-not-found': 'cancel',
  'jid-malformed': 'modify',
  'not-acceptable': 'modify',
  'not-allowed': 'cancel',
  'not-authorized': 'auth',
  'policy-violation': 'modify',
  'recipient-unavailable': 'wait',
  redirect: 'modify',
  'registration-required': 'auth',
  'remote-server-not-found': 'cancel',
  'remote-server-timeout': 'wait',
  'resource-constraint': 'wait',
  'service-unavailable': 'cancel',
  'subscription-required': 'auth',
  'undefined-condition': 'cancel',
  'unexpected-request': 'wait',
} as const satisfies Record<string, ErrorType>;

export type StanzaCondition = keyof typeof stanzaConditions;

/** What a handler throws to answer a stanza with an error (RFC 6120 §8.3). */
export class StanzaError extends Error {
  override readonly name = 'StanzaError';
  readonly condition: StanzaCondition;
  readonly type: ErrorType;
  /** The human-readable text, if there is one to send. */
  readonly text: string;
  /** A condition of the application's own, beside the defined one (RFC 6120 §8.3.4). */
  readonly more: Element | undefined;

  constructor(
    condition: StanzaCondition,
    text = '',
    type: ErrorType = stanzaConditions[condition],
    more: Element | undefined = undefined,
  ) {
    super(text ? `${condition}: ${text}` : condition);
    this.condition = condition;
    this.type = type;
    this.text = text;
    this.more = more;
  }
}

/** The stream conditions of RFC 6120 §4.9.3. */
export type StreamCondition =
  | 'bad-format'
  | 'bad-namespace-prefix'
  | 'conflict'
  | 'connection-timeout'
  | 'host-gone'
  | 'host-unknown'
  | 'improper-addressing'
  | 'internal-server-error'
  | 'invalid-from'
  | 'invalid-namespace'
  | 'invalid-xml'
  | 'not-authorized'
  | 'not-well-formed'
  | 'policy-violation'
  | 'remote-connection-failed'
  | 'reset'
  | 'resource-constraint'
  | 'restricted-xml'
  | 'see-other-host'
  | 'system-shutdown'
  | 'undefined-condition'
  | 'unsupported-encoding'
  | 'unsupported-feature'
  | 'unsupported-stanza-type'
  | 'unsupported-version';

/** What closes a stream (RFC 6120 §4.9); `text` tells the other side's operator why. */
export class StreamError extends Error {
  override readonly name = 'StreamError';
  readonly condition: StreamCondition;
  readonly text: string;
  /** A condition of the application's own, beside the defined one (RFC 6120 §4.9.4). */
  readonly more: Element | undefined;

  constructor(condition: StreamCondition, text = '', more: Element | undefined = undefined) {
    super(text ? `${condition}: ${text}` : condition);
    this.condition = condition;
    this.text = text;
    this.more = more;
  }
}
