// Cuts what a STOMP server sends into frames, and takes the body out of those that are too large to be kept.
import { Buffer } from 'node:buffer';

const mostHeaders = 64 * 1024;
/** The header that stands in a cut frame: how long its body was. */
export const cutHeader = 'isthmus-cut';

/**
 * Feeds on bytes in any split and gives whole frames (STOMP 1.2 §Augmented BNF). A body that is larger than `most` is
 * never kept: its frame comes without it, and says so in `cutHeader`.
 */
export class FrameCutter {
  readonly #most: number;
  readonly #frame: (bytes: Uint8Array) => void;
  #head: Buffer[] = [];
  #headLength = 0;
  #body: Buffer[] = [];
  #bodyLength = 0;
  /** null: reading headers; -1: a body that ends with NUL; else the length that was announced. */
  #expected: number | null = null;
  /** The end of the headers may be split: how much of an empty line was seen. */
  #lineEmpty = false;

  constructor(most: number, frame: (bytes: Uint8Array) => void) {
    this.#most = most;
    this.#frame = frame;
  }

  /** Throws an Error where it cannot be STOMP. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) at = this.#expected === null ? this.#headers(chunk, at) : this.#content(chunk, at);
  }

  #headers(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#headLength === 0) {
      // Line feeds between frames are heart-beats: they pass as they are.
      while (at < chunk.length && (chunk[at] === 0x0a || chunk[at] === 0x0d)) at++;
      if (at > from) this.#frame(chunk.subarray(from, at));
      from = at;
    }
    for (; at < chunk.length; at++) {
      const byte = chunk[at];
      if (byte === 0x0a) {
        if (this.#lineEmpty) {
          this.#keepHead(chunk.subarray(from, at + 1));
          this.#lineEmpty = false;
          this.#expected = this.#announced();
          return at + 1;
        }
        this.#lineEmpty = true;
      } else if (byte !== 0x0d) this.#lineEmpty = false;
    }
    this.#keepHead(chunk.subarray(from, at));
    return at;
  }

  #keepHead(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#headLength += bytes.length;
    if (this.#headLength > mostHeaders) throw new Error(`a STOMP frame has more than ${mostHeaders} bytes of headers`);
    this.#head.push(Buffer.from(bytes));
  }

  #announced(): number {
    const match = /\ncontent-length[ \t]*:[ \t]*(\d{1,12})[ \t]*\r?\n/.exec(
      Buffer.concat(this.#head).toString('latin1'),
    );
    return match ? Number(match[1]) : -1;
  }

  #content(chunk: Buffer, from: number): number {
    const expected = this.#expected!;
    const left = expected - this.#bodyLength;
    if (expected >= 0 && left > 0) {
      const end = Math.min(chunk.length, from + left);
      this.#keepBody(chunk.subarray(from, end));
      return end;
    }
    const nul = expected >= 0 ? from : chunk.indexOf(0, from);
    if (expected >= 0 && chunk[nul] !== 0) throw new Error('a STOMP frame is longer than it says');
    if (nul < 0) {
      this.#keepBody(chunk.subarray(from));
      return chunk.length;
    }
    this.#keepBody(chunk.subarray(from, nul));
    this.#finish();
    return nul + 1;
  }

  #keepBody(bytes: Buffer): void {
    this.#bodyLength += bytes.length;
    if (this.#bodyLength > this.#most || this.#expected! > this.#most) this.#body.length = 0;
    else if (bytes.length > 0) this.#body.push(Buffer.from(bytes));
  }

  #finish(): void {
    const cut = this.#bodyLength > this.#most;
    const end = Buffer.from([0]);
    const head = Buffer.concat(this.#head);
    this.#frame(Buffer.concat(cut ? [this.#cutHead(head), end] : [head, ...this.#body, end]));
    this.#head = [];
    this.#body = [];
    this.#headLength = this.#bodyLength = 0;
    this.#expected = null;
  }

  #cutHead(head: Buffer): Buffer {
    const lines = head.toString('latin1').replace(/\ncontent-length[^\n]*/, '');
    return Buffer.from(lines.replace('\n', `\n${cutHeader}:${this.#bodyLength}\n`), 'latin1');
  }
}
