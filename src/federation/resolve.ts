// Where another domain's server is: SRV records, or the domain itself (RFC 6120 §3.2, XEP-0368).
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Endpoint } from '../hub/config.ts';
import { type Address, DnsError, type Resolver, type SrvRecord } from '../hub/dns.ts';
import { StanzaError } from '../xmpp/errors.ts';

/** One place to connect to; its addresses are looked up when it is its turn. */
export interface Target extends Endpoint {
  tls: 'starttls' | 'direct';
  addresses(): Promise<Address[]>;
}

export interface ResolveOptions {
  /** Configured for the partner: DNS is not asked for SRV. */
  address?: Endpoint | null;
  story?: (text: string) => void;
  /** From 0 up to 1; for tests. */
  random?: () => number;
}

const defaultPort = 5269;
const mostTargets = 16;

type Candidate = SrvRecord & { tls: Target['tls'] };

/**
 * The targets of a domain in the order in which they are to be tried. Rejects with a StanzaError
 * `remote-server-not-found` where there is none, `remote-server-timeout` where DNS could not tell.
 */
export async function targets(resolver: Resolver, domain: string, options: ResolveOptions = {}): Promise<Target[]> {
  const { address, story = () => {}, random = Math.random } = options;
  const make = (host: string, port: number, tls: Target['tls']): Target => ({
    host,
    port,
    tls,
    addresses: () => resolver.addresses(host),
  });
  if (address) {
    story(`address from the configuration: ${address.host}:${address.port}`);
    return [make(address.host, address.port, 'starttls')];
  }
  const bare = domain.replace(/^\[|\]$/g, '');
  if (isIP(bare)) return [make(bare, defaultPort, 'starttls')];
  const ascii = domainToASCII(domain);
  const [plain, direct] = await Promise.all([
    lookUp(resolver, `_xmpp-server._tcp.${ascii}`, story),
    lookUp(resolver, `_xmpps-server._tcp.${ascii}`, story),
  ]);
  const found: Candidate[] = [
    ...plain.map(record => ({ ...record, tls: 'starttls' as const })),
    ...direct.map(record => ({ ...record, tls: 'direct' as const })),
  ];
  const offered = found.filter(record => record.target !== '.');
  if (found.length > 0 && offered.length === 0) {
    throw new StanzaError('remote-server-not-found', `${domain} says in DNS that it offers no such service`);
  }
  if (offered.length > 0) {
    return arrange(offered, random)
      .slice(0, mostTargets)
      .map(record => make(record.target, record.port, record.tls));
  }
  story(`no SRV record: ${ascii}, port ${defaultPort}`);
  await mustExist(resolver, ascii);
  return [make(ascii, defaultPort, 'starttls')];
}

async function lookUp(resolver: Resolver, name: string, story: (text: string) => void): Promise<SrvRecord[]> {
  try {
    const records = await resolver.srv(name);
    for (const record of records) {
      story(`SRV ${name}: ${record.priority} ${record.weight} ${record.port} ${record.target}`);
    }
    return records;
  } catch (error) {
    if (error instanceof DnsError && error.code === 'not-found') return [];
    story((error as Error).message);
    // COMPAT(name servers that fail on SRV): the address may still be told (RFC 6120 §3.2.1, step 4).
    return [];
  }
}

/** The fall-back needs an address: say at once where there is none. */
async function mustExist(resolver: Resolver, name: string): Promise<void> {
  try {
    if ((await resolver.addresses(name)).length > 0) return;
  } catch (error) {
    if (!(error instanceof DnsError) || error.code !== 'not-found') {
      throw new StanzaError('remote-server-timeout', (error as Error).message);
    }
  }
  throw new StanzaError('remote-server-not-found', `DNS knows neither an SRV record nor an address of ${name}`);
}

/** Orders by priority, and among equals by chance in proportion to the weights (RFC 2782). */
export function arrange<T extends { priority: number; weight: number }>(
  records: readonly T[],
  random: () => number,
): T[] {
  const ordered: T[] = [];
  const priorities = [...new Set(records.map(({ priority }) => priority))].sort((a, b) => a - b);
  for (const priority of priorities) {
    // Records of weight 0 stand first, so that they have a small chance.
    const left = records.filter(record => record.priority === priority).sort((a, b) => a.weight - b.weight);
    while (left.length > 0) {
      const total = left.reduce((sum, { weight }) => sum + weight, 0);
      const chosen = Math.floor(random() * (total + 1));
      let sum = 0;
      const at = left.findIndex(({ weight }) => (sum += weight) >= chosen);
      ordered.push(...left.splice(at, 1));
    }
  }
  return ordered;
}
