// The scenarios of the bench, each run against one server.
import { type Connection, connectComponent, login } from './client.ts';
import { counter } from './counter.ts';
import { after, type Cost, type Pair, pace, saturate } from './flow.ts';
import { componentDomain, type Security, type Server } from './servers.ts';
import { usageOf } from './usage.ts';

export interface Bench {
  server: Server;
  /** A hub in a process of its own, whose costs do not count. */
  partner: Server;
  security: Security;
  seconds: number;
}

export interface Scenario {
  readonly name: string;
  /** The figures by their units, what counts first; null: there is nothing to measure here. */
  run(bench: Bench): Promise<Record<string, number> | null>;
}

const pairCount = 10;

function client(server: Server, user: string, security: Security, resource = 'bench'): Promise<Connection> {
  const { host, domain, registers } = server;
  return server
    .account(user)
    .catch(() => {}) // It is there from the scenario before.
    .then(() => login({ host, port: 5222, domain, user, resource, tls: security === 'tls', register: registers }));
}

async function pairsOf(make: (n: number) => Promise<Pair>): Promise<Pair[]> {
  const pairs: Pair[] = [];
  for (let n = 0; n < pairCount; n++) pairs.push(await make(n));
  return pairs;
}

function leave(pairs: readonly Pair[]): void {
  for (const { from, to } of pairs) {
    from.socket.destroy();
    to.socket.destroy();
  }
}

function messages({ cpu, rate }: Cost): Record<string, number> {
  return { 'µs CPU/message': cpu, 'messages/s': rate };
}

async function chatPairs({ server, security }: Bench): Promise<Pair[]> {
  return pairsOf(async n => ({
    from: await client(server, `from${n}`, security),
    to: await client(server, `to${n}`, security),
  }));
}

async function saturated(bench: Bench, pairs: Pair[]): Promise<Record<string, number>> {
  try {
    return messages(await saturate(bench.server.pid, pairs, bench.seconds));
  } finally {
    leave(pairs);
    await after(0.5);
  }
}

const chat: Scenario = {
  name: 'chat',
  run: async bench => saturated(bench, await chatPairs(bench)),
};

const steady: Scenario = {
  name: 'chat-at-2000',
  async run(bench) {
    const pairs = await chatPairs(bench);
    const { cpu, p50, p99 } = await pace(bench.server.pid, pairs, 2000, bench.seconds);
    leave(pairs);
    await after(0.5);
    return { 'µs CPU/message': cpu, 'ms p50': p50, 'ms p99': p99 };
  },
};

/** A link carries what all pairs send; the other end of each is on the partner. */
const linkIn: Scenario = {
  name: 'link-in',
  run: async bench =>
    saturated(
      bench,
      await pairsOf(async n => ({
        from: await client(bench.partner, `far${n}`, 'plain'),
        to: await client(bench.server, `to${n}`, 'plain'),
      })),
    ),
};

const linkOut: Scenario = {
  name: 'link-out',
  run: async bench =>
    saturated(
      bench,
      await pairsOf(async n => ({
        from: await client(bench.server, `from${n}`, 'plain'),
        to: await client(bench.partner, `far${n}`, 'plain'),
      })),
    ),
};

/** One component; each pair has its own client. */
function component(name: string, inward: boolean): Scenario {
  return {
    name,
    async run(bench) {
      if (bench.security === 'tls') return null;
      const { host, componentPort } = bench.server;
      const echo = await connectComponent(host, componentPort, componentDomain);
      const other = await client(bench.server, inward ? 'to0' : 'from0', 'plain');
      return saturated(bench, [inward ? { from: echo, to: other } : { from: other, to: echo }]);
    },
  };
}

const watchers = 50;

