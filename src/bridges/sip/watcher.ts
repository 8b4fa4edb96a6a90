// A subscription of ours (RFC 6665 §4.1): SUBSCRIBE, its refreshes, and the NOTIFYs that answer it, whichever comes first.
import type { Outcome } from './clients.ts';
import { decodeBody, encodings } from './content.ts';
import { randomToken, TextDialog } from './core.ts';
import type { Notification, SubscriptionEnd, SubscriptionOut, Watching, WatchListener } from './engine.ts';
import { type NameAddr, parseNameAddr, parseRetryAfter, parseSeconds, parseValue, splitList } from './fields.ts';
import type { Header, Message } from './message.ts';
import { nameAddr, type Reply, type Sender } from './sender.ts';
import { parseUri } from './uri.ts';

/** What a watcher needs of its engine. */
export interface WatcherPort {
  readonly sender: Sender;
  /** How long the first NOTIFY may take after the 200 (timer N, RFC 6665 §4.1.2.4), in ms. */
  readonly patience: number;
  /** A body's most bytes once its encoding is undone. */
  readonly body: number;
  /** A SUBSCRIBE was refused or not answered. */
  failed(watcher: Watcher, reason: string): void;
  /** The watcher is over: its key counts no more. */
  over(watcher: Watcher): void;
}

/** What to answer to a NOTIFY. */
export interface NotifyAnswer {
  status: number;
  headers?: [name: string, value: string][];
}

/** These end a subscription when they answer a refresh (RFC 5057 §5.1); others leave it until its time runs out. */
const ending = new Set([403, 404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604]);
const shortestRefresh = 5;
const goodbyePatience = 5_000;
const longestTimer = 2 ** 31 - 1;

export class Watcher implements SubscriptionOut {
  readonly callId = `${randomToken()}${randomToken()}`;
  readonly localTag = randomToken();
  readonly wish: Watching;
  readonly #port: WatcherPort;
  readonly #listener: WatchListener;
  #dialog: TextDialog | null = null;
  #sequence = 0;
  #expires: number;
  /** When what the notifier granted runs out, as Date.now() has it. */
  #until = 0;
  #timer: NodeJS.Timeout | undefined;
  #asking = false;
  /** Asked for while a SUBSCRIBE was under way. */
  #next: number | null = null;
  #notified = false;
  #closing: (() => void) | null = null;
  #over = false;
  state = 'new';

  constructor(wish: Watching, listener: WatchListener, port: WatcherPort) {
    this.wish = wish;
    this.#listener = listener;
    this.#port = port;
    this.#expires = wish.expires;
  }

  get id(): string {
    return this.callId;
  }

  start(): void {
    void this.#ask(this.#expires);
  }

  refresh(expires = this.#expires): void {
    if (this.#over || this.#closing) return;
    this.#expires = expires;
    void this.#ask(expires);
  }

  end(): Promise<void> {
    if (this.#over) return Promise.resolve();
    return new Promise(resolve => {
      const before = this.#closing;
      this.#closing = () => {
        before?.();
        resolve();
      };
      if (before) return;
      this.#schedule(goodbyePatience, () =>
        this.#finish({ kind: 'closed', status: 0, reason: '', retryAfter: undefined }),
      );
      void this.#ask(0);
    });
  }

  /** The engine stops: nothing is said to anybody. */
  drop(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#closing?.();
  }

