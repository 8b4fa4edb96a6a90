// Users of SIP who watch users of XMPP: SUBSCRIBE asks for consent by the roster, NOTIFY tells (RFC 8048 §4.3, §5).
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { sipAddress } from './addresses.ts';
import type { Device } from './device.ts';
import type { SipAnswer, SipRequest, SubscriptionIn } from './engine.ts';
import { errorIn } from './errors.ts';
import { pidfType, writePidf } from './pidf.ts';
import { deviceOf, resourceOf } from './presence.ts';
import type { Surroundings } from './surroundings.ts';

/** Presence of several resources comes in a burst: it leaves as one NOTIFY, this many ms after the first. */
const gathering = 20;
/** How long the first NOTIFY waits for an XMPP server to answer the probe, in ms. */
const patience = 1_000;
/** Dialogs of one SIP user about one XMPP user: a person has some devices. */
const mostDialogs = 16;
const mostDevices = 64;

/** A SIP user who watches an XMPP user in at least one dialog. */
interface Watcher {
  readonly user: Jid;
  readonly watcher: Jid;
  readonly dialogs: Set<SubscriptionIn>;
  /** Nothing is told before consent is given. */
  granted: boolean;
  /** What is known, by resource; of those that have gone only the last, for its words. */
  readonly devices: Map<string, Device>;
  /** Whether anything has come since the first dialog. */
  known: boolean;
  timer: NodeJS.Timeout | undefined;
  /** Waiting for the first presence. */
  readonly listeners: Set<() => void>;
}

export class Watchers {
  readonly #around: Surroundings;
  readonly #entered: (from: Jid) => void;
  readonly #watchers = new Map<string, Watcher>();

  /** `entered` is called when a SIP user begins to watch somebody. */
  constructor(around: Surroundings, entered: (from: Jid) => void) {
    this.#around = around;
    this.#entered = entered;
  }

