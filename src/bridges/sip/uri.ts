// URIs as SIP uses them: sip and sips in full (RFC 3261 §19.1), tel, im and pres as far as they name somebody.
import { isIPv4, isIPv6 } from 'node:net';

export interface SipUri {
  /** In lower case. */
  readonly scheme: string;
  /** The user part as it is written, escapes and all; for `tel` the number; '' where there is none. */
  readonly user: string;
  /** In lower case, IPv6 in brackets; '' for `tel` and for schemes we do not know. */
  readonly host: string;
  readonly port: number | undefined;
  /** Names in lower case, in order; null: without a value. */
  readonly params: ReadonlyMap<string, string | null>;
  /** What stands behind `?`, as it is written; '' where there is nothing. */
  readonly headers: string;
  /** The whole URI as it is written. */
  readonly text: string;
}

const longest = 2048;
const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/;
const escaped = '%[0-9A-Fa-f]{2}';
const userPattern = new RegExp(`^(?:[A-Za-z0-9_.!~*'()&=+$,;?/-]|${escaped})+$`);
const passwordPattern = new RegExp(`^(?:[A-Za-z0-9_.!~*'()&=+$,-]|${escaped})*$`);
const paramPattern = new RegExp(`^(?:[A-Za-z0-9_.!~*'()[\\]/:&+$-]|${escaped})+$`);
const headersPattern = new RegExp(`^(?:[A-Za-z0-9_.!~*'()[\\]/?:+$&=-]|${escaped})+$`);
const hostPattern =
  /^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.)*[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.?$/;
const telPattern = /^(?:\+[0-9().-]*[0-9][0-9().-]*|[0-9A-Fa-f*#().-]+)$/;
const opaquePattern = /^[\x21-\x7e]+$/;
const none: ReadonlyMap<string, string | null> = new Map();

/** Reads a URI; null where it breaks the syntax. A URI of a scheme we do not know has a scheme and nothing else. */
export function parseUri(text: string): SipUri | null {
  const found = text.length <= longest ? scheme.exec(text) : null;
  if (!found) return null;
  const name = found[1].toLowerCase();
  const rest = text.slice(found[0].length);
  switch (name) {
    case 'sip':
    case 'sips':
      return parseSip(name, rest, text);
    case 'im':
    case 'pres':
      return parseMailboxLike(name, rest, text);
    case 'tel':
      return parseTel(rest, text);
    default:
      if (!opaquePattern.test(rest) || /[<>"]/.test(rest)) return null;
      return { scheme: name, user: '', host: '', port: undefined, params: none, headers: '', text };
  }
}

function parseSip(name: string, rest: string, text: string): SipUri | null {
  let user = '';
  const at = rest.indexOf('@');
  if (at >= 0) {
    const info = rest.slice(0, at);
    const colon = info.indexOf(':');
    user = colon < 0 ? info : info.slice(0, colon);
    if (!userPattern.test(user)) return null;
    if (colon >= 0 && !passwordPattern.test(info.slice(colon + 1))) return null;
    rest = rest.slice(at + 1);
  }
  let headers = '';
  const question = rest.indexOf('?');
  if (question >= 0) {
    headers = rest.slice(question + 1);
    if (!headersPattern.test(headers)) return null;
    rest = rest.slice(0, question);
  }
  const semicolon = rest.indexOf(';');
  const params = semicolon < 0 ? none : parseParams(rest.slice(semicolon + 1));
  const place = parseHostPort(semicolon < 0 ? rest : rest.slice(0, semicolon));
  if (!params || !place) return null;
  return { scheme: name, user, ...place, params, headers, text };
}

/** `im:` and `pres:` (RFC 3860, RFC 3859): a mailbox, and headers that say nothing to us. */
function parseMailboxLike(name: string, rest: string, text: string): SipUri | null {
  const question = rest.indexOf('?');
  const headers = question < 0 ? '' : rest.slice(question + 1);
  if (headers && !headersPattern.test(headers)) return null;
  const mailbox = question < 0 ? rest : rest.slice(0, question);
  const at = mailbox.indexOf('@');
  const user = mailbox.slice(0, Math.max(at, 0));
  const place = parseHostPort(mailbox.slice(at + 1));
  if (at <= 0 || !userPattern.test(user) || !place || place.port !== undefined) return null;
  return { scheme: name, user, ...place, params: none, headers, text };
}

function parseTel(rest: string, text: string): SipUri | null {
  const semicolon = rest.indexOf(';');
  const user = semicolon < 0 ? rest : rest.slice(0, semicolon);
  const params = semicolon < 0 ? none : parseParams(rest.slice(semicolon + 1));
  if (!telPattern.test(user) || !params) return null;
  return { scheme: 'tel', user, host: '', port: undefined, params, headers: '', text };
}

function parseParams(text: string): ReadonlyMap<string, string | null> | null {
  const params = new Map<string, string | null>();
  for (const part of text.split(';')) {
    const equals = part.indexOf('=');
    const name = (equals < 0 ? part : part.slice(0, equals)).toLowerCase();
    const value = equals < 0 ? null : part.slice(equals + 1);
    if (!paramPattern.test(name) || (value !== null && !paramPattern.test(value)) || params.has(name)) return null;
    params.set(name, value);
  }
  return params;
}

/** Reads `host`, `host:port` and `[IPv6]:port`; null where it breaks the syntax. */
export function parseHostPort(text: string): { host: string; port: number | undefined } | null {
  const found = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+)(?::([0-9]{1,5}))?$/.exec(text);
  if (!found) return null;
  const [, host, digits] = found;
  const port = digits === undefined ? undefined : Number(digits);
  if (port !== undefined && (port === 0 || port > 65_535)) return null;
  if (host.startsWith('[') ? !isIPv6(host.slice(1, -1)) : !isHost(host)) return null;
  return { host: host.toLowerCase(), port };
}

function isHost(host: string): boolean {
  if (host.length > 255 || !hostPattern.test(host)) return false;
  return /^[0-9.]+$/.test(host) ? isIPv4(host) : true;
}

/** The user part with its escapes undone; null where they are not UTF-8. */
export function unescapeUser(user: string): string | null {
  if (!user.includes('%')) return user;
  try {
    return decodeURIComponent(user);
  } catch {
    return null;
  }
}

/** A user part for a SIP URI: everything that its syntax does not allow is escaped, lone surrogates become U+FFFD. */
export function escapeUser(user: string): string {
  return encodeURIComponent(user.toWellFormed()).replace(/%(?:26|3D|2B|24)/g, code => decodeURIComponent(code));
}

/** `sip:user@host:port;transport=tcp` from its parts; `user` is escaped already, '' leaves it out. */
export function formatSipUri(parts: {
  scheme?: 'sip' | 'sips';
  user?: string;
  host: string;
  port?: number;
  params?: Iterable<readonly [string, string | null]>;
}): string {
  const { scheme: name = 'sip', user = '', host, port, params = [] } = parts;
  let text = `${name}:${user ? `${user}@` : ''}${formatHost(host)}${port === undefined ? '' : `:${port}`}`;
  for (const [key, value] of params) text += value === null ? `;${key}` : `;${key}=${value}`;
  return text;
}

/** An address as URIs and Via write it: IPv6 in brackets. */
export function formatHost(host: string): string {
  return isIPv6(host) ? `[${host}]` : host;
}

/** An address without the brackets of IPv6, as sockets want it. */
export function bareHost(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host;
}
