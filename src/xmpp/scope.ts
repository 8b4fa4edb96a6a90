// The namespaces of tags: which prefixes are in scope, which are used, and whether they may be (Namespaces in XML 1.0).
import { type Bytes, notWellFormed } from './characters.ts';
import { StreamError } from './errors.ts';
import {
  attributeStride,
  attributes,
  nameColon,
  nameEnd,
  readValue,
  tag,
  valueEnd,
  valueFlags,
  valueStart,
} from './tags.ts';

export const xmlNamespace = 'http://www.w3.org/XML/1998/namespace';
const xmlnsNamespace = 'http://www.w3.org/2000/xmlns/';

/** Prefixes that may be in scope at once; each use of one looks through them. */
const maxBindings = 256;

/** A namespace prefix in scope and the depth of the element that declares it. */
interface Binding {
  prefix: string;
  uri: string;
  depth: number;
}

const noPrefixes: ReadonlyMap<string, string> = new Map();

/** The prefixes declared inside one stanza and what became of those it uses. */
export class Scope {
  readonly #bindings: Binding[] = [];
  #outer: ReadonlyMap<string, string> = noPrefixes;
  /** Whether the stanza leans on declarations outside its children and must be written anew to stand alone. */
  leans = false;
  /** By how many bytes the stanza would grow if each use of a prefix were a declaration. */
  growth = 0;

  /** How many prefixes are in scope that the stanza declares. */
  get size(): number {
    return this.#bindings.length;
  }

  /** Starts with a stanza, in a stream whose header declares `outer`. */
  reset(outer: ReadonlyMap<string, string>): void {
    if (this.#bindings.length > 0) this.#bindings.length = 0;
    this.#outer = outer;
    this.leans = false;
    this.growth = 0;
  }

  /**
   * Checks the prefixes of the tag scanned last, which is `depth` deep and whose `<` is at `at`, and binds those it
   * declares (§5). Returns the row of the attribute that declares the namespace of the element, or -1.
   */
  enter(buf: Bytes, at: number, depth: number): number {
    this.#declare(buf, depth);
    this.#useInAttributes(buf, depth);
    if (tag.colon < 0) return tag.xmlns;
    const prefix = buf.utf8Slice(at + 1, tag.colon);
    if (prefix === 'xml') throw new StreamError('bad-namespace-prefix', 'no element is in the namespace of xml:');
    this.#use(prefix, depth);
    if (depth === 1) this.leans = true;
    return depth === 2 ? rowDeclaring(buf, prefix) : -1;
  }

  /** Forgets what the element of that depth declared. */
  exit(depth: number): void {
    const bindings = this.#bindings;
    while (bindings.length > 0 && bindings[bindings.length - 1].depth >= depth) bindings.pop();
  }

  #declare(buf: Bytes, depth: number): void {
    for (let row = 0; row < tag.size; row += attributeStride) {
      const colon = attributes[row + nameColon];
      if (colon < 0 || colon - attributes[row] !== 5 || buf.latin1Slice(attributes[row], colon) !== 'xmlns') continue;
      const prefix = buf.utf8Slice(colon + 1, attributes[row + nameEnd]);
      this.#bindings.push({ prefix, uri: declared(prefix, readValue(buf, row)), depth });
      if (this.#bindings.length > maxBindings) {
        throw new StreamError('policy-violation', 'too many prefixes are declared');
      }
    }
  }

  #useInAttributes(buf: Bytes, depth: number): void {
    let seen: Set<string> | null = null;
    for (let row = 0; row < tag.size; row += attributeStride) {
      const colon = attributes[row + nameColon];
      if (colon < 0) continue;
      const prefix = buf.utf8Slice(attributes[row], colon);
      if (prefix === 'xml' || prefix === 'xmlns') continue;
      const uri = this.#use(prefix, depth);
      seen ??= new Set();
      expandOnce(seen, uri, buf.utf8Slice(colon + 1, attributes[row + nameEnd]));
    }
  }

  /** Finds the namespace of a prefix that an element `depth` deep uses, for itself or an attribute. */
  #use(prefix: string, depth: number): string {
    const bindings = this.#bindings;
    let at = bindings.length - 1;
    while (at >= 0 && bindings[at].prefix !== prefix) at--;
    const uri = at < 0 ? (this.#outer.get(prefix) ?? undeclared(prefix)) : bindings[at].uri;
    const declaredAt = at < 0 ? 0 : bindings[at].depth;
    if (declaredAt < Math.min(depth, 2)) this.leans = true;
    this.growth += uri.length;
    return uri;
  }
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
export function isSuspect(row: number): boolean {
  const length = attributes[row + valueEnd] - attributes[row + valueStart];
  return length === xmlNamespace.length || length === xmlnsNamespace.length || attributes[row + valueFlags] !== 0;
}

/** The default namespace that an `xmlns` attribute declares; throws where it must not be that (§3). */
export function defaultNamespace(buf: Bytes, row: number): string {
  const uri = readValue(buf, row);
  if (uri === xmlNamespace || uri === xmlnsNamespace) notWellFormed('a reserved namespace as the default');
  return uri;
}

/** Checks a declaration `xmlns:prefix='uri'` (Namespaces in XML §3) and returns the URI. */
export function declared(prefix: string, uri: string): string {
  if (prefix === 'xmlns') notWellFormed('the prefix xmlns is declared');
  if (uri === '') notWellFormed('a prefix is declared to be in no namespace');
  if ((prefix === 'xml') !== (uri === xmlNamespace)) notWellFormed('the prefix xml and its namespace belong together');
  if (uri === xmlnsNamespace) notWellFormed('a reserved namespace is declared');
  return uri;
}

/** Throws the error for a prefix that is not in scope. */
export function undeclared(prefix: string): never {
  return notWellFormed(`the prefix ${prefix} is not declared`);
}

/** Notes an attribute's expanded name; throws where `seen` has it (§6.3). */
export function expandOnce(seen: Set<string>, uri: string, local: string): void {
  const expanded = `{${uri}}${local}`;
  if (seen.has(expanded)) notWellFormed('an attribute occurs twice');
  seen.add(expanded);
}
