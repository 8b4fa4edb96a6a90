// The process of `killed.ts` from outside: what it has said, what it is told, and its end.
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** The process of `killed.ts`, and what it has said. */
export class Victim {
  readonly process: ChildProcess;
  readonly kept: Set<string>;
  listed: Record<string, unknown>[] | null = null;
  ready = false;

  constructor(path: string, port: number, kept: Set<string>, yaml = 'limits: { queue: -1 }') {
    this.kept = kept;
    this.process = spawn(process.execPath, [join(import.meta.dirname, 'killed.ts'), path, String(port), yaml], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.process.stdin!.on('error', () => {});
    createInterface({ input: this.process.stdout! }).on('line', line => {
      if (line === 'ready') this.ready = true;
      else if (line.startsWith('list ')) this.listed = JSON.parse(line.slice(5));
      else this.kept.add(line.slice('kept '.length));
    });
  }

  say(line: string): void {
    this.process.stdin!.write(`${line}\n`);
  }

  async kill(): Promise<void> {
    const exited = new Promise(resolve => this.process.once('exit', resolve));
    this.process.kill('SIGKILL');
    await exited;
  }
}

/** Resolves when `condition` holds; rejects after the deadline, in ms. */
export async function waits(condition: () => boolean, what: string, deadline = 8_000): Promise<void> {
  const end = Date.now() + deadline;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}