  get count(): number {
    let dialogs = 0;
    for (const watcher of this.#watchers.values()) dialogs += watcher.dialogs.size;
    return dialogs;
  }

  /** Whether a SIP user watches, or has asked to watch, this user of XMPP. */
  has(user: Jid, watcher: Jid): boolean {
    return this.#around.ledger.consent(user.bare, watcher.bare) !== 'none';
  }

  /** A SUBSCRIBE for an XMPP user. Rejects with a StanzaError. */
  async subscribe(request: SipRequest, subscription: SubscriptionIn, user: Jid, from: Jid): Promise<SipAnswer> {
    const { ledger, counts } = this.#around;
    if ((this.#watchers.get(keyOf(user, from))?.dialogs.size ?? 0) >= mostDialogs) {
      throw new StanzaError('resource-constraint', 'there are too many dialogs');
    }
    const consent = ledger.consent(user, from);
    if (subscription.expires === 0) return this.#fetch(subscription, user, from, consent === 'granted');
    const watcher = this.#enter(user, from, subscription, consent === 'granted');
    if (consent === 'granted') {
      void this.#begin(watcher, subscription);
    } else {
      if (consent === 'none') {
        ledger.keepConsent(user, from, false);
        await ledger.durable();
        counts.subscription(from.domain, 'in', 'asked');
      }
      void subscription.notify({ state: 'pending' });
      // Asked again with each SUBSCRIBE: the XMPP side may have lost it, and knows a repetition.
      void this.#say(from, user, 'subscribe', request.displayName);
    }
    this.#entered(from);
    return { status: 200 };
  }

  /** `subscribed`: whoever waits in a dialog learns that it is let in. */
  async granted(user: Jid, from: Jid): Promise<void> {
    const { ledger, counts } = this.#around;
    if (ledger.consent(user, from) === 'none') return;
    ledger.keepConsent(user, from, true);
    const watcher = this.#watchers.get(keyOf(user, from));
    if (watcher && !watcher.granted) {
      counts.subscription(from.domain, 'in', 'granted');
      // The presence follows `subscribed` by itself (RFC 6121 §3.1.5), and may be here before the ledger is written.
      watcher.granted = true;
      this.#soon(watcher);
    }
    await ledger.durable();
  }

  /** `unsubscribed`: refused, or put out. */
  async refused(user: Jid, from: Jid): Promise<void> {
    const { ledger, counts } = this.#around;
    if (ledger.consent(user, from) === 'none') return;
    ledger.dropConsent(user, from);
    counts.subscription(from.domain, 'in', 'refused');
    this.#terminate(user, from, 'rejected');
    await ledger.durable();
  }

  /** An error came back for what was asked in a SIP user's name. */
  async failed(stanza: Stanza): Promise<void> {
    const user = stanza.from!.bare;
    const from = stanza.to!.bare;
    const { condition, type } = errorIn(stanza);
    const watcher = this.#watchers.get(keyOf(user, from));
    if (watcher?.granted) {
      // The probe found nobody: as far as anyone knows, they are away.
      return this.#clear(watcher);
    }
    if (this.#around.ledger.consent(user, from) !== 'asked') return;
    this.#around.ledger.dropConsent(user, from);
    this.#around.counts.subscription(from.domain, 'in', 'failed');
    const isNobody = condition === 'item-not-found' || condition === 'gone' || condition === 'jid-malformed';
    if (isNobody) this.#terminate(user, from, 'noresource');
    else if (type === 'wait') this.#terminate(user, from, 'probation', 60);
    else this.#terminate(user, from, 'rejected');
    await this.#around.ledger.durable();
  }

  /** Available or unavailable presence of an XMPP user for a SIP user. */
  presence(stanza: Stanza): void {
    const watcher = this.#watchers.get(keyOf(stanza.from!, stanza.to!));
    if (!watcher?.granted) return;
    const device = deviceOf(stanza);
    const { devices } = watcher;
    if (!device.open && stanza.from!.resource === '') devices.clear();
    devices.delete(device.name);
    for (const [name, old] of devices) if (!old.open) devices.delete(name);
    const isWorth = device.open || (device.status.length > 0 && devices.size === 0);
    if (isWorth && devices.size < mostDevices) devices.set(device.name, device);
    watcher.known = true;
    for (const listener of watcher.listeners) listener();
    this.#soon(watcher);
  }

  /** Tells watchers to come again, where the end is in order. Resolves when they know or a second has passed. */
  async stop(): Promise<void> {
    const told: Promise<unknown>[] = [];
    for (const watcher of this.#watchers.values()) {
      clearTimeout(watcher.timer);
      for (const dialog of watcher.dialogs) {
        told.push(dialog.notify({ state: 'terminated', reason: 'deactivated' }));
      }
    }
    this.#watchers.clear();
    if (told.length === 0) return;
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, 1_000);
      void Promise.allSettled(told).then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  show(): Record<string, unknown> {
    const { granted, asked } = this.#around.ledger.countConsents(this.#around.port.domains);
    return { dialogs: this.count, pairs: this.#watchers.size, granted, asked };
  }

  #enter(user: Jid, from: Jid, subscription: SubscriptionIn, granted: boolean): Watcher {
    const key = keyOf(user, from);
    let watcher = this.#watchers.get(key);
    if (!watcher) {
      watcher = {
        user: user.bare,
        watcher: from.bare,
        dialogs: new Set(),
        granted,
        devices: new Map(),
        known: false,
        timer: undefined,
        listeners: new Set(),
      };
      this.#watchers.set(key, watcher);
    }
    const entered = watcher;
    entered.dialogs.add(subscription);
    subscription.onRefresh = () => {
      // The domain may have been denied meanwhile.
      if (this.#around.port.refusal(from.domain) !== null) this.#terminate(user, from, 'rejected');
      else if (entered.granted) void this.#begin(entered, subscription);
      else void subscription.notify({ state: 'pending' });
    };
    subscription.onEnd = why => this.#left(entered, subscription, why);
    return entered;
  }

  /** The first NOTIFY of somebody who is let in: what is known, after the XMPP server was asked. */
  async #begin(watcher: Watcher, subscription: SubscriptionIn): Promise<void> {
    const heard = watcher.known ? Promise.resolve() : this.#firstPresence(watcher);
    await this.#say(watcher.watcher, watcher.user, 'probe');
    await heard;
    // The probe may have been answered with `unsubscribed`.
    if (!watcher.dialogs.has(subscription)) return;
    clearTimeout(watcher.timer);
    watcher.timer = undefined;
    this.#notify(watcher, watcher.dialogs);
  }

  #firstPresence(watcher: Watcher): Promise<void> {
    return new Promise(resolve => {
      const done = () => {
        clearTimeout(timer);
        watcher.listeners.delete(done);
        resolve();
      };
      const timer = setTimeout(done, patience);
      watcher.listeners.add(done);
    });
  }

  /** A SUBSCRIBE with Expires 0 outside of a dialog (RFC 6665 §4.4.3): the state once, to those who may see it. */
  #fetch(subscription: SubscriptionIn, user: Jid, from: Jid, granted: boolean): SipAnswer {
    if (!granted) {
      void subscription.notify({ state: 'terminated', reason: 'rejected' });
      return { status: 200 };
    }
    const watcher = this.#enter(user, from, subscription, true);
    const heard = watcher.known ? Promise.resolve() : this.#firstPresence(watcher);
    void this.#say(from, user, 'probe')
      .then(() => heard)
      .then(() => {
        if (!watcher.dialogs.has(subscription)) return;
        watcher.dialogs.delete(subscription);
        void subscription.notify({ state: 'terminated', reason: 'timeout', ...this.#document(watcher) });
        this.#leave(watcher);
      });
    return { status: 200 };
  }

  /** A dialog is over on the SIP side. */
  #left(watcher: Watcher, subscription: SubscriptionIn, why: 'unsubscribed' | 'expired' | 'lost'): void {
    if (!watcher.dialogs.delete(subscription)) return;
    const { ledger, config, counts } = this.#around;
    counts.subscription(watcher.watcher.domain, 'in', 'ended');
    if (why !== 'lost') {
      const last = watcher.granted ? this.#document(watcher) : {};
      void subscription.notify({ state: 'terminated', reason: 'timeout', ...last });
    }
    if (!this.#leave(watcher) || config.presence.consent === 'kept' || why === 'lost') return;
    ledger.dropConsent(watcher.user, watcher.watcher);
    void this.#say(watcher.watcher, watcher.user, 'unsubscribe');
  }

  /** Forgets a watcher without dialogs. True: it was the last. */
  #leave(watcher: Watcher): boolean {
    if (watcher.dialogs.size > 0) return false;
    clearTimeout(watcher.timer);
    const key = keyOf(watcher.user, watcher.watcher);
    if (this.#watchers.get(key) === watcher) this.#watchers.delete(key);
    return true;
  }

  #terminate(user: Jid, from: Jid, reason: string, retryAfter?: number): void {
    const watcher = this.#watchers.get(keyOf(user, from));
    if (!watcher) return;
    for (const dialog of watcher.dialogs) void dialog.notify({ state: 'terminated', reason, retryAfter });
    watcher.dialogs.clear();
    this.#leave(watcher);
    for (const listener of watcher.listeners) listener();
  }

  #clear(watcher: Watcher): void {
    watcher.devices.clear();
    watcher.known = true;
    for (const listener of watcher.listeners) listener();
    this.#soon(watcher);
  }

  #soon(watcher: Watcher): void {
    if (watcher.timer || watcher.listeners.size > 0) return;
    watcher.timer = setTimeout(() => {
      watcher.timer = undefined;
      this.#notify(watcher, watcher.dialogs);
    }, gathering);
  }

  #notify(watcher: Watcher, dialogs: Iterable<SubscriptionIn>): void {
    const document = this.#document(watcher);
    for (const dialog of dialogs) {
      this.#around.counts.presence(watcher.watcher.domain, 'out');
      void dialog.notify({ state: 'active', ...document });
    }
  }

  #document({ user, devices }: Watcher): { contentType: string; body: Uint8Array } {
    const contact = (device: Device) => sipAddress(resourceOf(user, device.name), 'sip', true);
    return { contentType: pidfType, body: writePidf(sipAddress(user), [...devices.values()], contact) };
  }

  #say(from: Jid, to: Jid, type: string, nick = ''): Promise<void> {
    const name = nick === '' || type !== 'subscribe' ? null : nickElement(nick);
    return this.#around.tell(Stanza.of('presence', { from: from.bare, to: to.bare, type }, name));
  }
}

function keyOf(user: Jid, watcher: Jid): string {
  return `${user.bare} ${watcher.bare}`;
}

/** Who asks, as the display name says (XEP-0172 §4.2). */
function nickElement(name: string): Element {
  return el('nick', 'http://jabber.org/protocol/nick', {}, name.slice(0, 100));
}
