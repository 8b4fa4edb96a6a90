// Records: how a message stands in the archives' journal.
import { Jid } from '../../xmpp/jid.ts';
import { Stanza } from '../../xmpp/stanza.ts';

/** Whose archives a record belongs to, as bits. A record of nobody's is an erased one. */
export const sendersMark = 1;
export const recipientsMark = 2;
/** It is in the index or, where that was taken back, nowhere: the journal alone does not say that it is kept. */
export const adoptedMark = 4;

// The length of all of it (4 bytes), the marks (1), the place (8), the salt (6), then the message as XML, without its end tag.
const marksAt = 4;
const placeAt = 5;
const saltAt = 13;
const headLength = 19;
const endTag = Buffer.from('</message>');

export interface ArchivedRecord {
  readonly length: number;
  readonly marks: number;
  readonly place: number;
  readonly salt: number;
}

/** Writes a record of a message that is not empty into `bytes`. Returns where it ends; -1 where it does not fit. */
export function writeRecord(
  bytes: Buffer,
  at: number,
  marks: number,
  place: number,
  salt: number,
  stanza: Stanza,
): number {
  const { head, payload, tail } = stanza;
  if (bytes.length - at < mostBytesOf(stanza)) return -1;
  let end = at + headLength;
  end += bytes.write(head, end);
  bytes.set(payload, end);
  end += payload.length;
  if (tail.length > endTag.length) end += bytes.write(tail.slice(0, -endTag.length), end);
  bytes.writeUInt32LE(end - at, at);
  bytes[at + marksAt] = marks;
  bytes.writeDoubleLE(place, at + placeAt);
  bytes.writeUInt32LE(salt % 2 ** 32, at + saltAt);
  bytes.writeUInt16LE(Math.floor(salt / 2 ** 32), at + saltAt + 4);
  return end;
}

/** How many bytes `writeRecord` may need for a stanza. */
export function mostBytesOf({ head, payload, tail }: Stanza): number {
  // A character takes at most three bytes.
  return headLength + 3 * (head.length + tail.length) + payload.length;
}

/** Adds to the marks of a record that was written into `bytes`. */
export function markRecord(bytes: Uint8Array, at: number, marks: number): void {
  bytes[at + marksAt] |= marks;
}

/** Reads the head of a record; null where there is none. */
export function readRecord(bytes: Uint8Array, at: number): ArchivedRecord | null {
  if (bytes.length - at < headLength) return null;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset + at, headLength);
  const length = view.readUInt32LE(0);
  if (length < headLength) return null;
  return {
    length,
    marks: view[marksAt],
    place: view.readDoubleLE(placeAt),
    salt: view.readUInt32LE(saltAt) + view.readUInt16LE(saltAt + 4) * 2 ** 32,
  };
}

/** The stanza of a record that is whole; null where it was erased or torn (XML has no NUL). */
export function stanzaOf(bytes: Uint8Array, at: number, length: number): Stanza | null {
  try {
    const begin = bytes.subarray(at + headLength, at + length);
    return Stanza.parse(Buffer.concat([begin, endTag]));
  } catch {
    return null;
  }
}

/** The record without those marks, and without the stanza if nobody's is left. */
export function unmarked(bytes: Uint8Array, marks: number): Uint8Array {
  const left = bytes[marksAt] & ~marks;
  const rest = Uint8Array.from(bytes);
  rest[marksAt] = left;
  if ((left & (sendersMark | recipientsMark)) === 0) rest.fill(0, headLength);
  return rest;
}

/** The users whose archives a message belongs to by its marks, each with whom it was exchanged with. */
export function ownersOf(stanza: Stanza, marks: number): { user: Jid; contact: Jid; mark: number }[] {
  const owners: { user: Jid; contact: Jid; mark: number }[] = [];
  const { from, to } = stanza;
  if (marks & sendersMark && from && to) owners.push({ user: from.bare, contact: to, mark: sendersMark });
  if (marks & recipientsMark && to) {
    owners.push({ user: to.bare, contact: from ?? Jid.of('', to.domain, ''), mark: recipientsMark });
  }
  return owners;
}
