// Reads XML files that may be larger than memory: upper elements are opened one by one, those below come whole (XML 1.0).
import { Element } from './element.ts';
import { StreamError } from './errors.ts';
import { parseElement } from './payload.ts';
import type { ScannerLimits } from './scanner.ts';

/** What comes next in a document: an element that was opened (without its children), its end, or one that is whole. */
export type Part = { kind: 'open' | 'whole'; element: Element } | { kind: 'close' };

/** An element that is open, with the prefixes that are declared in it and around it; '' is the default namespace. */
interface Open {
  readonly name: string;
  readonly prefixes: ReadonlyMap<string, string>;
}

/** How far an element that comes whole was read. */
interface Whole {
  /** What was read, without comments and processing instructions. */
  pieces: string[];
  size: number;
  depth: number;
}

/** Of one element that comes whole, in characters; upper ones may have any number of them. */
export const largestWhole = 32 * 1024 * 1024;
const wholeLimits: ScannerLimits = { stanzaSize: 4 * largestWhole, children: 1_000_000 };
const longestTag = 1024 * 1024;

/**
 * Takes a document in portions. Not a validating reader: comments and processing instructions are passed over, a
 * document type is refused, and with it every entity that is not of XML itself.
 */
export class DocumentReader {
  readonly #opens: (element: Element, depth: number) => boolean;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true });
  readonly #stack: Open[] = [];
  #text = '';
  #at = 0;
  #line = 1;
  #whole: Whole | null = null;
  #ended = false;

  /** `opens` decides of an element, `depth` others around it, whether its children come one by one. */
  constructor(opens: (element: Element, depth: number) => boolean) {
    this.#opens = opens;
  }

  /** Takes the next bytes and gives what they complete. Throws an Error that names the line and what is wrong. */
  *push(bytes: Uint8Array): Generator<Part> {
    try {
      this.#text = this.#text.slice(this.#at) + this.#decoder.decode(bytes, { stream: true });
      this.#at = 0;
      yield* this.#parts();
    } catch (error) {
      throw this.#wrong(error);
    }
  }

