// The contract of a bridge: a small thing between the hub and another network.
import type { Config } from '../hub/config.ts';
import type { Directory } from '../hub/directory.ts';
import type { Resolver } from '../hub/dns.ts';
import type { HttpHandler } from '../hub/http.ts';
import type { Log } from '../hub/log.ts';
import type { Metrics } from '../hub/metrics.ts';
import type { Section } from '../hub/settings.ts';
import type { Store } from '../hub/store.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { Stanza } from '../xmpp/stanza.ts';

/** What a bridge is given; the same inside the hub and attached to another XMPP server as a component. */
export interface BridgePort {
  /** The XMPP domains that this bridge speaks for; the first is its main one. */
  readonly domains: readonly string[];
  /**
   * Hands a stanza from the other network to XMPP. `from` must be in one of `domains`. Resolves once it is accepted
   * (queued or stored); what cannot be delivered comes back through `Bridge.send` as an error stanza.
   */
  receive(stanza: Stanza): void | Promise<void>;
  readonly config: Config;
  readonly store: Store;
  /** The directory of a domain hosted here; undefined when attached, or for other domains. */
  directory(domain: string): Directory | undefined;
  readonly resolver: Resolver;
  /** Why `federation.policy` refuses a domain, or null where it does not; it counts for other networks' domains as well. */
  refusal(domain: string): string | null;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Sends a request and resolves with its result or error stanza; rejects after `timeout` ms. */
  ask(request: Stanza, timeout?: number): Promise<Stanza>;
  /** What only a bridge inside the hub can have; absent when attached. */
  readonly inside?: InsidePort | undefined;
}

export interface InsidePort {
  /** Whether a local user has a session that takes messages now. */
  online(user: Jid): boolean;
  /** Whether a domain is hosted here. */
  hosts(domain: string): boolean;
  /**
   * Calls `listener` for each chat or headline message that found a local user offline, before it is kept for them. What it resolves to
   * is waited for before the message counts as accepted; true: it goes to the user this way as well, and will not bounce.
   */
  onOffline(listener: (stanza: Stanza) => boolean | Promise<boolean>): void;
  /** Calls `listener` when an account was removed: what is kept for it goes. */
  onRemoved(listener: (user: Jid) => void | Promise<void>): void;
  /** Sets or, given null, clears what a source knows of a user's presence (presence composition). */
  setPresence(user: Jid, source: string, presence: Stanza | null): void;
  /** Adds a route on the hub's HTTP listener. */
  http(method: string, path: string, handler: HttpHandler): void;
}

export interface Bridge {
  /** Resolves when the bridge is ready to take stanzas; peers that are away do not keep it from starting. */
  start(): Promise<void>;
  /** Takes a stanza for one of the bridge's domains. Resolves once it is kept; rejects with a StanzaError to refuse it. */
  send(stanza: Stanza): void | Promise<void>;
  /** Says good-bye to the other network and keeps what is queued. */
  stop(): Promise<void>;
  /** What `isthmus bridge show NAME` prints: plain data, no secrets. */
  show(): Record<string, unknown>;
  /** Commands below `isthmus NAME …`; each gets its arguments and answers with plain data. */
  readonly commands?: Readonly<Record<string, BridgeCommand>>;
}

export interface BridgeCommand {
  /** One line for `--help`, with the arguments: `retry ID…  try set-aside messages again`. */
  readonly help: string;
  run(args: readonly string[]): Promise<unknown> | unknown;
}

/** A kind of bridge: how its configuration is read, and how one is made. */
export interface BridgeKind<C = unknown> {
  readonly kind: string;
  /** Reads and checks the bridge's section; throws ConfigError naming file, line and key. */
  config(section: Section): C;
  /**
   * Whether its domains may have users on XMPP as well, who come first: accounts of a domain hosted here, or those of
   * a server that the domain's own XMPP records name.
   */
  readonly shares?: boolean;
  /** The XMPP domains it speaks for. */
  domains(config: C): readonly string[];
  create(config: C, port: BridgePort): Bridge;
}
