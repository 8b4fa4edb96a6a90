// Reads a YAML document key by key; whatever is wrong is said with file, line and key.
import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { dirname, isAbsolute, resolve } from 'node:path';
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';
import { Jid } from '../xmpp/jid.ts';
import type { Endpoint } from './config.ts';

/** A mistake in the configuration: `file:line: key: what is wrong and what is expected`. It stops the start. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

interface Source {
  file: string;
  lines: LineCounter;
}

/** Parses a document into its top section. Throws ConfigError. */
export function parseSettings(text: string, file: string): Section {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const [error] = document.errors;
  if (error) {
    const { line } = lines.linePos(error.pos[0]);
    throw new ConfigError(`${file}:${line}: ${error.message.split('\n')[0]}`);
  }
  const root = document.contents;
  if (root !== null && !isMap(root) && !(isScalar(root) && root.value === null)) {
    throw new ConfigError(`${file}:1: a map of keys is expected`);
  }
  return new Section({ file, lines }, '', isMap(root) ? (root as YAMLMap<Node, Node | null>) : null, 1);
}

/**
 * A map of the configuration. Each reader takes a key and its default, checks the value, and marks the key as known;
 * `done` then refuses the keys that nobody asked for. All readers throw ConfigError.
 */
export class Section {
  readonly #source: Source;
  readonly #path: string;
  readonly #map: YAMLMap<Node, Node | null> | null;
  readonly #line: number;
  readonly #known = new Set<string>();

  constructor(source: Source, path: string, map: YAMLMap<Node, Node | null> | null, line: number) {
    this.#source = source;
    this.#path = path;
    this.#map = map;
    this.#line = line;
  }

  /** The dotted path of this section, '' for the top. */
  get name(): string {
    return this.#path;
  }

  get file(): string {
    return this.#source.file;
  }

  /** The keys that are there, in their order. */
  get keys(): string[] {
    return this.#map ? this.#map.items.map(pair => String((pair.key as { value?: unknown }).value)) : [];
  }

  /** The section as plain data, for comparing; secrets stand in it as they stand in the file. */
  get plain(): unknown {
    return this.#map?.toJSON() ?? {};
  }

  has(key: string): boolean {
    this.#known.add(key);
    const node = this.#node(key);
    return node !== undefined && !(isScalar(node) && node.value === null);
  }

  string(key: string, fallback?: string): string {
    const value = this.#scalar(key);
    if (value === undefined) return this.#orElse(key, fallback, 'a text');
    if (typeof value === 'string') return value;
    if (typeof value === 'number') return String(this.#text(key));
    this.fail(key, `${show(value)} is not a text`);
  }

  integer(key: string, fallback?: number, range: { min?: number; max?: number } = {}): number {
    const value = this.#scalar(key);
    if (value === undefined) return this.#orElse(key, fallback, 'a whole number');
    const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = range;
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      const bounds = range.max === undefined ? `${min} or more` : `from ${min} to ${max}`;
      this.fail(key, `${show(value)} is not a whole number${range.min === undefined ? '' : ` ${bounds}`}`);
    }
    return value as number;
  }

  boolean(key: string, fallback?: boolean): boolean {
    const value = this.#scalar(key);
    if (value === undefined) return this.#orElse(key, fallback, 'true or false');
    if (typeof value !== 'boolean') this.fail(key, `${show(value)} is neither true nor false`);
    return value;
  }

  oneOf<T extends string>(key: string, values: readonly T[], fallback?: T): T {
    const value = this.#scalar(key);
    if (value === undefined) return this.#orElse(key, fallback, values.join(' | '));
    if (!values.includes(value as T)) this.fail(key, `${show(value)} is not one of ${values.join(', ')}`);
    return value as T;
  }

