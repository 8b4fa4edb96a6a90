// Checks of addresses made of difficult characters: preparing twice changes nothing, and nothing but an error of ours is thrown.
import assert from 'node:assert/strict';
import { StanzaError } from '../../src/xmpp/errors.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { Random } from './random.ts';
import type { Budget, FuzzResult } from './scanner.ts';

const pieces = [
  'a',
  'B',
  'romeo',
  '@',
  '/',
  '.',
  '-',
  '--',
  'xn--',
  'xn--bcher-kva',
  'example',
  ' ',
  '"',
  '&',
  "'",
  ':',
  '<',
  '>',
  '\\20',
  'é',
  'É',
  'e\u0301',
  'ß',
  'Σ',
  'ς',
  'İ',
  'ı',
  'ﬁ',
  'Ａ',
  '\u3000',
  '\u00a0',
  'ℵ',
  'א',
  'ب',
  '\u0661',
  '\u06f1',
  '1',
  '\u0301',
  '\u00b7',
  'l\u00b7l',
  '\u0375',
  '\u05f3',
  '\u30fb',
  '日',
  '\u200c',
  '\u200d',
  'क्',
  '\u1100',
  '\uac00',
  '\u0378',
  '\ud800',
  '\udc00',
  '\u{1f600}',
  '\ufe0f',
  '\u0000',
  '\u007f',
  '[',
  '::1',
  ']',
  '127.0.0.1',
  '_',
  '。',
  'x'.repeat(300),
];

/** Runs cases from a seed; throws where one fails. */
export function fuzzAddresses(budget: Budget, seed: number): FuzzResult {
  const verdicts: Record<string, number> = { address: 0, malformed: 0 };
  const end = 'seconds' in budget ? performance.now() + budget.seconds * 1000 : Number.POSITIVE_INFINITY;
  const most = 'cases' in budget ? budget.cases : Number.POSITIVE_INFINITY;
  let cases = 0;
  for (; cases < most && performance.now() < end; cases++) verdicts[runCase(seed + cases)]++;
  return { cases, verdicts };
}

function runCase(seed: number): 'address' | 'malformed' {
  const random = new Random(seed);
  let text = '';
  for (let count = 1 + random.below(8); count > 0; count--) text += random.pick(pieces);
  let jid: Jid;
  try {
    jid = Jid.parse(text);
  } catch (error) {
    assert.ok(
      error instanceof StanzaError && error.condition === 'jid-malformed',
      `case ${seed}: ${JSON.stringify(text)}: ${error}`,
    );
    return 'malformed';
  }
  const what = `case ${seed}: ${JSON.stringify(text)} → ${JSON.stringify(String(jid))}`;
  const again = Jid.tryParse(String(jid));
  assert.ok(again, `${what} is not an address itself`);
  assert.equal(String(again), String(jid), what);
  assert.ok(jid.equals(again), what);
  assert.equal(String(jid.bare.withResource(jid.resource)), String(jid), what);
  assert.ok(String(jid).isWellFormed(), what);
  for (const part of [jid.local, jid.domain, jid.resource]) assert.ok(Buffer.byteLength(part) <= 1023, what);
  return 'address';
}
