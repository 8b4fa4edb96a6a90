// The contract between the hub and its modules: one XMPP feature per file, registered here, unregistered by the hub.
import type { Element } from '../xmpp/element.ts';
import type { StreamError } from '../xmpp/errors.ts';
import type { Form } from '../xmpp/form.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { AdHocCommand, AdHocCommands } from './ad-hoc.ts';
import type { Config } from './config.ts';
import type { Directory } from './directory.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type { Filter, Origin, Router } from './router.ts';
import type { Service } from './services.ts';
import type { Store } from './store.ts';

/** A client's bound session, as modules see it. */
export interface Session {
  /** The full JID. */
  readonly jid: Jid;
  /** The last presence it broadcast, or null before the initial and after the final one (RFC 6121 §4.2, §4.5). */
  presence: Stanza | null;
  /** The priority of that presence, 0 where it gives none (RFC 6121 §4.7.2.3). */
  priority: number;
  /** Whether it has asked for the roster, and so receives pushes (RFC 6121 §2.1.6). */
  interested: boolean;
  /** Whether its user looks at the client, as far as that has said (XEP-0352): what can wait waits until then. */
  active: boolean;
  /** Whether nothing that the client says counts any more: its account is gone. */
  silenced: boolean;
  /** Whether the client acknowledges what it gets (XEP-0198): then no more than some thousand stanzas may be under way. */
  readonly acknowledges: boolean;
  /** What modules remember of this session, each under a symbol of its own. */
  readonly notes: Map<symbol, unknown>;
  /** Writes a stanza to the client. What it cannot take any more goes the way of stanzas for a lost session. */
  send(stanza: Stanza): void;
  /**
   * Calls `then` once the client has taken all that was sent to it so far: it has acknowledged that or, without stream
   * management, gone on talking. A session that is lost before does not call it.
   */
  taken(then: () => void): void;
  /** Ends the session and its stream, with a stream error where one is given. */
  end(error: StreamError | null): void;
}

/** The sessions of the hub's own users. */
export interface Sessions {
  /** All sessions of an account, by its bare JID; empty where there are none. */
  of(bare: Jid): readonly Session[];
  /** The session with that full JID. */
  get(full: Jid): Session | undefined;
  all(): Iterable<Session>;
  readonly count: number;
}

/** What an IQ handler knows of the request. */
export interface Request {
  readonly stanza: Stanza;
  /** The child that the request was dispatched by. */
  readonly query: Element;
  readonly from: Jid;
  readonly to: Jid;
  readonly origin: Origin;
  /** The sender's session where the sender is a local client. */
  readonly session: Session | undefined;
}

/**
 * Answers an IQ: the payload of the result (null: an empty one), or a whole stanza. Throws a StanzaError to refuse.
 * A `get` and a `set` reach the same handler: `request.stanza.type` tells.
 */
export type IqHandler = (request: Request) => Element | Stanza | null | Promise<Element | Stanza | null>;

/**
 * Whom an IQ handler answers for: the domain's own address, any account's bare JID (the server answers for it),
 * an account's bare JID asked by that account itself, or all of these.
 */
export type IqScope = 'domain' | 'account' | 'own-account' | 'any';

/**
 * Answers discovery of nodes at the domain or at accounts (XEP-0030 §3.2, §4.2). Null: the node is none of its own. Of
 * accounts anybody may ask, so a source decides who gets to know what. Items are asked for a node of '' as well: that
 * is the account itself.
 */
export interface DiscoNodes {
  info?(node: string, request: Request): Element | null | Promise<Element | null>;
  items?(node: string, request: Request): Element | null | Promise<Element | null>;
}

/** What of a roster item decides on access: whether the contact sees the user's presence, and its groups. */
export interface ContactBefore {
  readonly from: boolean;
  readonly groups: readonly string[];
}

