// Calendars and people: alerts through the HTTP door, meetings as presence, and what users switch at the bridge's address.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { adminCommands } from '../../src/operations.ts';
import { el } from '../../src/xmpp/element.ts';
import { formElement } from '../../src/xmpp/form.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { eventText } from '../bridges/calendar/objects.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const minute = 60_000;
const yaml = `bridges:
  calendar:
    kind: calendar
    domain: calendar.hub.test
    time-zone: Europe/Berlin
    content-type: text/calendar
    brokers: { door: { url: "http:/calendar", user: cal, password: secret } }`;

interface Posted {
  status: number;
  body: string;
}

function post(hub: TestHub, body: string | Buffer, headers: Record<string, string> = {}): Promise<Posted> {
  const { host, port } = hub.listening.http[0];
  return new Promise((resolve, reject) => {
    const asked = request(
      { host, port, path: '/calendar', method: 'POST', headers: { authorization: 'Bearer secret', ...headers } },
      answer => {
        let text = '';
        answer.on('data', chunk => {
          text += chunk;
        });
        answer.on('end', () => resolve({ status: answer.statusCode ?? 0, body: text }));
      },
    );
    asked.on('error', reject);
    asked.end(body);
  });
}

const reminder = { 'calendar-owner': 'juliet@hub.test', 'calendar-event': 'alarm' };

async function friends(hub: TestHub): Promise<[Client, Client]> {
  const juliet = await hub.client('juliet@hub.test', { resource: 'balcony' });
  const romeo = await hub.client('romeo@hub.test');
  await romeo.sends(`<presence to='juliet@hub.test' type='subscribe'/>`);
  await juliet.sends(`<presence to='romeo@hub.test' type='subscribed'/>`);
  await romeo.receives(e => e.name === 'presence' && e.attrs.from === juliet.jid && !e.attrs.type);
  return [juliet, romeo];
}

/** Whether that is juliet's presence with this show. */
const shows =
  (show: string) => (e: { name: string; attrs: Readonly<Record<string, string>>; childText(n: string): string }) =>
    e.name === 'presence' && e.attrs.from === 'juliet@hub.test/balcony' && e.childText('show') === show;

