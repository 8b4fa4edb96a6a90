// One connection to an LDAP server (RFC 4511): opened, secured, bound, and never used again once it was lost.
import { createConnection, isIP, type Socket } from 'node:net';
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls';
import { type Attribute, BerReader, type Change, Client, ResultCodeError } from 'ldapts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { LdapServer } from './config.ts';
import { Framing } from './framing.ts';

/** The directory cannot say anything now: it is down, slow, or refuses the hub itself. */
export class Unavailable extends StanzaError {
  /** For the log: senders of stanzas learn no more than that it does not answer. */
  readonly reason: string;

  constructor(reason: string) {
    super('resource-constraint', 'the directory does not answer now', 'wait');
    this.reason = reason;
    this.message = `the directory does not answer: ${reason}`;
  }
}

/** The hub itself has no connection left to ask with; the server may be well. */
export class Busy extends Unavailable {}

/** The server is well, but does not answer this; another one may. */
export class Declined extends Unavailable {}

/** What TLS connections are checked by. */
export interface Security {
  startTls: boolean;
  /** Knows the authorities, and the oldest version of TLS that will do. */
  context: SecureContext;
}

/** An entry, its attributes by their names in lower case. */
export class Entry {
  readonly dn: string;
  readonly #values = new Map<string, readonly (string | Buffer)[]>();

  constructor(dn: string, attributes: Iterable<[string, readonly (string | Buffer)[]]>) {
    this.dn = dn;
    for (const [name, values] of attributes) this.#values.set(name.toLowerCase(), values);
  }

  /** The values of an attribute as text; none for the attribute ''. */
  texts(name: string): string[] {
    return this.bytes(name).map(value => (typeof value === 'string' ? value : value.toString('utf8')));
  }

  /** The first value that is not empty, or ''. */
  text(name: string): string {
    return this.texts(name).find(value => value.trim() !== '') ?? '';
  }

  bytes(name: string): readonly (string | Buffer)[] {
    return this.#values.get(name.toLowerCase()) ?? [];
  }
}

export interface Search {
  base: string;
  scope?: 'base' | 'one' | 'sub';
  filter: string;
  attributes: readonly string[];
  /** Attributes whose values are bytes. */
  binary?: readonly string[];
  /** The most entries; those beyond it are left out. */
  limit: number;
}

/** What one operation may bring in, so that a server gone mad does not fill the memory. */
const mostBytes = 32 * 1024 * 1024;
/** Firewalls forget connections without a word; by itself the system would notice in two hours (ms). */
const keepAlive = { keepAlive: true, keepAliveInitialDelay: 10_000 };
const startTlsRequest = Buffer.from([
  0x30,
  0x1d,
  2,
  1,
  1,
  0x77,
  0x18,
  0x80,
  0x16,
  ...Buffer.from('1.3.6.1.4.1.1466.20037'),
]);

/** How long an operation may take in all, over all servers, in ms: a login is to be answered within 5 s. */
export const patience = 4_500;

/** Results of a bind that say something of the person, not of the server: RFC 4511 §A.1. */
const refusals = new Set([19, 32, 34, 48, 49, 50, 53]);
/** Results that another server, or the same one later, may not give: operationsError, strongerAuthRequired, busy, unavailable … */
const troubles = new Set([1, 8, 13, 51, 52, 80]);

/**
 * Resolves or rejects with `work`, or rejects with Unavailable at the deadline (ms, as of `performance.now`), having
 * called `late`.
 */
export function before<T>(work: Promise<T>, deadline: number, late: () => void = () => {}): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => {
        late();
        reject(new Unavailable('it took too long'));
      },
      Math.max(0, deadline - performance.now()),
    );
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

