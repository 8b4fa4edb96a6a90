// The SMSC in Perl as a child process: what it has told, and what it can be told to do.
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** A whole message as the SMSC put it together. */
export interface Arrived {
  text: string;
  to: string;
  from: string;
  parts: number;
  reference: number;
  validity: string;
}

export class PerlSmsc {
  readonly port: number;
  readonly told: Record<string, unknown>[] = [];
  readonly arrived: Arrived[] = [];
  readonly #child: ChildProcess;
  #wake: () => void = () => {};

  private constructor(port: number) {
    this.port = port;
    const script = join(import.meta.dirname, 'smsc', 'smsc.pl');
    this.#child = spawn('perl', [script, String(port), 'secret'], { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout! }).on('line', line => {
      const said = JSON.parse(line) as Record<string, unknown>;
      this.told.push(said);
      if ('text' in said) this.arrived.push(said as unknown as Arrived);
      this.#wake();
    });
  }

  /** Starts it; the same port again where one is given. */
  static async start(port?: number): Promise<PerlSmsc> {
    const smsc = new PerlSmsc(port ?? (await freePort()));
    await smsc.waits(() => smsc.told.length > 0, 'it to be ready');
    return smsc;
  }

  /** How often it said something with this key. */
  count(key: string): number {
    return this.told.filter(said => key in said).length;
  }

  says(command: Record<string, unknown>): void {
    this.#child.stdin!.write(`${JSON.stringify(command)}\n`);
  }

  async gets(text: string, deadline?: number): Promise<Arrived> {
    const find = () => this.arrived.find(one => one.text === text);
    await this.waits(() => find() !== undefined, `“${text.slice(0, 60)}”`, deadline);
    return find()!;
  }

  async waits(condition: () => boolean, what: string, deadline = 10_000): Promise<void> {
    const end = Date.now() + deadline;
    while (!condition()) {
      const left = end - Date.now();
      if (left <= 0) throw new Error(`the SMSC waited in vain for ${what}: ${JSON.stringify(this.told.slice(-5))}`);
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise(resolve => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await exited;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise(resolve => server.close(resolve));
  return port;
}
