// Users of XMPP who watch users of SIP: each XMPP subscription, which lasts, over leased SIP ones (RFC 8048 §4.2).
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { sipAddress } from './addresses.ts';
import type { Device } from './device.ts';
import type { Notification, SubscriptionEnd, SubscriptionOut, Watching, WatchListener } from './engine.ts';
import { subscriptionVerdict } from './errors.ts';
import { pidfType, readPidf } from './pidf.ts';
import { presenceOf, resourceOf } from './presence.ts';
import type { Surroundings } from './surroundings.ts';
import { Tally } from './tally.ts';

/** The longest wait before a subscription is tried again, in ms. */
const longestWait = 30 * 60_000;
/** SIP users that one user of XMPP can watch. */
const mostOfOne = 1_000;
/** How many subscriptions are taken up each second after a start. */
const pace = 500;
/** How long after it ends a state that will not change (`invariant`) is asked for again, in ms. */
const invariantWait = 60 * 60_000;

/** Makes a subscription to a SIP user: null where there is no way to them now. */
export type Subscribe = (wish: Watching, contact: Jid, listener: WatchListener) => SubscriptionOut | null;

/** One user of XMPP who watches one of SIP. */
interface Watch {
  readonly user: Jid;
  readonly contact: Jid;
  /** The XMPP side knows that it is subscribed. */
  granted: boolean;
  /** It is being told so: presence waits until it knows. */
  isTold: boolean;
  out: SubscriptionOut | null;
  /** What the SIP side last said; null before it has said anything. */
  devices: readonly Device[] | null;
  /** Tries since the last that worked. */
  failures: number;
  timer: NodeJS.Timeout | undefined;
  problem: string;
}

