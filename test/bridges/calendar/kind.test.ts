// The configuration of a calendar bridge, and the bridge attached to another XMPP server.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BridgePort } from '../../../src/bridges/bridge.ts';
import { type CalendarConfig, calendar } from '../../../src/bridges/calendar/kind.ts';
import { parseConfig } from '../../../src/hub/config.ts';
import { silentLog } from '../../../src/hub/log.ts';
import { createMetrics } from '../../../src/hub/metrics.ts';
import { parseSettings } from '../../../src/hub/settings.ts';
import { openMemory } from '../../../src/store/sqlite.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';
import { StompBroker } from '../../support/stomp-broker.ts';
import { eventText } from './objects.ts';

const read = (yaml: string): CalendarConfig => calendar.config(parseSettings(yaml, 'test.yaml'));
const broker = 'brokers: { main: { url: "stomp://b.test", user: u, password: p } }';

describe('the configuration of calendars', () => {
  it('reads what the example says', () => {
    process.env.BROKER ??= 'x';
    const text = readFileSync(join(import.meta.dirname, '../../../isthmus.example.yaml'), 'utf8');
    const section = parseSettings(text, 'isthmus.example.yaml').section('bridges').section('calendar');
    const config = calendar.config(section);
    assert.deepEqual(calendar.domains(config), ['calendar.hub.test']);
    assert.equal(config.brokers.length, 2);
    assert.equal(config.mailDomains.get('example.test'), 'hub.test');
  });

  it('has defaults', () => {
    const config = read(`domain: c.test\n${broker}`);
    assert.equal(config.contentType, 'text/plain');
    assert.equal(config.availability, true);
    assert.equal(config.offline, 'discard');
    const [main] = config.brokers;
    const { host, port, tls, topic, durable, clientId } = main;
    assert.deepEqual(
      [host, port, tls, topic, durable, clientId],
      ['b.test', 61613, false, 'DavNotificationTopic', true, 'isthmus-c.test'],
    );
  });

  const urls: [string, string, string, number, boolean][] = [
    ['stomps://b.test', 'stomp', 'b.test', 61614, true],
    ['stomp+ssl://b.test:7673/', 'stomp', 'b.test', 7673, true],
    ['amqp://[::1]', 'amqp', '::1', 5672, false],
    ['amqps://10.0.0.1', 'amqp', '10.0.0.1', 5671, true],
  ];
  for (const [url, protocol, host, port, tls] of urls) {
    it(`reads ${url}`, () => {
      const [main] = read(`domain: c.test\nbrokers: { main: { url: "${url}" } }`).brokers;
      assert.deepEqual([main.protocol, main.host, main.port, main.tls], [protocol, host, port, tls]);
    });
  }

  const wrong: [string, RegExp][] = [
    [broker, /domain: is missing/],
    ['domain: c.test', /brokers: is empty/],
    ['domain: c.test\nbrokers: { main: { url: "tcp://b.test" } }', /brokers\.main\.url: tcp: is not one of/],
    ['domain: c.test\nbrokers: { main: { url: "stomp://b.test/topic" } }', /has no path/],
    ['domain: c.test\nbrokers: { main: { url: "http://b.test/x", password: p } }', /takes a path/],
    ['domain: c.test\nbrokers: { main: { url: "http:/x" } }', /password: is missing/],
    ['domain: c.test\nbrokers: { main: { url: "stomp://b.test:99999" } }', /no port/],
    [`domain: c.test\n${broker}\ntime-zone: Moon/Base`, /not a zone/],
    [`domain: c.test\n${broker}\noffline: never`, /discard, store, sms/],
    [`domain: c.test\n${broker}\ntopic: x`, /there is no such key/],
    ['domain: c.test\nbrokers: { main: { url: "stomp://b.test", pasword: p } }', /did you mean password/],
  ];
  for (const [yaml, message] of wrong) {
    it(`refuses ${yaml.replace(/\n/g, ' ').slice(0, 90)}`, () => assert.throws(() => read(yaml), message));
  }
});

describe('calendars attached to another server', () => {
  it('sends alerts to the users whom the mail domains name, and has no door', async () => {
    const stomp = await new StompBroker({ user: 'u', password: 'p' }).start();
    const config = parseConfig('attach: { address: "127.0.0.1:1", secrets: { c.test: x } }', 'test.yaml');
    const sent: Stanza[] = [];
    const store = openMemory();
    const metrics = createMetrics();
    const port: BridgePort = {
      domains: ['c.test'],
      receive: stanza => void sent.push(stanza),
      config,
      store,
      directory: () => undefined,
      resolver: {} as BridgePort['resolver'],
      log: silentLog(),
      metrics,
      refusal: () => null,
      ask: () => Promise.reject(new Error('nobody answers')),
    };
    const own = `domain: c.test\nmail-domains: { example.test: other.test }\nbrokers: { main: { url: "stomp://127.0.0.1:${stomp.port}", user: u, password: p } }`;
    const bridge = calendar.create(read(own), port);
    await bridge.start();
    try {
      await stomp.until(() => stomp.subscribers === 1, 'the subscription');
      stomp.publish('DavNotificationTopic', eventText(), { type: 'alarm', owner: 'juliet@example.test' });
      stomp.publish('DavNotificationTopic', eventText(), { type: 'alarm', owner: 'juliet@elsewhere.test' });
      await stomp.until(() => stomp.acknowledged.length === 2, 'both acknowledgements');
      assert.deepEqual(
        sent.map(one => [String(one.to), one.type]),
        [['juliet@other.test', 'headline']],
      );
      const version = Stanza.parse(Buffer.from(`<iq type='get' id='1'><query xmlns='jabber:iq:version'/></iq>`));
      await bridge.send(version.withAddresses(Jid.parse('juliet@other.test/a'), Jid.parse('c.test')));
      assert.equal(sent[1].type, 'result');
      const chat = Stanza.of('message', {
        from: Jid.parse('juliet@other.test'),
        to: Jid.parse('c.test'),
        type: 'chat',
      });
      await assert.rejects(async () => bridge.send(chat), /feature-not-implemented/);
    } finally {
      await bridge.stop();
      await stomp.stop();
      metrics.close();
      await store.close();
    }
    assert.throws(() => calendar.create(read(`${own}\noffline: sms`), port), /live here/);
    const door = read('domain: c.test\nbrokers: { main: { url: "http:/x", password: p } }');
    assert.throws(() => calendar.create(door, port), /listener/);
  });
});
