// Answers of the directory, kept for a time: what is asked for twice at once is looked up once, and an old answer is
// better than none while the directory is down.

import { patience } from './connection.ts';

interface Kept<V> {
  value: V;
  since: number;
}

export interface CacheOptions<V> {
  /** How long an answer counts, in ms, by what it is. */
  age(value: V): number;
  /** The most answers; the oldest go first. */
  most: number;
}

/** Looks something up, and rejects at the deadline (ms, as of `performance.now`) at the latest. */
type Load<V> = (deadline: number) => Promise<V>;

/** An answer older than this many times its age is no answer, whatever happens. */
const oldest = 20;

export class Cache<V> {
  readonly #options: CacheOptions<V>;
  readonly #kept = new Map<string, Kept<V>>();
  readonly #loading = new Map<string, { value: Promise<V>; deadline: number }>();

  constructor(options: CacheOptions<V>) {
    this.#options = options;
  }

  /** What is known, no older than its age (or than `youngest` ms). Undefined: nothing. */
  get(key: string, youngest = Number.POSITIVE_INFINITY): V | undefined {
    const kept = this.#kept.get(key);
    if (!kept || performance.now() - kept.since >= Math.min(this.#options.age(kept.value), youngest)) return undefined;
    return kept.value;
  }

  /** What is known, or what `load` brings. Where that fails, an answer that has become old counts once more. */
  find(key: string, load: Load<V>, deadline?: number): V | Promise<V> {
    const known = this.get(key);
    if (known !== undefined) return known;
    return this.refresh(key, load, deadline).catch(error => {
      const kept = this.#kept.get(key);
      if (kept && performance.now() - kept.since < this.#options.age(kept.value) * oldest) return kept.value;
      throw error;
    });
  }

  /** What `load` brings; those who ask meanwhile share it, unless they cannot wait as long. */
  refresh(key: string, load: Load<V>, deadline = performance.now() + patience): Promise<V> {
    const loading = this.#loading.get(key);
    return loading && loading.deadline <= deadline ? loading.value : this.#load(key, load, deadline);
  }

  /** Forgets what is known, and what is being looked up. */
  delete(key: string): void {
    this.#kept.delete(key);
    this.#loading.delete(key);
  }

  #load(key: string, load: Load<V>, deadline: number): Promise<V> {
    const since = performance.now();
    const isLatest = () => this.#loading.get(key)?.value === value;
    const value = load(deadline)
      .then(found => {
        if (isLatest()) this.#keep(key, { value: found, since });
        return found;
      })
      .finally(() => {
        if (isLatest()) this.#loading.delete(key);
      });
    this.#loading.set(key, { value, deadline });
    return value;
  }

  #keep(key: string, kept: Kept<V>): void {
    this.#kept.delete(key);
    if (this.#kept.size >= this.#options.most) this.#kept.delete(this.#kept.keys().next().value!);
    this.#kept.set(key, kept);
  }
}
