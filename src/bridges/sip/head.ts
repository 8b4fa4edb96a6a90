// Reads the head of a SIP message: the start line, and headers by name with those that every message must have (RFC 3261 §7, §8.1.1).
import { isAscii, isUtf8 } from 'node:buffer';
import { SipSyntaxError } from './engine.ts';
import { isToken, parseNameAddr, parseVia, splitList } from './fields.ts';
import { type Fault, Message } from './message.ts';
import { parseUri } from './uri.ts';

export interface ParserLimits {
  /** The start line and all headers, in bytes. */
  head: number;
  /** In bytes. */
  body: number;
  headers: number;
}

export const defaultLimits: ParserLimits = { head: 32 * 1024, body: 256 * 1024, headers: 256 };

/** Compact forms (RFC 3261 §7.3.3; the registry's others with them). */
const compact: Readonly<Record<string, string>> = {
  a: 'accept-contact',
  b: 'referred-by',
  c: 'content-type',
  d: 'request-disposition',
  e: 'content-encoding',
  f: 'from',
  i: 'call-id',
  j: 'reject-contact',
  k: 'supported',
  l: 'content-length',
  m: 'contact',
  n: 'identity-info',
  o: 'event',
  r: 'refer-to',
  s: 'subject',
  t: 'to',
  u: 'allow-events',
  v: 'via',
  x: 'session-expires',
  y: 'identity',
};

/** Headers that may come once only: a second one is a way to make two readers see two messages. */
const single = new Set([
  'from',
  'to',
  'call-id',
  'cseq',
  'max-forwards',
  'content-length',
  'content-type',
  'content-encoding',
  'expires',
  'event',
  'subscription-state',
  'min-expires',
  'sip-if-match',
  'sip-etag',
]);

const names = new Map<string, string>();
const mostNames = 500;

/** The long name in lower case; null where it is no token. */
function canonical(name: string): string | null {
  const known = names.get(name);
  if (known !== undefined) return known;
  if (!isToken(name)) return null;
  const lower = name.toLowerCase();
  const long = lower.length === 1 ? (compact[lower] ?? lower) : lower;
  if (names.size < mostNames && name.length < 40) names.set(name, long);
  return long;
}

/** The long name, in lower case, of a header that somebody asks for. */
export function headerName(name: string): string {
  return canonical(name) ?? name.toLowerCase();
}

const forbidden = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/;
const forbiddenAll = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/g;

/** Reads the start line and the headers, without the empty line. Throws SipSyntaxError where nobody could be answered. */
export function parseHead(bytes: Buffer, limits: ParserLimits): Message {
  if (bytes.length > limits.head) throw new SipSyntaxError('the headers are too long');
  const message = new Message();
  let text = isAscii(bytes) ? bytes.toString('latin1') : bytes.toString('utf8');
  if (!isUtf8(bytes)) message.fault = bad('the headers are not UTF-8');
  if (forbidden.test(text)) {
    message.fault ??= bad('the headers have control characters');
    text = text.replace(forbiddenAll, '?');
  }
  let end = text.indexOf('\r\n');
  const start = end < 0 ? text : text.slice(0, end);
  while (end >= 0) {
    const from = end + 2;
    end = text.indexOf('\r\n', from);
    // Folded lines belong together (RFC 3261 §7.3.1).
    while (end >= 0 && (text[end + 2] === ' ' || text[end + 2] === '\t')) end = text.indexOf('\r\n', end + 2);
    addHeader(message, end < 0 ? text.slice(from) : text.slice(from, end), limits);
  }
  readStart(message, start);
  readEssentials(message);
  return message;
}

function addHeader(message: Message, line: string, limits: ParserLimits): void {
  const colon = line.indexOf(':');
  const name = canonical(line.slice(0, Math.max(colon, 0)).trimEnd());
  if (name === null) {
    message.fault ??= bad('a header line has no name');
    return;
  }
  let value = line.slice(colon + 1).trim();
  if (value.includes('\r\n')) value = value.replace(/[ \t]*\r\n[ \t]+/g, ' ');
  if (message.headers.length >= limits.headers) throw new SipSyntaxError('there are too many headers');
  if (single.has(name) && message.header(name) !== undefined) {
    message.fault ??= bad(`${name} comes twice`);
    return;
  }
  message.headers.push([name, value]);
}

