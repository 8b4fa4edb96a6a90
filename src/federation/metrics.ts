// What the metrics say of each remote domain; beyond a cap, domains share the label `other`.
import type { Metrics } from '../hub/metrics.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { InboundLink } from './inbound.ts';
import type { OutboundLink } from './outbound.ts';

const mostDomains = 1_000;
/** The reasons that XEP-0377 §4 defines; any other counts as `other`. */
const reasons: Record<string, string> = { 'urn:xmpp:reporting:spam': 'spam', 'urn:xmpp:reporting:abuse': 'abuse' };

interface Handle {
  add(n?: number): void;
}

export class FederationMetrics {
  readonly #metrics: Metrics;
  readonly #domain: (name: string) => string;
  readonly #handles = new Map<string, Handle>();
  /** By the capped name of the domain, so that this is bounded as well. */
  readonly #reports = new Map<string, number>();

  constructor(metrics: Metrics, links: () => { outbound: OutboundLink[]; inbound: InboundLink[] }) {
    this.#metrics = metrics;
    this.#domain = metrics.capped(mostDomains);
    metrics.gauge(
      'isthmus_links',
      'Server links by direction, state and security',
      ['direction', 'state', 'security'],
      set => {
        const counts = new Map<string, number>();
        const { outbound, inbound } = links();
        for (const link of outbound) count(counts, `out ${link.state} ${link.security}`);
        for (const link of inbound)
          count(counts, `in ${link.proved.size > 0 ? 'open' : 'connecting'} ${link.security}`);
        for (const [key, value] of counts) {
          const [direction, state, ...security] = key.split(' ');
          set(value, direction, state, security.join(' ') || 'none');
        }
      },
    );
    metrics.gauge(
      'isthmus_link_up',
      'Whether the latest link out to a remote domain is open (1) or not (0)',
      ['domain'],
      set => {
        const up = new Map<string, number>();
        for (const { remote, state } of links().outbound) {
          const domain = this.#domain(remote);
          up.set(domain, Math.max(up.get(domain) ?? 0, state === 'open' ? 1 : 0));
        }
        for (const [domain, value] of up) set(value, domain);
      },
    );
    metrics.gauge('isthmus_link_queue', 'Stanzas that wait for a link to a remote domain', ['domain'], set => {
      const counts = new Map<string, number>();
      for (const link of links().outbound) count(counts, this.#domain(link.remote), link.queued);
      for (const [domain, value] of counts) set(value, domain);
    });
    metrics.gauge(
      'isthmus_link_certificate_expiry_seconds',
      'Unix time at which a partner’s certificate expires',
      ['domain'],
      set => {
        for (const { remote, certificateExpires } of links().outbound) {
          if (certificateExpires) set(certificateExpires.getTime() / 1000, this.#domain(remote));
        }
      },
    );
  }

  in(domain: string, stanza: Stanza): void {
    this.#handle('in', domain, stanza.name).add();
    this.#handle('bytes in', domain, '').add(stanza.payload.length);
  }

  out(domain: string, stanza: Stanza): void {
    this.#handle('out', domain, stanza.name).add();
    this.#handle('bytes out', domain, '').add(stanza.payload.length);
  }

  /** A local user has reported somebody of this domain (XEP-0377). */
  reported(domain: string, reason: string): void {
    this.#handle('report', domain, reasons[reason] ?? 'other').add();
    count(this.#reports, this.#domain(domain));
  }

  /** How often users have reported somebody of this domain since the hub started. */
  reportsOf(domain: string): number {
    return this.#reports.get(domain) ?? 0;
  }

  bounced(domain: string, reason: string): void {
    this.#handle('bounce', domain, reason).add();
  }

  /** A link out was made, in so many ms. */
  connected(domain: string, ms: number): void {
    this.#handle('connects', domain, '').add();
    this.#handle('connect ms', domain, '').add(ms / 1000);
  }

  #handle(what: string, domain: string, label: string): Handle {
    const key = `${what} ${domain} ${label}`;
    const known = this.#handles.get(key);
    if (known) return known;
    const handle = this.#make(what, this.#domain(domain), label);
    // Domains beyond the cap come and go; the cache of handles is bounded with them.
    if (this.#handles.size > mostDomains * 8) this.#handles.clear();
    this.#handles.set(key, handle);
    return handle;
  }

  #make(what: string, domain: string, label: string): Handle {
    const metrics = this.#metrics;
    switch (what) {
      case 'in':
      case 'out':
        return metrics
          .counter('isthmus_link_stanzas_total', 'Stanzas exchanged with a remote domain', [
            'domain',
            'direction',
            'kind',
          ])
          .bind(domain, what, label);
      case 'bytes in':
      case 'bytes out':
        return metrics
          .counter('isthmus_link_payload_bytes_total', 'Payload bytes exchanged with a remote domain', [
            'domain',
            'direction',
          ])
          .bind(domain, what.slice(6));
      case 'bounce':
        return metrics
          .counter('isthmus_link_bounces_total', 'Stanzas returned because a remote domain did not take them', [
            'domain',
            'reason',
          ])
          .bind(domain, label);
      case 'report':
        return metrics
          .counter('isthmus_reports_total', 'Reports of spam and abuse by our users, by the domain reported', [
            'domain',
            'reason',
          ])
          .bind(domain, label);
      case 'connects':
        return metrics.counter('isthmus_link_connects_total', 'Links out that were made', ['domain']).bind(domain);
      default:
        return metrics
          .counter('isthmus_link_connect_seconds_total', 'Time spent making links out that were made', ['domain'])
          .bind(domain);
    }
  }
}

function count(counts: Map<string, number>, key: string, by = 1): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
