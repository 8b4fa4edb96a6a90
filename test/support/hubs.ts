// Hubs in this process for tests and the demo: a temporary directory, ports that the system chooses, a silent log.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningHub, startHub } from '../../src/composition.ts';
import { parseConfig } from '../../src/hub/config.ts';
import { type Log, silentLog } from '../../src/hub/log.ts';
import { type Client, type ClientOptions, connectClient } from './client.ts';

export interface TestHub extends RunningHub {
  readonly directory: string;
  readonly port: number;
  /** Makes the account where it is new, and logs in. */
  client(jid: string, options?: Partial<ClientOptions>): Promise<Client>;
  /** Stops and starts again on the same data and the same ports, or on others where nobody looks for it there. */
  restart(elsewhere?: boolean): Promise<TestHub>;
  /** Stops and removes everything. */
  close(): Promise<void>;
}

export interface HubOptions {
  /** Further top-level keys of the configuration, as YAML. */
  yaml?: string;
  /** Files that are written into its directory first. */
  files?: Record<string, string>;
  /** Addresses to listen on, with the ports the system chooses. */
  host?: string;
  listen?: Record<string, string>;
  log?: Log;
}

const password = 'a password for tests';

/** Starts a hub for these domains (YAML of `domains`, or a list of names). */
export async function startTestHub(domains: string | readonly string[], options: HubOptions = {}): Promise<TestHub> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-hub-'));
  for (const [name, text] of Object.entries(options.files ?? {})) writeFileSync(join(directory, name), text);
  return start(directory, domains, options);
}

async function start(directory: string, domains: string | readonly string[], options: HubOptions): Promise<TestHub> {
  const host = options.host ?? '127.0.0.1';
  const listen = { c2s: `${host}:0`, s2s: `${host}:0`, http: `${host}:0`, ...options.listen };
  const hosted = typeof domains === 'string' ? domains : `{ ${domains.map(name => `${name}: {}`).join(', ')} }`;
  const text = [
    `domains: ${hosted}`,
    `listen: { ${Object.entries(listen)
      .map(([name, at]) => `${name}: ["${at}"]`)
      .join(', ')} }`,
    options.yaml ?? '',
  ].join('\n');
  const file = join(directory, 'isthmus.yaml');
  writeFileSync(file, text);
  const running = await startHub(parseConfig(text, file), options.log ?? silentLog());
  const at = running.listening;
  return Object.assign(Object.create(running) as RunningHub, {
    directory,
    port: at.c2s[0]?.port ?? 0,
    async client(jid: string, more: Partial<ClientOptions> = {}) {
      await running.accounts.add(jid, password).catch(() => {});
      return connectClient({ jid, password, host, port: at.c2s[0].port, ...more });
    },
    async restart(elsewhere = false) {
      await running.stop();
      if (elsewhere) return start(directory, domains, options);
      const same = Object.fromEntries(
        Object.entries(at)
          .filter(([, on]) => on.length > 0)
          .map(([name, on]) => [name, `${on[0].host}:${on[0].port}`]),
      );
      return start(directory, domains, { ...options, listen: same });
    },
    async close() {
      await running.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  });
}
