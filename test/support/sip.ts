// The SIP side for tests and the demo: a SIP domain with its people, on the embedded engine and real sockets.
import { EventEmitter } from 'node:events';
import { createServer } from 'node:net';
import type { Device } from '../../src/bridges/sip/device.ts';
import { createEmbedded } from '../../src/bridges/sip/embedded.ts';
import type {
  Engine,
  Notification,
  SipAnswer,
  SipRequest,
  SipResponse,
  SubscriptionEnd,
  SubscriptionIn,
  SubscriptionOut,
} from '../../src/bridges/sip/engine.ts';
import { readPidf, writePidf } from '../../src/bridges/sip/pidf.ts';
import { type EngineConfig, type Protocol, readEngineConfig } from '../../src/bridges/sip/settings.ts';
import { parseUri } from '../../src/bridges/sip/uri.ts';
import { createResolver } from '../../src/hub/dns.ts';
import { silentLog } from '../../src/hub/log.ts';
import { createMetrics } from '../../src/hub/metrics.ts';
import { parseSettings } from '../../src/hub/settings.ts';

const patience = 5_000;

/** A port that is free on loopback, for TCP and so very likely for UDP; `next`: the one behind it is free, too. */
export async function freePort(next = false): Promise<number> {
  for (;;) {
    const port = await listens(0);
    if (!next || (await listens(port + 1).catch(() => 0)) > 0) return port;
  }
}

function listens(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const bound = (server.address() as { port: number }).port;
      server.close(() => resolve(bound));
    });
  });
}

/** Where to put what a SIP domain is asked, and what its people see. */
export class SipSide {
  readonly engine: Engine;
  readonly people = new Map<string, SipPerson>();
  readonly #config: EngineConfig;
  readonly #events = new EventEmitter().setMaxListeners(0);
  readonly #close: () => void;
  #stopped = false;
  /** What every request is answered with, before anybody sees it; null: nothing special. */
  answers: (request: SipRequest) => SipAnswer | null | Promise<SipAnswer | null> = () => null;

  private constructor(config: EngineConfig) {
    const metrics = createMetrics();
    const resolver = createResolver({ servers: [] });
    this.#config = config;
    this.#close = () => {
      metrics.close();
      resolver.close();
    };
    const connections = { perAddress: 1000, total: 1000 };
    this.engine = createEmbedded(config, { resolver, log: silentLog(), metrics, trust: [], data: '/tmp', connections });
  }

  /** Starts a SIP domain that listens on one port, for UDP and TCP. */
  static async start(domain = 'sip.test', port?: number, yaml = ''): Promise<SipSide> {
    const at = port ?? (await freePort());
    const listen = `listen: ["udp:127.0.0.1:${at}", "tcp:127.0.0.1:${at}"]`;
    const limits = 'limits: { per-source: 0 }';
    const side = new SipSide(
      readEngineConfig(parseSettings([`domains: [${domain}]`, listen, limits, yaml].join('\n'), 'sip')),
    );
    const known = (request: SipRequest) => side.people.get(userOf(request.uri));
    const guarded =
      <T extends unknown[]>(take: (person: SipPerson, request: SipRequest, ...rest: T) => SipAnswer) =>
      async (request: SipRequest, ...rest: T): Promise<SipAnswer> => {
        const answer = await side.answers(request);
        const person = known(request);
        return answer ?? (person ? take(person, request, ...rest) : { status: 404, reason: 'Not Found' });
      };
    await side.engine.start({
      message: guarded((person, request) => person.takesMessage(request)),
      subscribe: guarded((person, request, subscription: SubscriptionIn) =>
        person.takesSubscription(request, subscription),
      ),
    });
    return side;
  }

  get port(): number {
    return this.#config.listen[0].port;
  }

  get domain(): string {
    return this.#config.domains[0];
  }

  /** Sends everything there: the hub's listener. */
  reaches(port: number, protocol: Protocol = 'udp'): void {
    this.#config.routes.set('*', [parseUri(`sip:127.0.0.1:${port};transport=${protocol};lr`)!]);
  }

  person(name: string): SipPerson {
    let person = this.people.get(name);
    if (!person) this.people.set(name, (person = new SipPerson(this, name)));
    return person;
  }

  changed(): void {
    this.#events.emit('change');
  }

  /** Resolves when `condition` holds; it is looked at with each thing that comes. */
  async waits<T>(condition: () => T | undefined | false, what: string, deadline = patience): Promise<T> {
    const end = Date.now() + deadline;
    for (;;) {
      const found = condition();
      if (found) return found;
      const left = end - Date.now();
      if (left <= 0) throw new Error(`the SIP side waited in vain for ${what}`);
      await new Promise<void>(resolve => {
        const done = () => {
          clearTimeout(timer);
          this.#events.off('change', done);
          resolve();
        };
        const timer = setTimeout(done, left);
        this.#events.on('change', done);
      });
    }
  }

  /** A second call does nothing. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.engine.stop();
    this.#close();
  }
}

export interface HeardMessage {
  from: string;
  contentType: string;
  text: string;
  request: SipRequest;
}

/** What a SIP person sees of somebody. */
export class Sight {
  readonly notifications: Notification[] = [];
  end: SubscriptionEnd | null = null;
  out!: SubscriptionOut;
  readonly #side: SipSide;

  constructor(side: SipSide) {
    this.#side = side;
  }

  get devices(): Device[] {
    const last = this.notifications.findLast(one => one.body.length > 0);
    return last ? readPidf(last.body) : [];
  }

