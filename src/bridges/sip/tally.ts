// Counts what each of many has under way, so that one of them cannot take the room of all.

export class Tally {
  readonly #counts = new Map<string, number>();

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  add(key: string, n = 1): void {
    this.#counts.set(key, this.of(key) + n);
  }

  remove(key: string, n = 1): void {
    const left = this.of(key) - n;
    if (left > 0) this.#counts.set(key, left);
    else this.#counts.delete(key);
  }
}
