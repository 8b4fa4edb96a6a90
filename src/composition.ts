// One hub, put together: what is made, in which order, and how it ends. The order of the routes is the order of routing.
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BridgeHost } from './bridges/host.ts';
import { kinds } from './bridges/index.ts';
import { SharedDomains } from './bridges/sharing.ts';
import { ClientServer } from './c2s/server.ts';
import { LocalRoute, SessionTable } from './c2s/sessions.ts';
import type { Accounts } from './cli/account.ts';
import { Attachment } from './components/attachment.ts';
import { ComponentServer } from './components/server.ts';
import { Directories } from './directory/directories.ts';
import { GroupRoute } from './directory/group-route.ts';
import { authorities, judgePeer, type Roots, readRoots } from './federation/identity.ts';
import { Links } from './federation/links.ts';
import { Posh } from './federation/posh.ts';
import { prove } from './federation/proofs.ts';
import { AdminServer } from './hub/admin.ts';
import { Certificates } from './hub/certificates.ts';
import { type Config, changed, checkModules, type Endpoint, type ListenerName } from './hub/config.ts';
import type { Directory } from './hub/directory.ts';
import { createResolver } from './hub/dns.ts';
import { replaceFile } from './hub/file.ts';
import { Kernel } from './hub/hub.ts';
import { ConnectionGuard, formatEndpoint, type Listening, listen } from './hub/listener.ts';
import { createLog, type Log } from './hub/log.ts';
import { createMetrics, type Metrics } from './hub/metrics.ts';
import { Services } from './hub/services.ts';
import type { Store } from './hub/store.ts';
import { version } from './hub/version.ts';
import { exportUser, importUser, moduleNames, modules, removeAccount } from './modules/index.ts';
import { adminCommands } from './operations.ts';
import { openSqlite } from './store/sqlite.ts';
import { WebServer } from './web/server.ts';
import { StanzaError } from './xmpp/errors.ts';
import { Jid } from './xmpp/jid.ts';
import { parseElement } from './xmpp/payload.ts';

/** A hub that runs. */
export interface RunningHub {
  readonly hub: Kernel;
  readonly config: Config;
  readonly links: Links;
  readonly components: ComponentServer;
  readonly bridges: BridgeHost;
  /** The other server that the bridges serve, where `attach` names one. */
  readonly attachment: Attachment | null;
  readonly certificates: Certificates;
  readonly accounts: Accounts;
  readonly started: number;
  /** Where each listener really listens. */
  readonly listening: Record<ListenerName, Endpoint[]>;
  /** Takes over a changed configuration; says what changed and what needs a restart. */
  reload(config: Config): Promise<{ changed: string[]; restart: string[] }>;
  /** Ends properly: streams are closed, queues kept. */
  stop(): Promise<void>;
}

/** One user of an export file may bring a whole archive along. */
const exportLimits = { stanzaSize: 64 * 1024 * 1024, children: 1_000_000 };

export function storePath(config: Config): string {
  return join(config.data, 'isthmus.db');
}

/** The accounts of all hosted domains, those of directories elsewhere as far as they can be changed. */
export function accountsOf(
  config: Config,
  store: Store,
  directories: ReadonlyMap<string, Directory>,
  removed: (jid: Jid) => Promise<void>,
): Accounts {
  const locate = (text: string) => {
    const jid = Jid.tryParse(text);
    if (!jid?.local || jid.resource) throw new Error(`${text} is not an account; user@domain is expected`);
    const directory = directories.get(jid.domain);
    if (!directory) {
      throw new Error(`${jid.domain} is not served here; served are ${[...config.domains.keys()].join(', ')}`);
    }
    return { jid, directory };
  };
  const find = (text: string) => {
    const { jid, directory } = locate(text);
    if (!directory.writable) throw new Error(`the users of ${jid.domain} live in the directory ${directory.name}`);
    return { jid, directory: directory.writable };
  };
  const say = (error: unknown): never => {
    throw error instanceof StanzaError ? new Error(error.text || error.condition) : error;
  };
  return {
    async add(text, password) {
      const { jid, directory } = find(text);
      await directory.add(jid.local, password).catch(say);
    },
    async passwd(text, password) {
      const { jid, directory } = find(text);
      if (!(await directory.setPassword(jid.local, password))) throw new Error(`there is no account ${jid}`);
    },
    async remove(text) {
      const { jid, directory } = find(text);
      if (!(await directory.remove(jid.local))) throw new Error(`there is no account ${jid}`);
      await removed(jid);
    },
    async export(text) {
      const { jid, directory } = locate(text);
      if (!(await directory.find(jid.local))) throw new Error(`there is no account ${jid}`);
      return (await exportUser(store, directory, modules, jid)).toString();
    },
    async import(text, xml) {
      const { jid, directory } = locate(text);
      return importUser(store, directory, modules, jid, parseElement(xml, exportLimits)).catch(say);
    },
    async list(domain) {
      if (domain !== undefined && !directories.has(domain)) throw new Error(`${domain} is not served here`);
      const names = domain === undefined ? [...directories.keys()] : [domain];
      const listed: { jid: string }[] = [];
      for (const name of names) {
        for await (const user of directories.get(name)?.writable?.list() ?? []) listed.push({ jid: `${user}@${name}` });
      }
      return listed;
    },
  };
}

