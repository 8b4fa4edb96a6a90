// The further proofs of a certificate, tried in order where the ordinary one fails: DANE, then POSH.
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import type { Endpoint } from '../hub/config.ts';
import type { Resolver } from '../hub/dns.ts';
import { daneRecords, matchTlsa } from './dane.ts';
import type { Verdict } from './edge.ts';
import { chainOf, judge, type Roots } from './identity.ts';
import type { Posh } from './posh.ts';

export interface Proofs {
  resolver: Resolver;
  posh: Posh;
  roots: () => Roots;
}

/** As `FederationEdge.prove`: the ordinary verdict, unless DANE or POSH proves the certificate. */
export async function prove(
  { resolver, posh, roots }: Proofs,
  socket: TLSSocket,
  domain: string,
  target: Endpoint | null,
): Promise<Verdict> {
  const chain = chainOf(socket);
  const [leaf] = chain;
  const ordinary = judge(chain, domain, roots());
  if (ordinary.valid || !leaf) return ordinary;
  const notAfter = leaf.validToDate;
  const reasons = [ordinary.reason];
  try {
    const records = await daneRecords(resolver, domain, target);
    const match = matchTlsa(records, chain);
    if (match && (match.endEntity || judge(chain, domain, rootsOf(match.anchors)).valid)) {
      return { valid: true, reason: '', notAfter, by: 'DANE' };
    }
    if (records.length > 0) reasons.push('DANE: no TLSA record matches');
  } catch (error) {
    reasons.push(`DANE: ${(error as Error).message}`);
  }
  try {
    if (await posh.proves(leaf, domain)) return { valid: true, reason: '', notAfter, by: 'POSH' };
    reasons.push('POSH: no fingerprint matches');
  } catch (error) {
    reasons.push(`POSH: ${(error as Error).message}`);
  }
  return { valid: false, reason: reasons.join('; '), notAfter };
}

function rootsOf(certificates: readonly X509Certificate[]): Roots {
  const roots = new Map<string, X509Certificate[]>();
  for (const certificate of certificates) {
    roots.set(certificate.subject, [...(roots.get(certificate.subject) ?? []), certificate]);
  }
  return roots;
}
