// Reads and writes message/cpim: a message with headers of its own around a MIME body (RFC 3862).
import { Buffer } from 'node:buffer';
import { StanzaError } from '../../xmpp/errors.ts';

/** The namespace of the headers that ask for notifications (RFC 5438 §6.1). */
export const imdnHeaders = 'urn:ietf:params:imdn';

export interface CpimMessage {
  /** Header values by name; names outside the core are written `{namespace}name`. The first one counts. */
  headers: Map<string, string>;
  /** The headers of the body, by name in lower case. */
  bodyHeaders: Map<string, string>;
  contentType: string;
  body: Uint8Array;
}

const mostHeaders = 64;
const longestLine = 4096;

/** Throws a StanzaError `bad-request` that says what is wrong. */
export function parseCpim(bytes: Uint8Array): CpimMessage {
  const reader = new Lines(bytes);
  const headers = new Map<string, string>();
  const namespaces = new Map<string, string>();
  for (const [name, value] of reader.headers()) {
    if (name.toLowerCase() === 'ns') {
      const match = /^(?:([^\s<]+)\s*)?<([^>]*)>$/.exec(value);
      if (match) namespaces.set(match[1] ?? '', match[2]);
      continue;
    }
    const dot = name.indexOf('.');
    const space = dot < 0 ? namespaces.get('') : namespaces.get(name.slice(0, dot));
    const local = dot < 0 ? name : name.slice(dot + 1);
    // Parameters such as `;lang=fr` belong to the name (§3.2).
    const key = `${space === undefined ? '' : `{${space}}`}${local.split(';')[0].trim().toLowerCase()}`;
    if (!headers.has(key)) headers.set(key, unescaped(value));
  }
  const bodyHeaders = new Map<string, string>();
  for (const [name, value] of reader.headers()) {
    if (!bodyHeaders.has(name.toLowerCase())) bodyHeaders.set(name.toLowerCase(), value);
  }
  let body = reader.rest;
  const length = Number(bodyHeaders.get('content-length') ?? Number.NaN);
  if (Number.isSafeInteger(length) && length >= 0) {
    if (length > body.length) throw bad('the body is shorter than its Content-Length');
    body = body.subarray(0, length);
  }
  const encoding = (bodyHeaders.get('content-transfer-encoding') ?? '').toLowerCase();
  if (encoding === 'base64') body = Buffer.from(Buffer.from(body).toString('latin1'), 'base64');
  return { headers, bodyHeaders, contentType: bodyHeaders.get('content-type') ?? 'text/plain', body };
}

/** What is written into a message/cpim body. Values must hold no line breaks: they are escaped. */
export interface CpimParts {
  headers: [name: string, value: string][];
  contentType: string;
  bodyHeaders?: [name: string, value: string][];
  body: Uint8Array;
}

export function writeCpim({ headers, contentType, bodyHeaders = [], body }: CpimParts): Uint8Array {
  const text =
    headers.map(([name, value]) => `${name}: ${escaped(value)}\r\n`).join('') +
    `\r\nContent-Type: ${contentType}\r\n` +
    bodyHeaders.map(([name, value]) => `${name}: ${escaped(value)}\r\n`).join('') +
    `Content-Length: ${body.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(text), body]);
}

function bad(text: string): StanzaError {
  return new StanzaError('bad-request', `message/cpim: ${text}`);
}

/** RFC 3862 §3.2: what cannot stand in a header is written with a backslash. */
function escaped(value: string): string {
  return value
    .toWellFormed()
    .replace(/[\\\0-\x1f\x7f]/g, character =>
      character === '\\' ? '\\\\' : `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
    );
}

const simple: Record<string, string> = { b: '\b', t: '\t', n: '\n', r: '\r' };

function unescaped(value: string): string {
  if (!value.includes('\\')) return value;
  return value
    .replace(/\\(?:u([0-9A-Fa-f]{4})|([\s\S]))/g, (_all, code: string | undefined, other: string) =>
      code === undefined ? (simple[other] ?? other) : String.fromCharCode(Number.parseInt(code, 16)),
    )
    .toWellFormed();
}

/** Takes blocks of headers, and then the rest, from bytes whose lines end in CR LF or, tolerated, LF alone. */
class Lines {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get rest(): Uint8Array {
    return this.#bytes.subarray(this.#at);
  }

  /** The headers up to the next empty line, which is passed over. */
  headers(): [string, string][] {
    const found: [string, string][] = [];
    for (;;) {
      const line = this.#line();
      if (line === '') return found;
      const colon = line.indexOf(':');
      if (colon <= 0) throw bad('a line is no header');
      if (found.length >= mostHeaders) throw bad('there are too many headers');
      found.push([line.slice(0, colon).trim(), line.slice(colon + 1).trim()]);
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw bad('the headers have no end');
    if (end - this.#at > longestLine) throw bad('a line is too long');
    const stop = end > this.#at && this.#bytes[end - 1] === 0x0d ? end - 1 : end;
    const line = this.#bytes.toString('utf8', this.#at, stop);
    this.#at = end + 1;
    return line;
  }
}
