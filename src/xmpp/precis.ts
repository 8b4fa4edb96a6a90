// Preparation of internationalised strings: the PRECIS classes (RFC 8264), and the profiles for names and passwords (RFC 8265).
import { arabicNumber, europeanNumber, joinsLeft, joinsRight, neutral, rightToLeft, virama } from './unicode.ts';

/** What a class says about a code point (RFC 8264 §8); `contextual` is PVALID where its rule in RFC 5892 holds. */
type Verdict = 'valid' | 'freeform' | 'contextual' | 'disallowed';

const exceptionsValid = /[\u00df\u03c2\u06fd\u06fe\u0f0b\u3007]/u;
const exceptionsContextual = /[\u00b7\u0375\u05f3\u05f4\u30fb\u0660-\u0669\u06f0-\u06f9]/u;
const exceptionsDisallowed = /[\u0640\u07fa\u302e\u302f\u3031-\u3035\u303b]/u;
const noncharacter = /\p{Noncharacter_Code_Point}/u;
const unassigned = /\p{Cn}/u;
const joinControl = /\p{Join_Control}/u;
const oldHangulJamo = /[\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7c6\ud7cb-\ud7fb]/u;
const ignorable = /[\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\p{Cc}]/u;
const letterDigit = /[\p{Ll}\p{Lu}\p{Lo}\p{Nd}\p{Lm}\p{Mn}\p{Mc}]/u;
const onlyFreeform = /[\p{Lt}\p{Nl}\p{No}\p{Me}\p{Zs}\p{S}\p{P}]/u;

/** The derived property of one character (RFC 8264 §8), in the order that section gives. */
function derive(character: string): Verdict {
  if (exceptionsValid.test(character)) return 'valid';
  if (exceptionsContextual.test(character)) return 'contextual';
  if (exceptionsDisallowed.test(character)) return 'disallowed';
  if (unassigned.test(character) && !noncharacter.test(character)) return 'disallowed';
  if (character >= '!' && character <= '~') return 'valid';
  if (joinControl.test(character)) return 'contextual';
  if (oldHangulJamo.test(character) || ignorable.test(character)) return 'disallowed';
  if (character.normalize('NFKC') !== character) return 'freeform';
  if (letterDigit.test(character)) return 'valid';
  return onlyFreeform.test(character) ? 'freeform' : 'disallowed';
}

// The verdicts on the characters of the basic plane, as they are asked for; 0 is not yet known.
const verdicts: readonly Verdict[] = ['valid', 'freeform', 'contextual', 'disallowed'];
const known = new Uint8Array(0x10000);

function verdictOn(character: string): Verdict {
  if (character.length > 1) return derive(character);
  const code = character.charCodeAt(0);
  if (known[code] === 0) known[code] = verdicts.indexOf(derive(character)) + 1;
  return verdicts[known[code] - 1];
}

/** Checks that a string conforms to the IdentifierClass or to the FreeformClass. Throws an Error that names the culprit. */
function conform(text: string, freeform: boolean): void {
  const characters = [...text];
  const company: Company = {
    japanese: /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/u.test(text),
    arabicDigits: /[\u0660-\u0669]/.test(text),
    extendedArabicDigits: /[\u06f0-\u06f9]/.test(text),
  };
  for (let i = 0; i < characters.length; i++) {
    const verdict = verdictOn(characters[i]);
    if (verdict === 'valid' || (verdict === 'freeform' && freeform)) continue;
    if (verdict === 'contextual' && contextHolds(characters, i, company)) continue;
    throw new Error(`${name(characters[i])} is not allowed${verdict === 'contextual' ? ' there' : ''}`);
  }
}

