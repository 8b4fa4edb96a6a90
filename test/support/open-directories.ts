// Directories by themselves, without a hub around them: from a section of the configuration.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Directories } from '../../src/directory/directories.ts';
import { parseConfig } from '../../src/hub/config.ts';
import { silentLog } from '../../src/hub/log.ts';
import type { Store } from '../../src/hub/store.ts';

export interface OpenOptions {
  /** YAML of `domains`; hub.test by itself where nothing is said. */
  domains?: string;
  /** PEM of the authority that servers are checked by. */
  trust?: string;
}

/** Opens the directories of a configuration whose directory `corp` has this section; `close` removes all of it. */
export function openDirectories(section: string, { domains, trust }: OpenOptions = {}): Directories {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-ldap-'));
  try {
    if (trust) writeFileSync(join(directory, 'ca.crt'), trust);
    const text = `domains: ${domains ?? '{ hub.test: { directory: corp } }'}
tls: { trust: [${trust ? 'ca.crt' : ''}] }
directories:
  corp: { kind: ldap, ${section} }`;
    return new Directories(parseConfig(text, join(directory, 'isthmus.yaml')), {} as Store, silentLog());
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
