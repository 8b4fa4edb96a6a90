// The limits a stream announces (XEP-0478), those that hold before anybody has authenticated, and the time there is for that.
import { type Element, el } from '../xmpp/element.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { ScannerLimits } from '../xmpp/scanner.ts';

/** An unauthenticated peer needs no large stanzas (RFC 6120 §13.12 asks for at least 10,000 bytes). */
export const bareLimits: ScannerLimits = { stanzaSize: 16 * 1024 };

/**
 * How long a client has from connecting to a session, and again after each answer of in-band registration: people fill
 * in its form. In ms; tests ask for less.
 */
export const patience = { negotiation: 60_000, registration: 5 * 60_000 };

/** `<limits/>` with the greatest stanza in bytes (XEP-0478 §3). */
export function limitsElement(stanzaSize: number): Element {
  return el('limits', ns.limits, {}, el('max-bytes', ns.limits, {}, String(stanzaSize)));
}
