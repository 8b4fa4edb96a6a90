// A TCP proxy that can cut its connections, hold them up, or count them.
import { createConnection, createServer, type Socket } from 'node:net';
import type { Endpoint } from '../../src/hub/config.ts';

/** `holding`: what comes waits, until it passes again; `resetting`: no connection lives. */
export type Passage = 'passing' | 'holding' | 'resetting';

export interface TcpProxy {
  readonly address: Endpoint;
  /** Bytes that came from those who connected. */
  readonly bytes: number;
  /** How many connections there were. */
  readonly connections: number;
  /** How many there are. */
  readonly open: number;
  passage: Passage;
  /** Connections break once so many bytes were answered on them. */
  mostAnswered: number;
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
  let passage: Passage = 'passing';
  let mostAnswered = Number.POSITIVE_INFINITY;
  let wanted: { at: number; then: () => void } | null = null;
  const server = createServer(near => {
    connections++;
    if (passage === 'resetting') return void near.resetAndDestroy();
    let answered = 0;
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
        if (one === far) answered += chunk.length;
        if (answered <= mostAnswered) return void other.write(chunk);
        other.write(chunk.subarray(0, chunk.length - (answered - mostAnswered)), () => other.resetAndDestroy());
        one.destroy();
      });
      one.on('end', () => other.end());
      one.on('error', () => other.destroy());
      one.on('close', () => {
        if (answered <= mostAnswered) other.destroy();
        pairs.delete(pair);
      });
      if (passage === 'holding') one.pause();
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
    get passage() {
      return passage;
    },
    set passage(value) {
      passage = value;
      if (passage === 'resetting') cut();
      for (const socket of [...pairs].flat()) passage === 'holding' ? socket.pause() : socket.resume();
    },
    get mostAnswered() {
      return mostAnswered;
    },
    set mostAnswered(value) {
      mostAnswered = value;
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
