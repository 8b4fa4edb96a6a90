// The counters and the unacknowledged queue of stream management (XEP-0198), the same for clients and servers.
import { atEndOfTurn } from './batch.ts';
import { el } from './element.ts';
import { StreamError } from './errors.ts';
import { ns } from './namespaces.ts';
import type { Stanza } from './stanza.ts';
import type { Stream } from './stream.ts';

/** So many stanzas are worth a request of their own. */
const batch = 50;
/** How many times its limit a burst may take, and for how long (ms) the answer to a request is not late. */
const burst = 6;
const answerTime = 5_000;

const requestText = `<r xmlns='${ns.streamManagement}'/>`;

export class Acknowledgements {
  /** The id a resumption is asked by; '' where resumption was not enabled. */
  readonly id: string;
  /** Stanzas received and taken responsibility for, modulo 2³² (XEP-0198 §4). */
  received = 0;
  /** Of those we sent, how many the peer has acknowledged, modulo 2³². */
  acknowledged = 0;
  readonly #limit: number;
  #queue: Stanza[] = [];
  /** When each of them was sent, in ms since 1970. */
  #times: number[] = [];
  /** As `acknowledged`, but never beginning anew. */
  #total = 0;
  readonly #waiting: { total: number; then: () => void }[] = [];
  readonly #patience: number;
  #timer: NodeJS.Timeout | undefined;
  /** When the peer was asked (ms since 1970) and has not answered yet; 0: it was not. */
  #asked = 0;
  #stream: Stream | null = null;
  readonly #pending = new Set<Promise<unknown>>();

  /**
   * `limit` is the most stanzas that wait for an acknowledgement. With `patience` (ms), fewer than a batch of stanzas
   * wait so long before it is asked for: on a quiet stream asking at once would double the traffic.
   */
  constructor(id: string, limit: number, patience = 0) {
    this.id = id;
    this.#limit = limit;
    this.#patience = patience;
  }

  /** The stanzas that were sent and not acknowledged, oldest first. */
  get unacknowledged(): readonly Stanza[] {
    return this.#queue;
  }

  /** When they were sent, in ms since 1970. */
  get sentAt(): readonly number[] {
    return this.#times;
  }

  /** Since when an answer is due, in ms since 1970; 0 where none is. */
  get asked(): number {
    return this.#asked;
  }

  /**
   * Keeps a stanza until the peer acknowledges it. False: there is no room. With `bursts` there is more room as long as
   * the peer could not have answered yet: all contacts' presence comes at once.
   */
  keep(stanza: Stanza, bursts = false): boolean {
    const early = bursts && (this.#asked === 0 || Date.now() - this.#asked < answerTime);
    if (this.#queue.length >= (early ? this.#limit * burst : this.#limit)) return false;
    this.#queue.push(stanza);
    this.#times.push(Date.now());
    return true;
  }

  /** Calls `then` when the peer has acknowledged all that was kept so far. */
  whenAcknowledged(then: () => void): void {
    if (this.#queue.length === 0) return then();
    this.#waiting.push({ total: this.#total + this.#queue.length, then });
  }

  /** Asks for an acknowledgement behind what this turn writes, unless one is on its way (XEP-0198 §4). */
  request(stream: Stream): void {
    if (this.#asked > 0) return;
    if (this.#patience > 0 && this.#queue.length < batch) {
      this.#timer ??= setTimeout(() => this.#ask(stream), this.#patience).unref();
    } else {
      this.#ask(stream);
    }
  }

  #ask(stream: Stream): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#asked > 0 || this.#queue.length === 0) return;
    this.#asked = Date.now();
    this.#stream = stream;
    atEndOfTurn(this);
  }

  /** Writes the request; called at the end of the turn. */
  flush(): void {
    this.#stream?.sendText(requestText);
    this.#stream?.flush();
    this.#stream = null;
  }

  /** Asks at once, and calls `then` when all that was kept so far is acknowledged, or after `limit` ms. */
  settle(stream: Stream, limit: number, then: () => void): void {
    if (this.#queue.length === 0) return then();
    // Asked even where an answer is due already: that one may cover less.
    stream.sendText(requestText);
    const timer = setTimeout(then, limit).unref();
    this.whenAcknowledged(() => {
      clearTimeout(timer);
      then();
    });
  }

  /** Takes the peer's count. Throws a StreamError when it counts more than was sent (XEP-0198 §6). */
  acknowledge(h: string | undefined): void {
    const advance = this.advance(h);
    if (advance === null) throw this.#miscounted(h);
    this.acknowledged = (this.acknowledged + advance) >>> 0;
    this.#queue = advance === this.#queue.length ? [] : this.#queue.slice(advance);
    this.#times = advance === this.#times.length ? [] : this.#times.slice(advance);
    this.#asked = 0;
    this.#total += advance;
    while (this.#waiting.length > 0 && this.#waiting[0].total <= this.#total) this.#waiting.shift()!.then();
  }

  /** How many stanzas a peer's count adds; null for a count that cannot be. */
  advance(h: string | undefined): number | null {
    const count = countOf(h);
    const advance = (count - this.acknowledged) >>> 0;
    return count <= 0xffffffff && advance <= this.#queue.length ? advance : null;
  }

  #miscounted(h: string | undefined): StreamError {
    const count = countOf(h);
    const sent = String((this.acknowledged + this.#queue.length) >>> 0);
    return new StreamError(
      'undefined-condition',
      `you acknowledged ${h?.slice(0, 20)} stanzas, but only ${sent} were sent`,
      Number.isNaN(count)
        ? undefined
        : el('handled-count-too-high', ns.streamManagement, { h: String(count), 'send-count': sent }),
    );
  }

  /** Counts a stanza that came in; `taken` is the promise of its being kept, if that takes time. */
  count(taken: void | Promise<unknown>): void {
    this.received = (this.received + 1) >>> 0;
    if (!taken) return;
    const settled: Promise<unknown> = taken.then(
      () => this.#pending.delete(settled),
      () => this.#pending.delete(settled),
    );
    this.#pending.add(settled);
  }

  /** Answers `<r/>`, once everything counted so far is kept. */
  answer(stream: Stream): void {
    const h = this.received;
    const say = () => stream.sendText(`<a xmlns='${ns.streamManagement}' h='${h}'/>`);
    if (this.#pending.size === 0) say();
    else void Promise.all(this.#pending).then(say);
  }

  /** The stream is gone or replaced: the next stanza asks anew. */
  detach(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#asked = 0;
    this.#stream = null;
  }
}

/** NaN for what is no count. */
function countOf(h: string | undefined): number {
  return h !== undefined && /^\d{1,10}$/.test(h) ? Number(h) : Number.NaN;
}
