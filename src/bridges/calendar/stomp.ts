// STOMP 1.2 over TCP and TLS: reaches ActiveMQ, Artemis, RabbitMQ, and Open MQ through its STOMP bridge.
import { Buffer } from 'node:buffer';
import { createConnection, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Client, type IMessage, type IStompSocket, StompSocketState } from '@stomp/stompjs';
import type { BrokerConfig, Connect, Connection, ConnectionListener, Delivery } from './broker.ts';
import { prefetch } from './broker.ts';
import { cutHeader, FrameCutter } from './frames.ts';
import { largestBody } from './notification.ts';

/** A server that is silent for twice this long is frozen: noticed within 8 s. */
const heartbeat = 2_500;

export const connectStomp: Connect = (config, authorities, listener) =>
  new StompConnection(config, authorities, listener);

class StompConnection implements Connection {
  readonly #client: Client;
  readonly #config: BrokerConfig;
  readonly #listener: ConnectionListener;
  #adapter: SocketAdapter | null = null;
  #failure = '';
  #refused = false;
  #ended = false;

  constructor(config: BrokerConfig, authorities: readonly string[], listener: ConnectionListener) {
    this.#config = config;
    this.#listener = listener;
    this.#client = new Client({
      webSocketFactory: () => (this.#adapter = new SocketAdapter(openSocket(config, authorities), config.tls)),
      connectHeaders: {
        login: config.user,
        passcode: config.password,
        host: config.virtualHost,
        ...(config.durable ? { 'client-id': config.clientId } : {}),
      },
      heartbeatIncoming: heartbeat,
      heartbeatOutgoing: heartbeat,
      // A link of ours keeps the connection; the client would make one again without asking.
      reconnectDelay: 0,
      connectionTimeout: 0,
      discardWebsocketOnCommFailure: true,
      // The default makes a text of every frame, whether somebody reads it or not.
      logRawCommunication: false,
      onConnect: frame => this.#subscribe(frame.headers.server ?? ''),
      onStompError: frame => this.#failed(frame.headers.message ?? 'an ERROR frame', frame.body),
      onHeartbeatLost: () => {
        this.#failure ||= 'the broker is silent';
      },
      onWebSocketError: event => {
        this.#failure ||= (event as unknown as Error).message;
      },
      onWebSocketClose: () => this.#closed(),
    });
    this.#client.activate();
  }

  pause(paused: boolean): void {
    this.#adapter?.pause(paused);
  }

  async end(): Promise<void> {
    this.#ended = true;
    const stopped = this.#client.deactivate({ force: !this.#client.connected });
    const limit = setTimeout(() => this.#adapter?.close(), 1_000);
    await stopped.catch(() => {});
    clearTimeout(limit);
    this.#adapter?.close();
  }

  #subscribe(server: string): void {
    const { topic, durable, clientId } = this.#config;
    const receipt = 'subscribed';
    this.#client.watchForReceipt(receipt, () => this.#listener.opened(server));
    this.#client.subscribe(topic.startsWith('/') ? topic : `/topic/${topic}`, message => this.#message(message), {
      id: durable ? clientId : 'isthmus',
      ack: 'client-individual',
      receipt,
      'activemq.prefetchSize': String(prefetch),
      'prefetch-count': String(prefetch),
      // Each broker has a name of its own for a durable subscription; the others leave it unread.
      ...(durable
        ? {
            'activemq.subscriptionName': clientId,
            'durable-subscription-name': clientId,
            durable: 'true',
            'auto-delete': 'false',
          }
        : {}),
    });
  }

  #message(message: IMessage): void {
    const { headers } = message;
    const properties = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
    const body = message.binaryBody;
    const settle: Delivery['settle'] = outcome => {
      if (this.#ended || !this.#client.connected) return;
      // COMPAT(stompjs): it throws where the connection is lost between the two.
      try {
        if (outcome === 'accept') message.ack();
        else message.nack();
      } catch (error) {
        this.#failure ||= (error as Error).message;
      }
    };
    this.#listener.message({
      id: headers['message-id'] ?? '',
      body,
      size: Number(headers[cutHeader] ?? body.length),
      type: headers['content-type'] ?? '',
      sent: /^\d{1,15}$/.test(headers.timestamp ?? '') ? Number(headers.timestamp) : null,
      properties,
      settle,
    });
  }

  #failed(message: string, body: string): void {
    // COMPAT(ActiveMQ, RabbitMQ): no condition tells a refused login from other errors, the text does.
    const text = `${message} ${body.slice(0, 300)}`;
    this.#refused ||= /password|credential|login|authenticat|access refused|security|not authori[sz]ed/i.test(text);
    this.#failure ||= message.slice(0, 300);
    this.#adapter?.close();
  }

  #closed(): void {
    if (this.#ended) return;
    this.#ended = true;
    // COMPAT(RabbitMQ): after a refused login the connection may end before its ERROR frame is read.
    this.#listener.closed(this.#failure || 'the broker closed the connection', this.#refused);
    void this.#client.deactivate({ force: true });
  }
}

function openSocket(config: BrokerConfig, authorities: readonly string[]): Socket {
  const { host, port, tls } = config;
  if (!tls) return createConnection({ host, port, noDelay: true });
  const ca = authorities.length > 0 ? [...authorities] : undefined;
  return connectTls({ host, port, ca, servername: /^[\d.]+$|:/.test(host) ? '' : host });
}

/** What the STOMP client takes for a WebSocket: a TCP or TLS socket, its bytes cut into frames. */
class SocketAdapter implements IStompSocket {
  readonly url = '';
  onclose: IStompSocket['onclose'] = null;
  onerror: IStompSocket['onerror'] = null;
  onmessage: IStompSocket['onmessage'] = null;
  onopen: IStompSocket['onopen'] = null;
  binaryType = 'arraybuffer';
  readonly #socket: Socket;
  #state: StompSocketState = StompSocketState.CONNECTING;

  constructor(socket: Socket, tls: boolean) {
    this.#socket = socket;
    const cutter = new FrameCutter(largestBody, bytes => this.onmessage?.({ data: exactBuffer(bytes) }));
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      this.#state = StompSocketState.OPEN;
      this.onopen?.();
    });
    socket.on('data', chunk => {
      try {
        cutter.push(chunk);
      } catch (error) {
        socket.destroy(error as Error);
      }
    });
    socket.on('error', error => this.onerror?.(error));
    socket.on('close', () => {
      this.#state = StompSocketState.CLOSED;
      this.onclose?.({ code: 1006, reason: '', wasClean: false });
    });
  }

  get readyState(): StompSocketState {
    return this.#state;
  }

  send(data: string | ArrayBufferLike | Blob | ArrayBufferView): void {
    if (this.#state !== StompSocketState.OPEN) return;
    // Acknowledgements of one turn leave in one write.
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork();
      setImmediate(() => this.#socket.uncork());
    }
    this.#socket.write(typeof data === 'string' ? data : Buffer.from(data as ArrayBuffer));
  }

  pause(paused: boolean): void {
    if (paused) this.#socket.pause();
    else this.#socket.resume();
  }

  close(): void {
    if (this.#state === StompSocketState.CLOSED) return;
    this.#state = StompSocketState.CLOSING;
    this.#socket.destroySoon();
    setTimeout(() => this.#socket.destroy(), 500).unref();
  }

  terminate(): void {
    this.#state = StompSocketState.CLOSING;
    this.#socket.destroy();
  }
}

function exactBuffer(bytes: Uint8Array): ArrayBuffer {
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
}