  /** Says that there are no more bytes. Throws an Error where the document is not complete. */
  end(): void {
    if (!this.#ended) throw this.#wrong(new Error('the document is not complete'));
    try {
      this.#decoder.decode();
      if (/\S/.test(this.#text.slice(this.#at))) throw new Error('there is something behind the document');
    } catch (error) {
      throw this.#wrong(error);
    }
  }

  #wrong(error: unknown): Error {
    const text = error instanceof StreamError ? error.text || error.condition : (error as Error).message;
    return new Error(`line ${this.#line}: ${error instanceof TypeError ? 'this is not UTF-8' : text}`);
  }

  *#parts(): Generator<Part> {
    for (;;) {
      const text = this.#text;
      const at = text.indexOf('<', this.#at);
      if (at < 0) return this.#skip(text.length);
      this.#skip(at);
      const end = this.#endOf(at);
      if (end < 0) {
        const most = text.startsWith('<!', at) ? largestWhole : longestTag;
        if (text.length - at > most) throw new Error('a tag or a comment does not end');
        return;
      }
      const token = text.slice(at, end);
      const part = this.#token(token);
      this.#line += lines(token);
      this.#at = end;
      if (part) yield part;
    }
  }

  /** Text up to `end`: of interest only in an element that comes whole. */
  #skip(end: number): void {
    if (end === this.#at) return;
    const between = this.#text.slice(this.#at, end);
    if (this.#whole) this.#keep(between);
    else if (/[^\s\ufeff]/.test(between)) throw new Error('text stands where elements are expected');
    this.#line += lines(between);
    this.#at = end;
  }

  /** Where what starts at `at` ends; -1: not in this portion. */
  #endOf(at: number): number {
    const text = this.#text;
    const behind = (mark: string, from: number) => {
      const found = text.indexOf(mark, from);
      return found < 0 ? -1 : found + mark.length;
    };
    if (text[at + 1] === '?') return behind('?>', at + 2);
    if (text.startsWith('<!--', at)) return behind('-->', at + 4);
    if (text.startsWith('<![CDATA[', at)) return behind(']]>', at + 9);
    if (text[at + 1] === '!') {
      if (text.length - at < 9) return -1;
      throw new Error('a document type is not taken');
    }
    return tagEnd(text, at);
  }

  #token(token: string): Part | null {
    if (token.startsWith('<?')) {
      const encoding = /^<\?xml\s[^>]*encoding\s*=\s*["']([^"']*)/i.exec(token)?.[1];
      if (encoding && !/^(utf-8|us-ascii)$/i.test(encoding)) throw new Error('only UTF-8 is supported');
      return null;
    }
    if (token.startsWith('<!--')) return null;
    if (this.#whole) return this.#inside(token);
    if (token.startsWith('<!')) throw new Error('text stands where elements are expected');
    return token.startsWith('</') ? this.#close(token) : this.#open(token);
  }

  #inside(token: string): Part | null {
    const whole = this.#whole!;
    this.#keep(token);
    if (token.startsWith('<!')) return null;
    if (token.startsWith('</')) whole.depth--;
    else if (!token.endsWith('/>')) whole.depth++;
    return whole.depth === 0 ? this.#complete(whole.pieces.join('')) : null;
  }

  #keep(text: string): void {
    const whole = this.#whole!;
    whole.size += text.length;
    if (whole.size > largestWhole) throw new Error(`one element has more than ${largestWhole >> 20} MiB`);
    whole.pieces.push(text);
  }

  #complete(text: string): Part {
    this.#whole = null;
    const element = this.#parse(text);
    if (this.#stack.length === 0) this.#ended = true;
    return { kind: 'whole', element };
  }

  #open(token: string): Part | null {
    if (this.#ended) throw new Error('there is more than one root element');
    const empty = token.endsWith('/>');
    const element = this.#parse(empty ? token : `${token.slice(0, -1)}/>`);
    if (!this.#opens(element, this.#stack.length)) {
      if (empty) return this.#complete(token);
      this.#whole = { pieces: [token], size: token.length, depth: 1 };
      return null;
    }
    // What is opened and empty comes whole, since it has no end of its own.
    if (empty) return this.#complete(token);
    this.#stack.push({ name: /^<([^\s/>]+)/.exec(token)![1], prefixes: this.#declared(token) });
    return { kind: 'open', element };
  }

  #close(token: string): Part {
    const open = this.#stack.pop();
    if (!open || token.slice(2, -1).trim() !== open.name) throw new Error(`${token.slice(0, 100)} closes nothing`);
    if (this.#stack.length === 0) this.#ended = true;
    return { kind: 'close' };
  }

  /** Parses an element, strictly, among the prefixes that are declared around it. */
  #parse(text: string): Element {
    let declarations = '';
    for (const [prefix, uri] of this.#prefixes) declarations += ` ${prefix ? `xmlns:${prefix}` : 'xmlns'}=${uri}`;
    const around = parseElement(`<document${declarations}>${text}</document>`, wholeLimits);
    const [element] = around.children;
    if (around.children.length !== 1 || !(element instanceof Element)) throw new Error('one element is expected');
    return element;
  }

  get #prefixes(): ReadonlyMap<string, string> {
    return this.#stack.at(-1)?.prefixes ?? none;
  }

  /** The prefixes in scope inside an element of this start tag, which was parsed before; values with their quotes. */
  #declared(tag: string): ReadonlyMap<string, string> {
    const prefixes = new Map(this.#prefixes);
    for (const [, name, value] of tag.matchAll(/([^\s=<>/]+)\s*=\s*("[^"]*"|'[^']*')/g)) {
      if (name === 'xmlns') prefixes.set('', value);
      else if (name.startsWith('xmlns:')) prefixes.set(name.slice(6), value);
    }
    return prefixes;
  }
}

const none: ReadonlyMap<string, string> = new Map();

/** Behind the tag that starts at `at`, whose quoted values may hold a `>`; -1: it does not end. */
function tagEnd(text: string, at: number): number {
  for (let p = at + 1; p < text.length; p++) {
    const character = text[p];
    if (character === '>') return p + 1;
    if (character === '"' || character === "'") {
      p = text.indexOf(character, p + 1);
      if (p < 0) return -1;
    }
  }
  return -1;
}

function lines(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++;
  return count;
}
