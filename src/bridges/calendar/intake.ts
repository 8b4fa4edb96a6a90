// The way of one message: known already? readable? whose? Then it is settled, whatever became of it.
import { randomBytes } from 'node:crypto';
import type { Log } from '../../hub/log.ts';
import type { CounterFamily, Metrics } from '../../hub/metrics.ts';
import type { Store } from '../../hub/store.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import type { Delivery } from './broker.ts';
import { Unusable } from './entry.ts';
import { largestBody, type Notification, readNotification } from './notification.ts';
import type { Owners } from './owners.ts';
import { messageHash, Seen } from './seen.ts';

/** What became of a message: `taken`, `duplicate`, or why it was discarded. */
export type Outcome = { taken: true; users: number } | { taken: false; reason: string; text: string };

export interface IntakeParts {
  store: Store;
  metrics: Metrics;
  log: Log;
  owners: Owners;
  /** What to tell the broker of a message that nothing can be made of. */
  unusable: 'accept' | 'reject';
  /** Adds what takes time to find out; called once for each message, before anybody is told. Never rejects. */
  prepare: (notification: Notification) => Notification | Promise<Notification>;
  /**
   * Does for one user what the notification says; `id` follows from the message's own. Resolves when the alert is
   * kept; rejects when it cannot be now, and is called again then.
   */
  deliver: (user: Jid, notification: Notification, id: string) => void | Promise<void>;
}

/** Between attempts, when a directory or the way to the users is down. */
const pauses = [250, 1_000, 5_000, 15_000, 30_000];

export class Intake {
  readonly #parts: IntakeParts;
  readonly #seen: Seen;
  readonly #inWork = new Map<string, Promise<Outcome>>();
  readonly #received: CounterFamily;
  readonly #discarded: CounterFamily;
  readonly #duplicates: CounterFamily;
  readonly #lag: { observe(value: number): void };
  /** Cuts short what waits to be tried again. */
  readonly #stopping = new AbortController();

