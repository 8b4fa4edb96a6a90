// An XMPP address, prepared and compared as RFC 7622 says, with a cache because the same few come again and again.
import { Buffer } from 'node:buffer';
import { isIPv6 } from 'node:net';
import { domainToASCII, domainToUnicode } from 'node:url';
import { escapeAttribute } from './element.ts';
import { StanzaError } from './errors.ts';
import { isIdentifierLabel, opaqueString, usernameCaseMapped } from './precis.ts';

const asciiLocal = /^[!#$%()*+,\-.0-9;=?A-Z[\\\]^_`a-z{|}~]+$/;
const asciiDomain = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
/** Labels whose third and fourth characters are hyphens are reserved; A-labels are among them (RFC 5890 §2.3.1). */
const reservedLabel = /(?:^|\.)[^.]{2}--/;
const asciiResource = /^[ -~]+$/;
const ascii = /^[\0-\x7f]*$/;
/** What RFC 7622 §3.3.1 forbids in a localpart beyond PRECIS. */
const forbiddenInLocal = /["&'/:<>@]/;
const needsEscaping = /[&<>'"]/;

/** Bytes that a part may have (RFC 7622 §3.1). */
const maxPart = 1023;

// Two generations: what is asked for again moves from the old one to the young one, the rest goes with the old one.
const generation = 8192;
const longestCached = 256;
let young = new Map<string, Jid>();
let old = new Map<string, Jid>();

function remember(text: string, jid: Jid): void {
  if (text.length > longestCached) return;
  if (young.size >= generation) {
    old = young;
    young = new Map();
  }
  young.set(text, jid);
}

/** An address; absent parts are ''. Addresses do not change. */
export class Jid {
  readonly local: string;
  readonly domain: string;
  readonly resource: string;
  #text: string;
  #bare: Jid | null = null;
  #escaped = '';

  private constructor(local: string, domain: string, resource: string) {
    this.local = local;
    this.domain = domain;
    this.resource = resource;
    let text = local === '' ? domain : `${local}@${domain}`;
    if (resource !== '') text += `/${resource}`;
    this.#text = text;
  }

  /** Prepares and checks an address. Throws a StanzaError `jid-malformed` that says what is wrong with it. */
  static parse(text: string): Jid {
    const known = young.get(text);
    if (known !== undefined) return known;
    let jid = old.get(text);
    if (jid === undefined) {
      const own = copied(text);
      jid = parse(own, Jid.of);
      // One string for both, instead of one that was put together.
      if (jid.#text === own) jid.#text = own;
      remember(own, jid);
    } else {
      remember(jid.#text === text ? jid.#text : copied(text), jid);
    }
    return jid;
  }

  /** As `parse`, but null where the text is no address. */
  static tryParse(text: string): Jid | null {
    try {
      return Jid.parse(text);
    } catch {
      return null;
    }
  }

  /** An address of parts that are already prepared. */
  static of(local: string, domain: string, resource: string): Jid {
    return new Jid(local, domain, resource);
  }

  /** The address without its resource; itself if it has none. */
  get bare(): Jid {
    if (this.resource === '') return this;
    this.#bare ??= new Jid(this.local, this.domain, '');
    return this.#bare;
  }

  get isBare(): boolean {
    return this.resource === '';
  }

  /** Whether it is the address of a domain alone. */
  get isDomain(): boolean {
    return this.local === '' && this.resource === '';
  }

  /** The domain with A-labels for its internationalised labels, as the DNS and certificates have it. */
  get asciiDomain(): string {
    return ascii.test(this.domain) ? this.domain : domainToASCII(this.domain);
  }

  /** The same account or domain with another resource ('' for none), which is prepared and checked. */
  withResource(resource: string): Jid {
    return resource === '' ? this.bare : new Jid(this.local, this.domain, prepareResource(resource));
  }

  toString(): string {
    return this.#text;
  }

  /** The address as it stands in a single-quoted attribute. */
  get escaped(): string {
    if (this.#escaped === '') {
      this.#escaped = needsEscaping.test(this.#text) ? escapeAttribute(this.#text) : this.#text;
    }
    return this.#escaped;
  }

  equals(other: Jid | null): boolean {
    return this === other || (other !== null && this.#text === other.#text);
  }
}

/** The same text in memory of its own: a piece of a larger string would keep all of that alive in the cache. */
function copied(text: string): string {
  const encoding = ascii.test(text) ? 'latin1' : 'utf16le';
  return Buffer.from(text, encoding).toString(encoding);
}

function malformed(text: string): StanzaError {
  return new StanzaError('jid-malformed', text);
}

/** Splits (RFC 7622 §3.1: at the first '/', then at the first '@' before it) and prepares the parts. */
function parse(text: string, make: (local: string, domain: string, resource: string) => Jid): Jid {
  const slash = text.indexOf('/');
  const account = slash < 0 ? text : text.slice(0, slash);
  const at = account.indexOf('@');
  const domain = prepareDomain(account.slice(at + 1));
  const local = at < 0 ? '' : prepareLocal(account.slice(0, at));
  return make(local, domain, slash < 0 ? '' : prepareResource(text.slice(slash + 1)));
}

/** Prepares a localpart (RFC 7622 §3.3). */
function prepareLocal(part: string): string {
  if (part === '') throw malformed('the part before @ is empty');
  let local: string;
  if (asciiLocal.test(part)) {
    local = part.toLowerCase();
  } else {
    local = prepared('the part before @', part, usernameCaseMapped);
    const bad = forbiddenInLocal.exec(local);
    if (bad) throw malformed(`${bad[0]} is not allowed before @`);
  }
  return limited(local, 'the part before @');
}

/** Prepares a resourcepart (RFC 7622 §3.4). */
function prepareResource(part: string): string {
  if (part === '') throw malformed('the resource is empty');
  const resource = asciiResource.test(part) ? part : prepared('the resource', part, opaqueString);
  return limited(resource, 'the resource');
}

/** Prepares a domainpart (RFC 7622 §3.2): a name, whose labels become U-labels in lower case, or an IP address. */
function prepareDomain(part: string): string {
  const name = part.endsWith('.') ? part.slice(0, -1) : part;
  if (name === '') throw malformed('the domain is empty');
  if (name.charCodeAt(0) === 0x5b) return ipv6(name);
  const lower = name.toLowerCase();
  if (asciiDomain.test(lower) && !reservedLabel.test(lower)) return limited(lower, 'the domain');
  if (ascii.test(lower) && !reservedLabel.test(lower)) throw malformed('the domain is not a domain name');
  if (name.length > maxPart) throw malformed('the domain is too long');
  return internationalDomain(name);
}

function ipv6(literal: string): string {
  const address = literal.slice(1, -1);
  if (!literal.endsWith(']') || !isIPv6(address) || address.includes('%')) throw malformed('not an IPv6 address');
  return literal.toLowerCase();
}

function internationalDomain(name: string): string {
  const aLabels = domainToASCII(name);
  if (!asciiDomain.test(aLabels)) throw malformed('the domain is not an internationalised domain name');
  const domain = domainToUnicode(aLabels).normalize('NFC');
  for (const label of domain.split('.')) {
    const isName = ascii.test(label) ? asciiDomain.test(label) && !reservedLabel.test(label) : isIdentifierLabel(label);
    if (!isName) throw malformed(`${label} is not a label of an internationalised domain name`);
  }
  if (domainToASCII(domain) !== aLabels) throw malformed('the domain is not an internationalised domain name');
  return limited(domain, 'the domain');
}

function prepared(what: string, part: string, prepare: (text: string) => string): string {
  if (part.length > maxPart) throw malformed(`${what} is longer than ${maxPart} bytes`);
  try {
    return prepare(part);
  } catch (error) {
    throw malformed(`${what}: ${(error as Error).message}`);
  }
}

function limited(part: string, what: string): string {
  if (part.length > maxPart || (part.length * 3 > maxPart && Buffer.byteLength(part) > maxPart)) {
    throw malformed(`${what} is longer than ${maxPart} bytes`);
  }
  return part;
}
