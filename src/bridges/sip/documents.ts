// Reads XML documents that SIP user agents write, more patiently than a stream would, and as safely.
import { Buffer } from 'node:buffer';
import type { Element } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { parseElement } from '../../xmpp/payload.ts';

const limits = { stanzaSize: 256 * 1024, children: 10_000 };
const declaration = /^\s*<\?xml[^>]{0,200}\?>/;

/**
 * The root of a document. Comments and the XML declaration may be there, and ISO-8859-1 is read where it is declared;
 * document types and processing instructions are refused, so there are no entities. Throws a StanzaError `bad-request`.
 */
export function readDocument(bytes: Uint8Array): Element {
  if (bytes.length > limits.stanzaSize) throw new StanzaError('policy-violation', 'the document is too large');
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const start = buffer.toString('latin1', 0, 256);
  // COMPAT(Asterisk): declares ISO-8859-1 and may mean it.
  const isLatin = /encoding\s*=\s*["']iso-8859-1["']/i.test(declaration.exec(start)?.[0] ?? '');
  const text = buffer.toString(isLatin && !isUtf8(buffer) ? 'latin1' : 'utf8');
  try {
    return parseElement(
      withoutComments(text)
        .replace(/^\uFEFF/, '')
        .replace(declaration, '')
        .trim(),
      limits,
    );
  } catch (error) {
    throw new StanzaError('bad-request', `the XML is wrong: ${(error as Error).message}`);
  }
}

function isUtf8(buffer: Buffer): boolean {
  return Buffer.from(buffer.toString('utf8')).equals(buffer);
}

/** A comment cannot begin inside a tag; one inside CDATA is kept by nobody. */
function withoutComments(text: string): string {
  if (!text.includes('<!--')) return text;
  let kept = '';
  let at = 0;
  for (;;) {
    const start = text.indexOf('<!--', at);
    const end = start < 0 ? -1 : text.indexOf('-->', start + 4);
    if (end < 0) return kept + text.slice(at);
    kept += text.slice(at, start);
    at = end + 3;
  }
}

/** The time of an ISO 8601 text in ms, or NaN. */
export function timeOf(text: string): number {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(text.trim()) ? Date.parse(text.trim()) : Number.NaN;
}