function name(character: string): string {
  return `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
}

/** What rules ask about the whole string. */
interface Company {
  japanese: boolean;
  arabicDigits: boolean;
  extendedArabicDigits: boolean;
}

/** The contextual rules of RFC 5892 appendix A. */
function contextHolds(characters: readonly string[], at: number, company: Company): boolean {
  const before = characters[at - 1] ?? '';
  const after = characters[at + 1] ?? '';
  switch (characters[at]) {
    case '\u200c':
      return virama.test(before) || joins(characters, at);
    case '\u200d':
      return virama.test(before);
    case '\u00b7':
      return before === 'l' && after === 'l';
    case '\u0375':
      return /\p{Script=Greek}/u.test(after);
    case '\u05f3':
    case '\u05f4':
      return /\p{Script=Hebrew}/u.test(before);
    case '\u30fb':
      return company.japanese;
    default:
      return !(company.arabicDigits && company.extendedArabicDigits);
  }
}

/** Whether a zero-width non-joiner stands between letters that would join (RFC 5892 appendix A.1). */
function joins(characters: readonly string[], at: number): boolean {
  const transparent = /(?![\u200c\u200d])[\p{Mn}\p{Me}\p{Cf}]/u;
  let left = at - 1;
  while (left >= 0 && transparent.test(characters[left])) left--;
  let right = at + 1;
  while (right < characters.length && transparent.test(characters[right])) right++;
  return joinsLeft.test(characters[left] ?? '') && joinsRight.test(characters[right] ?? '');
}

type Direction = 'L' | 'R' | 'AN' | 'EN' | 'NSM' | 'neutral';

function direction(character: string): Direction {
  if (rightToLeft.test(character)) return 'R';
  if (arabicNumber.test(character)) return 'AN';
  if (europeanNumber.test(character)) return 'EN';
  if (/[\p{Mn}\p{Me}]/u.test(character)) return 'NSM';
  return neutral.test(character) || /[\p{P}\p{S}\p{Z}\p{C}]/u.test(character) ? 'neutral' : 'L';
}

/** The Bidi Rule of RFC 5893 §2, which holds for strings that have characters written from right to left. */
function obeysBidiRule(text: string): boolean {
  const directions = Array.from(text, direction);
  if (!directions.includes('R') && !directions.includes('AN')) return true;
  const last = directions.findLast(one => one !== 'NSM');
  if (directions[0] === 'R') {
    if (directions.includes('L') || (directions.includes('EN') && directions.includes('AN'))) return false;
    return last === 'R' || last === 'EN' || last === 'AN';
  }
  return false;
}

/** Halfwidth and fullwidth forms become what they are forms of (RFC 8265 §3.3.2, width mapping). */
function mapWidth(text: string): string {
  return text.replace(/[\u3000\uff01-\uffee]/g, form => form.normalize('NFKC'));
}

/** A name as it is compared: the profile UsernameCaseMapped (RFC 8265 §3.3). Throws an Error where it is not one. */
export function usernameCaseMapped(text: string): string {
  const narrow = mapWidth(text);
  conform(narrow, false);
  const mapped = narrow.toLowerCase().normalize('NFC');
  if (mapped === '') throw new Error('it is empty');
  if (mapped !== narrow) conform(mapped, false);
  if (!obeysBidiRule(mapped)) throw new Error('it mixes directions of writing');
  return mapped;
}

/** A password or resource as it is compared: the profile OpaqueString (RFC 8265 §4.2). Throws an Error where it is not one. */
export function opaqueString(text: string): string {
  conform(text, true);
  const mapped = text.replace(/\p{Zs}/gu, ' ').normalize('NFC');
  if (mapped !== text) conform(mapped, true);
  if (mapped === '') throw new Error('it is empty');
  return mapped;
}

const mappedToNothing = /\u034f|\u200d|[\u180b-\u180d]|[\ufe00-\ufe0f]|[\u00ad\u1806\u200c\u2060\ufeff]/g;
const mappedToSpace = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g;
const prohibited =
  /\u0340|\u0341|[\p{Cc}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}\u06dd\u070f\u180e\u200e\u200f\u2028-\u202e\u2061-\u2063\u206a-\u206f\u2ff0-\u2ffb\ufff9-\ufffd\u{1d173}-\u{1d17a}\u{e0001}\u{e0020}-\u{e007f}]/u;

/** A password for SCRAM and PLAIN as RFC 4013 prepares it. Throws an Error where it is prohibited or empty. */
export function saslPrep(text: string): string {
  if (/^[ -~]+$/.test(text)) return text;
  const mapped = text.replace(mappedToSpace, ' ').replace(mappedToNothing, '').normalize('NFKC');
  if (mapped === '') throw new Error('it is empty');
  const bad = prohibited.exec(mapped);
  if (bad) throw new Error(`${name(bad[0])} is not allowed`);
  const directions = Array.from(mapped, direction);
  if (directions.includes('R') && (directions.includes('L') || directions[0] !== 'R' || directions.at(-1) !== 'R')) {
    throw new Error('it mixes directions of writing');
  }
  return mapped;
}

/** Whether a label, in lower case and not of ASCII alone, is a U-label (RFC 5891 §4.2): its characters and where they stand. */
export function isIdentifierLabel(label: string): boolean {
  if (/^-|-$|^..--|^\p{M}/u.test(label) || /[\0-,./:-`{-\x7f]/.test(label) || label !== label.normalize('NFC'))
    return false;
  try {
    conform(label, false);
  } catch {
    return false;
  }
  return obeysBidiRule(label);
}
