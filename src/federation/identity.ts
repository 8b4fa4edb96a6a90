// Whether a certificate proves a domain: chain, dates and names, without regard to what Node makes of its purpose (RFC 6125, RFC 9525, RFC 6120 §13.7).
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rootCertificates, type TLSSocket } from 'node:tls';
import { domainToASCII } from 'node:url';
import type { Verdict } from './edge.ts';

const longestChain = 10;
const serverAuth = '1.3.6.1.5.5.7.3.1';
const clientAuth = '1.3.6.1.5.5.7.3.2';
const anyUsage = '2.5.29.37.0';
const xmppAddr = '1.3.6.1.5.5.7.8.5';
const subjectAltName = '2.5.29.17';
const srvName = '1.3.6.1.5.5.7.8.7';

/** Certificates that are trusted without a further signature, by subject. */
export type Roots = ReadonlyMap<string, X509Certificate[]>;

/** The built-in authorities and those in the PEM files given. Throws where a file cannot be read. */
export function readRoots(files: readonly string[]): Roots {
  const roots = new Map<string, X509Certificate[]>();
  const add = (pem: string) => {
    const certificate = new X509Certificate(pem);
    const same = roots.get(certificate.subject);
    if (same) same.push(certificate);
    else roots.set(certificate.subject, [certificate]);
  };
  for (const file of files) {
    const blocks = readFileSync(file, 'utf8').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
    if (!blocks) throw new Error(`${file} holds no certificate`);
    for (const block of blocks) add(block);
  }
  for (const pem of rootCertificates) add(pem);
  return roots;
}

/** PEM of the built-in authorities and of those in the files given. */
export function authorities(files: readonly string[]): string[] {
  return [...rootCertificates, ...files.map(file => readFileSync(file, 'utf8'))];
}

/** Judges what the other side of a connection showed. */
export function judgePeer(socket: TLSSocket, domain: string, roots: Roots): Verdict {
  return judge(chainOf(socket), domain, roots);
}

/** The certificates that the other side showed, its own first. */
export function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<string>();
  let next: { raw?: Buffer; issuerCertificate?: unknown } | undefined = socket.getPeerCertificate(true);
  while (next?.raw && chain.length < longestChain) {
    const certificate = new X509Certificate(next.raw);
    if (seen.has(certificate.fingerprint256)) break;
    seen.add(certificate.fingerprint256);
    chain.push(certificate);
    next = next.issuerCertificate as typeof next;
  }
  return chain;
}

/**
 * Judges a chain, the peer's own certificate first. The reason is for operators: what is wrong, and what was found
 * instead.
 */
export function judge(chain: readonly X509Certificate[], domain: string, roots: Roots, now = new Date()): Verdict {
  const [leaf] = chain;
  if (!leaf) return { valid: false, reason: 'no certificate was shown' };
  const notAfter = leaf.validToDate;
  const fault = faultOfChain(chain, roots, now) ?? faultOfUsage(leaf) ?? faultOfName(leaf, domain);
  return fault ? { valid: false, reason: fault, notAfter } : { valid: true, reason: '', notAfter };
}

function faultOfDates(certificate: X509Certificate, now: Date): string | null {
  if (now > certificate.validToDate) return `expired on ${certificate.validToDate.toISOString().slice(0, 10)}`;
  if (now < certificate.validFromDate)
    return `not valid before ${certificate.validFromDate.toISOString().slice(0, 10)}`;
  return null;
}

/** Follows the signatures from the leaf to a root (RFC 5280 §6.1, as far as links between servers need it). */
function faultOfChain(chain: readonly X509Certificate[], roots: Roots, now: Date): string | null {
  let current = chain[0];
  const used = new Set([current.fingerprint256]);
  for (let depth = 0; depth < longestChain; depth++) {
    const dates = faultOfDates(current, now);
    if (dates) return depth === 0 ? dates : `its issuer ${commonName(current.subject)} is ${dates}`;
    if ((roots.get(current.subject) ?? []).some(root => root.fingerprint256 === current.fingerprint256)) return null;
    const issuedBy = (issuer: X509Certificate) =>
      current.checkIssued(issuer) && issuer.ca && current.verify(issuer.publicKey);
    const root = (roots.get(current.issuer) ?? []).find(issuedBy);
    if (root) return faultOfDates(root, now) ? `its root ${commonName(root.subject)} has expired` : null;
    const issuer = chain.find(candidate => !used.has(candidate.fingerprint256) && issuedBy(candidate));
    if (!issuer) {
      if (current.subject === current.issuer) return depth === 0 ? 'self-signed' : 'issued by an unknown authority';
      return `issued by an unknown authority (${commonName(current.issuer)})`;
    }
    used.add(issuer.fingerprint256);
    current = issuer;
  }
  return 'its chain is too long';
}

