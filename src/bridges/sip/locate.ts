// Where a SIP URI leads: static routes first, then NAPTR, SRV and addresses (RFC 3263), im and pres by RFC 3861.
import { isIP } from 'node:net';
import { type Address, DnsError, type Resolver, type SrvRecord } from '../../hub/dns.ts';
import type { EngineConfig, Protocol } from './settings.ts';
import type { Hop } from './transports.ts';
import { bareHost, type SipUri } from './uri.ts';

const mostHops = 8;
/** A hop that could not be reached is tried last for so long, in ms. */
const badFor = 30_000;
const mostBad = 1000;

/** `sips` and `im` lead nowhere by UDP. The order is the one in which a domain without NAPTR is asked for SRV. */
const services: readonly { protocol: Protocol; naptr: string; srv: string }[] = [
  { protocol: 'tls', naptr: 'sips+d2t', srv: '_sips._tcp' },
  { protocol: 'tcp', naptr: 'sip+d2t', srv: '_sip._tcp' },
  { protocol: 'udp', naptr: 'sip+d2u', srv: '_sip._udp' },
];

/** Why a URI leads nowhere. */
export class NoRoute extends Error {
  override readonly name = 'NoRoute';
}

export class Locator {
  readonly #resolver: Resolver;
  readonly #routes: EngineConfig['routes'];
  readonly #bad = new Map<string, number>();

  constructor(resolver: Resolver, routes: EngineConfig['routes']) {
    this.#resolver = resolver;
    this.#routes = routes;
  }

  /** The static hops for a URI's domain; undefined where the DNS decides. */
  routesFor(uri: SipUri): readonly SipUri[] | undefined {
    const own = uri.scheme === 'tel' ? 'tel' : bareHost(uri.host);
    return this.#routes.get(own) ?? this.#routes.get('*');
  }

  /**
   * The hops to try, best first. `large`: the request does not fit a datagram (RFC 3261 §18.1.1), so UDP comes only
   * where the URI says so and nothing else is to be had. Rejects with NoRoute.
   */
  async hops(uri: SipUri, large: boolean): Promise<Hop[]> {
    const routes = this.routesFor(uri);
    const found: Hop[] = [];
    let failure: Error | undefined;
    for (const target of routes ?? [uri]) {
      try {
        found.push(...(await this.#locate(target, large, uri.host)));
      } catch (error) {
        failure = error as Error;
      }
    }
    if (found.length === 0) throw failure ?? new NoRoute(`there is no way to ${uri.text}`);
    return this.#goodFirst(found.slice(0, mostHops));
  }

  /** Remembers that a hop could not be reached. */
  failed(hop: Hop): void {
    const key = keyOf(hop);
    this.#bad.delete(key);
    if (this.#bad.size >= mostBad) this.#bad.delete(this.#bad.keys().next().value!);
    this.#bad.set(key, Date.now() + badFor);
  }

  #goodFirst(hops: Hop[]): Hop[] {
    if (this.#bad.size === 0) return hops;
    const now = Date.now();
    const isBad = (hop: Hop) => (this.#bad.get(keyOf(hop)) ?? 0) > now;
    return [...hops.filter(hop => !isBad(hop)), ...hops.filter(isBad)];
  }

  async #locate(uri: SipUri, large: boolean, domain: string): Promise<Hop[]> {
    if (uri.host === '') throw new NoRoute(`no route is configured for ${uri.scheme}:`);
    const wanted = protocolOf(uri);
    const host = uri.params.get('maddr') ?? uri.host;
    const names = [...new Set([bareHost(uri.host), bareHost(domain)])];
    // Where the transport is open, a large request goes by TCP, and by UDP only where TCP is not answered.
    const open: Protocol[] = wanted ? [wanted] : large ? ['tcp', 'udp'] : ['udp'];
    if (isIP(bareHost(host)) || uri.port !== undefined) return this.#byAddress(host, open, uri.port, names);
    const indirect = uri.scheme === 'im' || uri.scheme === 'pres';
    const asked = indirect
      ? [{ protocol: 'tcp' as const, name: `_${uri.scheme}._sip.${uri.host}` }]
      : await this.#servicesOf(uri, wanted, large);
    const { hops, refused } = await this.#bySrv(asked, names);
    if (hops.length > 0) return hops;
    if (refused) throw new NoRoute(`${uri.host} offers no SIP`);
    // Without SRV the domain is a host (RFC 3263 §4.2); for im and pres its SIP service is asked first.
    return indirect
      ? this.#locate({ ...uri, scheme: 'sip' }, large, domain)
      : this.#byAddress(host, open, undefined, names);
  }

  async #byAddress(host: string, protocols: Protocol[], port: number | undefined, names: string[]): Promise<Hop[]> {
    const addresses = await this.#addresses(host).catch((error: Error) => {
      throw new NoRoute(error.message);
    });
    if (addresses.length === 0) throw new NoRoute(`${host} has no address`);
    return protocols.flatMap(protocol =>
      addresses.map(address => hop(protocol, address, port ?? portOf(protocol), names)),
    );
  }

