// The kernel: what modules register with, and who answers an IQ that is addressed to the server itself.
import { randomBytes } from 'node:crypto';
import type { Element } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { Stanza } from '../xmpp/stanza.ts';
import type { Config } from './config.ts';
import type { Directory } from './directory.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import type {
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
import type { Service, Services } from './services.ts';
import type { Store } from './store.ts';

interface Registration {
  scope: IqScope;
  handler: IqHandler;
}

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
  services: Services;
}

/** The requests that may wait for an answer at once: each is one of ours, so this bounds a mistake, not a peer. */
const mostWaiting = 100_000;

export class Kernel implements Hub {
  config: Config;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly store: Store;
  readonly sessions: Sessions;
  readonly router: Router;
  readonly streamFeatures: Element[] = [];
  registrar: Registrar | null = null;
  readonly services: Services;
  readonly #directories: ReadonlyMap<string, Directory>;
  readonly #handlers = new Map<string, Registration[]>();
  readonly #moments = new Map<keyof Moments, ((...args: never[]) => unknown)[]>();
  readonly #features = { domain: new Set<string>(), account: new Set<string>() };
  readonly #identities = { domain: [] as DiscoIdentity[], account: [] as DiscoIdentity[] };
  readonly #items: ((domain: string) => { jid: string; name?: string }[])[] = [];
  readonly #nodes: DiscoNodes[] = [];
  readonly #waiting = new Map<string, Waiting>();
  readonly #stops: (() => void | Promise<void>)[] = [];
  readonly modules: Module[] = [];

  /** The order of `routes` is the order of routing. */
  constructor(parts: HubParts, routes: readonly Route[]) {
    this.config = parts.config;
    this.log = parts.log;
    this.metrics = parts.metrics;
    this.store = parts.store;
    this.sessions = parts.sessions;
    this.services = parts.services;
    this.#directories = parts.directories;
    const stanzas = parts.metrics.counter('isthmus_stanzas_total', 'Stanzas routed, by the edge they came in by', [
      'kind',
      'origin',
    ]);
    const counts = new Map<string, { add(n?: number): void }>();
    this.router = new Router(routes, {
      routed: (stanza, origin) => {
        const key = stanza.name + origin.kind;
        let count = counts.get(key);
        if (!count) counts.set(key, (count = stanzas.bind(stanza.name, origin.kind)));
        count.add();
      },
      failed: (error, stanza, origin) =>
        this.log.error({ err: error, to: stanza.to?.domain, origin: origin.name }, 'a route failed'),
    });
  }

  directory(domain: string): Directory | undefined {
    return this.#directories.get(domain);
  }

  hosts(domain: string): boolean {
    return this.config.domains.has(domain);
  }

  iq(ns: string, name: string, scope: IqScope, handler: IqHandler): void {
    const key = `${name} ${ns}`;
    const registered = this.#handlers.get(key);
    if (registered) registered.push({ scope, handler });
    else this.#handlers.set(key, [{ scope, handler }]);
  }

  filter(filter: Filter): void {
    this.router.filters.push(filter);
  }

  on<M extends keyof Moments>(moment: M, listener: Moments[M]): void {
    const listeners = this.#moments.get(moment);
    if (listeners) listeners.push(listener);
    else this.#moments.set(moment, [listener]);
  }

  emit<M extends keyof Moments>(moment: M, ...args: Parameters<Moments[M]>): ReturnType<Moments[M]> {
    const listeners = this.#moments.get(moment) as ((...args: unknown[]) => unknown)[] | undefined;
    return (listeners ? callInOrder(listeners, 0, args) : false) as ReturnType<Moments[M]>;
  }

  feature(of: 'domain' | 'account', ...features: string[]): void {
    for (const feature of features) this.#features[of].add(feature);
  }

  features(of: 'domain' | 'account'): string[] {
    return [...this.#features[of]].sort();
  }

  identity(of: 'domain' | 'account', identity: DiscoIdentity): void {
    this.#identities[of].push(identity);
  }

  identities(of: 'domain' | 'account'): DiscoIdentity[] {
    return this.#identities[of];
  }

  itemsFrom(source: (domain: string) => { jid: string; name?: string }[]): void {
    this.#items.push(source);
  }

  items(domain: string): { jid: string; name?: string }[] {
    return this.#items.flatMap(source => source(domain));
  }

  discoNodes(nodes: DiscoNodes): void {
    this.#nodes.push(nodes);
  }

  nodesAt(_domain: string): DiscoNodes[] {
    return this.#nodes;
  }

  serve(service: Service): void {
    this.services.add(service, this.config);
  }

  streamFeature(element: Element): void {
    this.streamFeatures.push(element);
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
    const first = stanza.firstChild;
    if (!first || stanza.index.length === 0 || !stanza.id) {
      return this.#reply(stanza, stanza.error('bad-request', 'a request has an id and one child element'));
    }
    const registered = this.#handlers.get(`${first.name} ${first.ns}`)?.find(one => admits(one.scope, stanza, origin));
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

  /** Starts a module; what it registers is undone by `stop`. */
  async start(module: Module): Promise<void> {
    const stop = await module.start(this);
    this.modules.push(module);
    if (stop) this.#stops.push(stop);
  }

  /** Stops the modules, the last started first. */
  async stop(): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) await stop();
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
    this.router.filters.length = 0;
    this.#handlers.clear();
    this.#moments.clear();
  }

  #answered(stanza: Stanza): void {
    const waiting = this.#waiting.get(stanza.id);
    if (!waiting || waiting.from !== stanza.from?.toString()) return;
    this.#waiting.delete(stanza.id);
    clearTimeout(waiting.timer);
    waiting.resolve(stanza);
  }

  #reply(request: Stanza, answer: Element | Stanza | null): void | Promise<void> {
    return this.router.route(answer instanceof Stanza ? answer : request.result(answer), hubOrigin);
  }

  #errorFor(stanza: Stanza, error: unknown): Stanza {
    if (error instanceof StanzaError) return stanza.refuse(error);
    this.log.error({ err: error, child: stanza.firstChild }, 'an IQ handler failed');
    return stanza.error('internal-server-error');
  }
}

/** Calls listeners in order until one answers true; goes on asynchronously behind the first promise. */
function callInOrder(
  listeners: ((...args: unknown[]) => unknown)[],
  from: number,
  args: unknown[],
): boolean | Promise<boolean> {
  for (let at = from; at < listeners.length; at++) {
    const answer = listeners[at](...args);
    if (answer === true) return true;
    if (answer instanceof Promise) {
      return answer.then(consumed => consumed === true || callInOrder(listeners, at + 1, args));
    }
  }
  return false;
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
