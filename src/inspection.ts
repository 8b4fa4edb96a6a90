// What `isthmus check` looks at: configuration, store, certificates, listeners, DNS; or a live partner.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createSecureContext } from 'node:tls';
import { domainToASCII } from 'node:url';
import type { Finding } from './cli/command.ts';
import { startHub, storePath } from './composition.ts';
import { Directories } from './directory/directories.ts';
import { judge, type Roots, readRoots } from './federation/identity.ts';
import { targets } from './federation/resolve.ts';
import { askAdmin, makeDataDirectory, NotRunning } from './hub/admin.ts';
import { type Config, checkModules, type DomainConfig, type Endpoint } from './hub/config.ts';
import { createResolver, DnsError, type Resolver } from './hub/dns.ts';
import { formatEndpoint } from './hub/listener.ts';
import { silentLog } from './hub/log.ts';
import { moduleNames } from './modules/index.ts';
import { openSqlite } from './store/sqlite.ts';

const ok = (about: string, text: string): Finding => ({ verdict: 'ok', about, text });
const warn = (about: string, text: string): Finding => ({ verdict: 'warn', about, text });
const fail = (about: string, text: string): Finding => ({ verdict: 'fail', about, text });

/** Yields what is found, good and bad, as it is found. */
export async function* inspect(config: Config, partner: string | undefined): AsyncIterable<Finding> {
  checkModules(config, moduleNames);
  if (partner !== undefined) return yield* inspectPartner(config, partner);
  yield ok('configuration', config.file || 'none: the domain localhost on loopback');
  const running = await isRunning(config);
  yield ok('hub', running ? 'running' : 'not running');
  if (!running) yield await inspectStore(config);
  const roots = readRoots(config.tls.trust);
  for (const domain of config.domains.values()) yield* inspectCertificate(domain, roots);
  yield* inspectDirectories(config);
  for (const [name, endpoints] of Object.entries(config.listen)) {
    for (const endpoint of endpoints) yield await inspectListener(name, endpoint, running);
  }
  const resolver = createResolver(config.dns);
  try {
    for (const { name } of config.domains.values()) yield* inspectDns(resolver, name, config);
  } finally {
    resolver.close();
  }
}

async function isRunning(config: Config): Promise<boolean> {
  try {
    await askAdmin(config.data, 'status', []);
    return true;
  } catch (error) {
    return !(error instanceof NotRunning);
  }
}

async function inspectStore(config: Config): Promise<Finding> {
  try {
    makeDataDirectory(config.data);
    await openSqlite(storePath(config)).close();
    return ok('data', config.data);
  } catch (error) {
    return fail('data', (error as Error).message);
  }
}

/** Looks somebody up who is nobody: that takes a connection, TLS where it is configured, and the hub's own login. */
async function* inspectDirectories(config: Config): AsyncIterable<Finding> {
  const domains = new Map([...config.domains].filter(([, { directory }]) => directory !== 'accounts'));
  // Without domains of accounts nothing of the store is asked for.
  const directories = new Directories({ ...config, domains }, null as never, silentLog());
  for (const [domain, directory] of directories) {
    const about = `directory ${directory.name} for ${domain}`;
    try {
      await directory.find('isthmus-check');
      yield ok(about, 'answers');
    } catch (error) {
      yield fail(about, `${(error as Error).message}; nobody of ${domain} can log in`);
    }
  }
  for (const { url, down } of directories.servers) if (down) yield warn('directory server', `${url} does not answer`);
  directories.close();
}

function* inspectCertificate({ name, tls }: DomainConfig, roots: Roots): Iterable<Finding> {
  const about = `certificate of ${name}`;
  if (!tls) {
    return yield warn(
      about,
      'none is configured: the hub makes one itself, which partners cannot check; set certificate and key',
    );
  }
  try {
    const text = readFileSync(tls.certificate, 'utf8');
    createSecureContext({ cert: text, key: readFileSync(tls.key) });
    const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
    const chain = blocks.map(block => new X509Certificate(block));
    const verdict = judge(chain, name, roots);
    const days = Math.floor((chain[0].validToDate.getTime() - Date.now()) / 86_400_000);
    if (!verdict.valid)
      yield fail(about, `${verdict.reason}; get one for ${name} and put its whole chain into ${tls.certificate}`);
    else if (days <= 21) yield warn(about, `expires in ${days} days; renew it, the hub takes the new file by itself`);
    else yield ok(about, `valid for ${days} days`);
  } catch (error) {
    yield fail(about, `${tls.certificate} and ${tls.key} do not go together: ${(error as Error).message}`);
  }
}

function inspectListener(name: string, endpoint: Endpoint, running: boolean): Promise<Finding> {
  const about = `listen.${name} ${formatEndpoint(endpoint)}`;
  if (running) return Promise.resolve(ok(about, 'held by the running hub'));
  return new Promise(resolve => {
    const server = createServer();
    server.once('error', (error: NodeJS.ErrnoException) => {
      const what = error.code === 'EADDRINUSE' ? 'is in use; stop what listens there' : `cannot be used: ${error.code}`;
      resolve(fail(about, what));
    });
    server.listen(endpoint.port, endpoint.host, () => server.close(() => resolve(ok(about, 'free'))));
  });
}

/** What the world finds when it looks for the domain. */
async function* inspectDns(resolver: Resolver, domain: string, config: Config): AsyncIterable<Finding> {
  const about = `DNS of ${domain}`;
  const ports = new Set([...config.listen.s2s, ...config.listen['s2s-tls']].map(({ port }) => port));
  for (const service of ['_xmpp-server._tcp', '_xmpp-client._tcp']) {
    const name = `${service}.${domainToASCII(domain)}`;
    try {
      const records = await resolver.srv(name);
      if (records.length === 0) {
        yield warn(about, `no SRV record ${name}; others will try ${domain} itself on the standard port`);
        continue;
      }
      for (const { target, port } of records) {
        const addresses = await resolver.addresses(target).catch(() => []);
        const where = `${name} → ${target}:${port}`;
        if (addresses.length === 0) yield fail(about, `${where} has no address; add an A or AAAA record`);
        else if (service === '_xmpp-server._tcp' && !ports.has(port))
          yield warn(about, `${where}, but the hub does not listen on ${port}`);
        else yield ok(about, where);
      }
    } catch (error) {
      const gone = error instanceof DnsError && error.code === 'not-found';
      yield warn(about, gone ? `no SRV record ${name}; others will try ${domain} itself` : (error as Error).message);
    }
  }
  try {
    await targets(resolver, domain);
    yield ok(about, 'others find a server for it');
  } catch (error) {
    yield warn(about, `${(error as Error).message}; other domains cannot reach it`);
  }
}

/** Makes a link with a live partner, through the running hub where there is one, and sends no stanza. */
async function* inspectPartner(config: Config, partner: string): AsyncIterable<Finding> {
  let result: { ok: boolean; story: string[] };
  try {
    result = (await askAdmin(config.data, 'check domain', [partner])) as typeof result;
  } catch (error) {
    if (!(error instanceof NotRunning)) throw error;
    // Dialback needs us to be reachable, so the hub starts for as long as the look takes.
    const hub = await startHub(config, silentLog());
    try {
      result = await hub.links.probe(config.domains.keys().next().value ?? '', partner);
    } finally {
      await hub.stop();
    }
  }
  for (const line of result.story) yield ok(partner, line);
  yield result.ok ? ok(partner, 'a link can be made') : fail(partner, 'no link can be made; the last line says why');
}
