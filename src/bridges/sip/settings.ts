// What a SIP engine is told: the keys of the bridge's section that concern listening, routing, guarding and drachtio.
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { Endpoint } from '../../hub/config.ts';
import type { Resolver } from '../../hub/dns.ts';
import type { Log } from '../../hub/log.ts';
import type { Metrics } from '../../hub/metrics.ts';
import type { Section } from '../../hub/settings.ts';
import type { SipSource } from './engine.ts';
import { parseUri, type SipUri } from './uri.ts';

export type Protocol = SipSource['protocol'];

export interface ListenConfig extends Endpoint {
  protocol: Protocol;
}

export interface EngineConfig {
  /** SIP domains that the bridge speaks for on XMPP; the first names the engine in digest realms. */
  domains: string[];
  engine: 'embedded' | 'drachtio';
  listen: ListenConfig[];
  /** What Via and Contact say instead of the address listened on: for 0.0.0.0 and behind NAT. '' for the address. */
  advertise: string;
  /** PEM files for tls: and wss: listeners, and what we show to peers; null: the hub's own for the first domain. */
  certificate: { certificate: string; key: string } | null;
  /** domain (or `tel`, or `*`) → the next hop for requests to it; several are tried in their order */
  routes: Map<string, SipUri[]>;
  /** Addresses and networks (10.0.0.0/8) that may speak for `domains` without digest; empty: any. */
  acceptFrom: string[];
  /** Who may prove with digest who it is: `user@domain` for that user, `domain` for all of its users. */
  digest: { realm: string; accounts: Map<string, string> };
  /** domain (or `tel`), or realm of a peer that `routes` names → what we answer its 401 or 407 with */
  credentials: Map<string, { user: string; password: string }>;
  limits: {
    /** Requests per second and source address, with bursts of as many as ten seconds allow; 0: no limit. */
    perSource: number;
    /** A message's body, in bytes. */
    body: number;
    /** Subscriptions to our users that stand at once. */
    subscriptions: number;
  };
  drachtio: { hosts: Endpoint[]; secret: string } | null;
}

/** What an engine is given besides its configuration. */
export interface EnginePort {
  readonly resolver: Resolver;
  readonly log: Log;
  readonly metrics: Metrics;
  /** PEM files of authorities besides the built-in ones. */
  readonly trust: readonly string[];
  /** Where the hub keeps the certificates that it makes (`data`). */
  readonly data: string;
  readonly connections: { perAddress: number; total: number };
}

const protocols: readonly Protocol[] = ['udp', 'tcp', 'tls', 'ws', 'wss'];

/** Reads the engine's keys of a bridge's section. Throws ConfigError. The section's `done()` is the caller's. */
export function readEngineConfig(section: Section): EngineConfig {
  const domains = section.domains('domains');
  if (domains.length === 0) section.fail('domains', 'names no domain');
  const engine = section.oneOf('engine', ['embedded', 'drachtio'] as const, 'embedded');
  const config: EngineConfig = {
    domains,
    engine,
    listen: section.strings('listen', []).map(item => readListen(section, item)),
    advertise: section.string('advertise', ''),
    certificate: readCertificate(section),
    routes: readRoutes(section),
    acceptFrom: section.strings('accept-from', []),
    digest: readDigest(section.section('digest'), domains[0]),
    credentials: readCredentials(section),
    limits: readLimits(section.section('limits')),
    drachtio: readDrachtio(section),
  };
  if (engine === 'embedded' && config.listen.length === 0)
    section.fail('listen', 'the embedded engine listens nowhere');
  if (engine === 'drachtio' && !config.drachtio)
    section.fail('drachtio', 'is missing; host, port and secret are expected');
  for (const item of config.acceptFrom)
    if (!isNetwork(item)) section.fail('accept-from', `${item} is no address or network`);
  if (config.advertise && !parseUri(`sip:${config.advertise}`)) section.fail('advertise', 'is no host or address');
  return config;
}

function readListen(section: Section, item: string): ListenConfig {
  const found = /^([a-z]+):(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(item);
  const protocol = protocols.find(one => one === found?.[1]);
  if (!found || !protocol || Number(found[4]) > 65_535 || !isIP(found[2] ?? found[3])) {
    section.fail('listen', `${item} is not udp:address:port, nor with ${protocols.slice(1).join(', ')}`);
  }
  return { protocol, host: found[2] ?? found[3], port: Number(found[4]) };
}

function readCertificate(section: Section): EngineConfig['certificate'] {
  if (section.has('certificate') !== section.has('key')) section.fail('certificate', 'needs `key`, and `key` needs it');
  return section.has('certificate') ? { certificate: section.path('certificate'), key: section.path('key') } : null;
}

function readRoutes(section: Section): EngineConfig['routes'] {
  const routes: Section = section.section('routes');
  const known = new Map<string, SipUri[]>();
  for (const key of routes.keys) {
    const hops = routes.strings(key).map(text => {
      const uri = parseUri(text);
      if (uri?.scheme !== 'sip' && uri?.scheme !== 'sips')
        routes.fail(key, `${text} is no SIP URI such as sip:host:5060`);
      return uri;
    });
    known.set(key.toLowerCase(), hops);
  }
  return known;
}

function readDigest(section: Section, domain: string): EngineConfig['digest'] {
  const accounts = section.section('accounts');
  const digest = {
    realm: section.string('realm', domain),
    accounts: new Map(accounts.keys.map(name => [name.toLowerCase(), accounts.secret(name)])),
  };
  section.done();
  return digest;
}

function readCredentials(section: Section): EngineConfig['credentials'] {
  const known: EngineConfig['credentials'] = new Map();
  for (const [realm, entry] of section.entries('credentials')) {
    known.set(realm.toLowerCase(), { user: entry.string('user'), password: entry.secret('password') });
    entry.done();
  }
  return known;
}

function readLimits(section: Section): EngineConfig['limits'] {
  const limits = {
    perSource: section.integer('per-source', 1000, { min: 0 }),
    body: section.size('body', 64 * 1024),
    subscriptions: section.integer('subscriptions', 100_000, { min: 0 }),
  };
  section.done();
  return limits;
}

function readDrachtio(section: Section): EngineConfig['drachtio'] {
  if (!section.has('drachtio')) return null;
  const entry: Section = section.section('drachtio');
  const port = entry.integer('port', 9022, { min: 1, max: 65_535 });
  const hosts = entry.strings('host').map(item => {
    const found = /^(?:\[([^\]]+)\]|([^:]+))(?::([0-9]{1,5}))?$/.exec(item);
    if (!found) entry.fail('host', `${item} is no host, nor host:port`);
    return { host: found[1] ?? found[2], port: found[3] ? Number(found[3]) : port };
  });
  const drachtio = { hosts, secret: entry.secret('secret') };
  entry.done();
  return drachtio;
}

function isNetwork(item: string): boolean {
  const [address, prefix, ...more] = item.split('/');
  const family = isIP(address);
  if (family === 0 || more.length > 0) return false;
  return prefix === undefined || (/^[0-9]{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}

/** The PEM files that the engine shows: the configured ones, or those that the hub keeps for the first domain. */
export function certificateFiles(config: EngineConfig, data: string): { certificate: string; key: string } {
  if (config.certificate) return config.certificate;
  const base = join(data, 'keys', config.domains[0].replace(/[^a-z0-9.-]/gi, encodeURIComponent));
  return { certificate: `${base}.crt`, key: `${base}.key` };
}
