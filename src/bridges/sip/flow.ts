// A flow: the way to one peer over one transport, and how bytes leave on it.
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { atEndOfTurn } from '../../xmpp/batch.ts';
import type { SipSource } from './engine.ts';
import type { Message } from './message.ts';
import { StreamParser } from './parser.ts';
import type { Protocol } from './settings.ts';

export interface Address {
  readonly address: string;
  readonly port: number;
}

export interface Flow {
  readonly protocol: Protocol;
  /** Whether the transport repeats and orders by itself: all but UDP. */
  readonly reliable: boolean;
  readonly remote: Address;
  /** What Via and Contact say, so that answers and requests of the peer come back here. */
  readonly local: Address;
  readonly certificateNames: readonly string[];
  /** Resolves when the bytes are on their way; rejects where the flow is gone or cannot keep up. */
  send(bytes: Uint8Array): Promise<void>;
  readonly closed: boolean;
  /** The same way to another port of the peer; a connection leads to one port only, and is itself the answer. */
  at(port: number): Flow;
  close(): void;
}

/** Takes what a transport receives. */
export interface Receiver {
  message(message: Message, flow: Flow): void;
  /** Something that is no SIP, or cannot be followed. */
  garbage(reason: string, source: SipSource): void;
  closed(flow: Flow): void;
}

const ping = Buffer.from('\r\n\r\n');
const pong = Buffer.from('\r\n');
const mostWaiting = 4 * 1024 * 1024;

/** What a flow tells of itself to those above the engine. */
export function sourceOf(flow: Flow): SipSource {
  const { protocol, remote, certificateNames } = flow;
  return { protocol, address: remote.address, port: remote.port, certificateNames };
}

/** An address as SIP sees it: IPv4 mapped into IPv6 is IPv4. */
export function plainAddress(address: string | undefined): string {
  return address?.startsWith('::ffff:') ? address.slice(7) : (address ?? '');
}

export interface StreamTimes {
  /** Between our keep-alives on connections that we made (RFC 5626 §4.4.1), in ms. */
  keepAlive: number;
  /** A connection that nothing came or went on for so long is closed, in ms. */
  idle: number;
}

/** A TCP or TLS connection. */
export class StreamFlow implements Flow {
  readonly protocol: Protocol;
  readonly reliable = true;
  readonly remote: Address;
  readonly local: Address;
  readonly certificateNames: readonly string[];
  readonly #socket: Socket;
  readonly #parser: StreamParser;
  readonly #receiver: Receiver;
  #keepAlive: NodeJS.Timeout | undefined;
  #waiting: Uint8Array[] = [];
  #closed = false;

  constructor(
    socket: Socket | TLSSocket,
    about: Pick<Flow, 'protocol' | 'local' | 'certificateNames'>,
    receiver: Receiver,
    options: { times: StreamTimes; body: number; ours: boolean },
  ) {
    this.protocol = about.protocol;
    this.local = about.local;
    this.certificateNames = about.certificateNames;
    this.remote = { address: plainAddress(socket.remoteAddress), port: socket.remotePort ?? 0 };
    this.#socket = socket;
    this.#receiver = receiver;
    this.#parser = new StreamParser(
      message => receiver.message(message, this),
      () => void this.send(pong).catch(() => {}),
      { head: 32 * 1024, body: options.body, headers: 256 },
    );
    socket.on('data', chunk => this.#read(chunk));
    socket.on('error', () => {}); // What it means comes with 'close'.
    socket.once('close', () => this.#gone());
    socket.setTimeout(options.times.idle, () => this.close());
    if (options.ours) {
      this.#keepAlive = setInterval(() => void this.send(ping).catch(() => {}), options.times.keepAlive);
      this.#keepAlive.unref();
    }
  }

  get closed(): boolean {
    return this.#closed;
  }

  send(bytes: Uint8Array): Promise<void> {
    if (this.#closed) return Promise.reject(new Error('the connection is closed'));
    if (this.#socket.writableLength > mostWaiting) return Promise.reject(new Error('the peer does not read'));
    if (this.#waiting.push(bytes) === 1) atEndOfTurn(this);
    return Promise.resolve();
  }

  at(): Flow {
    return this;
  }

  flush(): void {
    const parts = this.#waiting;
    this.#waiting = [];
    if (this.#closed || parts.length === 0) return;
    this.#socket.write(parts.length === 1 ? parts[0] : Buffer.concat(parts));
  }

  close(): void {
    if (this.#closed) return;
    this.flush();
    this.#socket.end();
    this.#socket.destroySoon();
    this.#gone();
  }

  #read(chunk: Buffer): void {
    if (this.#closed) return;
    try {
      this.#parser.push(chunk);
    } catch (error) {
      this.#receiver.garbage((error as Error).message, sourceOf(this));
      this.close();
    }
  }

  #gone(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#keepAlive);
    this.#receiver.closed(this);
  }
}
