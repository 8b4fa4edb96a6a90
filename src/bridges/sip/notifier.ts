// A subscription to one of our users (RFC 6665 §4.2): the dialog that a SUBSCRIBE makes, and the NOTIFYs sent in it.
import { TextDialog } from './core.ts';
import type { SubscriptionIn } from './engine.ts';
import { parseSeconds, parseValue, splitList } from './fields.ts';
import type { Flow } from './flow.ts';
import type { Header, Message } from './message.ts';
import { nameAddr, type Reply, type Sender } from './sender.ts';
import { contactIn } from './watcher.ts';

export interface NotifierPort {
  readonly sender: Sender;
  over(notifier: Notifier): void;
}

type State = Parameters<SubscriptionIn['notify']>[0];

/** Answers to a NOTIFY that end the subscription (RFC 5057 §5.1, RFC 6665 §4.2.2). */
const ending = new Set([403, 404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604]);
export const longestLease = 3600;
/** How long a listener may take with the last NOTIFY once it was told of the end, in ms. */
const lastPatience = 10_000;

/** The seconds that a SUBSCRIBE asks for, at most an hour. */
export function leaseOf(request: Message): number {
  return Math.min(parseSeconds(request.header('expires')) ?? longestLease, longestLease);
}

export class Notifier implements SubscriptionIn {
  readonly event: string;
  readonly eventId: string;
  expires: number;
  state = 'new';
  onRefresh: (expires: number) => void = () => {};
  onEnd: (why: 'unsubscribed' | 'expired' | 'lost') => void = () => {};
  readonly #port: NotifierPort;
  readonly #dialog: TextDialog;
  readonly #user: string;
  /** Display names of the two; the addresses stand in the dialog. */
  readonly #ownName: string;
  readonly #theirName: string;
  #flow: Flow;
  #until: number;
  #timer: NodeJS.Timeout | undefined;
  /** NOTIFYs go one after another, the first when the SUBSCRIBE is answered. */
  #queue: Promise<unknown>;
  #open!: () => void;
  #ended = false;
  #over = false;

