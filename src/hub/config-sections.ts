// The sections of the configuration, each read, checked and given its defaults.
import { accessSync, constants } from 'node:fs';
import { isIP } from 'node:net';
import { Jid } from '../xmpp/jid.ts';
import type {
  Certificate,
  Config,
  DomainConfig,
  Endpoint,
  ExternalService,
  ListenerName,
  ModuleSettings,
  PartnerConfig,
} from './config.ts';
import type { Section } from './settings.ts';

/** The roles of XEP-0157 §3. */
export const contactRoles = ['abuse', 'admin', 'feedback', 'sales', 'security', 'status', 'support'] as const;

/** What new users are asked for besides a name and a password. */
export const registrationFields = ['name', 'mail', 'mobile'] as const;

const defaultListen: Record<ListenerName, Endpoint[]> = {
  c2s: [{ host: '127.0.0.1', port: 5222 }],
  'c2s-tls': [],
  s2s: [{ host: '127.0.0.1', port: 5269 }],
  's2s-tls': [],
  component: [],
  http: [{ host: '127.0.0.1', port: 5280 }],
};

const knownMechanisms = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'] as const;

export function readLog(section: Section): Config['log'] {
  const log = {
    level: section.oneOf('level', ['trace', 'debug', 'info', 'warn', 'error'], 'info'),
    format: section.oneOf('format', ['auto', 'json', 'pretty'], 'auto'),
  };
  section.done();
  return log;
}

export function readDomains(top: Section, attached: boolean): Map<string, DomainConfig> {
  const domains = new Map<string, DomainConfig>();
  if (!top.has('domains')) {
    if (attached) return domains;
    top.fail('domains', 'is missing; the domains served here are expected, or `attach`');
  }
  if (attached) top.fail('attach', 'cannot stand beside `domains`: either users live here or on the other server');
  const section: Section = top.section('domains');
  for (const [key, entry] of top.entries('domains')) {
    const jid = Jid.tryParse(key);
    if (!jid?.isDomain) section.fail(key, 'is not a domain');
    if (domains.has(jid.domain)) section.fail(key, `is there already; ${jid.domain} is expected once`);
    domains.set(jid.domain, {
      name: jid.domain,
      tls: readCertificate(entry),
      directory: entry.string('directory', 'accounts'),
      aliases: entry.domains('aliases', []),
      admins: entry.jids('admins', []),
      greeting: entry.string('greeting', ''),
      contacts: readContacts(entry.section('contacts')),
      modules: readModules(entry.section('modules')),
    });
    entry.done();
  }
  if (domains.size === 0) top.fail('domains', 'is empty; at least one domain is expected');
  return domains;
}

function readContacts(section: Section): DomainConfig['contacts'] {
  const contacts: DomainConfig['contacts'] = new Map();
  for (const role of contactRoles) {
    const uris = section.strings(role, []);
    for (const uri of uris)
      if (!URL.canParse(uri)) section.fail(role, `${uri} is not a URI such as mailto:abuse@hub.test`);
    if (uris.length > 0) contacts.set(role, uris);
  }
  section.done();
  return contacts;
}

export function readExternalService(section: Section): ExternalService {
  const service = {
    type: section.string('type'),
    host: section.string('host'),
    port: section.integer('port', 0, { min: 0, max: 65535 }),
    transport: section.has('transport') ? section.oneOf('transport', ['udp', 'tcp']) : '',
    name: section.string('name', ''),
    secret: section.secret('secret', ''),
    lifetime: section.duration('lifetime', 12 * 3_600_000),
    username: section.string('username', ''),
    password: section.secret('password', ''),
    domains: section.domains('domains', []),
    access: section.jids('access', []),
  };
  if (service.secret && service.username) section.fail('username', 'cannot stand beside `secret`, which makes its own');
  if (!service.username !== !service.password) section.fail('username', '`username` and `password` go together');
  section.done();
  return service;
}