export class Connection {
  /** The DN that it is bound as; '' for anonymous; null while that is not certain. */
  identity: string | null = '';
  readonly #socket: Socket;
  readonly #client: Client;
  #guarded = false;
  #received = 0;
  #used = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#client = new Client({
      url: 'ldap://connected',
      // It would connect anew by itself, in the clear and as nobody: this connection is the only one it gets.
      createConnection: (() => {
        if (this.#used) throw new Unavailable('the connection was lost');
        this.#used = true;
        return socket;
      }) as never,
    });
    const framing = new Framing(mostBytes);
    socket.on('data', chunk => {
      this.#received += chunk.length;
      if (this.#received > mostBytes || !framing.accepts(chunk)) socket.destroy();
    });
  }

  /** Connects, and has TLS and a checked certificate where that is configured. Rejects with Unavailable. */
  static async open(server: LdapServer, security: Security, deadline: number): Promise<Connection> {
    const plain = createConnection({ host: server.host, port: server.port, noDelay: true, ...keepAlive });
    plain.on('error', () => {});
    try {
      const socket = await before(prepare(plain, server, security), deadline);
      return new Connection(socket);
    } catch (error) {
      plain.destroy();
      throw error instanceof Unavailable ? error : new Unavailable((error as Error).message);
    }
  }

  get lost(): boolean {
    return this.#socket.destroyed || !this.#socket.writable;
  }

  onClose(listener: () => void): void {
    this.#socket.once('close', listener);
  }

  /** Whether that is the DN's password. Rejects with Unavailable where the server cannot tell. */
  async bind(dn: string, password: string, deadline: number): Promise<boolean> {
    // A bind with a name and no password succeeds and proves nothing (RFC 4513 §5.1.2).
    if (dn !== '' && password === '') return false;
    this.identity = null;
    try {
      await this.#run(() => this.#client.bind(dn, password), deadline);
      this.identity = dn;
      return true;
    } catch (error) {
      if (!(error instanceof ResultCodeError)) throw error;
      if (!refusals.has(error.code)) throw new Declined(error.message);
      this.identity = ''; // RFC 4511 §4.2.1
      return false;
    }
  }

  /** The entries found; none where the base is not there. */
  async search({ base, scope = 'sub', filter, attributes, binary = [], limit }: Search, deadline: number) {
    const explicitBufferAttributes = [...binary, ...binary.map(name => name.toLowerCase())];
    const seconds = Math.max(1, Math.ceil((deadline - performance.now()) / 1000));
    const options = { scope, filter, sizeLimit: limit, timeLimit: seconds, explicitBufferAttributes };
    try {
      const found = await this.#run(
        () => this.#client.search(base, { ...options, attributes: [...new Set(attributes)].filter(Boolean) }),
        deadline,
      );
      return found.searchEntries.slice(0, limit).map(({ dn, ...rest }) => {
        const values = Object.entries(rest).map(
          ([name, value]) => [name, Array.isArray(value) ? value : [value]] as [string, (string | Buffer)[]],
        );
        return new Entry(dn, values);
      });
    } catch (error) {
      if (!(error instanceof ResultCodeError)) throw error;
      if (error.code === 32) return [];
      throw new Declined(error.message);
    }
  }

  add(dn: string, attributes: Attribute[], deadline: number): Promise<void> {
    return this.#run(() => this.#client.add(dn, attributes), deadline);
  }

  modify(dn: string, changes: Change[], deadline: number): Promise<void> {
    return this.#run(() => this.#client.modify(dn, changes), deadline);
  }

  remove(dn: string, deadline: number): Promise<void> {
    return this.#run(() => this.#client.del(dn), deadline);
  }

  extended(oid: string, value: Buffer, deadline: number): Promise<unknown> {
    return this.#run(() => this.#client.exop(oid, value), deadline);
  }

  close(): void {
    if (!this.lost && this.#guarded) void this.#client.unbind().catch(() => {});
    else this.#socket.destroy();
  }

  async #run<T>(start: () => Promise<T>, deadline: number): Promise<T> {
    if (this.lost) throw new Unavailable('the connection was lost');
    this.#received = 0;
    const work = start();
    if (!this.#guarded) {
      // ldapts takes all listeners for errors away when it begins, and its own when the connection closes.
      this.#socket.on('error', () => {});
      this.#guarded = true;
    }
    try {
      return await before(work, deadline, () => this.#socket.destroy());
    } catch (error) {
      if (error instanceof Unavailable || (error instanceof ResultCodeError && !troubles.has(error.code))) throw error;
      this.#socket.destroy();
      throw new Unavailable((error as Error).message.split('\n').join(' '));
    }
  }
}

async function prepare(plain: Socket, server: LdapServer, security: Security): Promise<Socket> {
  await happens(plain, 'connect');
  if (!server.direct && !security.startTls) return plain;
  if (!server.direct) await startTls(plain);
  const secured: TLSSocket = connectTls({
    socket: plain,
    host: server.host,
    servername: isIP(server.host) ? undefined : server.host,
    secureContext: security.context,
    rejectUnauthorized: true,
  });
  plain.once('close', () => secured.destroy());
  await happens(secured, 'secureConnect');
  return secured;
}

/** RFC 4511 §4.14. Whatever stands behind the answer was put there by somebody else, and ends it. */
async function startTls(socket: Socket): Promise<void> {
  socket.write(startTlsRequest);
  let answer = Buffer.alloc(0);
  await new Promise<void>((resolve, reject) => {
    const lost = () => reject(new Unavailable('the connection was lost'));
    socket.once('close', lost);
    socket.on('data', function read(chunk: Buffer) {
      answer = Buffer.concat([answer, chunk]);
      if (answer.length < 2 || (answer.length < 2 + answer[1] && answer.length < 1024)) return;
      socket.off('data', read);
      socket.off('close', lost);
      socket.pause();
      resolve();
    });
  });
  const reader = new BerReader(answer);
  const whole = reader.readSequence() !== null && reader.offset + reader.length === answer.length;
  const known = whole && reader.readInt() === 1 && reader.readSequence() === 0x78;
  if (!known || reader.readEnumeration() !== 0) throw new Unavailable('it does not do StartTLS');
}

function happens(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve();
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Unavailable('the connection was lost')));
  });
}
