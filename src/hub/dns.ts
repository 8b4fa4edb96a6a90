// Names to addresses: the resolver that everything uses, with a cache that honours TTLs, over configured servers or the system's.
import { Resolver as SystemResolver } from 'node:dns/promises';
import { isIP, isIPv6 } from 'node:net';
import type { Endpoint } from './config.ts';
import { DnsClient } from './dns-client.ts';

export interface SrvRecord {
  priority: number;
  weight: number;
  port: number;
  /** '.' says that the service is not offered (RFC 2782). */
  target: string;
}

export interface Address {
  address: string;
  family: 4 | 6;
}

export interface NaptrRecord {
  order: number;
  preference: number;
  flags: string;
  service: string;
  regexp: string;
  replacement: string;
}

export interface TlsaRecord {
  usage: number;
  selector: number;
  matching: number;
  data: Uint8Array;
}

/** Why a name could not be resolved. An empty answer is none of these: it is an empty list. */
export class DnsError extends Error {
  override readonly name = 'DnsError';
  readonly code: 'not-found' | 'timeout' | 'server-failure' | 'bad-answer';

  constructor(code: DnsError['code'], name: string, detail = '') {
    const words = {
      'not-found': 'there is no such name',
      timeout: 'the name servers did not answer in time',
      'server-failure': 'the name servers failed',
      'bad-answer': 'the name server’s answer makes no sense',
    };
    super(`DNS: ${name}: ${words[code]}${detail ? ` (${detail})` : ''}`);
    this.code = code;
  }
}

/** Rejects with DnsError; a name that exists but has no such record gives an empty list. */
export interface Resolver {
  srv(name: string): Promise<SrvRecord[]>;
  /** As `srv`, with whether the answer was validated, as for `tlsa`. */
  secureSrv(name: string): Promise<{ records: SrvRecord[]; secure: boolean }>;
  /** A and AAAA together; an address resolves to itself. */
  addresses(name: string): Promise<Address[]>;
  naptr(name: string): Promise<NaptrRecord[]>;
  txt(name: string): Promise<string[]>;
  /** `secure`: the answer was validated by a resolver that is configured and reached over loopback. */
  tlsa(name: string): Promise<{ records: TlsaRecord[]; secure: boolean }>;
  close(): void;
}

export type RecordType = 'A' | 'AAAA' | 'SRV' | 'NAPTR' | 'TXT' | 'TLSA';

/** What a source answers: the records, how long they hold (seconds), and whether they were validated. */
export interface Answer {
  records: unknown[];
  ttl: number;
  secure: boolean;
}

/** Where answers come from. Rejects with DnsError. */
export interface DnsSource {
  query(name: string, type: RecordType): Promise<Answer>;
  close(): void;
}

const mostCached = 10_000;
const longestTtl = 86_400;
const failureTtl = 5;
const negativeTtl = 60;

interface Cached {
  expires: number;
  answer: Promise<Answer>;
}

/** A resolver over `dns.servers`, or over the system's where there are none. */
export function createResolver(config: { servers: readonly Endpoint[] }): Resolver {
  return new CachingResolver(config.servers.length > 0 ? new DnsClient(config.servers) : new SystemSource());
}

export class CachingResolver implements Resolver {
  readonly #source: DnsSource;
  readonly #cache = new Map<string, Cached>();

  constructor(source: DnsSource) {
    this.#source = source;
  }

  async srv(name: string): Promise<SrvRecord[]> {
    return (await this.#ask(name, 'SRV')).records as SrvRecord[];
  }

  async secureSrv(name: string): Promise<{ records: SrvRecord[]; secure: boolean }> {
    const { records, secure } = await this.#ask(name, 'SRV');
    return { records: records as SrvRecord[], secure };
  }

  async addresses(name: string): Promise<Address[]> {
    const literal = name.startsWith('[') ? name.slice(1, -1) : name;
    if (isIP(literal)) return [{ address: literal, family: isIPv6(literal) ? 6 : 4 }];
    const answers = await Promise.allSettled([this.#ask(name, 'AAAA'), this.#ask(name, 'A')]);
    const found: Address[] = [];
    answers.forEach((answer, i) => {
      if (answer.status !== 'fulfilled') return;
      for (const address of answer.value.records) found.push({ address: address as string, family: i === 0 ? 6 : 4 });
    });
    if (found.length > 0) return found;
    const failed = answers.find(answer => answer.status === 'rejected');
    if (failed) throw failed.reason;
    return [];
  }

  async naptr(name: string): Promise<NaptrRecord[]> {
    return (await this.#ask(name, 'NAPTR')).records as NaptrRecord[];
  }

  async txt(name: string): Promise<string[]> {
    return (await this.#ask(name, 'TXT')).records as string[];
  }

  async tlsa(name: string): Promise<{ records: TlsaRecord[]; secure: boolean }> {
    const { records, secure } = await this.#ask(name, 'TLSA');
    return { records: records as TlsaRecord[], secure };
  }

  close(): void {
    this.#cache.clear();
    this.#source.close();
  }

  /** Identical questions under way share one query; answers hold for their TTL, failures for a few seconds. */
  #ask(name: string, type: RecordType): Promise<Answer> {
    const key = `${type} ${name.toLowerCase()}`;
    const known = this.#cache.get(key);
    if (known && known.expires > Date.now()) return known.answer;
    const entry: Cached = { expires: Number.POSITIVE_INFINITY, answer: this.#source.query(name, type) };
    if (this.#cache.size >= mostCached) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.delete(key);
    this.#cache.set(key, entry);
    const hold = (seconds: number) => {
      entry.expires = Date.now() + Math.min(Math.max(seconds, 0), longestTtl) * 1000;
    };
    entry.answer.then(
      answer => hold(answer.ttl),
      error => hold(error instanceof DnsError && error.code === 'not-found' ? negativeTtl : failureTtl),
    );
    return entry.answer;
  }
}

/** The system's resolver, which tells TTLs of addresses only. */
class SystemSource implements DnsSource {
  readonly #resolver = new SystemResolver({ timeout: 2000, tries: 2 });

  async query(name: string, type: RecordType): Promise<Answer> {
    try {
      switch (type) {
        case 'A':
        case 'AAAA': {
          const found =
            type === 'A'
              ? await this.#resolver.resolve4(name, { ttl: true })
              : await this.#resolver.resolve6(name, { ttl: true });
          return {
            records: found.map(record => record.address),
            ttl: Math.min(...found.map(record => record.ttl)),
            secure: false,
          };
        }
        case 'SRV': {
          const found = await this.#resolver.resolveSrv(name);
          const records = found.map(({ name: target, ...rest }) => ({ ...rest, target: target === '' ? '.' : target }));
          return { records, ttl: negativeTtl, secure: false };
        }
        case 'NAPTR':
          return { records: await this.#resolver.resolveNaptr(name), ttl: negativeTtl, secure: false };
        case 'TXT': {
          const found = await this.#resolver.resolveTxt(name);
          return { records: found.map(parts => parts.join('')), ttl: negativeTtl, secure: false };
        }
        case 'TLSA':
          return { records: [], ttl: negativeTtl, secure: false };
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENODATA') return { records: [], ttl: negativeTtl, secure: false };
      if (code === 'ENOTFOUND') {
        if (type === 'A' && name === 'localhost') return { records: ['127.0.0.1'], ttl: longestTtl, secure: false };
        throw new DnsError('not-found', name);
      }
      throw new DnsError(code === 'ETIMEOUT' ? 'timeout' : 'server-failure', name, code);
    }
  }

  close(): void {
    this.#resolver.cancel();
  }
}
