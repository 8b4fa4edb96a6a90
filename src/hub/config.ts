// The configuration as the rest of the hub sees it: every key of isthmus.example.yaml, checked and with its default.
import { accessSync, constants, readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import { Jid } from '../xmpp/jid.ts';
import { ConfigError, parseSettings, Section } from './settings.ts';

/** Where to listen or connect. `host` is an address (listen) or a name (connect). */
export interface Endpoint {
  host: string;
  port: number;
}

export type Security = 'verified' | 'encrypted' | 'trusted';

export interface Certificate {
  /** Absolute paths of PEM files. */
  certificate: string;
  key: string;
}

export interface DomainConfig {
  name: string;
  /** Null: the hub makes a self-signed one and keeps it in `data`. */
  tls: Certificate | null;
  /** `accounts` or a name under `directories`. */
  directory: string;
  aliases: string[];
  /** Bare JIDs of those who may administer the domain over XMPP (XEP-0133). */
  admins: string[];
  /** What each client is told that logs in; '' for nothing. */
  greeting: string;
  /** URIs by role (XEP-0157); only roles that have some. */
  contacts: Map<ContactRole, string[]>;
  modules: ModuleSettings;
}

/** The roles of XEP-0157 §3. */
export const contactRoles = ['abuse', 'admin', 'feedback', 'sales', 'security', 'status', 'support'] as const;
export type ContactRole = (typeof contactRoles)[number];

/** A service outside of XMPP that clients are told of (XEP-0215). */
export interface ExternalService {
  type: string;
  host: string;
  /** 0: the type's own. */
  port: number;
  /** '' where the type says it. */
  transport: string;
  name: string;
  /** What is shared with the service, to make credentials that end by themselves; '' where it asks for none. */
  secret: string;
  /** How long those are good for. */
  lifetime: number;
  /** Fixed credentials; '' for none. */
  username: string;
  password: string;
  /** The hosted domains that tell of it; empty for all. */
  domains: string[];
  /** Domains and bare JIDs that are told besides the domain's own users. */
  access: string[];
}

/** What is said of modules in one place: the section itself tells where, when a name proves unknown. */
export interface ModuleSettings {
  on: Map<string, boolean>;
  section: Section;
}

/** At most so many new accounts from one address in so much time; 0: no limit. */
export interface RegistrationLimit {
  accounts: number;
  per: number;
}

/** What new users are asked for besides a name and a password. */
export const registrationFields = ['name', 'mail', 'mobile'] as const;
export type RegistrationField = (typeof registrationFields)[number];

export type ListenerName = 'c2s' | 'c2s-tls' | 's2s' | 's2s-tls' | 'component' | 'http';

export interface PartnerConfig {
  security?: Security;
  address?: Endpoint;
  /** Taken from it on one stream, in place of limits.rate.s2s. */
  rate?: number;
}

/** Times are milliseconds, sizes bytes, rates bytes per second (0: none). Domains are in prepared form. */
export interface Config {
  /** The file it was read from; '' where there is none. */
  file: string;
  /** Absolute path. */
  data: string;
  log: { level: 'trace' | 'debug' | 'info' | 'warn' | 'error'; format: 'auto' | 'json' | 'pretty' };
  domains: Map<string, DomainConfig>;
  /** alias → the hosted domain it stands for */
  aliases: Map<string, string>;
  crossDomain: { policy: 'open' | 'closed'; exceptions: string[] };
  listen: Record<ListenerName, Endpoint[]>;
  clients: {
    requireTls: boolean;
    mechanisms: string[];
    registration: boolean;
    /** Messages to an account go to all devices until one answers, not only to those of the highest priority. */
    fork: boolean;
    registrationLimit: RegistrationLimit;
    registrationFields: RegistrationField[];
    /** How long a lost client has to resume its session, and where it should connect; '' for anywhere. */
    resumption: { time: number; location: string };
    /** How long a token for logging in again is good, 0 for no tokens. */
    tokenLifetime: number;
    /** After how long a silent client is asked whether it is there, 0 for never, and how long it has to answer. */
    ping: { interval: number; timeout: number };
  };
  tls: { trust: string[]; minVersion: 'TLSv1.2' | 'TLSv1.3' };
  dns: { servers: Endpoint[] };
  federation: {
    policy: 'open' | 'closed';
    exceptions: string[];
    security: Security;
    partners: Map<string, PartnerConfig>;
    /** '' means: random, kept in `data`. */
    dialbackSecret: string;
    connectTimeout: number;
    queue: { stanzas: number; wait: number };
    idleTimeout: number;
  };
  limits: {
    stanzaSize: { c2s: number; s2s: number };
    rate: { c2s: number; s2s: number };
    connections: { perAddress: number; total: number };
  };
  offline: { store: boolean; exceptions: string[]; messages: number };
  /** What push notifications tell besides that there is something. */
  push: { sender: boolean; body: boolean };
  /** `retention` 0: for ever. */
  archive: { retention: number; default: 'always' | 'never' | 'roster' };
  /** For all domains that say nothing themselves. */
  modules: ModuleSettings;
  components: Map<string, { secret: string; presence: boolean }>;
  externalServices: ExternalService[];
  /** name → its section, read by the directory's kind */
  directories: Map<string, { kind: string; section: Section }>;
  /** name → its section, read by the bridge's kind */
  bridges: Map<string, { kind: string; section: Section }>;
  attach: { address: Endpoint; secrets: Map<string, string> } | null;
}

const defaultListen: Record<ListenerName, Endpoint[]> = {
  c2s: [{ host: '127.0.0.1', port: 5222 }],
  'c2s-tls': [],
  s2s: [{ host: '127.0.0.1', port: 5269 }],
  's2s-tls': [],
  component: [],
  http: [{ host: '127.0.0.1', port: 5280 }],
};

const knownMechanisms = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'] as const;

/** Reads a configuration file, or the defaults where there is none. Throws ConfigError. */
export function loadConfig(file: string | null): Config {
  if (file === null) return parseConfig('domains: { localhost: {} }', resolve('isthmus.yaml'), '');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`${file}: cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  return parseConfig(text, file);
}

/** Reads a configuration from text; `file` is what errors name and what relative paths are relative to. */
export function parseConfig(text: string, file: string, name = file): Config {
  const top = parseSettings(text, file);
  const attach = readAttach(top);
  const config: Config = {
    file: name,
    data: top.path('data', './data'),
    log: readLog(top.section('log')),
    domains: readDomains(top, attach !== null),
    aliases: new Map(),
    crossDomain: readCrossDomain(top.section('cross-domain')),
    listen: readListen(top.section('listen'), attach !== null),
    clients: readClients(top.section('clients')),
    tls: readTls(top.section('tls')),
    dns: readDns(top.section('dns')),
    federation: readFederation(top.section('federation')),
    limits: readLimits(top.section('limits')),
    offline: readOffline(top.section('offline')),
    push: readPush(top.section('push')),
    archive: readArchive(top.section('archive')),
    modules: readModules(top.section('modules')),
    components: readComponents(top),
    externalServices: top.entries('external-services').map(([, section]) => readExternalService(section)),
    directories: readKinds(top, 'directories'),
    bridges: readKinds(top, 'bridges'),
    attach,
  };
  top.done();
  checkDomains(top, config);
  return config;
}

function readLog(section: Section): Config['log'] {
  const log = {
    level: section.oneOf('level', ['trace', 'debug', 'info', 'warn', 'error'], 'info'),
    format: section.oneOf('format', ['auto', 'json', 'pretty'], 'auto'),
  };
  section.done();
  return log;
}

function readDomains(top: Section, attached: boolean): Map<string, DomainConfig> {
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

function readExternalService(section: Section): ExternalService {
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

function readCrossDomain(section: Section): Config['crossDomain'] {
  const cross = {
    policy: section.oneOf('policy', ['open', 'closed'], 'closed'),
    exceptions: section.domains('exceptions', []),
  };
  section.done();
  return cross;
}

/** Attached to another server, nobody connects here but for health and metrics, unless the file says so. */
function readListen(section: Section, attached: boolean): Config['listen'] {
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

function readClients(section: Section): Config['clients'] {
  const limit = section.section('registration-limit');
  const resumption = section.section('resumption');
  const ping = section.section('ping');
  const clients = {
    requireTls: section.boolean('require-tls', true),
    mechanisms: section.listOf('mechanisms', knownMechanisms, knownMechanisms) as string[],
    registration: section.boolean('registration', false),
    fork: section.boolean('fork', false),
    registrationLimit: {
      accounts: limit.integer('accounts', 5, { min: 0 }),
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

function readTls(section: Section): Config['tls'] {
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

function readDns(section: Section): Config['dns'] {
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

function readFederation(section: Section): Config['federation'] {
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

function readLimits(section: Section): Config['limits'] {
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

function readOffline(section: Section): Config['offline'] {
  const offline = {
    store: section.boolean('store', true),
    exceptions: section.domains('exceptions', []),
    messages: section.integer('messages', 50, { min: 0 }),
  };
  section.done();
  return offline;
}

function readPush(section: Section): Config['push'] {
  const push = { sender: section.boolean('sender', false), body: section.boolean('body', false) };
  section.done();
  return push;
}

function readArchive(section: Section): Config['archive'] {
  const archive = {
    retention: section.duration('retention', 30 * 86_400_000),
    default: section.oneOf('default', ['always', 'never', 'roster'], 'always'),
  };
  section.done();
  return archive;
}

function readModules(section: Section): ModuleSettings {
  return { on: new Map(section.keys.map(name => [name, section.boolean(name)])), section };
}

/** Refuses names of modules that are not among the known ones. Throws ConfigError. */
export function checkModules(config: Config, known: readonly string[]): void {
  for (const { on, section } of [config.modules, ...[...config.domains.values()].map(({ modules }) => modules)]) {
    for (const name of on.keys()) {
      if (known.includes(name)) continue;
      section.fail(name, `there is no such module; known are ${[...known].sort().join(', ')}`);
    }
  }
}

function readComponents(top: Section): Config['components'] {
  const components: Config['components'] = new Map();
  for (const [key, entry] of top.entries('components')) {
    const jid = Jid.tryParse(key);
    if (!jid?.isDomain) throw top.section('components').fail(key, 'is not a domain');
    components.set(jid.domain, { secret: entry.secret('secret'), presence: entry.boolean('presence', false) });
    entry.done();
  }
  return components;
}

function readKinds(top: Section, key: string): Map<string, { kind: string; section: Section }> {
  return new Map(top.entries(key).map(([name, section]) => [name, { kind: section.string('kind'), section }]));
}

function readAttach(top: Section): Config['attach'] {
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

/** What only shows when the sections are seen together. */
function checkDomains(top: Section, config: Config): void {
  const domains = top.section('domains');
  for (const domain of config.domains.values()) {
    for (const alias of domain.aliases) {
      if (config.domains.has(alias) || config.aliases.has(alias)) {
        domains.section(domain.name).fail('aliases', `${alias} is served or an alias already`);
      }
      config.aliases.set(alias, domain.name);
    }
    if (domain.directory !== 'accounts' && !config.directories.has(domain.directory)) {
      domains.section(domain.name).fail('directory', `there is no \`${domain.directory}\` under \`directories\``);
    }
  }
  for (const name of config.components.keys()) {
    if (config.domains.has(name) || config.aliases.has(name)) {
      top.section('components').fail(name, 'is a domain that is served here already');
    }
  }
}

/** What differs between two configurations, as top-level keys; `restart` are those that only count after a restart. */
export function changed(before: Config, after: Config): { keys: string[]; restart: string[] } {
  const keys = (Object.keys(after) as (keyof Config)[]).filter(
    key => key !== 'file' && canonical(before[key]) !== canonical(after[key]),
  );
  const needing = new Set(['data', 'listen', 'attach', 'bridges', 'dns']);
  return { keys, restart: keys.filter(key => needing.has(key)) };
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner) => {
    if (inner instanceof Map) return [...inner];
    if (inner instanceof Section) return inner.plain;
    return inner;
  });
}
