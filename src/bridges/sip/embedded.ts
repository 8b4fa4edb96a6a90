// The embedded engine: a SIP user agent of its own, from the sockets up.
import { version } from '../../hub/version.ts';
import { ClientTransactions, type TransactionTimes, transactionTimes } from './clients.ts';
import { decodeBody, localResponse, ResponseView } from './content.ts';
import { randomToken } from './core.ts';
import {
  type Engine,
  type EngineHandler,
  type Outgoing,
  type SipResponse,
  SipSyntaxError,
  type SubscriptionOut,
  type Watching,
  type WatchListener,
} from './engine.ts';
import type { Flow, Receiver } from './flow.ts';
import { Guard } from './guard.ts';
import { Locator } from './locate.ts';
import { type Header, type Message, writeRequest } from './message.ts';
import { nameAddr, Sender } from './sender.ts';
import { ServerTransactions } from './servers.ts';
import type { EngineConfig, EnginePort } from './settings.ts';
import { Subscriptions } from './subscriptions.ts';
import { Transports, type TransportTimes, transportTimes } from './transports.ts';
import { Uas } from './uas.ts';
import { parseUri } from './uri.ts';
import { Watcher } from './watcher.ts';

export interface EmbeddedTimes {
  transactions: TransactionTimes;
  transports: TransportTimes;
  /** How long a handler may take, in ms. */
  handler: number;
}

const defaultTimes: EmbeddedTimes = { transactions: transactionTimes, transports: transportTimes, handler: 30_000 };
const mostErrors = 20;

/** Makes the embedded engine. `times` are those of RFC 3261 unless a test wants others. */
export function createEmbedded(config: EngineConfig, port: EnginePort, times: EmbeddedTimes = defaultTimes): Engine {
  return new Embedded(config, port, times);
}

class Embedded implements Engine, Receiver {
  readonly #config: EngineConfig;
  readonly #port: EnginePort;
  readonly #times: EmbeddedTimes;
  readonly #agent = `Isthmus/${version}`;
  readonly #transports: Transports;
  readonly #clients: ClientTransactions;
  readonly #servers: ServerTransactions;
  readonly #sender: Sender;
  readonly #guard: Guard;
  readonly #subscriptions: Subscriptions;
  readonly #errors: { at: string; error: string }[] = [];
  readonly #metrics: EngineMetrics;
  #uas: Uas | null = null;

