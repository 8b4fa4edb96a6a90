// Character data and CDATA sections as bytes, each checked as it is passed over, in any portions.
import {
  ampersand,
  bracket,
  greaterThan,
  lessThan,
  notWellFormed,
  skipCharacter,
  skipReference,
} from './characters.ts';
import { StreamError } from './errors.ts';

// The bytes of text that need a second look.
const textBytes = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const isControl = byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d;
  if (isControl || byte >= 0x80 || byte === lessThan || byte === ampersand || byte === bracket) textBytes[byte] = 1;
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