/** Certificates for servers and for clients will do: public authorities give no other ones to servers any more. */
function faultOfUsage(leaf: X509Certificate): string | null {
  const usages = leaf.keyUsage as readonly string[] | undefined;
  if (!usages || usages.length === 0) return null;
  return usages.some(usage => usage === serverAuth || usage === clientAuth || usage === anyUsage)
    ? null
    : 'not made for servers or clients';
}

function faultOfName(leaf: X509Certificate, domain: string): string | null {
  const names = namesOf(leaf);
  const ascii = domainToASCII(domain).toLowerCase();
  const matches = names.some(({ kind, value }) => {
    const name = value.toLowerCase();
    switch (kind) {
      case 'dns':
        return name === ascii || (name.startsWith('*.') && ascii.slice(ascii.indexOf('.')) === name.slice(1));
      case 'srv':
        return name === `_xmpp-server.${ascii}`;
      case 'xmpp':
        return domainToASCII(name) === ascii;
      default:
        return false;
    }
  });
  if (matches) return null;
  return names.length > 0
    ? `not made for ${domain}, but for ${names
        .map(n => n.value)
        .slice(0, 5)
        .join(', ')}`
    : 'it has no names';
}

export interface CertificateName {
  kind: 'dns' | 'srv' | 'xmpp';
  value: string;
}

/** The names of a certificate that count for XMPP: dNSName, SRVName, xmppAddr (RFC 6120 §13.7.1.2). */
export function namesOf(certificate: X509Certificate): CertificateName[] {
  try {
    const value = extensionOf(certificate.raw, subjectAltName);
    return value ? [...readNames(value)] : [];
  } catch {
    return [];
  }
}

/** The value of an extension of a certificate (RFC 5280 §4.1), or null. */
function extensionOf(der: Uint8Array, oid: string): Uint8Array | null {
  const [certificate] = elements(der);
  const [body] = elements(certificate.value);
  const wrapped = [...elements(body.value)].find(({ tag }) => tag === 0xa3);
  if (!wrapped) return null;
  const [list] = elements(wrapped.value);
  for (const extension of elements(list.value)) {
    const parts = [...elements(extension.value)];
    if (readOid(parts[0].value) === oid) return parts[parts.length - 1].value;
  }
  return null;
}

interface Tlv {
  tag: number;
  value: Uint8Array;
}

/** The elements of a DER encoding. Throws RangeError where lengths do not fit. */
function* elements(bytes: Uint8Array): Generator<Tlv> {
  for (let at = 0; at < bytes.length; ) {
    const tag = bytes[at++];
    let length = bytes[at++];
    if (length > 0x80) {
      let octets = length & 0x7f;
      for (length = 0; octets > 0; octets--) length = length * 256 + bytes[at++];
    }
    if (!(at + length <= bytes.length)) throw new RangeError('a length beyond the end');
    yield { tag, value: bytes.subarray(at, at + length) };
    at += length;
  }
}

function* readNames(bytes: Uint8Array): Generator<CertificateName> {
  const text = (value: Uint8Array) => Buffer.from(value).toString('utf8');
  for (const sequence of elements(bytes)) {
    for (const name of elements(sequence.value)) {
      if (name.tag === 0x82) yield { kind: 'dns', value: text(name.value) };
      if (name.tag !== 0xa0) continue;
      const [type, wrapped] = elements(name.value);
      const oid = readOid(type.value);
      if (oid !== xmppAddr && oid !== srvName) continue;
      const [inner] = elements(wrapped.value);
      yield { kind: oid === srvName ? 'srv' : 'xmpp', value: text(inner.value) };
    }
  }
}

function readOid(bytes: Uint8Array): string {
  const arcs = [Math.min(2, Math.floor(bytes[0] / 40)), 0];
  arcs[1] = bytes[0] - arcs[0] * 40;
  for (let at = 1, arc = 0; at < bytes.length; at++) {
    arc = arc * 128 + (bytes[at] & 0x7f);
    if (bytes[at] & 0x80) continue;
    arcs.push(arc);
    arc = 0;
  }
  return arcs.join('.');
}

function commonName(subject: string): string {
  return /CN=([^\n]+)/.exec(subject)?.[1] ?? subject.replace(/\n/g, ', ');
}
