// A server of somebody else's as a child process: started, watched until it is ready, and ended by its pid.
import { type ChildProcess, spawn } from 'node:child_process';
import { createConnection } from 'node:net';

export interface Peer {
  readonly address: string;
  readonly domain: string;
  /** The leader of its process group. */
  readonly pid: number;
  /** All that it has written. */
  log(): string;
  stop(): Promise<void>;
}

export interface Command {
  command: string;
  args: string[];
  env?: NodeJS.ProcessEnv;
  cwd: string;
}

/** Runs a program until the ports answer. Rejects with its output where it ends or takes longer than `patience` ms. */
export async function startProcess(
  { command, args, env, cwd }: Command,
  ready: { host: string; port: number; others?: number[] },
  patience = 40_000,
): Promise<{ pid: number; log(): string; stop(): Promise<void> }> {
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', chunk => {
      output = (output + chunk).slice(-200_000);
    });
  }
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()));
  const end = Date.now() + patience;
  const waited = [ready.port, ...(ready.others ?? [])];
  while (waited.length > 0) {
    if (await answers(ready.host, waited[0])) {
      waited.shift();
      continue;
    }
    if (child.exitCode !== null || Date.now() > end) {
      await kill(child, exited);
      throw new Error(`${command} did not get ready on ${ready.host}:${waited[0]}:\n${output}`);
    }
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  return { pid: child.pid!, log: () => output, stop: () => kill(child, exited) };
}

async function kill(child: ChildProcess, exited: Promise<void>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, name);
    } catch {
      // It is gone already.
    }
  };
  signal('SIGTERM');
  const timer = setTimeout(() => signal('SIGKILL'), 3_000);
  await exited;
  clearTimeout(timer);
}

function answers(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = createConnection({ host, port });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Resolves when an XMPP server reads what clients send it, which may be long after its ports answer; rejects after 40 s. */
export function listens(host: string, port: number, domain: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port }, () =>
      socket.write(
        `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='${domain}' version='1.0'>`,
      ),
    );
    socket.setTimeout(40_000, () => socket.destroy());
    socket.once('data', () => {
      resolve();
      socket.destroy();
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error(`${host}:${port} does not answer`)));
  });
}
