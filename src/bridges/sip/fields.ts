// The values of SIP header fields taken apart: addresses with parameters, Via, lists, and values of Subscription-State.
import { parseHostPort, parseUri, type SipUri } from './uri.ts';

/** Parameters behind a header's value: names in lower case, values without quotes; null: without a value. */
export type Params = Map<string, string | null>;

/** `"Display" <sip:user@host>;tag=x` (RFC 3261 §20.10). */
export interface NameAddr {
  /** '' where there is none. */
  displayName: string;
  uri: SipUri;
  params: Params;
}

export interface Via {
  /** 2.0, unless somebody speaks of another SIP. */
  version: string;
  /** In upper case: UDP, TCP, TLS, WS, WSS. */
  transport: string;
  host: string;
  port: number | undefined;
  params: Params;
}

const token = /[A-Za-z0-9.!%*_+`'~-]/;
const tokens = /^[A-Za-z0-9.!%*_+`'~-]+$/;

/** Whether a text is a token (RFC 3261 §25.1). */
export function isToken(text: string): boolean {
  return tokens.test(text);
}

/**
 * Reads one address; null where it breaks the syntax. Without angle brackets, parameters belong to the header and the
 * URI may have none of `,;?` (RFC 3261 §20).
 */
export function parseNameAddr(value: string): NameAddr | null {
  const bracket = openingBracket(value);
  if (bracket === -2) return null;
  if (bracket === -1) {
    const semicolon = value.indexOf(';');
    const address = (semicolon < 0 ? value : value.slice(0, semicolon)).trim();
    const uri = parseUri(address);
    const params = semicolon < 0 ? new Map() : parseParams(value.slice(semicolon));
    return uri && params && !/[,?]/.test(address) ? { displayName: '', uri, params } : null;
  }
  const displayName = parseDisplayName(value.slice(0, bracket).trim());
  const close = value.indexOf('>', bracket);
  if (displayName === null || close < 0) return null;
  const uri = parseUri(value.slice(bracket + 1, close));
  const params = parseParams(value.slice(close + 1));
  return uri && params ? { displayName, uri, params } : null;
}

/** Where `<` stands outside of quotes; -1: nowhere; -2: a quote is not closed. */
function openingBracket(value: string): number {
  const bracket = value.indexOf('<');
  const quote = value.indexOf('"');
  if (quote < 0 || (bracket >= 0 && bracket < quote)) return bracket;
  const end = endOfQuoted(value, quote);
  return end < 0 ? -2 : value.indexOf('<', end);
}

/** The place behind the closing quote of a quoted string that begins at `from`; -1 where it does not close. */
function endOfQuoted(value: string, from: number): number {
  for (let i = from + 1; i < value.length; i++) {
    if (value[i] === '\\') i++;
    else if (value[i] === '"') return i + 1;
  }
  return -1;
}

function parseDisplayName(text: string): string | null {
  if (text === '') return '';
  if (text.startsWith('"')) return endOfQuoted(text, 0) === text.length ? unquote(text) : null;
  return text.split(/[ \t]+/).every(isToken) ? text : null;
}

function unquote(text: string): string {
  const inner = text.slice(1, -1);
  return inner.includes('\\') ? inner.replace(/\\(.)/gs, '$1') : inner;
}

/** A quoted string of a text, which must have no CR, LF or NUL (the serialiser refuses them). */
export function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** Reads `;name=value;name`; an empty text has none. Null where it breaks the syntax or a name comes twice. */
export function parseParams(text: string): Params | null {
  const params: Params = new Map();
  let at = skipSpace(text, 0);
  while (at < text.length) {
    if (text[at] !== ';') return null;
    at = skipSpace(text, at + 1);
    let end = endOfToken(text, at);
    if (end === at) return null;
    const name = text.slice(at, end).toLowerCase();
    let value: string | null = null;
    at = skipSpace(text, end);
    if (text[at] === '=') {
      at = skipSpace(text, at + 1);
      if (text[at] === '"') {
        end = endOfQuoted(text, at);
        if (end < 0) return null;
        value = unquote(text.slice(at, end));
      } else {
        end = at;
        // A host may stand here, and IPv6 with it (RFC 3261 §25.1: gen-value).
        while (end < text.length && (token.test(text[end]) || '[]:'.includes(text[end]))) end++;
        if (end === at) return null;
        value = text.slice(at, end);
      }
      at = skipSpace(text, end);
    }
    if (params.has(name)) return null;
    params.set(name, value);
  }
  return params;
}

function skipSpace(text: string, at: number): number {
  while (text[at] === ' ' || text[at] === '\t') at++;
  return at;
}

function endOfToken(text: string, at: number): number {
  while (at < text.length && token.test(text[at])) at++;
  return at;
}

/** Reads one Via value (RFC 3261 §20.42); null where it breaks the syntax. */
export function parseVia(value: string): Via | null {
  const found = /^SIP[ \t]*\/[ \t]*([0-9]+\.[0-9]+)[ \t]*\/[ \t]*([A-Za-z0-9.!%*_+`'~-]+)[ \t]+/i.exec(value);
  if (!found) return null;
  const semicolon = value.indexOf(';');
  const sentBy = value.slice(found[0].length, semicolon < 0 ? undefined : semicolon).replace(/[ \t]+/g, '');
  const place = parseHostPort(sentBy);
  const params = semicolon < 0 ? new Map() : parseParams(value.slice(semicolon));
  return place && params ? { version: found[1], transport: found[2].toUpperCase(), ...place, params } : null;
}

/** Splits a list at its commas outside of quotes and angle brackets; empty parts stay, for the caller to refuse. */
export function splitList(value: string): string[] {
  if (!value.includes(',')) return [value];
  const parts: string[] = [];
  let from = 0;
  let inside = false;
  for (let i = 0; i < value.length; i++) {
    const char = value[i];
    if (char === '"' && !inside) {
      const end = endOfQuoted(value, i);
      if (end < 0) break;
      i = end - 1;
    } else if (char === '<') inside = true;
    else if (char === '>') inside = false;
    else if (char === ',' && !inside) {
      parts.push(value.slice(from, i).trim());
      from = i + 1;
    }
  }
  parts.push(value.slice(from).trim());
  return parts;
}

/** A value with parameters behind it: `active;expires=600` gives `active` in lower case. Null where the syntax is broken. */
export function parseValue(text: string): { value: string; params: Params } | null {
  const semicolon = text.indexOf(';');
  const value = (semicolon < 0 ? text : text.slice(0, semicolon)).trim();
  const params = semicolon < 0 ? new Map() : parseParams(text.slice(semicolon));
  return params && value !== '' ? { value: value.toLowerCase(), params } : null;
}

/** Seconds from Expires, Min-Expires or a parameter; undefined where it is no number below 2^32. */
export function parseSeconds(text: string | null | undefined): number | undefined {
  if (!text || !/^[0-9]{1,10}$/.test(text.trim())) return undefined;
  const seconds = Number(text);
  return seconds < 2 ** 32 ? seconds : undefined;
}

/** Retry-After: `18000;duration=3600`, `120 (I'm in a meeting)` (RFC 3261 §20.33). */
export function parseRetryAfter(text: string | undefined): number | undefined {
  return parseSeconds(/^[0-9]{1,10}/.exec(text ?? '')?.[0]);
}
