// SIP messages as the engine holds them, and how one is written: no CR, LF or NUL gets into a header by any way.
import { SipSyntaxError } from './engine.ts';
import { isToken, type NameAddr, type Via } from './fields.ts';
import type { SipUri } from './uri.ts';

/** A header as parsed: the name long and in lower case, the value unfolded and trimmed. */
export type Header = readonly [name: string, value: string];

/** What is wrong with a request that can be answered all the same. */
export interface Fault {
  status: number;
  reason: string;
}

const noBody = new Uint8Array(0);

/** A message that came in. Its top Via, From, To, Call-ID and CSeq have been read and are there. */
export class Message {
  /** '' in a response. */
  method = '';
  /** The request-URI as it came; '' in a response. */
  uriText = '';
  /** Null in a response, or where the fault is that it cannot be read. */
  uri: SipUri | null = null;
  /** 0 in a request. */
  status = 0;
  reason = '';
  headers: Header[] = [];
  body: Uint8Array = noBody;
  /** Via values one by one, the topmost first; as they came. */
  vias: string[] = [];
  via!: Via;
  from!: NameAddr;
  to!: NameAddr;
  callId = '';
  cseq = 0;
  /** The method in CSeq. */
  cseqMethod = '';
  /** -1 where there is no Content-Length. */
  contentLength = -1;
  fault: Fault | null = null;

  get isRequest(): boolean {
    return this.status === 0;
  }

  get branch(): string {
    return this.via.params.get('branch') ?? '';
  }

  get fromTag(): string {
    return this.from.params.get('tag') ?? '';
  }

  get toTag(): string {
    return this.to.params.get('tag') ?? '';
  }

  /** The first value of a header; `name` long and in lower case. */
  header(name: string): string | undefined {
    for (const header of this.headers) if (header[0] === name) return header[1];
    return undefined;
  }

  /** All values of a header, one for each line that it came in. */
  headersOf(name: string): string[] {
    const values: string[] = [];
    for (const header of this.headers) if (header[0] === name) values.push(header[1]);
    return values;
  }
}

/** What a person calls a status, for reason phrases (RFC 3261 §21 and its extensions). */
export const reasonPhrases: Readonly<Record<number, string>> = {
  100: 'Trying',
  200: 'OK',
  202: 'Accepted',
  204: 'No Notification',
  302: 'Moved Temporarily',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  407: 'Proxy Authentication Required',
  408: 'Request Timeout',
  410: 'Gone',
  412: 'Conditional Request Failed',
  413: 'Request Entity Too Large',
  414: 'Request-URI Too Long',
  415: 'Unsupported Media Type',
  416: 'Unsupported URI Scheme',
  420: 'Bad Extension',
  421: 'Extension Required',
  423: 'Interval Too Brief',
  480: 'Temporarily Unavailable',
  481: 'Call/Transaction Does Not Exist',
  482: 'Loop Detected',
  483: 'Too Many Hops',
  484: 'Address Incomplete',
  486: 'Busy Here',
  488: 'Not Acceptable Here',
  489: 'Bad Event',
  493: 'Undecipherable',
  500: 'Server Internal Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Server Time-out',
  505: 'Version Not Supported',
  513: 'Message Too Large',
  600: 'Busy Everywhere',
  603: 'Decline',
  604: 'Does Not Exist Anywhere',
  606: 'Not Acceptable',
};

const breaking = /[\r\n\0]/;
const control = /[\0-\x20\x7f]/;

/** One header line. Throws SipSyntaxError where the name is no token or the value would break out of its line. */
function line(name: string, value: string): string {
  if (!isToken(name)) throw new SipSyntaxError(`a header cannot be named ${JSON.stringify(name)}`);
  if (breaking.test(value)) throw new SipSyntaxError(`the value of ${name} has a line break or a NUL`);
  return `${name}: ${value}\r\n`;
}

/** A request as bytes. Content-Length is added here. Throws SipSyntaxError. */
export function writeRequest(
  method: string,
  uri: string,
  headers: readonly Header[],
  body: Uint8Array = noBody,
): Buffer {
  if (!isToken(method)) throw new SipSyntaxError(`a method cannot be named ${JSON.stringify(method)}`);
  if (uri === '' || control.test(uri))
    throw new SipSyntaxError('a request-URI has spaces, control characters or nothing');
  return write(`${method} ${uri} SIP/2.0\r\n`, headers, body);
}

/** A response as bytes. Content-Length is added here. Throws SipSyntaxError. */
export function writeResponse(
  status: number,
  reason: string,
  headers: readonly Header[],
  body: Uint8Array = noBody,
): Buffer {
  if (!Number.isInteger(status) || status < 100 || status > 699) throw new SipSyntaxError(`${status} is no SIP status`);
  if (breaking.test(reason)) throw new SipSyntaxError('the reason phrase has a line break or a NUL');
  return write(`SIP/2.0 ${status} ${reason}\r\n`, headers, body);
}

function write(start: string, headers: readonly Header[], body: Uint8Array): Buffer {
  let head = start;
  for (const [name, value] of headers) head += line(name, value);
  head += `Content-Length: ${body.length}\r\n\r\n`;
  const size = Buffer.byteLength(head);
  const bytes = Buffer.allocUnsafe(size + body.length);
  bytes.write(head, 0, 'utf8');
  bytes.set(body, size);
  return bytes;
}

/** The headers that a response repeats from its request (RFC 3261 §8.2.6.2); `tag` goes into To where it has none. */
export function responseHeaders(request: Message, tag: string): Header[] {
  const headers: Header[] = request.vias.map(via => ['Via', via]);
  const repeat = (name: string, value: string | undefined) => {
    // Only what is broken anyway may lack one of these.
    if (value) headers.push([name, value]);
  };
  const to = request.header('to');
  repeat('From', request.header('from'));
  repeat('To', request.to.params.has('tag') || !tag || !to ? to : `${to};tag=${tag}`);
  repeat('Call-ID', request.callId);
  repeat('CSeq', request.header('cseq'));
  return headers;
}
