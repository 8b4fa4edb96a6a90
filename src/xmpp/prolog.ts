// What may stand before a root element: a byte order mark and an XML declaration (XML 1.0 §2.8, RFC 6120 §11.5, §11.6).
import { Buffer } from 'node:buffer';
import { greaterThan, isSpace, lessThan, notWellFormed } from './characters.ts';
import { StreamError } from './errors.ts';

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
