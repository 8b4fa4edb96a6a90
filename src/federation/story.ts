// The story of a link's making: what was tried, what came back, and why it ended as it did.

/** The most lines one story keeps; a link that keeps failing tells its first and its latest tries. */
const most = 60;

export class Story {
  readonly #began = Date.now();
  #lines: { at: number; text: string }[] = [];
  #left = 0;

  /** Adds a line. What comes from a peer is cut and made printable. */
  add(text: string): void {
    const line = text.slice(0, 500).replace(/[\0-\x1f\x7f-\x9f]/g, ' ');
    this.#lines.push({ at: Date.now() - this.#began, text: line });
    if (this.#lines.length > most) {
      this.#lines.splice(10, 10);
      this.#left += 10;
    }
  }

  /** The last line, for the log. */
  get last(): string {
    return this.#lines.at(-1)?.text ?? '';
  }

  get began(): number {
    return this.#began;
  }

  /** Each line with the milliseconds since the beginning. */
  get lines(): string[] {
    const lines = this.#lines.map(({ at, text }) => `+${at} ms ${text}`);
    if (this.#left > 0) lines.splice(10, 0, `(${this.#left} lines left out)`);
    return lines;
  }
}
