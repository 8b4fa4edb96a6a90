// Phone numbers: what people type, what directories hold and what SMPP carries, and the addresses that stand for them.
import { Jid } from '../../xmpp/jid.ts';

/** An address as SMPP has it: type of number, numbering plan, digits or letters (SMPP 3.4 §5.2.5, §5.2.6). */
export interface SmppAddress {
  ton: number;
  npi: number;
  address: string;
}

/** What a valid number looks like, in words for a person who typed another. */
export const validNumber = 'a number is written +, country code, number, 7 to 15 digits: +15551230000';

const international = /^\+[1-9]\d{6,14}$/;

/** A number in the form +15551230000, or null. */
export function parseNumber(text: string): string | null {
  return international.test(text) ? text : null;
}

/**
 * A number as people write it: with spaces, dots, hyphens, brackets, a leading 00, or national with one leading 0 where the
 * country code is known. Null where it cannot be told.
 */
export function readNumber(text: string, country = ''): string | null {
  if (text.length > 64) return null;
  // A zero in brackets is the national prefix, which nobody dials from abroad.
  const plain = text
    .replace(/^tel:/i, '')
    .replace(/;.*$/, '')
    .replace(/\(0\)/, '')
    .replace(/[\s.\-()/\u2010-\u2015\u00a0]/g, '');
  if (plain.startsWith('+')) return parseNumber(plain);
  if (plain.startsWith('00')) return parseNumber(`+${plain.slice(2)}`);
  if (country === '' || !/^\d+$/.test(plain)) return null;
  return parseNumber(`+${country}${plain.replace(/^0/, '')}`);
}

/** The number that stands before the @, or null. */
export function numberOf(address: Jid): string | null {
  return parseNumber(address.local);
}

/** A number as the destination of a short message. */
export function destination(number: string): SmppAddress {
  return { ton: 1, npi: 1, address: number.slice(1) };
}

/** The originating address of the configuration: an international number, a short code, or a name of at most 11 characters. */
export function originator(sender: string): SmppAddress {
  if (/^\+?[1-9]\d{6,14}$/.test(sender)) return { ton: 1, npi: 1, address: sender.replace('+', '') };
  if (/^\d{3,8}$/.test(sender)) return { ton: 3, npi: 0, address: sender };
  return { ton: 5, npi: 0, address: sender };
}

/** Whether the configured originating address can be carried. */
export function isOriginator(sender: string): boolean {
  return /^\+?\d{3,15}$/.test(sender) || /^[A-Za-z0-9 ._&-]{1,11}$/.test(sender);
}

/**
 * What stands before the @ for the sender of a short message: +15551230000 where it is a number, the digits of a
 * short code, or a name with what addresses cannot hold escaped (XEP-0106). Null where there is nothing to go by.
 */
export function localOf({ ton, address }: SmppAddress, country = ''): string | null {
  const digits = /^\+?\d+$/.test(address);
  if (!digits || ton === 5) return address === '' ? null : escapedName(address);
  if (address.startsWith('+')) return parseNumber(address) ?? address.slice(1);
  if (ton === 1) return parseNumber(`+${address}`) ?? address;
  if (address.length < 7 || ton === 3 || ton === 6) return address;
  // COMPAT(SMSCs): with the type "unknown" most send the whole international number.
  if (ton === 0 && !address.startsWith('0')) return parseNumber(`+${address}`) ?? address;
  return readNumber(address, country) ?? address;
}

function escapedName(name: string): string | null {
  const escaped = name
    .slice(0, 64)
    .trim()
    .replace(/[ "&'/:<>@\\]/g, character => `\\${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return Jid.tryParse(`${escaped}@sms.invalid`)?.local || null;
}

/** Whether a number begins with one of the prefixes; the length of the longest that fits, or -1. 0 for an empty list. */
export function prefixLength(number: string, prefixes: readonly string[]): number {
  if (prefixes.length === 0) return 0;
  let longest = -1;
  for (const prefix of prefixes) if (number.startsWith(prefix)) longest = Math.max(longest, prefix.length);
  return longest;
}
