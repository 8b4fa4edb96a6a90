// A stanza as it travels: its start tag read into fields, everything inside it still the bytes that came.
import { Buffer } from 'node:buffer';
import { type Attributes, Element, el, escapeAttribute, escapeText, type Node } from './element.ts';
import type { ErrorType, StanzaCondition, StanzaError } from './errors.ts';
import { StreamError, stanzaConditions } from './errors.ts';
import { Jid } from './jid.ts';
import { isContentNamespace, ns } from './namespaces.ts';
import { parsePayload, unescapeAttribute } from './payload.ts';
import { Scanner, type ScannerLimits } from './scanner.ts';

const empty: Uint8Array = new Uint8Array(0);
const emptyIndex: readonly number[] = [];

/** Where a child of a stanza stands: `stride` numbers a child, offsets into the payload. */
export const childStride = 6;
// name start, name end, namespace start, namespace end (-1: inherited from the stanza), start, end

/** A stanza while it is made. */
type Changing = { -readonly [Field in keyof Stanza]: Stanza[Field] };

/** A child as XML, its name and its namespace. */
interface Written {
  readonly name: string;
  readonly ns: string;
  readonly xml: string;
}

/** What of a start tag does not stand in a field of its own. */
export interface StanzaFields {
  name: string;
  ns?: string;
  to?: Jid | null;
  from?: Jid | null;
  id?: string;
  type?: string;
  lang?: string;
  /** Further attributes as XML text, each with a leading space; well-formed, prefixes declared in it or in none. */
  extra?: string;
  /** The bytes between the start and the end tag; well-formed UTF-8 in which every prefix is declared. */
  payload?: Uint8Array;
  /** The offsets of the children of `payload`, `childStride` numbers each. */
  index?: readonly number[];
  /** The address that could not be parsed, if one could not. */
  malformed?: 'to' | 'from' | '';
}

/**
 * A top-level element of a stream. Stanzas do not change: a new address or child makes a new stanza
 * that shares the payload's bytes. Content namespaces are all written as `jabber:client` in `ns`.
 */
export class Stanza {
  readonly name: string;
  readonly ns: string;
  readonly to: Jid | null;
  readonly from: Jid | null;
  readonly id: string;
  readonly type: string;
  readonly lang: string;
  readonly extra: string;
  readonly payload: Uint8Array;
  readonly index: readonly number[];
  readonly malformed: 'to' | 'from' | '';
  #head = '';
  /** A child behind the payload, which joins it only where that matters: most stanzas are just passed on. */
  #written: Written | null = null;

  constructor(fields: StanzaFields) {
    this.name = fields.name;
    this.ns = fields.ns ?? ns.client;
    this.to = fields.to ?? null;
    this.from = fields.from ?? null;
    this.id = fields.id ?? '';
    this.type = fields.type ?? '';
    this.lang = fields.lang ?? '';
    this.extra = fields.extra ?? '';
    this.payload = fields.payload ?? empty;
    this.index = fields.index ?? emptyIndex;
    this.malformed = fields.malformed ?? '';
  }

  /** Builds a stanza from its parts; attributes besides the known five are not set this way. */
  static of(
    name: 'message' | 'presence' | 'iq',
    fields: { to?: Jid | null; from?: Jid | null; id?: string; type?: string; lang?: string },
    ...children: (Element | null | undefined)[]
  ): Stanza {
    return new Stanza({ name, ...fields, ...serialise(children, ns.client) });
  }

  /** Builds a stanza from a whole element, such as one that was forwarded inside another. */
  static from(element: Element): Stanza {
    const { to, from, id, type, 'xml:lang': lang, ...rest } = element.attrs;
    const stanzaNs = isContentNamespace(element.ns) ? ns.client : element.ns;
    const children = stanzaNs === element.ns ? element.children : renamed(element.children, element.ns);
    const toJid = to === undefined ? null : Jid.tryParse(to);
    const fromJid = from === undefined ? null : Jid.tryParse(from);
    return new Stanza({
      name: element.name,
      ns: stanzaNs,
      to: toJid,
      from: fromJid,
      id,
      type,
      lang,
      extra: extraOf(rest),
      ...serialise(children, stanzaNs),
      malformed: to !== undefined && !toJid ? 'to' : from !== undefined && !fromJid ? 'from' : '',
    });
  }

