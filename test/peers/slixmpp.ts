// Scripts for slixmpp, an independent client library, and what they saw.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { TestHub } from '../support/hubs.ts';

/**
 * Runs a script beside this file against a hub whose authority lies in its directory as `ca.crt`. Resolves to what the
 * script printed: JSON objects, one a line, put together. Rejects where it fails or takes longer than 45 s.
 */
export async function seenBySlixmpp(script: string, hub: TestHub): Promise<Record<string, unknown>> {
  const setup = {
    host: '127.0.0.1',
    starttls: hub.listening.c2s[0].port,
    direct: hub.listening['c2s-tls'][0]?.port,
    ca: join(hub.directory, 'ca.crt'),
    password: 'secret',
  };
  // Debian's own Python has slixmpp, whichever Python comes first on the path.
  const words = [join(import.meta.dirname, 'slixmpp', script), JSON.stringify(setup)];
  const { stdout } = await promisify(execFile)('/usr/bin/python3', words, { timeout: 45_000 });
  const lines = stdout.trim().split('\n');
  return Object.assign({}, ...lines.map(line => JSON.parse(line) as object));
}
