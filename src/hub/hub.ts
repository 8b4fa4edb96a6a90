// The kernel: what modules register with, and who answers an IQ that is addressed to the server itself.
import { randomBytes } from 'node:crypto';
import type { Element } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Form } from '../xmpp/form.ts';
import type { Jid } from '../xmpp/jid.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { type AdHocCommand, AdHocCommands } from './ad-hoc.ts';
import { type Config, meantBy } from './config.ts';
import type { Directory } from './directory.ts';
import { toldOf } from './failure.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type {
  Arrival,
  DiscoIdentity,
  DiscoNodes,
  Hub,
  IqHandler,
  IqScope,
  Module,
  Moments,
  Registrar,
  Session,
  Sessions,
} from './module.ts';
import { type Filter, hubOrigin, type Origin, type Route, Router } from './router.ts';
import { type Service, Services } from './services.ts';
import type { Store } from './store.ts';
import { type Gate, Switches } from './switches.ts';

/** Something registered, and the gate of the module that registered it; none outside of modules. */
interface Registered<T> {
  gate: Gate | null;
  what: T;
}

interface BindPart {
  feature: string | null;
  bound(session: Session, bind: Element): Element | null;
}

type FormSource = (domain: string) => Form | null;
type Listener = Registered<(...args: unknown[]) => unknown>;

interface Waiting {
  from: string;
  resolve: (answer: Stanza) => void;
  timer: NodeJS.Timeout;
}

/** What `createHub` is composed of. */
export interface HubParts {
  config: Config;
  log: Log;
  metrics: Metrics;
  store: Store;
  sessions: Sessions;
  directories: ReadonlyMap<string, Directory>;
  services?: Services;
}

/** The requests that may wait for an answer at once: each is one of ours, so this bounds a mistake, not a peer. */
const mostWaiting = 100_000;

export class Kernel implements Hub {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly sessions: Sessions;
  readonly router: Router;
  readonly services: Services;
  readonly #directories: ReadonlyMap<string, Directory>;
  readonly #handlers = new Map<string, Registered<{ scope: IqScope; handler: IqHandler }>[]>();
  readonly #arrivals: Registered<Arrival>[] = [];
  readonly #moments = new Map<keyof Moments, Listener[]>();
  readonly #features = { domain: [] as Registered<string>[], account: [] as Registered<string>[] };
  readonly #identities = { domain: [] as Registered<DiscoIdentity>[], account: [] as Registered<DiscoIdentity>[] };
  readonly #items: Registered<(domain: string) => { jid: string; name?: string }[]>[] = [];
  readonly #forms = { domain: [] as Registered<FormSource>[], account: [] as Registered<FormSource>[] };
  readonly #nodes: Registered<DiscoNodes>[] = [];
  readonly #streamFeatures: Registered<Element | ((domain: string) => Element | null)>[] = [];
  readonly #bindParts: Registered<BindPart>[] = [];
  readonly commands = new AdHocCommands();
  #registrar: Registered<Registrar> | null = null;
  #config: Config;
  readonly #switches: Switches;
  /** The gate of the module that is being started. */
  #starting: Gate | null = null;
  readonly #waiting = new Map<string, Waiting>();
  /** Requests that were addressed to an alias, with that address. */
  readonly #askedAs = new WeakMap<Stanza, Jid>();
  readonly #stops: (() => void | Promise<void>)[] = [];
  readonly modules: Module[] = [];
  /** What ends the process or starts the hub anew; null where nothing can. */
  ending: ((restart: boolean) => void) | null = null;
  #endTimer: NodeJS.Timeout | null = null;