  /** `500ms`, `30s`, `5m`, `1h`, in milliseconds; at most `most`. */
  duration(key: string, fallback?: number, most = Number.POSITIVE_INFINITY): number {
    const value = this.#scalar(key);
    if (value === undefined) return this.#orElse(key, fallback, 'a time such as 30s');
    const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(value));
    if (!match) this.fail(key, `${show(value)} is not a time such as 500ms, 30s, 5m or 1h`);
    const ms = Number(match[1]) * { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match[2] as 'ms'];
    if (ms > most) this.fail(key, `${show(value)} is more than ${Math.floor(most / 86_400_000)}d`);
    return ms;
  }

  /** `64KiB`, `1MiB`, in bytes. */
  size(key: string, fallback?: number): number {
    const value = this.#scalar(key);
    if (value === undefined) return this.#orElse(key, fallback, 'a size such as 64KiB');
    return parseSize(String(value)) ?? this.fail(key, `${show(value)} is not a size such as 512B, 64KiB or 1MiB`);
  }

  /** `64KiB/s`, in bytes per second; 0 for none. */
  rate(key: string, fallback?: number): number {
    const value = this.#scalar(key);
    if (value === undefined) return this.#orElse(key, fallback, 'a rate such as 64KiB/s, or 0');
    if (value === 0) return 0;
    return parseRate(String(value)) ?? this.fail(key, `${show(value)} is not a rate such as 64KiB/s, nor 0 for none`);
  }

  /** A list of texts; a single text is a list of one. */
  strings(key: string, fallback?: readonly string[]): string[] {
    const items = this.#items(key);
    if (items === undefined) return [...this.#orElse(key, fallback, 'a list')];
    return items.map(item => {
      if (typeof item !== 'string' && typeof item !== 'number') this.fail(key, `${show(item)} is not a text`);
      return String(item);
    });
  }

  listOf<T extends string>(key: string, values: readonly T[], fallback?: readonly T[]): T[] {
    return this.strings(key, fallback).map(item => {
      if (!values.includes(item as T)) this.fail(key, `${show(item)} is not one of ${values.join(', ')}`);
      return item as T;
    });
  }

  /** A list of domains in prepared form; with `wildcards` also `*.domain`. */
  domains(key: string, fallback?: readonly string[], wildcards = false): string[] {
    return this.strings(key, fallback).map(item => {
      const wild = wildcards && item.startsWith('*.');
      return (wild ? '*.' : '') + this.#domain(key, wild ? item.slice(2) : item);
    });
  }

  /** A list of bare JIDs, domains among them, in prepared form. */
  jids(key: string, fallback?: readonly string[]): string[] {
    return this.strings(key, fallback).map(item => {
      const jid = Jid.tryParse(item);
      return jid?.isBare || jid?.isDomain ? jid.toString() : this.fail(key, `${show(item)} is not an address`);
    });
  }

  domain(key: string, fallback?: string): string {
    const value = this.string(key, fallback);
    return value === fallback ? value : this.#domain(key, value);
  }

  /** `address:port`, IPv6 in brackets. */
  endpoint(key: string, fallback?: Endpoint): Endpoint {
    if (!this.has(key)) return this.#orElse(key, fallback, 'address:port');
    return this.#endpoint(key, this.string(key));
  }

  endpoints(key: string, fallback?: readonly Endpoint[]): Endpoint[] {
    const items = this.#items(key);
    if (items === undefined) return [...this.#orElse(key, fallback, 'a list of address:port')];
    return items.map(item => this.#endpoint(key, String(item)));
  }

  /** A literal, `env:NAME` or `file:PATH`. The value stands in no error. */
  secret(key: string, fallback?: string): string {
    if (!this.has(key)) return this.#orElse(key, fallback, 'a secret');
    const value = this.string(key);
    if (value.startsWith('env:')) {
      const name = value.slice(4);
      return process.env[name] || this.fail(key, `the environment has no variable ${name}, or an empty one`);
    }
    if (value.startsWith('file:')) {
      const path = this.resolve(value.slice(5));
      let text: string;
      try {
        text = readFileSync(path, 'utf8');
      } catch (error) {
        this.fail(key, `${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
      }
      return text.replace(/\r?\n$/, '') || this.fail(key, `${path} is empty`);
    }
    if (value === '' && fallback === undefined) this.fail(key, 'is empty');
    return value;
  }

  /** An absolute path; relative ones are relative to the file. */
  path(key: string, fallback?: string): string {
    const path = this.string(key, fallback);
    return path === '' ? this.fail(key, 'is empty; a path is expected') : this.resolve(path);
  }

  resolve(path: string): string {
    return isAbsolute(path) ? path : resolve(dirname(resolve(this.#source.file)), path);
  }

  /** A section below this one; an empty one where it is absent. */
  section(key: string): Section {
    this.#known.add(key);
    const node = this.#node(key);
    const path = this.#join(key);
    if (node === undefined || (isScalar(node) && node.value === null)) {
      return new Section(this.#source, path, null, this.#lineOf(key));
    }
    if (!isMap(node)) this.fail(key, 'a map of keys is expected');
    return new Section(this.#source, path, node as YAMLMap<Node, Node | null>, this.#lineOf(key));
  }

  /** The sections of a map of names. */
  entries(key: string): [string, Section][] {
    const section = this.section(key);
    return section.keys.map(name => [name, section.section(name)]);
  }

  /** Throws: the value of `key` is wrong in this way. */
  fail(key: string, message: string): never {
    throw new ConfigError(`${this.#source.file}:${this.#lineOf(key)}: ${this.#join(key)}: ${message}`);
  }

  /** Throws where there are keys that nobody asked for. */
  done(): void {
    for (const key of this.keys) {
      if (this.#known.has(key)) continue;
      const close = [...this.#known].find(known => distance(known, key) <= 2);
      const known = [...this.#known].join(', ');
      this.fail(key, `there is no such key${close ? `; did you mean ${close}?` : `; known here are ${known}`}`);
    }
  }

  #join(key: string): string {
    return this.#path ? `${this.#path}.${key}` : key;
  }

  #pair(key: string) {
    return this.#map?.items.find(item => String((item.key as { value?: unknown }).value) === key);
  }

  #node(key: string): Node | null | undefined {
    return this.#pair(key)?.value;
  }

  #lineOf(key: string): number {
    const range = (this.#pair(key)?.key as Node | undefined)?.range;
    return range ? this.#source.lines.linePos(range[0]).line : this.#line;
  }

  #text(key: string): string {
    const node = this.#node(key);
    return isScalar(node) ? (node.source ?? String(node.value)) : '';
  }

  #scalar(key: string): unknown {
    this.#known.add(key);
    const node = this.#node(key);
    if (node === undefined || node === null) return undefined;
    if (!isScalar(node)) this.fail(key, 'a single value is expected');
    return node.value ?? undefined;
  }

  #items(key: string): unknown[] | undefined {
    this.#known.add(key);
    const node = this.#node(key);
    if (node === undefined || node === null) return undefined;
    if (isScalar(node)) return node.value === null ? undefined : [node.value];
    if (!isSeq(node)) this.fail(key, 'a list is expected');
    return node.items.map(item =>
      isScalar(item) ? item.value : this.fail(key, 'a list of single values is expected'),
    );
  }

  #orElse<T>(key: string, fallback: T | undefined, expected: string): T {
    return fallback ?? this.fail(key, `is missing; ${expected} is expected`);
  }

  #domain(key: string, text: string): string {
    const jid = Jid.tryParse(text);
    return jid?.isDomain ? jid.domain : this.fail(key, `${show(text)} is not a domain`);
  }

  #endpoint(key: string, text: string): Endpoint {
    const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
    const port = match ? Number(match[3]) : -1;
    if (!match || port > 65535 || (match[1] !== undefined && !isIPv6(match[1]))) {
      this.fail(key, `${show(text)} is not address:port (IPv6 addresses in brackets)`);
    }
    return { host: match[1] ?? match[2], port };
  }
}

/** `64KiB/s` in bytes per second; null where the text is no rate. */
export function parseRate(text: string): number | null {
  const match = /^(.*)\/s$/.exec(text);
  return match ? parseSize(match[1]) : null;
}

function parseSize(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB)?$/.exec(text);
  if (!match) return null;
  return Math.floor(Number(match[1]) * { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }[(match[2] ?? 'B') as 'B']);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** The number of edits between two short words (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