  constructor(parts: IntakeParts) {
    this.#parts = parts;
    this.#seen = new Seen(parts.store);
    const { metrics } = parts;
    this.#received = metrics.counter('isthmus_calendar_received_total', 'Messages from brokers', ['broker']);
    this.#discarded = metrics.counter('isthmus_calendar_discarded_total', 'What nobody was told of', ['reason']);
    this.#duplicates = metrics.counter('isthmus_calendar_duplicates_total', 'Messages that came again', ['broker']);
    this.#lag = metrics.histogram(
      'isthmus_calendar_lag_seconds',
      'From the sending of a message to its being dealt with',
      [0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300, 3600],
    );
  }

  /** Deals with a message and settles it. Never rejects. */
  async take(broker: string, delivery: Delivery): Promise<Outcome> {
    this.#received.bind(broker).add();
    const hash = delivery.id ? messageHash(broker, delivery.id) : randomBytes(16);
    const key = hash.toString('base64url');
    const same = this.#inWork.get(key);
    if (same || (delivery.id && this.#seen.has(hash))) {
      this.#duplicates.bind(broker).add();
      const first = await same;
      delivery.settle('accept');
      return first ?? { taken: false, reason: 'duplicate', text: 'it was dealt with before' };
    }
    const work = this.#deal(broker, delivery, key, hash);
    this.#inWork.set(key, work);
    const outcome = await work;
    this.#inWork.delete(key);
    return outcome;
  }

  /** Counts something that was not told, and why. */
  discard(reason: string): void {
    this.#discarded.bind(reason).add();
  }

  tend(): void {
    this.#seen.tend();
  }

  stop(): void {
    this.#stopping.abort();
  }

  async #deal(broker: string, delivery: Delivery, key: string, hash: Uint8Array): Promise<Outcome> {
    const done = new Set<string>();
    let notification: Notification | null = null;
    for (let attempt = 0; ; attempt++) {
      try {
        if (!notification) {
          const prepared = this.#parts.prepare(read(delivery));
          notification = prepared instanceof Promise ? await prepared : prepared;
        }
        const names = notification.owners.length > 0 ? notification.owners : notification.parties;
        if (names.length === 0) throw new Unusable('no-owner', 'it does not say whose calendar it is');
        const found = this.#parts.owners.findAll(names);
        const users = found instanceof Promise ? await found : found;
        if (users.length === 0) throw new Unusable('unknown-user', `nobody here is ${names.slice(0, 3).join(', ')}`);
        await this.#tell(users, done, notification, key, delivery.id ? hash : null);
        await this.#finish(delivery, 'accept');
        return { taken: true, users: users.length };
      } catch (error) {
        if (error instanceof Unusable) return this.#refuse(broker, delivery, hash, error);
        if (!(await this.#again(broker, error, attempt))) {
          return { taken: false, reason: 'ending', text: 'the hub is ending; the broker keeps it' };
        }
      }
    }
  }

  /**
   * Tells those who are not told yet. The message counts as seen from the turn in which the alerts were handed over:
   * whatever the store keeps of both, it keeps together. Rejects where somebody could not be told.
   */
  async #tell(
    users: readonly Jid[],
    done: Set<string>,
    notification: Notification,
    key: string,
    hash: Uint8Array | null,
  ): Promise<void> {
    const pending: Promise<void>[] = [];
    for (const user of users) {
      const jid = user.toString();
      if (done.has(jid)) continue;
      const delivered = this.#parts.deliver(user, notification, key);
      if (delivered) pending.push(delivered.then(() => void done.add(jid)));
      else done.add(jid);
    }
    if (hash) this.#seen.add(hash);
    if (pending.length === 0) return;
    const failed = (await Promise.allSettled(pending)).find(one => one.status === 'rejected');
    if (!failed) return;
    if (hash) this.#seen.remove(hash);
    throw failed.reason;
  }

  async #refuse(broker: string, delivery: Delivery, hash: Uint8Array, error: Unusable): Promise<Outcome> {
    this.discard(error.reason);
    const { log, unusable } = this.#parts;
    const { id, size, type } = delivery;
    log.warn(
      { broker, id: id.slice(0, 200), size, type: type.slice(0, 80), reason: error.reason, why: error.message },
      'calendar message discarded',
    );
    const ours = error.reason === 'unknown-user' || error.reason === 'no-owner';
    if (delivery.id) this.#seen.add(hash);
    await this.#finish(delivery, ours ? 'accept' : unusable).catch(() => {});
    return { taken: false, reason: error.reason, text: error.message };
  }

  /** Settles a message once it is on the disk that it was dealt with. */
  async #finish(delivery: Delivery, outcome: 'accept' | 'reject'): Promise<void> {
    const now = Date.now();
    await this.#parts.store.durable();
    delivery.settle(outcome);
    if (delivery.sent !== null) this.#lag.observe(Math.max(now - delivery.sent, 0) / 1000);
  }

  /** Waits to try once more. False: the bridge stops, and the message stays with the broker. */
  async #again(broker: string, error: unknown, attempt: number): Promise<boolean> {
    const { signal } = this.#stopping;
    const pause = pauses[Math.min(attempt, pauses.length - 1)];
    if (!signal.aborted) {
      const level = error instanceof StanzaError ? 'warn' : 'error';
      this.#parts.log[level]({ broker, err: error, pause }, 'a calendar message cannot be dealt with now');
      await new Promise<void>(resolve => {
        const timer = setTimeout(done, pause);
        function done(): void {
          clearTimeout(timer);
          signal.removeEventListener('abort', done);
          resolve();
        }
        signal.addEventListener('abort', done);
      });
    }
    return !signal.aborted;
  }
}

/** Reads a message; what the parser trips over, whatever it throws, is a message that is not usable. */
function read(delivery: Delivery): Notification {
  if (delivery.size > largestBody) throw new Unusable('too-large', `${delivery.size} bytes`);
  try {
    return readNotification(delivery, Date.now());
  } catch (error) {
    if (error instanceof Unusable) throw error;
    throw new Unusable('malformed', `${(error as Error).name}: ${(error as Error).message.slice(0, 200)}`);
  }
}
