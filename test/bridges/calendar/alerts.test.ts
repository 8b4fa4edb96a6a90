// The ways of an alert: online, kept, by SMS, discarded; and reminders that come again.
import assert from 'node:assert/strict';
import type { BridgePort, InsidePort } from '../../../src/bridges/bridge.ts';
import { Alerts } from '../../../src/bridges/calendar/alerts.ts';
import { readICalendar } from '../../../src/bridges/calendar/icalendar.ts';
import { type CalendarConfig, calendar } from '../../../src/bridges/calendar/kind.ts';
import { Preferences } from '../../../src/bridges/calendar/preferences.ts';
import { Reminders } from '../../../src/bridges/calendar/reminders.ts';
import { parseConfig } from '../../../src/hub/config.ts';
import type { Directory } from '../../../src/hub/directory.ts';
import { silentLog } from '../../../src/hub/log.ts';
import { createMetrics } from '../../../src/hub/metrics.ts';
import { parseSettings } from '../../../src/hub/settings.ts';
import type { Store } from '../../../src/hub/store.ts';
import { openMemory } from '../../../src/store/sqlite.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { ns } from '../../../src/xmpp/namespaces.ts';
import type { Stanza } from '../../../src/xmpp/stanza.ts';
import { eventText } from './objects.ts';

const juliet = Jid.parse('juliet@hub.test');
const [entry] = readICalendar(eventText({ summary: 'Tea' })).entries;
const alert = { kind: 'reminder' as const, zone: 'UTC', id: 'a1', text: 'BEGIN:VCALENDAR' };

describe('calendar alerts', () => {
  let store: Store;
  let sent: Stanza[];
  let discarded: string[];
  let reminders: Reminders;
  let preferences: Preferences;
  let online: boolean;
  const metrics = createMetrics();

  function alerts(offline: CalendarConfig['offline'], mobile = '+15550001', sms = true): Alerts {
    const yaml = `domain: c.test\noffline: ${offline}\nbrokers: { main: { url: "stomp://b.test" } }`;
    const bridges = sms ? '\nbridges: { text: { kind: sms, domain: sms.hub.test } }' : '';
    const port = {
      domains: ['c.test'],
      receive: (stanza: Stanza) => void sent.push(stanza),
      config: parseConfig(`domains: { hub.test: {} }${bridges}`, 'test.yaml'),
      store,
      directory: () => ({ find: () => ({ user: 'juliet', mobile }) }) as unknown as Directory,
      log: silentLog(),
      metrics,
      inside: { online: () => online } as unknown as InsidePort,
    } as unknown as BridgePort;
    const config = calendar.config(parseSettings(yaml, 'test.yaml'));
    const made: Alerts = new Alerts(config, port, preferences, reminders, reason => discarded.push(reason));
    reminders = new Reminders(store, stanza => made.again(stanza));
    return new Alerts(config, port, preferences, reminders, reason => discarded.push(reason));
  }

  beforeEach(() => {
    store = openMemory();
    sent = [];
    discarded = [];
    online = false;
    preferences = new Preferences(store);
    reminders = new Reminders(store, () => {});
  });
  afterEach(() => store.close());
  after(() => metrics.close());

  it('go to somebody online as a headline, whatever is said of offline', async () => {
    online = true;
    await alerts('sms').tell(juliet, entry, alert);
    assert.deepEqual(
      sent.map(one => [String(one.to), String(one.from), one.type, one.id]),
      [['juliet@hub.test', 'c.test', 'headline', 'a1']],
    );
    assert.equal(sent[0].has('icalendar', 'urn:isthmus:calendar:0'), false);
  });

  it('are kept as normal messages', async () => {
    await alerts('store').tell(juliet, entry, alert);
    assert.equal(sent[0].type, 'normal');
    assert.ok(sent[0].has('store', ns.hints));
  });

  it('go by SMS to the number that the directory knows', async () => {
    await alerts('sms', '+1 555-0001').tell(juliet, entry, alert);
    assert.equal(String(sent[0].to), '+15550001@sms.hub.test');
    assert.equal(sent[0].type, 'chat');
    assert.match(sent[0].text('body'), /^Reminder: Tea/);
  });

  it('are discarded without a number, and without an SMS bridge', async () => {
    await alerts('sms', '').tell(juliet, entry, alert);
    await alerts('sms', '12').tell(juliet, entry, alert);
    await alerts('sms', '+15550001', false).tell(juliet, entry, alert);
    assert.deepEqual(discarded, ['no-number', 'no-number', 'no-sms-bridge']);
    assert.deepEqual(sent, []);
  });

  it('are not sent where they are switched off', async () => {
    await preferences.set('juliet@hub.test', { off: new Set(['reminder']), zone: '' });
    online = true;
    await alerts('store').tell(juliet, entry, alert);
    assert.deepEqual(discarded, ['switched-off']);
    await alerts('store').tell(juliet, entry, { ...alert, kind: 'change' });
    assert.equal(sent.length, 1);
  });

  it('come again when they were put off, also after a restart', async () => {
    online = true;
    const first = alerts('discard');
    await first.tell(juliet, entry, alert);
    assert.equal(await reminders.snooze(juliet, reminders.last(juliet)[0], Date.now() + 50), true);
    const again = new Reminders(store, stanza => first.again(stanza));
    again.start();
    const end = Date.now() + 2_000;
    while (sent.length < 2) {
      assert.ok(Date.now() < end, 'it did not come again');
      await new Promise(resolve => setTimeout(resolve, 5));
    }
    again.stop();
    assert.equal(sent[1].id, 'a1');
    assert.equal(again.count, 0);
  });

  it('can be put off only so often', async () => {
    online = true;
    await alerts('discard').tell(juliet, entry, alert);
    const [last] = reminders.last(juliet);
    for (let i = 0; i < 50; i++) assert.equal(await reminders.snooze(juliet, last, Date.now() + 1e8), true);
    assert.equal(await reminders.snooze(juliet, last, Date.now() + 1e8), false);
    reminders.remove('juliet@hub.test');
    assert.equal(reminders.count, 0);
  });
});
