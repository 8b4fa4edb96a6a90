// Notifications on their way to push services: one per target, few at a time, never more than there is room for.

/** What is to be told to one target. */
export interface Notice<T> {
  readonly target: T;
  /** Messages that nobody has seen, and people who wait for an answer to their request. */
  readonly count: number;
  readonly pending: number;
  readonly sender: string;
  readonly body: string;
}

/** Publishes one notice; rejects where that fails. */
export type Publish<T> = (notice: Notice<T>) => Promise<void>;

/** A newer notice for a target replaces the one that waits, so a slow service costs one place for each target. */
export class PushQueue<T> {
  readonly #publish: Publish<T>;
  readonly #most: number;
  readonly #atOnce: number;
  readonly #waiting = new Map<string, Notice<T>>();
  readonly #busy = new Set<string>();

  /** `most` notices wait, `atOnce` are under way. */
  constructor(publish: Publish<T>, most: number, atOnce: number) {
    this.#publish = publish;
    this.#most = most;
    this.#atOnce = atOnce;
  }

  get length(): number {
    return this.#waiting.size;
  }

  /** `key` names the target. False: there is no room. */
  add(key: string, notice: Notice<T>): boolean {
    if (!this.#waiting.has(key) && this.#waiting.size >= this.#most) return false;
    this.#waiting.set(key, notice);
    this.#next();
    return true;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting.clear();
  }

  #next(): void {
    for (const [key, notice] of this.#waiting) {
      if (this.#busy.size >= this.#atOnce) return;
      // The next notice for a target waits until the last one is answered.
      if (this.#busy.has(key)) continue;
      this.#waiting.delete(key);
      this.#busy.add(key);
      const done = () => {
        this.#busy.delete(key);
        this.#next();
      };
      void this.#publish(notice).then(done, done);
    }
  }
}
