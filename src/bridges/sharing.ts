// The route for domains that a bridge shares with XMPP: a domain hosted here with users of both sorts, and a bridged domain that has an XMPP server of its own.
import { domainToASCII } from 'node:url';
import type { Resolver } from '../hub/dns.ts';
import type { Kernel } from '../hub/hub.ts';
import type { Origin, Route } from '../hub/router.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { Stanza } from '../xmpp/stanza.ts';

/** The other routes that a stanza for such a domain can take. */
export interface SharedRoutes {
  bridges: Route & { sharedDomains: ReadonlySet<string> };
  sessions: Route;
  links: Route;
}

/** How long it counts whether a domain has XMPP records, in ms; the resolver's cache knows their own times. */
const holds = 60_000;
/** The servers of a domain that are looked at. */
const mostTargets = 16;

/** Stands before the routes that it chooses among. XMPP comes first: what it knows or reaches never goes to a bridge. */
export class SharedDomains implements Route {
  readonly name = 'shared domains';
  readonly #routes: SharedRoutes;
  readonly #elsewhere = new Map<string, { elsewhere: boolean; until: number }>();
  #hub!: Kernel;
  #resolver!: Resolver;

  constructor(routes: SharedRoutes) {
    this.#routes = routes;
  }

  /** The kernel holds the router that holds this route, so it comes second. */
  attach(hub: Kernel, resolver: Resolver): void {
    this.#hub = hub;
    this.#resolver = resolver;
  }

  describe(): string[] {
    return [...this.#routes.bridges.sharedDomains].map(domain =>
      this.#hub.hosts(domain)
        ? `${domain} (its accounts are served here, other users of it by a bridge)`
        : `${domain} (by a server link where it has XMPP records, else by a bridge)`,
    );
  }

  owns(to: Jid): boolean {
    return this.#routes.bridges.sharedDomains.has(to.domain);
  }

  deliver(stanza: Stanza, origin: Origin): void | Promise<void> {
    const { bridges, sessions } = this.#routes;
    const { domain, local } = stanza.to!;
    if (!this.#hub.hosts(domain)) return this.#deliverAbroad(stanza, origin);
    if (local === '') return sessions.deliver(stanza, origin);
    const found = this.#hub.directory(domain)?.find(local) ?? null;
    if (found instanceof Promise) {
      return found.then(person => (person ? sessions : bridges).deliver(stanza, origin));
    }
    return (found ? sessions : bridges).deliver(stanza, origin);
  }

  /** What came over a link, or from the server that we are attached to, is for us: its sender knows no other way. */
  #deliverAbroad(stanza: Stanza, origin: Origin): void | Promise<void> {
    const { bridges, links } = this.#routes;
    const { domain } = stanza.to!;
    const isForUs = origin.kind === 'link' || origin.kind === 'bridge' || this.#hub.config.attach !== null;
    if (isForUs) return bridges.deliver(stanza, origin);
    const known = this.#elsewhere.get(domain);
    if (!known) return this.#look(domain).then(elsewhere => (elsewhere ? links : bridges).deliver(stanza, origin));
    // What is known holds while it is looked at again.
    if (known.until <= Date.now()) void this.#look(domain);
    return (known.elsewhere ? links : bridges).deliver(stanza, origin);
  }

  async #look(domain: string): Promise<boolean> {
    const known = this.#elsewhere.get(domain);
    if (known) known.until = Date.now() + holds;
    const elsewhere = await this.#isElsewhere(domain);
    this.#elsewhere.set(domain, { elsewhere, until: Date.now() + holds });
    return elsewhere;
  }

  /**
   * Whether a domain has XMPP servers and this is none of them: a configured address, or SRV records that lead neither
   * to where we listen nor to where those of a domain hosted here lead.
   */
  async #isElsewhere(domain: string): Promise<boolean> {
    const { federation, domains, listen } = this.#hub.config;
    if (federation.partners.get(domain)?.address) return true;
    const found = await this.#servers(domain);
    if (found.length === 0) return false;
    const listening = [...listen.s2s, ...listen['s2s-tls']].map(({ host, port }) => `${host} ${port}`);
    const named = await Promise.all([...domains.keys()].map(name => this.#servers(name)));
    const own = new Set([...listening, ...named.flat()]);
    return !found.some(server => own.has(server));
  }

  /** Addresses and ports of a domain's XMPP servers; none where DNS knows or says nothing. */
  async #servers(domain: string): Promise<string[]> {
    const ascii = domainToASCII(domain);
    const asked = ['_xmpp-server._tcp', '_xmpps-server._tcp'].map(service => this.#resolver.srv(`${service}.${ascii}`));
    const targets = values(await Promise.allSettled(asked)).filter(({ target }) => target !== '.' && target !== '');
    const located = targets.slice(0, mostTargets).map(async ({ target, port }) => {
      const addresses = await this.#resolver.addresses(target);
      return addresses.map(({ address }) => `${address} ${port}`);
    });
    return values(await Promise.allSettled(located));
  }
}

function values<T>(settled: PromiseSettledResult<T[]>[]): T[] {
  return settled.flatMap(one => (one.status === 'fulfilled' ? one.value : []));
}
