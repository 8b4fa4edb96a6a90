// The directories of all hosted domains: opened as configured, opened anew when that changes, closed at the end.
import { readFileSync } from 'node:fs';
import { createSecureContext, rootCertificates } from 'node:tls';
import type { Config } from '../hub/config.ts';
import type { Directory } from '../hub/directory.ts';
import type { Log } from '../hub/log.ts';
import type { Store } from '../hub/store.ts';
import { createAccounts } from './accounts.ts';
import { type LdapConfig, readLdap } from './ldap/config.ts';
import type { Security } from './ldap/connection.ts';
import { LdapDirectory } from './ldap/directory.ts';
import { Pool } from './ldap/pool.ts';

/** Directories by hosted domain. Those that share a section of the configuration share its connections. */
export class Directories extends Map<string, Directory> {
  readonly #store: Store;
  readonly #log: Log;
  #pools = new Map<string, Pool>();
  /** What the LDAP directories were made from: they are kept as long as that stays. */
  #made = '';
  #aliasTimer: NodeJS.Timeout | null = null;
  /** The aliases that came from directories, and the configuration's that they were added to. */
  #followed = { to: new Map<string, string>(), names: new Map<string, string>() };
  #closed = false;

  /** Throws ConfigError. No connection is made before somebody is looked up. */
  constructor(config: Config, store: Store, log: Log) {
    super();
    this.#store = store;
    this.#log = log.child({ room: 'directory' });
    this.update(config);
  }

  /** Takes over a configuration. Throws ConfigError, and then leaves everything as it was. */
  update(config: Config): void {
    const sections = new Map([...config.directories].map(([name, { kind, section }]) => [name, { kind, section }]));
    const made = JSON.stringify([
      config.tls,
      [...sections].map(([name, { section }]) => [name, section.plain]),
      [...config.domains.values()].map(({ name, directory }) => [name, directory]),
    ]);
    if (made === this.#made) return;
    const read = new Map<string, LdapConfig>();
    for (const [name, { kind, section }] of sections) {
      if (kind !== 'ldap') section.fail('kind', `there is no directory of kind ${kind}; known is ldap`);
      read.set(name, readLdap(name, section));
    }
    for (const { name, directory } of config.domains.values()) {
      const host = read.get(directory)?.groups?.host;
      if (host === undefined || !config.domains.has(`${host}.${name}`)) continue;
      sections
        .get(directory)!
        .section.fail('groups', `${host}.${name} is a domain of its own already; choose another host`);
    }
    const before = this.#pools;
    this.#pools = new Map();
    this.#made = made;
    for (const { name, directory } of config.domains.values()) {
      const ldap = read.get(directory);
      if (ldap) this.set(name, new LdapDirectory(ldap, name, this.#pool(ldap, config), this.#log));
      else if (this.get(name)?.name !== 'accounts') this.set(name, createAccounts(this.#store, name));
    }
    for (const name of this.keys()) if (!config.domains.has(name)) this.delete(name);
    for (const pool of before.values()) pool.close();
  }

  /** Where groups have addresses. */
  get groupDomains(): string[] {
    return [...this.values()].flatMap(({ groups }) => (groups ? [groups.domain] : []));
  }

  /** Connections to the servers of each directory, for metrics. */
  get servers(): { directory: string; url: string; open: number; down: boolean }[] {
    return [...this.#pools].flatMap(([directory, pool]) =>
      pool.servers.map(({ url, open, down }) => ({ directory, url, open, down })),
    );
  }

  /**
   * Keeps the names that directories give to the hosted domains (`associatedDomain`) among the configuration's aliases,
   * looking now and then anew; one that a directory no longer gives goes. Names that mean something already are left
   * alone. Calls `changed` when the aliases have become others.
   */
  async followAliases(config: () => Config, taken: (domain: string) => boolean, changed = () => {}): Promise<void> {
    if (this.#aliasTimer) clearTimeout(this.#aliasTimer);
    for (const [domain, directory] of this) {
      try {
        const given = (await directory.aliases?.()) ?? [];
        if (this.#take(domain, given, config(), taken)) changed();
      } catch (error) {
        this.#log.warn({ domain, reason: (error as Error).message }, 'the domain’s other names are not known');
      }
    }
    if (this.#closed) return;
    this.#aliasTimer = setTimeout(() => void this.followAliases(config, taken, changed), 60_000);
    this.#aliasTimer.unref();
  }

  /** Makes the aliases of a domain those that its directory gives. True: they were others. */
  #take(
    domain: string,
    given: readonly string[],
    { domains, aliases }: Config,
    taken: (domain: string) => boolean,
  ): boolean {
    // A configuration that was read anew has none of the directory's.
    if (this.#followed.to !== aliases) this.#followed = { to: aliases, names: new Map() };
    const { names } = this.#followed;
    let differs = false;
    for (const [alias, of] of [...names]) {
      if (of !== domain || (given.includes(alias) && domains.has(domain))) continue;
      names.delete(alias);
      aliases.delete(alias);
      differs = true;
      this.#log.info({ domain, alias }, 'the directory no longer knows the domain by that name');
    }
    for (const alias of given) {
      if (!domains.has(domain) || domains.has(alias) || aliases.has(alias) || taken(alias)) continue;
      names.set(alias, domain);
      aliases.set(alias, domain);
      differs = true;
      this.#log.info({ domain, alias }, 'the directory knows the domain by another name');
    }
    return differs;
  }

  close(): void {
    this.#closed = true;
    if (this.#aliasTimer) clearTimeout(this.#aliasTimer);
    for (const pool of this.#pools.values()) pool.close();
    this.#pools.clear();
  }

  #pool(ldap: LdapConfig, config: Config): Pool {
    const known = this.#pools.get(ldap.name);
    if (known) return known;
    const security: Security = {
      startTls: ldap.startTls,
      context: createSecureContext({
        ca: [...rootCertificates, ...config.tls.trust.map(file => readFileSync(file, 'utf8'))],
        minVersion: config.tls.minVersion,
      }),
    };
    const log = this.#log.child({ directory: ldap.name });
    const bare = ldap.servers.filter(
      ({ direct, host }) => !direct && !ldap.startTls && !/^(127\.|::1$|localhost$)/.test(host),
    );
    if (bare.length > 0) log.warn({ servers: bare.map(({ url }) => url) }, 'passwords go to the directory without TLS');
    const pool = new Pool(ldap, security, log);
    this.#pools.set(ldap.name, pool);
    return pool;
  }
}
