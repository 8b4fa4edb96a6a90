// A SIP peer for tests: it reads and writes messages by the letter, over UDP, TCP, TLS and WebSocket.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { WebSocket } from 'ws';
import type { Message } from '../../src/bridges/sip/message.ts';
import { parseDatagram, StreamParser } from '../../src/bridges/sip/parser.ts';

export type PeerProtocol = 'udp' | 'tcp' | 'tls' | 'ws';

/** A message that came, and a way to answer it where it came from. */
export interface Heard {
  readonly message: Message;
  readonly text: string;
  reply(raw: string | Buffer): void;
}

export interface PeerOptions {
  tls?: { key: string; cert: string; ca: string };
}

let count = 0;

export class SipPeer {
  readonly protocol: PeerProtocol;
  host = '127.0.0.1';
  port = 0;
  /** All that was heard, in order. */
  readonly heard: Heard[] = [];
  /** Answers requests by itself; null leaves one unanswered. */
  onRequest: ((heard: Heard) => void) | null = null;
  readonly #options: PeerOptions;
  readonly #waiting: { wanted: (heard: Heard) => boolean; found: (heard: Heard) => void }[] = [];
  readonly #taken = new Set<Heard>();
  readonly #branches = new Set<string>();
  readonly #sockets = new Set<Socket>();
  #udp: UdpSocket | null = null;
  #server: Server | null = null;
  #client: Socket | null = null;
  #web: WebSocket | null = null;

  private constructor(protocol: PeerProtocol, options: PeerOptions) {
    this.protocol = protocol;
    this.#options = options;
  }

  /** Listens on a port of its own (WebSocket peers do not: they call). */
  static async open(protocol: PeerProtocol, options: PeerOptions = {}): Promise<SipPeer> {
    const peer = new SipPeer(protocol, options);
    if (protocol === 'udp') {
      const udp = createSocket('udp4');
      peer.#udp = udp;
      await new Promise<void>(resolve => udp.bind(0, peer.host, resolve));
      peer.port = udp.address().port;
      udp.on('message', (bytes, from) => {
        peer.#take(parseDatagram(bytes), bytes.toString('latin1'), raw => udp.send(raw, from.port, from.address));
      });
    } else if (protocol !== 'ws') {
      const accept = (socket: Socket) => peer.#attach(socket);
      const server =
        protocol === 'tls' ? createTlsServer({ ...options.tls, requestCert: false }, accept) : createServer(accept);
      peer.#server = server;
      server.on('connection', (socket: Socket) =>
        peer.#sockets.add(socket.on('close', () => peer.#sockets.delete(socket))),
      );
      await new Promise<void>(resolve => server.listen(0, peer.host, resolve));
      peer.port = (server.address() as AddressInfo).port;
    } else {
      peer.host = `${Math.random().toString(36).slice(2)}.invalid`;
    }
    return peer;
  }

  /** Connects to an engine; from then on `send` goes there. */
  async connect(port: number, host = '127.0.0.1'): Promise<void> {
    if (this.protocol === 'udp') {
      const udp = this.#udp!;
      this.#send = raw => udp.send(raw, port, host);
    } else if (this.protocol === 'ws') {
      const web = new WebSocket(`ws://${host}:${port}`, 'sip');
      this.#web = web;
      web.on('error', () => {});
      await new Promise<void>((resolve, reject) => {
        web.once('open', resolve);
        web.once('error', reject);
      });
      const reply = (raw: string | Buffer) => web.send(raw);
      web.on('message', (data: Buffer) => this.#take(parseDatagram(data), data.toString('latin1'), reply));
      this.#send = reply;
    } else {
      const socket: Socket =
        this.protocol === 'tls'
          ? connectTls({
              host,
              port,
              ca: this.#options.tls?.ca,
              cert: this.#options.tls?.cert,
              key: this.#options.tls?.key,
              checkServerIdentity: () => undefined,
            })
          : createConnection({ host, port });
      this.#client = socket;
      await new Promise<void>((resolve, reject) => {
        socket.once(this.protocol === 'tls' ? 'secureConnect' : 'connect', () => resolve());
        socket.once('error', reject);
      });
      this.#attach(socket);
      this.#send = raw => socket.write(raw);
    }
  }

  #send: (raw: string | Buffer) => void = () => {
    throw new Error('the peer is not connected');
  };

  /** Its host and port; a WebSocket client has a name that means nothing (RFC 7118 §5). */
  get place(): string {
    return this.port ? `${this.host}:${this.port}` : this.host;
  }

  /** The URI under which an engine reaches this peer. */
  uri(user: string): string {
    return `sip:${user}@${this.place}${this.protocol === 'udp' ? '' : `;transport=${this.protocol}`}`;
  }

  /** Sends bytes as they are. */
  raw(bytes: string | Buffer): void {
    this.#send(bytes);
  }