/** The moments modules can hang on: a closed list. A listener of a moment with an answer returns true to consume. */
export interface Moments {
  /** Somebody proved to be this user. True: the account is disabled, and the login fails. */
  login: (user: Jid) => boolean | Promise<boolean>;
  /** A session has bound its resource. */
  'session-opened': (session: Session) => void;
  /** A session is gone for good (closed, or its resumption time ran out); it is not listed any more. */
  'session-closed': (session: Session) => void;
  /** A session sent a stanza; `from` is stamped, `to` may be null. True: consumed, it is not routed. */
  'session-sent': (session: Session, stanza: Stanza) => boolean | Promise<boolean>;
  /** A session became available for the first time, after its presence was set. */
  'session-available': (session: Session, presence: Stanza) => void;
  /** A session takes messages to its account from now on: its priority is not negative (any more). */
  'session-receptive': (session: Session) => void;
  /** A session that was available is not any more. */
  'session-unavailable': (session: Session, presence: Stanza) => void;
  /** A presence stanza arrives for a local account (bare or full JID). True: consumed. */
  'presence-received': (stanza: Stanza, origin: Origin) => boolean | Promise<boolean>;
  /** A message arrives for a hosted domain itself, with or without a resource. True: consumed. */
  'domain-message': (stanza: Stanza, origin: Origin) => boolean | Promise<boolean>;
  /** A message for a local account was written to these sessions; to none, where none takes it. */
  'message-delivered': (stanza: Stanza, to: readonly Session[], origin: Origin) => void;
  /** As the next, and before it: the message is not kept yet. True: it goes another way as well, and will not bounce. */
  'message-offline': (stanza: Stanza, origin: Origin) => boolean | Promise<boolean>;
  /** A message for a local account found no session that takes it. True: kept; else it bounces. */
  'message-undelivered': (stanza: Stanza, origin: Origin) => boolean | Promise<boolean>;
  /** A message that found no session is kept, in one way or another. */
  'message-missed': (stanza: Stanza) => void;
  /** A message was stored for a local user who is away; `waiting` are stored now. */
  'message-kept': (stanza: Stanza, waiting: number) => void | Promise<void>;
  /** A message is for a session whose client was lost, but may come back for it (XEP-0198 §5). */
  'message-waiting': (session: Session, stanza: Stanza) => void;
  /** A lost session did not take this message. True: it is dealt with; else it goes the way of new ones. */
  'message-returned': (session: Session, stanza: Stanza) => boolean;
  /**
   * A roster item of a local user changed (RFC 6121 §2, §3); `before` is what it was and `change` what clients are told,
   * where that is known.
   */
  'roster-changed': (user: Jid, contact: Jid, before?: ContactBefore, change?: Element) => void;
  /** Somebody asks to see a local user's presence, and waits for an answer: a request that was not there before. */
  'subscription-asked': (stanza: Stanza) => void;
  /** A local user blocked an address and reported it (XEP-0377); `reason` is as the client gave it. */
  reported: (user: Jid, reported: Jid, reason: string) => void;
  /** What a source (calendar, phone) knows of a user's presence changed; null: it knows nothing any more. */
  'presence-source': (user: Jid, source: string, presence: Stanza | null) => void;
  /** An account was removed: everything kept for it goes. */
  'account-removed': (user: Jid) => void | Promise<void>;
  /** The configuration was read anew. */
  reloaded: (config: Config) => void | Promise<void>;
}

/** Looks at a message that has arrived for a local account, and may change it. */
export type Arrival = (stanza: Stanza, origin: Origin) => Stanza;

/** What disco#info says an entity is (XEP-0030 §3.1). */
export interface DiscoIdentity {
  category: string;
  type: string;
  name?: string;
}

/** Answers a registration request of a client that has not authenticated; `remote` is its address. */
export type Registrar = (domain: string, request: Stanza, query: Element, remote: string) => Promise<Stanza>;

/**
 * What a module is given. What a module registers while it starts is its own: it is skipped for domains that the module
 * is off for (`modules`), and undone by the hub when the module stops.
 */
