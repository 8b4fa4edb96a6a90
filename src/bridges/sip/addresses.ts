// Addresses both ways: a JID as a SIP address and back, escaped as each side wants it (RFC 7247 §5, XEP-0106).
import { Buffer } from 'node:buffer';
import { StanzaError } from '../../xmpp/errors.ts';
import { Jid } from '../../xmpp/jid.ts';

/** The characters that a localpart cannot hold, and what XEP-0106 writes for them. */
const escapes: Record<string, string> = {
  ' ': '\\20',
  '"': '\\22',
  '&': '\\26',
  "'": '\\27',
  '/': '\\2f',
  ':': '\\3a',
  '<': '\\3c',
  '>': '\\3e',
  '@': '\\40',
  '\\': '\\5c',
};
const characters = new Map(Object.entries(escapes).map(([character, sequence]) => [sequence, character]));
const escapeSequence = /\\(?:20|22|26|27|2f|3a|3c|3e|40|5c)/g;
/** A backslash has to be escaped only where it would begin a sequence (XEP-0106 §4.2). */
const unsafe = /[ "&'/:<>@]|\\(?=20|22|26|27|2f|3a|3c|3e|40|5c)/g;

/**
 * What stands in the user part as it is (RFC 3261 §25.1). `;` and `?` may, too, but many a parser then sees
 * parameters or headers in them.
 */
const plainInUser = /[A-Za-z0-9\-_.!~*'()&=+$,/]/;
/** What stands in a parameter's value as it is (`paramchar`). */
const plainInParameter = /[A-Za-z0-9\-_.!~*'()[\]/:&+$]/;
const phone = /^\+[0-9]{3,20}$/;
const longest = 4096;

/** An address of SIP or its kin, taken apart. Escapes are resolved. */
export interface SipAddress {
  scheme: 'sip' | 'sips' | 'im' | 'pres' | 'tel';
  /** '' where the address is a domain alone. */
  user: string;
  /** In lower case; '' for `tel:`. */
  host: string;
  /** The GRUU's `gr` parameter (RFC 5627), or ''. */
  gr: string;
}

/** The localpart as people know it: its XEP-0106 escapes resolved. */
export function unescapeLocal(local: string): string {
  return local.includes('\\') ? local.replace(escapeSequence, sequence => characters.get(sequence)!) : local;
}

/** A name as a localpart. Throws a StanzaError where it begins or ends with a space (XEP-0106 §3.2). */
export function escapeLocal(name: string): string {
  if (name.startsWith(' ') || name.endsWith(' ')) throw malformed('a user name begins or ends with a space');
  return name.replace(unsafe, character => escapes[character]);
}

function percentEncode(text: string, plain: RegExp): string {
  let encoded = '';
  for (const character of text.toWellFormed()) {
    if (plain.test(character)) encoded += character;
    else for (const byte of Buffer.from(character)) encoded += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** Throws a StanzaError for a `%` that stands for nothing, and for bytes that are no UTF-8. */
function percentDecode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed('a %-escape is wrong');
  }
}

function malformed(text: string): StanzaError {
  return new StanzaError('jid-malformed', text);
}

/**
 * The address of a JID on the SIP side: `sip:user@domain`, with the resource as `gr` where `full` is asked for
 * (RFC 7247 §5.1, RFC 8048 §4). Numbers say that they are numbers (RFC 3261 §19.1.6).
 */
export function sipAddress(jid: Jid, scheme: 'sip' | 'sips' | 'im' | 'pres' = 'sip', full = false): string {
  const user = percentEncode(unescapeLocal(jid.local), plainInUser);
  let uri = `${scheme}:${user === '' ? '' : `${user}@`}${jid.asciiDomain}`;
  if (full && jid.resource !== '') uri += `;gr=${percentEncode(jid.resource, plainInParameter)}`;
  if (scheme.startsWith('sip') && phone.test(user)) uri += ';user=phone';
  return uri;
}

/** Takes an address apart. Throws a StanzaError `jid-malformed` that says what is wrong. */
export function parseSipAddress(text: string): SipAddress {
  const uri = text.trim();
  if (uri.length > longest) throw malformed('the address is too long');
  const [, name, rest] = /^([A-Za-z]+):([^\0-\x20<>"]*)$/.exec(uri) ?? [];
  const scheme = name?.toLowerCase();
  if (scheme === 'tel') return { scheme, user: phoneNumber(rest), host: '', gr: '' };
  if (scheme !== 'sip' && scheme !== 'sips' && scheme !== 'im' && scheme !== 'pres') {
    throw malformed('the address is none of sip, sips, im, pres and tel');
  }
  const at = rest.lastIndexOf('@', endOfAuthority(rest));
  const [, host, , parameters] = /^(\[[^\]]*\]|[^;?:]*)(:\d+)?((?:;[^?]*)?)(?:\?.*)?$/.exec(rest.slice(at + 1)) ?? [];
  if (!host) throw malformed('the address has no host');
  // A password has no place in an identity.
  const [user] = at < 0 ? [''] : rest.slice(0, at).split(':');
  if (at >= 0 && user === '') throw malformed('the address has an empty user');
  return { scheme, user: percentDecode(user), host: host.toLowerCase(), gr: parameter(parameters, 'gr') };
}

/** Where the last `@` that can end the user part may stand: before the parameters, unless those are the user's. */
function endOfAuthority(rest: string): number {
  const headers = rest.indexOf('?');
  const first = rest.indexOf('@');
  // An unescaped `?` may stand in a user; then an `@` comes behind it and none before.
  return headers < 0 || first < 0 || headers < first ? rest.length : headers;
}

function parameter(parameters: string, wanted: string): string {
  for (const one of parameters.split(';')) {
    const equals = one.indexOf('=');
    if (equals > 0 && one.slice(0, equals).toLowerCase() === wanted) return percentDecode(one.slice(equals + 1));
  }
  return '';
}

/** A telephone number without its visual separators (RFC 3966 §3); a local one is as good as its digits. */
function phoneNumber(rest: string): string {
  const number = rest.split(';', 1)[0].replace(/[-.()]/g, '');
  if (!/^\+?[0-9A-Fa-f*#]{1,32}$/.test(number)) throw malformed('the tel: address is no number');
  return number;
}

/**
 * The JID of an address of the SIP side (RFC 7247 §5.2). `telDomain` is the domain in which telephone numbers live;
 * without one `tel:` is refused. Throws a StanzaError `jid-malformed`.
 */
export function jidOfSip(uri: string, telDomain = ''): Jid {
  const { user, host, gr, scheme } = parseSipAddress(uri);
  const domain = scheme === 'tel' ? telDomain : host;
  if (domain === '') throw malformed('a telephone number belongs to no domain here');
  const jid = Jid.parse(user === '' ? domain : `${escapeLocal(user)}@${domain}`);
  return gr === '' ? jid : jid.withResource(gr);
}
