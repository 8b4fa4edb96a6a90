// Cuts a text into the segments of a concatenated short message, never inside a character that people see as one.
import { encodeGsm, encodeUcs2, gsmLength } from './alphabet.ts';

/** How the parts of a long message are tied together: by a user data header, by SAR TLVs, or one message_payload. */
export type Concatenation = 'udh' | 'udh-8' | 'sar' | 'payload';

export interface Segmented {
  /** 0: GSM 03.38, 8: UCS-2 (SMPP 3.4 §5.2.19). */
  readonly dataCoding: 0 | 8;
  /** The text of each segment, encoded, without any header. */
  readonly parts: readonly Buffer[];
}

/** Septets, or bytes of UCS-2, in a message of one segment and in each of several (3GPP TS 23.040 §9.2.3.24.1). */
const room = {
  0: { alone: 160, udh: 152, 'udh-8': 153, sar: 153 },
  8: { alone: 140, udh: 132, 'udh-8': 134, sar: 134 },
} as const;

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** The most segments of one message: its header counts them in one byte. */
export const mostSegments = 255;

/** Cuts a text. There is at least one segment, for an empty text an empty one; more than `mostSegments` for a text that is too long. */
export function segment(text: string, by: Concatenation): Segmented {
  const septets = gsmLength(text);
  const dataCoding = septets >= 0 ? 0 : 8;
  const encode = dataCoding === 0 ? encodeGsm : encodeUcs2;
  const length = dataCoding === 0 ? septets : text.length * 2;
  if (by === 'payload' || length <= room[dataCoding].alone) return { dataCoding, parts: [encode(text)] };
  const size = dataCoding === 0 ? gsmLength : (piece: string) => piece.length * 2;
  return { dataCoding, parts: cut(text, room[dataCoding][by], size).map(encode) };
}

function cut(text: string, most: number, size: (piece: string) => number): string[] {
  const parts: string[] = [];
  let part = '';
  let used = 0;
  const add = (piece: string, length: number): void => {
    if (used + length > most) {
      parts.push(part);
      part = '';
      used = 0;
    }
    part += piece;
    used += length;
  };
  for (const { segment: piece } of graphemes.segment(text)) {
    const length = size(piece);
    if (length <= most) add(piece, length);
    // A cluster that no segment can hold is cut between code points.
    else for (const point of piece) add(point, size(point));
  }
  if (part !== '') parts.push(part);
  return parts;
}

/** How many segments a text takes. */
export function countSegments(text: string, by: Concatenation): number {
  return segment(text, by).parts.length;
}

/** The user data header of one of several parts, its length first. `part` counts from 1; `reference` is cut to fit. */
export function concatenationHeader(by: 'udh' | 'udh-8', reference: number, parts: number, part: number): Buffer {
  return by === 'udh'
    ? Buffer.from([6, 0x08, 4, (reference >> 8) & 0xff, reference & 0xff, parts, part])
    : Buffer.from([5, 0x00, 3, reference & 0xff, parts, part]);
}

/** What a user data header says. */
export interface UserDataHeader {
  /** Which part of which message this is. */
  concatenation: { reference: number; parts: number; part: number } | null;
  single: number;
  locking: number;
  /** It is addressed to an application on the phone: no text for people. */
  ports: boolean;
}

/**
 * Divides user data into its header and the rest (3GPP TS 23.040 §9.2.3.24). A header that does not fit counts as
 * none: what it is in is all text then.
 */
export function readHeader(data: Uint8Array): { header: UserDataHeader; rest: Uint8Array } {
  const header: UserDataHeader = { concatenation: null, single: 0, locking: 0, ports: false };
  const end = 1 + (data[0] ?? 0);
  if (data.length === 0 || end > data.length) return { header, rest: data };
  for (let at = 1; at + 2 <= end; at += 2 + data[at + 1]) {
    const length = data[at + 1];
    if (at + 2 + length > end) break;
    const value = data.subarray(at + 2, at + 2 + length);
    if (data[at] === 0x00 && length === 3) header.concatenation = concatenation(value[0], value[1], value[2]);
    else if (data[at] === 0x08 && length === 4) {
      header.concatenation = concatenation((value[0] << 8) | value[1], value[2], value[3]);
    } else if (data[at] === 0x24 && length === 1) header.single = value[0];
    else if (data[at] === 0x25 && length === 1) header.locking = value[0];
    else if (data[at] === 0x04 || data[at] === 0x05) header.ports = true;
  }
  return { header, rest: data.subarray(end) };
}

/** Null where the numbers make no sense: the part then stands alone. */
export function concatenation(
  reference: number,
  parts: number,
  part: number,
): { reference: number; parts: number; part: number } | null {
  return part >= 1 && part <= parts && parts > 1 ? { reference, parts, part } : null;
}
