// Builds element trees from XML bytes: of stanzas that the scanner has already checked, and of whole documents.
import { Buffer } from 'node:buffer';
import { Element, type Node } from './element.ts';
import { StreamError } from './errors.ts';
import { isContentNamespace, ns } from './namespaces.ts';
import { scanProlog } from './prolog.ts';
import { Scanner, type ScannerLimits } from './scanner.ts';

/** A prefix that is in scope, and the one declared before it. */
interface Binding {
  prefix: string;
  uri: string;
  outer: Binding | null;
}

/** An element that is open, with what to go back to when it closes. */
interface Open {
  children: Node[];
  ns: string;
  bindings: Binding | null;
}

const noChildren: readonly Node[] = Object.freeze([]);
const noAttributes: Record<string, string> = Object.freeze({});

/**
 * Builds the tree of one element from bytes that the scanner has found to be well-formed; checks nothing itself.
 * `contextNs` is the default namespace around it. Content namespaces become `jabber:client`, as in `Stanza.ns`.
 */
export function parsePayload(
  bytes: Uint8Array,
  contextNs: string,
  prefixes: ReadonlyMap<string, string> | null = null,
): Element {
  return new TreeBuilder(textOf(bytes), contextNs, prefixes, true).build();
}

const documentLimits: ScannerLimits = { stanzaSize: 1024 * 1024, children: 100_000 };

/**
 * Checks and parses a whole document as strictly as what comes over a stream: no comments, processing instructions
 * or document type. Throws a StreamError that says what is wrong with it.
 */
export function parseElement(text: string | Uint8Array, limits: ScannerLimits = documentLimits): Element {
  const bytes = typeof text === 'string' ? Buffer.from(text.toWellFormed()) : text;
  const start = scanProlog(bytes, 0, bytes.length);
  if (start < 0) throw new StreamError('not-well-formed', 'the document has no element');
  let elements = 0;
  let closed = false;
  const scanner = new Scanner(
    {
      streamOpened() {},
      stanza() {
        elements++;
      },
      streamClosed() {
        closed = true;
      },
    },
    limits,
  );
  scanner.push(Buffer.from('<document>'));
  scanner.push(bytes.subarray(start));
  if (closed || scanner.buffered > 0 || elements !== 1) {
    throw new StreamError('not-well-formed', elements > 1 ? 'more than one element' : 'the document is not complete');
  }
  return new TreeBuilder(textOf(bytes.subarray(start)), '', null, false).build();
}

/** Resolves references and normalises white space in an attribute value as it was written (XML 1.0 §3.3.3). */
export function unescapeAttribute(raw: string): string {
  return unescapeText(/[\t\n\r]/.test(raw) ? raw.replace(/\r\n|[\t\n\r]/g, ' ') : raw);
}

/** Resolves the references in text as it was written; they are known to be right. */
export function unescapeText(raw: string): string {
  return raw.includes('&') ? raw.replace(/&([^;]*);/g, reference) : raw;
}

function reference(_whole: string, name: string): string {
  switch (name) {
    case 'amp':
      return '&';
    case 'lt':
      return '<';
    case 'gt':
      return '>';
    case 'quot':
      return '"';
    case 'apos':
      return "'";
    default:
      return String.fromCodePoint(
        name.charCodeAt(1) === 0x78 ? Number.parseInt(name.slice(2), 16) : Number.parseInt(name.slice(1), 10),
      );
  }
}

/** The bytes as text, with line ends as XML 1.0 §2.11 wants them. */
function textOf(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  return text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
}

/** Walks over the text of one element once, with a stack of its own. */
class TreeBuilder {
  readonly #text: string;
  readonly #normalise: boolean;
  #ns: string;
  #bindings: Binding | null = null;
  #position: number;
  #empty = false;

  constructor(text: string, contextNs: string, prefixes: ReadonlyMap<string, string> | null, normalise: boolean) {
    this.#text = text;
    this.#normalise = normalise;
    this.#ns = this.#uri(contextNs);
    this.#position = text.indexOf('<');
    if (prefixes) for (const [prefix, uri] of prefixes) this.#bind(prefix, uri);
  }

