// A real OpenLDAP server on loopback, filled from LDIF.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Issued } from '../../support/authority.ts';
import { startProcess } from '../process.ts';

export interface SlapdOptions {
  /** Files of fixtures/ldap that it holds. */
  fixtures: string[];
  /** More entries, as LDIF. */
  ldif?: string;
  /** PEM of an authority and a certificate: StartTLS and ldaps are offered. */
  tls?: { authority: string; certificate: Issued };
  /** Searches and binds in the clear are refused. */
  onlyTls?: boolean;
}

export interface Slapd {
  readonly url: string;
  readonly secureUrl: string;
  /** Ends it; the data stay. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes everything. */
  close(): Promise<void>;
}

const schemas = ['core', 'cosine', 'inetorgperson', 'dyngroup'];
/** What the tree of domains is made of; OpenLDAP brings no schema for it. */
const domainSchema = `
attributetype ( 2.16.840.1.113730.3.1.690 NAME 'inetDomainBaseDN' SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.42.2.27.9.1.700 NAME 'sunPreferredDomain' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
objectclass ( 2.16.840.1.113730.3.2.129 NAME 'inetDomain' SUP top AUXILIARY MAY ( inetDomainBaseDN $ associatedDomain ) )
`;

const suffixes = ['dc=hub,dc=test', 'o=internet', 'o=isp'];
const hubReader = 'cn=reader,dc=hub,dc=test';

function database(suffix: string, directory: string): string {
  return `database mdb
suffix "${suffix}"
directory ${directory}
maxsize 67108864
dbnosync
index objectClass,uid,cn,mail,associatedDomain eq
access to attrs=userPassword by dn="${hubReader}" write by anonymous auth by * none
access to * by dn="${hubReader}" write by * read
`;
}

export async function startSlapd(options: SlapdOptions): Promise<Slapd> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-slapd-'));
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  for (const i of suffixes.keys()) mkdirSync(join(directory, `data${i}`));
  const { tls } = options;
  const config = file(
    'slapd.conf',
    `${schemas.map(name => `include /etc/ldap/schema/${name}.schema`).join('\n')}
include ${file('domains.schema', domainSchema)}
modulepath /usr/lib/ldap
moduleload back_mdb
${tls ? `TLSCACertificateFile ${file('ca.crt', tls.authority)}` : ''}
${tls ? `TLSCertificateFile ${file('server.crt', tls.certificate.certificate)}` : ''}
${tls ? `TLSCertificateKeyFile ${file('server.key', tls.certificate.key)}` : ''}
${options.onlyTls ? 'security tls=1' : ''}
${suffixes.map((suffix, i) => database(suffix, join(directory, `data${i}`))).join('\n')}
`,
  );
  const fixtures = join(import.meta.dirname, '..', '..', '..', 'fixtures', 'ldap');
  const texts = [...options.fixtures.map(name => readFileSync(join(fixtures, name), 'utf8')), options.ldif ?? ''];
  const entries = texts.join('\n\n').split(/\n\s*\n/);
  for (const suffix of suffixes) {
    const own = entries.filter(entry => /^\s*dn: .*/.exec(entry)?.[0].endsWith(suffix));
    const args = ['-q', '-f', config, '-b', suffix, '-l', file('data.ldif', own.join('\n\n'))];
    execFileSync('/usr/sbin/slapadd', args, { stdio: 'pipe' });
  }
  const [port, securePort] = [await freePort(), await freePort()];
  const urls = [`ldap://127.0.0.1:${port}`, ...(tls ? [`ldaps://127.0.0.1:${securePort}`] : [])];
  let running: Awaited<ReturnType<typeof startProcess>> | null = null;
  const slapd: Slapd = {
    url: `ldap://localhost:${port}`,
    secureUrl: `ldaps://localhost:${securePort}`,
    async start() {
      const args = ['-h', urls.join(' '), '-f', config, '-d', '0'];
      running = await startProcess({ command: '/usr/sbin/slapd', args, cwd: directory }, { host: '127.0.0.1', port });
    },
    async stop() {
      await running?.stop();
      running = null;
    },
    async close() {
      await slapd.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  await slapd.start();
  return slapd;
}

/** A port that the system has just given away and taken back. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
