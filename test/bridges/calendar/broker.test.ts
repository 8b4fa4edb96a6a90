// A hub beside a broker (a stand-in of our own): durable topics, restarts, a frozen broker, a killed hub, bad messages.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { askAdmin } from '../../../src/hub/admin.ts';
import { type Client, connectClient } from '../../support/client.ts';
import { startTestHub, type TestHub } from '../../support/hubs.ts';
import { StompBroker } from '../../support/stomp-broker.ts';
import { eventText } from './objects.ts';

const topic = 'DavNotificationTopic';
const alarm = { MQ_MESSAGE_TYPE_HEADER_PROPERTY: 'alarm', calid: 'juliet@hub.test' };

function yaml(ports: Record<string, number>, more = ''): string {
  const brokers = Object.entries(ports).map(
    ([name, port]) => `${name}: { url: "stomp://127.0.0.1:${port}", user: hub, password: secret }`,
  );
  return `bridges: { calendar: { kind: calendar, domain: calendar.hub.test, brokers: { ${brokers.join(', ')} }${more} } }`;
}

const saying = (text: string) => (e: { name: string; childText(name: string): string }) =>
  e.name === 'message' && e.childText('subject') === `Reminder: ${text}`;

describe('calendar brokers', () => {
  let broker: StompBroker;
  let hub: TestHub;
  let juliet: Client;

  async function begin(more = ''): Promise<void> {
    hub = await startTestHub(['hub.test'], { yaml: yaml({ main: broker.port }, more) });
    juliet = await hub.client('juliet@hub.test');
    await broker.until(() => broker.subscribers === 1, 'the subscription');
  }

  const shown = (name = 'main') => {
    const { brokers } = hub.bridges.find('calendar').show() as {
      brokers: { name: string; state: string; 'last error': string }[];
    };
    return brokers.find(one => one.name === name)!;
  };

  beforeEach(async () => {
    broker = await new StompBroker({ user: 'hub', password: 'secret' }).start();
  });
  afterEach(async () => {
    await hub?.close();
    await broker.stop();
  });

  it('acknowledges an alert once it is with the user', async () => {
    await begin();
    broker.publish(topic, eventText({ summary: 'one' }), alarm);
    await juliet.receives(saying('one'));
    await broker.until(() => broker.acknowledged.length === 1, 'the acknowledgement');
    assert.equal(broker.waiting, 0);
    assert.equal(shown().state, 'connected');
  });

  it('drops what comes twice, also after a restart', async () => {
    await begin();
    for (let i = 0; i < 3; i++) {
      broker.publish(topic, eventText({ summary: 'one' }), { ...alarm, 'message-id': 'ID:same' });
    }
    await juliet.receives(saying('one'));
    await broker.until(() => broker.acknowledged.length === 3, 'three acknowledgements');
    hub = await hub.restart();
    juliet = await hub.client('juliet@hub.test');
    await broker.until(() => broker.subscribers === 1, 'the subscription');
    broker.publish(topic, eventText({ summary: 'one' }), { ...alarm, 'message-id': 'ID:same' });
    broker.publish(topic, eventText({ summary: 'two' }), alarm);
    await juliet.receives(saying('two'));
    await juliet.hasNot(saying('one'));
  });

  it('gets what was published while the hub was away, and while the broker was', async () => {
    await begin();
    await juliet.close();
    await hub.stop();
    broker.publish(topic, eventText({ summary: 'while away' }), alarm);
    const { port } = broker;
    await broker.stop();
    hub = await startTestHub(['hub.test'], { yaml: yaml({ main: port }) });
    juliet = await hub.client('juliet@hub.test');
    await broker.start();
    await juliet.receives(saying('while away'), 8_000);
  });

  it('works with several brokers at once, and with one that refuses it', async () => {
    const other = await new StompBroker({ user: 'hub', password: 'another' }).start();
    hub = await startTestHub(['hub.test'], { yaml: yaml({ main: broker.port, other: other.port }) });
    juliet = await hub.client('juliet@hub.test');
    await other.until(() => other.refusals === 1, 'the refusal');
    await broker.until(() => broker.subscribers === 1, 'the subscription');
    broker.publish(topic, eventText({ summary: 'one' }), alarm);
    await juliet.receives(saying('one'));
    assert.equal(shown('other').state, 'refused');
    assert.match(shown('other')['last error'], /User name or password is invalid/);
    // It is tried rarely: a second attempt at once could lock the account.
    assert.equal(other.refusals, 1);
    await other.stop();
  });

  it('notices a frozen broker within ten seconds', async () => {
    await begin();
    const began = Date.now();
    broker.freeze();
    broker.publish(topic, eventText({ summary: 'under ice' }), alarm);
    while (shown().state === 'connected') {
      assert.ok(Date.now() - began < 10_000, 'not noticed');
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    await broker.stop();
    await broker.start();
    await juliet.receives(saying('under ice'), 8_000);
  }).timeout(25_000);

  const bad: [string, string | Uint8Array, Record<string, string>, string][] = [
    ['an empty message', '', alarm, 'empty'],
    ['no calendar', 'hello', alarm, 'unknown-type'],
    ['half a calendar', eventText().slice(0, 60), alarm, 'malformed'],
    ['bytes that are no text', Uint8Array.of(0xff, 0xfe, 0x41), alarm, 'malformed'],
    [
      '20,000 nested components',
      `${'BEGIN:VEVENT\r\n'.repeat(20_000)}${'END:VEVENT\r\n'.repeat(20_000)}`,
      alarm,
      'unknown-type',
    ],
    ['nesting in a calendar', `BEGIN:VCALENDAR\r\n${'BEGIN:VEVENT\r\n'.repeat(20_000)}`, alarm, 'malformed'],
    ['entities', '<!DOCTYPE a [<!ENTITY b "c">]><event><summary>&b;</summary></event>', alarm, 'malformed'],
    ['50 MB', new Uint8Array(50 * 1024 * 1024).fill(65), alarm, 'too-large'],
    ['a user whom nobody knows', eventText(), { calid: 'nobody@hub.test' }, 'unknown-user'],
    ['no user at all', eventText(), {}, 'no-owner'],
  ];

  it('counts, logs and acknowledges what nothing can be made of, and goes on with what is behind it', async () => {
    await begin();
    for (const [, body, headers] of bad) broker.publish(topic, body, headers);
    broker.publish(topic, eventText({ summary: 'behind' }), alarm);
    await juliet.receives(saying('behind'));
    await broker.until(() => broker.acknowledged.length === bad.length + 1, 'all acknowledgements');
    const metrics = await hub.hub.metrics.text();
    for (const reason of new Set(bad.map(one => one[3]))) {
      const count = bad.filter(one => one[3] === reason).length;
      assert.match(metrics, new RegExp(`isthmus_calendar_discarded_total\\{reason="${reason}"\\} ${count}\\b`));
    }
  });

  it('lets the broker set aside what is unusable, where it is told to', async () => {
    await begin(', unusable: dead-letter');
    const id = broker.publish(topic, 'hello', alarm);
    broker.publish(topic, eventText({ summary: 'behind' }), alarm);
    await juliet.receives(saying('behind'));
    await broker.until(() => broker.dead.length === 1, 'the dead letter');
    assert.deepEqual(broker.dead, [id]);
  });

  it('is not stopped by rules that never end', async () => {
    await begin();
    const start = Date.now() - 60_000;
    for (const rule of [
      'FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30',
      'FREQ=SECONDLY;BYMONTH=12',
      'FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=31',
    ]) {
      broker.publish(topic, eventText({ uid: rule, summary: rule, start, lines: [`RRULE:${rule}`] }), alarm);
      await juliet.receives(saying(rule));
    }
    const dates = Array.from({ length: 20_000 }, (_, i) =>
      new Date(start + i * 86_400_000).toISOString().replace(/[-:]|\.\d+/g, ''),
    );
    const lines = [
      'RRULE:FREQ=DAILY',
      ...Array.from({ length: 20 }, (_, i) => `EXDATE:${dates.slice(i * 1000, (i + 1) * 1000).join(',')}`),
    ];
    broker.publish(topic, eventText({ uid: 'many', summary: 'many', start, lines }), alarm);
    await juliet.receives(saying('many'));
    broker.publish(topic, eventText({ uid: 'good', summary: 'good', start, lines: ['RRULE:FREQ=WEEKLY'] }), alarm);
    await juliet.receives(saying('good'));
    const availability = hub.bridges.find('calendar').commands!.availability;
    const end = Date.now() + 8_000;
    for (;;) {
      const told = (await availability.run(['juliet@hub.test'])) as { now: string; 'not expanded': { uid: string }[] };
      if (told['not expanded'].length === 4 && told.now.startsWith('In a meeting')) break;
      assert.ok(Date.now() < end, JSON.stringify(told));
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  });

  it('waits after a start for those who were online before', async () => {
    await begin();
    await juliet.close();
    broker.publish(topic, eventText({ summary: 'early' }), alarm);
    await broker.until(() => broker.acknowledged.length === 1, 'the acknowledgement');
    juliet = await hub.client('juliet@hub.test');
    await juliet.receives(saying('early'));
  });

  it('keeps alerts for those who are offline, where it is told to', async () => {
    await begin(', offline: store');
    await juliet.close();
    broker.publish(topic, eventText({ summary: 'kept' }), alarm);
    await broker.until(() => broker.acknowledged.length === 1, 'the acknowledgement');
    juliet = await hub.client('juliet@hub.test');
    const kept = await juliet.receives(saying('kept'));
    assert.ok(kept.child('delay', 'urn:xmpp:delay'));
  });
});

describe('a hub that is killed beside its broker', () => {
  it('loses no alert and tells none twice', async () => {
    const broker = await new StompBroker({ user: 'hub', password: 'secret' }).start();
    const directory = mkdtempSync(join(tmpdir(), 'isthmus-killed-'));
    const port = await freePort();
    const file = join(directory, 'isthmus.yaml');
    writeFileSync(
      file,
      `domains: { hub.test: {} }\nlisten: { c2s: ["127.0.0.1:${port}"], s2s: [], http: [] }\noffline: { messages: 1000 }\n${yaml({ main: broker.port }, ', offline: store')}`,
    );
    let child: ChildProcess | null = null;
    const start = () => {
      child = spawn(process.execPath, ['src/main.ts', 'start', '-c', file], { stdio: 'ignore' });
      return broker.until(() => broker.subscribers === 1, 'the subscription', 15_000).then(() => listens(port));
    };
    const kill = () => {
      const gone = new Promise(resolve => child!.once('exit', resolve));
      child!.kill('SIGKILL');
      return gone;
    };
    try {
      await start();
      await askAdmin(join(directory, 'data'), 'account add', ['juliet@hub.test', 'secret']);
      const heard: string[] = [];
      const total = 400;
      const login = { jid: 'juliet@hub.test', password: 'secret', port };
      let juliet = await connectClient(login);
      // While she is online, and while she is not: what is not acknowledged stays with the broker.
      for (let i = 0; i < total; i++) broker.publish(topic, eventText({ uid: `u${i}`, summary: `n${i}` }), alarm);
      await broker.until(() => broker.acknowledged.length >= 100, 'some acknowledgements');
      await kill();
      await juliet.ends();
      for (const alert of juliet.inbox) if (alert.name === 'message') heard.push(alert.childText('subject'));
      await start();
      await broker.until(() => broker.waiting === 0, 'all acknowledgements');
      juliet = await connectClient(login);
      while (heard.length < total) heard.push((await juliet.receives(e => e.name === 'message')).childText('subject'));
      await juliet.hasNot(e => e.name === 'message');
      assert.equal(new Set(heard).size, total);
      await juliet.close();
    } finally {
      await kill();
      await broker.stop();
      rmSync(directory, { recursive: true, force: true });
    }
  }).timeout(40_000);
});

function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

async function listens(port: number): Promise<void> {
  for (let left = 100; ; left--) {
    const answered = await new Promise<boolean>(resolve => {
      const socket = createConnection({ port, host: '127.0.0.1' }, () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (answered) return;
    assert.ok(left > 0, 'the hub does not listen');
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}
