// A TCP proxy that can cut its connections, hold them up, or count them.
import { createConnection, createServer, type Socket } from 'node:net';
import type { Endpoint } from '../../src/hub/config.ts';

export interface TcpProxy {
  readonly address: Endpoint;
  /** Bytes that came from those who connected. */
  readonly bytes: number;
  /** How many connections there were. */
  readonly connections: number;
  /** How many there are. */
  readonly open: number;
  /** Breaks all connections, as a network does: neither side is told goodbye. */
  cut(): void;
  /** Calls back once so many more bytes have come from those who connect. */
  after(bytes: number, then: () => void): void;
  close(): Promise<void>;
}

/** Listens on `host` and passes on to `to`. */
export async function startProxy(to: Endpoint, host = '127.0.0.1', port = 0): Promise<TcpProxy> {
  const pairs = new Set<[Socket, Socket]>();
  let bytes = 0;
  let connections = 0;
  let wanted: { at: number; then: () => void } | null = null;
  const server = createServer(near => {
    connections++;
    const far = createConnection({ host: to.host, port: to.port });
    const pair: [Socket, Socket] = [near, far];
    pairs.add(pair);
    for (const [one, other] of [pair, [far, near] as const]) {
      one.on('data', chunk => {
        if (one === near) {
          bytes += chunk.length;
          if (wanted && bytes >= wanted.at) {
            const { then } = wanted;
            wanted = null;
            return then();
          }
        }
        other.write(chunk);
      });
      one.on('end', () => other.end());
      one.on('error', () => other.destroy());
      one.on('close', () => {
        other.destroy();
        pairs.delete(pair);
      });
    }
  });
  await new Promise<void>(resolve => server.listen(port, host, resolve));
  const cut = () => {
    for (const pair of pairs) for (const socket of pair) socket.resetAndDestroy();
  };
  return {
    address: { host, port: (server.address() as { port: number }).port },
    get bytes() {
      return bytes;
    },
    get connections() {
      return connections;
    },
    get open() {
      return pairs.size;
    },
    cut,
    after(more, then) {
      wanted = { at: bytes + more, then };
    },
    async close() {
      cut();
      await new Promise(resolve => server.close(resolve));
    },
  };
}
