// What comes in: each request is checked, handed to the one it is for, and answered exactly once (RFC 3261 §8.2).
import { contactOf } from './carrier.ts';
import { decodeBody, encodings, RequestView } from './content.ts';
import { randomToken } from './core.ts';
import type { EngineHandler, SipAnswer } from './engine.ts';
import { splitList } from './fields.ts';
import { type Flow, sourceOf } from './flow.ts';
import type { Guard } from './guard.ts';
import { type Header, type Message, reasonPhrases, responseHeaders, writeResponse } from './message.ts';
import type { Sender } from './sender.ts';
import { type Incoming, noteSource, type ServerTransactions, type Verdict } from './servers.ts';
import type { Subscriptions } from './subscriptions.ts';

export interface UasPort {
  readonly sender: Sender;
  readonly guard: Guard;
  readonly servers: ServerTransactions;
  readonly subscriptions: Subscriptions;
  readonly handler: EngineHandler;
  /** A body's most bytes once its encoding is undone. */
  readonly body: number;
  readonly agent: string;
  /** How long a handler may take, in ms. */
  readonly patience: number;
  /** Counts what was answered. */
  count(method: string, status: number): void;
  failed(error: unknown, request: Message): void;
}

/** What is spoken here; a request of another method is answered with 405, an unknown one with 501. */
const methods = ['MESSAGE', 'SUBSCRIBE', 'NOTIFY', 'PUBLISH', 'OPTIONS', 'REGISTER'];
const foreign = new Set(['INVITE', 'BYE', 'CANCEL', 'INFO', 'UPDATE', 'PRACK', 'REFER']);
const schemes = new Set(['sip', 'sips', 'tel', 'im', 'pres']);
/** Extensions that we may be required to know: those that ask nothing of us. */
const known = new Set(['path', 'gruu', 'outbound', 'norefersub']);

/** Requests that wait for their handlers at once; above that they are sent away. */
const mostWaiting = 20_000;

/** One answer before it is bytes. */
interface Answer extends SipAnswer {
  contactUser?: string;
}

export class Uas {
  readonly #port: UasPort;

  constructor(port: UasPort) {
    this.#port = port;
  }

