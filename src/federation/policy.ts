// Who may federate with us, and how secure a link must be (`federation` of the configuration, and what was changed at run time).
import type { Config, Endpoint, Security } from '../hub/config.ts';
import type { Store } from '../hub/store.ts';

/** A change made by `isthmus federation allow|deny`, kept apart from the file. */
export interface Override {
  domain: string;
  allowed: boolean;
  since: number;
}

/** A rate set by `isthmus federation throttle`, in bytes per second. */
export interface Throttle {
  rate: number;
  since: number;
}

/** Whether `pattern` (a domain, or `*.` and a domain) covers `domain`; `*.x` does not cover `x` itself. */
export function covers(pattern: string, domain: string): boolean {
  return pattern.startsWith('*.') ? domain.endsWith(pattern.slice(1)) : pattern === domain;
}

export class Policy {
  readonly #config: () => Config['federation'];
  readonly #store: Store;
  readonly #overrides = new Map<string, Override>();
  readonly #throttles = new Map<string, Throttle>();

  constructor(config: () => Config['federation'], store: Store) {
    this.#config = config;
    this.#store = store;
    store.migrate('federation', [
      'CREATE TABLE federation_overrides (domain TEXT PRIMARY KEY, allowed INTEGER NOT NULL, since INTEGER NOT NULL)',
      'CREATE TABLE federation_throttles (domain TEXT PRIMARY KEY, rate INTEGER NOT NULL, since INTEGER NOT NULL)',
    ]);
    for (const row of store.prepare('SELECT domain, allowed, since FROM federation_overrides').all()) {
      const domain = String(row.domain);
      this.#overrides.set(domain, { domain, allowed: row.allowed === 1, since: Number(row.since) });
    }
    for (const row of store.prepare('SELECT domain, rate, since FROM federation_throttles').all()) {
      this.#throttles.set(String(row.domain), { rate: Number(row.rate), since: Number(row.since) });
    }
  }

  get throttles(): ReadonlyMap<string, Throttle> {
    return this.#throttles;
  }

  get overrides(): readonly Override[] {
    return [...this.#overrides.values()];
  }

  /** Why a domain is refused, or null where it is not. */
  refusal(domain: string): string | null {
    const override = this.#overrides.get(domain) ?? this.#wildcardOverride(domain);
    if (override) return override.allowed ? null : `${domain} was denied by an operator`;
    const { policy, exceptions } = this.#config();
    const excepted = exceptions.some(pattern => covers(pattern, domain));
    if (policy === 'open') return excepted ? `${domain} is among federation.exceptions` : null;
    return excepted ? null : `federation.policy is closed and ${domain} is not among its exceptions`;
  }

  /** The least security accepted with a domain, in both directions. */
  security(domain: string): Security {
    const { partners, security } = this.#config();
    return partners.get(domain)?.security ?? security;
  }

  /** The address configured for a partner, or null: then DNS tells. */
  address(domain: string): Endpoint | null {
    return this.#config().partners.get(domain)?.address ?? null;
  }

  /** Bytes per second taken from a domain on one stream, where something else than the limit for all was set. */
  rate(domain: string): number | undefined {
    return this.#throttles.get(domain)?.rate ?? this.#config().partners.get(domain)?.rate;
  }

  /** Sets (or, given null, takes back) the rate of a domain. Resolves when that is kept. */
  async throttle(domain: string, rate: number | null): Promise<void> {
    const since = Date.now();
    if (rate === null) {
      this.#throttles.delete(domain);
      this.#store.prepare('DELETE FROM federation_throttles WHERE domain = ?').run(domain);
    } else {
      this.#throttles.set(domain, { rate, since });
      this.#store
        .prepare('INSERT OR REPLACE INTO federation_throttles (domain, rate, since) VALUES (?, ?, ?)')
        .run(domain, rate, since);
    }
    await this.#store.durable();
  }

  /** Allows or denies a domain (or `*.domain`) from now on. Resolves when that is kept. */
  async set(domain: string, allowed: boolean): Promise<void> {
    const since = Date.now();
    this.#overrides.set(domain, { domain, allowed, since });
    this.#store
      .prepare('INSERT OR REPLACE INTO federation_overrides (domain, allowed, since) VALUES (?, ?, ?)')
      .run(domain, allowed ? 1 : 0, since);
    await this.#store.durable();
  }

  /** Forgets what was changed at run time: the file counts again. False where nothing was changed. */
  async clear(domain: string): Promise<boolean> {
    if (!this.#overrides.delete(domain)) return false;
    this.#store.prepare('DELETE FROM federation_overrides WHERE domain = ?').run(domain);
    await this.#store.durable();
    return true;
  }

  #wildcardOverride(domain: string): Override | undefined {
    for (const override of this.#overrides.values()) if (covers(override.domain, domain)) return override;
    return undefined;
  }
}
