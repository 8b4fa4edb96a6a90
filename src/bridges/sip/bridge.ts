// The SIP bridge: takes stanzas and SIP requests, and gives each to the part that knows what it is about.
import type { Metrics } from '../../hub/metrics.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import type { Bridge, BridgePort } from '../bridge.ts';
import { Service } from '../service.ts';
import { sipAddress } from './addresses.ts';
import type { SipConfig } from './config.ts';
import { Conversations } from './conversations.ts';
import { Counts } from './counts.ts';
import type {
  Engine,
  EngineHandler,
  SipAnswer,
  SipRequest,
  SubscriptionIn,
  SubscriptionOut,
  Watching,
  WatchListener,
} from './engine.ts';
import { answerTo, errorIn } from './errors.ts';
import { Ledger } from './ledger.ts';
import { pidfType } from './pidf.ts';
import { Publications } from './publications.ts';
import { Registrar } from './registrar.ts';
import { watchPublished } from './sip-to-sip.ts';
import { Surroundings } from './surroundings.ts';
import { Watchers } from './watchers.ts';
import { Watches } from './watches.ts';

export class SipBridge implements Bridge {
  readonly #around: Surroundings;
  readonly #service: Service;
  readonly #watches: Watches;
  readonly #watchers: Watchers;
  readonly #conversations: Conversations;
  readonly #publications: Publications;
  readonly #registrar: Registrar;

