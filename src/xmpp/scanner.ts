// A strict tokenizer for XMPP streams: bytes in, in any portions; a header, stanzas and the end of the stream out.
import { Buffer } from 'node:buffer';
import { StreamError } from './errors.ts';
import { Jid } from './jid.ts';
import { isContentNamespace, ns } from './namespaces.ts';
import { parsePayload, set, unescapeAttribute } from './payload.ts';
import { childStride, Stanza, type StanzaFields } from './stanza.ts';
import {
  attributeStride,
  attributes,
  type Bytes,
  bang,
  greaterThan,
  isSpace,
  lessThan,
  mostAttributes,
  nameColon,
  nameEnd,
  notAscii,
  notPlain,
  notWellFormed,
  question,
  refuseInstruction,
  scanDeclaration,
  scanEndTag,
  scanProlog,
  scanTag,
  skipCdata,
  skipCdataStart,
  skipText,
  slash,
  tag,
  valueEnd,
  valueFlags,
  valueStart,
} from './tokens.ts';

export { scanProlog } from './tokens.ts';

/** What a peer may send; sizes in bytes. */
export interface ScannerLimits {
  /** One stanza, from its `<` to behind its end tag. */
  stanzaSize: number;
  /** Elements inside one another, the stanza itself being the first; 64 where it is not given. */
  depth?: number;
  /** Attributes of one tag, at most 256; 64 where it is not given. */
  attributes?: number;
  /** A qualified name; 256 where it is not given. */
  name?: number;
  /** A start tag, the stream header's too; 16 KiB where it is not given. */
  tag?: number;
  /** Child elements directly in a stanza; 1,000 where it is not given. */
  children?: number;
}

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

/** Whom a scanner tells. Its methods may pause or restart the scanner, set its limits, or throw. */
export interface ScannerHandler {
  streamOpened(header: StreamHeader): void;
  stanza(stanza: Stanza): void;
  streamClosed(): void;
}

/** A namespace prefix in scope and the depth of the element that declares it. */
interface Binding {
  prefix: string;
  uri: string;
  depth: number;
}

/** What is noted while inside a stanza. Offsets count from the start of its payload, so that bytes may move. */
interface Work {
  /** Start and length of the names of the open elements. */
  stack: number[];
  /** The index of the stanza, of which `size` numbers are in use. */
  index: number[];
  size: number;
  bindings: Binding[];
}

// Scanners between stanzas hold no notes; those inside one borrow them here.
const spare: Work[] = [];

/** What the scanner expects next; the order matters: from `ended` on it takes nothing any more. */
const start = 0;
const restarted = 1;
const header = 2;
const between = 3;
const inside = 4;
const ended = 5;
const dead = 6;

const nothing = Buffer.alloc(0) as Bytes;
const noPrefixes: ReadonlyMap<string, string> = new Map();
const onlyStream: ReadonlyMap<string, string> = new Map([['stream', ns.streams]]);

const xmlNamespace = 'http://www.w3.org/XML/1998/namespace';
const xmlnsNamespace = 'http://www.w3.org/2000/xmlns/';

/** Prefixes that may be in scope at once; each use of one looks through them. */
const maxBindings = 256;

/** Portions below this are gathered in an area of this size. */
const smallArea = 2048;

export class Scanner {
  readonly #handler: ScannerHandler;
  #limits: Required<ScannerLimits>;
  // The bytes at hand: those before #start are done with, the scan has come to #pos, #end is behind the last.
  #buf: Bytes = nothing;
  #start = 0;
  #pos = 0;
  #end = 0;
  /** Whether #buf is an area of ours, with room behind #end, rather than a portion as it came. */
  #own = false;
  #mode = start;
  #paused = false;
  #running = false;
  /** Whether the tag at #pos waits for its end. */
  #waiting = false;
  #inCdata = false;
  /** Whether the stanza leans on declarations outside its children and must be written anew to stand alone. */
  #leans = false;
  #depth = 0;
  /** Where the payload starts. */
  #base = 0;
  /** By how many bytes the stanza would grow if each prefix were a declaration. */
  #growth = 0;
  #work: Work | null = null;
  #fields: StanzaFields | null = null;
  #root = '';
  #contentNs = '';
  #prefixes = noPrefixes;

  constructor(handler: ScannerHandler, limits: ScannerLimits) {
    this.#handler = handler;
    this.#limits = complete(limits);
  }

  /** The bytes that are held and not yet handed on. */
  get buffered(): number {
    return this.#end - (this.#mode === inside ? this.#start : this.#pos);
  }