  /** Throws an Error where the request makes no dialog: without a Contact that requests can be sent to. */
  constructor(message: Message, flow: Flow, localTag: string, port: NotifierPort) {
    const contact = contactIn(message);
    const event = parseValue(message.header('event') ?? '');
    if (!contact || !event) throw new Error('no Contact or no Event');
    this.#port = port;
    this.event = event.value;
    this.eventId = event.params.get('id') ?? '';
    this.expires = leaseOf(message);
    this.#until = Date.now() + this.expires * 1000;
    this.#flow = flow;
    this.#user = message.uri?.user ?? '';
    // Our From is their To, and the other way round.
    this.#theirName = message.from.displayName;
    this.#ownName = message.to.displayName;
    this.#dialog = new TextDialog({
      callId: message.callId,
      localTag,
      remoteTag: message.fromTag,
      localUri: message.to.uri.text,
      remoteUri: message.from.uri.text,
      remoteTarget: contact.uri.text,
      routes: message.headersOf('record-route').flatMap(splitList),
      localSequence: undefined,
      remoteSequence: message.cseq,
    });
    this.#queue = new Promise<void>(resolve => {
      this.#open = resolve;
    });
  }

  get id(): string {
    return `${this.callId} ${this.localTag}`;
  }

  get callId(): string {
    return this.#dialog.callId;
  }

  get localTag(): string {
    return this.#dialog.localTag;
  }

  get remoteTag(): string {
    return this.#dialog.remoteTag;
  }

  get from(): string {
    return this.#dialog.remoteText;
  }

  get to(): string {
    return this.#dialog.localText;
  }

  /** The SUBSCRIBE was answered with a 2xx that grants so many seconds. */
  accepted(expires: number): void {
    this.#lease(expires);
    this.#open();
  }

  /** The SUBSCRIBE was refused, or the engine stops. */
  drop(): void {
    this.#over = true;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#open();
  }

  notify(state: State): Promise<number> {
    const sent = this.#queue.then(() => this.#notify(state));
    this.#queue = sent;
    return sent;
  }

  /** A SUBSCRIBE in the dialog. Returns the status to answer with and what is granted, and what to do afterwards. */
  receive(message: Message, flow: Flow): { status: number; expires: number; after?: () => void } {
    if (this.#over || this.#ended) return { status: 481, expires: 0 };
    const event = parseValue(message.header('event') ?? '');
    if (event?.value !== this.event || (event.params.get('id') ?? '') !== this.eventId)
      return { status: 481, expires: 0 };
    if (!this.#dialog.takes(message)) return { status: 500, expires: 0 };
    const contact = contactIn(message);
    if (contact) this.#dialog.retarget(contact.uri.text);
    this.#flow = flow;
    const expires = leaseOf(message);
    if (expires === 0) return { status: 200, expires, after: () => this.#end('unsubscribed') };
    this.#lease(expires);
    return { status: 200, expires, after: () => this.onRefresh(expires) };
  }

  async #notify(state: State): Promise<number> {
    if (this.#over) return 481;
    this.state = state.state;
    const left = Math.max(0, Math.round((this.#until - Date.now()) / 1000));
    const headers: Header[] = [
      ['Event', this.eventId ? `${this.event};id=${this.eventId}` : this.event],
      ['Subscription-State', subscriptionState(state, left)],
    ];
    if (state.body && state.body.length > 0)
      headers.push(['Content-Type', state.contentType ?? 'application/octet-stream']);
    const last = state.state === 'terminated';
    // It is over for us before it is for the peer: what else waits in the queue is not sent.
    if (last) this.#finish();
    const reply = await this.#port.sender
      .send({
        method: 'NOTIFY',
        uri: this.#dialog.targetText,
        routes: this.#dialog.routeSet,
        from: nameAddr(this.to, this.#ownName),
        fromTag: this.localTag,
        to: nameAddr(this.from, this.#theirName),
        toTag: this.remoteTag,
        callId: this.callId,
        nextSequence: () => this.#dialog.nextSequence(),
        contactUser: this.#user,
        headers,
        body: state.body,
        flow: this.#flow,
      })
      .catch(
        (error: Error): Reply => ({ outcome: { kind: 'unreachable', reason: error.message }, flow: null, sequence: 0 }),
      );
    const status = statusOf(reply);
    if (!last && ending.has(status)) this.#lose();
    return status;
  }

  #lease(expires: number): void {
    this.expires = expires;
    this.#until = Date.now() + expires * 1000;
    clearTimeout(this.#timer);
    // A fetch (0) ends with its first NOTIFY, which the listener sends as `terminated`; if it does not, in a while.
    this.#timer = setTimeout(() => this.#end('expired'), expires > 0 ? expires * 1000 : lastPatience);
    this.#timer.unref();
  }

  #end(why: 'unsubscribed' | 'expired'): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#until = Date.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#finish(), lastPatience);
    this.#timer.unref();
    this.onEnd(why);
  }

  #lose(): void {
    if (this.#over) return;
    const told = this.#ended;
    this.#finish();
    if (!told) this.onEnd('lost');
  }

  #finish(): void {
    if (this.#over) return;
    this.#over = true;
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#port.over(this);
  }
}

function subscriptionState({ state, reason, retryAfter, expires }: State, left: number): string {
  if (state !== 'terminated') return `${state};expires=${expires ?? left}`;
  return `terminated${reason ? `;reason=${reason}` : ''}${retryAfter === undefined ? '' : `;retry-after=${retryAfter}`}`;
}

function statusOf({ outcome }: Reply): number {
  return outcome.kind === 'answered' ? outcome.response.status : outcome.kind === 'silence' ? 408 : 503;
}
