// Blocks of postings as they are stored: differences, for the numbers grow slowly, and each address once.

/** The numbers of a posting: its place, its position in the journal, and hashes of the other side's address and resource. */
export const stride = 4;

/** What a posting may need: three numbers of at most eight bytes, and a new address. */
const mostBytes = 3 * 8 + 12;
let scratch = Buffer.alloc(64 * 1024);

/** Writes postings, `stride` numbers each; places and positions are whole and grow, hashes are of 48 bits. */
export function encodeBlock(postings: Float64Array): Uint8Array {
  const needed = (postings.length / stride) * mostBytes;
  if (scratch.length < needed) scratch = Buffer.alloc(needed);
  const contacts: number[] = [];
  const resources: number[] = [];
  let end = 0;
  let [place, position] = [0, 0];
  for (let at = 0; at < postings.length; at += stride) {
    end = writeNumber(scratch, end, postings[at] - place);
    end = writeNumber(scratch, end, postings[at + 1] - position);
    place = postings[at];
    position = postings[at + 1];
    const contact = postings[at + 2];
    const resource = postings[at + 3];
    let known = 0;
    while (known < contacts.length && (contacts[known] !== contact || resources[known] !== resource)) known++;
    end = writeNumber(scratch, end, known);
    if (known < contacts.length) continue;
    contacts.push(contact);
    resources.push(resource);
    scratch.writeUIntLE(contact, end, 6);
    scratch.writeUIntLE(resource, end + 6, 6);
    end += 12;
  }
  return new Uint8Array(scratch.subarray(0, end));
}

/** Reads what `encodeBlock` wrote. */
export function decodeBlock(bytes: Uint8Array): Float64Array {
  const postings: number[] = [];
  const addresses: number[] = [];
  const block = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let [place, position] = [0, 0];
  const reader = { bytes, at: 0 };
  while (reader.at < bytes.length) {
    place += readNumber(reader);
    position += readNumber(reader);
    const known = readNumber(reader);
    if (2 * known === addresses.length) {
      addresses.push(block.readUIntLE(reader.at, 6), block.readUIntLE(reader.at + 6, 6));
      reader.at += 12;
    }
    postings.push(place, position, addresses[2 * known], addresses[2 * known + 1]);
  }
  return new Float64Array(postings);
}

/** Seven bits a byte, the lowest first; the top bit says that more follow. */
function writeNumber(bytes: Uint8Array, at: number, number: number): number {
  let rest = number;
  while (rest >= 2 ** 31) {
    bytes[at++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  while (rest >= 128) {
    bytes[at++] = (rest & 127) | 128;
    rest >>>= 7;
  }
  bytes[at++] = rest;
  return at;
}

function readNumber(reader: { bytes: Uint8Array; at: number }): number {
  let number = 0;
  let weight = 1;
  for (;;) {
    const byte = reader.bytes[reader.at++];
    number += (byte & 127) * weight;
    if (byte < 128) return number;
    weight *= 128;
  }
}
