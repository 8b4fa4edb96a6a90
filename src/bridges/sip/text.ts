// Text on its way: out of XHTML-IM, out of other character sets, into one header line, and into parts of a size.
import { Buffer } from 'node:buffer';
import type { Element } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';

const blocks = new Set(['p', 'div', 'li', 'ul', 'ol', 'dl', 'dd', 'dt', 'blockquote', 'pre', 'h1', 'h2', 'h3', 'h4']);
const deepest = 64;

/** What an XHTML-IM body says (XEP-0071): its text, a line for each block, links behind their words, alternatives of images. */
export function textOfXhtml(body: Element): string {
  return inner(body, 0)
    .replace(/[ \t]*\n[ \t]*/g, '\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim();
}

function inner(element: Element, depth: number): string {
  if (depth > deepest) return '';
  let text = '';
  for (const child of element.children) {
    if (typeof child === 'string') text += child.replace(/\s+/g, ' ');
    else if (child.name === 'br') text += '\n';
    else if (child.name === 'img') text += child.attrs.alt ?? '';
    else if (child.name === 'a') text += link(inner(child, depth + 1), child.attrs.href ?? '');
    else if (blocks.has(child.name)) text += `\n${inner(child, depth + 1)}\n`;
    else text += inner(child, depth + 1);
  }
  return text;
}

function link(words: string, href: string): string {
  return href === '' || words.includes(href) ? words : `${words} (${href})`;
}

/** A media type and its parameters, in lower case but for the parameters' values. */
export function mediaType(contentType: string): { type: string; parameters: Map<string, string> } {
  const [type, ...rest] = contentType.split(';');
  const parameters = new Map<string, string>();
  for (const part of rest) {
    const equals = part.indexOf('=');
    if (equals < 0) continue;
    const value = part.slice(equals + 1).trim();
    parameters.set(part.slice(0, equals).trim().toLowerCase(), value.replace(/^"(.*)"$/, '$1'));
  }
  return { type: type.trim().toLowerCase(), parameters };
}

/** Text in a character set, UTF-8 where none is named. Throws a StanzaError for unknown ones and for wrong bytes. */
export function decodeText(bytes: Uint8Array, charset = 'utf-8'): string {
  let decoder: InstanceType<typeof TextDecoder>;
  try {
    decoder = new TextDecoder(charset, { fatal: true });
  } catch {
    throw new StanzaError('not-acceptable', `the character set ${charset.slice(0, 40)} is not known`);
  }
  try {
    return decoder.decode(bytes).replace(/\r\n?/g, '\n');
  } catch {
    throw new StanzaError('bad-request', `the text is not ${charset.slice(0, 40)}`);
  }
}

/** A text on one line, for a header; control characters become spaces. */
export function oneLine(text: string, longest = 500): string {
  const line = text
    .toWellFormed()
    .replace(/[\0-\x1f\x7f\u0085\u2028\u2029]+/g, ' ')
    .trim();
  return line.length > longest ? `${[...line.slice(0, longest)].slice(0, -1).join('')}…` : line;
}

/** A language tag (RFC 5646) fit for a header and for xml:lang, or ''. */
export function languageTag(text: string | undefined): string {
  const tag = (text ?? '').split(',')[0].trim();
  return /^[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}$/.test(tag) ? tag : '';
}

const segments = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/**
 * Cuts a text into parts of at most `most` bytes of UTF-8 each: behind a line or a word where that leaves more than
 * half a part, else between two characters as people count them. Null where more than `parts` would be needed.
 */
export function splitText(text: string, most: number, parts: number): string[] | null {
  if (Buffer.byteLength(text) <= most) return [text];
  const found: string[] = [];
  let rest = text;
  while (Buffer.byteLength(rest) > most) {
    if (found.length + 1 >= parts) return null;
    const cut = cutOf(rest, most);
    found.push(rest.slice(0, cut).trimEnd());
    rest = rest.slice(cut).replace(/^[ \n]/, '');
  }
  found.push(rest);
  return found;
}

/** The index at which to cut the first part off. */
function cutOf(text: string, most: number): number {
  // No more code units than bytes: what is longer is of no concern here.
  const head = text.slice(0, most + 1);
  let bytes = 0;
  let fits = 0;
  let space = 0;
  for (const { segment, index } of segments.segment(head)) {
    bytes += Buffer.byteLength(segment);
    if (bytes > most) break;
    fits = index + segment.length;
    if (segment === '\n' || segment === ' ') space = fits;
  }
  if (fits === 0) fits = largestPrefix(head, most);
  return space > fits / 2 ? space : fits;
}

/** One character as people count them that is larger than a whole part: cut between code points. */
function largestPrefix(text: string, most: number): number {
  let bytes = 0;
  let fits = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > most) break;
    fits += character.length;
  }
  return fits;
}
