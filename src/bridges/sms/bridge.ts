// The SMS bridge: what its parts are, how they meet, and what its addresses answer.
import { el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import type { Bridge, BridgeCommand, BridgePort } from '../bridge.ts';
import { Service } from '../service.ts';
import { numberOf, validNumber } from './addresses.ts';
import { Counts } from './counts.ts';
import type { Outcomes } from './dispatch.ts';
import { Inbound } from './inbound.ts';
import { Numbers } from './numbers.ts';
import { queueHelp, runQueue } from './operator.ts';
import { Outbound } from './outbound.ts';
import { Pairs } from './pairs.ts';
import { flag, SmsQueue } from './queue.ts';
import { Reassembly } from './reassembly.ts';
import { gatewayNs, Registration } from './registration.ts';
import { type RouteParts, SmsRoute } from './routes.ts';
import type { SmsConfig } from './settings.ts';
import type { Reconnecting } from './smsc.ts';
import { mostOwnAccounts, type OwnAccount, Users } from './users.ts';

/** How often deadlines are looked at, in ms. */
const tickEvery = 5_000;
/** Receipts are waited for this much longer than the SMSC may try. */
const grace = 3_600_000;
const atOnce = 500;

export class SmsBridge implements Bridge {
  readonly #config: SmsConfig;
  readonly #port: BridgePort;
  readonly #queue: SmsQueue;
  readonly #pairs: Pairs;
  readonly #reassembly: Reassembly;
  readonly #users: Users;
  readonly #counts: Counts;
  readonly #outbound: Outbound;
  readonly #inbound: Inbound;
  readonly #registration: Registration;
  readonly #service: Service;
  readonly #routes = new Map<string, SmsRoute>();
  readonly #routeParts: RouteParts;
  readonly commands: Readonly<Record<string, BridgeCommand>>;
  #ticker: NodeJS.Timeout | null = null;
  #ticking = false;

  constructor(config: SmsConfig, port: BridgePort, reconnecting?: Reconnecting) {
    this.#config = config;
    this.#port = port;
    const { store } = port;
    this.#queue = new SmsQueue(store, config.domain);
    this.#pairs = new Pairs(store, config.domain, config.limits.pairs);
    this.#reassembly = new Reassembly(store, config.domain);
    this.#users = new Users(store, config.domain);
    this.#counts = new Counts(port.metrics, config.domain, this.#queue, () => this.#main.smscs);
    const shared = { config, port, queue: this.#queue, pairs: this.#pairs, counts: this.#counts };
    const numbers = new Numbers(port, config, this.#users);
    const wake = (route: string) => this.#routes.get(route)?.wake();
    this.#outbound = new Outbound({ ...shared, users: this.#users, numbers, wake });
    this.#inbound = new Inbound({ ...shared, reassembly: this.#reassembly, outbound: this.#outbound });
    this.#routeParts = {
      config,
      port,
      queue: this.#queue,
      outcomes: this.#outcomes(),
      delivered: (pdu, smsc, route) =>
        this.#inbound.take(pdu, { route, smsc: smsc.config, submitting: () => smsc.inFlight > 0 }),
      throttled: () => this.#counts.throttled.add(),
      reconnecting,
    };
    this.#routes.set('', new SmsRoute('', null, this.#routeParts));
    this.#registration = new Registration({
      config,
      users: this.#users,
      numbers,
      permitted: user => this.#serves(user),
      accountChanged: (user, account) => this.#accountChanged(user, account),
      stateFor: user => this.#stateFor(user),
    });
    this.#service = new Service(port, {
      identity: { category: 'gateway', type: 'sms', name: 'Short messages' },
      features: [ns.register, gatewayNs, ns.receipts],
      userFeatures: [ns.receipts],
      commands: this.#registration.commands,
    });
    this.commands = {
      queue: {
        help: queueHelp,
        run: args =>
          runQueue(
            args,
            this.#queue,
            this.#outbound,
            () => store.durable(),
            () => {
              for (const route of this.#routes.values()) route.wake();
            },
          ),
      },
    };
    port.inside?.onOffline(stanza => this.#outbound.forward(stanza));
    port.inside?.onRemoved(user => this.#forget(user));
  }

  async start(): Promise<void> {
    const doubtful = this.#queue.recover();
    if (doubtful > 0) {
      this.#counts.duplicates.add(doubtful);
      this.#port.log.warn({ messages: doubtful }, 'may be sent twice: the hub ended before their answers came');
    }
    await this.#port.store.durable();
    for (const { user, account } of this.#users.withAccounts()) {
      const name = user.toString();
      this.#routes.set(name, new SmsRoute(name, account, this.#routeParts));
    }
    for (const route of this.#routes.values()) route.start();
    this.#ticker = setInterval(() => void this.#tick(), Math.min(tickEvery, this.#config.reassembly / 2));
  }

  async send(stanza: Stanza): Promise<void> {
    switch (stanza.name) {
      case 'message':
        if (!stanza.isError) return this.#outbound.take(stanza);
        this.#port.log.info({ to: stanza.from?.toString() }, 'a message from a phone came back');
        return;
      case 'presence':
        return this.#presence(stanza);
      default:
        return this.#iq(stanza);
    }
  }

  async stop(): Promise<void> {
    if (this.#ticker) clearInterval(this.#ticker);
    await Promise.all([...this.#routes.values()].map(route => route.stop()));
    await this.#port.store.durable();
    this.#counts.close();
  }

  show(): Record<string, unknown> {
    const oldest = this.#queue.oldest();
    return {
      domain: this.#config.domain,
      smscs: this.#main.smscs.map(smsc => smsc.show()),
      queue: this.#queue.length,
      'oldest in queue': oldest === null ? '' : new Date(oldest).toISOString(),
      'set aside': this.#queue.setAside,
      'awaiting receipts': this.#queue.awaiting,
      'incomplete parts from phones': this.#reassembly.parts,
      'pairs of number and person': this.#pairs.size,
      'numbers that said STOP': this.#pairs.stopped,
      'own accounts': this.#routes.size - 1,
    };
  }

  get #main(): SmsRoute {
    return this.#routes.get('')!;
  }

  #outcomes(): Outcomes {
    return {
      partAccepted: (_queued, smsc, message) => {
        this.#counts.segments.add();
        void this.#inbound.numbered(smsc.config, message).catch(error => this.#failed(error));
      },
      accepted: (queued, _segments, numbered) => {
        this.#counts.accepted.add();
        const state = this.#queue.complete(queued);
        const early = state === 'settled' && numbered;
        if (early) this.#counts.delivered.add();
        if (state !== 'failed' && (early || this.#config.receipts === 'submission')) {
          void this.#outbound.receipt(queued).catch(error => this.#failed(error));
        }
      },
      refused: (queued, reason, words) => this.#outbound.failed(queued, reason, words),
      inDoubt: (queued, setAside) => {
        if (setAside) this.#counts.setAside.add();
        else this.#counts.duplicates.add();
        this.#port.log.warn({ id: queued.id.toString(36), setAside }, 'the answer was lost: it may arrive twice');
      },
      stopped: ({ number, flags }) => !(flags & flag.own) && this.#pairs.isStopped(number),
    };
  }

  /** Deadlines: of messages, of receipts, of parts. */
  async #tick(): Promise<void> {
    if (this.#ticking) return;
    this.#ticking = true;
    try {
      const now = Date.now();
      for (const queued of this.#queue.expired(now - this.#config.validity, atOnce)) {
        await this.#outbound.giveUp(queued, 'expired', 'it could not be sent in time');
      }
      this.#queue.forgetSent(now - this.#config.validity - grace, atOnce * 10);
      await this.#inbound.overdue(now);
      await this.#port.store.durable();
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#ticking = false;
    }
  }

  #failed(error: unknown): void {
    this.#port.log.error({ err: error }, 'the bridge could not do its work');
  }

  async #iq(stanza: Stanza): Promise<void> {
    if (!stanza.isRequest) return;
    if (stanza.to!.local !== '' && !numberOf(stanza.to!)) throw new StanzaError('item-not-found', validNumber);
    if (await this.#service.handle(stanza)) return;
    const answer = await this.#registration.answer(stanza);
    if (!answer) throw new StanzaError('service-unavailable');
    await this.#port.receive(answer);
    if (stanza.type === 'set' && stanza.has('query', ns.register)) await this.#greet(stanza);
  }

  /** XEP-0100 §4.1, §4.3: who registers is asked for their presence and sees ours; who leaves does not any more. */
  async #greet(stanza: Stanza): Promise<void> {
    const gone = stanza.child('query', ns.register)!.child('remove') !== null;
    const types = gone ? ['unsubscribe', 'unsubscribed', 'unavailable'] : ['subscribe', ''];
    for (const type of types)
      await this.#port.receive(Stanza.of('presence', { from: stanza.to, to: stanza.from!.bare, type }));
  }

  /** Numbers and the bridge itself can be subscribed to, and are there whenever they are asked for. */
  async #presence(stanza: Stanza): Promise<void> {
    const { from, to, type } = stanza;
    if (!from || !to) return;
    if (to.local !== '' && !numberOf(to)) {
      if (type === 'subscribe') throw new StanzaError('jid-malformed', validNumber);
      return;
    }
    const answers: Readonly<Record<string, string[]>> = {
      subscribe: ['subscribed', ''],
      unsubscribe: ['unsubscribed', 'unavailable'],
      probe: [''],
      '': to.local === '' ? [''] : [],
      unavailable: [],
    };
    for (const answer of answers[type] ?? []) {
      const status = answer === '' && to.local !== '' ? el('status', ns.client, {}, 'by short message') : null;
      const bare = to.bare;
      await this.#port.receive(
        Stanza.of('presence', { from: bare, to: answer === '' ? from : from.bare, type: answer }, status),
      );
    }
  }

  #serves(user: Jid): boolean {
    return user.local !== '' && this.#outbound.mayWrite(user);
  }

  #stateFor(user: Jid): string[] {
    const own = this.#routes.get(user.bare.toString());
    if (!own) return [];
    const [smsc] = own.smscs;
    return [
      smsc.up ? 'Your own account is in use.' : `Your own account is not in use: ${smsc.lastError || 'connecting'}.`,
    ];
  }

  #accountChanged(user: Jid, account: OwnAccount | null): void {
    const name = user.bare.toString();
    const before = this.#routes.get(name);
    if (!before && account && this.#routes.size > mostOwnAccounts) {
      throw new StanzaError(
        'resource-constraint',
        `no more than ${mostOwnAccounts} accounts of their own are permitted`,
      );
    }
    this.#routes.delete(name);
    const next = account ? new SmsRoute(name, account, this.#routeParts) : null;
    if (next) this.#routes.set(name, next);
    void (before?.stop() ?? Promise.resolve())
      .then(() => {
        if (next && this.#routes.get(name) === next) next.start();
        if (!account) this.#queue.reroute(name, '');
        this.#main.wake();
      })
      .catch(error => this.#failed(error));
  }

  async #forget(user: Jid): Promise<void> {
    if (this.#users.get(user).account) this.#accountChanged(user, null);
    await this.#users.remove(user);
  }
}
