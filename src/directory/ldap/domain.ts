// Where the people of a hosted domain are in the tree, and what else the domain is called.
import type { Log } from '../../hub/log.ts';
import { Jid } from '../../xmpp/jid.ts';
import { Cache } from './cache.ts';
import type { LdapConfig } from './config.ts';
import type { Entry } from './connection.ts';
import { fill } from './filter.ts';
import { child, parseName } from './name.ts';
import type { Pool } from './pool.ts';

export interface Place {
  /** The entry below which the domain's people and groups are. */
  readonly base: string;
  /** Other names of the domain. */
  readonly aliases: readonly string[];
}

const attributes = ['o', 'sunPreferredDomain', 'associatedDomain', 'inetDomainBaseDN'];
const mostAliases = 100;

export class DomainPlace {
  readonly #config: LdapConfig;
  readonly #domain: string;
  readonly #pool: Pool;
  readonly #log: Log;
  readonly #cache: Cache<Place | null>;

  constructor(config: LdapConfig, domain: string, pool: Pool, log: Log) {
    this.#config = config;
    this.#domain = domain;
    this.#pool = pool;
    this.#log = log;
    const absent = Math.min(config.cache, 60_000);
    this.#cache = new Cache({ age: place => (place ? config.cache : absent), most: 1 });
  }

  /** Null: the directory knows no such domain. Rejects with Unavailable. */
  async find(deadline?: number): Promise<Place | null> {
    const { base, bases, layout } = this.#config;
    const own = bases.get(this.#domain);
    if (own !== undefined || layout === 'flat') return { base: own ?? base, aliases: [] };
    return this.#cache.find(this.#domain, until => this.#load(until), deadline);
  }

  async #load(deadline: number): Promise<Place | null> {
    const place = await (this.#config.layout === 'dc-tree'
      ? this.#inTree(deadline)
      : this.#amongOrganisations(deadline));
    if (!place) this.#log.warn({ domain: this.#domain }, 'the directory has no entry for the domain');
    return place;
  }

  /** `dc=hub,dc=test` below the root of domains says where the people are: `inetDomainBaseDN`. */
  async #inTree(deadline: number): Promise<Place | null> {
    const { base, domainRoot } = this.#config;
    const labels = this.#domain.split('.');
    const dn = labels.reduceRight((parent, label) => child('dc', label, parent), domainRoot || base);
    const entry = await this.#entry(dn, deadline);
    if (!entry) return null;
    const target = entry.text('inetDomainBaseDN') || dn;
    if (parseName(target) === null) {
      this.#log.warn({ domain: this.#domain, dn }, 'inetDomainBaseDN is not a distinguished name');
      return null;
    }
    const organisation = target === dn ? null : await this.#entry(target, deadline);
    return { base: target, aliases: this.#aliases(entry, organisation) };
  }

  /** The organisation that has the domain as its name, or else as one of its names. */
  async #amongOrganisations(deadline: number): Promise<Place | null> {
    const { base, domainFilter } = this.#config;
    const filter = fill(domainFilter, this.#domain);
    const found = await this.#pool.search({ base, filter, attributes, limit: 10 }, deadline);
    const named = (entry: Entry) =>
      [...entry.texts('sunPreferredDomain'), ...entry.texts('o')].some(name => domainOf(name) === this.#domain);
    const entry = found.find(named) ?? found[0];
    return entry ? { base: entry.dn, aliases: this.#aliases(entry, null) } : null;
  }

  async #entry(dn: string, deadline: number): Promise<Entry | null> {
    const search = { base: dn, scope: 'base' as const, filter: '(objectClass=*)', attributes, limit: 1 };
    return (await this.#pool.search(search, deadline))[0] ?? null;
  }

  #aliases(...entries: (Entry | null)[]): string[] {
    const names = entries.flatMap(entry => entry?.texts('associatedDomain') ?? []).map(domainOf);
    return [...new Set(names)].filter(name => name !== '' && name !== this.#domain).slice(0, mostAliases);
  }
}

/** A domain in prepared form; '' for what is none. */
function domainOf(text: string): string {
  const jid = Jid.tryParse(text.trim());
  return jid?.isDomain ? jid.domain : '';
}
