// Checks of SIP messages, mostly torture messages cut up and glued together: what the parser lets pass can be written and reads the same.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { SipSyntaxError } from '../../src/bridges/sip/engine.ts';
import { parseNameAddr, parseVia, splitList } from '../../src/bridges/sip/fields.ts';
import { type Message, responseHeaders, writeRequest, writeResponse } from '../../src/bridges/sip/message.ts';
import { parseDatagram, StreamParser } from '../../src/bridges/sip/parser.ts';
import { escapeUser, parseUri, unescapeUser } from '../../src/bridges/sip/uri.ts';
import { Random } from './random.ts';
import type { Budget, FuzzResult } from './scanner.ts';

const folder = new URL('../../fixtures/sip/torture/', import.meta.url);
const seeds = readdirSync(folder).map(name => readFileSync(new URL(name, folder)));
const lines = seeds.flatMap(seed => seed.toString('latin1').split('\r\n\r\n')[0].split('\r\n'));

const pieces = [
  '\r\n',
  '\r',
  '\n',
  '\0',
  '\t',
  ' ',
  ':',
  ';',
  ',',
  '<',
  '>',
  '"',
  '\\',
  '\\"',
  '@',
  '%',
  '%00',
  '%0d%0a',
  '%ff',
  '?',
  '=',
  '&',
  '[',
  ']',
  '[::1]',
  '*',
  'SIP/2.0',
  'SIP/2.0 200 OK\r\n',
  'sip:',
  'sips:',
  'tel:+1',
  'im:',
  ';tag=x',
  ';branch=z9hG4bK',
  ';rport',
  ';lr',
  'Via: ',
  'v:',
  'l: ',
  '0',
  '-1',
  '99999999999',
  'é',
  '\xff',
  '\xc3',
  '\u2028',
  'x'.repeat(300),
];

/** Runs cases from a seed; throws where one fails. */
export function fuzzSip(budget: Budget, seed: number): FuzzResult {
  const verdicts: Record<string, number> = { read: 0, answered: 0, dropped: 0 };
  const end = 'seconds' in budget ? performance.now() + budget.seconds * 1000 : Number.POSITIVE_INFINITY;
  const most = 'cases' in budget ? budget.cases : Number.POSITIVE_INFINITY;
  let cases = 0;
  for (; cases < most && performance.now() < end; cases++) {
    const random = new Random(seed + cases);
    const bytes = generate(random);
    try {
      verdicts[check(bytes)]++;
      checkPortions(bytes, random);
      checkPieces(random);
    } catch (error) {
      throw new Error(`case ${seed + cases}: ${JSON.stringify(bytes.toString('latin1'))}: ${(error as Error).stack}`);
    }
  }
  return { cases, verdicts };
}

function generate(random: Random): Buffer {
  let text = random.pick(seeds).toString('latin1');
  for (let times = random.below(4); times > 0; times--) {
    const at = random.below(text.length + 1);
    const until = random.chance(50) ? at : Math.min(text.length, at + random.below(20));
    const piece = random.chance(30) ? `\r\n${random.pick(lines)}` : random.pick(pieces);
    text = text.slice(0, at) + piece + text.slice(until);
  }
  return Buffer.from(text, 'latin1');
}

function read(bytes: Buffer): Message | null {
  try {
    return parseDatagram(bytes);
  } catch (error) {
    assert.ok(error instanceof SipSyntaxError, String(error));
    return null;
  }
}

function check(bytes: Buffer): 'read' | 'answered' | 'dropped' {
  const message = read(bytes);
  if (!message) return 'dropped';
  if (message.isRequest) {
    const answer = read(writeResponse(400, 'Bad Request', responseHeaders(message, 'tag')));
    // What had a fault may still have it in the answer; else the answer is as good as the request was.
    assert.ok(answer || message.fault, 'the answer cannot be read');
    if (answer) assert.deepEqual([answer.branch, answer.vias.length], [message.branch, message.vias.length]);
  }
  if (message.fault) return 'answered';
  const headers = message.headers.filter(([name]) => name !== 'content-length');
  const again = read(
    message.isRequest
      ? writeRequest(message.method, message.uriText, headers, message.body)
      : writeResponse(message.status, message.reason, headers, message.body),
  );
  assert.ok(again && !again.fault, 'what was read cannot be read again');
  const essence = (one: Message) => [
    one.method,
    one.uriText,
    one.status,
    one.vias,
    one.from,
    one.to,
    one.callId,
    one.cseq,
    one.cseqMethod,
  ];
  assert.deepEqual(essence(again), essence(message));
  assert.deepEqual(Buffer.from(again.body), Buffer.from(message.body));
  return 'read';
}

function checkPortions(bytes: Buffer, random: Random): void {
  const outcome = (portion: number) => {
    const heard: string[] = [];
    const parser = new StreamParser(
      message =>
        heard.push(
          `${message.method} ${message.status} ${message.fault?.reason} ${message.callId} ${message.body.length}`,
        ),
      () => heard.push('ping'),
    );
    try {
      for (let at = 0; at < bytes.length; at += portion) parser.push(Buffer.from(bytes.subarray(at, at + portion)));
    } catch (error) {
      assert.ok(error instanceof SipSyntaxError, String(error));
      heard.push(error.message);
    }
    return heard;
  };
  assert.deepEqual(outcome(1 + random.below(40)), outcome(bytes.length));
}

/** The small parsers, on their own: never anything but a value or null. */
function checkPieces(random: Random): void {
  let text = '';
  for (let count = random.below(8); count >= 0; count--) text += random.pick(pieces);
  parseVia(`SIP/2.0/UDP ${text}`);
  splitList(text);
  const name = parseNameAddr(text);
  if (name) assert.ok(!/[\r\n\0]/.test(name.uri.text));
  const uri = parseUri(`sip:${text}`);
  if (uri) assert.equal(parseUri(uri.text)?.host, uri.host);
  const escaped = parseUri(`sip:${escapeUser(text)}@example.com`);
  assert.ok(escaped, `the user ${JSON.stringify(text)} cannot be written`);
  assert.equal(unescapeUser(escaped.user), text.toWellFormed());
}
