// The configuration as the rest of the hub sees it: every key of isthmus.example.yaml, checked and with its default.
import type { Section } from './settings.ts';

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
}

export type ListenerName = 'c2s' | 'c2s-tls' | 's2s' | 's2s-tls' | 'component' | 'http';

export interface PartnerConfig {
  security?: Security;
  address?: Endpoint;
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
  clients: { requireTls: boolean; mechanisms: string[]; registration: boolean };
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
  components: Map<string, { secret: string; presence: boolean }>;
  /** name → its section, read by the directory's kind */
  directories: Map<string, { kind: string; section: Section }>;
  /** name → its section, read by the bridge's kind */
  bridges: Map<string, { kind: string; section: Section }>;
  attach: { address: Endpoint; secrets: Map<string, string> } | null;
}
