// The configuration as the rest of the hub sees it: every key of isthmus.example.yaml, checked and with its default.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Jid } from '../xmpp/jid.ts';
import {
  contactRoles,
  readArchive,
  readAttach,
  readClients,
  readComponents,
  readCrossDomain,
  readDns,
  readDomains,
  readExternalService,
  readFederation,
  readKinds,
  readLimits,
  readListen,
  readLog,
  readModules,
  readOffline,
  readPush,
  readTls,
  registrationFields,
} from './config-sections.ts';
import { ConfigError, parseSettings, Section } from './settings.ts';

export { contactRoles, registrationFields };

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

/** Refuses names of modules that are not among the known ones. Throws ConfigError. */
export function checkModules(config: Config, known: readonly string[]): void {
  for (const { on, section } of [config.modules, ...[...config.domains.values()].map(({ modules }) => modules)]) {
    for (const name of on.keys()) {
      if (known.includes(name)) continue;
      section.fail(name, `there is no such module; known are ${[...known].sort().join(', ')}`);
    }
  }
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

/** The address that is meant by one in an associated domain (`aliases`): that in the domain it is associated with. */
export function meantBy(jid: Jid, { aliases }: Pick<Config, 'aliases'>): Jid {
  const domain = aliases.get(jid.domain);
  return domain === undefined ? jid : Jid.of(jid.local, domain, jid.resource);
}
