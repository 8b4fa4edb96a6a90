// Tells when somebody's meetings begin and end: one timer for all of them, from what is stored.

/** What transitions need to know of the stored times. */
export interface Times {
  nextChange(after: number): number | null;
  changedBetween(after: number, now: number): string[];
}

/** Clocks are set and machines sleep: the timer never waits longer than this, ms. */
const longest = 30_000;
/** Users who are told of in one turn of the event loop. */
const slice = 100;

export class Transitions {
  readonly #times: Times;
  readonly #tell: (user: string) => void;
  /** Everything that starts or ends at or before this has been told. */
  #position: number;
  #wake = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #waiting: string[] = [];
  #stopped = true;

  /** `tell` is called for each user of whom a time has started or ended. */
  constructor(times: Times, tell: (user: string) => void) {
    this.#times = times;
    this.#tell = tell;
    this.#position = Date.now();
  }

  start(now = Date.now()): void {
    this.#stopped = false;
    this.#position = now;
    this.#arm();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#waiting = [];
  }

  /** There are new times; `next` is the first of them that is not over. */
  added(next: number): void {
    if (next < this.#wake && !this.#stopped) this.#setTimer(next);
  }

  #arm(): void {
    this.#setTimer(this.#times.nextChange(this.#position) ?? Number.POSITIVE_INFINITY);
  }

  #setTimer(at: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#wake = at;
    const pause = Math.min(Math.max(at - Date.now(), 0), longest);
    this.#timer = setTimeout(() => this.#fire(), pause);
    this.#timer.unref();
  }

  #fire(): void {
    const now = Date.now();
    // The clock was set back: what comes again is told again.
    if (now < this.#position) this.#position = now;
    const users = this.#times.changedBetween(this.#position, now);
    this.#position = now;
    const idle = this.#waiting.length === 0;
    this.#waiting.push(...users);
    if (idle && users.length > 0) this.#tellSome(0);
    this.#arm();
  }

  /** Tells of a slice of those who wait, and of the rest in later turns. */
  #tellSome(from: number): void {
    if (this.#stopped) return;
    const to = Math.min(from + slice, this.#waiting.length);
    for (let i = from; i < to; i++) this.#tell(this.#waiting[i]);
    if (to < this.#waiting.length) setImmediate(() => this.#tellSome(to));
    else this.#waiting = [];
  }
}
