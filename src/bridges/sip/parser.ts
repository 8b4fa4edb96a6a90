// Reads SIP messages from bytes, strictly: datagrams whole, streams message by message; bodies stay bytes (RFC 3261 §7, §18.3).
import { SipSyntaxError } from './engine.ts';
import { bad, defaultLimits, type ParserLimits, parseHead } from './head.ts';
import type { Fault, Message } from './message.ts';

export { defaultLimits, headerName, type ParserLimits } from './head.ts';

/**
 * Reads a datagram or a WebSocket frame: one message. Bytes behind its Content-Length are left out (RFC 3261 §18.3).
 * A request that can be answered but not accepted has a `fault`. Throws SipSyntaxError where there is nobody to answer.
 */
export function parseDatagram(bytes: Buffer, limits: ParserLimits = defaultLimits): Message {
  let start = 0;
  while (bytes[start] === 13 && bytes[start + 1] === 10) start += 2;
  const end = bytes.indexOf('\r\n\r\n', start, 'latin1');
  if (end < 0) throw new SipSyntaxError('the headers do not end');
  const message = parseHead(bytes.subarray(start, end), limits);
  const body = bytes.subarray(end + 4);
  const length = message.contentLength < 0 ? body.length : message.contentLength;
  if (length > body.length) message.fault ??= bad('Content-Length is longer than the message');
  message.body = body.subarray(0, length);
  if (message.body.length > limits.body) message.fault ??= { status: 413, reason: 'the body is too long' };
  return settled(message);
}

/** A response cannot be answered: one with a fault is as good as none. */
function settled(message: Message): Message {
  if (!message.isRequest && message.fault) throw new SipSyntaxError(message.fault.reason);
  return message;
}

/** Cuts a stream into messages. Keep-alives (RFC 5626 §4.4.1) are told apart. After a throw the stream is of no use. */
export class StreamParser {
  readonly #limits: ParserLimits;
  readonly #receive: (message: Message) => void;
  readonly #ping: () => void;
  #waiting: Buffer[] = [];
  #size = 0;
  /** How many bytes must be there before it is worth looking again. */
  #wanted = 1;
  /** The message whose body has not all come yet. */
  #open: Message | null = null;
  /** How far the waiting bytes have been searched for the end of the head. */
  #searched = 0;

  constructor(receive: (message: Message) => void, ping: () => void, limits: ParserLimits = defaultLimits) {
    this.#receive = receive;
    this.#ping = ping;
    this.#limits = limits;
  }

  /**
   * Takes the next bytes. Throws SipSyntaxError where the stream cannot be followed any further; a request that can
   * be answered has been handed out with its fault before.
   */
  push(chunk: Buffer): void {
    this.#waiting.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#wanted) return;
    let bytes = this.#waiting.length === 1 ? chunk : Buffer.concat(this.#waiting);
    this.#wanted = 1;
    for (let used = this.#take(bytes); used > 0; used = this.#take(bytes)) bytes = bytes.subarray(used);
    // A copy, so that a few waiting bytes do not hold on to the whole chunk.
    this.#waiting = bytes.length === 0 ? [] : [Buffer.from(bytes)];
    this.#size = bytes.length;
  }

  /** Takes one thing from the front; returns how many bytes it was, 0 where more must come first. */
  #take(bytes: Buffer): number {
    if (this.#open) return this.#takeBody(this.#open, bytes);
    if (bytes[0] === 13) return this.#takeLineEnds(bytes);
    const end = bytes.indexOf('\r\n\r\n', Math.max(0, this.#searched - 3), 'latin1');
    if (end < 0 ? bytes.length > this.#limits.head + 4 : end > this.#limits.head) {
      throw new SipSyntaxError('the headers are too long');
    }
    this.#searched = end < 0 ? bytes.length : 0;
    if (end < 0) return 0;
    const message = parseHead(bytes.subarray(0, end), this.#limits);
    this.#checkFraming(message);
    if (message.contentLength === 0) this.#receive(settled(message));
    else this.#open = message;
    return end + 4;
  }

  /** Two CRLF are a ping; one before a message is the answer to ours, or a stray (RFC 3261 §7.5). */
  #takeLineEnds(bytes: Buffer): number {
    const expected = [13, 10, 13, 10];
    const same = expected.findIndex((byte, i) => bytes[i] !== byte);
    if (same < 0) {
      this.#ping();
      return 4;
    }
    if (same >= bytes.length) return 0;
    if (same >= 2) return 2;
    throw new SipSyntaxError('a message begins with a stray CR');
  }

  #takeBody(message: Message, bytes: Buffer): number {
    this.#wanted = message.contentLength;
    if (bytes.length < message.contentLength) return 0;
    this.#wanted = 1;
    this.#open = null;
    message.body = Buffer.from(bytes.subarray(0, message.contentLength));
    this.#receive(settled(message));
    return message.contentLength;
  }

  /** On a stream the length must be said, and be right (RFC 3261 §18.3): what follows cannot be trusted otherwise. */
  #checkFraming(message: Message): void {
    const { contentLength, fault } = message;
    const wrong: Fault | null =
      contentLength > this.#limits.body
        ? { status: 413, reason: 'the body is too long' }
        : contentLength < 0
          ? (fault ?? bad('Content-Length is missing'))
          : null;
    if (!wrong) return;
    message.fault = wrong;
    if (message.isRequest) this.#receive(message);
    throw new SipSyntaxError(wrong.reason);
  }
}
