// Gathers what one turn of the event loop writes to one socket, so that it leaves as one write.
import { Buffer } from 'node:buffer';

/** Something that has parts waiting to be written at the end of the turn. */
interface Flushable {
  flush(): void;
}

let waiting: Flushable[] = [];

function flushAll(): void {
  const due = waiting;
  waiting = [];
  for (const one of due) one.flush();
}

/** Has `flush` called once, after all input of this turn was read. */
export function atEndOfTurn(one: Flushable): void {
  if (waiting.push(one) === 1) setImmediate(flushAll);
}

// One scratch area serves all connections: encoding is synchronous, and an idle connection owns no buffer.
let scratch = Buffer.allocUnsafeSlow(64 * 1024);

/** Joins strings (as UTF-8) and bytes into one new buffer. */
export function encode(parts: readonly (string | Uint8Array)[]): Buffer {
  let length = 0;
  for (const part of parts) {
    const most = typeof part === 'string' ? part.length * 3 : part.length;
    if (length + most > scratch.length) grow(length + most, length);
    if (typeof part === 'string') {
      length += scratch.write(part, length);
    } else {
      scratch.set(part, length);
      length += part.length;
    }
  }
  const whole = Buffer.allocUnsafe(length);
  whole.set(scratch.subarray(0, length));
  if (scratch.length > 1024 * 1024) scratch = Buffer.allocUnsafeSlow(64 * 1024);
  return whole;
}

function grow(size: number, used: number): void {
  const larger = Buffer.allocUnsafeSlow(Math.max(size, scratch.length * 2));
  larger.set(scratch.subarray(0, used));
  scratch = larger;
}