  /** Reads what `toBytes` wrote. Throws a StreamError where the bytes are not one whole stanza. */
  static parse(bytes: Uint8Array): Stanza {
    const found: Stanza[] = [];
    const scanner = new Scanner(
      {
        streamOpened() {},
        stanza(stanza) {
          found.push(stanza);
        },
        streamClosed() {},
      },
      storedLimits,
    );
    scanner.push(storedHeader);
    scanner.push(bytes);
    if (found.length !== 1 || scanner.buffered > 0) throw new StreamError('not-well-formed', 'not one whole stanza');
    return found[0];
  }

  get isError(): boolean {
    return this.type === 'error';
  }

  /** An IQ that wants an answer (RFC 6120 §8.2.3). */
  get isRequest(): boolean {
    return this.name === 'iq' && (this.type === 'get' || this.type === 'set');
  }

  /** Whether it keeps the rules of IQs: an id, one of four types, and in a request one child (RFC 6120 §8.2.3). */
  get isProper(): boolean {
    if (this.name !== 'iq') return true;
    if (this.id === '') return false;
    return this.isRequest ? this.index.length === childStride : this.type === 'result' || this.isError;
  }

  /** Whether there is a child of that name and namespace; builds no tree. */
  has(name: string, childNs: string): boolean {
    return this.#find(name, childNs) >= 0 || (this.#written?.name === name && this.#written.ns === childNs);
  }

  /** The first child of that name and namespace as a tree, or null. */
  child(name: string, childNs: string): Element | null {
    const at = this.#find(name, childNs);
    if (at >= 0) return this.#build(at);
    return this.#written && this.has(name, childNs) ? this.#joined().child(name, childNs) : null;
  }