  constructor(config: SipConfig, port: BridgePort, engine: Engine) {
    this.#around = new Surroundings(port, engine, new Ledger(port.store), config, new Counts(port.metrics));
    this.#registrar = new Registrar(this.#around, address => {
      this.#publications.changed(address);
      this.#watches.retry(address);
    });
    this.#publications = new Publications(this.#around, {
      watchesXmpp: (presentity, user) => this.#watchers.has(user, presentity),
      registered: presentity => this.#registrar.contacts(presentity).length > 0,
    });
    this.#watches = new Watches(this.#around, (wish, contact, listener) => this.#subscribeTo(wish, contact, listener));
    this.#watchers = new Watchers(this.#around, from => this.#publications.changed(from));
    this.#conversations = new Conversations(this.#around, (contact, user) => this.#targetsOf(contact, user));
    this.#service = new Service(port, {
      identity: { category: 'gateway', type: 'simple', name: 'SIP' },
      userFeatures: [ns.receipts, ns.chatStates, ns.markers],
    });
    observe(port.metrics, this);
  }

  /** The main one of its domains. */
  get domain(): string {
    return this.#around.port.domains[0];
  }

  async start(): Promise<void> {
    const handler: EngineHandler = {
      message: request => this.#conversations.receive(request),
      subscribe: (request, subscription) => this.#subscribed(request, subscription),
    };
    const { config, engine } = this.#around;
    if (config.presence.server !== 'off') handler.publish = request => this.#publications.publish(request);
    if (config.registrar) handler.register = request => this.#registrar.register(request);
    this.#registrar.start();
    this.#publications.start();
    await engine.start(handler);
    this.#watches.start();
  }

  async stop(): Promise<void> {
    this.#watches.stop();
    this.#conversations.stop();
    this.#publications.stop();
    this.#registrar.stop();
    await this.#watchers.stop();
    await this.#around.engine.stop();
  }

  send(stanza: Stanza): void | Promise<void> {
    if (stanza.isError) return this.#cameBack(stanza);
    const refusal = this.#around.port.refusal(stanza.to!.domain);
    if (refusal) throw new StanzaError('not-allowed', refusal);
    switch (stanza.name) {
      case 'message':
        return this.#message(stanza);
      case 'presence':
        return this.#presence(stanza);
      default:
        return this.#iq(stanza);
    }
  }

  show(): Record<string, unknown> {
    const { port, engine, config } = this.#around;
    return {
      domains: port.domains,
      listening: engine.addresses,
      'XMPP users who watch SIP users': this.#watches.show(),
      'SIP users who watch XMPP users': this.#watchers.show(),
      'messages that wait': this.#conversations.waiting,
      ...(config.presence.server === 'off' ? {} : { published: this.#publications.show() }),
      ...(config.registrar ? { registered: this.#registrar.show() } : {}),
      engine: engine.show(),
    };
  }

  #message(stanza: Stanza): void {
    if (stanza.to!.local === '') throw new StanzaError('service-unavailable', 'the bridge itself reads no messages');
    this.#conversations.send(stanza);
  }

  #presence(stanza: Stanza): void | Promise<void> {
    const from = stanza.from!;
    const to = stanza.to!;
    // The domain itself has no presence (XEP-0100 has, of gateways with accounts; here nobody registers).
    if (to.local === '') return;
    switch (stanza.type) {
      case 'subscribe':
        return this.#watches.subscribe(from.bare, to.bare);
      case 'unsubscribe':
        return this.#watches.unsubscribe(from.bare, to.bare);
      case 'subscribed':
        return this.#watchers.granted(from.bare, to.bare);
      case 'unsubscribed':
        return this.#watchers.refused(from.bare, to.bare);
      case 'probe':
        return this.#watches.probe(from, to);
      case '':
      case 'unavailable':
        return this.#watchers.presence(stanza);
      default:
        throw new StanzaError('bad-request', 'there is no such type of presence');
    }
  }

  async #iq(stanza: Stanza): Promise<void> {
    if (!stanza.isRequest) return;
    if (!(await this.#service.handle(stanza))) throw new StanzaError('service-unavailable');
  }

  /** Something of ours came back: from an `offer` that waits, or later. */
  #cameBack(stanza: Stanza): void | Promise<void> {
    if (!stanza.from || !stanza.to || this.#around.cameBack(stanza)) return;
    if (stanza.name === 'message') return this.#conversations.cameBack(stanza);
    if (stanza.name !== 'presence') return;
    const { condition } = errorIn(stanza);
    if (condition === 'item-not-found' || condition === 'gone') {
      this.#watches.forget(stanza.from.bare, stanza.to.bare);
    }
    return this.#watchers.failed(stanza);
  }

  async #subscribed(request: SipRequest, subscription: SubscriptionIn): Promise<SipAnswer> {
    if (subscription.event !== 'presence') {
      return { status: 489, reason: 'Bad Event', headers: [['Allow-Events', 'presence']] };
    }
    const accepted = request.headersOf('accept').join(',').toLowerCase();
    if (accepted !== '' && ![pidfType, 'application/*', '*/*'].some(type => accepted.includes(type))) {
      return { status: 406, reason: 'Not Acceptable', headers: [['Accept', pidfType]] };
    }
    try {
      const from = await this.#around.sender(request);
      const user = this.#around.recipient(request).bare;
      if (this.#around.config.presence.server !== 'off' && this.#around.owns(user.domain)) {
        if (!(await this.#around.isOnXmpp(user))) return watchPublished(this.#publications, subscription, user, from);
      }
      await this.#around.checkWay(user);
      return await this.#watchers.subscribe(request, subscription, user, from);
    } catch (error) {
      return answerTo(error);
    }
  }

  /** The presence of a SIP user comes from here where it is kept here, else from where their domain's server is. */
  #subscribeTo(wish: Watching, contact: Jid, listener: WatchListener): SubscriptionOut | null {
    const { config, engine } = this.#around;
    if (config.presence.server !== 'off') return this.#publications.subscribe(wish, listener);
    if (!config.registrar) return engine.subscribe(wish, listener);
    const [uri] = this.#registrar.contacts(contact);
    return uri ? engine.subscribe({ ...wish, uri }, listener) : null;
  }

  /** Where a message for a SIP user goes: the telephones that registered, the device that was named, or the address. */
  #targetsOf(contact: Jid, user: Jid): string[] {
    if (this.#around.config.registrar) return this.#registrar.contacts(contact);
    const isDevice = contact.resource !== '' && this.#watches.reaches(user, contact);
    return [sipAddress(isDevice ? contact : contact.bare, 'sip', isDevice)];
  }

  /** What stands and waits, for the metrics. */
  get standing(): { out: number; in: number; waiting: number } {
    return { out: this.#watches.count, in: this.#watchers.count, waiting: this.#conversations.waiting };
  }
}

const bridges = new WeakMap<Metrics, SipBridge[]>();

/** The gauges of all SIP bridges of a hub. */
function observe(metrics: Metrics, bridge: SipBridge): void {
  const known = bridges.get(metrics);
  if (known) {
    known.push(bridge);
    return;
  }
  const all = [bridge];
  bridges.set(metrics, all);
  metrics.gauge(
    'isthmus_sip_subscriptions',
    'Presence subscriptions that stand across the SIP bridge',
    ['domain', 'direction'],
    set => {
      for (const one of all) {
        set(one.standing.out, one.domain, 'out');
        set(one.standing.in, one.domain, 'in');
      }
    },
  );
  metrics.gauge('isthmus_sip_queue', 'Messages that wait for the SIP side', ['domain'], set => {
    for (const one of all) set(one.standing.waiting, one.domain);
  });
}
