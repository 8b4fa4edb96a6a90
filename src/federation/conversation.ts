// The opening talk on a stream as a sequence of awaits: a header, then elements, each with a deadline.
import { StreamError } from '../xmpp/errors.ts';
import type { StreamHeader } from '../xmpp/scanner.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Ending, Stream, StreamHandler } from '../xmpp/stream.ts';

type Item = { header: StreamHeader } | { stanza: Stanza };

/** With so many unread elements, no more are read from the stream until they have been. */
const mostUnread = 100;

export class Conversation implements StreamHandler {
  stream!: Stream;
  readonly #deadline: number;
  #items: Item[] = [];
  #ending: Ending | null = null;
  #wake: (() => void) | null = null;
  #held = false;

  /** `deadline` is the time (as of Date.now) at which whatever is awaited fails. */
  constructor(deadline: number) {
    this.#deadline = deadline;
  }

  opened(header: StreamHeader): void {
    this.#add({ header });
  }

  stanza(stanza: Stanza): void {
    this.#add({ stanza });
  }

  closed(ending: Ending): void {
    this.#ending = ending;
    this.#wake?.();
  }

  /** The peer's stream header. Rejects when the stream ends first or something else comes. */
  async header(): Promise<StreamHeader> {
    const item = await this.#next('a stream header');
    if (!('header' in item)) throw new StreamError('not-well-formed', 'expected a stream header');
    return item.header;
  }

  /** The next element. Rejects when the stream ends first. `what` is what is awaited, for the error. */
  async next(what: string): Promise<Stanza> {
    const item = await this.#next(what);
    if (!('stanza' in item)) throw new StreamError('not-well-formed', 'a second stream header came');
    return item.stanza;
  }

  /** Hands what was not read yet to the handler that takes the stream over. */
  handOver(handler: StreamHandler): void {
    this.stream.handler = handler;
    const items = this.#items;
    this.#items = [];
    for (const item of items) if ('stanza' in item) handler.stanza(item.stanza);
    if (this.#ending) handler.closed(this.#ending);
    else this.#release();
  }

  #release(): void {
    if (!this.#held) return;
    this.#held = false;
    this.stream.release();
  }

  #add(item: Item): void {
    if (this.#items.push(item) >= mostUnread && !this.#held) {
      this.#held = true;
      this.stream.hold();
    }
    this.#wake?.();
  }

  async #next(what: string): Promise<Item> {
    while (this.#items.length === 0) {
      if (this.#ending) throw new Error(`the stream ended while ${what} was awaited: ${this.#ending.reason}`);
      const left = this.#deadline - Date.now();
      if (left <= 0) throw new Error(`${what} did not come in time`);
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    const item = this.#items.shift()!;
    if (this.#items.length === 0) this.#release();
    return item;
  }
}