function readCertificate(entry: Section): Certificate | null {
  const certificate = entry.has('certificate');
  const key = entry.has('key');
  if (!certificate && !key) return null;
  if (!certificate) entry.fail('key', 'stands alone; `certificate` is expected as well');
  if (!key) entry.fail('certificate', 'stands alone; `key` is expected as well');
  return { certificate: readable(entry, 'certificate'), key: readable(entry, 'key') };
}

/** The path of a file that can be read now. */
function readable(section: Section, key: string): string {
  const path = section.path(key);
  try {
    accessSync(path, constants.R_OK);
  } catch (error) {
    section.fail(key, `${path} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  return path;
}

export function readCrossDomain(section: Section): Config['crossDomain'] {
  const cross = {
    policy: section.oneOf('policy', ['open', 'closed'], 'closed'),
    exceptions: section.domains('exceptions', []),
  };
  section.done();
  return cross;
}

/** Attached to another server, nobody connects here but for health and metrics, unless the file says so. */
export function readListen(section: Section, attached: boolean): Config['listen'] {
  const listen = {} as Config['listen'];
  const seen = new Map<string, string>();
  for (const name of Object.keys(defaultListen) as ListenerName[]) {
    listen[name] = section.endpoints(name, attached && name !== 'http' ? [] : defaultListen[name]);
    for (const { host, port } of listen[name]) {
      const key = `${host} ${port}`;
      if (port !== 0 && seen.has(key)) section.fail(name, `${host}:${port} is used by ${seen.get(key)} already`);
      seen.set(key, name);
    }
  }
  section.done();
  return listen;
}

export function readClients(section: Section): Config['clients'] {
  const limit = section.section('registration-limit');
  const resumption = section.section('resumption');
  const ping = section.section('ping');
  const clients = {
    requireTls: section.boolean('require-tls', true),
    mechanisms: section.listOf('mechanisms', knownMechanisms, knownMechanisms) as string[],
    registration: section.boolean('registration', false),
    fork: section.boolean('fork', false),
    registrationLimit: {
      accounts: limit.integer('accounts', 100, { min: 0 }),
      per: limit.duration('per', 3_600_000),
    },
    registrationFields: section.listOf('registration-fields', registrationFields, []),
    resumption: {
      time: resumption.duration('time', 300_000),
      location: resumption.has('location') ? resumption.string('location') : '',
    },
    tokenLifetime: section.duration('token-lifetime', 21 * 86_400_000),
    ping: { interval: ping.duration('interval', 300_000), timeout: ping.duration('timeout', 60_000) },
  };
  limit.done();
  resumption.done();
  ping.done();
  section.done();
  if (clients.mechanisms.length === 0) section.fail('mechanisms', 'is empty; at least one is expected');
  return clients;
}

export function readTls(section: Section): Config['tls'] {
  const trust = section.strings('trust', []).map(path => {
    const absolute = section.resolve(path);
    try {
      accessSync(absolute, constants.R_OK);
    } catch (error) {
      section.fail('trust', `${absolute} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
    }
    return absolute;
  });
  const tls = { trust, minVersion: section.oneOf('min-version', ['TLSv1.2', 'TLSv1.3'], 'TLSv1.2') };
  section.done();
  return tls;
}

export function readDns(section: Section): Config['dns'] {
  const dns = { servers: section.endpoints('servers', []) };
  for (const { host } of dns.servers) {
    // A name would have to be asked for first.
    if (!isIP(host)) section.fail('servers', `${host} is a name; an address such as 127.0.0.1:53 is expected`);
  }
  section.done();
  return dns;
}

/** What a timer of Node can wait for: a longer one would fire at once. */
const longestTimer = 24 * 86_400_000;

const securities = ['verified', 'encrypted', 'trusted'] as const;

