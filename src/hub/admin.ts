// The admin socket: how commands of the command line reach the running hub. File permissions are its guard.
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';

/** What a command is given: its words, as on the command line. It answers with plain data. */
export type AdminCommand = (args: readonly string[]) => unknown;

/** Wrong words: the command line ends with 2 instead of 1. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The longest request is a user with everything that was kept for it. */
const longestRequest = 64 * 1024 * 1024;

export function adminSocket(data: string): string {
  return join(data, 'admin.sock');
}

/** Makes the directory of all state where it is new. Throws an Error that says what to do. */
export function makeDataDirectory(data: string): void {
  try {
    mkdirSync(data, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Error(
      `data: ${data} cannot be made: ${(error as NodeJS.ErrnoException).code}; name a directory that can`,
    );
  }
}

/** The hub's end: one JSON line in, one out. */
export class AdminServer {
  readonly #commands: ReadonlyMap<string, AdminCommand>;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  #path = '';

  constructor(commands: ReadonlyMap<string, AdminCommand>) {
    this.#commands = commands;
  }

  /** Listens in `data`. Rejects where another hub runs on the same directory. */
  async start(data: string): Promise<void> {
    makeDataDirectory(data);
    this.#path = adminSocket(data);
    if (await answers(this.#path)) throw new Error(`another isthmus is running on ${data}; stop it first`);
    rmSync(this.#path, { force: true });
    const server = createServer(socket => this.#serve(socket));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', error => reject(new Error(`${this.#path}: ${error.message}`)));
      server.listen(this.#path, resolve);
    });
    chmodSync(this.#path, 0o600);
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = null;
    for (const socket of this.#sockets) {
      socket.end();
      // Whoever asked and does not hang up must not keep the hub from ending.
      setTimeout(() => socket.destroy(), 1_000).unref();
    }
    await new Promise(resolve => server.close(resolve));
    rmSync(this.#path, { force: true });
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(60_000, () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('data', (chunk: string) => {
      text += chunk;
      if (text.length > longestRequest) return socket.destroy();
      const end = text.indexOf('\n');
      if (end < 0) return;
      const line = text.slice(0, end);
      text = '';
      void this.#answer(line).then(answer => socket.end(`${JSON.stringify(answer)}\n`));
    });
  }

  async #answer(line: string): Promise<unknown> {
    try {
      const { command, args } = JSON.parse(line) as { command: string; args: string[] };
      if (!Array.isArray(args) || args.some(arg => typeof arg !== 'string'))
        throw new UsageError('args is a list of texts');
      const known = this.#commands.get(command);
      if (!known) return { ok: false, usage: true, error: `the running hub knows no command ${command}` };
      return { ok: true, result: (await known(args)) ?? null };
    } catch (error) {
      return { ok: false, usage: error instanceof UsageError, error: (error as Error).message };
    }
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = createConnection(path);
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

/** There is no hub to ask. */
export class NotRunning extends Error {
  override readonly name = 'NotRunning';
}

/** Has the hub that runs on `data` carry out a command. Rejects with NotRunning, UsageError or the hub's own error. */
export function askAdmin(data: string, command: string, args: readonly string[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(adminSocket(data));
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(60_000, () => {
      socket.destroy();
      reject(new Error('the hub did not answer within a minute'));
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'ENOENT' || error.code === 'ECONNREFUSED'
          ? new NotRunning(`no isthmus is running on ${data}; start it with \`isthmus start\``)
          : error.code === 'EACCES'
            ? new Error(`${adminSocket(data)} may not be used by this user; become the one that runs the hub`)
            : error,
      );
    });
    socket.on('connect', () => socket.write(`${JSON.stringify({ command, args })}\n`));
    socket.on('data', (chunk: string) => {
      text += chunk;
    });
    socket.on('end', () => {
      try {
        const answer = JSON.parse(text) as { ok: boolean; result: unknown; error: string; usage?: boolean };
        if (answer.ok) resolve(answer.result);
        else reject(answer.usage ? new UsageError(answer.error) : new Error(answer.error));
      } catch {
        reject(new Error('the hub ended before it answered'));
      }
    });
  });
}