  /** The order of `routes` is the order of routing. */
  constructor(parts: HubParts, routes: readonly Route[]) {
    this.#config = parts.config;
    this.#switches = new Switches(parts.config);
    this.log = parts.log;
    this.metrics = parts.metrics;
    this.store = parts.store;
    this.sessions = parts.sessions;
    this.services = parts.services ?? new Services();
    this.#directories = parts.directories;
    const stanzas = parts.metrics.counter('isthmus_stanzas_total', 'Stanzas routed, by the edge they came in by', [
      'kind',
      'origin',
    ]);
    const counts = new Map<string, Map<string, { add(n?: number): void }>>();
    this.router = new Router(routes, {
      entering: stanza => this.#unalias(stanza),
      routed: (stanza, origin) => {
        let ofKind = counts.get(origin.kind);
        if (!ofKind) counts.set(origin.kind, (ofKind = new Map()));
        let count = ofKind.get(stanza.name);
        if (!count) ofKind.set(stanza.name, (count = stanzas.bind(stanza.name, origin.kind)));
        count.add();
      },
      failed: (error, stanza, origin) =>
        this.log.error({ err: error, to: stanza.to?.domain, origin: origin.name }, 'a route failed'),
    });
  }

  get config(): Config {
    return this.#config;
  }

  set config(config: Config) {
    this.#config = config;
    this.#switches.config = config;
  }

  directory(domain: string): Directory | undefined {
    return this.#directories.get(domain);
  }

  hosts(domain: string): boolean {
    return this.#config.domains.has(domain);
  }

  enabled(module: string, domain: string): boolean {
    return this.#switches.enabled(module, domain);
  }

