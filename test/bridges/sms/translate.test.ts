// Texts, segments, alphabets, addresses and receipts: tables, and round trips of what is drawn at random.
import assert from 'node:assert/strict';
import { destination, localOf, originator, readNumber } from '../../../src/bridges/sms/addresses.ts';
import { decodeGsm, decodeText, decodeUcs2, encodeGsm, gsmLength } from '../../../src/bridges/sms/alphabet.ts';
import { readReceipt, spellings } from '../../../src/bridges/sms/receipts.ts';
import { type Concatenation, readHeader, segment } from '../../../src/bridges/sms/segments.ts';
import { relativeTime, signed, submitParts, textOf } from '../../../src/bridges/sms/translate.ts';
import { el } from '../../../src/xmpp/element.ts';
import { ns } from '../../../src/xmpp/namespaces.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';
import { Random } from '../../fuzz/random.ts';

describe('the alphabets of short messages', () => {
  it('knows every character of GSM 03.38 and its extension', () => {
    const all = '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0189:;<=>?¡AZÄÖÑÜ§¿azäöñüà\f^{}\\[~]|€';
    assert.equal(decodeGsm(encodeGsm(all)), all);
    assert.equal(gsmLength('a€'), 3);
    assert.equal(gsmLength('ç'), -1);
    assert.equal(encodeGsm('a€').toString('hex'), '611b65');
  });

  const cases: [string, number, string, string | null][] = [
    ['0 in GSM 03.38', 0x00, '00020e', '@$Å'],
    ['1 in ASCII', 0x01, '40', '@'],
    ['3 in Latin-1', 0x03, 'e4f6', 'äö'],
    ['4 as bytes', 0x04, '0102', null],
    ['5 in Shift JIS', 0x05, '93fa967b', '日本'],
    ['6 in ISO 8859-5', 0x06, 'bcd8e0', 'Мир'],
    ['7 in ISO 8859-8', 0x07, 'f9ece5ed', 'שלום'],
    ['8 in UCS-2', 0x08, '00e40416', 'äЖ'],
    ['8 with an emoji', 0x08, 'd83cdf19', '🌙'],
    ['8 with an odd byte', 0x08, '004100', 'A'],
    ['14 in EUC-KR', 0x0e, 'c7d1b1db', '한글'],
    ['0x10 (flash) in GSM 03.38', 0x10, '00', '@'],
    ['0x18 (flash) in UCS-2', 0x18, '0416', 'Ж'],
    ['0x14 as bytes', 0x14, '00', null],
    ['0x48 in UCS-2', 0x48, '0416', 'Ж'],
    ['0xC8 (message waiting) in GSM 03.38', 0xc8, '00', '@'],
    ['0xE0 (message waiting) in UCS-2', 0xe0, '0416', 'Ж'],
    ['0xF0 in GSM 03.38', 0xf0, '00', '@'],
    ['0xF5 as bytes', 0xf5, '00', null],
  ];
  for (const [name, coding, hex, text] of cases) {
    it(`reads data coding ${name}`, () => assert.equal(decodeText(Buffer.from(hex, 'hex'), coding, 'gsm'), text));
  }

  it('reads the national tables', () => {
    const turkish = { single: 1, locking: 1 };
    assert.equal(decodeGsm(Buffer.from('1b4b0b1b671b65'.replace('4b', '47'), 'hex'), turkish), 'ĞĞğ€');
    assert.equal(decodeGsm(Buffer.from('1b091b41', 'hex'), { single: 2, locking: 0 }), 'çÁ');
    assert.equal(decodeGsm(Buffer.from('0b1b7b1b15', 'hex'), { single: 3, locking: 3 }), 'ÔãΩ');
    assert.equal(decodeGsm(Buffer.from('611b', 'hex')), 'a ');
    assert.equal(decodeGsm(Buffer.from('41ff', 'hex'), { single: 13, locking: 13 }), 'A\ufffd');
  });
});