  build(): Element {
    const text = this.#text;
    let children: Node[] = [];
    let open: Open = { children, ns: this.#ns, bindings: this.#bindings };
    const root = this.#startTag(children);
    if (this.#empty) return root;
    const stack: Open[] = [];
    let written = '';
    for (;;) {
      const at = text.indexOf('<', this.#position);
      if (at > this.#position) written += unescapeText(text.slice(this.#position, at));
      const next = text.charCodeAt(at + 1);
      this.#position = at;
      if (next === 0x21) {
        const end = text.indexOf(']]>', at);
        written += text.slice(at + 9, end);
        this.#position = end + 3;
        continue;
      }
      if (written !== '') {
        children.push(written);
        written = '';
      }
      if (next === 0x2f) {
        this.#position = text.indexOf('>', at) + 1;
        this.#ns = open.ns;
        this.#bindings = open.bindings;
        const outer = stack.pop();
        if (!outer) return root;
        open = outer;
        children = open.children;
        continue;
      }
      const outerNs = this.#ns;
      const outerBindings = this.#bindings;
      const inside: Node[] = [];
      children.push(this.#startTag(inside));
      if (this.#empty) {
        this.#ns = outerNs;
        this.#bindings = outerBindings;
      } else {
        stack.push(open);
        open = { children: inside, ns: outerNs, bindings: outerBindings };
        children = inside;
      }
    }
  }

  /** Reads the start tag at the position and goes behind it. */
  #startTag(children: Node[]): Element {
    const text = this.#text;
    let at = this.#position + 1;
    let code = text.charCodeAt(at);
    while (code !== 0x3e && code !== 0x2f && code > 0x20) code = text.charCodeAt(++at);
    const name = text.slice(this.#position + 1, at);
    let attrs = noAttributes;
    let prefixed = false;
    for (;;) {
      while (code <= 0x20) code = text.charCodeAt(++at);
      if (code === 0x3e || code === 0x2f) break;
      const equals = text.indexOf('=', at);
      let keyEnd = equals;
      while (text.charCodeAt(keyEnd - 1) <= 0x20) keyEnd--;
      const key = text.slice(at, keyEnd);
      at = equals + 1;
      code = text.charCodeAt(at);
      while (code <= 0x20) code = text.charCodeAt(++at);
      const end = text.indexOf(code === 0x22 ? '"' : "'", at + 1);
      const value = unescapeAttribute(text.slice(at + 1, end));
      at = end + 1;
      code = text.charCodeAt(at);
      if (key === 'xmlns') {
        this.#ns = this.#uri(value);
      } else if (key.startsWith('xmlns:')) {
        this.#bind(key.slice(6), value);
      } else {
        if (attrs === noAttributes) attrs = {};
        prefixed ||= key.includes(':');
        set(attrs, key, value);
      }
    }
    this.#empty = code === 0x2f;
    this.#position = at + (this.#empty ? 2 : 1);
    const colon = name.indexOf(':');
    return new Element(
      colon < 0 ? name : name.slice(colon + 1),
      colon < 0 ? this.#ns : this.#resolve(name.slice(0, colon)),
      prefixed ? this.#expand(attrs) : attrs,
      this.#empty ? noChildren : children,
    );
  }

  #bind(prefix: string, uri: string): void {
    this.#bindings = { prefix, uri: this.#uri(uri), outer: this.#bindings };
  }

  #uri(uri: string): string {
    return this.#normalise && isContentNamespace(uri) ? ns.client : uri;
  }

  #resolve(prefix: string): string {
    for (let binding = this.#bindings; binding; binding = binding.outer) {
      if (binding.prefix === prefix) return binding.uri;
    }
    return '';
  }

  /** Gives attributes with a prefix their namespace for a name; `xml:` stays as it is. */
  #expand(attrs: Record<string, string>): Record<string, string> {
    const expanded: Record<string, string> = {};
    for (const key in attrs) {
      const colon = key.indexOf(':');
      const isPlain = colon < 0 || key.startsWith('xml:');
      set(expanded, isPlain ? key : `{${this.#resolve(key.slice(0, colon))}}${key.slice(colon + 1)}`, attrs[key]);
    }
    return expanded;
  }
}

/** Sets a property of a name that a stranger chose. */
export function set(target: Record<string, string>, key: string, value: string): void {
  if (key === '__proto__') {
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
  } else {
    target[key] = value;
  }
}
