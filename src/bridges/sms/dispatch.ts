// Takes messages out of the queue and to the SMSCs: which one, how many at once, and what to make of each answer.
import type { Log } from '../../hub/log.ts';
import type { Store } from '../../hub/store.ts';
import { prefixLength } from './addresses.ts';
import { AnswerLost } from './link.ts';
import { status, statusName } from './pdu.ts';
import type { Queued, SmsQueue } from './queue.ts';
import type { Smsc, Submitted } from './smsc.ts';
import { type PartFields, type Parts, submitParts, timeLeft } from './translate.ts';

/** What became of a message, as far as the SMSC's answer tells. */
export interface Outcomes {
  /** A part is with the SMSC under that number; kept before this returns. */
  partAccepted(queued: Queued, smsc: Smsc, message: string): void;
  /** All parts are with the SMSC; `numbered`: each got a number, by which receipts can be told. */
  accepted(queued: Queued, segments: number, numbered: boolean): void;
  /** Refused for good; the message leaves the queue when this resolves. */
  refused(queued: Queued, reason: string, words: string): Promise<void>;
  /** The answer was lost; it will be sent again or is set aside. */
  inDoubt(queued: Queued, setAside: boolean): void;
  /** Whether this number must not be written to any more. */
  stopped(queued: Queued): boolean;
}

export interface DispatchOptions {
  /** '' for the configured SMSCs, else whose account. */
  route: string;
  attempts: number;
  /** The pause after the first failed attempt, in ms; it doubles. */
  retry: number;
  parts: PartFields;
  /** When sending is permitted again, in Unix ms; 0: now. */
  quietUntil(now: number): number;
}

const longestRetry = 3_600_000;
/** The pause after something failed here, not at the SMSC, in ms. */
const afterFailure = 10_000;
/** How many messages are taken out of the queue at once. */
const batch = 200;
/** Lost answers after which a message is suspected of being the reason, and goes alone. */
const suspicious = 2;

/** Statuses that may pass: the message is tried again. Every other one is final. */
const passing = new Set<number>([status.systemError, status.queueFull, 0x45, status.temporary, 0x04, 0x58]);

export class Dispatcher {
  readonly #queue: SmsQueue;
  readonly #store: Store;
  readonly #smscs: readonly Smsc[];
  readonly #options: DispatchOptions;
  readonly #outcomes: Outcomes;
  readonly #log: Log;
  readonly #active = new Set<Promise<void>>();
  #running = false;
  #again = false;
  #timer: NodeJS.Timeout | null = null;
  #nextLook = 0;
  #stopped = true;

  constructor(
    queue: SmsQueue,
    store: Store,
    smscs: readonly Smsc[],
    options: DispatchOptions,
    outcomes: Outcomes,
    log: Log,
  ) {
    this.#queue = queue;
    this.#store = store;
    this.#smscs = smscs;
    this.#options = options;
    this.#outcomes = outcomes;
    this.#log = log;
  }

  start(): void {
    this.#stopped = false;
    this.wake();
  }

