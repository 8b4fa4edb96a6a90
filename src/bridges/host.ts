// Runs the configured bridges inside the hub: a route for their domains, and the port that each is given.
import type { Resolver } from '../hub/dns.ts';
import type { Kernel } from '../hub/hub.ts';
import type { Origin, Route } from '../hub/router.ts';
import { ConfigError } from '../hub/settings.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Bridge, BridgeKind, BridgePort, InsidePort } from './bridge.ts';

/** What a bridge needs from its surroundings besides the kernel. */
export interface Surroundings {
  resolver: Resolver;
  http: InsidePort['http'];
  refusal: BridgePort['refusal'];
}

interface Running {
  name: string;
  kind: string;
  domains: readonly string[];
  bridge: Bridge;
}

export class BridgeHost implements Route {
  readonly name = 'bridges';
  readonly #kinds: readonly BridgeKind[];
  readonly #running: Running[] = [];
  readonly #byDomain = new Map<string, Running>();
  #hub!: Kernel;
  /** The domains that bridges share with XMPP: `SharedDomains` chooses. */
  readonly sharedDomains = new Set<string>();

  constructor(kinds: readonly BridgeKind[]) {
    this.#kinds = kinds;
  }

  describe(): string[] {
    return this.#running.flatMap(({ name, kind, domains }) =>
      domains.map(domain => `${domain} (${kind} bridge ${name})`),
    );
  }

  owns(to: Jid): boolean {
    return this.#byDomain.has(to.domain);
  }

  deliver(stanza: Stanza, origin: Origin): void | Promise<void> {
    // The answer to what a bridge asked (`BridgePort.ask`): the hub waits for it.
    if (stanza.name === 'iq' && !stanza.isRequest) return this.#hub.answer(stanza, origin);
    return this.#byDomain.get(stanza.to!.domain)!.bridge.send(stanza);
  }

  /** Makes the bridges of the configuration. Throws ConfigError. Their ports listen to the hub before modules do. */
  create(hub: Kernel, surroundings: Surroundings): void {
    this.#hub = hub;
    for (const [name, { kind, section }] of hub.config.bridges) {
      const known = this.#kinds.find(one => one.kind === kind);
      if (!known) {
        throw section.fail(
          'kind',
          `there is no bridge of kind ${kind}; known are ${this.#kinds.map(k => k.kind).join(', ')}`,
        );
      }
      const config = known.config(section);
      const domains = known.domains(config);
      for (const domain of domains) {
        if ((hub.hosts(domain) && !known.shares) || this.#byDomain.has(domain)) {
          throw new ConfigError(`bridges.${name}: the domain ${domain} is served by something else already`);
        }
      }
      const port = this.#port(name, domains, hub, surroundings);
      const bridge = known.create(config, hub.config.attach ? { ...port, inside: undefined } : port);
      const running = { name, kind, domains, bridge };
      this.#running.push(running);
      for (const domain of domains) this.#byDomain.set(domain, running);
      if (known.shares) for (const domain of domains) this.sharedDomains.add(domain);
    }
    hub.itemsFrom(() =>
      [...this.#byDomain].filter(([jid]) => !hub.hosts(jid)).map(([jid, { name }]) => ({ jid, name })),
    );
  }

  async start(): Promise<void> {
    for (const { bridge } of this.#running) await bridge.start();
  }

  async stop(): Promise<void> {
    for (const { bridge } of this.#running.splice(0).reverse()) await bridge.stop();
    this.#byDomain.clear();
  }

  /** The bridge of that name, as configured. Throws an Error that names those there are. */
  find(name: string): Bridge {
    const running = this.#running.find(one => one.name === name);
    if (running) return running.bridge;
    const names = this.#running.map(one => one.name).join(', ');
    throw new Error(`there is no bridge ${name}; ${names ? `there are: ${names}` : 'none is configured'}`);
  }

  /** A line for each bridge. */
  list(): { name: string; kind: string; domains: string }[] {
    return this.#running.map(({ name, kind, domains }) => ({ name, kind, domains: domains.join(' ') }));
  }

  #port(name: string, domains: readonly string[], hub: Kernel, surroundings: Surroundings): BridgePort {
    const origin: Origin = { kind: 'bridge', name };
    return {
      domains,
      receive: stanza => {
        if (!stanza.from || !domains.includes(stanza.from.domain)) {
          throw new StanzaError(
            'not-allowed',
            `the bridge ${name} does not speak for ${stanza.from?.domain ?? 'nobody'}`,
          );
        }
        return hub.router.route(stanza, origin);
      },
      config: hub.config,
      store: hub.store,
      directory: domain => hub.directory(domain),
      resolver: surroundings.resolver,
      refusal: surroundings.refusal,
      log: hub.log.child({ bridge: name }),
      metrics: hub.metrics,
      ask: (request, timeout) => hub.ask(request, timeout),
      inside: {
        online: user => hub.sessions.of(user).some(session => session.presence !== null && session.priority >= 0),
        hosts: domain => hub.hosts(domain),
        onOffline: listener => hub.on('message-offline', listener),
        onRemoved: listener => hub.on('account-removed', listener),
        setPresence: (user, source, presence) => void hub.emit('presence-source', user, source, presence),
        http: surroundings.http,
      },
    };
  }
}
