// Short messages: how many go through the bridge and its store into an SMSC, beside Kannel; and how a full queue restarts.
import { type ChildProcess, fork, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { SmsQueue } from '../src/bridges/sms/queue.ts';
import { openSqlite } from '../src/store/sqlite.ts';

const { values } = parseArgs({
  options: {
    messages: { type: 'string', default: '50000' },
    kannel: { type: 'string', default: '10000' },
    queue: { type: 'string', default: '1000000' },
  },
});
const directory = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
const children: ChildProcess[] = [];

function launch(file: string, ...args: (string | number)[]): ChildProcess {
  const child = fork(join(import.meta.dirname, 'load', file), args.map(String));
  children.push(child);
  return child;
}

/** The next message of a child that has this key. */
function hears<T>(child: ChildProcess, key: string): Promise<T> {
  return new Promise(resolve => {
    const listen = (message: object): void => {
      if (!(key in message)) return;
      child.off('message', listen);
      resolve(message as T);
    };
    child.on('message', listen);
  });
}

async function counted(smsc: ChildProcess): Promise<{ submits: number; seconds: number }> {
  const answer = hears<{ submits: number; seconds: number }>(smsc, 'submits');
  smsc.send('count');
  return answer;
}

async function all(smsc: ChildProcess, count: number): Promise<{ submits: number; seconds: number }> {
  const end = Date.now() + 300_000;
  for (;;) {
    const got = await counted(smsc);
    if (got.submits >= count) return got;
    if (Date.now() > end) throw new Error(`the SMSC has ${got.submits} of ${count}`);
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}

/** Messages a second through the bridge, each kept in the store before it counts as taken. */
async function bridge(smsc: ChildProcess, port: number, count: number): Promise<number> {
  smsc.send('reset');
  const child = launch('sms-bridge.ts', join(directory, 'flow.db'), port, count, 500);
  const { cpu } = await hears<{ cpu: number }>(child, 'cpu');
  const { seconds, submits } = await all(smsc, count);
  child.disconnect();
  const rate = submits / seconds;
  console.log(
    `isthmus  ${rate.toFixed(0)} messages a second (${submits} in ${seconds.toFixed(1)} s, ${((cpu / count) * 1e6).toFixed(0)} µs of processor each)`,
  );
  return rate;
}

/** The same through Kannel: HTTP in, its spool on, the same window. Null where it is not installed. */
async function kannel(smsc: ChildProcess, port: number, count: number): Promise<number | null> {
  if (spawnSync('which', ['bearerbox']).status !== 0) return null;
  smsc.send('reset');
  mkdirSync(join(directory, 'spool'));
  const config = join(directory, 'kannel.conf');
  const [admin, box, http] = [33_000, 33_001, 33_013];
  writeFileSync(
    config,
    `group = core
admin-port = ${admin}
admin-password = bench
smsbox-port = ${box}
store-type = spool
store-location = "${join(directory, 'spool')}"
box-allow-ip = "127.0.0.1"
log-level = 3

group = smsc
smsc = smpp
host = 127.0.0.1
port = ${port}
transceiver-mode = true
smsc-username = bench
smsc-password = bench
system-type = ""
max-pending-submits = 100

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = ${http}
log-level = 3

group = sendsms-user
username = bench
password = bench
concatenation = true
max-messages = 3
`,
  );
  for (const [box_, ready] of [
    ['bearerbox', box],
    ['smsbox', http],
  ] as const) {
    children.push(spawn(box_, ['-v', '4', config], { stdio: 'ignore' }));
    await listens(ready);
  }
  const agent = new Agent({ keepAlive: true, maxSockets: 50 });
  let next = 0;
  const send = async (): Promise<void> => {
    while (next < count) {
      const i = next++;
      const path = `/cgi-bin/sendsms?username=bench&password=bench&from=15550001111&to=1555${String(i).padStart(7, '0')}&text=message+${i}+of+the+bench`;
      await new Promise<void>((resolve, reject) => {
        const sent = request({ host: '127.0.0.1', port: http, path, agent }, answer => {
          answer.resume();
          answer.on('end', resolve);
          if (answer.statusCode !== 202) reject(new Error(`Kannel answers ${answer.statusCode}`));
        });
        sent.on('error', reject);
        sent.end();
      });
    }
  };
  await Promise.all(Array.from({ length: 50 }, send));
  const { seconds, submits } = await all(smsc, count);
  agent.destroy();
  const rate = submits / seconds;
  console.log(`Kannel   ${rate.toFixed(0)} messages a second (${submits} in ${seconds.toFixed(1)} s)`);
  return rate;
}

async function listens(port: number): Promise<void> {
  const { createConnection } = await import('node:net');
  for (let tries = 0; tries < 100; tries++) {
    const open = await new Promise<boolean>(resolve => {
      const socket = createConnection({ host: '127.0.0.1', port });
      socket.once('connect', () => resolve(socket.destroy() !== null));
      socket.once('error', () => resolve(false));
    });
    if (open) return;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  throw new Error(`nothing listens on ${port}`);
}

/** A queue of this many messages: how long until the first one flows after a start, and in how much memory. */
async function restart(smsc: ChildProcess, port: number, count: number): Promise<void> {
  const path = join(directory, 'full.db');
  const store = openSqlite(path);
  const queue = new SmsQueue(store, 'sms.hub.test');
  for (let i = 0; i < count; i++) {
    const number = `+1555${String(i % 10_000_000).padStart(7, '0')}`;
    const text = `message ${i} of a queue that is very long, with as many words as people write`;
    queue.add({ route: '', number, text, sender: 'romeo@hub.test/orchard', stanza: `q${i}`, flags: 1 });
    if (i % 10_000 === 0) await store.durable();
  }
  await store.close();
  smsc.send('reset');
  const first = hears(smsc, 'first');
  const began = performance.now();
  const child = launch('sms-bridge.ts', path, port, 0, 0);
  await first;
  const seconds = (performance.now() - began) / 1000;
  let most = 0;
  let left = count;
  for (let i = 0; i < 20; i++) {
    await new Promise(resolve => setTimeout(resolve, 250));
    const answer = hears<{ memory: number; queue: number }>(child, 'memory');
    child.send('memory');
    const { memory, queue: now } = await answer;
    most = Math.max(most, memory);
    left = now;
  }
  child.disconnect();
  console.log(
    `restart  ${count} queued: the first flows ${seconds.toFixed(2)} s after the process began, ${((count - left) / 5).toFixed(0)} a second then, ${Math.round(most / 1024 / 1024)} MiB resident at most`,
  );
}

try {
  const smsc = launch('smsc.ts');
  const { port } = await hears<{ port: number }>(smsc, 'port');
  const own = await bridge(smsc, port, Number(values.messages));
  const other = await kannel(smsc, port, Number(values.kannel));
  if (other) console.log(`the bridge carries ${(own / other).toFixed(1)} times what Kannel does`);
  else console.log('Kannel is not installed');
  await restart(smsc, port, Number(values.queue));
} finally {
  for (const child of children) child.kill();
  rmSync(directory, { recursive: true, force: true });
}
process.exit(0);