function readStart(message: Message, start: string): void {
  const response = /^SIP\/2\.0 ([0-9]{3}) (.*)$/i.exec(start);
  if (response) {
    message.status = Number(response[1]);
    message.reason = response[2];
    if (message.status < 100 || message.status > 699) throw new SipSyntaxError(`${message.status} is no SIP status`);
    return;
  }
  const request = /^([^ \t]+) ([^ \t]+) SIP\/([0-9]+)\.([0-9]+)$/i.exec(start);
  const loose = request ?? /^([^ \t]+)(?:[ \t]+(.*?))?[ \t]*$/.exec(start);
  if (!loose || !isToken(loose[1]) || /^SIP\//i.test(start)) throw new SipSyntaxError('the start line cannot be read');
  message.method = loose[1];
  message.uriText = loose[2] ?? '';
  if (!request) message.fault ??= bad('the start line cannot be read');
  else if (request[3] !== '2' || request[4] !== '0') {
    message.fault ??= { status: 505, reason: 'only SIP/2.0 is spoken here' };
  }
  message.uri = parseUri(message.uriText);
  if (!message.uri) message.fault ??= bad('the request-URI cannot be read');
  else if (message.uri.headers) message.fault ??= bad('the request-URI has headers');
}

/** Via, From, To, Call-ID and CSeq (RFC 3261 §8.1.1). Without those that an answer needs there is none. */
function readEssentials(message: Message): void {
  for (const [name, value] of message.headers) {
    if (name === 'via') message.vias.push(...splitList(value));
  }
  const via = parseVia(message.vias[0] ?? '') ?? parseVia((message.vias[0] ?? '').split(';')[0].trim());
  if (!via) throw new SipSyntaxError('Via is missing or broken');
  message.via = via;
  if (via.version !== '2.0' || message.vias.some(one => one === '' || one.startsWith(';'))) {
    message.fault ??= bad('Via is broken');
  } else if (via.params.size === 0 && message.vias[0].includes(';')) message.fault ??= bad('Via is broken');
  const from = message.header('from') ?? '';
  const to = message.header('to') ?? '';
  message.from = parseNameAddr(from) ?? broken(message, 'From', from);
  message.to = parseNameAddr(to) ?? broken(message, 'To', to);
  if (message.from.params.get('tag') === null || message.to.params.get('tag') === null)
    message.fault ??= bad('a tag is empty');
  message.callId = message.header('call-id') ?? '';
  if (!/^[^\s]+$/.test(message.callId)) message.fault ??= bad('Call-ID is missing or broken');
  readSequence(message);
  readNumbers(message);
}

function broken(message: Message, name: string, value: string): Message['from'] {
  message.fault ??= bad(`${name} is missing or broken`);
  const tag = /;\s*tag\s*=\s*([A-Za-z0-9.!%*_+`'~-]+)/i.exec(value);
  const uri = parseUri('sip:invalid.invalid')!;
  return { displayName: '', uri, params: new Map(tag ? [['tag', tag[1]]] : []) };
}

function readSequence(message: Message): void {
  const text = message.header('cseq') ?? '';
  const found = /^([0-9]+)[ \t]+([^ \t]+)$/.exec(text);
  if (!found || !isToken(found[2])) throw new SipSyntaxError('CSeq is missing or broken');
  message.cseq = Number(found[1]);
  message.cseqMethod = found[2];
  if (message.cseq >= 2 ** 31) message.fault ??= bad('the number in CSeq is too large');
  if (message.isRequest && message.method !== message.cseqMethod) message.fault ??= bad('CSeq names another method');
}

function readNumbers(message: Message): void {
  const length = message.header('content-length');
  if (length !== undefined) {
    if (/^[0-9]{1,9}$/.test(length)) message.contentLength = Number(length);
    else message.fault ??= bad('Content-Length is no length');
  }
  const hops = message.header('max-forwards');
  if (hops !== undefined && !(/^[0-9]{1,4}$/.test(hops) && Number(hops) <= 255)) {
    message.fault ??= bad('Max-Forwards is no number up to 255');
  }
  // A body whose Content-Length came twice has no length that could be trusted.
  if (message.fault?.reason === 'content-length comes twice') message.contentLength = -1;
}

export function bad(reason: string): Fault {
  return { status: 400, reason };
}
