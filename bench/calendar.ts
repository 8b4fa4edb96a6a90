// The calendar bench: notifications from a broker into clients, and how late meetings begin among 100,000.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Agenda } from '../src/bridges/calendar/agenda.ts';
import { availabilityPresence, stateAt } from '../src/bridges/calendar/availability.ts';
import { BusyTimes } from '../src/bridges/calendar/busy-times.ts';
import { readICalendar } from '../src/bridges/calendar/icalendar.ts';
import { Recurrence } from '../src/bridges/calendar/recurrence.ts';
import { Transitions } from '../src/bridges/calendar/transitions.ts';
import { askAdmin } from '../src/hub/admin.ts';
import { openSqlite } from '../src/store/sqlite.ts';
import { Jid } from '../src/xmpp/jid.ts';
import { eventText } from '../test/bridges/calendar/objects.ts';
import { startProcess } from '../test/peers/process.ts';
import { StompBroker } from '../test/support/stomp-broker.ts';
import { type Connection, login } from './load/client.ts';
import { after } from './load/flow.ts';
import { usageOf } from './load/usage.ts';

const host = '127.0.0.31';
const topic = 'DavNotificationTopic';
const users = 100;

interface Running {
  pid: number;
  broker: StompBroker;
  connections: Connection[];
  stop(): Promise<void>;
}

/** A hub in a process of its own, a broker in this one, and the clients of all users. */
async function start(): Promise<Running> {
  const broker = await new StompBroker({ user: 'hub', password: 'secret' }).start();
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
  writeFileSync(
    join(directory, 'isthmus.yaml'),
    `data: data
log: { level: warn, format: json }
domains: { sut.test: {} }
listen: { c2s: ["${host}:5222"], s2s: [], http: [] }
clients: { require-tls: false }
limits: { rate: { c2s: 0 }, connections: { per-address: 100000 } }
bridges:
  calendar:
    kind: calendar
    domain: calendar.sut.test
    brokers: { main: { url: "stomp://127.0.0.1:${broker.port}", user: hub, password: secret } }
`,
  );
  const running = await startProcess(
    {
      command: join(import.meta.dirname, '../bin/isthmus'),
      args: ['start', '-c', join(directory, 'isthmus.yaml')],
      cwd: directory,
    },
    { host, port: 5222 },
  );
  const connections: Connection[] = [];
  for (let i = 0; i < users; i++) {
    await askAdmin(join(directory, 'data'), 'account add', [`u${i}@sut.test`, 'secret']);
    connections.push(await login({ host, port: 5222, domain: 'sut.test', user: `u${i}`, resource: 'b', tls: false }));
  }
  await broker.until(() => broker.subscribers === 1, 'the subscription');
  return {
    pid: running.pid,
    broker,
    connections,
    async stop() {
      for (const { socket } of connections) socket.destroy();
      await running.stop();
      await broker.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

let published = 0;

function publish(broker: StompBroker): void {
  const i = published++;
  const text = eventText({
    uid: `e${i}`,
    summary: `t${Math.round(performance.now() * 1000)}t`,
    lines: ['LOCATION:Hall'],
  });
  broker.publish(topic, text, { MQ_MESSAGE_TYPE_HEADER_PROPERTY: 'alarm', calid: `u${i % users}@sut.test` });
}

/** Publishes at a rate (0: as fast as it goes) and prints what came through. */
async function flow({ pid, broker, connections }: Running, rate: number, seconds: number): Promise<void> {
  const times: number[] = [];
  for (const connection of connections) {
    connection.onData = data => {
      const now = performance.now();
      for (const [, at] of data.toString('latin1').matchAll(/<body>Reminder: t(\d+)t/g))
        times.push(now - Number(at) / 1000);
    };
  }
  const began = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = rate === 0 ? times.length + 1_000 : ((performance.now() - began) * rate) / 1000;
    for (; sent < due; sent++) publish(broker);
  }, 2);
  await after(2);
  times.length = 0;
  sent = 0;
  const counted = performance.now();
  if (rate > 0) sent = ((counted - began) * rate) / 1000;
  const before = usageOf(pid).cpu;
  await after(seconds);
  const cpu = usageOf(pid).cpu - before;
  const count = times.length;
  const took = (performance.now() - counted) / 1000;
  clearInterval(timer);
  times.sort((a, b) => a - b);
  const share = (part: number) => times[Math.floor(count * part)]?.toFixed(1);
  console.log(
    `${rate === 0 ? 'as fast as it goes' : `${rate}/s`}: ${Math.round(count / took)} alerts/s, ${(cpu / count).toFixed(0)} µs each, ${((cpu / 1e6 / took) * 100).toFixed(0)} % of a core, p50 ${share(0.5)} ms, p99 ${share(0.99)} ms`,
  );
  await broker.until(() => broker.waiting === 0, 'the rest', 60_000);
}

/** 100,000 stored times; 20,000 of them begin one after the other within 20 s, 10,000 at one moment. */
async function transitions(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
  const store = openSqlite(join(directory, 'bench.db'));
  const recurrence = new Recurrence();
  const times = new BusyTimes(store);
  const agenda = new Agenda(store, times, recurrence, { changed() {}, refused() {}, zone: () => 'UTC' });
  const began = performance.now();
  const [entry] = readICalendar(eventText()).entries;
  const first = Date.now() + 60_000;
  const due = new Map<string, number>();
  for (let i = 0; i < 100_000; i++) {
    const jid = `u${i}@sut.test`;
    const wall = i < 20_000 ? first + i : i < 30_000 ? first + 22_000 : first + 3_600_000 + i * 100;
    const start = { wall, zone: 'UTC', day: false };
    const end = { ...start, wall: wall + 1_800_000 };
    if (i < 30_000) due.set(jid, wall);
    agenda.put({ jid, addresses: new Set(), zone: 'UTC' }, [{ ...entry, uid: `e${i}`, start, end }], Date.now());
    if (i % 1_000 === 999) await store.durable();
  }
  const took = (performance.now() - began) / 1000;
  console.log(`100,000 events stored in ${took.toFixed(1)} s, ${times.count} busy times`);
  const late: number[] = [];
  const timer = new Transitions(times, jid => {
    const now = Date.now();
    const state = stateAt(times.spans(jid, now), now);
    if (state) availabilityPresence(Jid.parse(jid), state, now, 'UTC');
    late.push(now - due.get(jid)!);
  });
  timer.start();
  await after((first + 26_000 - Date.now()) / 1000);
  timer.stop();
  const spread = late.slice(0, 20_000).sort((a, b) => a - b);
  const burst = late.slice(20_000).sort((a, b) => a - b);
  const share = (list: number[], part: number) => `${list[Math.floor((list.length - 1) * part)]} ms`;
  console.log(
    `${spread.length} that begin 1,000 a second: late by p50 ${share(spread, 0.5)}, p99 ${share(spread, 0.99)}, most ${share(spread, 1)}`,
  );
  console.log(
    `${burst.length} that begin at one moment: late by p50 ${share(burst, 0.5)}, p99 ${share(burst, 0.99)}, most ${share(burst, 1)}`,
  );
  await recurrence.close();
  await store.close();
  rmSync(directory, { recursive: true, force: true });
}

const chosen = process.argv[2] ?? 'all';
if (chosen === 'all' || chosen === 'flow') {
  const running = await start();
  await flow(running, 2_000, 8);
  await flow(running, 0, 8);
  await running.stop();
}
if (chosen === 'all' || chosen === 'transitions') await transitions();
process.exit(0);