/** The directories of the hosted domains; they are to be closed. */
export function openDirectories(config: Config, store: Store, log: Log): Directories {
  return new Directories(config, store, log);
}

/**
 * Starts a hub. Rejects with ConfigError, StoreError or an Error that says what is wrong; nothing is left running
 * then. `log` is where it writes, standard output where none is given.
 */
export async function startHub(config: Config, log: Log = createLog(config.log)): Promise<RunningHub> {
  const undo: (() => void | Promise<void>)[] = [];
  try {
    return await compose(config, log, undo);
  } catch (error) {
    // What fails now, fails because of that.
    await undone(undo).catch(() => {});
    throw error;
  }
}

/** Undoes all steps, the last one first. Rejects with the first failure, after all were tried. */
async function undone(steps: (() => void | Promise<void>)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const step of steps.splice(0).reverse()) {
    try {
      await step();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

async function compose(first: Config, log: Log, undo: (() => void | Promise<void>)[]): Promise<RunningHub> {
  let config = first;
  const started = Date.now();
  checkModules(config, moduleNames);
  const store = openSqlite(storePath(config));
  undo.push(() => store.close());
  const metrics = createMetrics();
  undo.push(() => metrics.close());
  const resolver = createResolver(config.dns);
  undo.push(() => resolver.close());

  const table = new SessionTable();
  const sessions = new LocalRoute(table);
  const components = new ComponentServer();
  const bridges = new BridgeHost(kinds);
  const services = new Services();
  const links = new Links();
  const directories = openDirectories(config, store, log);
  undo.push(() => directories.close());
  const groups = new GroupRoute(directories);
  const attachment = config.attach ? new Attachment({ ...config.attach, resolver }, () => hub) : null;
  const shared = new SharedDomains({ bridges, sessions, links: attachment ?? links });
  const hub: Kernel = new Kernel({ config, log, metrics, store, sessions: table, directories, services }, [
    shared,
    bridges,
    components,
    groups,
    sessions,
    services,
    attachment ?? links,
  ]);
  sessions.attach(hub);
  components.attach(hub);
  groups.attach(hub);
  shared.attach(hub, resolver);
  const web = new WebServer(log);
  bridges.create(hub, {
    resolver,
    http: (method, path, handler) => web.add(method, path, handler),
    refusal: domain => links.policy.refusal(domain),
  });

  const taken = (domain: string) => [bridges, components, groups].some(route => route.owns(Jid.of('', domain, '')));
  void directories.followAliases(() => config, taken);
  const bridged = bridges.list().flatMap(({ domains }) => domains.split(' '));
  const others = [...bridged.filter(name => !hub.hosts(name)), ...config.components.keys()];
  const certificates = await Certificates.open(config, [...others, ...directories.groupDomains], log);
  undo.push(() => certificates.close());
  let roots: Roots = readRoots(config.tls.trust);
  const posh = new Posh({ resolver, authorities: () => authorities(config.tls.trust) });
  links.attach(hub, {
    resolver,
    contextFor: domain => certificates.contextFor(config.aliases.get(domain) ?? domain),
    judge: (socket, domain) => judgePeer(socket, domain, roots),
    prove: (socket, domain, target) => prove({ resolver, posh, roots: () => roots }, socket, domain, target),
    dialbackSecret: config.federation.dialbackSecret || keptSecret(config.data, 'dialback'),
  });
  const clients = new ClientServer(hub, table, {
    contextFor: domain => certificates.contextFor(domain),
    certificateOf: domain => certificates.certificateOf(domain),
    scramSecret: Buffer.from(keptSecret(config.data, 'scram')),
  });
  for (const module of modules) await hub.start(module);
  await certificates.cover(services.domains);
  await bridges.start();
  undo.push(() => bridges.stop());
  attachment?.start();
  undo.push(() => attachment?.stop());

  const accounts = accountsOf(config, store, directories, jid => removeAccount(hub, jid));
  const guard = new ConnectionGuard(config.limits.connections);
  const open: Listening[] = [];
  let ready = false;
  const listening: RunningHub['listening'] = {
    c2s: [],
    'c2s-tls': [],
    s2s: [],
    's2s-tls': [],
    component: [],
    http: [],
  };
  observe(metrics, { table, guard, certificates, components, directories });
  addHealth(web, metrics, () => ready);

  const running: RunningHub = {
    hub,
    links,
    components,
    bridges,
    attachment,
    certificates,
    accounts,
    started,
    listening,
    get config() {
      return config;
    },
    async reload(next) {
      checkModules(next, moduleNames);
      const { keys, restart } = changed(config, next);
      directories.update(next);
      await certificates.reload(next, directories.groupDomains);
      roots = readRoots(next.tls.trust);
      // What needs a restart keeps its old values until then.
      config = { ...next, data: config.data, listen: config.listen, attach: config.attach, bridges: config.bridges };
      hub.config = config;
      services.configure(config);
      await certificates.cover(services.domains);
      void directories.followAliases(() => config, taken);
      guard.perAddress = config.limits.connections.perAddress;
      guard.total = config.limits.connections.total;
      log.level = config.log.level;
      links.applyPolicy();
      await hub.emit('reloaded', config);
      log.info({ changed: keys, restart }, 'configuration read anew');
      return { changed: keys, restart };
    },
    async stop() {
      ready = false;
      await Promise.all(
        open
          .map(listener => listener.close())
          .concat(web.stop())
          .map(closing => Promise.race([closing, turn()])),
      );
      await clients.stop();
      components.stop();
      await links.stop();
      await turn();
      await undone(undo);
    },
  };
  const admin = new AdminServer(adminCommands(running));
  await admin.start(config.data);
  undo.push(
    () => hub.stop(),
    () => admin.stop(),
  );

  // A disk that is full shows here, before anybody is promised anything.
  await store.durable();
  const accept: Record<Exclude<ListenerName, 'http'>, Parameters<typeof listen>[4]> = {
    c2s: socket => clients.accept(socket, false),
    'c2s-tls': socket => clients.accept(socket, true),
    s2s: socket => links.accept(socket, false),
    's2s-tls': socket => links.accept(socket, true),
    component: socket => components.accept(socket),
  };
  for (const [name, take] of Object.entries(accept) as [Exclude<ListenerName, 'http'>, (typeof accept)['c2s']][]) {
    for (const endpoint of config.listen[name]) {
      const listener = await listen(name, endpoint, guard, log, take);
      open.push(listener);
      undo.push(() => listener.close());
      listening[name].push(listener.address);
    }
  }
  for (const endpoint of config.listen.http) listening.http.push(await web.listen(endpoint));
  undo.push(() => web.stop());
  ready = true;
  log.info(
    {
      version: version,
      domains: [...config.domains.keys()],
      ...Object.fromEntries(Object.entries(listening).map(([name, at]) => [name, at.map(formatEndpoint)])),
    },
    'isthmus is ready',
  );
  return running;
}

/** Lets what was just written leave. */
function turn(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 20));
}

