// Time that goes by as a test has it: timers fire in order and at once, and a test of minutes takes milliseconds.

interface Timer {
  at: number;
  order: number;
  every: number | null;
  run(): void;
}

export class VirtualTime {
  #now = 0;
  #order = 0;
  readonly #timers = new Set<Timer>();
  readonly #real = { setTimeout, clearTimeout, setInterval, clearInterval, now: performance.now };

  get now(): number {
    return this.#now;
  }

  /** Takes the place of the timers and of `performance.now`, until `uninstall`. */
  install(): void {
    const add = (run: () => void, delay = 0, every: number | null = null) => {
      const timer = { at: this.#now + Math.max(0, delay), order: this.#order++, every, run };
      this.#timers.add(timer);
      const handle = { timer, ref: () => handle, unref: () => handle, hasRef: () => true };
      return handle;
    };
    const remove = (handle?: { timer: Timer } | null) => void (handle && this.#timers.delete(handle.timer));
    Object.assign(globalThis, {
      setTimeout: (f: (...args: unknown[]) => void, delay?: number, ...args: unknown[]) => add(() => f(...args), delay),
      setInterval: (f: () => void, delay: number) => add(f, delay, delay),
      clearTimeout: remove,
      clearInterval: remove,
    });
    performance.now = () => this.#now;
  }

  uninstall(): void {
    const { now, ...timers } = this.#real;
    Object.assign(globalThis, timers);
    performance.now = now;
  }

  /** Lets `ms` go by, and all happen that happens in them. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await turn();
      const next = this.#next();
      if (!next || next.at > end) break;
      this.#now = next.at;
      if (next.every === null) this.#timers.delete(next);
      else Object.assign(next, { at: next.at + next.every, order: this.#order++ });
      next.run();
    }
    this.#now = end;
  }

  #next(): Timer | null {
    let first: Timer | null = null;
    for (const timer of this.#timers) {
      if (!first || timer.at < first.at || (timer.at === first.at && timer.order < first.order)) first = timer;
    }
    return first;
  }
}

/** What is under way without waiting for time (promises, streams) comes to its end. */
async function turn(): Promise<void> {
  for (let n = 0; n < 3; n++) await new Promise(resolve => setImmediate(resolve));
}