  /** Takes a request from a transport. */
  receive(request: Message, flow: Flow): void {
    const way = noteSource(request, flow);
    if (request.method === 'ACK') return; // It acknowledges our refusal of an INVITE; nobody waits for it.
    if (this.#port.servers.count >= mostWaiting || !this.#port.guard.allows(flow.remote.address)) {
      // Without a transaction: a flood must not be remembered. Every answer has the same tag for the same request.
      const headers: Header[] = [...responseHeaders(request, request.branch.slice(-16) || 'x'), ['Retry-After', '5']];
      void way.send(writeResponse(503, 'Too many requests', headers)).catch(() => {});
      this.#port.count(request.method, 503);
      return;
    }
    this.#port.servers.receive(request, way, (incoming, verdict) => {
      this.#handle(incoming, verdict).catch((error: unknown) => {
        this.#port.failed(error, request);
        this.#answer(incoming, { status: 500 });
      });
    });
  }

  async #handle(incoming: Incoming, verdict: Verdict): Promise<void> {
    const { request, flow } = incoming;
    const refusal = this.#check(request, flow, verdict);
    if (refusal) return this.#answer(incoming, refusal);
    const admission = this.#port.guard.admit(request, flow);
    // A NOTIFY in a dialog of ours comes from the one whom we asked.
    if (!admission.pass && !(request.method === 'NOTIFY' && request.toTag)) return this.#answer(incoming, admission);
    const body = decodeBody(request, this.#port.body);
    if (!body) return this.#answer(incoming, { status: 415, headers: [['Accept-Encoding', encodings]] });
    const authenticated = admission.pass ? admission.authenticated : undefined;
    const view = new RequestView(request, { ...sourceOf(flow), authenticated }, body);
    await this.#dispatch(incoming, view);
  }

  /** RFC 3261 §8.2.1–§8.2.2, in the order in which it has them. */
  #check(request: Message, flow: Flow, verdict: Verdict): Answer | null {
    const { method } = request;
    if (request.fault) return request.fault;
    if (method === 'CANCEL') return { status: this.#port.servers.waits(request, flow) ? 200 : 481 };
    if (!methods.includes(method)) {
      return { status: foreign.has(method) ? 405 : 501, headers: [['Allow', methods.join(', ')]] };
    }
    if (!schemes.has(request.uri!.scheme)) return { status: 416 };
    // Within a dialog nothing is passed on, and both ends of it may be here.
    if (verdict === 'merged' || (!request.toTag && this.#port.sender.hasSeen(request))) return { status: 482 };
    if (request.header('max-forwards') === '0' && method !== 'OPTIONS' && !request.toTag) return { status: 483 };
    const required = request
      .headersOf('require')
      .flatMap(splitList)
      .filter(tag => !known.has(tag.toLowerCase()));
    if (required.length > 0 && required[0] !== '')
      return { status: 420, headers: [['Unsupported', required.join(', ')]] };
    return null;
  }

  async #dispatch(incoming: Incoming, view: RequestView): Promise<void> {
    const { handler, subscriptions } = this.#port;
    const { request } = incoming;
    switch (request.method) {
      case 'NOTIFY':
        return this.#notify(incoming);
      case 'SUBSCRIBE':
        return request.toTag ? this.#resubscribe(incoming) : this.#subscribe(incoming, view);
    }
    if (request.toTag && !subscriptions.knows(request)) return this.#answer(incoming, { status: 481 });
    switch (request.method) {
      case 'MESSAGE':
        return this.#ask(incoming, () => handler.message(view));
      case 'PUBLISH':
        return this.#ask(incoming, handler.publish && (() => handler.publish!(view)));
      case 'REGISTER':
        return this.#ask(incoming, handler.register && (() => handler.register!(view)));
      default:
        return this.#ask(incoming, handler.options ? () => handler.options!(view) : async () => this.#options());
    }
  }

  #options(): SipAnswer {
    const headers: [string, string][] = [
      ['Allow', methods.join(', ')],
      ['Accept', 'text/plain, message/cpim, application/pidf+xml, application/im-iscomposing+xml'],
      ['Accept-Encoding', encodings],
      ['Allow-Events', 'presence'],
    ];
    return { status: 200, headers };
  }

  #notify(incoming: Incoming): void {
    const { answer, after } = this.#port.subscriptions.notified(incoming.request);
    this.#answer(incoming, answer);
    after?.();
  }

  #resubscribe(incoming: Incoming): void {
    const { request, flow } = incoming;
    const { status, expires, after } = this.#port.subscriptions.refreshed(request, flow);
    const ok = status === 200;
    this.#answer(incoming, {
      status,
      headers: ok ? [['Expires', String(expires)]] : [],
      contactUser: ok ? request.uri!.user : undefined,
    });
    after?.();
  }

  async #subscribe(incoming: Incoming, view: RequestView): Promise<void> {
    const { handler, subscriptions } = this.#port;
    const { request, flow } = incoming;
    if (!handler.subscribe) return this.#answer(incoming, { status: 405, headers: [['Allow', methods.join(', ')]] });
    const tag = randomToken();
    const notifier = subscriptions.open(request, flow, tag);
    if (typeof notifier === 'number') {
      const headers: [string, string][] =
        notifier === 503 ? [['Retry-After', '60']] : notifier === 489 ? [['Allow-Events', 'presence']] : [];
      return this.#answer(incoming, { status: notifier, headers });
    }
    const answer = await this.#inTime(request, handler.subscribe(view, notifier));
    if (answer.status >= 300) {
      subscriptions.refuse(notifier);
      return this.#answer(incoming, answer, tag);
    }
    const named = answer.headers?.find(([name]) => name.toLowerCase() === 'expires')?.[1];
    const expires = Math.min(named === undefined ? notifier.expires : Number(named), notifier.expires);
    const headers = (answer.headers ?? []).filter(([name]) => name.toLowerCase() !== 'expires');
    const contactUser = request.uri!.user;
    try {
      this.#answer(incoming, { ...answer, headers: [...headers, ['Expires', String(expires)]], contactUser }, tag);
      notifier.accepted(expires);
    } catch (error) {
      subscriptions.refuse(notifier);
      throw error;
    }
  }

  async #ask(incoming: Incoming, handle: (() => Promise<SipAnswer>) | undefined): Promise<void> {
    if (!handle) return this.#answer(incoming, { status: 405, headers: [['Allow', methods.join(', ')]] });
    this.#answer(incoming, await this.#inTime(incoming.request, handle()));
  }

  /** The handler's answer; 500 where it throws, 504 where it takes too long. */
  async #inTime(request: Message, answer: Promise<SipAnswer>): Promise<SipAnswer> {
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<SipAnswer>(resolve => {
      limit = setTimeout(() => resolve({ status: 504 }), this.#port.patience);
    });
    try {
      return await Promise.race([answer, late]);
    } catch (error) {
      this.#port.failed(error, request);
      return { status: 500 };
    } finally {
      clearTimeout(limit);
    }
  }

  #answer(incoming: Incoming, answer: Answer, tag = randomToken()): void {
    if (incoming.answered) return;
    const { request, flow } = incoming;
    const headers = responseHeaders(request, tag);
    // A 2xx that makes or keeps a dialog repeats its route (RFC 3261 §12.1.1).
    if (answer.contactUser !== undefined) {
      for (const route of request.headersOf('record-route')) headers.push(['Record-Route', route]);
      headers.push(['Contact', `<${contactOf(answer.contactUser, flow)}>`]);
    }
    headers.push(['Server', this.#port.agent], ...(answer.headers ?? []));
    if (answer.body?.length) headers.push(['Content-Type', answer.contentType ?? 'application/octet-stream']);
    const reason = answer.reason ?? reasonPhrases[answer.status] ?? 'Answer';
    this.#port.count(request.method, answer.status);
    incoming.answer(answer.status, writeResponse(answer.status, reason, headers, answer.body));
  }
}
