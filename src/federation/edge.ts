// What the server links need of the rest of the hub, and of certificates.
import type { SecureContext, TLSSocket } from 'node:tls';
import type { Endpoint } from '../hub/config.ts';
import type { Resolver } from '../hub/dns.ts';

/** What a certificate proves about a domain, in words where it does not. */
export interface Verdict {
  valid: boolean;
  reason: string;
  notAfter?: Date;
  /** What proved it where the ordinary way did not: `DANE` or `POSH`. */
  by?: string;
}

/** Judges the certificate that the other side of a TLS connection showed. */
export type Judge = (socket: TLSSocket, domain: string) => Verdict;

export interface FederationEdge {
  readonly resolver: Resolver;
  /** The TLS context of a domain we serve; a bridge's or component's domain has one as well. */
  contextFor(domain: string): SecureContext | null;
  readonly judge: Judge;
  /**
   * Tries what else may prove a certificate that `judge` did not find valid: DANE for the target that was connected
   * to (or, with null, for any target of the domain), then POSH. Resolves to a verdict and never rejects.
   */
  prove(socket: TLSSocket, domain: string, target: Endpoint | null): Promise<Verdict>;
  readonly dialbackSecret: string;
}
