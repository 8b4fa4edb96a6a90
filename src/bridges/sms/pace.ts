// How fast an SMSC is fed: the configured rate, less after it said ESME_RTHROTTLED, and slowly more again.

/** The pauses after one throttling and after several in a row, in ms. */
const firstPause = 50;
const longestPause = 5_000;
/** Throttlings within this time, in ms, count as one: the window was full of messages when the first came. */
const oneEvent = 500;

/** A token bucket whose rate adapts. Times are given in, in ms. */
export class Pace {
  readonly #configured: number;
  #rate: number;
  #tokens = 1;
  #filled = 0;
  #blockedUntil = 0;
  #pause = firstPause;
  #cut = Number.NEGATIVE_INFINITY;
  #raised = 0;
  #accepted = 0;
  #countedFrom = 0;
  #measured = 0;

  /** `rate` in messages a second; 0: none. */
  constructor(rate: number) {
    this.#configured = rate > 0 ? rate : Number.POSITIVE_INFINITY;
    this.#rate = this.#configured;
  }

  /** Takes one message's turn: 0, or how many ms to wait before asking again. */
  take(now: number): number {
    if (now < this.#blockedUntil) return this.#blockedUntil - now;
    this.#raise(now);
    if (this.#rate === Number.POSITIVE_INFINITY) return 0;
    const burst = Math.max(1, this.#rate / 20);
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filled) / 1000) * this.#rate);
    this.#filled = now;
    if (this.#tokens < 1) return Math.max(1, Math.ceil(((1 - this.#tokens) / this.#rate) * 1000));
    this.#tokens--;
    return 0;
  }

  /** The SMSC took one. */
  accepted(now: number): void {
    this.#accepted++;
    if (now - this.#countedFrom >= 1000) {
      this.#measured = now - this.#countedFrom < 5000 ? (this.#accepted * 1000) / (now - this.#countedFrom) : 0;
      this.#accepted = 0;
      this.#countedFrom = now;
    }
    if (now - this.#cut > 2 * oneEvent) this.#pause = firstPause;
  }

  /** The SMSC took it for too much. */
  throttled(now: number): void {
    if (now - this.#cut < oneEvent) {
      this.#blockedUntil = Math.max(this.#blockedUntil, now + firstPause);
      return;
    }
    // Measured over a whole second it is what the SMSC takes; over less, half of it is a better guess.
    const short = (this.#accepted * 1000) / Math.max(now - this.#countedFrom, 50);
    const seen = this.#measured > 0 ? this.#measured * 0.95 : short / 2;
    this.#rate = Math.max(1, Math.min(this.#rate * 0.9, seen > 0 ? seen : 50));
    this.#blockedUntil = now + this.#pause;
    this.#pause = Math.min(this.#pause * 2, longestPause);
    this.#cut = now;
    this.#raised = now;
    this.#tokens = 0;
    this.#filled = this.#blockedUntil;
  }

  /** A twentieth more every quarter of a second without throttling, and no bound at all after a minute. */
  #raise(now: number): void {
    if (this.#rate === this.#configured || now - this.#raised < 250) return;
    this.#rate = now - this.#cut > 60_000 ? this.#configured : Math.min(this.#rate * 1.05 + 1, this.#configured);
    this.#raised = now;
  }

  describe(): string {
    return this.#rate === Number.POSITIVE_INFINITY ? 'unbounded' : `${Math.round(this.#rate)} a second`;
  }
}
