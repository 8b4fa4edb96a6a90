// Connecting to the first address that answers: families by turns, a new attempt every quarter second (RFC 8305).
import { createConnection, type Socket } from 'node:net';
import type { Address } from './dns.ts';

export interface ConnectOptions {
  /** For all attempts together, in ms. */
  timeout: number;
  /** Between the starts of two attempts, in ms. */
  delay?: number;
  signal?: AbortSignal;
}

/** Alternates the families, IPv6 first (RFC 8305 §4). */
export function interleave(addresses: readonly Address[]): Address[] {
  const six = addresses.filter(({ family }) => family === 6);
  const four = addresses.filter(({ family }) => family === 4);
  const mixed: Address[] = [];
  for (let i = 0; i < Math.max(six.length, four.length); i++) {
    if (six[i]) mixed.push(six[i]);
    if (four[i]) mixed.push(four[i]);
  }
  return mixed;
}

/**
 * Resolves with the first connection that is made; the other attempts end. Rejects with an Error that lists what
 * became of each: `[::1]:5269 refused; 127.0.0.3:5269 timed out`.
 */
export function connectRaced(addresses: readonly Address[], port: number, options: ConnectOptions): Promise<Socket> {
  const { timeout, delay = 250, signal } = options;
  const waiting = interleave(addresses).slice(0, 8);
  const outcomes: string[] = [];
  const open = new Map<Socket, string>();
  return new Promise((resolve, reject) => {
    let next: NodeJS.Timeout | undefined;
    const end = (socket: Socket | null, error?: Error) => {
      clearTimeout(next);
      clearTimeout(limit);
      signal?.removeEventListener('abort', aborted);
      for (const other of open.keys()) if (other !== socket) other.destroy();
      open.clear();
      if (socket) resolve(socket);
      else reject(error);
    };
    const failed = () => end(null, new Error(outcomes.join('; ') || 'no address to connect to'));
    const aborted = () => end(null, new Error('given up'));
    const limit = setTimeout(() => {
      for (const name of open.values()) outcomes.push(`${name} timed out`);
      failed();
    }, timeout);
    signal?.addEventListener('abort', aborted);

    const attempt = (): void => {
      clearTimeout(next);
      const address = waiting.shift();
      if (!address) {
        if (open.size === 0) failed();
        return;
      }
      const name = address.family === 6 ? `[${address.address}]:${port}` : `${address.address}:${port}`;
      const socket = createConnection({ host: address.address, port, noDelay: true });
      open.set(socket, name);
      socket.once('connect', () => {
        socket.removeAllListeners('error');
        socket.on('error', () => {}); // Until the one who gets it listens.
        end(socket);
      });
      socket.once('error', (error: NodeJS.ErrnoException) => {
        if (!open.delete(socket)) return;
        outcomes.push(`${name} ${reason(error)}`);
        attempt();
      });
      if (waiting.length > 0) next = setTimeout(attempt, delay);
    };
    if (signal?.aborted) aborted();
    else attempt();
  });
}

function reason(error: NodeJS.ErrnoException): string {
  switch (error.code) {
    case 'ECONNREFUSED':
      return 'refused';
    case 'ETIMEDOUT':
      return 'timed out';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return 'unreachable';
    default:
      return error.code ?? error.message;
  }
}
