// As much of BER as LDAP needs (RFC 4511 §5.1), written apart from the client's: elements are read and made whole.

export interface Ber {
  tag: number;
  value: Buffer;
}

/** The first element of the bytes and its length, or null where it is not all there. */
export function readBer(bytes: Buffer): { element: Ber; length: number } | null {
  if (bytes.length < 2) return null;
  let length = bytes[1];
  let start = 2;
  if (length & 0x80) {
    const octets = length & 0x7f;
    if (octets > 4) throw new Error('a length of more than four octets');
    if (bytes.length < 2 + octets) return null;
    length = bytes.readUIntBE(2, octets || 1);
    start += octets;
  }
  if (bytes.length < start + length) return null;
  return { element: { tag: bytes[0], value: bytes.subarray(start, start + length) }, length: start + length };
}

/** The elements that an element's value is made of. */
export function inside({ value }: Ber): Ber[] {
  const elements: Ber[] = [];
  for (let rest = value; rest.length > 0; ) {
    const read = readBer(rest);
    if (!read) throw new Error('an element is cut off');
    elements.push(read.element);
    rest = rest.subarray(read.length);
  }
  return elements;
}

export function ber(tag: number, ...parts: (Buffer | string)[]): Buffer {
  const value = Buffer.concat(parts.map(part => Buffer.from(part as string)));
  const { length } = value;
  const head =
    length < 128 ? [tag, length] : [tag, 0x84, length >>> 24, (length >> 16) & 255, (length >> 8) & 255, length & 255];
  return Buffer.concat([Buffer.from(head), value]);
}

export function integer(tag: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return ber(tag, bytes);
}

export function toInteger({ value }: Ber): number {
  return value.length === 0 ? 0 : value.readIntBE(0, Math.min(6, value.length));
}
