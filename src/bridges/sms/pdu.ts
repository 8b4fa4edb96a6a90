// PDUs between bytes and checked fields: the package smpp reads and writes them, everything it leaves open is closed here.
import { PDU } from 'smpp';
import type { SmppAddress } from './addresses.ts';

/** The longest PDU that is read: a message_payload of 64 KiB with room for what stands around it. */
export const longestPdu = 70_000;
PDU.maxLength = longestPdu;

/**
 * A PDU whose fields stay as they came. The package would turn data codings into text with a mask that is wrong for
 * most of them, throw at times that are malformed, and write GSM 03.38 with a data coding of its own.
 */
export class Pdu extends PDU {
  override _filter(): void {}
}

/** Names of the status codes that come up often, for logs and metrics: 0x58 → `throttled`. */
const statusNames: Readonly<Record<number, string>> = {
  0: 'ok',
  1: 'invalid-length',
  4: 'wrong-bind-state',
  5: 'already-bound',
  8: 'system-error',
  10: 'invalid-source',
  11: 'invalid-destination',
  13: 'bind-failed',
  14: 'invalid-password',
  15: 'invalid-system-id',
  20: 'queue-full',
  69: 'submit-failed',
  88: 'throttled',
  97: 'invalid-schedule',
  98: 'invalid-validity',
  100: 'temporary-error',
  101: 'permanent-error',
  102: 'rejected',
  255: 'unknown-error',
};

export function statusName(status: number): string {
  return statusNames[status] ?? `0x${status.toString(16).padStart(2, '0')}`;
}

export const status = { ok: 0, throttled: 0x58, queueFull: 0x14, systemError: 0x08, temporary: 0x64 } as const;

/** Cuts a stream of bytes into PDUs. Bounded by `longestPdu`. */
export class PduScanner {
  #pending: Buffer | null = null;

  /** Yields the PDUs that are whole now. Throws where the bytes are no SMPP: there is no way on from there. */
  *push(chunk: Buffer): IterableIterator<Pdu> {
    let bytes = this.#pending ? Buffer.concat([this.#pending, chunk]) : chunk;
    while (bytes.length >= 4) {
      const length = bytes.readUInt32BE(0);
      if (length < 16 || length > longestPdu) throw new Error(`a PDU of ${length} bytes`);
      if (bytes.length < length) break;
      const pdu = new Pdu(Buffer.from(bytes.subarray(0, length)));
      if (pdu.command_length !== length) throw new Error('a PDU that contradicts itself');
      bytes = bytes.subarray(length);
      yield pdu;
    }
    // What waits for more must not pin the chunk that it came in.
    this.#pending = bytes.length > 0 ? Buffer.from(bytes) : null;
  }
}

/** A short message as deliver_sm and data_sm carry it. */
export interface Delivery {
  readonly source: SmppAddress;
  readonly destination: SmppAddress;
  readonly esmClass: number;
  readonly dataCoding: number;
  /** Of short_message or message_payload, with its user data header where `esmClass` says so. */
  readonly data: Buffer;
  readonly sar: { reference: number; parts: number; part: number } | null;
  /** TLVs of a receipt. */
  readonly receipted: string;
  readonly state: number | null;
}

/** Reads a deliver_sm or data_sm. Null where a field that must be there is not. */
export function readDelivery(pdu: Pdu): Delivery | null {
  const { source_addr, destination_addr, esm_class, data_coding } = pdu;
  if (typeof source_addr !== 'string' || typeof destination_addr !== 'string') return null;
  if (typeof esm_class !== 'number' || typeof data_coding !== 'number') return null;
  if (source_addr.length > 65 || destination_addr.length > 65) return null;
  const short = bytesOf(pdu.short_message);
  const payload = bytesOf(pdu.message_payload);
  if (!short && !payload && pdu.command !== 'data_sm') return null;
  return {
    source: { ton: number(pdu.source_addr_ton), npi: number(pdu.source_addr_npi), address: source_addr },
    destination: { ton: number(pdu.dest_addr_ton), npi: number(pdu.dest_addr_npi), address: destination_addr },
    esmClass: esm_class,
    dataCoding: data_coding,
    data: payload && payload.length > 0 ? payload : (short ?? Buffer.alloc(0)),
    sar: readSar(pdu),
    receipted: typeof pdu.receipted_message_id === 'string' ? pdu.receipted_message_id.replace(/\0.*$/s, '') : '',
    state: typeof pdu.message_state === 'number' ? pdu.message_state : null,
  };
}

function readSar(pdu: Pdu): Delivery['sar'] {
  const { sar_msg_ref_num: reference, sar_total_segments: parts, sar_segment_seqnum: part } = pdu;
  if (typeof reference !== 'number' || typeof parts !== 'number' || typeof part !== 'number') return null;
  return part >= 1 && part <= parts && parts > 1 ? { reference, parts, part } : null;
}

function bytesOf(value: unknown): Buffer | null {
  return Buffer.isBuffer(value) ? value : null;
}

function number(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}

/** The message_id of a response, '' where it has none. Printable ASCII, at most 64 characters. */
export function messageId(pdu: Pdu): string {
  const { message_id } = pdu;
  return typeof message_id === 'string' ? message_id.replace(/[^ -~]/g, '').slice(0, 64) : '';
}
