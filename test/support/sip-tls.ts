// Certificates on disk for SIP over TLS: an authority, the engine's own pair and a peer's.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Authority, createAuthority } from './authority.ts';
import type { PeerOptions } from './sip-peer.ts';

export interface SipTls {
  readonly authority: Authority;
  /** The authority's file, for `trust`. */
  readonly ca: string;
  /** The engine's `certificate` and `key`, as YAML. */
  readonly yaml: string;
  /** A peer with a certificate for those names. */
  peer(...names: string[]): Promise<PeerOptions>;
  remove(): void;
}

/** Makes a pair for hub.test. */
export async function createSipTls(): Promise<SipTls> {
  const folder = mkdtempSync(join(tmpdir(), 'sip-tls-'));
  const authority = await createAuthority();
  const own = await authority.issue({ names: ['hub.test', '127.0.0.1'] });
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const ca = file('ca.crt', authority.certificate);
  const certificate = file('hub.crt', own.certificate);
  const key = file('hub.key', own.key);
  return {
    authority,
    ca,
    yaml: `certificate: ${certificate}\nkey: ${key}`,
    async peer(...names) {
      const issued = await authority.issue({ names });
      return { tls: { cert: issued.certificate, key: issued.key, ca: authority.certificate } };
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}