describe('segments', () => {
  const lengths: [string, Concatenation, number, number][] = [
    ['a'.repeat(160), 'udh', 0, 1],
    ['a'.repeat(161), 'udh', 0, 2],
    ['a'.repeat(305), 'udh', 0, 3],
    ['a'.repeat(306), 'udh-8', 0, 2],
    ['€'.repeat(80), 'udh', 0, 1],
    ['€'.repeat(81), 'udh', 0, 2],
    ['Ж'.repeat(70), 'udh', 8, 1],
    ['Ж'.repeat(71), 'udh', 8, 2],
    ['Ж'.repeat(134), 'sar', 8, 2],
    ['Ж'.repeat(1000), 'payload', 8, 1],
    ['', 'udh', 0, 1],
  ];
  for (const [text, by, coding, count] of lengths) {
    it(`cuts ${text.length} of “${text[0] ?? ''}” by ${by} into ${count}`, () => {
      const { dataCoding, parts } = segment(text, by);
      assert.equal(dataCoding, coding);
      assert.equal(parts.length, count);
    });
  }

  it('never cuts what people see as one character, nor an escape from what it escapes', () => {
    const random = new Random(7);
    const pieces = ['a', '€', 'é', 'Ж', '🌙', '👩‍👩‍👧‍👦', '🇩🇪', 'ä\u0308', 'नि', '한', '👍🏽', ' ', '\n', '^'];
    const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
    for (let round = 0; round < 300; round++) {
      const gsm = round % 3 === 0;
      const some = gsm ? ['a', '€', '^', 'ß', ' '] : pieces;
      const text = Array.from({ length: 1 + random.below(400) }, () => some[random.below(some.length)]).join('');
      for (const by of ['udh', 'udh-8', 'sar', 'payload'] as const) {
        const { dataCoding, parts } = segment(text, by);
        const texts = parts.map(part => (dataCoding === 8 ? decodeUcs2(part) : decodeGsm(part)));
        assert.equal(texts.join(''), text);
        const whole = [...graphemes.segment(text)].map(({ segment: one }) => one);
        assert.deepEqual(
          texts.flatMap(one => [...graphemes.segment(one)].map(({ segment: piece }) => piece)),
          whole,
        );
        if (parts.length > 1) {
          const most = dataCoding === 8 ? (by === 'udh' ? 132 : 134) : by === 'udh' ? 152 : 153;
          for (const part of parts) assert.ok(part.length <= most);
        }
      }
    }
  });

  it('cuts a cluster that no segment can hold between its code points', () => {
    const monster = `e${'\u0301'.repeat(500)}`;
    const { parts } = segment(monster, 'udh');
    assert.equal(parts.map(decodeUcs2).join(''), monster);
  });

  it('sends again only what the SMSC does not have', () => {
    const queued = {
      id: 0x12345,
      route: '',
      number: '+15551230000',
      text: 'x'.repeat(400),
      sender: '',
      stanza: '',
      flags: 0,
    };
    const state = { attempts: 1, lost: 1, error: '', done: 'udh/3:2' };
    const common = {
      sender: originator('15550001111'),
      concatenation: 'udh',
      registeredDelivery: 1,
      validity: 3_600_000,
    } as const;
    const parts = submitParts({ ...queued, ...state }, { ...common, takenAt: () => Date.now() });
    assert.deepEqual(
      parts.left.map(({ part }) => part),
      [1, 3],
    );
    assert.equal(parts.doneWith(1), 'udh/3:1,2');
    const header = (parts.left[1].fields.short_message as Buffer).subarray(0, 7);
    assert.equal(header.toString('hex'), '060804234503' + '03');
    const otherwise = submitParts({ ...queued, ...state, done: 'sar/3:2' }, { ...common, takenAt: () => Date.now() });
    assert.equal(otherwise.left.length, 3);
  });
});

describe('user data headers', () => {
  it('reads references of 8 and 16 bits, tables and ports', () => {
    const { header, rest } = readHeader(Buffer.from('0c0003ff02010804123403022401', 'hex').subarray(0, 13));
    assert.equal(header.concatenation?.part, 2);
    assert.equal(rest.length, 0);
    assert.equal(readHeader(Buffer.from('0603010441', 'hex')).header.concatenation, null);
    assert.equal(readHeader(Buffer.from('060504000000ff41', 'hex')).header.ports, true);
    assert.equal(readHeader(Buffer.from('03240101' + '41', 'hex')).header.single, 1);
  });
});

