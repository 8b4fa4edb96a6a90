// Bytes of XML: those with a meaning, UTF-8, the characters that XML has, references and names.
import type { Buffer } from 'node:buffer';
import { StreamError } from './errors.ts';

/** Bytes that also are a Buffer of Node, with the two decoders that it does not advertise. */
export type Bytes = Buffer & {
  latin1Slice(start: number, end: number): string;
  utf8Slice(start: number, end: number): string;
};

export const lessThan = 0x3c;
export const greaterThan = 0x3e;
export const slash = 0x2f;
export const bang = 0x21;
export const question = 0x3f;
export const ampersand = 0x26;
export const colonByte = 0x3a;
export const equalsByte = 0x3d;
export const bracket = 0x5d;
export const doubleQuote = 0x22;
export const singleQuote = 0x27;

// What a byte may be in a name.
const startsName = 1;
const inName = 2;
const special = 4;
const names = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const character = String.fromCharCode(byte);
  if (byte < 0x80 && /[A-Za-z_]/.test(character)) names[byte] = startsName | inName;
  else if (byte < 0x80 && /[-.0-9]/.test(character)) names[byte] = inName;
  else if (byte >= 0x80 || byte === colonByte) names[byte] = special;
}

/** The position of the colon in the name scanned last, or -1. */
export let colonAt = -1;

export function notWellFormed(text: string): never {
  throw new StreamError('not-well-formed', text);
}

export function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Scans a qualified name; returns its end, or -1 where it may go on after `end`. Sets `colonAt`. */
export function scanName(buf: Uint8Array, at: number, end: number): number {
  colonAt = -1;
  if (at >= end) return -1;
  if ((names[buf[at]] & startsName) === 0) return scanAnyName(buf, at, end);
  let p = at + 1;
  while (p < end && (names[buf[p]] & inName) !== 0) p++;
  if (p === end) return -1;
  return names[buf[p]] === special ? scanAnyName(buf, at, end) : p;
}

/** As `scanName`, with the characters that are rare in names (XML 1.0 §2.3, Namespaces in XML §3). */
function scanAnyName(buf: Uint8Array, at: number, end: number): number {
  let p = at;
  let starts = true;
  while (p < end) {
    const byte = buf[p];
    if (byte === colonByte) {
      if (starts || colonAt >= 0) notWellFormed('a colon where none may stand in a name');
      colonAt = p++;
      starts = true;
      continue;
    }
    if (byte >= 0x80) {
      const next = skipCharacter(buf, p, end);
      if (next < 0) return -1;
      const point = codePoint(buf, p);
      if (!(starts ? startsAName(point) : startsAName(point) || continuesAName(point))) break;
      p = next;
    } else if (names[byte] & (starts ? startsName : inName)) {
      p++;
    } else {
      break;
    }
    starts = false;
  }
  if (p === end) return -1;
  if (starts) notWellFormed(colonAt < 0 ? 'a name was expected' : 'a local name does not start as names do');
  return p;
}

function startsAName(point: number): boolean {
  return (
    (point >= 0xc0 && point <= 0x2ff && point !== 0xd7 && point !== 0xf7) ||
    (point >= 0x370 && point <= 0x1fff && point !== 0x37e) ||
    point === 0x200c ||
    point === 0x200d ||
    (point >= 0x2070 && point <= 0x218f) ||
    (point >= 0x2c00 && point <= 0x2fef) ||
    (point >= 0x3001 && point <= 0xd7ff) ||
    (point >= 0xf900 && point <= 0xfdcf) ||
    (point >= 0xfdf0 && point <= 0xfffd) ||
    (point >= 0x10000 && point <= 0xeffff)
  );
}

function continuesAName(point: number): boolean {
  return point === 0xb7 || (point >= 0x300 && point <= 0x36f) || point === 0x203f || point === 0x2040;
}

/** References longer than this are refused, though zeros may legally lead a number. */
const longestReference = 64;

