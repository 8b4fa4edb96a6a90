// Reads start tags that the scanner has found to be right: those of streams and those of stanzas.
import type { Bytes } from './characters.ts';
import { Jid } from './jid.ts';
import { isContentNamespace, ns } from './namespaces.ts';
import { set } from './payload.ts';
import { declared, defaultNamespace, expandOnce, undeclared, xmlNamespace } from './scope.ts';
import type { StanzaFields } from './stanza.ts';
import { attributeStride, attributes, nameEnd, readValue, tag, valueEnd, valueFlags, valueStart } from './tags.ts';

/** The root element of a stream. */
export interface StreamHeader {
  name: string;
  ns: string;
  /** The default namespace that it declares, '' if none. */
  contentNs: string;
  /** Its attributes under the names they are written with, without namespace declarations. */
  attrs: Record<string, string>;
  /** The prefixes that it declares, with their namespaces. */
  prefixes: ReadonlyMap<string, string>;
}

/** Whether the other end speaks XMPP 1.0 or later; to a later version 1.0 is the answer (RFC 6120 §4.7.5). */
export function speaksXmpp({ attrs }: StreamHeader): boolean {
  return /^0*[1-9]\d*\.\d+$/.test(attrs.version ?? '');
}

/** What stays known of a stream header while the stream goes on. */
export interface Root {
  header: StreamHeader;
  /** The name as it is written, which the end tag must repeat. */
  name: string;
}

const onlyStream: ReadonlyMap<string, string> = new Map([['stream', ns.streams]]);

/** Reads the tag scanned last as a stream header, whose `<` is at `at`. */
export function readHeader(buf: Bytes, at: number): Root {
  const attrs: Record<string, string> = {};
  let prefixes: ReadonlyMap<string, string> = declaredPrefixes(buf);
  // Nearly all streams declare the same: they share it.
  if (prefixes.size === 1 && prefixes.get('stream') === ns.streams) prefixes = onlyStream;
  const resolve = (prefix: string) => prefixes.get(prefix) ?? undeclared(prefix);
  const seen = new Set<string>();
  for (let row = 0; row < tag.size; row += attributeStride) {
    const name = buf.utf8Slice(attributes[row], attributes[row + nameEnd]);
    if (row === tag.xmlns || name.startsWith('xmlns:')) continue;
    set(attrs, name, readValue(buf, row));
    const colon = name.indexOf(':');
    if (colon < 0) continue;
    const prefix = name.slice(0, colon);
    expandOnce(seen, prefix === 'xml' ? xmlNamespace : resolve(prefix), name.slice(colon + 1));
  }
  const contentNs = tag.xmlns < 0 ? '' : defaultNamespace(buf, tag.xmlns);
  const name = buf.utf8Slice(at + 1, tag.nameEnd);
  const colon = name.indexOf(':');
  const namespace = colon < 0 ? contentNs : resolve(name.slice(0, colon));
  return { name, header: { name: name.slice(colon + 1), ns: namespace, contentNs, attrs, prefixes } };
}

function declaredPrefixes(buf: Bytes): Map<string, string> {
  const prefixes = new Map<string, string>();
  for (let row = 0; row < tag.size; row += attributeStride) {
    const name = buf.utf8Slice(attributes[row], attributes[row + nameEnd]);
    if (name.startsWith('xmlns:')) prefixes.set(name.slice(6), declared(name.slice(6), readValue(buf, row)));
  }
  return prefixes;
}

// The values that nearly every stanza has one of need no new string.
const words: string[] = new Array(256).fill('');
for (const word of 'message presence iq chat normal groupchat headline error get set result unavailable'.split(' ')) {
  words[wordHash(word.length, word.charCodeAt(0), word.charCodeAt(word.length - 1))] = word;
}

function wordHash(length: number, first: number, last: number): number {
  return (length * 29 + first * 5 + last) & 255;
}

function word(buf: Bytes, from: number, to: number): string {
  const length = to - from;
  if (length === 0) return '';
  const known = words[wordHash(length, buf[from], buf[to - 1])];
  if (known.length === length) {
    let i = 0;
    while (i < length && known.charCodeAt(i) === buf[from + i]) i++;
    if (i === length) return known;
  }
  return buf.utf8Slice(from, to);
}

/** Reads the tag scanned last as the start tag of a stanza, whose `<` is at `at`. */
export function readFields(buf: Bytes, at: number, contentNs: string): StanzaFields {
  const fields: Required<StanzaFields> = {
    name: word(buf, tag.colon < 0 ? at + 1 : tag.colon + 1, tag.nameEnd),
    ns: contentNs,
    to: null,
    from: null,
    id: '',
    type: '',
    lang: '',
    extra: '',
    payload: noPayload,
    index: noIndex,
    malformed: '',
  };
  if (tag.xmlns >= 0) fields.ns = defaultNamespace(buf, tag.xmlns);
  if (isContentNamespace(fields.ns)) fields.ns = ns.client;
  for (let row = 0; row < tag.size; row += attributeStride) {
    if (row !== tag.xmlns) readField(buf, row, fields);
  }
  return fields;
}

const noPayload = new Uint8Array(0);
const noIndex: readonly number[] = [];

function readField(buf: Bytes, row: number, fields: Required<StanzaFields>): void {
  const from = attributes[row];
  const to = attributes[row + nameEnd];
  const first = buf[from];
  const length = to - from;
  if (length === 2 && first === 0x74 && buf[from + 1] === 0x6f) {
    fields.to = Jid.tryParse(readValue(buf, row));
    if (!fields.to) fields.malformed = 'to';
  } else if (length === 2 && first === 0x69 && buf[from + 1] === 0x64) {
    fields.id = readValue(buf, row);
  } else if (length === 4 && first === 0x74 && isName(buf, from, 'type')) {
    fields.type = attributes[row + valueFlags]
      ? readValue(buf, row)
      : word(buf, attributes[row + valueStart], attributes[row + valueEnd]);
  } else if (length === 4 && first === 0x66 && isName(buf, from, 'from')) {
    fields.from = Jid.tryParse(readValue(buf, row));
    if (!fields.from && fields.malformed === '') fields.malformed = 'from';
  } else if (length === 8 && first === 0x78 && isName(buf, from, 'xml:lang')) {
    fields.lang = readValue(buf, row);
  } else {
    fields.extra += ` ${buf.utf8Slice(from, attributes[row + valueEnd] + 1)}`;
  }
}

function isName(buf: Bytes, from: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (buf[from + i] !== name.charCodeAt(i)) return false;
  return true;
}
