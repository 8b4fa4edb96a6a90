// Who may administer a domain: those whom its configuration names, and those whom they have let in since.
import type { Hub } from '../hub/module.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';

const schema = [
  'CREATE TABLE admins (domain TEXT NOT NULL, jid TEXT NOT NULL, PRIMARY KEY (domain, jid)) WITHOUT ROWID',
];

export class Admins {
  readonly #hub: Hub;
  readonly #added = new Map<string, Set<string>>();

  constructor(hub: Hub) {
    this.#hub = hub;
    hub.store.migrate('admins', schema);
    for (const row of hub.store.prepare('SELECT domain, jid FROM admins').all()) {
      this.#of(String(row.domain)).add(String(row.jid));
    }
  }

  /** Whether an address may administer a hosted domain; its resource does not count. */
  has(domain: string, jid: Jid): boolean {
    const bare = jid.bare.toString();
    return this.#named(domain).includes(bare) || (this.#added.get(domain)?.has(bare) ?? false);
  }

  /** The hosted domains that an address may administer. */
  domainsOf(jid: Jid): string[] {
    return [...this.#hub.config.domains.keys()].filter(domain => this.has(domain, jid));
  }

  /** Bare JIDs, those of the configuration first. */
  list(domain: string): string[] {
    return [...new Set([...this.#named(domain), ...(this.#added.get(domain) ?? [])])];
  }

  /** Makes these the admins of a domain. Throws `not-allowed` where one that the configuration names is missing. */
  async set(domain: string, jids: readonly Jid[]): Promise<void> {
    const wanted = new Set(jids.map(jid => jid.bare.toString()));
    const named = this.#named(domain);
    const missing = named.filter(jid => !wanted.has(jid));
    if (missing.length > 0) {
      throw new StanzaError('not-allowed', `the configuration names ${missing.join(', ')}; take them out there`);
    }
    const { store } = this.#hub;
    const added = [...wanted].filter(jid => !named.includes(jid));
    store.atomic(() => {
      store.prepare('DELETE FROM admins WHERE domain = ?').run(domain);
      for (const jid of added) store.prepare('INSERT INTO admins (domain, jid) VALUES (?, ?)').run(domain, jid);
    });
    this.#added.set(domain, new Set(added));
    await store.durable();
  }

  /** Forgets an account that is gone: who takes its name next has none of its rights. */
  forget(jid: Jid): void {
    const bare = jid.bare.toString();
    for (const added of this.#added.values()) added.delete(bare);
    this.#hub.store.prepare('DELETE FROM admins WHERE jid = ?').run(bare);
  }

  #named(domain: string): readonly string[] {
    return this.#hub.config.domains.get(domain)?.admins ?? [];
  }

  #of(domain: string): Set<string> {
    let added = this.#added.get(domain);
    if (!added) this.#added.set(domain, (added = new Set()));
    return added;
  }
}

const ofHub = new WeakMap<Hub, Admins>();

/** The admins of a hub; all modules share them. */
export function adminsOf(hub: Hub): Admins {
  let admins = ofHub.get(hub);
  if (!admins) ofHub.set(hub, (admins = new Admins(hub)));
  return admins;
}