const broadcast: Scenario = {
  name: 'presence',
  async run(bench) {
    const { server, security, seconds } = bench;
    const star = await client(server, 'star', security);
    const fans: Connection[] = [];
    let seen = 0;
    for (let n = 0; n < watchers; n++) {
      const fan = await client(server, `fan${n}`, security);
      fans.push(fan);
      const done = new Promise<void>(resolve => {
        fan.onData = data => data.includes(star.jid) && resolve();
      });
      star.onData = data => {
        if (!data.includes('subscribe')) return;
        star.socket.write(`<presence to='fan${n}@${server.domain}' type='subscribed'/>`);
      };
      fan.socket.write(`<presence to='star@${server.domain}' type='subscribe'/>`);
      await done;
    }
    await after(0.5);
    for (const fan of fans) {
      const presences = counter('</presence>');
      fan.onData = data => {
        seen += presences(data);
      };
    }
    let rounds = 0;
    star.onData = () => {};
    const begin = async (count: number) => {
      const wanted = seen + count * watchers;
      const change = Buffer.concat(
        Array.from({ length: count }, () => Buffer.from(`<presence><status>round ${rounds++}</status></presence>`)),
      );
      star.socket.write(change);
      while (seen < wanted) await after(0.005);
    };
    await begin(50);
    const before = { cpu: usageOf(server.pid).cpu, seen, at: performance.now() };
    while (performance.now() - before.at < seconds * 1000) await begin(20);
    const cpu = usageOf(server.pid).cpu - before.cpu;
    const delivered = seen - before.seen;
    const took = (performance.now() - before.at) / 1000;
    for (const one of [star, ...fans]) one.socket.destroy();
    await after(0.5);
    return { 'µs CPU/presence': cpu / delivered, 'presences/s': delivered / took };
  },
};

const contacts = 50;
const logins = 1_000;

/** A storm of logins: SCRAM, binding, a roster of fifty, presence; twenty users, again and again. */
const storm: Scenario = {
  name: 'logins',
  async run({ server, security }) {
    const users = 20;
    const account = (n: number) => ({
      host: server.host,
      port: 5222,
      domain: server.domain,
      user: `storm${n % users}`,
      resource: `r${n}`,
      tls: security === 'tls',
    });
    for (let n = 0; n < users; n++) {
      const own = await client(server, `storm${n}`, security);
      const done = new Promise<void>(resolve => {
        const results = counter("type='result'");
        const doubled = counter('type="result"');
        let seen = 0;
        own.onData = data => {
          seen += results(data) + doubled(data);
          if (seen >= contacts) resolve();
        };
      });
      for (let i = 0; i < contacts; i++) {
        const item = `<item jid='contact${i}@${server.domain}' name='Contact ${i}'><group>Friends</group></item>`;
        own.socket.write(`<iq type='set' id='c${i}'><query xmlns='jabber:iq:roster'>${item}</query></iq>`);
      }
      await done;
      own.socket.destroy();
    }
    await after(1);
    const before = usageOf(server.pid).cpu;
    const began = performance.now();
    let next = 0;
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        while (next < logins) {
          const connection = await login({ ...account(next++), scram: true, roster: true });
          connection.socket.end('</stream:stream>');
        }
      }),
    );
    const took = (performance.now() - began) / 1000;
    await after(1);
    const cpu = usageOf(server.pid).cpu - before;
    return { 'ms CPU/login': cpu / 1000 / logins, 'logins/s': logins / took };
  },
};

const idle: Scenario = {
  name: 'idle',
  async run({ server, security }) {
    const count = Number(process.env.BENCH_IDLE ?? (security === 'tls' ? 4000 : 8000));
    const users = 50;
    for (let n = 0; n < users; n++) (await client(server, `idle${n}`, security)).socket.destroy();
    await after(2);
    const before = usageOf(server.pid).memory;
    const sessions: Connection[] = [];
    const { host, domain } = server;
    const tls = security === 'tls';
    const open = async (n: number) => {
      const user = `idle${n % users}`;
      sessions.push(await login({ host, port: 5222, domain, user, resource: `r${n}`, tls, quiet: true }));
    };
    let next = 0;
    await Promise.all(
      Array.from({ length: 16 }, async () => {
        while (next < count) await open(next++);
      }),
    );
    await after(5);
    const memory = usageOf(server.pid).memory - before;
    for (const { socket } of sessions) socket.destroy();
    await after(2);
    return { 'KiB/session': memory / 1024 / count, sessions: count };
  },
};

export const scenarios: readonly Scenario[] = [
  chat,
  steady,
  linkIn,
  linkOut,
  component('component-in', true),
  component('component-out', false),
  broadcast,
  storm,
  idle,
];
