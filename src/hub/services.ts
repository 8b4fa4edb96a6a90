// The domains that modules serve beside the hosted ones, such as pubsub.DOMAIN: a route behind those of the configuration.
import type { Jid } from '../xmpp/jid.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Config } from './config.ts';
import type { Origin, Route } from './router.ts';

/** A module's own domains, for any configuration, and who takes stanzas for them. */
export interface Service {
  readonly name: string;
  domains(config: Config): readonly string[];
  deliver(stanza: Stanza, origin: Origin): void | Promise<void>;
}

export class Services implements Route {
  readonly name = 'services';
  readonly #services: Service[] = [];
  #byDomain: ReadonlyMap<string, Service> = new Map();

  add(service: Service, config: Config): void {
    this.#services.push(service);
    this.configure(config);
  }

  /** Takes over a configuration. */
  configure(config: Config): void {
    this.#byDomain = new Map(
      this.#services.flatMap(service => service.domains(config).map(domain => [domain, service] as const)),
    );
  }

  get domains(): string[] {
    return [...this.#byDomain.keys()];
  }

  describe(): string[] {
    return [...this.#byDomain].map(([domain, { name }]) => `${domain} (${name})`);
  }

  owns(to: Jid): boolean {
    return this.#byDomain.has(to.domain);
  }

  deliver(stanza: Stanza, origin: Origin): void | Promise<void> {
    return this.#byDomain.get(stanza.to!.domain)!.deliver(stanza, origin);
  }
}
