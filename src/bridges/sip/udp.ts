// SIP over UDP: sockets that stay, and a flow for each peer that something was heard of or is said to.
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type Address, type Flow, plainAddress, type Receiver } from './flow.ts';
import { defaultLimits, parseDatagram } from './parser.ts';

/** One UDP socket. */
export class UdpListener {
  readonly #socket: Socket;
  readonly #receiver: Receiver;
  readonly #body: number;
  readonly #flows = new Map<string, UdpFlow>();
  #local: Address = { address: '', port: 0 };
  #closed = false;

  constructor(family: 4 | 6, receiver: Receiver, body: number) {
    this.#socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      recvBufferSize: 1 << 20,
      sendBufferSize: 1 << 20,
    });
    this.#receiver = receiver;
    this.#body = body;
  }

  get family(): 4 | 6 {
    return isIPv6(this.#socket.address().address) ? 6 : 4;
  }

  /** Binds; `advertised` replaces the address bound to in what we say of ourselves. Rejects where it cannot be had. */
  async bind(host: string, port: number, advertised: (bound: Address) => Address): Promise<Address> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.once('error', reject);
      this.#socket.bind(port, host, () => {
        this.#socket.off('error', reject);
        resolve();
      });
    });
    // An error of one datagram (an ICMP answer, say) is not one of the socket.
    this.#socket.on('error', () => {});
    this.#socket.on('message', (bytes, from) => this.#read(bytes, from));
    const { address, port: bound } = this.#socket.address();
    this.#local = advertised({ address, port: bound });
    return { address, port: bound };
  }

  flowTo(remote: Address): Flow {
    const key = `${remote.address} ${remote.port}`;
    let flow = this.#flows.get(key);
    if (!flow) {
      // Flows are cheap and made again when needed: what is forgotten here is only the object.
      if (this.#flows.size >= mostFlows) this.#flows.delete(this.#flows.keys().next().value!);
      flow = new UdpFlow(this.#socket, this.#localFor(remote.address), remote);
      this.#flows.set(key, flow);
    }
    return flow;
  }

  /** On a socket for all addresses, what we say of ourselves depends on where the peer is. */
  #localFor(remote: string): Address {
    const { address, port } = this.#local;
    if (address !== '0.0.0.0' && address !== '::') return this.#local;
    const six = address === '::';
    if (remote.startsWith('127.') || remote === '::1') return { address: six ? '::1' : '127.0.0.1', port };
    const own = Object.values(networkInterfaces()).flat();
    const found = own.find(one => one && !one.internal && (one.family === 'IPv6') === six);
    return { address: found?.address ?? address, port };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket.close();
  }

  #read(bytes: Buffer, from: RemoteInfo): void {
    const flow = this.flowTo({ address: plainAddress(from.address), port: from.port });
    // Keep-alives: CRLF CRLF, or a single NUL as some phones send.
    if (bytes.length <= 4 && bytes.every(byte => byte === 13 || byte === 10 || byte === 0)) return;
    try {
      this.#receiver.message(parseDatagram(bytes, { ...defaultLimits, body: this.#body }), flow);
    } catch (error) {
      const { protocol, remote, certificateNames } = flow;
      this.#receiver.garbage((error as Error).message, { protocol, ...remote, certificateNames });
    }
  }
}

const mostFlows = 20_000;
const noNames: readonly string[] = [];

class UdpFlow implements Flow {
  readonly protocol = 'udp';
  readonly reliable = false;
  readonly certificateNames = noNames;
  readonly closed = false;
  readonly local: Address;
  readonly remote: Address;
  readonly #socket: Socket;

  constructor(socket: Socket, local: Address, remote: Address) {
    this.#socket = socket;
    this.local = local;
    this.remote = remote;
  }

  send(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      try {
        this.#socket.send(bytes, this.remote.port, this.remote.address, error => (error ? reject(error) : resolve()));
      } catch (error) {
        reject(error as Error); // The socket is closed.
      }
    });
  }

  at(port: number): Flow {
    return new UdpFlow(this.#socket, this.local, { address: this.remote.address, port });
  }

  close(): void {}
}