  /** `active balcony:away`, or `terminated (rejected)`. */
  get now(): string {
    const last = this.notifications.at(-1);
    if (!last) return this.end ? `${this.end.kind} ${this.end.status}` : '';
    const seen = this.devices.map(({ name, open, show }) => `${name}:${open ? show || 'open' : 'closed'}`).sort();
    return [last.state, last.reason && `(${last.reason})`, ...(last.body.length > 0 ? seen : [])]
      .filter(Boolean)
      .join(' ');
  }

  sees(now: string | RegExp, deadline?: number): Promise<true> {
    const is = () => (typeof now === 'string' ? this.now === now : now.test(this.now)) || undefined;
    return this.#side.waits<true>(is, `${now}, seeing ${this.now}`, deadline).catch(error => {
      throw new Error(`${(error as Error).message}; at last ${this.now}`);
    });
  }
}

/** Somebody with an address at the SIP domain. */
export class SipPerson {
  readonly #side: SipSide;
  readonly name: string;
  readonly inbox: HeardMessage[] = [];
  /** Who watches, and what they are told. */
  readonly watchers: SubscriptionIn[] = [];
  lets: 'active' | 'pending' | 'rejected' = 'active';
  devices: Device[] = [];

  constructor(side: SipSide, name: string) {
    this.#side = side;
    this.name = name;
  }

  get uri(): string {
    return `sip:${this.name}@${this.#side.domain}`;
  }

  /** Sends text (or any body) to somebody and resolves with the answer. */
  says(to: string, body: string | Uint8Array, contentType = 'text/plain'): Promise<SipResponse> {
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    return this.#side.engine.send({ method: 'MESSAGE', uri: to, from: this.uri, contentType, body: bytes });
  }

  /** The message that says this, taken out of the inbox. */
  hears(text: string | RegExp, deadline?: number): Promise<HeardMessage> {
    const find = () => {
      const at = this.inbox.findIndex(one => (typeof text === 'string' ? one.text === text : text.test(one.text)));
      return at < 0 ? undefined : this.inbox.splice(at, 1)[0];
    };
    return this.#side.waits(find, `${this.name} to hear ${text}`, deadline);
  }

  watches(uri: string, expires = 600): Sight {
    const sight = new Sight(this.#side);
    sight.out = this.#side.engine.subscribe(
      { uri, from: this.uri, event: 'presence', accept: ['application/pidf+xml'], expires },
      {
        notify: notification => {
          sight.notifications.push(notification);
          this.#side.changed();
        },
        ended: end => {
          sight.end = end;
          this.#side.changed();
        },
      },
    );
    return sight;
  }

  /** Registers where the side's requests go, for so many seconds; 0 takes it back. */
  registers(expires = 600): Promise<SipResponse> {
    return this.#side.engine.send({
      method: 'REGISTER',
      uri: `sip:${this.#side.domain}`,
      from: this.uri,
      to: this.uri,
      headers: [
        ['Contact', `<sip:${this.name}@127.0.0.1:${this.#side.port};transport=tcp>`],
        ['Expires', String(expires)],
      ],
    });
  }

  publishes(document: string | Uint8Array, headers: [string, string][] = []): Promise<SipResponse> {
    const body = typeof document === 'string' ? Buffer.from(document) : document;
    return this.#side.engine.send({
      method: 'PUBLISH',
      uri: this.uri,
      from: this.uri,
      headers: [['Event', 'presence'], ...headers],
      ...(body.length > 0 ? { contentType: 'application/pidf+xml', body } : {}),
    });
  }

  /** Is on one device in this way (`''` is gone), and tells all who watch. */
  is(show: '' | 'open' | 'away' | 'chat' | 'dnd' | 'xa', status = ''): void {
    const open = show !== '';
    this.devices = [
      {
        name: 'desk',
        reachable: false,
        open,
        show: show === 'open' ? '' : show,
        status: status ? [['', status]] : [],
        priority: 0,
        idleSince: null,
      },
    ];
    for (const watcher of this.watchers) this.#tell(watcher);
  }

  /** Lets those in who wait, or puts all out. */
  answers(lets: 'active' | 'rejected'): void {
    this.lets = lets;
    for (const watcher of this.watchers) this.#tell(watcher);
    if (lets === 'rejected') this.watchers.length = 0;
  }

  get document(): Uint8Array {
    return writePidf(this.uri, this.devices, () => this.uri);
  }

  takesMessage(request: SipRequest): SipAnswer {
    const text = Buffer.from(request.body).toString();
    this.inbox.push({ from: request.from, contentType: request.contentType, text, request });
    this.#side.changed();
    return { status: 200 };
  }

  takesSubscription(_request: SipRequest, subscription: SubscriptionIn): SipAnswer {
    this.watchers.push(subscription);
    subscription.onRefresh = () => this.#tell(subscription);
    subscription.onEnd = why => {
      this.watchers.splice(this.watchers.indexOf(subscription), 1);
      if (why !== 'lost') void subscription.notify({ state: 'terminated', reason: 'timeout' });
      this.#side.changed();
    };
    this.#tell(subscription);
    this.#side.changed();
    return { status: 200 };
  }

  #tell(subscription: SubscriptionIn): void {
    const document = { contentType: 'application/pidf+xml', body: this.document };
    if (this.lets === 'rejected') void subscription.notify({ state: 'terminated', reason: 'rejected' });
    else void subscription.notify({ state: this.lets, ...(this.lets === 'active' ? document : {}) });
  }
}

function userOf(uri: string): string {
  return /^sips?:([^@;]*)@/.exec(uri)?.[1] ?? '';
}
