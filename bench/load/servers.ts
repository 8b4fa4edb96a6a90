// The servers that are measured, configured alike: no archive, no shapers, clients in the clear or by STARTTLS.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askAdmin } from '../../src/hub/admin.ts';
import { startEjabberd } from '../../test/peers/ejabberd.ts';
import { startProcess } from '../../test/peers/process.ts';
import { type PeerOptions, startProsody } from '../../test/peers/prosody.ts';
import type { Issued } from '../../test/support/authority.ts';
import type { Zones } from '../../test/support/zones.ts';

export interface Server {
  readonly name: string;
  /** The leader of its process group. */
  readonly pid: number;
  readonly host: string;
  readonly domain: string;
  readonly componentPort: number;
  /** Makes an account with the password that all have, unless clients register by themselves. */
  account(user: string): Promise<void>;
  readonly registers: boolean;
  stop(): Promise<void>;
}

export interface Surroundings {
  zones: Zones;
  authority: string;
  issue(domain: string): Promise<Issued>;
}

export type Security = 'plain' | 'tls';

/** The component that every server lets in. */
export const componentDomain = 'echo.sut.test';
const componentPort = 5347;
const secret = 'secret';

/** The hub as its users run it, in a process of its own; `domain` may be several, joined by commas. */
export async function startHubProcess(
  { zones, authority, issue }: Surroundings,
  security: Security,
  domain: string,
  host: string,
): Promise<Server> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
  const file = (name: string, text: string) => writeFileSync(join(directory, name), text, { mode: 0o600 });
  const domains = domain.split(',');
  const issued = await issue(domains.length > 1 ? domains[0].slice(domains[0].indexOf('.') + 1) : domain);
  file('ca.crt', authority);
  file('domain.crt', issued.certificate);
  file('domain.key', issued.key);
  file(
    'isthmus.yaml',
    `data: data
log: { level: warn, format: json }
domains: { ${domains.map(name => `${name}: { certificate: domain.crt, key: domain.key }`).join(', ')} }
listen: { c2s: ["${host}:5222"], s2s: ["${host}:5269"], component: ["${host}:${componentPort}"], http: [] }
clients: { require-tls: false }
tls: { trust: [ca.crt] }
dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
federation: { security: ${security === 'plain' ? 'verified' : 'trusted'} }
limits: { rate: { c2s: 0, s2s: 0 }, connections: { per-address: 100000, total: 200000 } }
components: { ${componentDomain}: { secret: ${secret} } }
${process.env.BENCH_YAML ?? ''}
`,
  );
  const running = await startProcess(
    {
      command: join(import.meta.dirname, '../../bin/isthmus'),
      args: ['start', '-c', join(directory, 'isthmus.yaml')],
      cwd: directory,
    },
    { host, port: 5222 },
  );
  return {
    name: 'isthmus',
    pid: running.pid,
    host,
    domain,
    componentPort,
    registers: false,
    account: async user => {
      await askAdmin(join(directory, 'data'), 'account add', [user.includes('@') ? user : `${user}@${domain}`, secret]);
    },
    async stop() {
      await running.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

interface Kind {
  name: string;
  host: string;
  installed: string;
  start(options: PeerOptions): ReturnType<typeof startProsody>;
  more: string;
}

const kinds: readonly Kind[] = [
  {
    name: 'ejabberd',
    host: '127.0.0.4',
    installed: '/usr/sbin/ejabberdctl',
    start: options =>
      startEjabberd({
        ...options,
        listen: `  - { port: ${componentPort}, ip: "127.0.0.4", module: ejabberd_service, hosts: { "${componentDomain}": { password: "${secret}" } } }\n`,
      }),
    more: '',
  },
  {
    name: 'Prosody (tuned)',
    host: '127.0.0.3',
    installed: '/usr/bin/prosody',
    start: startProsody,
    more: `gc = { mode = "incremental", threshold = 200 }
component_ports = { ${componentPort} }
component_interfaces = { "127.0.0.3" }
Component "${componentDomain}"
  component_secret = "${secret}"`,
  },
];

/** How each server that is installed here is started, the hub first. */
export function servers(
  surroundings: Surroundings,
): { name: string; host: string; start(security: Security): Promise<Server> }[] {
  const own = {
    name: 'isthmus',
    host: '127.0.0.2',
    start: (security: Security) => startHubProcess(surroundings, security, 'sut.test', '127.0.0.2'),
  };
  const others = kinds
    .filter(({ installed }) => existsSync(installed))
    .map(kind => ({
      name: kind.name,
      host: kind.host,
      start: (security: Security) => startPeer(kind, surroundings, security),
    }));
  return [own, ...others];
}

async function startPeer(kind: Kind, { zones, authority, issue }: Surroundings, security: Security): Promise<Server> {
  const domain = 'sut.test';
  const peer = await kind.start({
    address: kind.host,
    domain,
    mode: security === 'plain' ? 'plaintext' : 'external',
    dns: zones.server,
    hosts: '127.0.0.5 xmpp.partner.test partner.test',
    authority,
    certificate: await issue(domain),
    level: 'error',
    more: kind.more,
  });
  return {
    name: kind.name,
    pid: peer.pid,
    host: kind.host,
    domain,
    componentPort,
    registers: true,
    account: async () => {},
    stop: () => peer.stop(),
  };
}
