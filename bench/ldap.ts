// Logins against OpenLDAP: a steady rate of whole client logins with a bind each, then as many as go; and what lookups cost once they are cached.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSlapd } from '../test/peers/ldap/slapd.ts';
import { startProcess } from '../test/peers/process.ts';
import { openDirectories } from '../test/support/open-directories.ts';
import { login } from './load/client.ts';
import { usageOf } from './load/usage.ts';

const people = 1_000;
const rate = Number(process.argv[2] ?? 200);
const seconds = Number(process.argv[3] ?? 10);
const host = '127.0.0.9';
const base = 'dc=hub,dc=test';

/** As a directory keeps it: salted, and hashed by the server when somebody binds. */
function hashed(password: string): string {
  const salt = randomBytes(8);
  return `{SSHA}${Buffer.concat([createHash('sha1').update(password).update(salt).digest(), salt]).toString('base64')}`;
}

const ldif = Array.from(
  { length: people },
  (_, i) => `dn: uid=u${i},ou=people,${base}
objectClass: inetOrgPerson
uid: u${i}
cn: User ${i}
sn: ${i}
userPassword: ${hashed('secret')}`,
).join('\n\n');
const slapd = await startSlapd({ fixtures: ['flat.ldif'], ldif });
const section = `url: "${slapd.url}", base: "${base}", bind: { dn: "cn=reader,${base}", password: reader secret }`;

/** Begins `work` at a steady rate; resolves with how long each took, in ms, when the last has ended. */
async function pace(work: (i: number) => Promise<void>, perSecond: number, total: number): Promise<number[]> {
  const took: number[] = [];
  const running: Promise<void>[] = [];
  const began = performance.now();
  for (let i = 0; i < total; ) {
    const due = Math.min(total, Math.ceil(((performance.now() - began) / 1000) * perSecond));
    for (; i < due; i++) {
      const start = performance.now();
      running.push(work(i).then(() => void took.push(performance.now() - start)));
    }
    await new Promise(resolve => setTimeout(resolve, 2));
  }
  await Promise.all(running);
  return took;
}

/** Does `work` over and over, so many at a time. */
async function race(work: (i: number) => Promise<void>, atOnce: number, total: number): Promise<number[]> {
  const took: number[] = [];
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < total) {
      const start = performance.now();
      await work(next++);
      took.push(performance.now() - start);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return took;
}

function tell(what: string, took: number[], elapsed: number, cpu?: number): void {
  const sorted = took.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))].toFixed(1);
  const each = cpu === undefined ? '' : `   ${(cpu / took.length / 1000).toFixed(2)} ms CPU each`;
  console.log(
    `${what.padEnd(34)} ${((took.length / elapsed) * 1000).toFixed(0).padStart(6)}/s   ${at(0.5)} / ${at(0.99)} / ${at(1)} ms (median, 99 %, longest)${each}`,
  );
}

async function measure(what: string, group: number | null, work: () => Promise<number[]>): Promise<void> {
  const before = group === null ? 0 : usageOf(group).cpu;
  const began = performance.now();
  const took = await work();
  tell(what, took, performance.now() - began, group === null ? undefined : usageOf(group).cpu - before);
}

const directories = openDirectories(section);
const directory = directories.get('hub.test')!;
const verify = async (i: number) => {
  if (!(await directory.verify(`u${i % people}`, 'secret'))) throw new Error(`u${i % people} was refused`);
};
await measure('directory, at the rate', null, () => pace(verify, rate, rate * seconds));
await measure('directory, as many as go', null, () => race(verify, 100, 5_000));
const began = performance.now();
for (let i = 0; i < 1_000_000; i++) void directory.find(`u${i % people}`);
console.log(`${'lookup that is cached'.padEnd(34)} ${((performance.now() - began) * 1e-3).toFixed(2)} µs`);
directories.close();

const home = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
writeFileSync(
  join(home, 'isthmus.yaml'),
  `data: data
log: { level: warn, format: json }
domains: { hub.test: { directory: corp } }
listen: { c2s: ["${host}:5222"], s2s: [], http: [] }
clients: { require-tls: false }
limits: { connections: { per-address: 100000, total: 200000 } }
directories: { corp: { kind: ldap, ${section} } }
`,
);
const hub = await startProcess(
  {
    command: join(import.meta.dirname, '../bin/isthmus'),
    args: ['start', '-c', join(home, 'isthmus.yaml')],
    cwd: home,
  },
  { host, port: 5222 },
);
const client = async (i: number) => {
  const user = `u${i % people}`;
  const { socket } = await login({ host, port: 5222, domain: 'hub.test', user, resource: `r${i}`, tls: true });
  socket.end('</stream:stream>');
};
try {
  await measure('clients, at the rate', hub.pid, () => pace(client, rate, rate * seconds));
  await measure('clients, as many as go', hub.pid, () => race(client, 20, 1_000));
} finally {
  await hub.stop();
  await slapd.close();
  rmSync(home, { recursive: true, force: true });
}
process.exit(0);