  /** A request with the headers that it must have; those given replace them. Returns its text. */
  compose(
    method: string,
    uri: string,
    headers: Record<string, string | undefined> = {},
    body: string | Buffer = '',
  ): Buffer {
    const id = ++count;
    const all: Record<string, string | undefined> = {
      Via: `SIP/2.0/${this.protocol.toUpperCase()} ${this.place};branch=z9hG4bKpeer${id}.${Math.random()};rport`,
      'Max-Forwards': '70',
      From: `"Peer" <sip:peer@sip.test>;tag=peer${id}`,
      To: `<${uri}>`,
      'Call-ID': `call-${id}-${Math.random()}`,
      CSeq: `${id} ${method}`,
      Contact: method === 'MESSAGE' ? undefined : `<${this.uri('peer')}>`,
      ...headers,
    };
    const bytes = Buffer.from(body);
    const lines = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]));
    return Buffer.concat([
      Buffer.from(`${method} ${uri} SIP/2.0\r\n${lines.join('\r\n')}\r\nContent-Length: ${bytes.length}\r\n\r\n`),
      bytes,
    ]);
  }

  /** Sends a request and resolves with its final answer. */
  async request(
    method: string,
    uri: string,
    headers: Record<string, string | undefined> = {},
    body: string | Buffer = '',
  ): Promise<Message> {
    const bytes = this.compose(method, uri, headers, body);
    const { branch } = parseDatagram(bytes);
    this.raw(bytes);
    return (
      await this.next(
        heard => !heard.message.isRequest && heard.message.branch === branch && heard.message.status >= 200,
      )
    ).message;
  }

  /** The text of an answer to a request that was heard. */
  answer(
    { message }: Heard,
    status: number,
    headers: Record<string, string> = {},
    body: string | Buffer = '',
    reason = 'Answer',
  ): Buffer {
    const to = message.header('to')!;
    const tagged = message.toTag || headers.To ? to : `${to};tag=peer-${this.port || 'ws'}`;
    const all: [string, string][] = [
      ...message.vias.map(via => ['Via', via] as [string, string]),
      ['From', message.header('from')!],
      ['To', tagged],
      ['Call-ID', message.callId],
      ['CSeq', message.header('cseq')!],
      ...Object.entries(headers),
    ];
    const bytes = Buffer.from(body);
    const lines = all.map(([name, value]) => `${name}: ${value}`).join('\r\n');
    return Buffer.concat([
      Buffer.from(`SIP/2.0 ${status} ${reason}\r\n${lines}\r\nContent-Length: ${bytes.length}\r\n\r\n`),
      bytes,
    ]);
  }

  /** The first message, heard already or to come, that was not taken before and that is wanted. */
  next(wanted: (heard: Heard) => boolean, patience = 3000): Promise<Heard> {
    const there = this.heard.find(heard => !this.#taken.has(heard) && wanted(heard));
    if (there) {
      this.#taken.add(there);
      return Promise.resolve(there);
    }
    return new Promise((resolve, reject) => {
      const limit = setTimeout(
        () => reject(new Error(`not heard; heard were:\n${this.heard.map(h => h.text).join('\n')}`)),
        patience,
      );
      this.#waiting.push({
        wanted,
        found: heard => {
          clearTimeout(limit);
          resolve(heard);
        },
      });
    });
  }

  /** The next request of a method; repeats of those that were taken do not count. */
  async nextRequest(method: string): Promise<Heard> {
    const heard = await this.next(({ message }) => message.method === method && !this.#branches.has(message.branch));
    this.#branches.add(heard.message.branch);
    return heard;
  }

  /** How many messages of that kind were heard. */
  count(wanted: (message: Message) => boolean): number {
    return this.heard.filter(({ message }) => wanted(message)).length;
  }

  /** Closes the connections and keeps listening. */
  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#web?.terminate();
  }

  async close(): Promise<void> {
    this.hangUp();
    this.#client?.destroy();
    this.#udp?.close();
    if (this.#server) await new Promise(resolve => this.#server!.close(resolve));
  }

  #attach(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    const reply = (raw: string | Buffer) => void socket.write(raw);
    const parser = new StreamParser(
      message =>
        this.#take(
          message,
          `${message.method || message.status} ${message.headers.map(h => h.join(': ')).join(' | ')}`,
          reply,
        ),
      () => socket.write('\r\n'),
    );
    socket.on('data', chunk => parser.push(chunk));
  }

  #take(message: Message, text: string, reply: (raw: string | Buffer) => void): void {
    const heard = { message, text, reply };
    this.heard.push(heard);
    const at = this.#waiting.findIndex(({ wanted }) => wanted(heard));
    if (at >= 0) {
      this.#taken.add(heard);
      this.#waiting.splice(at, 1)[0].found(heard);
    }
    if (message.isRequest) this.onRequest?.(heard);
  }
}
