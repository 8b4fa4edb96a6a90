// Certificates proved by DNS: TLSA records behind DNSSEC (RFC 6698, RFC 7671, RFC 7712 §5).
import { createHash, type X509Certificate } from 'node:crypto';
import { domainToASCII } from 'node:url';
import type { Endpoint } from '../hub/config.ts';
import { DnsError, type Resolver, type TlsaRecord } from '../hub/dns.ts';

const daneTa = 2;
const daneEe = 3;

/** What TLSA records prove by themselves; usages 0 and 1 only narrow what the ordinary rules prove already. */
export type DaneMatch =
  /** The peer's own certificate is named: its names and dates do not count (RFC 7671 §5.1). */
  | { endEntity: true }
  /** These authorities are named: the chain has to lead to one of them (RFC 7671 §5.2). */
  | { endEntity: false; anchors: readonly X509Certificate[] };

/** What the records say of a chain, the peer's own certificate first; null where none of them matches. */
export function matchTlsa(records: readonly TlsaRecord[], chain: readonly X509Certificate[]): DaneMatch | null {
  const named = (usage: number, certificate: X509Certificate) =>
    records.some(record => record.usage === usage && matches(record, certificate));
  if (chain[0] && named(daneEe, chain[0])) return { endEntity: true };
  const anchors = chain.slice(1).filter(certificate => named(daneTa, certificate));
  return anchors.length > 0 ? { endEntity: false, anchors } : null;
}

function matches({ selector, matching, data }: TlsaRecord, certificate: X509Certificate): boolean {
  if (selector > 1 || matching > 2) return false;
  const bytes = selector === 0 ? certificate.raw : certificate.publicKey.export({ type: 'spki', format: 'der' });
  const found =
    matching === 0
      ? bytes
      : createHash(matching === 1 ? 'sha256' : 'sha512')
          .update(bytes)
          .digest();
  return Buffer.compare(found, data) === 0;
}

/**
 * The TLSA records that speak for a domain: those of the target that was connected to, or of all its targets where it
 * connected to us (RFC 7712 §5.1). Only what DNSSEC has validated, the SRV record included. Rejects with DnsError.
 */
export async function daneRecords(resolver: Resolver, domain: string, target: Endpoint | null): Promise<TlsaRecord[]> {
  const ascii = domainToASCII(domain);
  const found: TlsaRecord[] = [];
  for (const service of ['_xmpp-server', '_xmpps-server']) {
    const { records, secure } = await orNone(resolver.secureSrv(`${service}._tcp.${ascii}`));
    if (!secure) continue;
    const named = records.filter(one => !target || (one.target === target.host && one.port === target.port));
    for (const { target: host, port } of named.slice(0, 8)) {
      const tlsa = await orNone(resolver.tlsa(`_${port}._tcp.${host}`));
      if (tlsa.secure) found.push(...tlsa.records.slice(0, 16));
    }
  }
  return found;
}

/** A name that is not there has no records. */
async function orNone<T>(
  answer: Promise<{ records: T[]; secure: boolean }>,
): Promise<{ records: T[]; secure: boolean }> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof DnsError && error.code === 'not-found') return { records: [], secure: false };
    throw error;
  }
}
