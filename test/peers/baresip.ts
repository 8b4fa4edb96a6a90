// A real baresip as a person: registers, publishes, watches and writes, driven over its control socket.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../support/sip.ts';
import { startProcess } from './process.ts';

export interface BaresipOptions {
  /** `sip:alice@sip.test` */
  uri: string;
  proxy: { address: string; port: number; protocol: 'udp' | 'tcp' };
  /** Whom it watches. */
  contacts: string[];
}

export interface Baresip {
  /** All that it has written, with the messages it heard. */
  log(): string;
  /** Resolves when it has shown this, behind what was looked for before. */
  writes(pattern: RegExp, deadline?: number): Promise<RegExpExecArray>;
  /** Resolves when its list of contacts shows this. */
  lists(pattern: RegExp): Promise<void>;
  /** `message` writes to the first contact. */
  command(command: string, params?: string): void;
  stop(): Promise<void>;
}

/** `cons` writes what is heard to who is connected. */
const modules = ['g711', 'uuid', 'cons', 'account', 'contact', 'menu', 'presence', 'ctrl_tcp'];
const plain = new Set(['g711', 'uuid', 'cons']);

export async function startBaresip({ uri, proxy, contacts }: BaresipOptions): Promise<Baresip> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-baresip-'));
  mkdirSync(join(directory, 'recordings'));
  const control = await freePort();
  const hearing = await freePort();
  // It takes the port behind its own for TLS.
  const local = await freePort(true);
  const file = (name: string, text: string) => writeFileSync(join(directory, name), text);
  const outbound = `sip:${proxy.address}:${proxy.port};transport=${proxy.protocol}`;
  file('accounts', `<${uri};transport=${proxy.protocol}>;auth_pass=;outbound="${outbound}";regint=60;pubint=120\n`);
  file('contacts', contacts.map(contact => `"Friend" <${contact}>;presence=p2p\n`).join(''));
  file(
    'config',
    [
      `sip_listen 127.0.0.1:${local}`,
      'net_interface 127.0.0.1',
      'module_path /usr/lib/baresip/modules',
      ...modules.map(name => `module${plain.has(name) ? '' : '_app'} ${name}.so`),
      `ctrl_tcp_listen 127.0.0.1:${control}`,
      `cons_listen 127.0.0.1:${hearing}`,
      '',
    ].join('\n'),
  );
  const args = ['-4', '-f', directory, '-v'];
  const running = await startProcess(
    { command: 'baresip', args, cwd: directory },
    { host: '127.0.0.1', port: control },
  );
  let events = '';
  let read = 0;
  const connect = (port: number): Socket =>
    createConnection({ host: '127.0.0.1', port })

      .on('data', (chunk: Buffer) => {
        events += chunk;
      })
      .on('error', () => {});
  const socket = connect(control);
  const ears = connect(hearing);
  const log = () => running.log() + events;
  const command = (name: string, params?: string) => {
    const text = JSON.stringify({ command: name, params, token: name });
    socket.write(`${Buffer.byteLength(text)}:${text},`);
  };
  return {
    log,
    async writes(pattern, deadline = 15_000) {
      const end = Date.now() + deadline;
      for (;;) {
        const found = pattern.exec(events.slice(read));
        if (found) {
          read += found.index + found[0].length;
          return found;
        }
        if (Date.now() > end) throw new Error(`baresip did not write ${pattern}:\n${log()}`);
        await new Promise(resolve => setTimeout(resolve, 50));
      }
    },
    async lists(pattern) {
      const end = Date.now() + 15_000;
      const before = events.length;
      while (!pattern.test(events.slice(before))) {
        if (Date.now() > end) throw new Error(`baresip did not list ${pattern}:\n${log()}`);
        command('contacts');
        await new Promise(resolve => setTimeout(resolve, 100));
      }
      read = events.length;
    },
    command,
    async stop() {
      socket.destroy();
      ears.destroy();
      await running.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
