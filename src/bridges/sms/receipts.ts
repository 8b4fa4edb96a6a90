// Delivery receipts: in TLVs or in text, with the message's number written in any of the ways that SMSCs write it.
import { decodeText } from './alphabet.ts';

/** What became of a message. `pending`: nothing final yet. */
export type Fate = 'delivered' | 'failed' | 'pending';

export interface Receipt {
  /** The number that the SMSC gave the message, as it stands in the receipt. */
  readonly message: string;
  readonly fate: Fate;
  /** The state in the SMSC's word: `UNDELIV`. */
  readonly state: string;
  /** The network's error code, '' where there is none. */
  readonly code: string;
}

/** SMPP 3.4 §5.2.28. */
const states = ['', 'ENROUTE', 'DELIVRD', 'EXPIRED', 'DELETED', 'UNDELIV', 'ACCEPTD', 'UNKNOWN', 'REJECTD', 'SKIPPED'];

const words: Readonly<Record<string, string>> = {
  EXPIRED: 'it was not delivered in time',
  DELETED: 'the SMS centre deleted it',
  UNDELIV: 'it cannot be delivered',
  UNKNOWN: 'the SMS centre does not know what became of it',
  REJECTD: 'the SMS centre rejected it',
  SKIPPED: 'the SMS centre skipped it',
};

/** Why a message failed, in words for its sender. */
export function explain({ state, code }: Receipt): string {
  const why = words[state] ?? `the SMS centre says ${state}`;
  return code === '' || /^0+$/.test(code) ? why : `${why} (error ${code})`;
}

function fateOf(state: string): Fate {
  if (state === 'DELIVRD') return 'delivered';
  return state === 'ENROUTE' || state === 'ACCEPTD' || state === 'SCHEDULED' ? 'pending' : 'failed';
}

export interface ReceiptFields {
  /** The TLV receipted_message_id, '' where absent. */
  message: string;
  /** The TLV message_state, or null. */
  state: number | null;
  text: Uint8Array;
  dataCoding: number;
}

/** Reads a receipt; null where it says neither of which message nor what became of it. */
export function readReceipt(fields: ReceiptFields): Receipt | null {
  const text = receiptText(fields);
  const message = fields.message || field(text, 'id');
  const stated = fields.state !== null ? states[fields.state] : undefined;
  const state = (stated || field(text, 'stat')).toUpperCase().slice(0, 16);
  if (message === '' || message.length > 64 || state === '') return null;
  return { message, fate: fateOf(known(state)), state: known(state), code: field(text, 'err') };
}

/** COMPAT(SMSCs): some spell a state out, or otherwise. */
function known(state: string): string {
  if (state === 'DELIVERED' || state === 'DELIVERD' || state === 'DELIVRD') return 'DELIVRD';
  if (state.startsWith('UNDELIV')) return 'UNDELIV';
  if (state.startsWith('REJECT')) return 'REJECTD';
  if (state.startsWith('ACCEPT')) return 'ACCEPTD';
  return state;
}

/** COMPAT(SMSCs): receipts in ASCII are flagged with any data coding, UCS-2 among them. */
function receiptText({ text, dataCoding }: ReceiptFields): string {
  const ascii = Buffer.from(text).toString('latin1');
  if (/\b(?:id|stat):/i.test(ascii)) return ascii;
  return decodeText(text, dataCoding, 'gsm') ?? ascii;
}

function field(text: string, name: string): string {
  return new RegExp(`(?:^|\\s)${name}:\\s*(\\S{1,64})`, 'i').exec(text)?.[1] ?? '';
}

/**
 * The ways in which a submit_sm_resp may have written the number of a receipt, the likeliest first: as it stands, without leading zeros, and hexadecimal
 * for decimal or the other way round.
 */
export function spellings(message: string): string[] {
  const found = new Set([message, message.toLowerCase(), message.toUpperCase()]);
  const bare = message.replace(/^0+(?=.)/, '');
  found.add(bare);
  if (bare.length <= 20 && /^\d+$/.test(bare)) {
    const hex = BigInt(bare).toString(16);
    for (const form of [hex, hex.toUpperCase(), hex.padStart(8, '0'), hex.toUpperCase().padStart(8, '0')])
      found.add(form);
    for (const width of [10, 20]) found.add(bare.padStart(width, '0'));
  }
  if (bare.length <= 16 && /^[0-9a-f]+$/i.test(bare)) {
    const decimal = BigInt(`0x${bare}`).toString();
    found.add(decimal);
    found.add(decimal.padStart(10, '0'));
    for (const form of [bare.toLowerCase().padStart(8, '0'), bare.toUpperCase().padStart(8, '0')]) found.add(form);
  }
  return [...found];
}