/** Passes over a reference; -1 where it is incomplete. Only predefined entities and characters (RFC 6120 §11.1). */
export function skipReference(buf: Uint8Array, at: number, end: number): number {
  let p = at + 1;
  const limit = Math.min(end, at + longestReference);
  if (p === limit) return -1;
  if (buf[p] !== 0x23) return skipEntity(buf, at, end);
  if (++p === limit) return -1;
  const isHex = buf[p] === 0x78;
  if (isHex) p++;
  const digits = p;
  let point = 0;
  for (; p < limit; p++) {
    const digit = digitOf(buf[p]);
    if (digit >= (isHex ? 16 : 10)) break;
    point = Math.min(point * (isHex ? 16 : 10) + digit, 0x110000);
  }
  if (p === limit) return p === end ? -1 : notWellFormed('a character reference is too long');
  if (buf[p] !== 0x3b || p === digits) notWellFormed('a character reference is not complete');
  const isCharacter =
    point === 9 ||
    point === 10 ||
    point === 13 ||
    (point >= 0x20 && point < 0xd800) ||
    (point > 0xdfff && point < 0xfffe) ||
    (point > 0xffff && point < 0x110000);
  if (!isCharacter) notWellFormed('a reference to a character that XML does not have');
  return p + 1;
}

function digitOf(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : 99;
}

const entities = ['amp;', 'lt;', 'gt;', 'quot;', 'apos;'].map(name => [...name].map(letter => letter.charCodeAt(0)));

function skipEntity(buf: Uint8Array, at: number, end: number): number {
  for (const entity of entities) {
    for (let i = 0; ; i++) {
      if (i === entity.length) return at + 1 + i;
      if (at + 1 + i === end) return -1;
      if (buf[at + 1 + i] !== entity[i]) break;
    }
  }
  const nameStop = scanName(buf, at + 1, end);
  if (nameStop < 0 && end - at <= longestReference) return -1;
  if (nameStop < 0 || nameStop - at > longestReference) notWellFormed('& that starts no reference');
  if (buf[nameStop] === 0x3b) throw new StreamError('restricted-xml', 'a reference to an entity');
  return notWellFormed('& that starts no reference');
}

/** Passes over one character of two to four bytes; -1 where it is incomplete. Throws where it is not UTF-8 or not XML. */
export function skipCharacter(buf: Uint8Array, at: number, end: number): number {
  const lead = buf[at];
  if (lead < 0xc2 || lead > 0xf4) notUtf8();
  if (at + 1 === end) return -1;
  const second = buf[at + 1];
  if ((second & 0xc0) !== 0x80) notUtf8();
  if (lead < 0xe0) return at + 2;
  if ((lead === 0xe0 && second < 0xa0) || (lead === 0xed && second > 0x9f)) notUtf8();
  if ((lead === 0xf0 && second < 0x90) || (lead === 0xf4 && second > 0x8f)) notUtf8();
  if (at + 2 === end) return -1;
  const third = buf[at + 2];
  if ((third & 0xc0) !== 0x80) notUtf8();
  if (lead < 0xf0) {
    if (lead === 0xef && second === 0xbf && third >= 0xbe) notWellFormed('a character that XML does not have');
    return at + 3;
  }
  if (at + 3 === end) return -1;
  if ((buf[at + 3] & 0xc0) !== 0x80) notUtf8();
  return at + 4;
}

/** RFC 6120 §4.9.3.22 counts breaking the rules of UTF-8 as an encoding that is not supported. */
function notUtf8(): never {
  throw new StreamError('unsupported-encoding', 'the data is not UTF-8');
}

/** The code point of the character of several bytes at `at`, which is complete and right. */
function codePoint(buf: Uint8Array, at: number): number {
  const lead = buf[at];
  if (lead < 0xe0) return ((lead & 0x1f) << 6) | (buf[at + 1] & 0x3f);
  if (lead < 0xf0) return ((lead & 0x0f) << 12) | ((buf[at + 1] & 0x3f) << 6) | (buf[at + 2] & 0x3f);
  return ((lead & 0x07) << 18) | ((buf[at + 1] & 0x3f) << 12) | ((buf[at + 2] & 0x3f) << 6) | (buf[at + 3] & 0x3f);
}
