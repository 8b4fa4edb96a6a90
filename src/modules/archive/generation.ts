// A generation of postings: what came since a position of the journal and is not safe in the tables yet.
import { stride } from './block.ts';

/**
 * The postings of all users stand one behind another as they came, each with where the one before it of the same user
 * stands: an array of its own for each user would cost more than all the rest.
 */
export class Generation {
  /** The journal's end when the generation began. */
  since: number;
  /** Who is to be written yet. */
  due: Iterator<[string, Float64Array]> | null = null;
  #numbers = new Float64Array(1024 * stride);
  #before = new Int32Array(1024);
  #count = 0;
  /** Where the newest posting of each user stands. */
  readonly #last = new Map<string, { at: number }>();

  constructor(since: number) {
    this.since = since;
  }

  /** Empties it for another time: its memory is used again. */
  restart(since: number): this {
    this.since = since;
    this.due = null;
    this.#count = 0;
    this.#last.clear();
    return this;
  }

  get count(): number {
    return this.#count;
  }

  get users(): number {
    return this.#last.size;
  }

  add(user: string, place: number, position: number, contact: number, resource: number): void {
    const n = this.#count++;
    if (n === this.#before.length) this.#grow();
    const last = this.#last.get(user);
    this.#before[n] = last ? last.at : -1;
    if (last) last.at = n;
    else this.#last.set(user, { at: n });
    const at = n * stride;
    this.#numbers[at] = place;
    this.#numbers[at + 1] = position;
    this.#numbers[at + 2] = contact;
    this.#numbers[at + 3] = resource;
  }

  /** The postings of a user, the oldest first. */
  of(user: string): Float64Array {
    let length = 0;
    for (let n = this.#last.get(user)?.at ?? -1; n >= 0; n = this.#before[n]) length += stride;
    const postings = new Float64Array(length);
    for (let n = this.#last.get(user)?.at ?? -1; n >= 0; n = this.#before[n]) {
      length -= stride;
      for (let i = 0; i < stride; i++) postings[length + i] = this.#numbers[n * stride + i];
    }
    return postings;
  }

  /** Takes the postings of a user out. */
  take(user: string): Float64Array {
    const postings = this.of(user);
    this.#last.delete(user);
    return postings;
  }

  /** All users, each with its postings. */
  *all(): Generator<[string, Float64Array]> {
    for (const user of this.#last.keys()) yield [user, this.of(user)];
  }

  #grow(): void {
    const numbers = new Float64Array(2 * this.#numbers.length);
    numbers.set(this.#numbers);
    this.#numbers = numbers;
    const before = new Int32Array(2 * this.#before.length);
    before.set(this.#before);
    this.#before = before;
  }
}