export interface Hub {
  readonly config: Config;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly router: Router;
  readonly sessions: Sessions;
  /** The directory of a hosted domain; undefined for any other domain. */
  directory(domain: string): Directory | undefined;
  /** Whether a domain is hosted here (aliases not counted). */
  hosts(domain: string): boolean;
  /** Whether the module of that name runs and is on for a hosted domain. */
  enabled(module: string, domain: string): boolean;
  /** Answers IQs whose first child is `name` in namespace `ns`. Announcing a feature is done by `feature`. */
  iq(ns: string, name: string, scope: IqScope, handler: IqHandler): void;
  /** Sees every routed stanza with an end in a domain that the module is on for, in the order of modules/index.ts. */
  filter(filter: Filter): void;
  /** Sees every message for a local account once it is clear that it is delivered or kept, and before that is done. */
  arrival(what: Arrival): void;
  on<M extends keyof Moments>(moment: M, listener: Moments[M]): void;
  /** Announces features in disco#info of the domain ('domain') or of accounts' bare JIDs ('account'). */
  feature(of: 'domain' | 'account', ...features: string[]): void;
  /** What the modules that are on for `domain` announce, sorted. */
  features(of: 'domain' | 'account', domain: string): string[];
  /** Adds an identity to disco#info. */
  identity(of: 'domain' | 'account', identity: DiscoIdentity): void;
  identities(of: 'domain' | 'account', domain: string): DiscoIdentity[];
  /** Adds a source of the domain's disco#items. */
  itemsFrom(source: (domain: string) => { jid: string; name?: string }[]): void;
  items(domain: string): { jid: string; name?: string }[];
  /** Serves domains of the module's own; an address that the configuration names goes where that says. */
  serve(service: Service): void;
  /**
   * Takes part in the binding of a resource by SASL2 (XEP-0386 §3): `feature` is announced (null: nothing is), and
   * `bound` answers with what goes into `<bound/>`. It is given what the client asks, `<bind/>` as a whole.
   */
  atBind(feature: string | null, bound: (session: Session, bind: Element) => Element | null): void;
  /** Adds a form to disco#info (XEP-0128); null: none for that domain. */
  discoForm(of: 'domain' | 'account', source: (domain: string) => Form | null): void;
  discoForms(of: 'domain' | 'account', domain: string): Form[];
  /** Answers discovery of nodes. */
  discoNodes(nodes: DiscoNodes): void;
  nodesAt(domain: string): DiscoNodes[];
  /** Offers an ad-hoc command at the domain (XEP-0050). */
  command(command: AdHocCommand): void;
  readonly commands: AdHocCommands;
  /** Adds to the stream features that a client sees once it is authenticated. */
  streamFeature(feature: Element | ((domain: string) => Element | null)): void;
  /** Takes over in-band registration before authentication (XEP-0077 §3.1): answers the request, whole. */
  registrar: Registrar;
  /** Ends the whole hub after `delay` ms, or restarts it. Throws a StanzaError where nothing would start or stop it. */
  end(restart: boolean, delay: number): void;
  /** Sends a request from the hub and resolves with the answer (a result or an error stanza), or rejects after `timeout` ms. */
  ask(request: Stanza, timeout?: number): Promise<Stanza>;
  /** Calls every listener of a moment, in order. */
  emit<M extends keyof Moments>(moment: M, ...args: Parameters<Moments[M]>): ReturnType<Moments[M]>;
}

/** What of a user's data goes along when the account moves (XEP-0227). The store is all it needs: no hub may run. */
export interface Portable {
  export?(store: Store, user: Jid): Element[];
  /**
   * Keeps one element of an export for the user, and tells `note` what of it is left out. False: the element is none
   * of this module's.
   */
  import?(store: Store, user: Jid, element: Element, note: (text: string) => void): boolean;
  readonly list?: PortableList;
  /**
   * Something is about to be imported, was, or is taken back: what waits to be written is written, and what is
   * remembered of the user is read anew.
   */
  reread?(store: Store, user: Jid): void;
  /** Resolves when what was imported is on the disk, where it is not in the tables. */
  durable?(store: Store): Promise<void>;
}

/** A list that may be longer than memory, such as an archive: it goes out and comes in by portions. */
export interface PortableList {
  /** The element around the entries. */
  readonly name: string;
  readonly ns: string;
  /** About a megabyte of entries at most. `from` is '' at first, and later `next` of the portion before. */
  read(store: Store, user: Jid, from: string): { entries: Element[]; next: string | null };
  /** Keeps entries behind those of the portions before. Gives how many of them are none. */
  keep(store: Store, user: Jid, entries: readonly Element[]): number;
}

/** One feature. `start` registers with the hub; what it returns, if anything, is called when the hub stops. */
export interface Module {
  readonly name: string;
  /** The specifications it implements, for docs/specifications.md: `XEP-0199`, `RFC 6121 §2`. */
  readonly implements: readonly string[];
  /** False: off for every domain that does not switch it on under `modules`. */
  readonly defaultOn?: boolean;
  readonly portable?: Portable;
  start(hub: Hub): void | (() => void | Promise<void>) | Promise<void | (() => void | Promise<void>)>;
}
