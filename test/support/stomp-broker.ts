// A stand-in for a message broker, for tests, demo and bench: STOMP 1.2 with durable topics, and every way to misbehave.
import { createServer, type Server, type Socket } from 'node:net';
import { FrameCutter } from '../../src/bridges/calendar/frames.ts';

export interface BrokerOptions {
  user?: string;
  password?: string;
  port?: number;
  /** Leaves out `redelivered`, heart-beats and other things that real brokers leave out. */
  silent?: boolean;
}

interface Stored {
  id: string;
  headers: Record<string, string>;
  body: Buffer;
}

/** What a subscriber has not acknowledged, in order; it outlives the connection where it is durable. */
interface Subscription {
  destination: string;
  waiting: Map<string, Stored>;
  /** Ids that were sent on the connection that is open. */
  sent: Set<string>;
  link: Link | null;
  id: string;
  prefetch: number;
}

interface Link {
  socket: Socket;
  clientId: string;
  subscriptions: Map<string, Subscription>;
  beat: NodeJS.Timeout | null;
}

const escapes: Record<string, string> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', ':': '\\c' };

export class StompBroker {
  readonly options: BrokerOptions;
  readonly acknowledged: string[] = [];
  readonly dead: string[] = [];
  logins = 0;
  refusals = 0;
  port = 0;
  #server: Server | null = null;
  #frozen = false;
  #messages = 0;
  readonly #links = new Set<Link>();
  readonly #durable = new Map<string, Subscription>();
  readonly #watchers = new Set<() => void>();

  constructor(options: BrokerOptions = {}) {
    this.options = options;
    this.port = options.port ?? 0;
  }

