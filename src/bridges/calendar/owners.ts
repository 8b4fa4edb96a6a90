// Whose calendar it is: from the mail addresses and names in a notification to users of ours.
import { Jid } from '../../xmpp/jid.ts';
import type { BridgePort } from '../bridge.ts';

const mostKnown = 50_000;
const lifetime = 60_000;
/** Somebody unknown may be added at any time. */
const absence = 1_000;

interface Known {
  user: Jid | null;
  until: number;
}

/** Finds users; what was found is believed for a minute. */
export class Owners {
  readonly #port: BridgePort;
  readonly #mailDomains: ReadonlyMap<string, string>;
  readonly #known = new Map<string, Known>();

  constructor(port: BridgePort, mailDomains: ReadonlyMap<string, string>) {
    this.#port = port;
    this.#mailDomains = mailDomains;
  }

  /**
   * The user whom a mail address, a user name or an address of ours means; null for nobody. Answers at once where it
   * can, so that the messages of one user keep their order. Rejects when the directory cannot be asked now.
   */
  find(name: string): Jid | null | Promise<Jid | null> {
    const known = this.#known.get(name);
    if (known && known.until > Date.now()) return known.user;
    const found = this.#look(name);
    return found instanceof Promise ? found.then(user => this.#note(name, user)) : this.#note(name, found);
  }

  /** The users that some names mean, each once. */
  findAll(names: readonly string[]): Jid[] | Promise<Jid[]> {
    const found = names.map(name => this.find(name));
    return found.some(one => one instanceof Promise)
      ? Promise.all(found).then(unique)
      : unique(found as (Jid | null)[]);
  }

  #note(name: string, user: Jid | null): Jid | null {
    if (this.#known.size >= mostKnown) this.#known.delete(this.#known.keys().next().value!);
    this.#known.delete(name);
    this.#known.set(name, { user, until: Date.now() + (user ? lifetime : absence) });
    return user;
  }

  #look(name: string): Jid | null | Promise<Jid | null> {
    const at = name.lastIndexOf('@');
    if (at < 0) return name.length > 200 ? null : this.#account(name, [...this.#port.config.domains.keys()], 0);
    const domain = name.slice(at + 1);
    const mapped = this.#mailDomains.get(domain) ?? domain;
    if (!this.#port.inside) {
      // The users live elsewhere: only the configuration can tell which mail addresses are theirs.
      return this.#mailDomains.has(domain) ? Jid.tryParse(`${name.slice(0, at)}@${mapped}`) : null;
    }
    return this.#lookUp(name, name.slice(0, at), mapped);
  }

  /** By mail in every directory, then as an address of ours. */
  async #lookUp(mail: string, user: string, domain: string): Promise<Jid | null> {
    for (const hosted of this.#port.config.domains.keys()) {
      const person = await this.#port.directory(hosted)?.findByMail?.(mail);
      if (!person) continue;
      // Routing will ask for the account: now the directory has it at hand.
      await this.#port.directory(hosted)?.find(person.user);
      return Jid.tryParse(`${person.user}@${hosted}`);
    }
    return this.#account(user, this.#port.config.domains.has(domain) ? [domain] : [], 0);
  }

  /** The account of that name in the first of the domains that has one. */
  #account(user: string, domains: readonly string[], from: number): Jid | null | Promise<Jid | null> {
    for (let i = from; i < domains.length; i++) {
      const jid = Jid.tryParse(`${user}@${domains[i]}`);
      if (!jid?.local || jid.resource) continue;
      const person = this.#port.directory(domains[i])?.find(jid.local);
      if (person instanceof Promise) return person.then(one => (one ? jid : this.#account(user, domains, i + 1)));
      if (person) return jid;
    }
    return null;
  }
}

function unique(found: readonly (Jid | null)[]): Jid[] {
  const users = new Map<string, Jid>();
  for (const user of found) if (user) users.set(user.toString(), user);
  return [...users.values()];
}
