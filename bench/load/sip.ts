// A SIP peer that costs little: writes and reads messages as text, for measuring what is on the other end of its socket.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createConnection, createServer, type Server, type Socket } from 'node:net';

export interface SipText {
  /** The request's method, or '' for a response. */
  method: string;
  uri: string;
  status: number;
  head: string;
  body: string;
}

/** A header's value, by its long name as we and our peers write it. */
export function headerOf(message: SipText, name: string): string {
  const at = message.head.indexOf(`\r\n${name}: `);
  if (at < 0) return '';
  const start = at + name.length + 4;
  const end = message.head.indexOf('\r\n', start);
  return message.head.slice(start, end < 0 ? undefined : end);
}

/** All Via lines, as a response repeats them. */
function vias(message: SipText): string {
  return message.head
    .split('\r\n')
    .filter(line => line.startsWith('Via: ') || line.startsWith('Record-Route: '))
    .join('\r\n');
}

/** A response; `more` are whole lines. */
export function respond(message: SipText, status: number, tag = '', more = ''): string {
  const to = headerOf(message, 'To');
  return (
    `SIP/2.0 ${status} OK\r\n${vias(message)}\r\nFrom: ${headerOf(message, 'From')}\r\n` +
    `To: ${to}${tag && !to.includes(';tag=') ? `;tag=${tag}` : ''}\r\nCall-ID: ${headerOf(message, 'Call-ID')}\r\n` +
    `CSeq: ${headerOf(message, 'CSeq')}\r\n${more}Content-Length: 0\r\n\r\n`
  );
}

function parse(head: string, body: string): SipText {
  const line = head.slice(0, head.indexOf('\r\n'));
  const [first, second] = line.split(' ', 2);
  const isResponse = first === 'SIP/2.0';
  return { method: isResponse ? '' : first, uri: isResponse ? '' : second, status: Number(second) || 0, head, body };
}

type Reply = (text: string) => void;
type Take = (message: SipText, reply: Reply) => void;

/** Listens on one port for UDP and TCP, and keeps one connection to the other side for what it sends. */
export class SipLoad {
  readonly #udp: UdpSocket;
  readonly #server: Server;
  readonly #take: Take;
  #out: Socket | null = null;
  #outBatch: string[] = [];
  readonly port: number;

  private constructor(udp: UdpSocket, server: Server, port: number, take: Take) {
    this.#udp = udp;
    this.#server = server;
    this.#take = take;
    this.port = port;
    udp.on('message', (bytes, from) => {
      const text = bytes.toString();
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      take(parse(text.slice(0, end), text.slice(end + 4)), reply => udp.send(reply, from.port, from.address));
    });
    server.on('connection', socket => this.#read(socket));
  }

  static async start(port: number, take: Take): Promise<SipLoad> {
    const udp = createSocket({ type: 'udp4', recvBufferSize: 8 * 1024 * 1024 });
    await new Promise<void>(resolve => udp.bind(port, '127.0.0.1', resolve));
    const server = createServer();
    await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve));
    return new SipLoad(udp, server, port, take);
  }

  /** Sends to the hub: over one connection, or as one datagram. */
  send(text: string, port: number, protocol: 'udp' | 'tcp'): void {
    if (protocol === 'udp') {
      this.#udp.send(text, port, '127.0.0.1');
      return;
    }
    if (!this.#out) {
      this.#out = createConnection({ host: '127.0.0.1', port });
      this.#read(this.#out);
    }
    if (this.#outBatch.push(text) === 1) {
      setImmediate(() => {
        this.#out?.write(this.#outBatch.join(''));
        this.#outBatch = [];
      });
    }
  }

  close(): void {
    this.#udp.close();
    this.#server.close();
    this.#out?.destroy();
  }

  #read(socket: Socket): void {
    let rest = '';
    const replies: string[] = [];
    const reply = (text: string) => {
      if (replies.push(text) === 1) {
        setImmediate(() => {
          if (socket.writable) socket.write(replies.join(''));
          replies.length = 0;
        });
      }
    };
    socket.setNoDelay(true).on('error', () => {});
    // Bodies here are ASCII: a character is a byte.
    socket.on('data', chunk => {
      rest += chunk.toString('latin1');
      let at = 0;
      for (;;) {
        const end = rest.indexOf('\r\n\r\n', at);
        if (end < 0) break;
        const head = rest.slice(at, end);
        const length = Number(/\r\nContent-Length: *(\d+)/i.exec(head)?.[1] ?? 0);
        if (rest.length < end + 4 + length) break;
        const body = rest.slice(end + 4, end + 4 + length);
        at = end + 4 + length;
        if (head.trim() !== '') this.#take(parse(head, body), reply);
      }
      rest = rest.slice(at);
    });
  }
}