  /** Listens, after a stop on the same port again. */
  async start(): Promise<this> {
    const server = createServer(socket => this.#accept(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
    this.port = (server.address() as { port: number }).port;
    return this;
  }

  /** Ends all connections; what was not acknowledged is kept for durable subscribers. */
  async stop(): Promise<void> {
    const closed = new Promise(resolve => this.#server?.close(resolve) ?? resolve(null));
    for (const { socket } of this.#links) socket.destroy();
    await closed;
    this.#server = null;
    this.#frozen = false;
  }

  /** From now on says nothing and hears nothing, on connections that stay open. */
  freeze(): void {
    this.#frozen = true;
    for (const { socket } of this.#links) socket.pause();
  }

  /** The subscriptions that have a connection. */
  get subscribers(): number {
    let count = 0;
    for (const { subscriptions } of this.#links) count += subscriptions.size;
    return count;
  }

  /** What is kept for durable subscribers. */
  get waiting(): number {
    return [...this.#durable.values()].reduce((sum, { waiting }) => sum + waiting.size, 0);
  }

  /** Publishes to a topic; gives the message's id. The same `message-id` can be given twice. */
  publish(topic: string, body: string | Uint8Array, headers: Record<string, string> = {}): string {
    const id = headers['message-id'] ?? `ID:stand-in-${++this.#messages}`;
    const message: Stored = { id, headers: { timestamp: String(Date.now()), ...headers }, body: Buffer.from(body) };
    const takers = new Set<Subscription>(this.#durable.values());
    for (const link of this.#links) for (const one of link.subscriptions.values()) takers.add(one);
    for (const subscription of takers) {
      if (subscription.destination !== `/topic/${topic}`) continue;
      subscription.waiting.set(`${id} ${++this.#messages}`, message);
      this.#feed(subscription);
    }
    return id;
  }

  /** Sends again what was not acknowledged, as brokers do after a failover. */
  redeliver(): void {
    for (const link of this.#links) {
      for (const subscription of link.subscriptions.values()) {
        subscription.sent.clear();
        this.#feed(subscription);
      }
    }
  }

  /** Resolves when a condition of the broker holds; rejects after `deadline` ms. */
  async until(condition: () => boolean, what: string, deadline = 10_000): Promise<void> {
    const end = Date.now() + deadline;
    while (!condition()) {
      if (Date.now() > end) throw new Error(`the broker waited in vain for ${what}`);
      await new Promise<void>(resolve => {
        const timer = setTimeout(done, 50);
        const watchers = this.#watchers;
        function done(): void {
          clearTimeout(timer);
          watchers.delete(done);
          resolve();
        }
        watchers.add(done);
      });
    }
  }

  #accept(socket: Socket): void {
    const link: Link = { socket, clientId: '', subscriptions: new Map(), beat: null };
    this.#links.add(link);
    const cutter = new FrameCutter(1024 * 1024, frame => this.#frame(link, frame));
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', chunk => !this.#frozen && cutter.push(chunk));
    socket.on('close', () => {
      if (link.beat) clearInterval(link.beat);
      this.#links.delete(link);
      for (const subscription of link.subscriptions.values()) subscription.link = null;
      this.#changed();
    });
  }

  #frame(link: Link, bytes: Uint8Array): void {
    const text = Buffer.from(bytes).toString();
    if (text.trim() === '') return;
    const [command, ...lines] = text.slice(0, text.indexOf('\n\n')).split('\n');
    const headers = Object.fromEntries(
      lines.map(line => {
        const at = line.indexOf(':');
        const value = line.slice(at + 1).replace(/\\[nrc\\]/g, c => ({ n: '\n', r: '\r', c: ':', '\\': '\\' })[c[1]]!);
        return [line.slice(0, at), value];
      }),
    );
    this.#command(link, command, headers);
    this.#changed();
  }

  #command(link: Link, command: string, headers: Record<string, string>): void {
    switch (command) {
      case 'CONNECT':
      case 'STOMP':
        return this.#connect(link, headers);
      case 'SUBSCRIBE':
        return this.#subscribe(link, headers);
      case 'ACK':
      case 'NACK':
        for (const subscription of link.subscriptions.values()) {
          if (!subscription.waiting.delete(headers.id)) continue;
          subscription.sent.delete(headers.id);
          (command === 'ACK' ? this.acknowledged : this.dead).push(headers.id.split(' ')[0]);
          this.#feed(subscription);
        }
        return;
      case 'DISCONNECT':
        this.#receipt(link, headers);
        link.socket.end();
    }
  }

  #connect(link: Link, headers: Record<string, string>): void {
    const { user = '', password = '' } = this.options;
    if (headers.login !== user || headers.passcode !== password) {
      this.refusals++;
      this.#send(link, 'ERROR', { message: 'User name or password is invalid.' });
      link.socket.end();
      return;
    }
    this.logins++;
    link.clientId = headers['client-id'] ?? '';
    const beats = this.options.silent ? '0,0' : '1000,1000';
    this.#send(link, 'CONNECTED', { version: '1.2', server: 'stand-in/1', 'heart-beat': beats });
    if (!this.options.silent) {
      link.beat = setInterval(() => !this.#frozen && link.socket.write('\n'), 1_000);
      link.beat.unref();
    }
  }

  #subscribe(link: Link, headers: Record<string, string>): void {
    const name = headers['activemq.subscriptionName'];
    const key = name ? `${link.clientId} ${name}` : '';
    const known = this.#durable.get(key);
    const subscription: Subscription = known ?? {
      destination: headers.destination,
      waiting: new Map(),
      sent: new Set(),
      link: null,
      id: '',
      prefetch: 0,
    };
    subscription.link = link;
    subscription.id = headers.id;
    subscription.prefetch = Number(headers['activemq.prefetchSize'] ?? 1_000);
    subscription.sent.clear();
    link.subscriptions.set(headers.id, subscription);
    if (key) this.#durable.set(key, subscription);
    this.#receipt(link, headers);
    this.#feed(subscription);
  }

  #receipt(link: Link, { receipt }: Record<string, string>): void {
    if (receipt) this.#send(link, 'RECEIPT', { 'receipt-id': receipt });
  }

  #feed(subscription: Subscription): void {
    const { link, waiting, sent, id, prefetch } = subscription;
    if (!link || this.#frozen) return;
    if (sent.size >= prefetch || sent.size === waiting.size) return;
    for (const [ack, message] of waiting) {
      if (sent.size >= prefetch) return;
      if (sent.has(ack)) continue;
      sent.add(ack);
      const headers = { ...message.headers, 'message-id': message.id, ack, subscription: id };
      this.#send(link, 'MESSAGE', { destination: subscription.destination, ...headers }, message.body);
    }
  }

  #send(link: Link, command: string, headers: Record<string, string>, body: Buffer = Buffer.alloc(0)): void {
    if (this.#frozen || link.socket.destroyed) return;
    const lines = Object.entries({ ...headers, 'content-length': String(body.length) }).map(
      ([name, value]) => `${name}:${value.replace(/[\\\n\r:]/g, c => escapes[c])}`,
    );
    if (link.socket.writableCorked === 0) {
      link.socket.cork();
      setImmediate(() => link.socket.uncork());
    }
    link.socket.write(`${command}\n${lines.join('\n')}\n\n`);
    link.socket.write(body);
    link.socket.write('\0');
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }
}