  constructor(config: EngineConfig, port: EnginePort, times: EmbeddedTimes) {
    this.#config = config;
    this.#port = port;
    this.#times = times;
    this.#metrics = engineMetrics(port);
    this.#transports = new Transports(config, port, this, times.transports);
    this.#clients = new ClientTransactions(times.transactions);
    this.#servers = new ServerTransactions(times.transactions, (address, at) =>
      this.#transports.flowTo({ protocol: 'tcp', address, port: at, names: [] }),
    );
    this.#sender = new Sender({
      locator: new Locator(port.resolver, config.routes),
      transports: this.#transports,
      clients: this.#clients,
      credentials: config.credentials,
      agent: this.#agent,
    });
    this.#guard = new Guard(config);
    this.#subscriptions = new Subscriptions(this.#sender, config.limits.subscriptions);
  }

  get addresses(): readonly string[] {
    return this.#transports.addresses;
  }

  async start(handler: EngineHandler): Promise<void> {
    this.#uas = new Uas({
      sender: this.#sender,
      guard: this.#guard,
      servers: this.#servers,
      subscriptions: this.#subscriptions,
      handler,
      body: this.#config.limits.body,
      agent: this.#agent,
      patience: this.#times.handler,
      count: (method, status) => this.#metrics.received(method, status),
      failed: (error, request) => {
        this.#note(`${request.method}: ${(error as Error).message}`);
        this.#port.log.error({ err: error, method: request.method }, 'a SIP request could not be handled');
      },
    });
    await this.#transports.start();
    this.#port.log.info({ listening: this.addresses }, 'SIP engine started');
  }

  async send(request: Outgoing): Promise<SipResponse> {
    const uri = parseUri(request.uri);
    if (!uri || !parseUri(request.from)) throw new SipSyntaxError('the request-URI or From is no URI');
    const user = parseUri(request.from)?.user ?? '';
    const headers: Header[] = [...(request.headers ?? [])];
    if (request.body?.length) headers.push(['Content-Type', request.contentType ?? 'application/octet-stream']);
    // What cannot be written is refused before anything is looked up.
    writeRequest(request.method, request.uri, headers);
    let sequence = 0;
    const { outcome } = await this.#sender.send({
      method: request.method,
      uri: request.uri,
      routes: [],
      from: nameAddr(request.from, request.displayName),
      fromTag: randomToken(),
      to: nameAddr(request.to ?? request.uri),
      toTag: '',
      callId: `${randomToken()}${randomToken()}`,
      nextSequence: () => ++sequence,
      contactUser: request.method === 'REGISTER' || request.method === 'OPTIONS' ? user : null,
      headers,
      body: request.body,
      timeout: request.timeout,
    });
    this.#metrics.sent(request.method, outcome.kind === 'answered' ? outcome.response.status : 0);
    if (outcome.kind === 'answered') return this.#view(outcome.response);
    const reason = outcome.kind === 'silence' ? 'the peer does not answer' : outcome.reason;
    this.#note(`${request.method} ${uri.host || uri.scheme}: ${reason}`);
    return outcome.kind === 'silence' ? localResponse(408) : localResponse(503, reason);
  }

  subscribe(wish: Watching, listener: WatchListener): SubscriptionOut {
    if (!parseUri(wish.uri) || !parseUri(wish.from))
      throw new SipSyntaxError('whom to watch, or who watches, is no URI');
    const headers: Header[] = [
      ['Event', wish.event],
      ['From', nameAddr(wish.from, wish.displayName)],
      ...(wish.headers ?? []),
    ];
    writeRequest('SUBSCRIBE', wish.uri, headers);
    const watcher = new Watcher(wish, listener, {
      sender: this.#sender,
      patience: 64 * this.#times.transactions.t1,
      body: this.#config.limits.body,
      over: one => this.#subscriptions.unwatch(one),
    });
    this.#subscriptions.watch(watcher);
    return watcher;
  }

  async stop(): Promise<void> {
    this.#subscriptions.stop();
    this.#clients.stop();
    this.#servers.stop();
    await this.#transports.stop();
  }

  show(): Record<string, unknown> {
    const { incoming, outgoing } = this.#subscriptions;
    const dialogs = [
      ...take(incoming, 100, one => ({
        direction: 'in',
        from: one.request.from,
        to: one.request.to,
        event: one.event,
        state: one.state,
      })),
      ...take(outgoing, 100, one => ({
        direction: 'out',
        from: one.wish.from,
        to: one.wish.uri,
        event: one.wish.event,
        state: one.state,
      })),
    ];
    const connections = take(
      this.#transports.flows,
      100,
      flow => `${flow.protocol}:${flow.remote.address}:${flow.remote.port}`,
    );
    return {
      engine: 'embedded',
      listening: this.addresses,
      connections,
      transactions: { client: this.#clients.count, server: this.#servers.count, repeated: this.#servers.repeated },
      subscriptions: this.#subscriptions.counts,
      guard: { refused: this.#guard.refused, limited: this.#guard.limited },
      dialogs,
      'last errors': [...this.#errors],
    };
  }

  message(message: Message, flow: Flow): void {
    if (message.isRequest) this.#uas?.receive(message, flow);
    else this.#clients.receive(message);
  }

  garbage(reason: string, source: { protocol: string; address: string }): void {
    this.#metrics.garbage();
    this.#note(`${source.protocol}:${source.address}: ${reason}`);
    this.#port.log.debug({ reason, address: source.address }, 'no SIP message');
  }

  closed(flow: Flow): void {
    this.#clients.lost(flow);
  }

  #view(response: Message): SipResponse {
    return new ResponseView(response, decodeBody(response, this.#config.limits.body) ?? new Uint8Array(0));
  }

  #note(error: string): void {
    if (this.#errors.length >= mostErrors) this.#errors.shift();
    this.#errors.push({ at: new Date().toISOString(), error: error.slice(0, 300) });
  }
}

interface EngineMetrics {
  received(method: string, status: number): void;
  sent(method: string, status: number): void;
  garbage(): void;
}

const counted = new Set(['MESSAGE', 'SUBSCRIBE', 'NOTIFY', 'PUBLISH', 'OPTIONS', 'REGISTER', 'INVITE']);

/** Counters of the engine; methods and statuses come from a closed list and from hundreds. */
export function engineMetrics({ metrics }: EnginePort): EngineMetrics {
  const received = metrics.counter('isthmus_sip_requests_received_total', 'SIP requests answered', [
    'method',
    'status',
  ]);
  const sent = metrics.counter('isthmus_sip_requests_sent_total', 'SIP requests sent; status 0 for no answer', [
    'method',
    'status',
  ]);
  const garbage = metrics.counter('isthmus_sip_garbage_total', 'What came on SIP transports and was no SIP').bind();
  const named = (method: string) => (counted.has(method) ? method : 'other');
  const hundreds = (status: number) => (status === 0 ? '0' : `${Math.floor(status / 100)}xx`);
  return {
    received: (method, status) => received.bind(named(method), hundreds(status)).add(),
    sent: (method, status) => sent.bind(named(method), hundreds(status)).add(),
    garbage: () => garbage.add(),
  };
}

function take<T, R>(items: Iterable<T>, most: number, map: (item: T) => R): R[] {
  const taken: R[] = [];
  for (const item of items) {
    if (taken.length >= most) break;
    taken.push(map(item));
  }
  return taken;
}
