// What messages say: the forms a body comes in, what happened, whose calendar it is, and the text people read.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { alertText } from '../../../src/bridges/calendar/alert.ts';
import { Unusable } from '../../../src/bridges/calendar/entry.ts';
import { type AlertKind, readNotification } from '../../../src/bridges/calendar/notification.ts';
import { eventText } from './objects.ts';

const fixtures = join(import.meta.dirname, '../../../fixtures/calendar');
const now = Date.UTC(2026, 6, 6, 11, 50);
const start = Date.UTC(2026, 6, 6, 12);

function read(body: string | Uint8Array, properties: Record<string, string> = {}) {
  const map = new Map(Object.entries(properties).map(([name, value]) => [name.toLowerCase(), value]));
  return readNotification({ body: Buffer.from(body), type: '', properties: map }, now);
}

const fixture = (name: string, properties?: Record<string, string>) =>
  read(readFileSync(join(fixtures, name)), properties);
const type = (value: string) => ({ MQ_MESSAGE_TYPE_HEADER_PROPERTY: value });

describe('calendar notifications', () => {
  it('reads an invitation as Exchange writes it: its own zone, private, tentative', () => {
    const { alert, parties, owners, object } = fixture('exchange-invitation.ics');
    assert.equal(alert, 'invitation');
    assert.deepEqual(owners, []);
    assert.deepEqual(parties, ['juliet@hub.test', 'romeo@hub.test']);
    const [entry] = object.entries;
    assert.equal(entry.private, true);
    assert.equal(entry.busyStatus, 'TENTATIVE');
    assert.equal(
      alertText(entry, 'invitation', 'Europe/London'),
      'Invitation: Planning of the ball, part 1\nWhen: Mon 6 Jul 2026, 13:00–14:00 (Europe/London)\nWhere: Great hall\nFrom: Nurse',
    );
  });

  it('reads xCal', () => {
    const { alert, owners, object, text } = fixture('xcal-task.xml');
    assert.equal(alert, 'task');
    assert.deepEqual(owners, ['juliet@hub.test']);
    assert.equal(text, '');
    assert.equal(
      alertText(object.entries[0], 'task', 'Europe/Rome'),
      'Task reminder: Write to Romeo\nDue: Mon 6 Jul 2026, 18:00 (Europe/Rome)',
    );
  });

  it('reads plain fields by their names', () => {
    const { alert, owners, object } = fixture('fields.xml');
    assert.equal(alert, 'reminder');
    assert.deepEqual(owners, ['juliet@hub.test']);
    assert.equal(object.entries[0].uid, 'e-17');
    assert.equal(
      alertText(object.entries[0], 'reminder', 'UTC'),
      'Reminder: Rehearsal & tea\nWhen: Mon 6 Jul 2026, 12:00–13:00 (UTC)\nWhere: Stage',
    );
  });

  it('reads iCalendar inside XML, with a zone named as Windows does', () => {
    const { alert, owners, object } = fixture('wrapped.xml');
    assert.equal(alert, 'change');
    assert.deepEqual(owners, ['juliet@hub.test']);
    assert.equal(
      alertText(object.entries[0], 'change', 'UTC'),
      'Event changed: Moved\nWhen: Mon 6 Jul 2026, 12:00–12:45 (UTC)',
    );
  });

  const kinds: [string, string, Record<string, string>, AlertKind | null][] = [
    ['an alarm', eventText({ start }), type('alarm'), 'reminder'],
    ['an alarm of a task', eventText({ start, component: 'VTODO' }), type('alarm'), 'task'],
    ['a new event', eventText({ start }), type('CREATEEVENT'), null],
    ['a changed event', eventText({ start }), type('MODIFYEVENT'), 'change'],
    ['a refreshed event', eventText({ start }), type('REFRESHEVENT'), null],
    ['an answer', eventText({ start }), type('REPLYEVENT'), 'reply'],
    ['a deleted event', eventText({ start }), type('DELETEEVENT'), 'cancellation'],
    ['a request', eventText({ start, method: 'REQUEST' }), {}, 'invitation'],
    ['a request that changes', eventText({ start, method: 'REQUEST', lines: ['SEQUENCE:1'] }), {}, 'change'],
    ['a cancellation', eventText({ start, method: 'CANCEL' }), {}, 'cancellation'],
    ['a cancelled event', eventText({ start, lines: ['STATUS:CANCELLED'] }), {}, 'cancellation'],
    ['a reply', eventText({ start, method: 'REPLY' }), {}, 'reply'],
    ['a published event', eventText({ start, method: 'PUBLISH' }), {}, null],
    ['an event without a word', eventText({ start }), {}, null],
    [
      'an event about to begin, with an alarm',
      eventText({ start, lines: ['BEGIN:VALARM', 'END:VALARM'] }),
      {},
      'reminder',
    ],
    [
      'one that is far, with an alarm',
      eventText({ start: start + 1e8, lines: ['BEGIN:VALARM', 'END:VALARM'] }),
      {},
      null,
    ],
  ];
  for (const [what, body, properties, alert] of kinds) {
    it(`takes ${what} for ${alert ?? 'no alert'}`, () => {
      assert.equal(read(body, properties).alert, alert);
    });
  }

  const owners: [string, Record<string, string>, string[], string][] = [
    ['calid with a calendar', { calid: 'Juliet@hub.test:work' }, [], 'juliet@hub.test'],
    ['a user name', { userid: 'juliet' }, [], 'juliet'],
    ['a path', { calid: '/davserver/dav/home/juliet%40hub.test/calendar/' }, [], 'juliet@hub.test'],
    ['a mailto', { owner: 'MAILTO:juliet@hub.test' }, [], 'juliet@hub.test'],
    [
      'an alarm that names its reader',
      {},
      ['BEGIN:VALARM', 'ATTENDEE:mailto:juliet@hub.test', 'END:VALARM'],
      'juliet@hub.test',
    ],
  ];
  for (const [what, properties, lines, owner] of owners) {
    it(`finds the owner by ${what}`, () => {
      assert.deepEqual(read(eventText({ start, lines }), properties).owners, [owner]);
    });
  }

  it('takes a deleted calendar without any body', () => {
    const { calendarDeleted, owners } = read('', { ...type('DELETECAL'), calid: 'juliet@hub.test' });
    assert.equal(calendarDeleted, true);
    assert.deepEqual(owners, ['juliet@hub.test']);
  });

  it('takes a byte order mark, line feeds alone, folded lines and a body that ends with NUL', () => {
    const body = `\ufeff${eventText({ start, summary: 'a very long\r\n  summary' }).replace(/\r\n/g, '\n')}\0`;
    assert.equal(read(body, type('alarm')).object.entries[0].summary, 'a very long summary');
  });

  it('takes several calendars in one body', () => {
    const body = eventText({ uid: 'a', start }) + eventText({ uid: 'b', start });
    assert.deepEqual(
      read(body).object.entries.map(({ uid }) => uid),
      ['a', 'b'],
    );
  });

  const wrong: [string, string | Uint8Array, string][] = [
    ['nothing', '', 'empty'],
    ['white space', ' \r\n', 'empty'],
    ['text', 'hello', 'unknown-type'],
    ['JSON', '{}', 'unknown-type'],
    ['an open component', 'BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nEND:VCALENDAR', 'malformed'],
    ['a calendar with nothing in it', 'BEGIN:VCALENDAR\r\nEND:VCALENDAR', 'unknown-type'],
    ['a line that is none', 'BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nno line\r\nEND:VEVENT\r\nEND:VCALENDAR', 'malformed'],
    [
      'too many components',
      `BEGIN:VCALENDAR\r\n${'BEGIN:VEVENT\r\nEND:VEVENT\r\n'.repeat(501)}END:VCALENDAR`,
      'too-large',
    ],
    [
      'nesting',
      `BEGIN:VCALENDAR\r\n${'BEGIN:VEVENT\r\n'.repeat(9)}${'END:VEVENT\r\n'.repeat(9)}END:VCALENDAR`,
      'malformed',
    ],
    ['a document type', '<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>', 'malformed'],
    ['an entity', '<event><summary>&y;</summary></event>', 'malformed'],
    ['XML of something else', '<html><body>hi</body></html>', 'unknown-type'],
    ['deep XML', '<a>'.repeat(2000), 'malformed'],
    ['Latin-1', Buffer.from('BEGIN:VCALENDAR\r\nX:\xe9', 'latin1'), 'malformed'],
    ['too much', Buffer.alloc(1024 * 1024 + 1, 65), 'too-large'],
  ];
  for (const [what, body, reason] of wrong) {
    it(`refuses ${what} as ${reason}`, () => {
      assert.throws(
        () => read(body),
        error => error instanceof Unusable && error.reason === reason,
      );
    });
  }

  it('keeps dates that are none, links that are none and odd characters out of the text', () => {
    const lines = ['DTSTART:20261399T990000Z', 'URL:javascript:alert(1)', 'LOCATION:a\\nb\u202e\x07c'];
    const [entry] = read(eventText({ lines, summary: '' })).object.entries;
    assert.equal(alertText(entry, 'reminder', 'UTC'), 'Reminder: an event\nWhere: a bc');
  });

  const times: [string, string[], string][] = [
    ['a whole day', ['DTSTART;VALUE=DATE:20260706'], 'When: Mon 6 Jul 2026, all day'],
    [
      'days',
      ['DTSTART;VALUE=DATE:20260706', 'DTEND;VALUE=DATE:20260708'],
      'When: Mon 6 Jul 2026 – Tue 7 Jul 2026, all day',
    ],
    [
      'a night',
      ['DTSTART:20260706T200000Z', 'DURATION:PT6H'],
      'When: Mon 6 Jul 2026, 22:00–Tue 7 Jul 2026, 04:00 (Europe/Berlin)',
    ],
    ['floating', ['DTSTART:20260706T200000', 'DURATION:PT1H'], 'When: Mon 6 Jul 2026, 20:00–21:00 (Europe/Berlin)'],
    ['a moment', ['DTSTART:20260706T200000Z', 'DTEND:20260706T200000Z'], 'When: Mon 6 Jul 2026, 22:00 (Europe/Berlin)'],
    [
      'a zone nobody knows',
      ['DTSTART;TZID=Moon/Base:20260706T200000', 'DURATION:PT1H'],
      'When: Mon 6 Jul 2026, 20:00–21:00 (Europe/Berlin)',
    ],
  ];
  for (const [what, lines, text] of times) {
    it(`says when: ${what}`, () => {
      const body = eventText({ lines }).replace(/DTEND:\d{8}T\d{6}Z\r\n(?=.*DTSTART;VALUE=DATE)/s, '');
      assert.equal(alertText(read(body).object.entries[0], 'reminder', 'Europe/Berlin').split('\n')[1], text);
    });
  }
});
