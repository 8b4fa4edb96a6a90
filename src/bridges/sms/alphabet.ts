// The alphabets of short messages: GSM 03.38 with its extension and national tables, and what each data coding means.

const basic =
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà';
const portuguese =
  '@£$¥êéúíóç\nÔô\rÁáΔ_ªÇÀ∞^\\€Ó|\x1bÂâÊÉ !"#º%&\'()*+,-./0123456789:;<=>?ÍABCDEFGHIJKLMNOPQRSTUVWXYZÃÕÚÜ§~abcdefghijklmnopqrstuvwxyzãõ`üà';
const escapeSeptet = 0x1b;

type Table = ReadonlyMap<number, string>;

const extension: Table = new Map([
  [0x0a, '\f'],
  [0x14, '^'],
  [0x28, '{'],
  [0x29, '}'],
  [0x2f, '\\'],
  [0x3c, '['],
  [0x3d, '~'],
  [0x3e, ']'],
  [0x40, '|'],
  [0x65, '€'],
]);

/** Characters at the places of other characters: `Ğ` where `G` stands. */
function at(places: string, characters: string): [number, string][] {
  return [...characters].map((character, i) => [places.charCodeAt(i), character]);
}

/** National single shift tables (3GPP TS 23.038 §6.2.1.2): what follows an escape. */
const singleShift: Readonly<Record<number, Table>> = {
  1: new Map([...extension, ...at('GIScgis', 'ĞİŞçğış')]),
  2: new Map([...extension, ...at('\tAIOUaiou', 'çÁÍÓÚáíóú')]),
  3: new Map([
    ...extension,
    ...at('\x05\t\x0b\x0c\x0e\x0f\x12\x13\x15\x16\x17\x18\x19\x1f', 'êçÔôÁáΦΓΩΠΨΣΘÊ'),
    ...at('AIOU[\\aiou{|\x7f', 'ÀÍÓÚÃÕÂíóúãõâ'),
  ]),
};

/** National locking shift tables (§6.2.1.3): what takes the place of the default alphabet. */
const lockingShift: Readonly<Record<number, readonly string[]>> = {
  1: replaced([...basic], { 4: '€', 7: 'ı', 11: 'Ğ', 12: 'ğ', 28: 'Ş', 29: 'ş', 64: 'İ', 96: 'ç' }),
  3: [...portuguese],
};

function replaced(table: string[], changes: Readonly<Record<number, string>>): string[] {
  for (const [place, character] of Object.entries(changes)) table[Number(place)] = character;
  return table;
}

const standard = [...basic];

/** Character → its one or two septets. */
const septets: ReadonlyMap<string, readonly number[]> = new Map([
  ...standard
    .map((character, i): [string, readonly number[]] => [character, [i]])
    .filter(([, [i]]) => i !== escapeSeptet),
  ...[...extension].map(([place, character]): [string, readonly number[]] => [character, [escapeSeptet, place]]),
]);

/** How many septets a text takes in GSM 03.38, or -1 where it holds a character that is not in it. */
export function gsmLength(text: string): number {
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const character = septets.get(text[i]);
    if (!character) return -1;
    length += character.length;
  }
  return length;
}

/** A text as septets, one in each byte, as SMPP carries them. Characters that are not in GSM 03.38 become `?`. */
export function encodeGsm(text: string): Buffer {
  const bytes: number[] = [];
  for (let i = 0; i < text.length; i++) bytes.push(...(septets.get(text[i]) ?? [0x3f]));
  return Buffer.from(bytes);
}

/** The national tables that a user data header names: 1 Turkish, 2 Spanish, 3 Portuguese; 0 none. */
export interface Shifts {
  single: number;
  locking: number;
}

/** Reads septets, one in each byte. Tables that are not known count as none; an unknown extension as the plain character. */
export function decodeGsm(bytes: Uint8Array, shifts: Shifts = { single: 0, locking: 0 }): string {
  const table = lockingShift[shifts.locking] ?? standard;
  const extended = singleShift[shifts.single] ?? extension;
  let text = '';
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === escapeSeptet) {
      // An escape at the end stands for a space (§6.2.1).
      if (++i >= bytes.length) return `${text} `;
      text += extended.get(bytes[i]) ?? table[bytes[i] & 0x7f];
    } else text += byte < 0x80 ? table[byte] : '\ufffd';
  }
  return text;
}

/** A text in UCS-2 (UTF-16, so that emoji survive), big-endian. */
export function encodeUcs2(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16();
}

/** May begin or end with half of a character, where the phone cut it between two parts. */
export function decodeUcs2(bytes: Uint8Array): string {
  const even = Buffer.from(bytes.subarray(0, bytes.length & ~1));
  const text = even.swap16().toString('utf16le');
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

/** What data coding 0 means to an SMSC. */
export type DefaultAlphabet = 'gsm' | 'latin1';

type Coding = 'default' | 'gsm' | 'ascii' | 'ucs2' | 'binary' | 'latin1' | string;

/** SMPP 3.4 §5.2.19: below 16 a list of its own; above, the coding groups of GSM 03.38 (3GPP TS 23.038 §4). */
function codingOf(dataCoding: number): Coding {
  if (dataCoding < 0x10) return listed[dataCoding] ?? 'binary';
  const group = dataCoding >> 4;
  if (group < 0x8) return ['gsm', 'binary', 'ucs2', 'binary'][(dataCoding >> 2) & 3];
  if (group === 0xf) return dataCoding & 4 ? 'binary' : 'gsm';
  if (group === 0xe) return 'ucs2';
  return group >= 0xc ? 'gsm' : 'binary';
}

/** By data coding; what is neither ours nor binary is a label of the Encoding Standard. */
const listed: Readonly<Record<number, Coding>> = {
  0: 'default',
  1: 'ascii',
  3: 'latin1',
  5: 'shift_jis',
  6: 'iso-8859-5',
  7: 'iso-8859-8',
  8: 'ucs2',
  10: 'iso-2022-jp',
  13: 'euc-jp',
  14: 'euc-kr',
};

/** The text of a short message, or null where its data coding says that it is no text. */
export function decodeText(
  bytes: Uint8Array,
  dataCoding: number,
  alphabet: DefaultAlphabet,
  shifts?: Shifts,
): string | null {
  const coding = codingOf(dataCoding);
  switch (coding) {
    case 'binary':
      return null;
    case 'ucs2':
      return decodeUcs2(bytes);
    case 'gsm':
      return decodeGsm(bytes, shifts);
    case 'default':
      return alphabet === 'gsm' ? decodeGsm(bytes, shifts) : Buffer.from(bytes).toString('latin1');
    case 'ascii':
    case 'latin1':
      return Buffer.from(bytes).toString('latin1');
    default:
      return new TextDecoder(coding).decode(bytes);
  }
}
