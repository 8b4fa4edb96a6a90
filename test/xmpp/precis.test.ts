// Names and passwords: the examples of RFC 8265, the rules of RFC 5892 and RFC 5893, and those of RFC 4013.
import assert from 'node:assert/strict';
import { isIdentifierLabel, opaqueString, saslPrep, usernameCaseMapped } from '../../src/xmpp/precis.ts';

function table(prepare: (text: string) => string, taken: [string, string][], refused: string[]): void {
  for (const [text, prepared] of taken) {
    it(`takes ${JSON.stringify(text)}`, () => {
      assert.equal(prepare(text), prepared);
      assert.equal(prepare(prepared), prepared);
    });
  }
  for (const text of refused) it(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => prepare(text), Error));
}

describe('UsernameCaseMapped', () => {
  table(
    usernameCaseMapped,
    [
      // RFC 8265 §3.5
      ['juliet@example.com', 'juliet@example.com'],
      ['fussball', 'fussball'],
      ['fu\u00dfball', 'fußball'],
      ['\u03c0', 'π'],
      ['\u03a3', 'σ'],
      ['\u03c3', 'σ'],
      ['\u03c2', 'ς'],
      // width, case and composition
      ['ＪＵＬＩＥＴ', 'juliet'],
      ['ｶﾞ', 'ガ'],
      ['A\u030a', 'å'],
      // contexts
      ['l\u00b7l', 'l·l'],
      ['\u0375α', '͵α'],
      ['א\u05f3', 'א׳'],
      ['ア\u30fbイ', 'ア・イ'],
      ['ب\u0661', 'ب١'],
      ['ب\u06f1', 'ب۱'],
      ['क\u094d\u200d', 'क्\u200d'],
      ['क\u094d\u200cष', 'क्\u200cष'],
      ['می\u200cخواهم', 'می\u200cخواهم'],
      // directions
      ['ab1', 'ab1'],
      ['\u05d0\u05d11', 'אב1'],
      ['\u05d0\u05b0', 'אְ'],
    ],
    [
      '',
      'foo bar',
      '\u2163',
      '\u265a',
      '\u01c5\u2126',
      'a\u0640',
      '\u1100',
      'a\u00ad',
      '\u0378',
      'a\u00b7b',
      '\u0375a',
      'a\u05f3',
      'a\u30fbb',
      'ب\u0661\u06f1',
      'a\u200d',
      'a\u200cb',
      '\u05d0a',
      'a\u05d0',
      '\u0661ب',
      '1\u05d0',
      'ب1\u0661',
      '\u05d0-',
      '\ud800',
      '\ufdd0',
      '\u{e0001}',
    ],
  );
});

describe('OpaqueString', () => {
  table(
    opaqueString,
    [
      // RFC 8265 §4.3
      ['correct horse battery staple', 'correct horse battery staple'],
      ['Correct Horse Battery Staple', 'Correct Horse Battery Staple'],
      ['\u03c0\u00df\u00e5', 'πßå'],
      ['Jack of \u2666s', 'Jack of ♦s'],
      ['foo\u1680bar', 'foo bar'],
      ['\u2163', 'Ⅳ'],
      ['ﬁ', 'ﬁ'],
      ['A\u030a', 'Å'],
    ],
    ['', 'my cat is a \u0009by', 'a\u0000', 'a\u007f', 'x\u200b', '\u0378', '\udc00', 'l \u00b7 l'],
  );
});

describe('SASLprep', () => {
  table(
    saslPrep,
    [
      // RFC 4013 §3
      ['I\u00adX', 'IX'],
      ['user', 'user'],
      ['USER', 'USER'],
      ['\u00aa', 'a'],
      ['\u2168', 'IX'],
      ['a\u00a0b', 'a b'],
      ['\u0627b\u0628'.replace('b', ''), 'اب'],
    ],
    ['\u0007', '\u0627\u0031', '', '\u00ad', 'a\u0627', '\ue000', '\u200e', '\ufffd', '\ud800'],
  );
});

describe('labels of domain names', () => {
  const cases: [string, boolean][] = [
    ['bücher', true],
    ['例え', true],
    ['אב', true],
    ['l·l', true],
    ['a·b', false],
    ['-é', false],
    ['é-', false],
    ['ab--é', false],
    ['\u0301e', false],
    ['e\u0301', false],
    ['é_', false],
    ['☃', false],
    ['אa', false],
  ];
  for (const [label, is] of cases) it(`${label}: ${is}`, () => assert.equal(isIdentifierLabel(label), is));
});
