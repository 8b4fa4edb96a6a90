// Tags as bytes: checked as they are passed over, and where their attributes stand.
import {
  ampersand,
  type Bytes,
  colonAt,
  doubleQuote,
  equalsByte,
  greaterThan,
  isSpace,
  lessThan,
  notWellFormed,
  scanName,
  singleQuote,
  skipCharacter,
  skipReference,
  slash,
} from './characters.ts';
import { StreamError } from './errors.ts';
import { unescapeAttribute } from './payload.ts';

// The bytes of attribute values that need a second look.
const valueBytes = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const isMarkup = byte === lessThan || byte === ampersand || byte === singleQuote || byte === doubleQuote;
  if (byte < 0x20 || byte >= 0x80 || isMarkup) valueBytes[byte] = 1;
}

/** The most attributes that any limit can allow. */
export const mostAttributes = 256;

// Where the attributes of the tag scanned last stand. One table serves all scanners: it is read before the next tag.
export const attributeStride = 6;
export const attributes = new Int32Array(mostAttributes * attributeStride);
/**
 * Offsets into an attribute's row, which begins with the start of its name: the end of the name, the position of the
 * colon in it or -1, the value without its quotes, and flags.
 */
export const nameEnd = 1;
export const nameColon = 2;
export const valueStart = 3;
export const valueEnd = 4;
export const valueFlags = 5;
/** Flags of a value: it is not ASCII; it has references or white space to be normalised. */
export const notAscii = 1;
export const notPlain = 2;

/** What is known of the tag scanned last. */
export const tag = {
  nameEnd: 0,
  /** Position of the colon in its name, or -1. */
  colon: -1,
  /** How many numbers of `attributes` it takes up. */
  size: 0,
  isEmpty: false,
  /** Row of the `xmlns` attribute in `attributes`, or -1. */
  xmlns: -1,
  /** Whether its name or an attribute has a prefix. */
  hasPrefix: false,
};

/**
 * Scans the start or empty-element tag whose `<` is at `at`, and fills `tag` and `attributes`.
 * Returns the position behind it, or -1 where the tag goes on after `end`. Throws a StreamError.
 */
export function scanTag(buf: Uint8Array, at: number, end: number, maxAttributes: number, maxName: number): number {
  let p = scanName(buf, at + 1, end);
  if (p < 0) return -1;
  if (p - at - 1 > maxName) tooLong('name');
  tag.nameEnd = p;
  tag.colon = colonAt;
  tag.xmlns = -1;
  let hasPrefix = colonAt >= 0;
  let size = 0;
  for (;;) {
    let byte = buf[p];
    if (isSpace(byte)) {
      do {
        if (++p === end) return -1;
        byte = buf[p];
      } while (isSpace(byte));
      if (byte !== greaterThan && byte !== slash) {
        if (size >= maxAttributes * attributeStride) throw new StreamError('policy-violation', 'too many attributes');
        p = scanAttribute(buf, p, end, size);
        if (p < 0) return -1;
        if (attributes[size + nameEnd] - attributes[size] > maxName) tooLong('name');
        if (colonAt >= 0) hasPrefix = true;
        else if (isXmlns(buf, attributes[size], attributes[size + nameEnd])) tag.xmlns = size;
        if (size > 0) refuseDuplicate(buf, size);
        size += attributeStride;
        continue;
      }
    }
    if (byte === greaterThan) {
      tag.isEmpty = false;
      p += 1;
      break;
    }
    if (byte !== slash) notWellFormed('unexpected character in a tag');
    if (p + 1 === end) return -1;
    if (buf[p + 1] !== greaterThan) notWellFormed('/ in a tag is not followed by >');
    tag.isEmpty = true;
    p += 2;
    break;
  }
  tag.size = size;
  tag.hasPrefix = hasPrefix;
  return p;
}

