// Scripts for independent client libraries, run against a hub with real TLS, and what they saw.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { after, before } from 'mocha';
import { createAuthority } from '../support/authority.ts';
import { type HubOptions, startTestHub, type TestHub } from '../support/hubs.ts';

export type Library = 'slixmpp' | 'aioxmpp';

export interface LibraryHub extends HubOptions {
  /** Who has an account at hub.test: local parts. */
  users: string[];
  /** Further keys of the domain, as YAML between braces. */
  domain?: string;
}

const password = 'secret';

/**
 * Has the tests of a `describe` begin with a hub of their own, against which a script runs. Returns what the script
 * saw, which is there when the tests run.
 */
export function seenBy(library: Library, script: string, options: LibraryHub): Record<string, unknown> {
  const seen: Record<string, unknown> = {};
  let hub: TestHub | undefined;
  before(async function () {
    this.timeout(60_000);
    hub = await startLibraryHub(options);
    Object.assign(seen, await runScript(library, script, hub));
  });
  after(() => hub?.close());
  return seen;
}

/** Starts a hub for hub.test with a certificate of an authority that scripts trust: `ca.crt` in its directory. */
export async function startLibraryHub({ users, domain, ...options }: LibraryHub): Promise<TestHub> {
  const authority = await createAuthority();
  const issued = await authority.issue({ names: ['hub.test'] });
  const keys = ['certificate: domain.crt', 'key: domain.key', ...(domain ? [domain] : [])];
  const hub = await startTestHub(`{ hub.test: { ${keys.join(', ')} } }`, {
    ...options,
    files: { 'ca.crt': authority.certificate, 'domain.crt': issued.certificate, 'domain.key': issued.key },
    listen: { 'c2s-tls': '127.0.0.1:0', ...options.listen },
  });
  for (const user of users) await hub.accounts.add(`${user}@hub.test`, password);
  return hub;
}

/**
 * Runs a script of a library's directory beside this file. Resolves to what it printed: JSON objects, one a line, put
 * together. Rejects where it fails or takes longer than 45 s.
 */
export async function runScript(library: Library, script: string, hub: TestHub): Promise<Record<string, unknown>> {
  const setup = {
    host: '127.0.0.1',
    starttls: hub.listening.c2s[0].port,
    direct: hub.listening['c2s-tls'][0].port,
    component: hub.listening.component[0]?.port,
    ca: join(hub.directory, 'ca.crt'),
    password,
  };
  const file = join(import.meta.dirname, library, script);
  const env = { ...process.env, PYTHONPATH: join(import.meta.dirname, 'python'), PYTHONDONTWRITEBYTECODE: '1' };
  // Debian's own Python has the libraries, whichever Python comes first on the path.
  const words = ['-W', 'ignore', file, JSON.stringify(setup)];
  const { stdout } = await promisify(execFile)('/usr/bin/python3', words, { timeout: 45_000, env });
  const lines = stdout.trim().split('\n');
  return Object.assign({}, ...lines.map(line => JSON.parse(line) as object));
}
