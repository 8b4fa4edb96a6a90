// Runs the command line as its users do: a process of its own, with arguments, standard input, and an exit code.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export interface Ran {
  code: number | null;
  out: string;
  err: string;
}

/** Kept between runs: most of what a short command does is reading its own source. */
const compiled = join(tmpdir(), 'isthmus-compile-cache');

export const mainFile = resolve(import.meta.dirname, '../../src/main.ts');

/** Resolves when the process has ended. */
export function isthmus(
  args: readonly string[],
  options: { cwd?: string; input?: string; env?: object } = {},
): Promise<Ran> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', mainFile, ...args], {
    cwd: options.cwd,
    env: { ...process.env, NODE_COMPILE_CACHE: compiled, ...options.env },
  });
  const ran: Ran = { code: null, out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', text => {
    ran.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', text => {
    ran.err += text;
  });
  child.stdin.on('error', () => {});
  child.stdin.end(options.input ?? '');
  return new Promise(done => {
    child.on('close', code => done({ ...ran, code }));
  });
}

/** A directory with these files in it; `remove` takes it away. */
export function workplace(files: Record<string, string>): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'isthmus-cli-'));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
