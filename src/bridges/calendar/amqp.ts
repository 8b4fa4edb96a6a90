// AMQP 1.0: reaches RabbitMQ (a queue that is bound to the topic), Artemis, and others that speak it.
import { Buffer } from 'node:buffer';
import rhea from 'rhea';
import type { BrokerConfig, Connect, Connection, ConnectionListener } from './broker.ts';
import { prefetch } from './broker.ts';
import { largestBody } from './notification.ts';

/** The engine gives up after twice this long without a frame, and closes within a second more. */
const idle = 3_500;
/** The format that marks a message whose body was not kept: the engine does not try to decode it. */
const cutFormat = 0x1517;

export const connectAmqp: Connect = (config, authorities, listener) =>
  new AmqpConnection(config, authorities, listener);

class AmqpConnection implements Connection {
  readonly #connection: rhea.Connection;
  readonly #receiver: rhea.Receiver;
  readonly #listener: ConnectionListener;
  #failure = '';
  #refused = false;
  #ended = false;
  #paused = false;
  /** Credit that was not given back while paused. */
  #owed = 0;

  constructor(config: BrokerConfig, authorities: readonly string[], listener: ConnectionListener) {
    this.#listener = listener;
    const container = rhea.create_container();
    const { host, port, tls, user, password } = config;
    this.#connection = container.connect({
      ...(tls ? { transport: 'tls', ca: authorities.length > 0 ? [...authorities] : undefined } : {}),
      host,
      port,
      username: user || undefined,
      password: password || undefined,
      container_id: config.clientId,
      // A link of ours keeps the connection.
      reconnect: false,
      idle_time_out: idle,
      max_frame_size: 65_536,
    } as rhea.ConnectionOptions);
    this.#listen();
    this.#receiver = this.#connection.open_receiver({
      name: config.durable ? config.clientId : undefined,
      source: { address: config.topic, ...(config.durable ? { durable: 2, expiry_policy: 'never' } : {}) },
      autoaccept: false,
      credit_window: 0,
      max_message_size: largestBody + 65_536,
    });
    this.#receiver.add_credit(prefetch);
    guardSize(this.#receiver.session);
  }

  pause(paused: boolean): void {
    this.#paused = paused;
    if (!paused) this.#giveCredit(0);
  }

  async end(): Promise<void> {
    this.#ended = true;
    const closed = new Promise<void>(resolve => {
      this.#connection.once('disconnected', () => resolve());
      this.#connection.once('connection_close', () => resolve());
      setTimeout(resolve, 1_000).unref();
    });
    if (this.#connection.is_open()) {
      this.#connection.close();
      await closed;
    }
    destroySocket(this.#connection);
  }

  #listen(): void {
    const connection = this.#connection;
    const failed = (context: rhea.EventContext) => {
      const error = (context.connection?.error ?? context.receiver?.error ?? context.error) as
        | { condition?: string; description?: string; message?: string }
        | undefined;
      this.#failure ||= (error?.description || error?.message || error?.condition || '').slice(0, 300);
      const text = `${error?.condition ?? ''} ${error?.description ?? ''} ${error?.message ?? ''}`;
      this.#refused ||= /unauthorized|authenticat|access refused|security/i.test(text);
    };
    connection.on('receiver_open', () => this.#listener.opened(String(connection.remote?.open?.container_id ?? '')));
    connection.on('message', context => this.#message(context));
    connection.on('receiver_error', context => {
      failed(context);
      this.#closed();
    });
    // The engine throws an 'error' that nobody listens for.
    for (const event of ['connection_error', 'session_error', 'error', 'protocol_error'] as const) {
      connection.on(event, context => failed(context as rhea.EventContext));
    }
    connection.on('receiver_close', () => this.#closed());
    connection.on('session_close', () => this.#closed());
    connection.on('connection_close', () => this.#closed());
    connection.on('disconnected', context => {
      failed(context);
      this.#closed();
    });
  }

  #message({ message, delivery }: rhea.EventContext): void {
    const given = delivery as rhea.Delivery & { format?: number; cut?: number };
    if (!delivery || !message) return;
    const cut = given.cut;
    const body = cut === undefined ? bodyOf(message.body) : Buffer.alloc(0);
    this.#listener.message({
      id: cut === undefined ? idOf(message) : '',
      body,
      size: cut ?? body.length,
      type: String(message.content_type ?? ''),
      sent: message.creation_time ? Number(message.creation_time) : null,
      properties: cut === undefined ? propertiesOf(message) : new Map(),
      settle: outcome => {
        this.#giveCredit(1);
        if (this.#ended) return;
        if (outcome === 'accept') delivery.accept();
        else delivery.reject({ condition: 'amqp:decode-error', description: 'nothing can be made of it' });
      },
    });
  }

  #giveCredit(credit: number): void {
    this.#owed += credit;
    if (this.#ended || this.#paused || this.#owed < prefetch / 10) return;
    this.#receiver.add_credit(this.#owed);
    this.#owed = 0;
  }

  #closed(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#listener.closed(this.#failure || 'the broker closed the connection', this.#refused);
    destroySocket(this.#connection);
  }
}

function destroySocket(connection: rhea.Connection): void {
  (connection as unknown as { socket?: { destroy(): void } }).socket?.destroy();
}

function idOf(message: rhea.Message): string {
  const id: unknown = message.message_id;
  if (id === undefined || id === null) return '';
  return Buffer.isBuffer(id) ? id.toString('hex') : String(id);
}

/** Text, bytes, or a data section; anything else (a map, a list) has no text. */
function bodyOf(body: unknown): Uint8Array {
  if (typeof body === 'string') return Buffer.from(body);
  if (body instanceof Uint8Array) return body;
  const content = (body as { content?: unknown } | undefined)?.content;
  if (Array.isArray(content)) return Buffer.concat(content.filter(part => part instanceof Uint8Array));
  return content instanceof Uint8Array ? content : Buffer.alloc(0);
}

function propertiesOf(message: rhea.Message): Map<string, string> {
  const properties = new Map<string, string>();
  if (message.subject) properties.set('subject', String(message.subject));
  for (const [name, value] of Object.entries((message.application_properties ?? {}) as Record<string, unknown>)) {
    if (['string', 'number', 'boolean', 'bigint'].includes(typeof value)) {
      properties.set(name.toLowerCase(), String(value));
    }
  }
  return properties;
}

interface Transfer {
  performative: { message_format?: number };
  payload?: Buffer;
}
interface Partial {
  frames?: Buffer[];
  format?: number;
  cut?: number;
}

/**
 * COMPAT(rhea): it keeps the frames of a message until the last has come, however many there are. Those of a message
 * that is too large are dropped as they come, and the message is handed on without them.
 */
function guardSize(session: rhea.Session): void {
  const { incoming } = session as unknown as {
    incoming: { on_transfer(frame: Transfer, receiver: { _incomplete?: Partial }): void };
  };
  const take = incoming.on_transfer.bind(incoming);
  incoming.on_transfer = (frame, receiver) => {
    const partial = receiver._incomplete;
    if (partial?.frames) {
      const length = partial.cut ?? partial.frames.reduce((sum, one) => sum + one.length, 0);
      const size = length + (frame.payload?.length ?? 0);
      if (size > largestBody + 65_536) {
        partial.cut = size;
        partial.format = cutFormat;
        partial.frames = [Buffer.alloc(0)];
        frame.payload = undefined;
      }
    }
    take(frame, receiver);
  };
}