  iq(ns: string, name: string, scope: IqScope, handler: IqHandler): void {
    const key = `${name} ${ns}`;
    const registered = this.#handlers.get(key);
    const registration = { gate: this.#starting, what: { scope, handler } };
    if (registered) registered.push(registration);
    else this.#handlers.set(key, [registration]);
  }

  filter(filter: Filter): void {
    const gate = this.#starting;
    const switches = this.#switches;
    this.router.filters.push(
      gate === null
        ? filter
        : (stanza, origin) =>
            gate.off.size === 0 || switches.concerns(gate, stanza.from?.domain, stanza.to!.domain)
              ? filter(stanza, origin)
              : stanza,
    );
  }

  arrival(what: Arrival): void {
    this.#arrivals.push({ gate: this.#starting, what });
  }

  /** What the modules make of a message that is about to be delivered to an account or kept for it. */
  arrive(stanza: Stanza, origin: Origin): Stanza {
    let current = stanza;
    for (const { gate, what } of this.#arrivals) {
      if (isOpen(gate, stanza.to!.domain)) current = what(current, origin);
    }
    return current;
  }

  on<M extends keyof Moments>(moment: M, listener: Moments[M]): void {
    const listeners = this.#moments.get(moment);
    const registration = { gate: this.#starting, what: listener as Listener['what'] };
    if (listeners) listeners.push(registration);
    else this.#moments.set(moment, [registration]);
  }

  emit<M extends keyof Moments>(moment: M, ...args: Parameters<Moments[M]>): ReturnType<Moments[M]> {
    const listeners = this.#moments.get(moment);
    const domain = domainOf(moment, args[0]);
    return (listeners ? callInOrder(listeners, 0, domain, args) : false) as ReturnType<Moments[M]>;
  }

  feature(of: 'domain' | 'account', ...features: string[]): void {
    for (const what of features) this.#features[of].push({ gate: this.#starting, what });
  }

  features(of: 'domain' | 'account', domain: string): string[] {
    return [...new Set(open(this.#features[of], domain))].sort();
  }

  identity(of: 'domain' | 'account', what: DiscoIdentity): void {
    this.#identities[of].push({ gate: this.#starting, what });
  }

  identities(of: 'domain' | 'account', domain: string): DiscoIdentity[] {
    return open(this.#identities[of], domain);
  }

  itemsFrom(what: (domain: string) => { jid: string; name?: string }[]): void {
    this.#items.push({ gate: this.#starting, what });
  }

  items(domain: string): { jid: string; name?: string }[] {
    return open(this.#items, domain).flatMap(source => source(domain));
  }

  serve(service: Service): void {
    this.services.add(service, this.config);
  }

  atBind(feature: string | null, bound: BindPart['bound']): void {
    this.#bindParts.push({ gate: this.#starting, what: { feature, bound } });
  }

  /** The features that clients of a domain can ask for as they bind. */
  bindFeatures(domain: string): string[] {
    return open(this.#bindParts, domain).flatMap(({ feature }) => feature ?? []);
  }

  /** What the modules answer to a client that binds. */
  bound(domain: string, session: Session, bind: Element): (Element | null)[] {
    return open(this.#bindParts, domain).map(({ bound }) => bound(session, bind));
  }

  discoForm(of: 'domain' | 'account', what: FormSource): void {
    this.#forms[of].push({ gate: this.#starting, what });
  }

  discoForms(of: 'domain' | 'account', domain: string): Form[] {
    return open(this.#forms[of], domain)
      .map(source => source(domain))
      .filter(form => form !== null);
  }

  discoNodes(what: DiscoNodes): void {
    this.#nodes.push({ gate: this.#starting, what });
  }

  nodesAt(domain: string): DiscoNodes[] {
    return open(this.#nodes, domain);
  }

  command(command: AdHocCommand): void {
    const gate = this.#starting;
    this.commands.add({ ...command, offered: at => isOpen(gate, at.domain) && (command.offered?.(at) ?? true) });
  }

  streamFeature(what: Element | ((domain: string) => Element | null)): void {
    this.#streamFeatures.push({ gate: this.#starting, what });
  }

  /** The features that a client of a domain sees once it is authenticated. */
  streamFeatures(domain: string): Element[] {
    return open(this.#streamFeatures, domain)
      .map(what => (typeof what === 'function' ? what(domain) : what))
      .filter(what => what !== null);
  }

  set registrar(what: Registrar) {
    this.#registrar = { gate: this.#starting, what };
  }

  /** Who answers in-band registration before authentication at a domain, if anybody does. */
  registrarOf(domain: string): Registrar | null {
    return this.#registrar && isOpen(this.#registrar.gate, domain) ? this.#registrar.what : null;
  }

  end(restart: boolean, delay: number): void {
    if (!this.ending) throw new StanzaError('internal-server-error', 'this hub is ended by what started it');
    if (this.#endTimer) throw new StanzaError('conflict', 'the hub is about to end already');
    this.log.warn({ restart, delay }, 'the hub was told to end');
    this.#endTimer = setTimeout(this.ending, delay, restart);
  }

  ask(request: Stanza, timeout = 30_000): Promise<Stanza> {
    if (this.#waiting.size >= mostWaiting) return Promise.reject(new StanzaError('resource-constraint'));
    const id = `hub-${randomBytes(9).toString('base64url')}`;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new StanzaError('remote-server-timeout', `no answer from ${request.to} in ${timeout / 1000} s`));
      }, timeout);
      this.#waiting.set(id, { from: request.to!.toString(), resolve, timer });
      void this.router.route(request.withId(id), hubOrigin);
    });
  }

  /**
   * Answers an IQ that is addressed to a hosted domain or to the bare JID of an account (RFC 6120 §8.2.3, RFC 6121
   * §8.5.2.1.3): the handler that is registered for its child, else `service-unavailable`. Never throws.
   */
  answer(stanza: Stanza, origin: Origin): void | Promise<void> {
    if (!stanza.isRequest) return this.#answered(stanza);
    const first = stanza.firstChild!;
    const registered = this.#handlers
      .get(`${first.name} ${first.ns}`)
      ?.find(({ gate, what }) => isOpen(gate, stanza.to!.domain) && admits(what.scope, stanza, origin))?.what;
    if (!registered) return this.#reply(stanza, stanza.error('service-unavailable'));
    const session: Session | undefined = origin.kind === 'session' ? this.sessions.get(stanza.from!) : undefined;
    try {
      const answer = registered.handler({
        stanza,
        query: stanza.child(first.name, first.ns)!,
        from: stanza.from!,
        to: stanza.to!,
        origin,
        session,
      });
      if (answer instanceof Promise) {
        return answer.then(
          result => this.#reply(stanza, result),
          error => this.#reply(stanza, this.#errorFor(stanza, error)),
        );
      }
      return this.#reply(stanza, answer);
    } catch (error) {
      return this.#reply(stanza, this.#errorFor(stanza, error));
    }
  }

  /** Starts a module, one at a time; what it registers is undone by `stop`. */
  async start(module: Module): Promise<void> {
    this.#starting = this.#switches.gate(module);
    try {
      const stop = await module.start(this);
      this.modules.push(module);
      if (stop) this.#stops.push(stop);
    } finally {
      this.#starting = null;
    }
  }

  /** Stops the modules, the last started first; one that fails holds up no other. */
  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) {
      try {
        await stop();
      } catch (error) {
        this.log.error({ err: error }, 'a module could not end in order');
      }
    }
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
    if (this.#endTimer) clearTimeout(this.#endTimer);
    this.#waiting.clear();
    this.router.filters.length = 0;
    this.#handlers.clear();
    this.#arrivals.length = 0;
    this.#moments.clear();
  }

  #unalias(stanza: Stanza): Stanza {
    const to = stanza.to!;
    const meant = meantBy(to, this.config);
    if (meant === to) return stanza;
    const real = stanza.withTo(meant);
    if (real.isRequest) this.#askedAs.set(real, to);
    return real;
  }

  #answered(stanza: Stanza): void {
    const waiting = this.#waiting.get(stanza.id);
    if (!waiting || waiting.from !== stanza.from?.toString()) return;
    this.#waiting.delete(stanza.id);
    clearTimeout(waiting.timer);
    waiting.resolve(stanza);
  }

  #reply(request: Stanza, answer: Element | Stanza | null): void | Promise<void> {
    const stanza = answer instanceof Stanza ? answer : request.result(answer);
    // Whoever asked an alias expects the answer from there (RFC 6120 §8.1.2.1).
    const alias = this.#askedAs.get(request);
    return this.router.route(alias ? stanza.withFrom(alias) : stanza, hubOrigin);
  }

  #errorFor(stanza: Stanza, error: unknown): Stanza {
    if (error instanceof StanzaError) return stanza.refuse(error);
    this.log.error({ err: error, child: stanza.firstChild }, 'an IQ handler failed');
    return stanza.refuse(toldOf(error));
  }
}

/** Calls the listeners that are on for `domain` until one answers true; goes on asynchronously behind the first promise. */
function callInOrder(
  listeners: Listener[],
  from: number,
  domain: string | null,
  args: unknown[],
): boolean | Promise<boolean> {
  for (let at = from; at < listeners.length; at++) {
    const { gate, what } = listeners[at];
    if (domain !== null && !isOpen(gate, domain)) continue;
    const answer = what(...args);
    if (answer === true) return true;
    if (answer instanceof Promise) {
      return answer.then(consumed => consumed === true || callInOrder(listeners, at + 1, domain, args));
    }
  }
  return false;
}

/** The local domain that a moment is about; null for moments that reach every module, whatever it is on for. */
function domainOf(moment: keyof Moments, subject: unknown): string | null {
  switch (moment) {
    case 'session-opened':
    case 'session-closed':
    case 'session-sent':
    case 'session-available':
    case 'session-receptive':
    case 'session-unavailable':
    case 'message-waiting':
    case 'message-returned':
      return (subject as Session).jid.domain;
    case 'presence-received':
    case 'domain-message':
    case 'message-delivered':
    case 'message-offline':
    case 'message-undelivered':
    case 'message-missed':
    case 'message-kept':
    case 'subscription-asked':
      return (subject as Stanza).to!.domain;
    case 'login':
    case 'reported':
    case 'roster-changed':
    case 'presence-source':
      return (subject as Jid).domain;
    // What was kept while a module was on goes even when it is off.
    case 'account-removed':
    case 'reloaded':
      return null;
  }
}

function isOpen(gate: Gate | null, domain: string): boolean {
  return gate === null || gate.off.size === 0 || !gate.off.has(domain);
}

/** What was registered by modules that are on for a domain. */
function open<T>(registered: readonly Registered<T>[], domain: string): T[] {
  return registered.filter(({ gate }) => isOpen(gate, domain)).map(({ what }) => what);
}

function admits(scope: IqScope, stanza: Stanza, origin: Origin): boolean {
  const to = stanza.to as Jid;
  switch (scope) {
    case 'any':
      return true;
    case 'domain':
      return to.isDomain;
    case 'account':
      return !to.isDomain;
    case 'own-account':
      return origin.kind === 'session' && !to.isDomain && to.bare.equals(stanza.from!.bare);
  }
}
