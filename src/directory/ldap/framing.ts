// Whether what a server sends can be LDAP at all (RFC 4511 §5.1): messages are sequences of a sensible length.

const sequence = 0x30;
/** Octets that a length may have besides the first. */
const mostOctets = 4;

export class Framing {
  readonly #largest: number;
  #head: number[] = [];
  #left = 0;

  /** `largest`: the bytes that one message may have. */
  constructor(largest: number) {
    this.#largest = largest;
  }

  /** Takes the next bytes. False: this is no LDAP, or too much of it. */
  accepts(chunk: Uint8Array): boolean {
    for (let at = 0; at < chunk.length; ) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, chunk.length - at);
        this.#left -= taken;
        at += taken;
        continue;
      }
      this.#head.push(chunk[at++]);
      const [tag, first, ...octets] = this.#head;
      if (tag !== sequence) return false;
      if (first === undefined) continue;
      const more = first & 0x80 ? first & 0x7f : 0;
      if (more > mostOctets) return false;
      if (octets.length < more) continue;
      this.#left = first & 0x80 ? octets.reduce((length, octet) => length * 256 + octet, 0) : first;
      this.#head = [];
      if (this.#left > this.#largest) return false;
    }
    return true;
  }
}
