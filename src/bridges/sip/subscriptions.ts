// The subscriptions that stand, both ways, found by what identifies their dialogs.
import type { Flow } from './flow.ts';
import type { Message } from './message.ts';
import { Notifier, type NotifierPort } from './notifier.ts';
import type { Sender } from './sender.ts';
import type { NotifyAnswer, Watcher } from './watcher.ts';

export class Subscriptions {
  readonly #most: number;
  /** By Call-ID, our tag and theirs. */
  readonly #notifiers = new Map<string, Notifier>();
  /** By Call-ID and our tag: a NOTIFY may come before the answer that tells theirs (RFC 6665 §4.1.2.4). */
  readonly #watchers = new Map<string, Watcher>();

  readonly #forget: (callId: string, tag: string) => void;
  readonly #notifierPort: NotifierPort;

  /** `most` subscriptions to our users stand at once; `forget` is told of each dialog that is over. */
  constructor(sender: Sender, most: number, forget: (callId: string, tag: string) => void) {
    this.#most = most;
    this.#forget = forget;
    this.#notifierPort = { sender, over: one => this.#close(one) };
  }

  get incoming(): Iterable<Notifier> {
    return this.#notifiers.values();
  }

  get outgoing(): Iterable<Watcher> {
    return this.#watchers.values();
  }

  get counts(): { incoming: number; outgoing: number } {
    return { incoming: this.#notifiers.size, outgoing: this.#watchers.size };
  }

  /** Whether a request with a tag in To belongs to a dialog of ours. */
  knows(request: Message): boolean {
    return this.#notifiers.has(keyOf(request)) || this.#watchers.has(`${request.callId} ${request.toTag}`);
  }

  watch(watcher: Watcher): void {
    this.#watchers.set(`${watcher.callId} ${watcher.localTag}`, watcher);
    watcher.start();
  }

  unwatch(watcher: Watcher): void {
    this.#watchers.delete(`${watcher.callId} ${watcher.localTag}`);
    this.#forget(watcher.callId, watcher.localTag);
  }

  notified(request: Message): { answer: NotifyAnswer; after?: () => void } {
    const watcher = this.#watchers.get(`${request.callId} ${request.toTag}`);
    return watcher ? watcher.receiveNotify(request) : { answer: { status: 481 } };
  }

  /** A new subscription to one of our users, or the status that refuses it. */
  open(request: Message, flow: Flow, tag: string): Notifier | number {
    if (request.header('event') === undefined) return 489;
    if (this.#notifiers.size >= this.#most) return 503;
    try {
      const notifier = new Notifier(request, flow, tag, this.#notifierPort);
      this.#notifiers.set(`${notifier.callId} ${tag} ${notifier.remoteTag}`, notifier);
      return notifier;
    } catch {
      return 400;
    }
  }

  refuse(notifier: Notifier): void {
    this.#close(notifier);
    notifier.drop();
  }

  refreshed(request: Message, flow: Flow): ReturnType<Notifier['receive']> {
    const notifier = this.#notifiers.get(keyOf(request));
    return notifier ? notifier.receive(request, flow) : { status: 481, expires: 0 };
  }

  /** The network knows these dialogs (Call-ID and our tag) no more. */
  dialogsLost(keys: readonly string[]): void {
    for (const key of keys) this.#watchers.get(key)?.refresh();
  }

  stop(): void {
    for (const notifier of this.#notifiers.values()) notifier.drop();
    for (const watcher of this.#watchers.values()) watcher.drop();
    this.#notifiers.clear();
    this.#watchers.clear();
  }

  #close(notifier: Notifier): void {
    this.#forget(notifier.callId, notifier.localTag);
    this.#notifiers.delete(`${notifier.callId} ${notifier.localTag} ${notifier.remoteTag}`);
  }
}

function keyOf(request: Message): string {
  return `${request.callId} ${request.toTag} ${request.fromTag}`;
}
