// Calendars from real brokers: a JMS producer through ActiveMQ over STOMP, and RabbitMQ over AMQP 1.0 and STOMP.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Delivery } from '../../src/bridges/calendar/broker.ts';
import { connectStomp } from '../../src/bridges/calendar/stomp.ts';
import { askAdmin } from '../../src/hub/admin.ts';
import { eventText } from '../bridges/calendar/objects.ts';
import { createAuthority } from '../support/authority.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { hubDirectory } from '../support/process.ts';
import { until } from '../support/until.ts';
import { ActiveMq, JmsProducer } from './calendar/activemq.ts';
import { RabbitMq } from './calendar/rabbitmq.ts';

const topic = 'DavNotificationTopic';
const alarm = { MQ_MESSAGE_TYPE_HEADER_PROPERTY: 'alarm', calid: 'juliet@hub.test', comptype: 'event', rid: '0' };
const change = { MQ_MESSAGE_TYPE_HEADER_PROPERTY: 'CREATEEVENT', calid: 'juliet@hub.test' };
const minute = 60_000;

const saying = (text: string) => (e: { name: string; childText(name: string): string }) =>
  e.name === 'message' && e.childText('subject') === text;

function yaml(broker: string): string {
  return `bridges: { calendar: { kind: calendar, domain: calendar.hub.test, brokers: { main: ${broker} } } }`;
}

const shown = (hub: TestHub) =>
  (hub.bridges.find('calendar').show() as { brokers: { state: string; 'last error': string }[] }).brokers[0];