describe('calendars and people', () => {
  let hub: TestHub;
  beforeEach(async () => {
    hub = await startTestHub(['hub.test'], { yaml });
  });
  afterEach(() => hub.close());

  it('brings a reminder as a headline with the object, once', async () => {
    const juliet = await hub.client('juliet@hub.test');
    const text = eventText({ summary: 'Standup', lines: ['LOCATION:Balcony', 'URL:https://meet.test/1'] });
    const headers = { ...reminder, 'idempotency-key': 'one' };
    assert.deepEqual(await post(hub, text, headers), { status: 202, body: 'taken for 1 user\n' });
    const alert = await juliet.receives(e => e.name === 'message');
    assert.equal(alert.attrs.type, 'headline');
    assert.equal(alert.attrs.from, 'calendar.hub.test');
    assert.match(
      alert.childText('body'),
      /^Reminder: Standup\nWhen: .*\(Europe\/Berlin\)\nWhere: Balcony\nhttps:\/\/meet.test\/1$/,
    );
    assert.match(alert.child('icalendar', 'urn:isthmus:calendar:0')?.text ?? '', /^BEGIN:VCALENDAR/);
    assert.equal((await post(hub, text, headers)).status, 200);
    await juliet.hasNot(e => e.name === 'message');
  });

  it('keeps strangers out of the door, and says what is wrong with a body', async () => {
    await hub.accounts.add('juliet@hub.test', 'x');
    assert.equal((await post(hub, '', { authorization: 'Bearer wrong' })).status, 401);
    assert.equal(
      (await post(hub, '', { authorization: `Basic ${Buffer.from('cal:wrong').toString('base64')}` })).status,
      401,
    );
    assert.equal((await post(hub, eventText(), { 'calendar-owner': 'nobody@hub.test' })).status, 404);
    assert.equal((await post(hub, 'hello', reminder)).status, 422);
    assert.equal((await post(hub, '', reminder)).status, 422);
    assert.equal((await post(hub, Buffer.alloc(2 * 1024 * 1024, 65), reminder)).status, 413);
    const basic = { authorization: `Basic ${Buffer.from('cal:secret').toString('base64')}`, ...reminder };
    assert.equal((await post(hub, eventText(), basic)).status, 202);
  });

  it('makes a running meeting a presence, and takes it back when it ends', async () => {
    const [juliet, romeo] = await friends(hub);
    const start = Date.now() - minute;
    await post(hub, eventText({ start, length: minute + 1_500 }), { 'calendar-owner': 'juliet@hub.test' });
    const busy = await romeo.receives(shows('dnd'));
    assert.match(busy.childText('status'), /^In a meeting until \d\d:\d\d$/);
    assert.ok(busy.child('activity', 'http://jabber.org/protocol/activity')?.child('working')?.child('in_a_meeting'));
    await romeo.receives(shows(''), 4_000);
    await juliet.close();
  });

  it('starts a meeting on time, and follows its change and its cancellation', async () => {
    const [, romeo] = await friends(hub);
    const start = Date.now() + 600;
    const owner = { 'calendar-owner': 'juliet@hub.test' };
    await post(hub, eventText({ start, length: 10 * minute }), owner);
    await romeo.receives(shows('dnd'));
    assert.ok(Date.now() - start < 1_000);
    await post(hub, eventText({ start, length: 10 * minute, lines: ['SEQUENCE:1', 'TRANSP:TRANSPARENT'] }), owner);
    await romeo.receives(shows(''));
    await post(hub, eventText({ start, length: 10 * minute }), owner);
    await romeo.hasNot(shows('dnd'));
    await post(hub, eventText({ start, length: 10 * minute, lines: ['SEQUENCE:2', 'STATUS:TENTATIVE'] }), owner);
    assert.match((await romeo.receives(shows('away'))).childText('status'), /^Possibly in a meeting/);
    await post(hub, eventText({ start, method: 'CANCEL', lines: ['SEQUENCE:3'] }), owner);
    await romeo.receives(shows(''));
  });

  it('expands a series in its thread, with an instance that was moved', async () => {
    const [, romeo] = await friends(hub);
    const start = Date.now() - 7 * 86_400_000 - minute;
    const rule = ['RRULE:FREQ=DAILY'];
    await post(hub, eventText({ start, length: 20 * minute, lines: rule }), { 'calendar-owner': 'juliet@hub.test' });
    await romeo.receives(shows('dnd'));
    const moved = eventText({
      start: Date.now() + 60 * minute,
      lines: [`RECURRENCE-ID:${new Date(start + 7 * 86_400_000).toISOString().replace(/[-:]|\.\d+/g, '')}`],
    });
    await post(hub, moved, { 'calendar-owner': 'juliet@hub.test' });
    await romeo.receives(shows(''));
  });

  it('reminds of the instance of a series that is due, and keeps the series', async () => {
    const juliet = await hub.client('juliet@hub.test');
    const begin = Date.now() + 5 * minute;
    const start = begin - 700 * 86_400_000;
    const series = { uid: 's', start, length: 30 * minute, lines: ['RRULE:FREQ=DAILY'] };
    await post(hub, eventText(series), reminder);
    const year = String(new Date().getUTCFullYear());
    assert.ok((await juliet.receives(e => e.name === 'message')).childText('body').includes(year));
    // An alarm may carry the instance alone, as if it were no series.
    await post(hub, eventText({ ...series, start: begin, lines: [] }), reminder);
    await juliet.receives(e => e.name === 'message');
    const command = adminCommands(hub).get('bridge command')!;
    for (const end = Date.now() + 4_000; ; ) {
      const told = (await command(['calendar', 'availability', 'juliet@hub.test'])) as { times: unknown[] };
      if (told.times.length === 20) break;
      assert.ok(Date.now() < end, JSON.stringify(told));
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  });

  it('shows one presence on all devices, and to who comes later', async () => {
    const [juliet, romeo] = await friends(hub);
    const phone = await hub.client('juliet@hub.test', { resource: 'phone' });
    await post(hub, eventText({ start: Date.now() - minute }), { 'calendar-owner': 'juliet@hub.test' });
    await romeo.receives(shows('dnd'));
    await romeo.receives(e => e.attrs.from === phone.jid && e.childText('show') === 'dnd');
    // By hand on one device: the calendar is silent on the other as well.
    await phone.sends(`<presence><show>chat</show></presence>`);
    await romeo.receives(e => e.attrs.from === phone.jid && e.childText('show') === 'chat');
    await romeo.receives(shows(''));
    await phone.close();
    await romeo.receives(shows('dnd'));
    await romeo.sends(`<presence type='unavailable'/>`);
    await romeo.sends(`<presence/>`);
    await romeo.receives(shows('dnd'));
    await juliet.close();
  });

  it('is still in the meeting after a restart', async () => {
    const [juliet] = await friends(hub);
    await post(hub, eventText({ start: Date.now() - minute }), { 'calendar-owner': 'juliet@hub.test' });
    await juliet.receives(shows('dnd'));
    hub = await hub.restart();
    const romeo = await hub.client('romeo@hub.test');
    await hub.client('juliet@hub.test', { resource: 'balcony' });
    await romeo.receives(shows('dnd'));
  });

  it('lets what is set by hand win, until it is cleared', async () => {
    const [juliet, romeo] = await friends(hub);
    await juliet.sends(`<presence><show>chat</show></presence>`);
    await romeo.receives(shows('chat'));
    await post(hub, eventText({ start: Date.now() - minute }), { 'calendar-owner': 'juliet@hub.test' });
    await romeo.hasNot(shows('dnd'));
    await juliet.sends(`<presence/>`);
    await romeo.receives(shows('dnd'));
    const command = adminCommands(hub).get('presence')!;
    const told = command(['juliet@hub.test']) as { presence: string; because: string; sources: { source: string }[] };
    assert.equal(told.presence, 'dnd');
    assert.equal(told.because, 'what calendar knows');
    assert.deepEqual(
      told.sources.map(({ source }) => source),
      ['device balcony', 'calendar'],
    );
  });

  it('takes what third parties say, and forgets it', async () => {
    const [juliet, romeo] = await friends(hub);
    const command = adminCommands(hub).get('presence')!;
    command(['juliet@hub.test', 'set', 'badge', 'away', 'Out of the building']);
    assert.equal((await romeo.receives(shows('away'))).childText('status'), 'Out of the building');
    // A client that is idle by itself is weaker than what others know, and stronger than nothing.
    await juliet.sends(
      `<presence><show>xa</show><idle xmlns='urn:xmpp:idle:1' since='2026-01-01T00:00:00Z'/></presence>`,
    );
    await romeo.receives(shows('xa'));
    command(['juliet@hub.test', 'clear', 'badge']);
    command(['juliet@hub.test', 'set', 'badge', 'dnd', 'On stage', '0.3']);
    await romeo.receives(shows('dnd'));
    await romeo.receives(shows('xa'));
    assert.throws(() => command(['juliet@hub.test', 'set', 'badge', 'sleeping']), /is not one of/);
    assert.throws(() => command(['juliet@hub.test', 'set', 'Badge!', 'dnd']), /named by/);
    assert.throws(() => command(['juliet@elsewhere.test']), /not served/);
  });

  it('lets users switch alerts off, and be reminded again', async () => {
    const juliet = await hub.client('juliet@hub.test');
    const run = async (node: string, fields: Record<string, string>) => {
      const first = await juliet.asks('set', el('command', ns.commands, { node }), 'calendar.hub.test');
      const asked = first.child('command', ns.commands)!;
      const form = formElement('submit', {
        fields: Object.entries(fields).map(([name, value]) => ({ var: name, value })),
      });
      const done = await juliet.asks(
        'set',
        el('command', ns.commands, { node, sessionid: asked.attrs.sessionid, action: 'complete' }, form),
        'calendar.hub.test',
      );
      return done.child('command', ns.commands)?.childText('note') ?? done.toString();
    };
    const items = await juliet.asks('get', el('query', ns.discoItems, { node: ns.commands }), 'calendar.hub.test');
    assert.equal(items.child('query', ns.discoItems)?.all('item').length, 2);
    assert.match(await run('alerts', { invitation: '0', zone: 'Asia/Tokyo' }), /do not get: Invitations/);
    await post(hub, eventText({ method: 'REQUEST' }), { 'calendar-owner': 'juliet@hub.test' });
    await juliet.hasNot(e => e.name === 'message');
    await post(hub, eventText({ summary: 'Tea' }), reminder);
    assert.match((await juliet.receives(e => e.name === 'message')).childText('body'), /Tea\n.*Asia\/Tokyo/);
    assert.match(await run('snooze', { minutes: '5' }), /again in 5 minutes/);
    const shown = hub.bridges.find('calendar').show();
    assert.equal(shown['reminders put off'], 1);
  });

  it('shows operators the bridge, somebody’s time and the metrics', async () => {
    await hub.accounts.add('juliet@hub.test', 'x');
    await post(hub, eventText({ start: Date.now() - minute }), { 'calendar-owner': 'juliet@hub.test' });
    const command = adminCommands(hub).get('bridge command')!;
    const told = (await command(['calendar', 'availability', 'juliet@hub.test'])) as { now: string; times: unknown[] };
    assert.match(told.now, /^In a meeting until/);
    assert.equal(told.times.length, 1);
    await post(hub, eventText({ uid: 'event-2' }), reminder);
    const metrics = await hub.hub.metrics.text();
    assert.match(metrics, /isthmus_calendar_received_total\{broker="door"\} 2/);
    assert.match(metrics, /isthmus_calendar_discarded_total\{reason="no-alert"\} 1/);
    assert.match(metrics, /isthmus_calendar_busy_users 1/);
  });
});
