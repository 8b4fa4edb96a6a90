// Between stanzas and short messages, pure: what goes to the phone and in how many parts, and what a phone or SMSC said.
import type { Stanza } from '../../xmpp/stanza.ts';
import { destination, localOf, type SmppAddress } from './addresses.ts';
import { type DefaultAlphabet, decodeText } from './alphabet.ts';
import type { Delivery } from './pdu.ts';
import type { Queued } from './queue.ts';
import { type Receipt, readReceipt } from './receipts.ts';
import { type Concatenation, concatenationHeader, mostSegments, readHeader, segment } from './segments.ts';

/** What a stanza says, as it will be read on a phone; '' where it says nothing (a chat state, a receipt). */
export function textOf(stanza: Stanza): string {
  const body = stanza.text('body');
  const subject = stanza.type === 'headline' || body === '' ? stanza.text('subject') : '';
  const text = subject && body ? `${subject}\n${body}` : subject || body;
  return text
    .replace(/\r\n?/g, '\n')
    .replace(/\t/g, ' ')
    .replace(/[\0-\x09\x0b\x0e-\x1f\x7f-\x9f]/g, '')
    .normalize('NFC')
    .trim();
}

/** Puts the sender's name before a text. The name is what the sender chose: it is bounded and made one line. */
export function signed(text: string, prefix: string, name: string): string {
  const shown = name
    .replace(/[\0-\x1f\x7f-\x9f\u2028\u2029]/g, ' ')
    .trim()
    .slice(0, 40)
    .toWellFormed();
  return prefix.replaceAll('{name}', () => shown) + text;
}

/** What all submit_sm of a bridge have in common. */
export interface PartFields {
  sender: SmppAddress;
  concatenation: Concatenation;
  /** Which receipts are asked for: 1 every, 2 of failures only (SMPP 3.4 §5.2.17). */
  registeredDelivery: 1 | 2;
  /** How long the SMSC may try, in ms, counted from when the message was taken. */
  validity: number;
  /** When that was. */
  takenAt(queued: Queued): number;
}

/** How long a message may still take, in ms. */
export function timeLeft(queued: Queued, { takenAt, validity }: PartFields): number {
  return takenAt(queued) + validity - Date.now();
}

/** The parts of a message that the SMSC does not have yet. */
export interface Parts {
  readonly total: number;
  readonly left: readonly { part: number; fields: Record<string, unknown> }[];
  /** What is to be remembered once a part is accepted; '' for a message of one part. */
  doneWith(part: number): string;
}

/** The submit_sm of a message; parts that were accepted before are left out, unless they were cut otherwise. */
export function submitParts(queued: Queued, common: PartFields): Parts {
  const { concatenation: by } = common;
  const { dataCoding, parts } = segment(queued.text, by);
  const total = Math.min(parts.length, mostSegments);
  const form = `${by}/${total}:`;
  const done = new Set(queued.done.startsWith(form) ? queued.done.slice(form.length).split(',').map(Number) : []);
  const to = destination(queued.number);
  const base = {
    source_addr_ton: common.sender.ton,
    source_addr_npi: common.sender.npi,
    source_addr: common.sender.address,
    dest_addr_ton: to.ton,
    dest_addr_npi: to.npi,
    destination_addr: to.address,
    registered_delivery: common.registeredDelivery,
    validity_period: relativeTime(timeLeft(queued, common)),
    data_coding: dataCoding,
    // The same in each attempt: an SMSC that looks can tell a repetition.
    user_message_reference: queued.id & 0xffff,
  };
  const left = parts
    .slice(0, total)
    .map((data, i) => ({ part: i + 1, fields: { ...base, ...carried(data, by, queued.id, total, i + 1) } }))
    .filter(({ part }) => !done.has(part));
  return {
    total,
    left,
    doneWith(part) {
      if (total === 1) return '';
      done.add(part);
      return form + [...done].sort((a, b) => a - b).join(',');
    },
  };
}

function carried(data: Buffer, by: Concatenation, id: number, parts: number, part: number): Record<string, unknown> {
  if (parts === 1) {
    // short_message holds 254 bytes (SMPP 3.4 §5.2.22).
    return data.length > 254
      ? { esm_class: 0, short_message: Buffer.alloc(0), message_payload: data }
      : { esm_class: 0, short_message: data };
  }
  if (by === 'sar' || by === 'payload') {
    return {
      esm_class: 0,
      short_message: data,
      sar_msg_ref_num: id & 0xffff,
      sar_total_segments: parts,
      sar_segment_seqnum: part,
    };
  }
  return { esm_class: 0x40, short_message: Buffer.concat([concatenationHeader(by, id, parts, part), data]) };
}

/** A relative time of SMPP 3.4 §7.1.1.2: `YYMMDDhhmmss000R`, of days, hours, minutes and seconds. At least a minute. */
export function relativeTime(ms: number): string {
  const seconds = Math.max(60, Math.floor(ms / 1000));
  const two = (n: number): string => String(Math.floor(n)).padStart(2, '0');
  const days = Math.min(99, seconds / 86_400);
  const months = days >= 30 ? 1 : 0;
  const rest = [seconds / 3600, seconds / 60, seconds].map((n, i) => two(n % (i === 0 ? 24 : 60)));
  return `00${two(months)}${two(days - months * 30)}${rest.join('')}000R`;
}

/** What an SMSC delivers: a receipt, or a text or part of one from a phone. */
export type Incoming =
  | { kind: 'receipt'; receipt: Receipt; from: string | null }
  | { kind: 'text'; from: string; to: string; text: string; part: PartOf | null }
  | { kind: 'nothing'; why: string };

/** Which part of which message. */
export interface PartOf {
  reference: number;
  parts: number;
  part: number;
}

/** Masks, because real SMSCs set bits beside those that count (SMPP 3.4 §5.2.12). */
const typeMask = 0x3c;
const receiptType = 0x04;
const intermediateType = 0x20;
const headerBit = 0x40;

/** Reads a delivery. Nothing of it is trusted to be there or to make sense. */
export function readIncoming(delivery: Delivery, alphabet: DefaultAlphabet, country: string): Incoming {
  const { esmClass, dataCoding, data, source } = delivery;
  const from = localOf(source, country);
  const type = esmClass & typeMask;
  if (type === receiptType || type === intermediateType || (delivery.receipted !== '' && delivery.state !== null)) {
    const text = esmClass & headerBit ? readHeader(data).rest : data;
    const receipt = readReceipt({ message: delivery.receipted, state: delivery.state, text, dataCoding });
    return receipt
      ? { kind: 'receipt', receipt, from }
      : { kind: 'nothing', why: 'a receipt without a message or a state' };
  }
  if (type !== 0) return { kind: 'nothing', why: `an acknowledgement of type ${type}` };
  if (from === null) return { kind: 'nothing', why: 'a message without a sender' };
  const { header, rest } = esmClass & headerBit ? readHeader(data) : { header: null, rest: data };
  if (header?.ports) return { kind: 'nothing', why: 'a message for an application' };
  const text = decodeText(rest, dataCoding, alphabet, header ?? undefined);
  if (text === null) return { kind: 'nothing', why: `a message that is no text (data coding ${dataCoding})` };
  const part = header?.concatenation ?? delivery.sar;
  return { kind: 'text', from, to: delivery.destination.address, text, part };
}
