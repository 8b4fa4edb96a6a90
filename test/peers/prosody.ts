// A real Prosody on a loopback address of its own.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from '../../src/hub/config.ts';
import type { Issued } from '../support/authority.ts';
import { listens, type Peer, startProcess } from './process.ts';

export type Mode = 'plaintext' | 'tls' | 'external';

export interface PeerOptions {
  address: string;
  domain: string;
  mode: Mode;
  dns: Endpoint;
  /** PEM of the authority it trusts. */
  authority: string;
  certificate: Issued;
  /** Lines of a hosts file, for a peer that cannot be told where to ask for addresses. */
  hosts?: string;
  /** More lines of its configuration. */
  more?: string;
  /** More modules that are switched on, where they are listed by name. */
  modules?: string[];
  /** More domains that it serves. */
  domains?: string[];
  /** More listeners, where they have a section of their own. */
  listen?: string;
  /** `debug` where nothing is said: what a test that fails has to show. */
  level?: 'debug' | 'error';
}

/** Starts Prosody on the standard ports of its address; clients may log in in the clear and register. */
export async function startProsody(options: PeerOptions): Promise<Peer> {
  const { address, domain, mode, dns, authority, certificate, more = '', level = 'debug' } = options;
  const modules = (options.modules ?? []).map(name => `"${name}";`).join(' ');
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-prosody-'));
  mkdirSync(join(directory, 'data'));
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const ca = file('ca.crt', authority);
  const crt = file('domain.crt', certificate.certificate);
  const key = file('domain.key', certificate.key);
  const tls = mode === 'plaintext' ? '' : '"tls";';
  const config = file(
    'prosody.cfg.lua',
    `run_as_root = true
daemonize = false
pidfile = "${join(directory, 'prosody.pid')}"
data_path = "${join(directory, 'data')}"
interfaces = { "${address}" }
local_interfaces = { "${address}" }
admin_socket = "${join(directory, 'admin.sock')}"
modules_enabled = { "roster"; "saslauth"; ${tls} "dialback"; "disco"; "ping"; "register"; "version"; ${modules} }
modules_disabled = { "admin_shell"; ${mode === 'plaintext' ? '"tls";' : ''} ${mode === 'external' ? '"dialback";' : ''} }
allow_registration = true
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
s2s_require_encryption = ${mode !== 'plaintext'}
s2s_secure_auth = ${mode === 'external'}
authentication = "internal_plain"
unbound = { resolvconf = false; hoststxt = false; forward = { "${dns.host}@${dns.port}" };
  options = { ["do-not-query-localhost:"] = "no"; ["local-zone:"] = "test. transparent" } }
log = { ${level} = "*console" }
ssl = { cafile = "${ca}"; certificate = "${crt}"; key = "${key}" }
${more}
${[domain, ...(options.domains ?? [])].map(name => `VirtualHost "${name}"`).join('\n')}
`,
  );
  const running = await startProcess(
    { command: 'prosody', args: ['--config', config, '-F'], cwd: directory },
    { host: address, port: 5269, others: [5222] },
  );
  await listens(address, 5222, domain).catch(async error => {
    await running.stop();
    throw error;
  });
  return {
    address,
    domain,
    pid: running.pid,
    log: running.log,
    async stop() {
      await running.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