describe('phone numbers', () => {
  const cases: [string, string, string | null][] = [
    ['+1 (555) 123-0000', '', '+15551230000'],
    ['0049 171 1234567', '', '+491711234567'],
    ['+49 (0) 171 1234567', '', '+491711234567'],
    ['0171 1234567', '49', '+491711234567'],
    ['0171 1234567', '', null],
    ['tel:+1-555-123-0000;ext=5', '', '+15551230000'],
    ['+123', '', null],
    ['+1234567890123456', '', null],
    ['call me', '49', null],
    ['+0123456789', '', null],
    ['9'.repeat(1000), '1', null],
  ];
  for (const [text, country, number] of cases) {
    it(`reads ${text.slice(0, 30)}${country && ` in +${country}`}`, () =>
      assert.equal(readNumber(text, country), number));
  }

  it('names who sent a short message', () => {
    assert.equal(localOf({ ton: 1, npi: 1, address: '15551230000' }), '+15551230000');
    assert.equal(localOf({ ton: 0, npi: 1, address: '15551230000' }), '+15551230000');
    assert.equal(localOf({ ton: 2, npi: 1, address: '01711234567' }, '49'), '+491711234567');
    assert.equal(localOf({ ton: 3, npi: 0, address: '12345' }), '12345');
    assert.equal(localOf({ ton: 5, npi: 0, address: 'My Bank & Co' }), 'my\\20bank\\20\\26\\20co');
    assert.equal(localOf({ ton: 5, npi: 0, address: '' }), null);
    assert.equal(localOf({ ton: 5, npi: 0, address: '<a@b/c>' }), '\\3ca\\40b\\2fc\\3e');
    assert.deepEqual(originator('ACME'), { ton: 5, npi: 0, address: 'ACME' });
    assert.deepEqual(destination('+15551230000'), { ton: 1, npi: 1, address: '15551230000' });
  });
});

describe('receipts', () => {
  const text =
    'id:0123456789 sub:001 dlvrd:001 submit date:2607010000 done date:2607010001 stat:UNDELIV err:021 Text:hello';
  it('reads text under any data coding, and UCS-2', () => {
    for (const dataCoding of [0, 1, 3, 8, 0xf4, 4]) {
      const receipt = readReceipt({ message: '', state: null, text: Buffer.from(text), dataCoding });
      assert.deepEqual(receipt, { message: '0123456789', fate: 'failed', state: 'UNDELIV', code: '021' });
    }
    const wide = Buffer.from(text, 'utf16le').swap16();
    assert.equal(readReceipt({ message: '', state: null, text: wide, dataCoding: 8 })?.state, 'UNDELIV');
  });

  it('prefers TLVs', () => {
    const receipt = readReceipt({ message: 'ab', state: 2, text: Buffer.from(text), dataCoding: 0 });
    assert.equal(receipt?.message, 'ab');
    assert.equal(receipt?.fate, 'delivered');
  });

  it('gives up on what says nothing', () => {
    assert.equal(readReceipt({ message: '', state: null, text: Buffer.from('hello'), dataCoding: 0 }), null);
    assert.equal(readReceipt({ message: 'x'.repeat(100), state: 2, text: Buffer.alloc(0), dataCoding: 0 }), null);
  });

  it('spells numbers in all ways', () => {
    assert.ok(spellings('8010').includes('1f4a'));
    assert.ok(spellings('0000008010').includes('1F4A'));
    assert.ok(spellings('1F4A').includes('8010'));
    assert.ok(spellings('x'.repeat(64)).length < 5);
  });
});

describe('what a stanza says', () => {
  const message = (type: string, ...children: [string, string][]) =>
    Stanza.of('message', { type }, ...children.map(([name, text]) => el(name, ns.client, {}, text)));
  it('is its body, with the subject of a headline', () => {
    assert.equal(textOf(message('chat', ['subject', 's'], ['body', 'b\r\nc\td'])), 'b\nc d');
    assert.equal(textOf(message('headline', ['subject', 's'], ['body', 'b'])), 's\nb');
    assert.equal(textOf(message('headline', ['subject', 's'])), 's');
    assert.equal(textOf(message('chat')), '');
    assert.equal(textOf(message('chat', ['body', 'e\u0301\u0085\u200b'])), 'é\u200b');
  });

  it('is signed by a bounded name of one line', () => {
    assert.equal(signed('hi', '{name}: ', 'Romeo'), 'Romeo: hi');
    assert.equal(signed('hi', '{name}: ', 'A\nBank: '), 'A Bank:: hi');
    assert.equal(signed('hi', '{name}> ', `$&${'x'.repeat(90)}`), `$&${'x'.repeat(38)}> hi`);
  });

  it('is kept for a time that SMPP can say', () => {
    assert.equal(relativeTime(48 * 3_600_000), '000002000000000R');
    assert.equal(relativeTime(90_000), '000000000130000R');
    assert.equal(relativeTime(-5), '000000000100000R');
    assert.equal(relativeTime(33 * 86_400_000), '000103000000000R');
  });
});