  /** The name and namespace of the first child, or null: what an IQ is dispatched by. */
  get firstChild(): { name: string; ns: string } | null {
    if (this.#written) return this.#joined().firstChild;
    return this.index.length === 0 ? null : { name: this.#nameAt(0), ns: this.#namespaceAt(0) };
  }

  /** All children as trees. */
  get children(): Element[] {
    if (this.#written) return this.#joined().children;
    const children: Element[] = [];
    for (let at = 0; at < this.index.length; at += childStride) children.push(this.#build(at));
    return children;
  }

  /** The text of a child in the content namespace (`body`, `subject`, `status` …), or ''. */
  text(name: string): string {
    return this.child(name, ns.client)?.text ?? '';
  }

  /** The whole stanza as a tree. */
  get element(): Element {
    const attrs: Record<string, string> = {};
    if (this.from) attrs.from = this.from.toString();
    if (this.to) attrs.to = this.to.toString();
    if (this.id) attrs.id = this.id;
    if (this.type) attrs.type = this.type;
    if (this.lang) attrs['xml:lang'] = this.lang;
    const bytes = Buffer.concat([
      Buffer.from(`<x${this.extra}>`),
      this.payload,
      Buffer.from(`${this.#written?.xml ?? ''}</x>`),
    ]);
    const whole = parsePayload(bytes, this.ns);
    return new Element(this.name, this.ns, { ...whole.attrs, ...attrs }, whole.children);
  }

  /** The same stanza between other addresses. */
  withAddresses(from: Jid | null, to: Jid | null): Stanza {
    const copy: Changing = this.#copy();
    copy.from = from;
    copy.to = to;
    return copy as Stanza;
  }

  withFrom(from: Jid | null): Stanza {
    return this.withAddresses(from, this.to);
  }

  withTo(to: Jid | null): Stanza {
    return this.withAddresses(this.from, to);
  }

  withId(id: string): Stanza {
    const copy: Changing = this.#copy();
    copy.id = id;
    return copy as Stanza;
  }

  withType(type: string): Stanza {
    const copy: Changing = this.#copy();
    copy.type = type;
    return copy as Stanza;
  }

  withLang(lang: string): Stanza {
    const copy: Changing = this.#copy();
    copy.lang = lang;
    return copy as Stanza;
  }

  /** The same stanza with one more child at its end. */
  with(child: Element): Stanza {
    if (this.#written) return this.#joined().with(child);
    const bytes = Buffer.from(child.toString(this.ns));
    const index = this.index.slice();
    note(index, child, this.ns, this.payload.length, bytes.length);
    return this.#holding(Buffer.concat([this.payload, bytes]), index);
  }

  /**
   * As `with`, from a child that is written already: `xml` begins with `<name xmlns='…'`, in that order and escaped, and
   * is well-formed. For what is done to every message.
   */
  withWritten(name: string, childNs: string, xml: string): Stanza {
    if (this.#written) return this.#joined().withWritten(name, childNs, xml);
    const copy = this.#copy();
    copy.#written = { name, ns: childNs, xml };
    // The start tag of an empty element is another one.
    if (this.payload.length === 0) return copy.#joined();
    copy.#head = this.#head;
    return copy;
  }

  /** The same stanza without the children for which `test` holds; `element` builds the child for who must look inside. */
  without(test: (name: string, childNs: string, element: () => Element) => boolean): Stanza {
    if (this.#written) return this.#joined().without(test);
    const parts: Uint8Array[] = [];
    const index: number[] = [];
    let from = 0;
    let gone = 0;
    for (let at = 0; at < this.index.length; at += childStride) {
      const start = this.index[at + 4];
      const end = this.index[at + 5];
      if (test(this.#nameAt(at), this.#namespaceAt(at), () => this.#build(at))) {
        parts.push(this.payload.subarray(from, start));
        from = end;
        gone += end - start;
      } else {
        for (let i = 0; i < childStride; i++) index.push(this.index[at + i] < 0 ? -1 : this.index[at + i] - gone);
      }
    }
    if (gone === 0) return this;
    parts.push(this.payload.subarray(from));
    return this.#holding(Buffer.concat(parts), index);
  }

  /** The result of an IQ, back to its sender (RFC 6120 §8.2.3). */
  result(...children: (Element | null | undefined)[]): Stanza {
    return Stanza.of('iq', { from: this.to, to: this.from, id: this.id, type: 'result' }, ...children);
  }

  /**
   * The error that answers this stanza (RFC 6120 §8.3.1), carrying what it answers.
   * `more` is an application-specific condition.
   */
  error(condition: StanzaCondition, text = '', type: ErrorType = stanzaConditions[condition], more?: Element): Stanza {
    const error = el(
      'error',
      ns.client,
      { type },
      el(condition, ns.stanzaErrors),
      text ? el('text', ns.stanzaErrors, { 'xml:lang': 'en' }, text) : null,
      more,
    );
    return this.withAddresses(this.to, this.from).withType('error').with(error);
  }

  /** As `error`, from a thrown StanzaError. */
  refuse(error: StanzaError): Stanza {
    return this.error(error.condition, error.text, error.type, error.more);
  }

  /** The start tag, or the whole empty-element tag where there is no payload. */
  get head(): string {
    if (this.#head !== '') return this.#head;
    let head = `<${this.name}`;
    if (this.ns !== ns.client) head += ` xmlns='${escapeAttribute(this.ns)}'`;
    if (this.from !== null) head += ` from='${this.from.escaped}'`;
    if (this.to !== null) head += ` to='${this.to.escaped}'`;
    if (this.id !== '') head += ` id='${escapeAttribute(this.id)}'`;
    if (this.type !== '') head += ` type='${escapeAttribute(this.type)}'`;
    if (this.lang !== '') head += ` xml:lang='${escapeAttribute(this.lang)}'`;
    this.#head = `${head}${this.extra}${this.payload.length === 0 ? '/>' : '>'}`;
    return this.#head;
  }

  /** What follows the payload: the end tag, or nothing where `head` already ended the element. */
  get tail(): string {
    if (this.#written) return `${this.#written.xml}</${this.name}>`;
    return this.payload.length === 0 ? '' : `</${this.name}>`;
  }

  /** The stanza as XML, in the content namespace of the stream it is written to. */
  toString(): string {
    return (
      this.head + Buffer.from(this.payload.buffer, this.payload.byteOffset, this.payload.length).toString() + this.tail
    );
  }

  /** The stanza as bytes that `Stanza.parse` reads again. */
  toBytes(): Uint8Array {
    return Buffer.concat([Buffer.from(this.head), this.payload, Buffer.from(this.tail)]);
  }

  /** The stanza with bytes of its own: what is kept longer than the chunk it came in must not pin that chunk. */
  detach(): Stanza {
    if (this.payload.buffer.byteLength <= this.payload.length * 2) return this;
    const copy: Changing = this.#copy();
    copy.payload = new Uint8Array(this.payload);
    return copy as Stanza;
  }

  /** Another one with the same content; whoever asks for it may still change its fields, not whether it has a payload. */
  #copy(): Stanza {
    const copy = this.#holding(this.payload, this.index);
    copy.#written = this.#written;
    return copy;
  }

  /** The same stanza with all that it has in its payload. */
  #joined(): Stanza {
    const { name, ns: childNs, xml } = this.#written!;
    const at = this.payload.length;
    const length = Buffer.byteLength(xml);
    const payload = Buffer.allocUnsafe(at + length);
    payload.set(this.payload);
    payload.write(xml, at);
    const nameEnd = at + 1 + name.length;
    const value = nameEnd + " xmlns='".length;
    const index = this.index.slice();
    index.push(at + 1, nameEnd, value, value + childNs.length, at, at + length);
    return this.#holding(payload, index);
  }

  /** The same start tag around another payload. */
  #holding(payload: Uint8Array, index: readonly number[]): Stanza {
    const copy: Changing = new Stanza(this);
    copy.payload = payload;
    copy.index = index;
    // Whoever changes a stanza has seen that an address of it is none.
    copy.malformed = '';
    return copy as Stanza;
  }

  #find(name: string, childNs: string): number {
    const wanted = isContentNamespace(childNs) ? ns.client : childNs;
    const { index, payload } = this;
    for (let at = 0; at < index.length; at += childStride) {
      if (!isText(payload, index[at], index[at + 1], name)) continue;
      const start = index[at + 2];
      if (start < 0 ? this.ns === wanted : isValue(payload, start, index[at + 3], wanted)) return at;
    }
    return -1;
  }

  #nameAt(at: number): string {
    return decode(this.payload, this.index[at], this.index[at + 1]);
  }

  #namespaceAt(at: number): string {
    const start = this.index[at + 2];
    if (start < 0) return this.ns;
    const value = unescapeAttribute(decode(this.payload, start, this.index[at + 3]));
    return isContentNamespace(value) ? ns.client : value;
  }

  #build(at: number): Element {
    return parsePayload(this.payload.subarray(this.index[at + 4], this.index[at + 5]), this.ns);
  }
}

function decode(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString();
}

/** Whether the bytes are that text; makes no string of them. */
function isText(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  const length = end - start;
  if (length < text.length) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0x80) return decode(bytes, start, end) === text;
    if (bytes[start + i] !== code) return false;
  }
  return length === text.length;
}

/** Whether the bytes are that value of an attribute, which may have been written with references. */
function isValue(bytes: Uint8Array, start: number, end: number, value: string): boolean {
  if (isText(bytes, start, end, value) && !value.includes('&')) return true;
  for (let i = start; i < end; i++) {
    if (bytes[i] === 0x26 || bytes[i] < 0x20) return unescapeAttribute(decode(bytes, start, end)) === value;
  }
  return false;
}

/** Writes children that stand where `parentNs` is the default namespace, and their index. */
function serialise(
  children: readonly (Node | null | undefined)[],
  parentNs: string,
): Pick<StanzaFields, 'payload' | 'index'> {
  const parts: Buffer[] = [];
  const index: number[] = [];
  let length = 0;
  for (const child of children) {
    if (child === null || child === undefined || child === '') continue;
    const part = Buffer.from(typeof child === 'string' ? escapeText(child) : child.toString(parentNs));
    if (typeof child !== 'string') note(index, child, parentNs, length, part.length);
    parts.push(part);
    length += part.length;
  }
  if (parts.length === 0) return { payload: empty, index: emptyIndex };
  return { payload: parts.length === 1 ? parts[0] : Buffer.concat(parts, length), index };
}

/** Adds to an index a child that `Element.toString` wrote to `start`, `length` bytes long. */
function note(index: number[], child: Element, parentNs: string, start: number, length: number): void {
  const name = start + 1;
  const nameEnd = name + Buffer.byteLength(child.name);
  if (child.ns === parentNs) {
    index.push(name, nameEnd, -1, -1, start, start + length);
  } else {
    const value = nameEnd + " xmlns='".length;
    index.push(name, nameEnd, value, value + Buffer.byteLength(escapeAttribute(child.ns)), start, start + length);
  }
}

/** Attributes as XML text that declares the prefixes it uses. */
function extraOf(attrs: Attributes): string {
  const tag = new Element('x', '', attrs).toString();
  return tag.slice(2, -2);
}

/** The same nodes with what is in another content namespace put into `jabber:client`. */
function renamed(nodes: readonly Node[], from: string): readonly Node[] {
  return nodes.map(node =>
    typeof node === 'string'
      ? node
      : new Element(node.name, node.ns === from ? ns.client : node.ns, node.attrs, renamed(node.children, from)),
  );
}

/** What is stored has passed the limits of a stream already. */
const storedLimits: ScannerLimits = {
  stanzaSize: 64 * 1024 * 1024,
  depth: 1024,
  attributes: 256,
  name: 65536,
  tag: 64 * 1024 * 1024,
  children: Number.MAX_SAFE_INTEGER,
};
const storedHeader = Buffer.from(`<stored xmlns='${ns.client}'>`);