  /** The services to ask for, as NAPTR orders them (RFC 3263 §4.1), or all that we speak. */
  async #servicesOf(uri: SipUri, wanted: Protocol | undefined, large: boolean): Promise<Service[]> {
    const datagramsLast = (a: Service, b: Service) =>
      large ? Number(a.protocol === 'udp') - Number(b.protocol === 'udp') : 0;
    const usable = services
      .filter(({ protocol }) => !wanted || protocol === wanted)
      .map(service => ({ ...service, name: `${service.srv}.${uri.host}` }))
      .sort(datagramsLast);
    if (wanted) return usable;
    const records = await this.#resolver.naptr(uri.host).catch(quiet);
    const offered = records
      .filter(record => record.flags.toLowerCase() === 's' && record.replacement !== '')
      .sort((a, b) => a.order - b.order || a.preference - b.preference)
      .flatMap(record => {
        const service = usable.find(({ naptr }) => naptr === record.service.toLowerCase());
        return service ? [{ protocol: service.protocol, name: record.replacement.replace(/\.$/, '') }] : [];
      });
    return offered.length > 0 ? offered.sort(datagramsLast) : usable;
  }

  async #bySrv(asked: readonly Service[], names: string[]): Promise<{ hops: Hop[]; refused: boolean }> {
    const hops: Hop[] = [];
    let refused = false;
    for (const { protocol, name } of asked) {
      const records = await this.#resolver.srv(name).catch(quiet);
      refused ||= records.length === 1 && records[0].target === '.';
      for (const record of byWeight(records.filter(({ target }) => target !== '.'))) {
        const addresses = await this.#addresses(record.target).catch(quiet);
        hops.push(...addresses.map(address => hop(protocol, address, record.port, names)));
        if (hops.length >= mostHops) return { hops, refused };
      }
    }
    return { hops, refused };
  }

  /** IPv4 first: hops are tried one after another, and a machine without IPv6 would wait for each in vain. */
  async #addresses(host: string): Promise<Address[]> {
    const found = await this.#resolver.addresses(host);
    return [...found].sort((a, b) => a.family - b.family);
  }
}

interface Service {
  protocol: Protocol;
  /** What is asked for SRV. */
  name: string;
}

function quiet(error: unknown): never[] {
  if (error instanceof DnsError) return [];
  throw error;
}

/** The transport that a URI asks for. Throws NoRoute for those we do not speak. */
function protocolOf(uri: SipUri): Protocol | undefined {
  const asked = uri.params.get('transport')?.toLowerCase();
  const secure = uri.scheme === 'sips';
  switch (asked) {
    case undefined:
      return secure ? 'tls' : undefined;
    case 'udp':
      if (secure) throw new NoRoute('sips does not go over UDP');
      return 'udp';
    case 'tcp':
      return secure ? 'tls' : 'tcp';
    case 'tls':
      return 'tls';
    case 'ws':
    case 'wss':
      return asked;
    default:
      throw new NoRoute(`the transport ${asked} is not spoken here`);
  }
}

function portOf(protocol: Protocol): number {
  return protocol === 'tls' ? 5061 : protocol === 'ws' ? 80 : protocol === 'wss' ? 443 : 5060;
}

function hop(protocol: Protocol, { address }: Address, port: number, names: string[]): Hop {
  return { protocol, address, port, names: protocol === 'tls' ? names : [] };
}

function keyOf(hop: Hop): string {
  return `${hop.protocol} ${hop.address} ${hop.port}`;
}

/** Lower priorities first, within one by chance according to the weights (RFC 2782). */
function byWeight(records: readonly SrvRecord[]): SrvRecord[] {
  return records
    .map(record => ({ record, draw: Math.random() ** (1 / Math.max(record.weight, 0.01)) }))
    .sort((a, b) => a.record.priority - b.record.priority || b.draw - a.draw)
    .map(({ record }) => record);
}