async function state(hub: TestHub, wanted: string, deadline = 20_000): Promise<void> {
  const end = Date.now() + deadline;
  while (shown(hub).state !== wanted) {
    assert.ok(Date.now() < end, `${wanted} was expected: ${JSON.stringify(shown(hub))}`);
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

async function metric(hub: TestHub, pattern: RegExp): Promise<void> {
  const end = Date.now() + 5_000;
  for (;;) {
    const text = await hub.hub.metrics.text();
    if (pattern.test(text)) return;
    assert.ok(
      Date.now() < end,
      `${pattern} is not in\n${text
        .split('\n')
        .filter(line => line.includes('calendar'))
        .join('\n')}`,
    );
    await new Promise(resolve => setTimeout(resolve, 50));
  }
}

/** The queue that ActiveMQ puts aside what nobody takes. */
const deadLetters = {
  name: 'dead',
  protocol: 'stomp' as const,
  port: 61_613,
  tls: false,
  virtualHost: 'localhost',
  topic: '/queue/ActiveMQ.DLQ',
  durable: false,
  clientId: 'reader',
};

describe('ActiveMQ and a JMS producer', () => {
  const address = '127.0.0.71';
  const broker = `{ url: "stomp://${address}:61613", user: hub, password: secret }`;
  let activemq: ActiveMq;
  let producer: JmsProducer;
  let authority: Awaited<ReturnType<typeof createAuthority>>;
  let hub: TestHub | null = null;
  let juliet: Client;

  before(async () => {
    authority = await createAuthority();
    const certificate = await authority.issue({ names: ['localhost'] });
    activemq = new ActiveMq({ address, user: 'hub', password: 'secret', certificate, tlsPort: 61_614 });
    await activemq.start();
    producer = new JmsProducer(address, 'hub', 'secret', topic);
    await producer.ready();
  });
  after(async () => {
    producer?.close();
    await activemq?.close();
  });
  afterEach(async () => {
    await hub?.close();
    hub = null;
  });

  async function begin(): Promise<TestHub> {
    hub = await startTestHub(['hub.test'], { yaml: yaml(broker) });
    juliet = await hub.client('juliet@hub.test');
    await state(hub, 'connected');
    return hub;
  }

  it('brings alerts from text and bytes messages', async () => {
    await begin();
    await producer.publish('text', eventText({ uid: 'a1', summary: 'Standup ☕' }), alarm);
    await juliet.receives(saying('Reminder: Standup ☕'));
    await producer.publish('bytes', eventText({ uid: 'a2', summary: 'Tea', method: 'REQUEST' }), {
      calid: 'juliet@hub.test',
    });
    await juliet.receives(saying('Invitation: Tea'));
    await producer.publish('text', `<alarm><title>Review</title><start>${Date.now() + minute}</start></alarm>`, alarm);
    await juliet.receives(saying('Reminder: Review'));
  });

  it('makes a meeting a presence', async () => {
    const running = await begin();
    await producer.publish('text', eventText({ uid: 'm1', start: Date.now() - minute }), change);
    await juliet.receives(e => e.name === 'presence' && e.childText('show') === 'dnd');
    const told = await running.bridges.find('calendar').commands!.availability.run(['juliet@hub.test']);
    assert.match((told as { now: string }).now, /^In a meeting until/);
  });

  it('counts and passes over map, object and empty messages', async () => {
    const running = await begin();
    await producer.publish('map', 'x', alarm);
    await producer.publish('object', 'x', alarm);
    await producer.publish('text', '', alarm);
    await producer.publish('text', eventText({ uid: 'b1', summary: 'behind' }), alarm);
    await juliet.receives(saying('Reminder: behind'));
    await metric(running, /discarded_total\{reason="empty"\} 3/);
  });

  it('lets the broker set aside what is unusable, where it is told to', async () => {
    hub = await startTestHub(['hub.test'], { yaml: yaml(broker).replace(/ } }$/, ', unusable: dead-letter } }') });
    await state(hub, 'connected');
    await producer.publish('text', 'no calendar at all', alarm);
    await metric(hub, /discarded_total\{reason="unknown-type"\} 1/);
    const config = { ...deadLetters, host: address, user: 'hub', password: 'secret' };
    const letter = await new Promise<Delivery>((resolve, reject) => {
      const connection = connectStomp(config, [], {
        opened() {},
        closed: reason => reject(new Error(reason)),
        message(delivery) {
          delivery.settle('accept');
          resolve(delivery);
          setTimeout(() => void connection.end(), 100);
        },
      });
    });
    assert.equal(Buffer.from(letter.body).toString(), 'no calendar at all');
  });

  it('passes over 50 MB', async () => {
    const running = await begin();
    await producer.publish('large', String(50 * 1024 * 1024), alarm);
    await producer.publish('text', eventText({ uid: 'c1', summary: 'behind' }), alarm);
    await juliet.receives(saying('Reminder: behind'), 20_000);
    await metric(running, /discarded_total\{reason="too-large"\} 1/);
  });

  it('comes back after the broker was killed, and loses nothing', async () => {
    const running = await begin();
    await producer.publish('text', eventText({ uid: 'd1', summary: 'before' }), alarm);
    await juliet.receives(saying('Reminder: before'));
    await activemq.kill();
    await state(running, 'waiting');
    await activemq.start();
    // The producer fails over; the subscription is durable, whether we are back already or not.
    await producer.publish('text', eventText({ uid: 'd2', summary: 'after' }), alarm);
    await juliet.receives(saying('Reminder: after'), 30_000);
    await juliet.hasNot(saying('Reminder: before'));
  });

  it('notices within ten seconds that the broker is frozen, and comes back', async () => {
    const running = await begin();
    activemq.freeze(true);
    try {
      await state(running, 'waiting', 10_000);
    } finally {
      activemq.freeze(false);
    }
    await state(running, 'connected', 30_000);
    await producer.publish('text', eventText({ uid: 'f1', summary: 'thawed' }), alarm);
    await juliet.receives(saying('Reminder: thawed'), 20_000);
  });

  it('gets what was published while the hub was down, once', async () => {
    const first = await begin();
    await juliet.close();
    await first.stop();
    for (let i = 0; i < 20; i++) await producer.publish('text', eventText({ uid: `e${i}`, summary: `n${i}` }), alarm);
    const again = await first.restart();
    hub = again;
    juliet = await again.client('juliet@hub.test');
    for (let i = 0; i < 20; i++) await juliet.receives(saying(`Reminder: n${i}`), 20_000);
    await juliet.hasNot(e => e.name === 'message');
  });

  it('loses no alert and doubles none while the hub is killed again and again', async () => {
    const place = hubDirectory(`domains: { hub.test: {} }
offline: { messages: 1000 }
bridges: { calendar: { kind: calendar, domain: calendar.hub.test, offline: store, brokers: { main: ${broker} } } }`);
    let running = await place.start();
    try {
      await askAdmin(join(place.path, 'data'), 'account add', ['juliet@hub.test', 'a password for tests']);
      const connected = async () => {
        const { brokers } = (await askAdmin(join(place.path, 'data'), 'bridge', ['show', 'calendar'])) as {
          brokers: { state: string }[];
        };
        return brokers[0].state === 'connected';
      };
      await until(connected, 20_000);
      const wanted = Array.from({ length: 300 }, (_, n) => `Reminder: k${n}`);
      let published = 0;
      const publish = async (upTo: number) => {
        for (; published < upTo; published++) {
          const object = eventText({ uid: `k${published}`, summary: `k${published}` });
          await producer.publish('text', object, alarm);
        }
      };
      for (const upTo of [100, 200, 300]) {
        const publishing = publish(upTo);
        await until(() => published > upTo - 60);
        assert.equal((await running.kill('SIGKILL')).signal, 'SIGKILL');
        await publishing;
        running = await place.start();
        await until(connected, 30_000);
      }
      const reader = await running.client('juliet@hub.test');
      const seen = () => reader.inbox.filter(e => e.name === 'message').map(e => e.childText('subject'));
      await reader.waits(() => new Set(seen()).size === wanted.length, 'every reminder', 30_000);
      assert.deepEqual([...seen()].sort(), [...wanted].sort());
      await reader.close();
    } finally {
      await running.kill('SIGTERM');
      place.remove();
    }
  }).timeout(120_000);

  it('says that a password is wrong, and does not try again at once', async () => {
    hub = await startTestHub(['hub.test'], {
      yaml: yaml(`{ url: "stomp://${address}:61613", user: hub, password: wrong }`),
    });
    await state(hub, 'refused');
    assert.match(shown(hub)['last error'], /password|credential|user/i);
  });

  it('works over TLS, and refuses a broker whose certificate it cannot trust', async () => {
    const tls = `{ url: "stomp+ssl://localhost:61614", user: hub, password: secret, durable: false }`;
    hub = await startTestHub(['hub.test'], {
      yaml: `${yaml(tls)}\ntls: { trust: [ca.crt] }`,
      files: { 'ca.crt': authority.certificate },
    });
    await state(hub, 'connected');
    await hub.close();
    hub = await startTestHub(['hub.test'], { yaml: yaml(tls) });
    await state(hub, 'waiting');
    assert.match(shown(hub)['last error'], /certificate|issuer/i);
  });
});

