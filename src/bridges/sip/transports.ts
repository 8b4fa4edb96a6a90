// The transports together: listeners as configured, connections made when needed and used again, certificates looked at.
import { createServer, isIPv6, type Server, type Socket } from 'node:net';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { connectRaced } from '../../hub/connect.ts';
import { ConnectionGuard, formatEndpoint } from '../../hub/listener.ts';
import { type Address, type Flow, plainAddress, type Receiver, StreamFlow, type StreamTimes } from './flow.ts';
import type { EngineConfig, EnginePort, ListenConfig, Protocol } from './settings.ts';
import { matches, namesOf, TlsFiles } from './tls.ts';
import { UdpListener } from './udp.ts';
import { bareHost, formatHost, parseHostPort } from './uri.ts';
import { listenWebSocket } from './websocket.ts';

/** Where to send: an address found by RFC 3263. */
export interface Hop extends Address {
  readonly protocol: Protocol;
  /** The names of which the peer's certificate must have one (RFC 5922 §4); empty for transports without TLS. */
  readonly names: readonly string[];
}

export interface TransportTimes extends StreamTimes {
  /** For a connection with its TLS, in ms. */
  connect: number;
}

/** What peers get to take their last bytes in when the engine stops, in ms. */
const goodbyePatience = 500;

export const transportTimes: TransportTimes = { keepAlive: 60_000, idle: 900_000, connect: 10_000 };

export class Transports {
  readonly #config: EngineConfig;
  readonly #port: EnginePort;
  readonly #receiver: Receiver;
  readonly #times: TransportTimes;
  readonly #guard: ConnectionGuard;
  readonly #tls: TlsFiles;
  readonly #udp: UdpListener[] = [];
  readonly #servers: Server[] = [];
  readonly #bound: (ListenConfig & { port: number })[] = [];
  /** protocol, address and port → the connection; and all there are */
  readonly #connections = new Map<string, Flow>();
  readonly #connecting = new Map<string, Promise<Flow>>();
  readonly #flows = new Set<Flow>();
  /** Accepted connections, those in their TLS handshake too. */
  readonly #accepted = new Set<Socket>();
  #stopped = false;

