// Expands series in a thread: with a deadline for each, so that no rule can stop the hub, nor for long the next one.
import { Worker } from 'node:worker_threads';
import type { Answer, Job } from './expansion.ts';
import type { Series, Span } from './series.ts';

/** Why a series was not expanded. */
export class Unexpandable extends Error {
  override readonly name = 'Unexpandable';
}

interface Waiting {
  series: Series;
  resolve: (spans: Span[]) => void;
  reject: (error: Error) => void;
}

const file = import.meta.url.endsWith('.ts') ? './expansion.ts' : './expansion.js';

export class Recurrence {
  readonly #deadline: number;
  readonly #waiting: Waiting[] = [];
  #worker: Worker | null = null;
  #ready = false;
  #current: Waiting | null = null;
  #timer: NodeJS.Timeout | null = null;
  #jobs = 0;
  #closed = false;

  /** `deadline`: ms that one series may take. */
  constructor(deadline = 1_000) {
    this.#deadline = deadline;
  }

  /** The times a series takes. Rejects with Unexpandable. */
  expand(series: Series): Promise<Span[]> {
    if (this.#closed) return Promise.reject(new Unexpandable('ending'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ series, resolve, reject });
      this.#next();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(new Unexpandable('ending'));
    await this.#replace('ending');
  }

  #next(): void {
    if (this.#current || this.#waiting.length === 0) return;
    const worker = (this.#worker ??= this.#start());
    if (!this.#ready) return;
    this.#current = this.#waiting.shift()!;
    const job: Job = { id: ++this.#jobs, series: this.#current.series };
    this.#timer = setTimeout(() => void this.#replace(`it takes longer than ${this.#deadline} ms`), this.#deadline);
    worker.postMessage(job);
  }

  #start(): Worker {
    const worker = new Worker(new URL(file, import.meta.url), {
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: 128 },
    });
    worker.unref();
    // The deadline is for the work, not for the thread's own start.
    worker.on('online', () => {
      if (this.#worker !== worker) return;
      this.#ready = true;
      this.#next();
    });
    worker.on('message', (answer: Answer) => {
      if (this.#worker !== worker || answer.id !== this.#jobs) return;
      this.#settle(answer.error ?? null, answer.spans ?? []);
      this.#next();
    });
    worker.on('error', error => {
      if (this.#worker === worker) void this.#replace(error.message);
    });
    return worker;
  }

  #settle(error: string | null, spans: Span[]): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    const current = this.#current;
    this.#current = null;
    if (error === null) current?.resolve(spans);
    else current?.reject(new Unexpandable(error));
  }

  /** Ends the thread, and the series it was at; the next one gets a new thread. */
  async #replace(why: string): Promise<void> {
    const worker = this.#worker;
    this.#worker = null;
    this.#ready = false;
    this.#settle(why, []);
    const ended = worker?.terminate();
    if (!this.#closed) this.#next();
    await ended;
  }
}