describe('RabbitMQ', () => {
  const address = '127.0.0.72';
  const amqp = `{ url: "amqp://${address}:5672", user: hub, password: secret, topic: /amq/queue/isthmus }`;
  let rabbit: RabbitMq;
  let hub: TestHub | null = null;
  let juliet: Client;

  before(async () => {
    rabbit = new RabbitMq({ address, user: 'hub', password: 'secret', topic, queue: 'isthmus' });
    await rabbit.start();
  });
  after(() => rabbit?.close());
  afterEach(async () => {
    await hub?.close();
    hub = null;
  });

  async function begin(setup = amqp): Promise<TestHub> {
    hub = await startTestHub(['hub.test'], { yaml: yaml(setup) });
    juliet = await hub.client('juliet@hub.test');
    await state(hub, 'connected');
    return hub;
  }

  it('brings alerts and meetings over AMQP 1.0', async () => {
    await begin();
    await rabbit.publish(eventText({ uid: 'a1', summary: 'Standup' }), alarm);
    await juliet.receives(saying('Reminder: Standup'));
    await rabbit.publish(Buffer.from(eventText({ uid: 'a2', summary: 'Tea', start: Date.now() - minute })), change);
    await juliet.receives(e => e.name === 'presence' && e.childText('show') === 'dnd');
  });

  it('drops what comes twice, and passes over what is too large or no calendar', async () => {
    const running = await begin();
    for (let i = 0; i < 2; i++) await rabbit.publish(eventText({ uid: 'b1', summary: 'once' }), alarm, 'same');
    await rabbit.publish('hello', alarm);
    await rabbit.publish(Buffer.alloc(20 * 1024 * 1024, 65), alarm);
    await rabbit.publish(eventText({ uid: 'b2', summary: 'behind' }), alarm);
    await juliet.receives(saying('Reminder: once'));
    await juliet.receives(saying('Reminder: behind'), 20_000);
    await juliet.hasNot(saying('Reminder: once'));
    await metric(running, /duplicates_total\{broker="main"\} 1/);
    await metric(running, /discarded_total\{reason="too-large"\} 1/);
    await metric(running, /discarded_total\{reason="unknown-type"\} 1/);
  });

  it('brings alerts over its STOMP door as well', async () => {
    await begin(`{ url: "stomp://${address}:61613", virtual-host: /, user: hub, password: secret }`);
    // Properties do not pass from AMQP 1.0 to STOMP there: the object itself says whose it is.
    const calendar = ['X-WR-CALOWNER:mailto:juliet@hub.test'];
    await rabbit.publish(Buffer.from(eventText({ uid: 'c1', summary: 'by STOMP', method: 'REQUEST', calendar })));
    await juliet.receives(saying('Invitation: by STOMP'));
  });

  it('says that a password is wrong', async () => {
    hub = await startTestHub(['hub.test'], { yaml: yaml(amqp.replace('secret', 'wrong')) });
    await state(hub, 'refused');
  });

  it('notices within ten seconds that the broker is frozen, and comes back', async () => {
    const running = await begin();
    rabbit.freeze(true);
    try {
      await state(running, 'waiting', 10_000);
    } finally {
      rabbit.freeze(false);
    }
    await state(running, 'connected', 30_000);
    await rabbit.publish(eventText({ uid: 'f1', summary: 'thawed' }), alarm);
    await juliet.receives(saying('Reminder: thawed'), 20_000);
  });

  it('gets what was published while the hub was down, and comes back after the broker was killed', async () => {
    const first = await begin();
    await juliet.close();
    await first.stop();
    await rabbit.publish(eventText({ uid: 'd1', summary: 'while down' }), alarm);
    const again = await first.restart();
    hub = again;
    juliet = await again.client('juliet@hub.test');
    await juliet.receives(saying('Reminder: while down'), 20_000);
    await rabbit.kill();
    await state(again, 'waiting');
    await rabbit.start();
    await state(again, 'connected', 40_000);
    await rabbit.publish(eventText({ uid: 'd2', summary: 'back' }), alarm);
    await juliet.receives(saying('Reminder: back'), 20_000);
  });
});
