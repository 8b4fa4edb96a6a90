// The connections to one server: idle ones are used again, the number of open ones is bounded, the rest wait in line.
import type { LdapServer } from './config.ts';
import { Busy, Connection, type Security, Unavailable } from './connection.ts';

/** Whether a connection that is bound like this suits somebody well; any other one does as well. */
export type Suits = (identity: string | null) => boolean;

interface Waiting {
  suits: Suits;
  resolve(connection: Connection | null): void;
  reject(error: Error): void;
  timer: NodeJS.Timeout;
}

/** A connection that nobody used for so long (ms) is closed: servers and firewalls forget them, too. */
const idleTime = 60_000;
/** More than this many wait for nobody's good. */
const mostWaiting = 2_000;
/** Between two looks at a server that is down, in ms: the first, and the longest. */
const firstLook = 500;
const longestLook = 10_000;

export class Server {
  readonly #server: LdapServer;
  readonly #security: Security;
  readonly #most: number;
  readonly #idle: { connection: Connection; since: number }[] = [];
  readonly #waiting: Waiting[] = [];
  readonly #sweep: NodeJS.Timeout;
  #open = 0;
  #closed = false;
  #look: NodeJS.Timeout | null = null;

  constructor(server: LdapServer, security: Security, most: number) {
    this.#server = server;
    this.#security = security;
    this.#most = most;
    this.#sweep = setInterval(() => this.#closeIdle(), idleTime / 2);
    this.#sweep.unref();
  }

  get url(): string {
    return this.#server.url;
  }

  /** Connections that are open or being made. */
  get open(): number {
    return this.#open;
  }

  get down(): boolean {
    return this.#look !== null;
  }

  /**
   * A connection for one use, preferably one that suits; `fresh`: newly made. Give it back with `release`. Rejects
   * with Unavailable.
   */
  async acquire(suits: Suits, deadline: number, fresh = false): Promise<{ connection: Connection; reused: boolean }> {
    if (this.#closed) throw new Unavailable('it is being closed');
    const idle = !fresh || this.#open >= this.#most ? this.#takeIdle(suits) : undefined;
    if (idle && !fresh) return { connection: idle, reused: true };
    // A new one takes the place of one that lies idle.
    if (idle) idle.close();
    else if (this.#open >= this.#most) {
      const handed = await this.#wait(suits, deadline);
      if (handed) return { connection: handed, reused: true };
    } else this.#open++;
    try {
      const connection = await Connection.open(this.#server, this.#security, deadline);
      connection.onClose(() => {
        const index = this.#idle.findIndex(one => one.connection === connection);
        if (index < 0) return;
        this.#idle.splice(index, 1);
        this.#freed();
      });
      return { connection, reused: false };
    } catch (error) {
      this.#freed();
      throw error;
    }
  }

  /** Takes a connection back, to be used again unless it is lost. */
  release(connection: Connection): void {
    if (connection.lost || this.#closed) {
      connection.close();
      return this.#freed();
    }
    const at = this.#waiting.findIndex(({ suits }) => suits(connection.identity));
    const [next] = this.#waiting.splice(Math.max(0, at), 1);
    if (next) {
      clearTimeout(next.timer);
      return next.resolve(connection);
    }
    this.#idle.push({ connection, since: performance.now() });
  }

  /** Notes that the server does not answer, and looks after it until `probe` says that it does. True: that is new. */
  fail(probe: (connection: Connection, deadline: number) => Promise<void>, recovered: () => void): boolean {
    if (this.#look || this.#closed) return false;
    this.#closeIdle(0);
    const again = (wait: number): void => {
      this.#look = setTimeout(async () => {
        const deadline = performance.now() + 3_000;
        try {
          const { connection } = await this.acquire(() => false, deadline, true);
          await probe(connection, deadline).finally(() => this.release(connection));
          this.#look = null;
          if (!this.#closed) recovered();
        } catch {
          if (!this.#closed) again(Math.min(wait * 2, longestLook));
        }
      }, wait);
      this.#look.unref();
    };
    again(firstLook);
    return true;
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    if (this.#look) clearTimeout(this.#look);
    this.#closeIdle(0);
    for (const { reject, timer } of this.#waiting.splice(0)) {
      clearTimeout(timer);
      reject(new Unavailable('it is being closed'));
    }
  }

  #takeIdle(suits: Suits): Connection | undefined {
    const at = this.#idle.findLastIndex(({ connection }) => suits(connection.identity));
    const [taken] = this.#idle.splice(at < 0 ? 0 : at, 1);
    return taken?.connection;
  }

  /** Resolves with a connection that was given back, or with null when there is room for a new one. */
  #wait(suits: Suits, deadline: number): Promise<Connection | null> {
    if (this.#waiting.length >= mostWaiting) throw new Busy('too many wait for it');
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        suits,
        resolve,
        reject,
        timer: setTimeout(
          () => {
            this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
            reject(new Busy('all connections are busy'));
          },
          Math.max(0, deadline - performance.now()),
        ),
      };
      this.#waiting.push(waiting);
    });
  }

  /** A connection is gone: whoever waits may make a new one. */
  #freed(): void {
    const next = this.#waiting.shift();
    if (!next) {
      this.#open--;
      return;
    }
    clearTimeout(next.timer);
    next.resolve(null);
  }

  #closeIdle(longest = idleTime): void {
    const now = performance.now();
    for (const one of this.#idle.filter(({ since }) => now - since >= longest)) {
      this.#idle.splice(this.#idle.indexOf(one), 1);
      one.connection.close();
      this.#freed();
    }
  }
}