export function readFederation(section: Section): Config['federation'] {
  const partners = new Map<string, PartnerConfig>();
  for (const [key, entry] of section.entries('partners')) {
    const jid = Jid.tryParse(key);
    if (!jid?.isDomain) throw section.section('partners').fail(key, 'is not a domain');
    const partner: PartnerConfig = {};
    if (entry.has('security')) partner.security = entry.oneOf('security', securities);
    if (entry.has('address')) partner.address = entry.endpoint('address');
    if (entry.has('rate')) partner.rate = entry.rate('rate');
    entry.done();
    partners.set(jid.domain, partner);
  }
  const queue = section.section('queue');
  const federation = {
    policy: section.oneOf('policy', ['open', 'closed'], 'open'),
    exceptions: section.domains('exceptions', [], true),
    security: section.oneOf('security', securities, 'encrypted'),
    partners,
    dialbackSecret: section.secret('dialback-secret', ''),
    connectTimeout: section.duration('connect-timeout', 10_000, longestTimer),
    queue: {
      stanzas: queue.integer('stanzas', 1000, { min: 1 }),
      wait: queue.duration('wait', 60_000, longestTimer),
    },
    idleTimeout: section.duration('idle-timeout', 600_000, longestTimer),
  };
  queue.done();
  section.done();
  return federation;
}

export function readLimits(section: Section): Config['limits'] {
  const size = section.section('stanza-size');
  const rate = section.section('rate');
  const connections = section.section('connections');
  const limits = {
    stanzaSize: { c2s: size.size('c2s', 256 * 1024), s2s: size.size('s2s', 512 * 1024) },
    rate: { c2s: rate.rate('c2s', 64 * 1024), s2s: rate.rate('s2s', 1024 * 1024) },
    connections: {
      perAddress: connections.integer('per-address', 100, { min: 0 }),
      total: connections.integer('total', 200_000, { min: 0 }),
    },
  };
  if (limits.stanzaSize.c2s < 10_000) size.fail('c2s', 'is less than the 10,000 bytes that XMPP asks for');
  if (limits.stanzaSize.s2s < 10_000) size.fail('s2s', 'is less than the 10,000 bytes that XMPP asks for');
  for (const one of [size, rate, connections, section]) one.done();
  return limits;
}

export function readOffline(section: Section): Config['offline'] {
  const offline = {
    store: section.boolean('store', true),
    exceptions: section.domains('exceptions', []),
    messages: section.integer('messages', 50, { min: 0 }),
  };
  section.done();
  return offline;
}

export function readPush(section: Section): Config['push'] {
  const push = { sender: section.boolean('sender', false), body: section.boolean('body', false) };
  section.done();
  return push;
}

export function readArchive(section: Section): Config['archive'] {
  const archive = {
    retention: section.duration('retention', 30 * 86_400_000),
    default: section.oneOf('default', ['always', 'never', 'roster'], 'always'),
  };
  section.done();
  return archive;
}

export function readModules(section: Section): ModuleSettings {
  return { on: new Map(section.keys.map(name => [name, section.boolean(name)])), section };
}

export function readComponents(top: Section): Config['components'] {
  const components: Config['components'] = new Map();
  for (const [key, entry] of top.entries('components')) {
    const jid = Jid.tryParse(key);
    if (!jid?.isDomain) throw top.section('components').fail(key, 'is not a domain');
    components.set(jid.domain, { secret: entry.secret('secret'), presence: entry.boolean('presence', false) });
    entry.done();
  }
  return components;
}

export function readKinds(top: Section, key: string): Map<string, { kind: string; section: Section }> {
  return new Map(top.entries(key).map(([name, section]) => [name, { kind: section.string('kind'), section }]));
}

export function readAttach(top: Section): Config['attach'] {
  if (!top.has('attach')) return null;
  const section = top.section('attach');
  const address = section.endpoint('address');
  const secrets = section.section('secrets');
  const attach = {
    address,
    secrets: new Map(secrets.keys.map(domain => [domain.toLowerCase(), secrets.secret(domain)])),
  };
  section.done();
  return attach;
}
