// SIP over WebSocket (RFC 7118): one message a frame, subprotocol `sip`; the peers are clients, which we never call.
import { isUtf8 } from 'node:buffer';
import { createServer as createHttp, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { Socket } from 'node:net';
import type { SecureContextOptions, TlsOptions } from 'node:tls';
import { type WebSocket, WebSocketServer } from 'ws';
import { type Address, type Flow, plainAddress, type Receiver, sourceOf } from './flow.ts';
import { defaultLimits, parseDatagram } from './parser.ts';

const mostWaiting = 4 * 1024 * 1024;

export interface WebSocketOptions {
  /** Present for wss. */
  tls: (SecureContextOptions & Pick<TlsOptions, 'SNICallback'>) | null;
  /** A message's body, in bytes. */
  body: number;
  /** Pings keep the connection open and find dead ones, in ms. */
  keepAlive: number;
  /** Says why a connection is refused, or null; called for each one once. */
  admit(socket: Socket): string | null;
  opened(flow: Flow): void;
}

/** Listens; resolves with what closes it and with the bound address. Rejects where the address cannot be had. */
export async function listenWebSocket(
  host: string,
  port: number,
  receiver: Receiver,
  options: WebSocketOptions,
): Promise<{ address: Address; server: Server }> {
  const { tls } = options;
  const server = tls ? createHttps(tls) : createHttp();
  server.on('request', (_request, response) => {
    response.writeHead(426, { 'Content-Type': 'text/plain', Upgrade: 'websocket' });
    response.end('SIP over WebSocket is spoken here (RFC 7118)\n');
  });
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: defaultLimits.head + options.body,
    handleProtocols: offered => (offered.has('sip') ? 'sip' : false),
  });
  server.on('connection', (socket: Socket) => {
    if (options.admit(socket)) socket.destroy();
  });
  server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => {});
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map(name => name.trim());
    if (!offered.includes('sip')) {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, client => {
      options.opened(new WebSocketFlow(client, request, tls !== null, receiver, options));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', () => {});
  const bound = server.address() as { address: string; port: number };
  return { address: { address: bound.address, port: bound.port }, server };
}

class WebSocketFlow implements Flow {
  readonly protocol: 'ws' | 'wss';
  readonly reliable = true;
  readonly remote: Address;
  readonly local: Address;
  readonly certificateNames: readonly string[] = [];
  readonly #client: WebSocket;
  readonly #receiver: Receiver;
  readonly #body: number;
  readonly #pings: NodeJS.Timeout;
  #alive = true;
  #closed = false;

  constructor(
    client: WebSocket,
    request: IncomingMessage,
    secure: boolean,
    receiver: Receiver,
    options: WebSocketOptions,
  ) {
    const { socket } = request;
    this.protocol = secure ? 'wss' : 'ws';
    this.remote = { address: plainAddress(socket.remoteAddress), port: socket.remotePort ?? 0 };
    this.local = { address: plainAddress(socket.localAddress), port: socket.localPort ?? 0 };
    this.#client = client;
    this.#receiver = receiver;
    this.#body = options.body;
    client.on('message', (data: Buffer) => this.#read(data));
    client.on('pong', () => {
      this.#alive = true;
    });
    client.on('error', () => {});
    client.on('close', () => this.#gone());
    this.#pings = setInterval(() => this.#ping(), options.keepAlive);
    this.#pings.unref();
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(bytes: Uint8Array): Promise<void> {
    if (this.#closed) return Promise.reject(new Error('the connection is closed'));
    if (this.#client.bufferedAmount > mostWaiting) return Promise.reject(new Error('the peer does not read'));
    // Text where it is text, for peers that expect SIP in text frames only.
    this.#client.send(bytes, { binary: !isUtf8(bytes) }, () => {});
    return Promise.resolve();
  }

  at(): Flow {
    return this;
  }

  close(): void {
    if (this.#closed) return;
    this.#client.close(1001);
    this.#gone();
  }

  #ping(): void {
    if (!this.#alive) {
      this.#client.terminate();
      return;
    }
    this.#alive = false;
    this.#client.ping();
  }

  #read(data: Buffer): void {
    if (data.length <= 4 && data.every(byte => byte === 13 || byte === 10)) {
      if (data.length === 4) void this.send(Buffer.from('\r\n')).catch(() => {});
      return;
    }
    try {
      this.#receiver.message(parseDatagram(data, { ...defaultLimits, body: this.#body }), this);
    } catch (error) {
      this.#receiver.garbage((error as Error).message, sourceOf(this));
      this.close();
    }
  }

  #gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#pings);
    this.#receiver.closed(this);
  }
}
