// A network in memory, for tests in virtual time: connections to hosts that can be slow, silent, gone, or cut them off.

import { syncBuiltinESMExports } from 'node:module';
import net, { type NetConnectOpts, type Socket } from 'node:net';
import { Duplex } from 'node:stream';

/** `refusing`: nobody listens; `dark`: whatever is sent there vanishes; `stalled`: it takes all, and goes on later. */
export type Condition = 'well' | 'refusing' | 'dark' | 'stalled';

export class Host {
  readonly #accept: (socket: Socket) => void;
  readonly #ends = new Set<End>();
  /** What a stalled host has yet to do. */
  readonly #held: (() => void)[] = [];
  #condition: Condition = 'well';
  /** After so many bytes of its next answer the connection ends, politely or not. */
  cut: { after: number; reset: boolean } | null = null;
  /** Between sending and receiving, in ms. */
  latency = 1;
  /** The most connections that there were at once. */
  peak = 0;

  constructor(accept: (socket: Socket) => void) {
    this.#accept = accept;
  }

  get condition(): Condition {
    return this.#condition;
  }

  set condition(condition: Condition) {
    this.#condition = condition;
    if (condition === 'refusing') this.drop();
    if (condition === 'well') for (const step of this.#held.splice(0)) this.#later(step);
  }

  /** Connections that are open or being made. */
  get open(): number {
    return this.#ends.size;
  }

  /** Loses all connections. */
  drop(): void {
    for (const end of this.#ends) end.destroy(new Error('ECONNRESET'));
  }

  connect(): Socket {
    const near = new End();
    const far = new End();
    this.#ends.add(near);
    near.connecting = true;
    // One that is being closed for it does not count.
    setTimeout(() => {
      this.peak = Math.max(this.peak, this.#ends.size);
    });
    near.once('close', () => {
      this.#ends.delete(near);
      this.#later(() => far.destroy());
    });
    near.send = chunk => this.#later(() => far.push(chunk));
    far.on('error', () => {});
    far.once('finish', () => this.#later(() => near.push(null)));
    far.send = chunk => this.#later(() => this.#answer(near, far, chunk));
    if (this.#condition === 'refusing') {
      setTimeout(() => near.destroy(new Error('ECONNREFUSED')), this.latency);
    } else {
      this.#later(() => {
        if (near.destroyed) return;
        near.connecting = false;
        near.emit('connect');
        this.#accept(far as unknown as Socket);
      });
    }
    return near as unknown as Socket;
  }

  #answer(near: End, far: End, chunk: Buffer): void {
    if (near.destroyed) return;
    const { cut } = this;
    if (!cut) return void near.push(chunk);
    this.cut = null;
    near.push(chunk.subarray(0, cut.after));
    if (cut.reset) near.destroy(new Error('ECONNRESET'));
    else near.push(null);
    far.destroy();
  }

  #later(step: () => void): void {
    setTimeout(() => {
      if (this.#condition === 'well') step();
      else if (this.#condition === 'stalled') this.#held.push(step);
    }, this.latency);
  }
}

/** One end of a connection. */
class End extends Duplex {
  connecting = false;
  send: (chunk: Buffer) => void = () => {};

  constructor() {
    super({ allowHalfOpen: false });
  }

  get readyState(): string {
    return this.connecting ? 'opening' : this.destroyed ? 'closed' : 'open';
  }

  override _read(): void {}

  override push(chunk: Buffer | null): boolean {
    return !this.destroyed && !this.readableEnded && super.push(chunk);
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.send(chunk);
    done();
  }
}

/** `net.createConnection` leads to these hosts, by name, until the result is called. */
export function useHosts(hosts: ReadonlyMap<string, Host>): () => void {
  const { createConnection } = net;
  net.createConnection = ((options: NetConnectOpts) => {
    const host = hosts.get((options as { host: string }).host);
    if (!host) throw new Error('there is no such host');
    return host.connect();
  }) as typeof createConnection;
  syncBuiltinESMExports();
  return () => {
    net.createConnection = createConnection;
    syncBuiltinESMExports();
  };
}
