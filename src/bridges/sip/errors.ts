// Errors both ways: a stanza's condition as a SIP status, and a SIP status as a condition (RFC 7247 §7).
import { type ErrorType, type StanzaCondition, StanzaError, stanzaConditions } from '../../xmpp/errors.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import type { SipAnswer } from './engine.ts';

/** RFC 7247 §7.1: what a SIP user agent is told where a stanza came back with an error. */
const statuses: Readonly<Record<StanzaCondition, number>> = {
  'bad-request': 400,
  conflict: 400,
  'feature-not-implemented': 501,
  forbidden: 403,
  gone: 410,
  'internal-server-error': 500,
  'item-not-found': 404,
  'jid-malformed': 484,
  'not-acceptable': 406,
  'not-allowed': 403,
  'not-authorized': 403,
  'policy-violation': 403,
  'recipient-unavailable': 480,
  redirect: 480,
  'registration-required': 403,
  'remote-server-not-found': 502,
  'remote-server-timeout': 504,
  'resource-constraint': 503,
  // What a server says of an account that is not there, and of one that is offline (RFC 6121 §8.5.1): 404 or 480.
  'service-unavailable': 480,
  'subscription-required': 403,
  'undefined-condition': 400,
  'unexpected-request': 491,
};

const phrases: Readonly<Record<number, string>> = {
  200: 'OK',
  202: 'Accepted',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  410: 'Gone',
  412: 'Conditional Request Failed',
  413: 'Request Entity Too Large',
  415: 'Unsupported Media Type',
  423: 'Interval Too Brief',
  480: 'Temporarily Unavailable',
  481: 'Call/Transaction Does Not Exist',
  482: 'Loop Detected',
  484: 'Address Incomplete',
  489: 'Bad Event',
  491: 'Request Pending',
  500: 'Server Internal Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Server Time-out',
};

/** The words that go with a status of ours. */
export function phraseOf(status: number): string {
  return phrases[status] ?? 'Error';
}

/** The SIP status for a condition. A 401 or 407 would ask for credentials that nobody has: it is a 403. */
export function statusOf(condition: StanzaCondition): number {
  return statuses[condition];
}

/** RFC 7247 §7.2, status by status; what is not here goes by its class. */
const conditions: Readonly<Record<number, StanzaCondition | readonly [StanzaCondition, ErrorType]>> = {
  300: 'redirect',
  301: 'gone',
  302: 'redirect',
  305: 'redirect',
  380: 'not-acceptable',
  400: 'bad-request',
  401: 'not-authorized',
  402: ['bad-request', 'cancel'],
  403: 'forbidden',
  404: 'item-not-found',
  405: 'feature-not-implemented',
  406: 'not-acceptable',
  407: 'registration-required',
  408: 'remote-server-timeout',
  410: 'gone',
  413: 'policy-violation',
  414: 'policy-violation',
  415: 'not-acceptable',
  416: 'not-acceptable',
  420: 'feature-not-implemented',
  421: 'not-acceptable',
  423: 'resource-constraint',
  430: 'recipient-unavailable',
  439: 'feature-not-implemented',
  440: 'policy-violation',
  480: 'recipient-unavailable',
  481: 'item-not-found',
  482: 'not-acceptable',
  483: 'not-acceptable',
  484: 'item-not-found',
  485: 'item-not-found',
  486: ['service-unavailable', 'wait'],
  487: 'recipient-unavailable',
  488: 'not-acceptable',
  489: 'feature-not-implemented',
  491: 'unexpected-request',
  493: 'bad-request',
  500: 'internal-server-error',
  501: 'feature-not-implemented',
  502: 'remote-server-not-found',
  503: ['service-unavailable', 'wait'],
  504: 'remote-server-timeout',
  505: 'not-acceptable',
  513: 'policy-violation',
  600: 'service-unavailable',
  603: 'forbidden',
  604: 'item-not-found',
  606: 'not-acceptable',
};

/** By class: what RFC 3261 §8.1.3.2 says of a status that nobody knows. */
const classes: Readonly<Record<number, StanzaCondition>> = {
  3: 'redirect',
  4: 'bad-request',
  5: 'internal-server-error',
  6: 'recipient-unavailable',
};

/** The error for a SIP response that is no success. `reason` is the peer's own phrase, shown to the sender. */
export function errorOf(status: number, reason = ''): StanzaError {
  const known = conditions[status] ?? classes[Math.floor(status / 100)] ?? 'undefined-condition';
  const text = `SIP ${status}${reason ? ` ${reason.slice(0, 200)}` : ''}`;
  return typeof known === 'string' ? new StanzaError(known, text) : new StanzaError(known[0], text, known[1]);
}

/** What became of a request for a subscription that was answered with this status (RFC 6665 §4.1.2.1). */
export function subscriptionVerdict(status: number): 'refused' | 'again' {
  // 404, 410, 604: nobody there. 403, 603: no. 405, 489, 501: not a thing that is done there. 416, 484: no address.
  const refusals = [403, 404, 405, 410, 416, 484, 485, 489, 501, 603, 604];
  return refusals.includes(status) ? 'refused' : 'again';
}

/** The error that an error stanza carries. */
export function errorIn(stanza: Stanza): StanzaError {
  const error = stanza.child('error', ns.client);
  const name = error?.all().find(child => child.ns === ns.stanzaErrors && child.name !== 'text')?.name ?? '';
  const condition = Object.hasOwn(stanzaConditions, name) ? (name as StanzaCondition) : 'undefined-condition';
  return new StanzaError(condition, error?.childText('text', ns.stanzaErrors) ?? '');
}

/** A request from SIP that is for SIP: whoever sent it here sends in circles. */
export class LoopError extends Error {
  override readonly name = 'LoopError';
}

/** The answer to a request that failed with this; anything but these two is a bug and thrown on. */
export function answerTo(error: unknown): SipAnswer {
  if (!(error instanceof StanzaError || error instanceof LoopError)) throw error;
  const status = error instanceof LoopError ? 482 : statusOf(error.condition);
  return { status, reason: phraseOf(status) };
}