  /** Resolves when nothing is under way any more; the SMSCs must have been stopped. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    await Promise.all(this.#active);
  }

  /** There may be something to do: a message came, an SMSC came up, there is room again. */
  wake(): void {
    if (this.#stopped) return;
    if (this.#running) {
      this.#again = true;
      return;
    }
    this.#running = true;
    void this.#run().catch(error => this.#failed(error));
  }

  async #run(): Promise<void> {
    do {
      this.#again = false;
      while (!this.#stopped && (await this.#round())) {}
    } while (this.#again && !this.#stopped);
    this.#running = false;
  }

  /** The store cannot be written: nothing is sent that could not be marked as sent. */
  #failed(error: unknown): void {
    this.#running = false;
    this.#log.error({ err: error }, 'the queue cannot be read or written');
    this.#later(Date.now() + 5_000);
  }

  /** Takes as many messages as there is room for, and sends them. False: there is nothing to do now. */
  async #round(): Promise<boolean> {
    const { route, quietUntil } = this.#options;
    const now = Date.now();
    const quiet = quietUntil(now);
    if (quiet > now) return this.#later(quiet);
    const room = this.#smscs.reduce((sum, smsc) => sum + Math.max(0, smsc.room), 0);
    const windows = this.#smscs.reduce((sum, smsc) => sum + (smsc.up ? smsc.config.window : 0), 0);
    // Taken by the half window: one by one, each would cost a commit of its own.
    if (room <= 0 || (room < windows / 2 && this.#active.size > 0)) return false;
    const claimed = this.#queue.claim(route, Math.min(room, batch), now);
    if (claimed.length === 0) {
      const due = this.#queue.nextDue(route);
      return due === null ? false : this.#later(due);
    }
    // What is not marked as under way on the disk could be sent twice without anybody knowing.
    await this.#store.durable();
    const alone: Queued[] = [];
    for (const queued of claimed) {
      if (queued.lost >= suspicious) alone.push(queued);
      else this.#begin(queued);
    }
    for (const queued of alone) {
      await Promise.all(this.#active);
      this.#begin(queued);
      await Promise.all(this.#active);
    }
    return true;
  }

  /** Looks again at that time, or before. */
  #later(at: number): false {
    const next = Math.min(Math.max(at, Date.now() + 10), Date.now() + 60_000);
    if (this.#stopped || (this.#timer && this.#nextLook <= next)) return false;
    if (this.#timer) clearTimeout(this.#timer);
    this.#nextLook = next;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.wake();
    }, next - Date.now());
    return false;
  }

  #release(queued: Queued, due: number): void {
    this.#queue.release(queued, due);
    this.#later(due);
  }

  #retry(queued: Queued, due: number, error: string, lost: boolean): void {
    this.#queue.retry(queued, due, error, lost);
    this.#later(due);
  }

  #begin(queued: Queued): void {
    const sending = this.#send(queued)
      .catch(error => {
        this.#log.error({ err: error, id: queued.id.toString(36) }, 'a message could not be dealt with');
        this.#retry(queued, Date.now() + afterFailure, 'the hub could not deal with it', true);
      })
      // The store cannot be written: what is under way there is taken up when the hub starts again.
      .catch(() => {})
      .finally(() => this.#active.delete(sending));
    this.#active.add(sending);
  }

  async #send(queued: Queued): Promise<void> {
    if (this.#outcomes.stopped(queued)) {
      return this.#refuse(queued, 'stopped', 'this number asked for no more messages');
    }
    if (timeLeft(queued, this.#options.parts) <= 0) {
      return this.#refuse(queued, 'expired', 'it could not be sent in time');
    }
    const smsc = this.#choose(queued.number);
    if (!smsc) return this.#release(queued, Date.now() + 1_000);
    const parts = submitParts(queued, this.#options.parts);
    if (parts.left.length === 1) return this.#judge(queued, parts, [await this.#submit(queued, smsc, parts, 0)]);
    const results = await Promise.all(parts.left.map((_, i) => this.#submit(queued, smsc, parts, i)));
    return this.#judge(queued, parts, results);
  }

  /** Submits one part and keeps what the SMSC has taken. Resolves to its answer, or to why there is none. */
  async #submit(queued: Queued, smsc: Smsc, parts: Parts, i: number): Promise<Submitted | Error> {
    try {
      const { part, fields } = parts.left[i];
      const answer = await smsc.submit(fields);
      if (answer.status === status.ok) {
        this.#queue.accepted(queued, part, smsc.config.name, answer.message, parts.doneWith(part));
        this.#outcomes.partAccepted(queued, smsc, answer.message);
      }
      return answer;
    } catch (error) {
      return error as Error;
    }
  }

  /** The worst answer counts: what is refused for good, then what is in doubt, what may pass, what was not sent. */
  async #judge(queued: Queued, parts: Parts, results: readonly (Submitted | Error)[]): Promise<void> {
    const { attempts, retry } = this.#options;
    const answers = results.filter((result): result is Submitted => !(result instanceof Error));
    const refused = answers.find(({ status: code }) => code !== status.ok && !passing.has(code));
    if (refused) return this.#refuse(queued, statusName(refused.status), words(refused.status));
    const last = queued.attempts + 1 >= attempts;
    const due = Date.now() + Math.min(retry * 2 ** queued.attempts, longestRetry);
    const lost = results.find(result => result instanceof AnswerLost);
    if (lost) {
      if (last) this.#queue.putAside(queued, (lost as Error).message);
      else this.#retry(queued, due, (lost as Error).message, true);
      this.#outcomes.inDoubt(queued, last);
      return;
    }
    const full = answers.find(({ status: code }) => code !== status.ok);
    if (full) {
      if (last) return this.#refuse(queued, statusName(full.status), words(full.status));
      return this.#retry(queued, due, `the SMSC says ${statusName(full.status)}`, false);
    }
    if (answers.length < results.length) return this.#release(queued, Date.now() + 100);
    const numbered = answers.every(({ message }) => message !== '');
    this.#outcomes.accepted(queued, parts.total, numbered);
  }

  async #refuse(queued: Queued, reason: string, text: string): Promise<void> {
    await this.#outcomes.refused(queued, reason, text);
    this.#queue.remove(queued);
  }

  /** The SMSC for a number: the longest prefix first, then the order of the configuration, those that are bound only. */
  #choose(number: string): Smsc | null {
    let best: Smsc | null = null;
    let longest = -1;
    for (const smsc of this.#smscs) {
      const fit = smsc.up ? prefixLength(number, smsc.config.prefixes) : -1;
      // One that is full gives way to the next of equal fit.
      if (fit > longest || (fit === longest && best !== null && best.room <= 0 && smsc.room > 0)) {
        best = smsc;
        longest = fit;
      }
    }
    return best;
  }
}

function words(code: number): string {
  switch (code) {
    case 0x0b:
      return 'the SMS centre says that there is no such number';
    case 0x0a:
      return 'the SMS centre does not accept our originating address';
    case status.queueFull:
      return 'the SMS centre has too many messages waiting for this number';
    default:
      return `the SMS centre refused it (${statusName(code)})`;
  }
}
