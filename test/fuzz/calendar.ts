// Fuzzes what reads calendar messages: damaged bodies give a notification or a reason, in time; frames survive any split.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { alertMessage } from '../../src/bridges/calendar/alert.ts';
import { keptOf, spanOf } from '../../src/bridges/calendar/availability.ts';
import { type Entry, Unusable } from '../../src/bridges/calendar/entry.ts';
import { FrameCutter } from '../../src/bridges/calendar/frames.ts';
import { readNotification } from '../../src/bridges/calendar/notification.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';
import { eventText } from '../bridges/calendar/objects.ts';
import { Random } from './random.ts';
import type { Budget, FuzzResult } from './scanner.ts';

const fixtures = join(import.meta.dirname, '../../fixtures/calendar');
const names = ['exchange-invitation.ics', 'xcal-task.xml', 'fields.xml', 'wrapped.xml'];
const bodies = [
  ...names.map(name => readFileSync(join(fixtures, name))),
  Buffer.from(eventText({ lines: ['RRULE:FREQ=WEEKLY;BYDAY=MO', 'EXDATE:20260706T120000Z,20260713T120000Z'] })),
];
const pieces = [
  'BEGIN:VEVENT\r\n',
  'END:VEVENT\r\n',
  'BEGIN:VCALENDAR\r\n',
  'END:VCALENDAR\r\n',
  'RRULE:FREQ=DAILY;UNTIL=99999999T999999Z\r\n',
  'DTSTART:00000000T000000\r\n',
  'DTSTART;VALUE=DATE:99991231\r\n',
  'DTEND;TZID=:2026\r\n',
  'DURATION:P99999999999D\r\n',
  'RECURRENCE-ID;RANGE=THISANDFUTURE:20260706\r\n',
  'EXDATE:,,,\r\n',
  'ATTENDEE;CN="a:mailto:b\r\n',
  'FREEBUSY:/,x/y,20260706T000000Z/PT9999999H\r\n',
  'SUMMARY:\\\\\\,\\;\\N\u202e\ud800\r\n',
  '<event>',
  '</event>',
  '<![CDATA[',
  ']]>',
  '&amp;',
  '&x;',
  '<!--',
  "xmlns='",
  '\0',
  '\ufeff',
  ';:=,"\\\r\n \t',
  '-1',
  '9'.repeat(400),
];
/** Reading one body takes a few ms; this much means that it hangs. */
const patience = 2_000;
const user = Jid.parse('juliet@hub.test');
const from = Jid.parse('calendar.hub.test');

export function fuzzCalendar(budget: Budget, seed: number): FuzzResult {
  const random = new Random(seed);
  const verdicts: Record<string, number> = {};
  const end = 'seconds' in budget ? Date.now() + budget.seconds * 1000 : Number.POSITIVE_INFINITY;
  const most = 'cases' in budget ? budget.cases : Number.POSITIVE_INFINITY;
  let cases = 0;
  for (; cases < most && Date.now() < end; cases++) {
    const body = damaged(random);
    const began = performance.now();
    let verdict: string;
    try {
      verdict = tryBody(body);
    } catch (error) {
      throw new Error(`seed ${seed}, case ${cases}: ${(error as Error).stack}\n${body.toString('base64')}`);
    }
    const took = performance.now() - began;
    if (took > patience) throw new Error(`seed ${seed}, case ${cases}: ${took} ms\n${body.toString('base64')}`);
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
    if (cases % 20 === 0) tryFrames(body, random);
  }
  return { cases, verdicts };
}

function damaged(random: Random): Buffer {
  let body: Buffer = Buffer.from(random.pick(bodies));
  for (let edits = random.below(6); edits > 0; edits--) {
    const at = random.below(body.length + 1);
    const length = random.below(40);
    switch (random.below(5)) {
      case 0:
        body = Buffer.concat([body.subarray(0, at), body.subarray(at + length)]);
        break;
      case 1:
        body = Buffer.concat([body.subarray(0, at), Buffer.from(random.pick(pieces)), body.subarray(at)]);
        break;
      case 2:
        if (at < body.length) body[at] = random.below(256);
        break;
      case 3:
        body = Buffer.concat([body, body.subarray(at, at + length * 10)]);
        break;
      default:
        body = Buffer.from(body.toString('latin1').replace(/\d{4}/, String(random.below(10_000))), 'latin1');
    }
  }
  return body;
}

/** Reads a body as the bridge does, and makes of it what the bridge would. */
function tryBody(body: Buffer): string {
  const hint = new Map([['type', 'alarm']]);
  try {
    const { alert, object, text } = readNotification({ body, type: '', properties: hint }, Date.UTC(2026, 6, 6));
    for (const entry of object.entries) tryEntry(entry, text);
    return alert ?? 'no alert';
  } catch (error) {
    if (error instanceof Unusable) return error.reason;
    // What the parser throws, whatever it is, the intake takes for a malformed message.
    if (/ical\.js/.test((error as Error).stack ?? '')) return 'parser';
    throw error;
  }
}

function tryEntry(entry: Entry, text: string): void {
  const kept = JSON.parse(JSON.stringify(keptOf(entry, new Set()))) as Entry;
  const span = spanOf(kept, 'busy', 'Europe/Berlin');
  if (span && !(Number.isFinite(span.start) && span.end > span.start)) throw new Error(`a span that is none: ${span}`);
  const stanza = alertMessage(entry, {
    kind: 'reminder',
    zone: 'Europe/Berlin',
    to: user,
    from,
    type: 'headline',
    id: 'x',
    object: text,
    store: false,
  });
  // What leaves is well-formed XML, whatever came.
  if (Stanza.parse(stanza.toBytes()).text('body') === '') throw new Error('an alert without a text');
}

/** The frames of a connection are the same however its bytes are split. */
function tryFrames(body: Buffer, random: Random): void {
  const frame = Buffer.concat([
    Buffer.from(`MESSAGE\nid:1\ncontent-length:${body.length}\n\n`),
    body,
    Buffer.from([0]),
  ]);
  const bytes = Buffer.concat([frame, Buffer.from('\n\n'), frame]);
  const found: string[] = [];
  const cutter = new FrameCutter(1_000_000, one => found.push(Buffer.from(one).toString('latin1')));
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + random.below(200);
    cutter.push(bytes.subarray(at, at + length));
    at += length;
  }
  const frames = found.filter(one => one.trim() !== '');
  if (frames.length !== 2 || frames.some(one => one !== frame.toString('latin1')))
    throw new Error('frames were not cut right');
}
