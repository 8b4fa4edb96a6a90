// The servers of one directory as one: the first of the list that answers does the work, the next ones stand by.
import type { Log } from '../../hub/log.ts';
import type { LdapConfig } from './config.ts';
import {
  Busy,
  type Connection,
  Declined,
  type Entry,
  patience,
  type Search,
  type Security,
  Unavailable,
} from './connection.ts';
import { Server, type Suits } from './server.ts';

/** A piece of work on one connection. It may be begun again on another one when the first is lost. */
export type Work<T> = (connection: Connection, deadline: number) => Promise<T>;

export class Pool {
  readonly servers: readonly Server[];
  readonly #reader: { dn: string; password: string };
  readonly #log: Log;

  constructor(config: LdapConfig, security: Security, log: Log) {
    this.servers = config.servers.map(server => new Server(server, security, config.connections));
    this.#reader = config.bind ?? { dn: '', password: '' };
    this.#log = log;
  }

  /** Does work as the hub's own reader (or anonymously). Rejects with Unavailable, or as the work does. */
  asReader<T>(work: Work<T>, deadline = Number.POSITIVE_INFINITY): Promise<T> {
    return this.#run(
      identity => identity === this.#reader.dn,
      async (connection, until) => {
        await this.#becomeReader(connection, until);
        return work(connection, until);
      },
      deadline,
    );
  }

  /** What a search finds. Rejects with Unavailable, also where no server answers it. */
  search(search: Search, deadline?: number): Promise<Entry[]> {
    return this.asReader((connection, until) => connection.search(search, until), deadline);
  }

  /** Whether that is the DN's password. Rejects with Unavailable. */
  authenticates(dn: string, password: string, deadline = Number.POSITIVE_INFINITY): Promise<boolean> {
    return this.#run(
      identity => identity !== this.#reader.dn,
      (connection, until) => connection.bind(dn, password, until),
      deadline,
    );
  }

  close(): void {
    for (const server of this.servers) server.close();
  }

  async #becomeReader(connection: Connection, deadline: number): Promise<void> {
    const { dn, password } = this.#reader;
    if (connection.identity === dn) return;
    if (!(await connection.bind(dn, password, deadline))) {
      throw new Unavailable(`it refuses the hub's own login as ${dn || 'nobody'}`);
    }
  }

  /** Servers that are known to be down come last; each gets its share of the time that is left, or of the patience. */
  async #run<T>(suits: Suits, work: Work<T>, latest: number): Promise<T> {
    const deadline = Math.min(latest, performance.now() + patience);
    const candidates = [...this.servers.filter(({ down }) => !down), ...this.servers.filter(({ down }) => down)];
    let last: unknown;
    for (const [i, server] of candidates.entries()) {
      const now = performance.now();
      if (now >= deadline) break;
      try {
        return await this.#runOn(server, suits, work, now + (deadline - now) / (candidates.length - i));
      } catch (error) {
        if (!(error instanceof Unavailable)) throw error;
        last = error;
        if (!(error instanceof Busy || error instanceof Declined)) this.#failed(server, error);
      }
    }
    throw last ?? new Unavailable('it took too long');
  }

  async #runOn<T>(server: Server, suits: Suits, work: Work<T>, deadline: number): Promise<T> {
    const first = await server.acquire(suits, deadline);
    try {
      return await work(first.connection, deadline);
    } catch (error) {
      // A connection that lay idle may have been lost without a word: once more, on a new one.
      if (!(error instanceof Unavailable && first.reused && first.connection.lost && performance.now() < deadline)) {
        throw error;
      }
    } finally {
      server.release(first.connection);
    }
    const { connection } = await server.acquire(suits, deadline, true);
    try {
      return await work(connection, deadline);
    } finally {
      server.release(connection);
    }
  }

  #failed(server: Server, error: Unavailable): void {
    const isNew = server.fail(
      (connection, deadline) => this.#becomeReader(connection, deadline).then(() => probe(connection, deadline)),
      () => this.#log.info({ server: server.url }, 'the directory server answers again'),
    );
    if (isNew) this.#log.warn({ server: server.url, reason: error.reason }, 'a directory server does not answer');
  }
}

/** Asks for the root of the tree, which every server has (RFC 4512 §5.1). */
async function probe(connection: Connection, deadline: number): Promise<void> {
  await connection.search(
    { base: '', scope: 'base', filter: '(objectClass=*)', attributes: ['1.1'], limit: 1 },
    deadline,
  );
}