  setLimits(limits: ScannerLimits): void {
    this.#limits = complete(limits);
  }

  /**
   * Takes the next bytes, which must not change afterwards: stanzas refer to them. Calls the handler for what they
   * complete. Throws a StreamError (RFC 6120 §4.9.3), or what the handler throws; the scanner is dead after that.
   */
  push(chunk: Uint8Array): void {
    if (this.#mode >= ended || chunk.length === 0) return;
    this.#take(chunk);
    if (this.#paused || this.#running) return;
    if (this.#waiting) {
      const short = this.#end - this.#pos < this.#limits.tag && this.#end - this.#start < this.#limits.stanzaSize;
      if (short && !mayEndTag(chunk)) return;
      this.#waiting = false;
    }
    this.#run();
  }

  /** Expects a new stream header, behind the current stanza (RFC 6120 §4.3.3). */
  restart(): void {
    if (this.#mode >= ended) return;
    this.#mode = restarted;
    this.#start = this.#pos;
    this.#waiting = false;
    this.#leave();
  }

  /** From now on only keeps what is pushed; inside a handler: from behind this stanza on. */
  pause(): void {
    this.#paused = true;
  }

  /** Goes on with what was kept; throws as `push` does. */
  resume(): void {
    this.#paused = false;
    if (this.#running || this.#mode >= ended || this.#end === this.#pos) return;
    this.#waiting = false;
    this.#run();
  }

  #run(): void {
    this.#running = true;
    try {
      while (!this.#paused && this.#step());
    } catch (error) {
      this.#mode = dead;
      throw error;
    } finally {
      this.#running = false;
      this.#keep();
    }
  }

  /** Scans to the next event. False where more bytes are needed first. */
  #step(): boolean {
    switch (this.#mode) {
      case between:
        return this.#between();
      case inside:
        return this.#inside();
      case start:
      case restarted:
        return this.#declaration();
      case header:
        return this.#header();
      default:
        return false;
    }
  }

  #declaration(): boolean {
    if (this.#mode === restarted) this.#skipSpace();
    const scan = this.#mode === start ? scanProlog : scanDeclaration;
    const next = scan(this.#buf, this.#pos, this.#end);
    if (next < 0) return false;
    this.#pos = this.#start = next;
    this.#mode = header;
    return true;
  }

  #header(): boolean {
    if (!this.#skipSpace()) return false;
    const buf = this.#buf;
    if (buf[this.#pos] !== lessThan) notWellFormed('text before the stream header');
    if (this.#pos + 1 === this.#end) return false;
    const byte = buf[this.#pos + 1];
    if (byte === question) refuseInstruction();
    if (byte === bang) {
      if (skipCdataStart(buf, this.#pos, this.#end) >= 0) notWellFormed('text before the stream header');
      return false;
    }
    const next = this.#scanTag(this.#limits.tag);
    if (next < 0) return false;
    const { isEmpty } = tag;
    const opened = this.#readHeader();
    this.#pos = this.#start = next;
    this.#mode = between;
    this.#handler.streamOpened(opened);
    if (isEmpty && this.#mode === between) this.#close();
    return true;
  }

  #readHeader(): StreamHeader {
    const buf = this.#buf;
    const attrs: Record<string, string> = {};
    const prefixes = new Map<string, string>();
    let contentNs = '';
    for (let row = 0; row < tag.size; row += attributeStride) {
      const name = buf.utf8Slice(attributes[row], attributes[row + nameEnd]);
      if (name.startsWith('xmlns:')) prefixes.set(name.slice(6), declared(name.slice(6), value(buf, row)));
      else if (name === 'xmlns') contentNs = defaultNamespace(buf, row);
      else set(attrs, name, value(buf, row));
    }
    this.#root = buf.utf8Slice(this.#pos + 1, tag.nameEnd);
    this.#contentNs = contentNs;
    this.#prefixes = prefixes.size === 1 && prefixes.get('stream') === ns.streams ? onlyStream : prefixes;
    const colon = this.#root.indexOf(':');
    const namespace = colon < 0 ? contentNs : this.#headerNamespace(this.#root.slice(0, colon));
    this.#checkHeaderPrefixes();
    return { name: this.#root.slice(colon + 1), ns: namespace, contentNs, attrs, prefixes: this.#prefixes };
  }

  #headerNamespace(prefix: string): string {
    return this.#prefixes.get(prefix) ?? undeclared(prefix);
  }

  #checkHeaderPrefixes(): void {
    const seen = new Set<string>();
    for (let row = 0; row < tag.size; row += attributeStride) {
      if (attributes[row + nameColon] < 0) continue;
      const prefix = this.#buf.utf8Slice(attributes[row], attributes[row + nameColon]);
      if (prefix === 'xmlns') continue;
      const local = this.#buf.utf8Slice(attributes[row + nameColon] + 1, attributes[row + nameEnd]);
      expandOnce(seen, prefix === 'xml' ? xmlNamespace : this.#headerNamespace(prefix), local);
    }
  }

  #between(): boolean {
    if (!this.#skipSpace()) return false;
    const buf = this.#buf;
    const pos = this.#pos;
    if (buf[pos] !== lessThan) textBetween();
    if (pos + 1 === this.#end) return false;
    const byte = buf[pos + 1];
    if (byte === slash) return this.#endOfStream();
    if (byte === question) refuseInstruction();
    if (byte === bang) {
      if (skipCdataStart(buf, pos, this.#end) >= 0) textBetween();
      return false;
    }
    const next = this.#scanTag(Math.min(this.#limits.tag, this.#limits.stanzaSize));
    if (next < 0) return false;
    this.#enter(next);
    return true;
  }

  /** Passes over white space outside stanzas. False where there is nothing else. */
  #skipSpace(): boolean {
    const buf = this.#buf;
    const end = this.#end;
    let pos = this.#pos;
    while (pos < end && isSpace(buf[pos])) pos++;
    this.#pos = this.#start = pos;
    return pos < end;
  }

  /** Scans the tag at #pos, which may have `limit` bytes; -1 where its end has not come yet. */
  #scanTag(limit: number): number {
    const pos = this.#pos;
    const end = Math.min(this.#end, pos + limit);
    const next = scanTag(this.#buf, pos, end, this.#limits.attributes, this.#limits.name);
    if (next < 0) this.#await(limit);
    return next;
  }

  #await(limit: number): void {
    if (this.#end - this.#pos >= limit) throw new StreamError('policy-violation', 'a tag is too long');
    this.#waiting = true;
  }

  #endOfStream(): boolean {
    const limit = this.#limits.name + 64;
    const end = Math.min(this.#end, this.#pos + limit);
    let p = this.#pos + 2;
    while (p < end && this.#buf[p] !== greaterThan) p++;
    if (p === end) {
      this.#await(limit);
      return false;
    }
    const name = this.#buf.utf8Slice(this.#pos + 2, p).replace(/[ \t\r\n]+$/, '');
    if (name !== this.#root) notWellFormed('the end tag does not match the stream header');
    this.#pos = this.#start = p + 1;
    this.#close();
    return true;
  }

  #close(): void {
    this.#mode = ended;
    this.#handler.streamClosed();
  }

  /** Reads a stanza's start tag, which ends at `next`. */
  #enter(next: number): void {
    const buf = this.#buf;
    const work = spare.pop() ?? { stack: [], index: [], size: 0, bindings: [] };
    this.#work = work;
    this.#leans = false;
    this.#growth = 0;
    this.#base = next;
    if (tag.hasPrefix) this.#resolveTag(1);
    const fields = readFields(buf, this.#start, this.#contentNs);
    this.#pos = next;
    if (tag.isEmpty) {
      this.#deliver(fields, next);
      return;
    }
    work.stack[0] = this.#start + 1 - next;
    work.stack[1] = tag.nameEnd - this.#start - 1;
    this.#fields = fields;
    this.#depth = 1;
    this.#mode = inside;
  }

  /** Scans the content of a stanza to its end. */
  #inside(): boolean {
    const buf = this.#buf;
    const end = Math.min(this.#end, this.#start + this.#limits.stanzaSize);
    const maxTag = this.#limits.tag;
    const { stack } = this.#work!;
    const base = this.#base;
    let pos = this.#pos;
    while (pos < end) {
      if (this.#inCdata) {
        const next = skipCdata(buf, pos, end);
        pos = next < 0 ? ~next : next;
        if (next < 0) break;
        this.#inCdata = false;
      }
      pos = skipText(buf, pos, end);
      if (pos + 1 >= end || buf[pos] !== lessThan) break;
      const byte = buf[pos + 1];
      if (byte === slash) {
        const top = this.#depth * 2 - 2;
        const tagEnd = Math.min(end, pos + maxTag);
        const next = scanEndTag(buf, pos, tagEnd, base + stack[top], stack[top + 1]);
        if (next < 0) {
          this.#pos = pos;
          this.#await(maxTag);
          break;
        }
        if (this.#depth === 1) {
          this.#pos = next;
          this.#deliver(this.#fields!, pos);
          return true;
        }
        this.#closeElement(next);
        pos = next;
      } else if (byte === bang) {
        const next = skipCdataStart(buf, pos, end);
        if (next < 0) break;
        this.#inCdata = true;
        pos = next;
      } else if (byte === question) {
        refuseInstruction();
      } else {
        const next = scanTag(buf, pos, Math.min(end, pos + maxTag), this.#limits.attributes, this.#limits.name);
        if (next < 0) {
          this.#pos = pos;
          this.#await(maxTag);
          break;
        }
        this.#openElement(pos, next);
        pos = next;
      }
    }
    this.#pos = pos;
    if (this.#end - this.#start >= this.#limits.stanzaSize) {
      throw new StreamError('policy-violation', `a stanza is larger than ${this.#limits.stanzaSize} bytes`);
    }
    return false;
  }

  #openElement(pos: number, next: number): void {
    const depth = this.#depth + 1;
    if (depth > this.#limits.depth) throw new StreamError('policy-violation', 'elements are nested too deeply');
    const work = this.#work!;
    const row = tag.hasPrefix ? this.#resolveTag(depth) : tag.xmlns;
    if (tag.xmlns >= 0 && isSuspect(tag.xmlns)) defaultNamespace(this.#buf, tag.xmlns);
    if (depth === 2) this.#note(pos, next, row);
    if (tag.isEmpty) {
      if (work.bindings.length > 0) unbind(work.bindings, depth);
      return;
    }
    const top = depth * 2 - 2;
    work.stack[top] = pos + 1 - this.#base;
    work.stack[top + 1] = tag.nameEnd - pos - 1;
    this.#depth = depth;
  }

  #closeElement(next: number): void {
    const work = this.#work!;
    const depth = this.#depth--;
    if (depth === 2) work.index[work.size - 1] = next - this.#base;
    if (work.bindings.length > 0) unbind(work.bindings, depth);
  }

  /** Notes a child of the stanza; `row` is the attribute that declares its namespace, or -1. */
  #note(pos: number, next: number, row: number): void {
    const work = this.#work!;
    const base = this.#base;
    if (work.size >= this.#limits.children * childStride) {
      throw new StreamError('policy-violation', 'a stanza has too many children');
    }
    const name = tag.colon < 0 ? pos + 1 : tag.colon + 1;
    let from = -1;
    let to = -1;
    if (row >= 0) {
      from = attributes[row + valueStart] - base;
      to = attributes[row + valueEnd] - base;
      // A content namespace by name means that of this stream; on another it must be left out or changed.
      if ((to - from === 13 || to - from === 23) && isContentNamespace(value(this.#buf, row))) this.#leans = true;
    }
    const { index } = work;
    let at = work.size;
    index[at++] = name - base;
    index[at++] = tag.nameEnd - base;
    index[at++] = from;
    index[at++] = to;
    index[at++] = pos - base;
    index[at++] = tag.isEmpty ? next - base : 0;
    work.size = at;
  }

  /** Hands on the stanza that ends before #pos and whose payload ends at `payloadEnd`. */
  #deliver(fields: StanzaFields, payloadEnd: number): void {
    let stanza: Stanza;
    if (this.#leans) {
      const whole = this.#buf.subarray(this.#start, this.#pos);
      stanza = Stanza.from(parsePayload(whole, this.#contentNs, this.#prefixes));
    } else {
      const { index, size } = this.#work!;
      if (payloadEnd > this.#base) fields.payload = this.#buf.subarray(this.#base, payloadEnd);
      if (size > 0) fields.index = index.slice(0, size);
      stanza = new Stanza(fields);
    }
    if (this.#pos - this.#start > this.#limits.stanzaSize) {
      throw new StreamError('policy-violation', `a stanza is larger than ${this.#limits.stanzaSize} bytes`);
    }
    this.#start = this.#pos;
    this.#mode = between;
    this.#leave();
    this.#handler.stanza(stanza);
  }

  /** Gives back what was noted inside a stanza. */
  #leave(): void {
    const work = this.#work;
    this.#fields = null;
    this.#inCdata = false;
    if (!work) return;
    this.#work = null;
    work.size = 0;
    if (work.bindings.length > 0) work.bindings.length = 0;
    if (spare.length < 64 && work.index.length < 1024) spare.push(work);
  }

  /**
   * Checks the prefixes of the tag scanned last, which is `depth` deep, and binds those it declares (Namespaces in
   * XML §5). Returns the row of the attribute that declares the namespace of the element, or -1.
   */
  #resolveTag(depth: number): number {
    const buf = this.#buf;
    const { bindings } = this.#work!;
    for (let row = 0; row < tag.size; row += attributeStride) {
      const colon = attributes[row + nameColon];
      if (colon < 0 || colon - attributes[row] !== 5 || buf.latin1Slice(attributes[row], colon) !== 'xmlns') continue;
      const prefix = buf.utf8Slice(colon + 1, attributes[row + nameEnd]);
      bindings.push({ prefix, uri: declared(prefix, value(buf, row)), depth });
      if (bindings.length > maxBindings) throw new StreamError('policy-violation', 'too many prefixes are declared');
    }
    this.#resolveAttributes(depth);
    if (tag.colon < 0) return tag.xmlns;
    const prefix = buf.utf8Slice(this.#nameOfTag(), tag.colon);
    if (prefix === 'xml') throw new StreamError('bad-namespace-prefix', 'no element is in the namespace of xml:');
    this.#resolve(prefix, depth);
    if (depth === 1) this.#leans = true;
    return depth === 2 ? rowDeclaring(buf, prefix) : -1;
  }

  #resolveAttributes(depth: number): void {
    const buf = this.#buf;
    let seen: Set<string> | null = null;
    for (let row = 0; row < tag.size; row += attributeStride) {
      const colon = attributes[row + nameColon];
      if (colon < 0) continue;
      const prefix = buf.utf8Slice(attributes[row], colon);
      if (prefix === 'xml' || prefix === 'xmlns') continue;
      const uri = this.#resolve(prefix, depth);
      seen ??= new Set();
      expandOnce(seen, uri, buf.utf8Slice(colon + 1, attributes[row + nameEnd]));
    }
  }

  #nameOfTag(): number {
    let at = tag.colon;
    while (this.#buf[at - 1] !== lessThan) at--;
    return at;
  }

  /** Finds the namespace of a prefix used by an element or attribute `depth` deep. */
  #resolve(prefix: string, depth: number): string {
    const { bindings } = this.#work!;
    let at = bindings.length - 1;
    while (at >= 0 && bindings[at].prefix !== prefix) at--;
    const uri = at < 0 ? (this.#prefixes.get(prefix) ?? undeclared(prefix)) : bindings[at].uri;
    const declaredAt = at < 0 ? 0 : bindings[at].depth;
    if (declaredAt < Math.min(depth, 2)) this.#leans = true;
    this.#growth += uri.length;
    if (this.#growth > this.#limits.stanzaSize) {
      throw new StreamError('policy-violation', 'a stanza uses prefixes of long namespaces too often');
    }
    return uri;
  }

  /** Puts the bytes behind those that are held. */
  #take(chunk: Uint8Array): void {
    const held = this.#end - this.#start;
    if (held === 0) {
      this.#buf = asBytes(chunk);
      this.#start = this.#pos = 0;
      this.#end = chunk.length;
      this.#own = false;
      return;
    }
    if (!this.#own || this.#end + chunk.length > this.#buf.length) {
      const needed = held + chunk.length;
      this.#move(held > chunk.length ? needed * 2 : needed);
    }
    this.#buf.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** Moves the bytes that are held to an area of their own. */
  #move(size: number): void {
    const area = Buffer.allocUnsafe(Math.max(size, smallArea)) as Bytes;
    area.set(this.#buf.subarray(this.#start, this.#end));
    this.#buf = area;
    this.#own = true;
    this.#pos -= this.#start;
    this.#base -= this.#start;
    this.#end -= this.#start;
    this.#start = 0;
  }

  /** After a run: lets go of what is done with, and does not hold a large portion for a small rest. */
  #keep(): void {
    if (this.#mode !== inside) this.#start = this.#pos;
    const held = this.#end - this.#start;
    if (held === 0 || this.#mode >= ended) {
      this.#buf = nothing;
      this.#start = this.#pos = this.#end = 0;
      this.#own = false;
      if (this.#mode >= ended) this.#leave();
    } else if (!this.#own && held * 2 < this.#buf.length) {
      this.#move(held);
    }
  }
}

function complete(limits: ScannerLimits): Required<ScannerLimits> {
  return {
    stanzaSize: limits.stanzaSize,
    depth: limits.depth ?? 64,
    attributes: Math.min(limits.attributes ?? 64, mostAttributes),
    name: limits.name ?? 256,
    tag: limits.tag ?? 16 * 1024,
    children: limits.children ?? 1000,
  };
}

function asBytes(chunk: Uint8Array): Bytes {
  return (chunk instanceof Buffer ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)) as Bytes;
}

/** Whether a tag that is waiting for its end may have it among these bytes, or an error. */
function mayEndTag(chunk: Uint8Array): boolean {
  for (let i = 0; i < chunk.length; i++) if (chunk[i] === greaterThan || chunk[i] === lessThan) return true;
  return false;
}

/** The value of the attribute in that row, as the application sees it. */
function value(buf: Bytes, row: number): string {
  const flags = attributes[row + valueFlags];
  const from = attributes[row + valueStart];
  const to = attributes[row + valueEnd];
  const raw = flags & notAscii ? buf.utf8Slice(from, to) : buf.latin1Slice(from, to);
  return flags & notPlain ? unescapeAttribute(raw) : raw;
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
function readFields(buf: Bytes, at: number, contentNs: string): StanzaFields {
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
    fields.to = Jid.tryParse(value(buf, row));
    if (!fields.to) fields.malformed = 'to';
  } else if (length === 2 && first === 0x69 && buf[from + 1] === 0x64) {
    fields.id = value(buf, row);
  } else if (length === 4 && first === 0x74 && isName(buf, from, 'type')) {
    fields.type = attributes[row + valueFlags]
      ? value(buf, row)
      : word(buf, attributes[row + valueStart], attributes[row + valueEnd]);
  } else if (length === 4 && first === 0x66 && isName(buf, from, 'from')) {
    fields.from = Jid.tryParse(value(buf, row));
    if (!fields.from && fields.malformed === '') fields.malformed = 'from';
  } else if (length === 8 && first === 0x78 && isName(buf, from, 'xml:lang')) {
    fields.lang = value(buf, row);
  } else {
    fields.extra += ` ${buf.utf8Slice(from, attributes[row + valueEnd] + 1)}`;
  }
}

function isName(buf: Bytes, from: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (buf[from + i] !== name.charCodeAt(i)) return false;
  return true;
}

/** The row of the attribute of the tag scanned last that declares a prefix, or -1. */
function rowDeclaring(buf: Bytes, prefix: string): number {
  for (let row = 0; row < tag.size; row += attributeStride) {
    const colon = attributes[row + nameColon];
    if (colon >= 0 && buf.utf8Slice(attributes[row], attributes[row + nameEnd]) === `xmlns:${prefix}`) return row;
  }
  return -1;
}

/** Whether a declaration may name a namespace that must not be the default. */
function isSuspect(row: number): boolean {
  const length = attributes[row + valueEnd] - attributes[row + valueStart];
  return length === xmlNamespace.length || length === xmlnsNamespace.length || attributes[row + valueFlags] !== 0;
}

function defaultNamespace(buf: Bytes, row: number): string {
  const uri = value(buf, row);
  if (uri === xmlNamespace || uri === xmlnsNamespace) notWellFormed('a reserved namespace as the default');
  return uri;
}

/** Checks a declaration `xmlns:prefix='uri'` (Namespaces in XML §3) and returns the URI. */
function declared(prefix: string, uri: string): string {
  if (prefix === 'xmlns') notWellFormed('the prefix xmlns is declared');
  if (uri === '') notWellFormed('a prefix is declared to be in no namespace');
  if ((prefix === 'xml') !== (uri === xmlNamespace)) notWellFormed('the prefix xml and its namespace belong together');
  if (uri === xmlnsNamespace) notWellFormed('a reserved namespace is declared');
  return uri;
}

/** Only white space may stand between stanzas (RFC 6120 §11.7); other text no schema of a stream allows. */
function textBetween(): never {
  throw new StreamError('invalid-xml', 'text between stanzas');
}

function undeclared(prefix: string): never {
  return notWellFormed(`the prefix ${prefix} is not declared`);
}

function expandOnce(seen: Set<string>, uri: string, local: string): void {
  const expanded = `{${uri}}${local}`;
  if (seen.has(expanded)) notWellFormed('an attribute occurs twice');
  seen.add(expanded);
}

function unbind(bindings: Binding[], depth: number): void {
  while (bindings.length > 0 && bindings[bindings.length - 1].depth >= depth) bindings.pop();
}
