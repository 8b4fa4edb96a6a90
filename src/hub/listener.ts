// Listening sockets for every protocol, and the guard that counts their connections (`limits.connections`).
import { createServer, type Server, type Socket } from 'node:net';
import type { Endpoint } from './config.ts';
import type { Log } from './log.ts';

/** Counts connections per address and in all; one guard serves all listeners. */
export class ConnectionGuard {
  perAddress: number;
  total: number;
  #count = 0;
  readonly #addresses = new Map<string, number>();

  constructor(limits: { perAddress: number; total: number }) {
    this.perAddress = limits.perAddress;
    this.total = limits.total;
  }

  get count(): number {
    return this.#count;
  }

  /** Takes a connection in, to be counted until it closes; says why where it must be refused. */
  admit(socket: Socket): string | null {
    const address = socket.remoteAddress ?? '';
    const open = this.#addresses.get(address) ?? 0;
    if (this.total > 0 && this.#count >= this.total) return 'limits.connections.total is reached';
    if (this.perAddress > 0 && open >= this.perAddress) return 'limits.connections.per-address is reached';
    this.#count++;
    this.#addresses.set(address, open + 1);
    socket.once('close', () => {
      this.#count--;
      const left = (this.#addresses.get(address) ?? 1) - 1;
      if (left > 0) this.#addresses.set(address, left);
      else this.#addresses.delete(address);
    });
    return null;
  }
}

export interface Listening {
  /** Where it really listens: the port is the system's choice where 0 was asked for. */
  readonly address: Endpoint;
  /** Takes no more connections; those that are open stay. */
  close(): Promise<void>;
}

/** `127.0.0.1:5222`, `[::1]:5222`. */
export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Listens on one endpoint. `accept` gets each connection that the guard admits; a refused one gets `refuse`'s bytes
 * and is closed. Rejects with an Error that names the endpoint and says what to do.
 */
export function listen(
  name: string,
  endpoint: Endpoint,
  guard: ConnectionGuard,
  log: Log,
  accept: (socket: Socket) => void,
  refuse = '',
): Promise<Listening> {
  const server: Server = createServer({ noDelay: true }, socket => {
    socket.on('error', () => {}); // Whoever takes the socket listens for itself; until then an error only closes it.
    const refusal = guard.admit(socket);
    if (refusal === null) return accept(socket);
    logRefusal(log, name, socket.remoteAddress ?? '', refusal);
    socket.end(refuse);
    socket.destroySoon();
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const why =
        error.code === 'EADDRINUSE'
          ? 'something else listens there; stop it or change `listen`'
          : error.code === 'EACCES'
            ? 'that port needs more rights; take one above 1023'
            : error.code === 'EADDRNOTAVAIL'
              ? 'this machine has no such address'
              : error.message;
      reject(new Error(`listen.${name}: ${formatEndpoint(endpoint)}: ${why}`));
    });
    server.listen({ host: endpoint.host, port: endpoint.port, backlog: 4096 }, () => {
      server.on('error', error => log.error({ err: error, listener: name }, 'listener failed'));
      const address = server.address() as { address: string; port: number };
      resolve({
        address: { host: address.address, port: address.port },
        close: () => new Promise(done => server.close(() => done())),
      });
    });
  });
}

const lastRefusals = new Map<string, number>();

/** A flood writes one line per address and ten seconds, not one per connection. */
function logRefusal(log: Log, listener: string, address: string, reason: string): void {
  const now = Date.now();
  if (now - (lastRefusals.get(address) ?? 0) < 10_000) return;
  if (lastRefusals.size > 10_000) lastRefusals.clear();
  lastRefusals.set(address, now);
  log.warn({ listener, address, reason }, 'connection refused');
}
