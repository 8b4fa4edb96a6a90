// A strict tokenizer for XMPP streams: bytes in, in any portions; a header, stanzas and the end of the stream out.
import { Buffer } from 'node:buffer';
import { type Bytes, bang, greaterThan, isSpace, lessThan, notWellFormed, question, slash } from './characters.ts';
import { StreamError } from './errors.ts';
import { isContentNamespace } from './namespaces.ts';
import { parsePayload } from './payload.ts';
import { scanDeclaration, scanProlog } from './prolog.ts';
import { defaultNamespace, isSuspect, Scope } from './scope.ts';
import { childStride, Stanza, type StanzaFields } from './stanza.ts';
import { type Root, readFields, readHeader, type StreamHeader } from './start-tag.ts';
import { attributes, mostAttributes, readValue, scanEndTag, scanTag, tag, valueEnd, valueStart } from './tags.ts';
import { refuseInstruction, skipCdata, skipCdataStart, skipText } from './text.ts';

export type { StreamHeader } from './start-tag.ts';

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

/** Whom a scanner tells. Its methods may pause or restart the scanner, set its limits, or throw. */
export interface ScannerHandler {
  streamOpened(header: StreamHeader): void;
  stanza(stanza: Stanza): void;
  streamClosed(): void;
}

/** What is noted while inside a stanza. Offsets count from the start of its payload, so that bytes may move. */
interface Work {
  /** Start and length of the names of the open elements. */
  stack: number[];
  /** The index of the stanza, of which `size` numbers are in use. */
  index: number[];
  size: number;
  scope: Scope;
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
  #depth = 0;
  /** Where the payload starts. */
  #base = 0;
  #work: Work | null = null;
  #fields: StanzaFields | null = null;
  #root: Root | null = null;

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
    const root = readHeader(buf, this.#pos);
    this.#root = root;
    this.#pos = this.#start = next;
    this.#mode = between;
    this.#handler.streamOpened(root.header);
    if (isEmpty && this.#mode === between) this.#close();
    return true;
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
    if (name !== this.#root!.name) notWellFormed('the end tag does not match the stream header');
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
    const work = spare.pop() ?? { stack: [], index: [], size: 0, scope: new Scope() };
    this.#work = work;
    const { header } = this.#root!;
    work.scope.reset(header.prefixes);
    this.#base = next;
    if (tag.hasPrefix) this.#resolve(work.scope, this.#start, 1);
    const fields = readFields(buf, this.#start, header.contentNs);
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
    const row = tag.hasPrefix ? this.#resolve(work.scope, pos, depth) : tag.xmlns;
    if (tag.xmlns >= 0 && isSuspect(tag.xmlns)) defaultNamespace(this.#buf, tag.xmlns);
    if (depth === 2) this.#note(pos, next, row);
    if (tag.isEmpty) {
      if (work.scope.size > 0) work.scope.exit(depth);
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
    if (work.scope.size > 0) work.scope.exit(depth);
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
      if ((to - from === 13 || to - from === 23) && isContentNamespace(readValue(this.#buf, row)))
        work.scope.leans = true;
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
    const { index, size, scope } = this.#work!;
    let stanza: Stanza;
    if (scope.leans) {
      const { contentNs, prefixes } = this.#root!.header;
      const whole = this.#buf.subarray(this.#start, this.#pos);
      stanza = Stanza.from(parsePayload(whole, contentNs, prefixes));
    } else {
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

  /** Checks the namespaces of the tag scanned last; returns the row of the attribute that declares its own, or -1. */
  #resolve(scope: Scope, at: number, depth: number): number {
    const row = scope.enter(this.#buf, at, depth);
    if (scope.growth > this.#limits.stanzaSize) {
      throw new StreamError('policy-violation', 'a stanza uses prefixes of long namespaces too often');
    }
    return row;
  }

  /** Gives back what was noted inside a stanza. */
  #leave(): void {
    const work = this.#work;
    this.#fields = null;
    this.#inCdata = false;
    if (!work) return;
    this.#work = null;
    work.size = 0;
    if (spare.length < 64 && work.index.length < 1024) spare.push(work);
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

/** Only white space may stand between stanzas (RFC 6120 §11.7); other text no schema of a stream allows. */
function textBetween(): never {
  throw new StreamError('invalid-xml', 'text between stanzas');
}
