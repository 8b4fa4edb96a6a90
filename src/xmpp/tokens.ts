// The tokens of XML as bytes: tags, text, references and UTF-8, each checked as it is passed over.
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
const ampersand = 0x26;
const colonByte = 0x3a;
const equalsByte = 0x3d;
const bracket = 0x5d;
const doubleQuote = 0x22;
const singleQuote = 0x27;

// What a byte may be in a name, and which bytes of text and values need a second look.
const startsName = 1;
const inName = 2;
const special = 4;
const names = new Uint8Array(256);
const textBytes = new Uint8Array(256);
const valueBytes = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const character = String.fromCharCode(byte);
  if (byte < 0x80 && /[A-Za-z_]/.test(character)) names[byte] = startsName | inName;
  else if (byte < 0x80 && /[-.0-9]/.test(character)) names[byte] = inName;
  else if (byte >= 0x80 || byte === colonByte) names[byte] = special;
  const isControl = byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d;
  if (isControl || byte >= 0x80 || /[<&\]]/.test(character)) textBytes[byte] = special;
  if (byte < 0x20 || byte >= 0x80 || /[<&"']/.test(character)) valueBytes[byte] = special;
}

/** The most attributes that any limit can allow. */
export const mostAttributes = 256;

// Where the attributes of the tag scanned last stand. One table serves all scanners: it is read before the next tag.
export const attributeStride = 6;
export const attributes = new Int32Array(mostAttributes * attributeStride);
/** Offsets into an attribute's row: name, position of the colon in it or -1, value without quotes, flags. */
export const nameStart = 0;
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

let colonAt = -1;

export function notWellFormed(text: string): never {
  throw new StreamError('not-well-formed', text);
}

export function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

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

/** Scans a qualified name; returns its end, or -1 where it may go on after `end`. Sets `colonAt`. */
function scanName(buf: Uint8Array, at: number, end: number): number {
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

/** Passes over character data; stops at the next `<`, or at what is incomplete before `end`, or at `end`. */
export function skipText(buf: Uint8Array, at: number, end: number): number {
  let p = at;
  for (;;) {
    let byte = 0;
    while (p < end && textBytes[(byte = buf[p])] === 0) p++;
    if (p === end || byte === lessThan) return p;
    let next = p + 1;
    if (byte >= 0x80) next = skipCharacter(buf, p, end);
    else if (byte === ampersand) next = skipReference(buf, p, end);
    else if (byte === bracket) next = skipBracket(buf, p, end);
    else notWellFormed('a control character in text');
    if (next < 0) return p;
    p = next;
  }
}

function skipBracket(buf: Uint8Array, at: number, end: number): number {
  if (at + 1 === end) return -1;
  if (buf[at + 1] !== bracket) return at + 1;
  if (at + 2 === end) return -1;
  if (buf[at + 2] === greaterThan) notWellFormed(']]> in text');
  return at + 1;
}

/** Passes over a CDATA section's content and its end. Returns the position behind, or `~position` where it is incomplete. */
export function skipCdata(buf: Uint8Array, at: number, end: number): number {
  let p = at;
  for (;;) {
    let byte = 0;
    while (p < end && textBytes[(byte = buf[p])] === 0) p++;
    if (p === end) return ~p;
    if (byte >= 0x80) {
      const next = skipCharacter(buf, p, end);
      if (next < 0) return ~p;
      p = next;
    } else if (byte === bracket) {
      if (p + 1 === end) return ~p;
      if (buf[p + 1] === bracket) {
        if (p + 2 === end) return ~p;
        if (buf[p + 2] === greaterThan) return p + 3;
      }
      p++;
    } else if (byte === lessThan || byte === ampersand) {
      p++;
    } else {
      notWellFormed('a control character in a CDATA section');
    }
  }
}

const cdataStart = [0x3c, 0x21, 0x5b, 0x43, 0x44, 0x41, 0x54, 0x41, 0x5b];

/** Passes over `<![CDATA[`; returns -1 where it is incomplete. Throws on any other `<!` markup (RFC 6120 §11.1). */
export function skipCdataStart(buf: Uint8Array, at: number, end: number): number {
  for (let i = 2; i < cdataStart.length; i++) {
    if (at + i === end) return -1;
    if (buf[at + i] === cdataStart[i]) continue;
    if (i === 2 && buf[at + 2] === 0x2d) throw new StreamError('restricted-xml', 'a comment');
    if (i === 2 && buf[at + 2] === 0x44) throw new StreamError('restricted-xml', 'a document type declaration');
    notWellFormed('unknown markup');
  }
  return at + cdataStart.length;
}

/** Throws the error for `<?` where it has no place. */
export function refuseInstruction(): never {
  throw new StreamError('restricted-xml', 'a processing instruction');
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

const longestDeclaration = 256;
const declaration =
  /^<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:'1\.[0-9]+'|"1\.[0-9]+")(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:'([A-Za-z][\w.-]*)'|"([A-Za-z][\w.-]*)"))?(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:'(?:yes|no)'|"(?:yes|no)"))?[ \t\r\n]*\?>$/;

/**
 * Passes over a byte order mark and an XML declaration, if they are there. Returns the position behind them, or -1
 * where more must come before that is known. Throws a StreamError.
 */
export function scanProlog(buf: Uint8Array, at: number, end: number): number {
  let p = at;
  if (p === end) return -1;
  if (buf[p] === 0xef) {
    for (const byte of [0xef, 0xbb, 0xbf]) {
      if (p === end) return -1;
      if (buf[p++] !== byte) notWellFormed('text before the first tag');
    }
    if (p === end) return -1;
  }
  if (buf[p] === 0xfe || buf[p] === 0xff || buf[p] === 0 || (buf[p] === lessThan && end - p > 1 && buf[p + 1] === 0)) {
    throw new StreamError('unsupported-encoding', 'only UTF-8 is supported');
  }
  return scanDeclaration(buf, p, end);
}

/** As `scanProlog`, without a byte order mark. */
export function scanDeclaration(buf: Uint8Array, at: number, end: number): number {
  const text = '<?xml';
  for (let i = 0; i < text.length; i++) {
    if (at + i === end) return -1;
    if (buf[at + i] !== text.charCodeAt(i)) return at;
  }
  if (at + text.length === end) return -1;
  if (!isSpace(buf[at + text.length])) return at;
  const limit = Math.min(end, at + longestDeclaration);
  let p = at;
  while (p < limit && buf[p] !== greaterThan) p++;
  if (p === limit) return p === end ? -1 : notWellFormed('the XML declaration is too long');
  const match = declaration.exec(Buffer.from(buf.buffer, buf.byteOffset + at, p + 1 - at).toString('latin1'));
  if (!match) return notWellFormed('the XML declaration is wrong');
  const encoding = match[1] ?? match[2];
  if (encoding !== undefined && encoding.toLowerCase() !== 'utf-8') {
    throw new StreamError('unsupported-encoding', 'only UTF-8 is supported');
  }
  return p + 1;
}

function tooLong(what: string): never {
  throw new StreamError('policy-violation', `a ${what} is too long`);
}