  constructor(config: EngineConfig, port: EnginePort, receiver: Receiver, times = transportTimes) {
    this.#config = config;
    this.#port = port;
    this.#times = times;
    this.#guard = new ConnectionGuard(port.connections);
    this.#tls = new TlsFiles(config, port);
    this.#receiver = {
      message: (message, flow) => receiver.message(message, flow),
      garbage: (reason, source) => receiver.garbage(reason, source),
      closed: flow => {
        this.#forget(flow);
        receiver.closed(flow);
      },
    };
  }

  /** `udp:127.0.0.1:5060`: what is listened on. */
  get addresses(): string[] {
    return this.#bound.map(bound => `${bound.protocol}:${formatEndpoint(bound)}`);
  }

  get flows(): ReadonlySet<Flow> {
    return this.#flows;
  }

  /** Opens the listeners. Rejects with an Error that names the one that cannot be had. */
  async start(): Promise<void> {
    for (const listen of this.#config.listen) {
      try {
        const bound = await this.#listen(listen);
        this.#bound.push({ ...listen, port: bound.port });
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        const why =
          code === 'EADDRINUSE'
            ? 'something else listens there'
            : code === 'EACCES'
              ? 'that port needs more rights'
              : message;
        throw new Error(`listen: ${listen.protocol}:${formatEndpoint(listen)}: ${why}`);
      }
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const closed = this.#servers.map(server => new Promise<void>(resolve => server.close(() => resolve())));
    for (const flow of [...this.#flows]) flow.close();
    for (const udp of this.#udp) udp.close();
    const limit = setTimeout(() => {
      for (const socket of this.#accepted) socket.destroy();
    }, goodbyePatience);
    await Promise.all(closed);
    clearTimeout(limit);
  }

  /** A flow to that hop: one that is open already, or a new one. Rejects with an Error that says why there is none. */
  async flowTo(hop: Hop): Promise<Flow> {
    if (hop.protocol === 'udp') return (await this.#udpFor(hop.address)).flowTo(hop);
    const key = keyOf(hop.protocol, hop);
    const open = this.#connections.get(key);
    // The peer at that address may be several domains, each with a certificate of its own.
    const known = hop.names.length === 0 || open?.certificateNames.some(name => hop.names.includes(name));
    if (open && !open.closed && known) return open;
    if (hop.protocol === 'ws' || hop.protocol === 'wss') throw new Error('the WebSocket of that peer is gone');
    const wanted = `${key} ${hop.names.join(' ')}`;
    let connecting = this.#connecting.get(wanted);
    if (!connecting) {
      connecting = this.#connect(hop).finally(() => this.#connecting.delete(wanted));
      this.#connecting.set(wanted, connecting);
    }
    return connecting;
  }

  #listen(listen: ListenConfig): Promise<Address> {
    switch (listen.protocol) {
      case 'udp':
        return this.#listenUdp(listen.host, listen.port);
      case 'tcp':
      case 'tls':
        return this.#listenStream(listen);
      default:
        return this.#listenWebSocket(listen);
    }
  }

  async #listenUdp(host: string, port: number): Promise<Address> {
    const udp = new UdpListener(isIPv6(host) ? 6 : 4, this.#receiver, this.#config.limits.body);
    const bound = await udp.bind(host, port, at => this.#advertised(at));
    this.#udp.push(udp);
    return bound;
  }

  /** The UDP socket for that family; one is opened where none is listened on. */
  async #udpFor(address: string): Promise<UdpListener> {
    const family = isIPv6(address) ? 6 : 4;
    const known = this.#udp.find(udp => udp.family === family);
    if (known) return known;
    await this.#listenUdp(family === 6 ? '::' : '0.0.0.0', 0);
    return this.#udp.at(-1)!;
  }

  #listenStream(listen: ListenConfig): Promise<Address> {
    const { protocol } = listen;
    if (protocol === 'tls') this.#tls.check();
    const server = createServer({ noDelay: true }, socket => {
      socket.on('error', () => {});
      const refusal = this.#guard.admit(socket);
      if (refusal !== null) {
        this.#port.log.warn({ address: socket.remoteAddress, reason: refusal }, 'SIP connection refused');
        socket.destroy();
      } else if (protocol === 'tcp') this.#open(socket, 'tcp', [], false);
      else this.#acceptTls(socket);
    });
    this.#add(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(listen.port, listen.host, () => {
        server.off('error', reject);
        server.on('error', () => {});
        resolve(server.address() as Address);
      });
    });
  }

  #add(server: Server): void {
    this.#servers.push(server);
    server.on('connection', socket => {
      this.#accepted.add(socket);
      socket.once('close', () => this.#accepted.delete(socket));
    });
  }

  #acceptTls(socket: Socket): void {
    const secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: this.#tls.context,
      requestCert: true,
      rejectUnauthorized: false,
    });
    const limit = setTimeout(() => secure.destroy(), this.#times.connect);
    secure.on('error', () => clearTimeout(limit));
    secure.once('close', () => clearTimeout(limit));
    secure.once('secure', () => {
      clearTimeout(limit);
      // A socket wrapped by hand has the verdict here and not in `authorized`.
      const verdict = (secure as unknown as { ssl: { verifyError(): Error | null } }).ssl.verifyError();
      this.#open(secure, 'tls', verdict ? [] : namesOf(secure), false);
    });
  }

  async #listenWebSocket(listen: ListenConfig): Promise<Address> {
    const secure = listen.protocol === 'wss';
    const { address, server } = await listenWebSocket(listen.host, listen.port, this.#receiver, {
      tls: secure
        ? {
            ...this.#tls.pair,
            // Read anew when the file changes.
            SNICallback: (_name, done) => done(null, this.#tls.context),
          }
        : null,
      body: this.#config.limits.body,
      keepAlive: this.#times.keepAlive,
      admit: socket => this.#guard.admit(socket),
      opened: flow => this.#remember(flow),
    });
    this.#add(server);
    return address;
  }

  async #connect(hop: Hop): Promise<Flow> {
    const family = isIPv6(hop.address) ? 6 : 4;
    const socket = await connectRaced([{ address: hop.address, family }], hop.port, { timeout: this.#times.connect });
    if (this.#stopped) {
      socket.destroy();
      throw new Error('the engine is stopped');
    }
    if (hop.protocol === 'tcp') return this.#open(socket, 'tcp', [], true);
    const secure = await this.#secure(socket, hop);
    return this.#open(secure, 'tls', namesOf(secure), true);
  }

  #secure(socket: Socket, hop: Hop): Promise<TLSSocket> {
    return new Promise((resolve, reject) => {
      const servername = hop.names.find(name => !/^[0-9.]+$|:/.test(name));
      const secure = connectTls({
        socket,
        secureContext: this.#tls.context,
        servername,
        checkServerIdentity: () => undefined,
      });
      const limit = setTimeout(() => secure.destroy(new Error('TLS took too long')), this.#times.connect);
      secure.once('error', error => {
        clearTimeout(limit);
        reject(new Error(`TLS: ${error.message}`));
      });
      secure.once('close', () => reject(new Error('the peer closed the connection')));
      secure.once('secureConnect', () => {
        clearTimeout(limit);
        const names = namesOf(secure);
        const match = hop.names.some(name => names.some(shown => matches(shown, name)));
        if (match) return resolve(secure);
        secure.destroy();
        reject(
          new Error(
            `the certificate is for ${names.slice(0, 5).join(', ') || 'nobody'}, not for ${hop.names.join(' or ')}`,
          ),
        );
      });
    });
  }

  #open(socket: Socket, protocol: 'tcp' | 'tls', certificateNames: string[], ours: boolean): Flow {
    const local = this.#contactOf(protocol, {
      address: plainAddress(socket.localAddress),
      port: socket.localPort ?? 0,
    });
    const about = { protocol, local, certificateNames };
    const flow = new StreamFlow(socket, about, this.#receiver, {
      times: this.#times,
      body: this.#config.limits.body,
      ours,
    });
    if (this.#stopped) flow.close();
    else this.#remember(flow);
    return flow;
  }

  #remember(flow: Flow): void {
    this.#flows.add(flow);
    this.#connections.set(keyOf(flow.protocol, flow.remote), flow);
  }

  #forget(flow: Flow): void {
    this.#flows.delete(flow);
    const key = keyOf(flow.protocol, flow.remote);
    if (this.#connections.get(key) === flow) this.#connections.delete(key);
  }

  /** Where a peer reaches us by this transport: the listener where there is one, else the connection's own end. */
  #contactOf(protocol: Protocol, own: Address): Address {
    const listener = this.#bound.find(bound => bound.protocol === protocol);
    return listener ? this.#advertised({ address: own.address, port: listener.port }) : own;
  }

  #advertised(at: Address): Address {
    if (!this.#config.advertise) return at;
    const place = parseHostPort(formatHost(this.#config.advertise)) ?? {
      host: this.#config.advertise,
      port: undefined,
    };
    return { address: bareHost(place.host), port: place.port ?? at.port };
  }
}

function keyOf(protocol: Protocol, { address, port }: Address): string {
  return `${protocol} ${address} ${port}`;
}
