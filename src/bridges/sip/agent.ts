// The user agent that every engine is above its network: what it answers, sends, watches, counts and shows.
import { version } from '../../hub/version.ts';
import type { TransactionTimes } from './clients.ts';
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
import type { Flow } from './flow.ts';
import { Guard } from './guard.ts';
import { type Header, type Message, writeRequest } from './message.ts';
import { type Carrier, nameAddr, Sender } from './sender.ts';
import type { ServerTransactions } from './servers.ts';
import type { EngineConfig, EnginePort } from './settings.ts';
import { Subscriptions } from './subscriptions.ts';
import { Uas } from './uas.ts';
import { parseUri } from './uri.ts';
import { Watcher } from './watcher.ts';

/** How requests leave and come in. */
export interface Network {
  readonly carrier: Carrier;
  readonly servers: ServerTransactions;
  readonly addresses: readonly string[];
  /** Opens it; from then on it hands requests to `agent.receive`. */
  start(agent: UserAgent): Promise<void>;
  stop(): Promise<void>;
  /** A dialog of ours is over. */
  forget(callId: string, tag: string): void;
  /** What is to be seen of it. */
  show(): Record<string, unknown>;
}

export interface AgentTimes {
  transactions: TransactionTimes;
  /** How long a handler may take, in ms. */
  handler: number;
}

/** What engines call themselves. */
export const agentName = `Isthmus/${version}`;
const mostErrors = 20;

export class UserAgent implements Engine {
  readonly #config: EngineConfig;
  readonly #port: EnginePort;
  readonly #times: AgentTimes;
  readonly #network: Network;
  readonly #sender: Sender;
  readonly #guard: Guard;
  readonly #subscriptions: Subscriptions;
  readonly #errors: { at: string; error: string }[] = [];
  readonly #metrics: EngineMetrics;
  #uas: Uas | null = null;

  constructor(config: EngineConfig, port: EnginePort, times: AgentTimes, network: Network) {
    this.#config = config;
    this.#port = port;
    this.#times = times;
    this.#network = network;
    this.#metrics = engineMetrics(port);
    this.#sender = new Sender(network.carrier, config.credentials);
    this.#guard = new Guard(config);
    this.#subscriptions = new Subscriptions(this.#sender, config.limits.subscriptions, (callId, tag) =>
      network.forget(callId, tag),
    );
  }

  get addresses(): readonly string[] {
    return this.#network.addresses;
  }

  async start(handler: EngineHandler): Promise<void> {
    this.#uas = new Uas({
      sender: this.#sender,
      guard: this.#guard,
      servers: this.#network.servers,
      subscriptions: this.#subscriptions,
      handler,
      body: this.#config.limits.body,
      agent: agentName,
      patience: this.#times.handler,
      count: (method, status) => this.#metrics.received(method, status),
      failed: (error, request) => {
        this.note(`${request.method}: ${(error as Error).message}`);
        this.#port.log.error({ err: error, method: request.method }, 'a SIP request could not be handled');
      },
    });
    await this.#network.start(this);
    this.#port.log.info({ listening: this.addresses }, 'SIP engine started');
  }

  async send(request: Outgoing): Promise<SipResponse> {
    const uri = parseUri(request.uri);
    if (!uri || !parseUri(request.from)) throw new SipSyntaxError('the request-URI or From is no URI');
    const user = parseUri(request.from)?.user ?? '';
    const headers: Header[] = [...(request.headers ?? [])];
    if (request.body?.length) headers.push(['Content-Type', request.contentType ?? 'application/octet-stream']);
    // What cannot be written is refused before anything is looked up.
    const [from, to] = [nameAddr(request.from, request.displayName), nameAddr(request.to ?? request.uri)];
    writeRequest(request.method, request.uri, [['From', from], ['To', to], ...headers]);
    let sequence = 0;
    const { outcome } = await this.#sender.send({
      method: request.method,
      uri: request.uri,
      routes: [],
      from,
      fromTag: randomToken(),
      to,
      toTag: '',
      callId: request.callId ?? `${randomToken()}${randomToken()}`,
      nextSequence: () => ++sequence,
      contactUser: request.method === 'REGISTER' || request.method === 'OPTIONS' ? user : null,
      headers,
      body: request.body,
      timeout: request.timeout,
    });
    this.#metrics.sent(request.method, outcome.kind === 'answered' ? outcome.response.status : 0);
    if (outcome.kind === 'answered') return this.#view(outcome.response);
    const reason = outcome.kind === 'silence' ? 'the peer does not answer' : outcome.reason;
    this.note(`${request.method} ${uri.host || uri.scheme}: ${reason}`);
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
      failed: ({ wish: { uri } }, reason) => this.note(`SUBSCRIBE ${parseUri(uri)?.host}: ${reason}`),
      over: one => this.#subscriptions.unwatch(one),
    });
    this.#subscriptions.watch(watcher);
    return watcher;
  }

  async stop(): Promise<void> {
    this.#subscriptions.stop();
    this.#network.servers.stop();
    await this.#network.stop();
  }

  show(): Record<string, unknown> {
    const { incoming, outgoing } = this.#subscriptions;
    const dialogs = [
      ...take(incoming, 100, one => ({
        direction: 'in',
        from: one.from,
        to: one.to,
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
    return {
      engine: this.#config.engine,
      listening: this.addresses,
      ...this.#network.show(),
      subscriptions: this.#subscriptions.counts,
      guard: { refused: this.#guard.refused, limited: this.#guard.limited },
      dialogs,
      'last errors': [...this.#errors],
    };
  }

  /** Takes a request from the network. */
  receive(request: Message, flow: Flow): void {
    this.#uas?.receive(request, flow);
  }

  /** Dialogs (Call-ID and our tag) that the network has lost: those that watch ask again, and learn that they are over. */
  dialogsLost(keys: readonly string[]): void {
    this.#subscriptions.dialogsLost(keys);
  }

  /** Notes what came and is no SIP. */
  garbage(reason: string, source: { protocol: string; address: string }): void {
    this.#metrics.garbage();
    this.note(`${source.protocol}:${source.address}: ${reason}`);
    this.#port.log.debug({ reason, address: source.address }, 'no SIP message');
  }

  #view(response: Message): SipResponse {
    return new ResponseView(response, decodeBody(response, this.#config.limits.body) ?? new Uint8Array(0));
  }

  /** Remembers an error for `show`. */
  note(error: string): void {
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
function engineMetrics({ metrics }: EnginePort): EngineMetrics {
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

/** The first so many, mapped. */
export function take<T, R>(items: Iterable<T>, most: number, map: (item: T) => R): R[] {
  const taken: R[] = [];
  for (const item of items) {
    if (taken.length >= most) break;
    taken.push(map(item));
  }
  return taken;
}
