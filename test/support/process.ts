// A whole hub as its operator runs it: bin/isthmus in a process of its own, which can be killed and started again.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Client, type ClientOptions, connectClient } from './client.ts';

const launcher = resolve(import.meta.dirname, '../../bin/isthmus');

export interface Ended {
  code: number | null;
  signal: string | null;
  /** Everything it wrote to standard output and to standard error. */
  log: string;
  err: string;
}

/** A hub that has said that it is ready. */
export class HubProcess {
  readonly child: ChildProcess;
  /** Resolves when it has ended, whatever ended it. */
  readonly ended: Promise<Ended>;
  /** The port of each listener. */
  ports: Record<string, number> = {};
  log = '';
  err = '';

  constructor(directory: string) {
    this.child = spawn(launcher, ['start', '-c', join(directory, 'isthmus.yaml')], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout!.setEncoding('utf8').on('data', text => {
      this.log += text;
    });
    this.child.stderr!.setEncoding('utf8').on('data', text => {
      this.err += text;
    });
    this.ended = new Promise(done =>
      this.child.on('close', (code, signal) => done({ code, signal, log: this.log, err: this.err })),
    );
  }

  /** Resolves when it is ready; rejects with what it said where it ends before. */
  ready(): Promise<this> {
    return new Promise((done, reject) => {
      this.child.stdout!.on('data', () => {
        const line = this.log.split('\n').find(one => one.includes('"isthmus is ready"'));
        if (!line) return;
        for (const [name, at] of Object.entries(JSON.parse(line) as Record<string, unknown>)) {
          const [first] = Array.isArray(at) ? at : [];
          const port = /:(\d+)$/.exec(String(first))?.[1];
          if (port) this.ports[name] = Number(port);
        }
        done(this);
      });
      void this.ended.then(({ log, err }) => reject(new Error(`the hub ended: ${err}${log}`)));
    });
  }

  kill(signal: NodeJS.Signals): Promise<Ended> {
    this.child.kill(signal);
    return this.ended;
  }

  client(jid: string, options: Partial<ClientOptions> = {}): Promise<Client> {
    return connectClient({ jid, password: 'a password for tests', port: this.ports.c2s, ...options });
  }
}

/** A directory with a configuration in which hubs are started one after the other. */
export function hubDirectory(yaml: string): { path: string; start(): Promise<HubProcess>; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'isthmus-process-'));
  const listen = 'listen: { c2s: ["127.0.0.1:0"], s2s: [], http: ["127.0.0.1:0"] }';
  writeFileSync(join(path, 'isthmus.yaml'), `log: { format: json }\n${listen}\n${yaml}`);
  return {
    path,
    start: () => new HubProcess(path).ready(),
    remove: () => rmSync(path, { recursive: true, force: true }),
  };
}
