// A message broker as the bridge sees it: one connection behind an interface, and the link that keeps one open.
import type { Log } from '../../hub/log.ts';
import type { Incoming } from './notification.ts';

export interface BrokerConfig {
  readonly name: string;
  readonly protocol: 'stomp' | 'amqp';
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** What STOMP calls the host: RabbitMQ has several behind one address, others do not look at it. */
  readonly virtualHost: string;
  readonly user: string;
  readonly password: string;
  /** A topic's name, or a whole destination where it begins with `/`. */
  readonly topic: string;
  /** Whether the broker keeps what comes while we are away. */
  readonly durable: boolean;
  /** Who we are to the broker: a durable subscription belongs to it. */
  readonly clientId: string;
}

/** One message; it stays with the broker until it is settled. */
export interface Delivery extends Incoming {
  /** The broker's own id of the message; '' where it has none. */
  readonly id: string;
  /** Bytes; more than `body` holds where it was too large to be kept. */
  readonly size: number;
  /** When it was sent, ms, or null. */
  readonly sent: number | null;
  /** `accept`: done; `reject`: it goes where the broker puts what nobody wants. */
  settle(outcome: 'accept' | 'reject'): void;
}

/** What a connection tells. After `closed` it tells nothing more. */
export interface ConnectionListener {
  /** The subscription is made. */
  opened(server: string): void;
  message(delivery: Delivery): void;
  /** The connection is lost or was refused; `refused`: the broker does not take our user or password. */
  closed(reason: string, refused: boolean): void;
}

export interface Connection {
  /** Stops and resumes reading, so that no more comes than is dealt with. */
  pause(paused: boolean): void;
  /** Ends it; says good-bye where it can. */
  end(): Promise<void>;
}

export type Connect = (
  config: BrokerConfig,
  authorities: readonly string[],
  listener: ConnectionListener,
) => Connection;

/** Messages that may be with us unsettled; brokers are asked for no more. */
export const prefetch = 500;

/** Pauses between attempts, ms; a refused password is tried rarely, lest the broker locks us out. */
export interface Pauses {
  first: number;
  most: number;
  refused: number;
  /** How long a connection may take to be made. */
  connect: number;
}

const usualPauses: Pauses = { first: 250, most: 30_000, refused: 60_000, connect: 10_000 };

/** Keeps one connection to a broker: makes it again whenever it is lost, with growing pauses. */
export class BrokerLink {
  readonly config: BrokerConfig;
  state: 'connecting' | 'connected' | 'waiting' | 'refused' | 'stopped' = 'stopped';
  /** What the broker says it is. */
  server = '';
  lastError = '';
  since = Date.now();
  readonly #connect: Connect;
  readonly #authorities: readonly string[];
  readonly #log: Log;
  readonly #take: (delivery: Delivery) => Promise<void>;
  readonly #pauses: Pauses;
  #connection: Connection | null = null;
  #generation = 0;
  #failures = 0;
  #unsettled = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(
    config: BrokerConfig,
    parts: {
      connect: Connect;
      authorities: readonly string[];
      log: Log;
      /** Resolves when the message is dealt with and settled. Never rejects. */
      take: (delivery: Delivery) => Promise<void>;
      pauses?: Partial<Pauses>;
    },
  ) {
    this.config = config;
    this.#connect = parts.connect;
    this.#authorities = parts.authorities;
    this.#log = parts.log.child({ broker: config.name });
    this.#take = parts.take;
    this.#pauses = { ...usualPauses, ...parts.pauses };
  }

  /** The messages that are being dealt with. */
  get unsettled(): number {
    return this.#unsettled;
  }

  start(): void {
    const generation = ++this.#generation;
    const { host, port } = this.config;
    this.#become('connecting');
    this.#timer = setTimeout(() => this.#lost(generation, 'it does not answer', false), this.#pauses.connect);
    this.#connection = this.#connect(this.config, this.#authorities, {
      opened: server => {
        if (generation !== this.#generation) return;
        clearTimeout(this.#timer!);
        this.#failures = 0;
        this.server = server;
        this.#become('connected');
        this.#log.info({ host, port, server }, 'broker connected');
      },
      message: delivery => {
        if (generation === this.#generation) this.#message(generation, delivery);
      },
      closed: (reason, refused) => this.#lost(generation, reason, refused),
    });
  }

  async stop(): Promise<void> {
    this.#generation++;
    if (this.#timer) clearTimeout(this.#timer);
    this.#become('stopped');
    const connection = this.#connection;
    this.#connection = null;
    await connection?.end();
  }

  #message(generation: number, delivery: Delivery): void {
    if (++this.#unsettled === prefetch) this.#connection?.pause(true);
    void this.#take(delivery).finally(() => {
      if (this.#unsettled-- === prefetch && generation === this.#generation) this.#connection?.pause(false);
    });
  }

  #lost(generation: number, reason: string, refused: boolean): void {
    if (generation !== this.#generation) return;
    this.#generation++;
    if (this.#timer) clearTimeout(this.#timer);
    void this.#connection?.end();
    this.#connection = null;
    this.lastError = reason;
    const { first, most, refused: long } = this.#pauses;
    const growing = Math.min(first * 2 ** Math.min(this.#failures++, 20), most) * (0.75 + Math.random() / 2);
    const pause = Math.round(refused ? long : growing);
    this.#become(refused ? 'refused' : 'waiting');
    if (refused) this.#log.error({ reason, pause }, 'broker refuses our user or password');
    else this.#log.warn({ reason, pause }, 'broker connection lost or not made');
    this.#timer = setTimeout(() => this.start(), pause);
  }

  #become(state: BrokerLink['state']): void {
    if (this.state !== state) this.since = Date.now();
    this.state = state;
  }
}
