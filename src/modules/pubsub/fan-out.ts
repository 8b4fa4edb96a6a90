// Sends one event to many: as much in a turn of the event loop as sockets can take, in order, and bounded in all.
import type { Hub } from '../../hub/module.ts';
import { hubOrigin } from '../../hub/router.ts';
import type { Jid } from '../../xmpp/jid.ts';
import type { Stanza } from '../../xmpp/stanza.ts';

/**
 * Bytes that go to sockets in one turn, each of which makes its own copy; and bytes that wait for their turn, on one line
 * and in all.
 */
const bounds = { turn: 2 * 1024 * 1024, line: 4 * 1024 * 1024, waiting: 32 * 1024 * 1024 };
/** What a stanza weighs besides its payload. */
const envelope = 512;

interface Batch {
  readonly message: Stanza;
  readonly to: readonly Jid[];
  next: number;
}

interface Line {
  readonly batches: Batch[];
  weight: number;
}

export class FanOut {
  readonly #send: (stanza: Stanza) => void;
  readonly #bounds: typeof bounds;
  /** What waits, for each node. */
  readonly #lines = new Map<object, Line>();
  #waiting = 0;

  constructor(send: (stanza: Stanza) => void, limits = bounds) {
    this.#send = send;
    this.#bounds = limits;
  }

  /** Whether so much is on its way, there or in all, that nothing more should be published there. */
  full(node: object): boolean {
    const { line, waiting } = this.#bounds;
    return this.#waiting > waiting || (this.#lines.get(node)?.weight ?? 0) > line;
  }

  /** Sends an event of `node` to each of them: at once where that is little, else behind what was sent there before. */
  send(node: object, message: Stanza, recipients: Iterable<Jid>): void {
    const batch: Batch = { message, to: [...recipients], next: 0 };
    const line = this.#lines.get(node) ?? { batches: [], weight: 0 };
    if (line.batches.length === 0 && this.#sendSome(batch)) return;
    line.batches.push(batch);
    this.#weigh(line, weight(batch));
    if (line.batches.length === 1 && this.#lines.set(node, line).size === 1) setImmediate(() => this.#turn());
  }

  /** Sends the next part of one line, and leaves the next turn to another. */
  #turn(): void {
    const [[node, line]] = this.#lines;
    const { batches } = line;
    if (this.#sendSome(batches[0])) this.#weigh(line, -weight(batches.shift()!));
    // Others come first now.
    this.#lines.delete(node);
    if (batches.length > 0) this.#lines.set(node, line);
    if (this.#lines.size > 0) setImmediate(() => this.#turn());
  }

  #weigh(line: Line, by: number): void {
    line.weight += by;
    this.#waiting += by;
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
