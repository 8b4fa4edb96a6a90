// The embedded engine: a SIP user agent of its own, from the sockets up.
import { type AgentTimes, agentName, type Network, take, UserAgent } from './agent.ts';
import { NetworkCarrier } from './carrier.ts';
import { ClientTransactions, transactionTimes } from './clients.ts';
import type { Engine } from './engine.ts';
import type { Flow, Receiver } from './flow.ts';
import { Locator } from './locate.ts';
import type { Message } from './message.ts';
import { ServerTransactions } from './servers.ts';
import type { EngineConfig, EnginePort } from './settings.ts';
import { Transports, type TransportTimes, transportTimes } from './transports.ts';

export interface EmbeddedTimes extends AgentTimes {
  transports: TransportTimes;
}

const defaultTimes: EmbeddedTimes = { transactions: transactionTimes, transports: transportTimes, handler: 30_000 };

/** Makes the embedded engine. `times` are those of RFC 3261 unless a test wants others. */
export function createEmbedded(config: EngineConfig, port: EnginePort, times: EmbeddedTimes = defaultTimes): Engine {
  return new UserAgent(config, port, times, new OwnNetwork(config, port, times));
}

/** Sockets, transactions, and the way to a peer by RFC 3263. */
class OwnNetwork implements Network, Receiver {
  readonly carrier: NetworkCarrier;
  readonly servers: ServerTransactions;
  readonly #transports: Transports;
  readonly #clients: ClientTransactions;
  #agent: UserAgent | null = null;

  constructor(config: EngineConfig, port: EnginePort, times: EmbeddedTimes) {
    this.#transports = new Transports(config, port, this, times.transports);
    this.#clients = new ClientTransactions(times.transactions);
    this.servers = new ServerTransactions(times.transactions, (address, at) =>
      this.#transports.flowTo({ protocol: 'tcp', address, port: at, names: [] }),
    );
    this.carrier = new NetworkCarrier({
      locator: new Locator(port.resolver, config.routes),
      transports: this.#transports,
      clients: this.#clients,
      agent: agentName,
    });
  }

  get addresses(): readonly string[] {
    return this.#transports.addresses;
  }

  start(agent: UserAgent): Promise<void> {
    this.#agent = agent;
    return this.#transports.start();
  }

  async stop(): Promise<void> {
    this.#clients.stop();
    await this.#transports.stop();
  }

  forget(): void {}

  show(): Record<string, unknown> {
    return {
      connections: take(
        this.#transports.flows,
        100,
        flow => `${flow.protocol}:${flow.remote.address}:${flow.remote.port}`,
      ),
      transactions: { client: this.#clients.count, server: this.servers.count, repeated: this.servers.repeated },
    };
  }

  message(message: Message, flow: Flow): void {
    if (message.isRequest) this.#agent?.receive(message, flow);
    else this.#clients.receive(message);
  }

  garbage(reason: string, source: { protocol: string; address: string }): void {
    this.#agent?.garbage(reason, source);
  }

  closed(flow: Flow): void {
    this.#clients.lost(flow);
  }
}