/** Scans one attribute from its name to behind its closing quote; sets `colonAt`. There is a byte behind it in the data. */
function scanAttribute(buf: Uint8Array, at: number, end: number, row: number): number {
  let p = scanName(buf, at, end);
  if (p < 0) return -1;
  attributes[row] = at;
  attributes[row + nameEnd] = p;
  attributes[row + nameColon] = colonAt;
  let byte = buf[p];
  while (isSpace(byte)) {
    if (++p === end) return -1;
    byte = buf[p];
  }
  if (byte !== equalsByte) notWellFormed('an attribute has no value');
  do {
    if (++p === end) return -1;
    byte = buf[p];
  } while (isSpace(byte));
  if (byte !== singleQuote && byte !== doubleQuote) notWellFormed('an attribute value is not quoted');
  attributes[row + valueStart] = p + 1;
  p = scanValue(buf, p + 1, end, byte, row);
  if (p < 0) return -1;
  attributes[row + valueEnd] = p;
  return p + 1 === end ? -1 : p + 1;
}

/** Scans an attribute value up to its closing quote. */
function scanValue(buf: Uint8Array, at: number, end: number, quote: number, row: number): number {
  let p = at;
  let flags = 0;
  for (;;) {
    let byte = 0;
    while (p < end && valueBytes[(byte = buf[p])] === 0) p++;
    if (p === end) return -1;
    if (byte === quote) break;
    if (byte === singleQuote || byte === doubleQuote) {
      p++;
    } else if (byte >= 0x80) {
      flags |= notAscii;
      p = skipCharacter(buf, p, end);
    } else if (byte === ampersand) {
      flags |= notPlain;
      p = skipReference(buf, p, end);
    } else if (isSpace(byte)) {
      flags |= notPlain;
      p++;
    } else {
      notWellFormed(byte === lessThan ? '< in an attribute value' : 'a control character in an attribute value');
    }
    if (p < 0) return -1;
  }
  attributes[row + valueFlags] = flags;
  return p;
}

function isXmlns(buf: Uint8Array, start: number, end: number): boolean {
  return (
    end - start === 5 &&
    buf[start] === 0x78 &&
    buf[start + 1] === 0x6d &&
    buf[start + 2] === 0x6c &&
    buf[start + 3] === 0x6e &&
    buf[start + 4] === 0x73
  );
}

function refuseDuplicate(buf: Uint8Array, row: number): void {
  const start = attributes[row];
  const length = attributes[row + nameEnd] - start;
  for (let other = 0; other < row; other += attributeStride) {
    const otherStart = attributes[other];
    if (attributes[other + nameEnd] - otherStart !== length) continue;
    let i = 0;
    while (i < length && buf[start + i] === buf[otherStart + i]) i++;
    if (i === length) notWellFormed('an attribute occurs twice');
  }
}

/**
 * Scans the end tag whose `</` is at `at`; its name must be the `length` bytes at `name`.
 * Returns the position behind it, or -1 where it goes on after `end`.
 */
export function scanEndTag(buf: Uint8Array, at: number, end: number, name: number, length: number): number {
  let p = at + 2;
  for (let i = 0; i < length; i++, p++) {
    if (p === end) return -1;
    if (buf[p] !== buf[name + i]) notWellFormed('an end tag does not match its start tag');
  }
  while (p < end && isSpace(buf[p])) p++;
  if (p === end) return -1;
  if (buf[p] !== greaterThan) notWellFormed('an end tag does not match its start tag');
  return p + 1;
}

function tooLong(what: string): never {
  throw new StreamError('policy-violation', `a ${what} is too long`);
}

/** The value of the attribute in that row, as the application sees it. */
export function readValue(buf: Bytes, row: number): string {
  const flags = attributes[row + valueFlags];
  const from = attributes[row + valueStart];
  const to = attributes[row + valueEnd];
  const raw = flags & notAscii ? buf.utf8Slice(from, to) : buf.latin1Slice(from, to);
  return flags & notPlain ? unescapeAttribute(raw) : raw;
}
