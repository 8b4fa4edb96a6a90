// What links cost the hub: a stanza at ten and at a thousand remote domains, and the making of a link beside ejabberd's.
import { createAuthority } from '../test/support/authority.ts';
import { startZones } from '../test/support/zones.ts';
import { type Connection, login } from './load/client.ts';
import { counter } from './load/counter.ts';
import { after } from './load/flow.ts';
import { type Server, servers, startHubProcess } from './load/servers.ts';
import { usageOf } from './load/usage.ts';

const authority = await createAuthority();
const zones = await startZones('');
const surroundings = {
  zones,
  authority: authority.certificate,
  issue: (domain: string) => authority.issue({ names: [domain, `*.${domain}`], usages: ['serverAuth', 'clientAuth'] }),
};
const most = 1_000;
const remotes = Array.from({ length: most }, (_, n) => `d${n}.partner.test`);

function records(host: string): string {
  const srv = (domain: string, target: string) => `_xmpp-server._tcp.${domain} 600 IN SRV 5 1 5269 ${target}`;
  const own = [
    srv('sut.test', 'xmpp.sut.test'),
    `xmpp.sut.test 600 IN A ${host}`,
    'xmpp.partner.test 600 IN A 127.0.0.5',
  ];
  return [...own, ...remotes.map(domain => srv(domain, 'xmpp.partner.test'))].join('\n');
}

/** What a partner's user hears: messages, counted. */
function count(connection: Connection): () => number {
  const messages = counter('</message>');
  let seen = 0;
  connection.onData = data => {
    seen += messages(data);
  };
  return () => seen;
}

async function reaches(count: () => number, wanted: number): Promise<void> {
  const end = performance.now() + 120_000;
  while (count() < wanted) {
    if (performance.now() > end) throw new Error(`only ${count()} of ${wanted} messages came`);
    await after(0.01);
  }
}

function message(to: string): string {
  return `<message to='${to}' type='chat' id='0123456789abcdef'><body>${'x'.repeat(120)}</body></message>`;
}

async function measure(server: Server, partner: Server): Promise<void> {
  const { host, domain, registers, pid } = server;
  await server.account('sender').catch(() => {});
  const sender = await login({
    host,
    port: 5222,
    domain,
    user: 'sender',
    resource: 'bench',
    tls: false,
    register: registers,
  });
  // One user of the partner hub has an account in each of its domains, all reached through one: the first.
  const users = await Promise.all(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(async n => {
      await partner.account(`far@${remotes[n]}`).catch(() => {});
      return login({ host: partner.host, port: 5222, domain: remotes[n], user: 'far', resource: 'bench', tls: false });
    }),
  );
  const counters = users.map(count);
  const ten = () => counters.reduce((sum, one) => sum + one(), 0);

  const before = usageOf(pid).cpu;
  for (let n = 0; n < 10; n++) sender.socket.write(message(`far@${remotes[n]}`));
  await reaches(ten, 10);
  // The other domains have nobody at home: what they answer shows that the link is there.
  let answers = 0;
  const iqs = counter('<iq ');
  sender.onData = data => {
    answers += iqs(data);
  };
  const made = usageOf(pid).cpu;
  for (const remote of remotes.slice(10)) {
    sender.socket.write(`<iq type='get' id='p' to='${remote}'><ping xmlns='urn:xmpp:ping'/></iq>`);
    if (answers % 50 === 0) await after(0.001);
  }
  await reaches(() => answers, most - 10);
  const links = usageOf(pid).cpu;
  console.log(
    `${server.name.padEnd(16)} making a link, both ways: ${((links - made) / (most - 10) / 1000).toFixed(2)} ms CPU (the first ten: ${((made - before) / 10_000).toFixed(2)})`,
  );

  // Ten domains and a thousand get the same bursts on each link, or it would be batches that are compared.
  const flow = async (domains: readonly string[], rounds: number): Promise<number> => {
    const burst = domains.map(to => `<iq type='get' id='p' to='${to}'><ping xmlns='urn:xmpp:ping'/></iq>`.repeat(10));
    const began = usageOf(pid).cpu;
    const from = answers;
    for (let round = 1; round <= rounds; round++) {
      for (const one of burst) sender.socket.write(one);
      await reaches(() => answers - from, round * domains.length * 10);
    }
    return (usageOf(pid).cpu - began) / (answers - from);
  };
  const few = await flow(remotes.slice(0, 10), 400);
  const many = await flow(remotes, 4);
  console.log(
    `${server.name.padEnd(16)} a stanza there and its answer back: ${few.toFixed(2)} µs CPU at 10 domains, ${many.toFixed(2)} at ${most}: ${(many / few).toFixed(2)} times`,
  );
  for (const { socket } of [sender, ...users]) socket.destroy();
}

const only = process.argv[2];
for (const kind of servers(surroundings)) {
  if (kind.name.startsWith('Prosody') || (only && !kind.name.startsWith(only))) continue;
  zones.set(records(kind.host));
  const partner = await startHubProcess(surroundings, 'tls', remotes.join(','), '127.0.0.5');
  const server = await kind.start('tls');
  try {
    await measure(server, partner);
  } catch (error) {
    console.log(`${kind.name}: ${(error as Error).message}`);
  } finally {
    await server.stop();
    await partner.stop();
  }
}
await zones.close();
process.exit(0);
