// Sends one event to many: as much in a turn of the event loop as sockets can take, in order, and bounded in all.
import type { Hub } from '../../hub/module.ts';
import { hubOrigin } from '../../hub/router.ts';
import type { Jid } from '../../xmpp/jid.ts';
import type { Stanza } from '../../xmpp/stanza.ts';

/** Bytes that go to sockets in one turn, each of which makes its own copy; and bytes that wait for their turn in all. */
const bounds = { turn: 2 * 1024 * 1024, waiting: 32 * 1024 * 1024 };
/** What a stanza weighs besides its payload. */
const envelope = 512;

interface Batch {
  readonly message: Stanza;
  readonly to: readonly Jid[];
  next: number;
}

export class FanOut {
  readonly #send: (stanza: Stanza) => void;
  readonly #bounds: typeof bounds;
  /** What waits, by what keeps it in order. */
  readonly #lines = new Map<object, Batch[]>();
  #waiting = 0;

  constructor(send: (stanza: Stanza) => void, limits = bounds) {
    this.#send = send;
    this.#bounds = limits;
  }

  /** Whether so much is on its way that nothing more should be published. */
  get full(): boolean {
    return this.#waiting > this.#bounds.waiting;
  }

  /** Sends `message` to each of them, at once where that is little, behind whatever was sent on the same `line` before. */
  send(line: object, message: Stanza, recipients: Iterable<Jid>): void {
    const batch: Batch = { message, to: [...recipients], next: 0 };
    const before = this.#lines.get(line);
    if (!before && this.#sendSome(batch)) return;
    this.#waiting += weight(batch);
    if (before) before.push(batch);
    else if (this.#lines.set(line, [batch]).size === 1) setImmediate(() => this.#turn());
  }

  /** Sends the next part of one line, and leaves the next turn to another. */
  #turn(): void {
    const [[line, batches]] = this.#lines;
    this.#lines.delete(line);
    if (this.#sendSome(batches[0])) this.#waiting -= weight(batches.shift()!);
    if (batches.length > 0) this.#lines.set(line, batches);
    if (this.#lines.size > 0) setImmediate(() => this.#turn());
  }

  /** True: that was the rest of it. */
  #sendSome(batch: Batch): boolean {
    const { message, to } = batch;
    const most = Math.max(1, Math.floor(this.#bounds.turn / (message.payload.length + envelope)));
    const end = Math.min(batch.next + most, to.length);
    while (batch.next < end) this.#send(message.withTo(to[batch.next++]));
    return end === to.length;
  }
}

/** Roughly the bytes that a batch holds while it waits. */
function weight({ message, to }: Batch): number {
  return message.payload.length + to.length * envelope;
}

const ofHub = new WeakMap<object, FanOut>();

/** What all pubsub services of a hub send their events by. */
export function fanOutOf(hub: Hub): FanOut {
  let fanOut = ofHub.get(hub.store);
  if (!fanOut) ofHub.set(hub.store, (fanOut = new FanOut(stanza => void hub.router.route(stanza, hubOrigin))));
  return fanOut;
}