  /** A NOTIFY for this watcher's Call-ID and tag. What it says is told to the listener after the answer has gone. */
  receiveNotify(request: Message): { answer: NotifyAnswer; after?: () => void } {
    if (this.#over) return { answer: { status: 481 } };
    const state = parseValue(request.header('subscription-state') ?? '');
    const event = parseValue(request.header('event') ?? '');
    if (!state) return { answer: { status: 400 } };
    if (event?.value !== this.wish.event.toLowerCase())
      return { answer: { status: 489, headers: [['Allow-Events', this.wish.event]] } };
    const body = decodeBody(request, this.#port.body);
    if (!body) return { answer: { status: 415, headers: [['Accept-Encoding', encodings]] } };
    if (!this.#dialog)
      this.#establish(request.fromTag, request.headersOf('record-route').flatMap(splitList), contactIn(request));
    // One SUBSCRIBE may reach several notifiers; the first one counts (RFC 6665 §4.5.2).
    if (this.#dialog?.remoteTag !== request.fromTag) return { answer: { status: 481 } };
    if (!this.#dialog.takes(request)) return { answer: { status: 500, headers: [['Retry-After', '0']] } };
    const contact = contactIn(request);
    if (contact) this.#dialog.retarget(contact.uri.text);
    return { answer: { status: 200 }, after: () => this.#take(request, state, body) };
  }

  #take(
    request: Message,
    { value, params }: { value: string; params: Map<string, string | null> },
    body: Uint8Array,
  ): void {
    if (this.#over) return;
    this.#notified = true;
    const known = value === 'active' || value === 'pending' || value === 'terminated' ? value : 'active';
    const notification: Notification = {
      state: known,
      reason: params.get('reason')?.toLowerCase() ?? '',
      retryAfter: parseRetryAfter(params.get('retry-after') ?? undefined),
      expires: parseSeconds(params.get('expires')),
      contentType: request.header('content-type') ?? '',
      body,
    };
    this.state = known;
    this.#listener.notify(notification);
    if (known === 'terminated') {
      const { reason, retryAfter } = notification;
      const kind = this.#closing ? 'closed' : 'terminated';
      this.#finish({ kind, status: 200, reason, retryAfter });
    } else if (!this.#asking && !this.#closing && (notification.expires !== undefined || this.#until > 0)) {
      // Without `expires`, what the answer to SUBSCRIBE granted holds.
      this.#granted(notification.expires ?? (this.#until - Date.now()) / 1000);
    }
  }

  /** Sends SUBSCRIBE, in the dialog once there is one. One at a time: a further wish waits for the answer. */
  async #ask(expires: number, again = true): Promise<void> {
    if (this.#asking) {
      this.#next = expires;
      return;
    }
    this.#asking = true;
    if (!this.#closing) clearTimeout(this.#timer);
    const reply = await this.#subscribe(expires);
    this.#asking = false;
    if (this.#over) return;
    const { outcome } = reply;
    if (outcome.kind === 'answered' && outcome.response.status < 300) this.#accepted(outcome.response, expires);
    else if (outcome.kind === 'answered' && outcome.response.status === 423 && again && expires > 0) {
      const least = parseSeconds(outcome.response.header('min-expires')) ?? expires;
      this.#expires = Math.max(expires, Math.min(least, 86_400));
      void this.#ask(this.#expires, false);
      return;
    } else this.#refused(reply);
    const next = this.#next;
    this.#next = null;
    if (next !== null && !this.#over) void this.#ask(next);
  }

  #subscribe(expires: number): Promise<Reply> {
    const { wish } = this;
    const dialog = this.#dialog;
    const headers: Header[] = [
      ['Event', wish.event],
      ['Expires', String(expires)],
      ['Accept', wish.accept.join(', ')],
      ['Accept-Encoding', encodings],
      ...(wish.headers ?? []),
    ];
    return this.#port.sender
      .send({
        method: 'SUBSCRIBE',
        uri: dialog ? dialog.targetText : wish.uri,
        routes: dialog?.routeSet ?? [],
        from: nameAddr(wish.from, wish.displayName),
        fromTag: this.localTag,
        to: nameAddr(wish.uri),
        toTag: dialog?.remoteTag ?? '',
        callId: this.callId,
        nextSequence: () => ++this.#sequence,
        contactUser: parseUri(wish.from)?.user ?? '',
        headers,
      })
      .catch(
        (error: Error) =>
          ({ outcome: { kind: 'unreachable', reason: error.message }, flow: null, sequence: 0 }) as Reply,
      );
  }

  #accepted(response: Message, asked: number): void {
    if (!this.#dialog && response.toTag) {
      this.#establish(
        response.toTag,
        response.headersOf('record-route').flatMap(splitList).reverse(),
        contactIn(response),
      );
    }
    if (this.state === 'new') this.state = 'accepted';
    if (this.#closing) return;
    const granted = parseSeconds(response.header('expires')) ?? asked;
    if (asked > 0 && granted > 0) this.#until = Date.now() + granted * 1000;
    if (!this.#notified) {
      this.#schedule(this.#port.patience, () =>
        this.#finish({ kind: 'lost', status: response.status, reason: 'no NOTIFY came', retryAfter: undefined }),
      );
    } else if (asked > 0) this.#granted(granted);
  }

  #refused({ outcome }: Reply): void {
    if (this.#closing) {
      this.#finish({ kind: 'closed', status: 0, reason: '', retryAfter: undefined });
      return;
    }
    this.#port.failed(this, describe(outcome));
    const left = this.#until - Date.now();
    if (outcome.kind === 'answered') {
      const { status, reason } = outcome.response;
      const retryAfter = parseRetryAfter(outcome.response.header('retry-after'));
      const lasting = this.#notified && !ending.has(status) && left > shortestRefresh * 1000;
      if (lasting)
        return this.#schedule(Math.max(left / 2, (retryAfter ?? 0) * 1000), () => void this.#ask(this.#expires));
      const kind = status === 481 || (status === 408 && this.#notified) ? 'lost' : 'refused';
      return this.#finish({ kind, status, reason, retryAfter });
    }
    if (this.#notified && left > shortestRefresh * 1000)
      return this.#schedule(left / 2, () => void this.#ask(this.#expires));
    this.#finish({ kind: 'lost', status: 0, reason: describe(outcome), retryAfter: undefined });
  }

  /** Refreshes when about four fifths of the time are over; not all at the same moment. */
  #granted(seconds: number): void {
    this.#until = Date.now() + seconds * 1000;
    // Whoever grants nothing, or next to nothing, is not asked all the time for it.
    const wait = seconds > 0 ? Math.max(seconds * (0.75 + Math.random() * 0.1), 1) : shortestRefresh;
    this.#schedule(wait * 1000, () => void this.#ask(this.#expires));
  }

  #establish(remoteTag: string, routes: string[], contact: NameAddr | null): void {
    if (!remoteTag) return;
    this.#dialog = new TextDialog({
      callId: this.callId,
      localTag: this.localTag,
      remoteTag,
      localUri: this.wish.from,
      remoteUri: this.wish.uri,
      remoteTarget: contact?.uri.text ?? this.wish.uri,
      routes,
      localSequence: this.#sequence,
      remoteSequence: undefined,
    });
  }

  #schedule(wait: number, then: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(then, Math.min(wait, longestTimer));
    this.#timer.unref();
  }

  #finish(end: SubscriptionEnd): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.#port.over(this);
    this.#listener.ended(this.#closing ? { ...end, kind: 'closed' } : end);
    this.#closing?.();
  }
}

/** What became of a request, for people. */
export function describe(outcome: Outcome): string {
  if (outcome.kind === 'answered') return `${outcome.response.status} ${outcome.response.reason}`;
  return outcome.kind === 'silence' ? 'the peer does not answer' : outcome.reason;
}

/** The first Contact that is a SIP URI. */
export function contactIn(message: Message): NameAddr | null {
  const contact = parseNameAddr(message.headersOf('contact').flatMap(splitList)[0] ?? '');
  return contact && (contact.uri.scheme === 'sip' || contact.uri.scheme === 'sips') ? contact : null;
}