/** A random secret that is made once and kept in `data`. */
function keptSecret(data: string, name: string): string {
  const directory = join(data, 'keys');
  const file = join(directory, `${name}.secret`);
  try {
    const kept = readFileSync(file, 'utf8').trim();
    if (kept !== '') return kept;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      throw new Error(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  const secret = randomBytes(32).toString('hex');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  replaceFile(file, secret);
  return secret;
}

interface Observed {
  table: SessionTable;
  guard: ConnectionGuard;
  certificates: Certificates;
  components: ComponentServer;
  directories: Directories;
}

function observe(metrics: Metrics, { table, guard, certificates, components, directories }: Observed): void {
  metrics.gauge('isthmus_directory_connections', 'Connections to directory servers', ['directory', 'server'], set => {
    for (const { directory, url, open } of directories.servers) set(open, directory, url);
  });
  metrics.gauge('isthmus_sessions', 'Client sessions', [], set => set(table.count));
  metrics.gauge('isthmus_connections', 'Open connections of all listeners', [], set => set(guard.count));
  metrics.gauge('isthmus_components', 'Components that are connected', [], set => set(components.connected.length));
  metrics.gauge(
    'isthmus_certificate_expiry_seconds',
    'Unix time at which a certificate of ours expires',
    ['domain'],
    set => {
      for (const { domain, notAfter } of certificates.expiries) set(notAfter.getTime() / 1000, domain);
    },
  );
}

function addHealth(web: WebServer, metrics: Metrics, ready: () => boolean): void {
  const json = (status: number, data: unknown) => ({
    status,
    type: 'application/json',
    body: `${JSON.stringify(data)}\n`,
  });
  web.add('GET', '/health/live', () => json(200, { live: true }));
  web.add('GET', '/health/ready', () => json(ready() ? 200 : 503, { ready: ready() }));
  web.add('GET', '/metrics', async () => ({
    status: 200,
    type: 'text/plain; version=0.0.4; charset=utf-8',
    body: await metrics.text(),
  }));
}