export class Watches {
  readonly #around: Surroundings;
  readonly #subscribeTo: Subscribe;
  readonly #watches = new Map<string, Watch>();
  readonly #byUser = new Tally();
  readonly #waiting: Watch[] = [];
  #pacing: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(around: Surroundings, subscribe: Subscribe) {
    this.#around = around;
    this.#subscribeTo = subscribe;
  }

  /** Takes up what was kept, some each second. */
  start(): void {
    for (const { user, contact, granted } of this.#around.ledger.watches(this.#around.port.domains)) {
      this.#waiting.push(this.#add(user, contact, granted));
    }
    const tick = () => {
      for (const watch of this.#waiting.splice(0, pace / 10)) if (this.#isCurrent(watch)) void this.#resume(watch);
      if (this.#waiting.length > 0) this.#pacing = setTimeout(tick, 100);
    };
    tick();
  }

  /** Leaves the subscriptions as they are: the next start takes them up anew. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#pacing);
    for (const watch of this.#watches.values()) clearTimeout(watch.timer);
  }

  get count(): number {
    return this.#watches.size;
  }

  /** Whether a full address is a device that can be reached by it. */
  reaches(user: Jid, device: Jid): boolean {
    const devices = this.#watches.get(keyOf(user, device))?.devices;
    return devices?.some(one => one.reachable && one.name === device.resource) ?? false;
  }

  /** `subscribe` (RFC 8048 §4.2.1). Rejects with a StanzaError where there are too many already. */
  async subscribe(user: Jid, contact: Jid): Promise<void> {
    const known = this.#watches.get(keyOf(user, contact));
    if (known?.granted) {
      // The XMPP side has lost its state: it is told again (RFC 6121 §3.1.3).
      return this.#admit(known);
    }
    if (known) {
      if (!known.out) this.#subscribe(known);
      return;
    }
    const watch = this.#make(user, contact, false);
    await this.#around.ledger.durable();
    this.#around.counts.subscription(contact.domain, 'out', 'asked');
    if (this.#isCurrent(watch)) this.#subscribe(watch);
  }

  /** `unsubscribe` (RFC 8048 §4.2.3): the SIP subscription ends, and so does what was seen by it. */
  async unsubscribe(user: Jid, contact: Jid): Promise<void> {
    const watch = this.#watches.get(keyOf(user, contact));
    if (!watch) return;
    this.#remove(watch);
    this.#around.counts.subscription(contact.domain, 'out', 'ended');
    void watch.out?.end();
    await this.#show(watch, []);
    await this.#around.ledger.durable();
  }

  /**
   * A probe (RFC 6121 §4.3): what is known is told again. Of whom nothing is known, the prober's server believes that
   * it is subscribed: the subscription is made.
   */
  async probe(user: Jid, contact: Jid): Promise<void> {
    const watch = this.#watches.get(keyOf(user, contact));
    if (!watch) {
      const made = this.#make(user.bare, contact.bare, true);
      this.#subscribe(made);
      return this.#around.ledger.durable();
    }
    if (!watch.granted) return;
    if (watch.devices === null) {
      if (!watch.out && !this.#waiting.includes(watch)) this.#subscribe(watch);
      return;
    }
    const open = watch.devices.filter(device => device.open);
    for (const device of open) await this.#around.tell(presenceOf(device, watch.contact, user));
    if (open.length === 0) await this.#around.tell(gone(watch.contact, user));
  }

  /** The XMPP side says that the user is no more: nobody is watching. */
  forget(user: Jid, contact: Jid): void {
    const watch = this.#watches.get(keyOf(user, contact));
    if (!watch) return;
    this.#remove(watch);
    void watch.out?.end();
  }

  /** There is a new way to a SIP user: whoever waits for one tries it at once. */
  retry(contact: Jid): void {
    for (const watch of this.#watches.values()) {
      if (watch.contact.equals(contact) && !watch.out) void this.#resume(watch);
    }
  }

  /** For `isthmus bridge show`. */
  show(): Record<string, unknown> {
    let granted = 0;
    let standing = 0;
    const problems: Record<string, string> = {};
    for (const watch of this.#watches.values()) {
      if (watch.granted) granted++;
      if (watch.out) standing++;
      if (watch.problem && Object.keys(problems).length < 20) {
        problems[`${watch.user} → ${watch.contact}`] = watch.problem;
      }
    }
    return { subscriptions: this.#watches.size, granted, standing, problems };
  }

  #make(user: Jid, contact: Jid, granted: boolean): Watch {
    if (this.#watches.size >= this.#around.config.presence.subscriptions) {
      throw new StanzaError('resource-constraint', 'there are too many subscriptions to SIP users');
    }
    if (this.#byUser.of(user.toString()) >= mostOfOne) {
      throw new StanzaError('resource-constraint', `nobody watches more than ${mostOfOne} SIP users`);
    }
    this.#around.ledger.keepWatch({ user, contact, granted });
    return this.#add(user, contact, granted);
  }

  #add(user: Jid, contact: Jid, granted: boolean): Watch {
    const watch: Watch = {
      user,
      contact,
      granted,
      isTold: granted,
      out: null,
      devices: null,
      failures: 0,
      timer: undefined,
      problem: '',
    };
    this.#watches.set(keyOf(user, contact), watch);
    this.#byUser.add(user.toString());
    return watch;
  }

  #remove(watch: Watch): void {
    clearTimeout(watch.timer);
    if (this.#watches.delete(keyOf(watch.user, watch.contact))) this.#byUser.remove(watch.user.toString());
    this.#around.ledger.dropWatch(watch.user, watch.contact);
  }

  #isCurrent(watch: Watch): boolean {
    return !this.#stopped && this.#watches.get(keyOf(watch.user, watch.contact)) === watch;
  }

  /** Subscribes again, unless the contact has moved to XMPP meanwhile (a domain that moves user by user). */
  async #resume(watch: Watch): Promise<void> {
    // A directory that cannot be asked now changes nothing.
    if (!(await this.#around.isOnXmpp(watch.contact).catch(() => false))) {
      if (this.#isCurrent(watch) && !watch.out) this.#subscribe(watch);
    } else if (this.#isCurrent(watch)) {
      this.#remove(watch);
    }
  }

  #subscribe(watch: Watch): void {
    clearTimeout(watch.timer);
    watch.timer = undefined;
    const { config } = this.#around;
    const wish = {
      uri: sipAddress(watch.contact),
      from: sipAddress(watch.user),
      event: 'presence',
      accept: [pidfType],
      expires: config.presence.expires,
    };
    try {
      watch.out = this.#subscribeTo(wish, watch.contact, {
        notify: notification => this.#notified(watch, notification),
        ended: end => this.#ended(watch, end),
      });
      if (!watch.out) this.#ended(watch, unreachable);
    } catch (error) {
      // An address that SIP cannot write is nobody's.
      watch.problem = (error as Error).message;
      this.#refused(watch);
    }
  }

  #notified(watch: Watch, notification: Notification): void {
    if (!this.#isCurrent(watch)) return;
    watch.failures = 0;
    watch.problem = '';
    if (notification.state === 'pending') return;
    if (notification.state === 'active') this.#grant(watch);
    // A last NOTIFY of somebody who refuses says nothing about whether that is there.
    if (notification.state === 'terminated' && notification.reason === 'rejected') return;
    const devices = this.#read(watch, notification);
    if (devices) void this.#show(watch, devices);
  }

  /** What a NOTIFY says; null where it says nothing, or nothing that is understood: then what was known stays. */
  #read(watch: Watch, { contentType, body }: Notification): Device[] | null {
    if (body.length === 0) return null;
    if (contentType.split(';')[0].trim().toLowerCase() !== pidfType) {
      watch.problem = `NOTIFY with ${contentType.slice(0, 60)}`;
      return null;
    }
    try {
      return readPidf(body);
    } catch (error) {
      watch.problem = (error as Error).message.slice(0, 200);
      this.#around.port.log.debug(
        { contact: watch.contact.toString(), problem: watch.problem },
        'a NOTIFY is unreadable',
      );
      return null;
    }
  }

  #grant(watch: Watch): void {
    if (watch.granted) return;
    watch.granted = true;
    this.#around.ledger.keepWatch(watch);
    this.#around.counts.subscription(watch.contact.domain, 'out', 'granted');
    void this.#admit(watch);
  }

  /** Tells of what changed. Before the subscription is known as granted, it is kept only. */
  async #show(watch: Watch, devices: readonly Device[]): Promise<void> {
    const before = watch.devices;
    watch.devices = devices;
    if (!watch.isTold) return;
    const { user, contact } = watch;
    const told: Stanza[] = [];
    for (const device of devices) {
      const old = before?.find(one => one.name === device.name);
      if (device.open ? !old || !same(old, device) : old?.open) told.push(presenceOf(device, contact, user));
    }
    for (const old of before ?? []) {
      if (!old.open || devices.some(device => device.name === old.name)) continue;
      told.push(gone(resourceOf(contact, old.name), user));
    }
    if (before === null && told.length === 0) told.push(gone(contact, user));
    for (const stanza of told) {
      this.#around.counts.presence(contact.domain, 'in');
      await this.#around.tell(stanza);
    }
  }

  /** Says that it is subscribed, and then all that is known. */
  async #admit(watch: Watch): Promise<void> {
    watch.isTold = false;
    await this.#tell(watch, 'subscribed');
    watch.isTold = true;
    const { devices } = watch;
    watch.devices = null;
    if (devices && this.#isCurrent(watch)) await this.#show(watch, devices);
  }

  #tell(watch: Watch, type: 'subscribed' | 'unsubscribed'): Promise<void> {
    return this.#around.tell(Stanza.of('presence', { from: watch.contact, to: watch.user, type }));
  }

  /** A SIP subscription is over: it is refused for good, or tried again, at once or later (RFC 6665 §4.1.3). */
  #ended(watch: Watch, end: SubscriptionEnd): void {
    watch.out = null;
    if (!this.#isCurrent(watch) || end.kind === 'closed') return;
    if (this.#isRefusal(watch, end)) return this.#refused(watch);
    watch.failures++;
    watch.problem = `${end.kind}${end.status ? ` ${end.status}` : ''} ${end.reason}`.trim();
    this.#around.counts.subscription(watch.contact.domain, 'out', 'failed');
    const isPassing = end.kind === 'terminated' && (end.reason === 'deactivated' || end.reason === 'timeout');
    // What was seen holds while one new try is made; then nobody knows.
    const stays = isPassing || end.reason === 'invariant' || (end.kind === 'lost' && watch.failures === 1);
    if (!stays) void this.#show(watch, []);
    this.#again(watch, end, isPassing);
  }

  /**
   * Whether it is over for good. Somebody who was let in before is put out by a clear no alone: a server that is just
   * restarting knows nobody either.
   */
  #isRefusal(watch: Watch, { kind, status, reason }: SubscriptionEnd): boolean {
    if (kind === 'terminated') return reason === 'rejected' || (reason === 'noresource' && !watch.granted);
    if (kind !== 'refused' || subscriptionVerdict(status) === 'again') return false;
    return !watch.granted || status === 403 || status === 603;
  }

  #refused(watch: Watch): void {
    this.#remove(watch);
    this.#around.counts.subscription(watch.contact.domain, 'out', 'refused');
    void this.#show(watch, []).then(() => this.#tell(watch, 'unsubscribed'));
  }

  #again(watch: Watch, { reason, retryAfter }: SubscriptionEnd, isPassing: boolean): void {
    const { retry } = this.#around.config.presence;
    const backOff = Math.min(retry * 2 ** Math.min(watch.failures - 1, 20), longestWait);
    const least = retryAfter === undefined ? 0 : Math.min(retryAfter * 1000, invariantWait);
    const wait = reason === 'invariant' ? invariantWait : isPassing && watch.failures < 3 ? 0 : backOff;
    const spread = 0.8 + Math.random() * 0.4;
    watch.timer = setTimeout(
      () => {
        if (this.#isCurrent(watch)) void this.#resume(watch);
      },
      Math.max(wait * spread, least),
    );
  }
}

const unreachable: SubscriptionEnd = { kind: 'refused', status: 480, reason: 'not registered', retryAfter: undefined };

function keyOf(user: Jid, contact: Jid): string {
  return `${user.bare} ${contact.bare}`;
}

function gone(from: Jid, to: Jid): Stanza {
  return Stanza.of('presence', { from, to, type: 'unavailable' });
}

function same(a: Device, b: Device): boolean {
  return (
    a.open === b.open &&
    a.show === b.show &&
    a.priority === b.priority &&
    a.idleSince === b.idleSince &&
    a.status.length === b.status.length &&
    a.status.every(([lang, text], i) => lang === b.status[i][0] && text === b.status[i][1])
  );
}
