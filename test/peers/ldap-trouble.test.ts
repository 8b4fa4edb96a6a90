// Two OpenLDAP servers that come and go, stall and break off, while people change, log in and write to groups: held against what is in the directory.
import assert from 'node:assert/strict';
import { Attribute, Change, Client as LdapClient } from 'ldapts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { Random } from '../fuzz/random.ts';
import { type Client, connectClient } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { startProxy, type TcpProxy } from '../support/proxy.ts';
import { type Slapd, startSlapd } from './ldap/slapd.ts';

const reader = 'cn=reader,dc=hub,dc=test';
const users = ['romeo', 'juliet', 'nurse', 'mercutio'];
const dnOf = (user: string) => `uid=${user},ou=people,dc=hub,dc=test`;
/** A login is answered in this time, in ms. */
const bound = 5_000;
/** And a message to a group is delivered or sent back, which takes many searches. */
const groupBound = 15_000;
/** How long the whole of it goes on, in ms. */
const span = 9_000;

interface Place {
  slapd: Slapd;
  proxy: TcpProxy;
  /** Past the proxy. */
  admin: LdapClient;
}

describe('two OpenLDAP servers in trouble', () => {
  const places: Place[] = [];
  const clients = new Map<string, Client>();
  let hub: TestHub;
  /** What the directory holds. */
  const passwords = new Map(users.map((user, i) => [user, ['rose', 'moon', 'aqua vitae', 'queen mab'][i]]));
  const capulets = new Set(['juliet', 'nurse']);
  const montagues = ['romeo', 'mercutio'];

  before(async () => {
    for (let n = 0; n < 2; n++) {
      const slapd = await startSlapd({ fixtures: ['flat.ldif', 'dynamic.ldif'] });
      const proxy = await startProxy({ host: '127.0.0.1', port: Number(new URL(slapd.url).port) });
      const admin = new LdapClient({ url: slapd.url });
      await admin.bind(reader, 'reader secret');
      places.push({ slapd, proxy, admin });
    }
    const urls = places.map(({ proxy }) => `"ldap://127.0.0.1:${proxy.address.port}"`);
    hub = await startTestHub('{ hub.test: { directory: corp } }', {
      yaml: `directories:
  corp:
    { kind: ldap, url: [${urls}], base: "dc=hub,dc=test", bind: { dn: "${reader}", password: reader secret },
      passwords: stored, cache: 0s, connections: 3, groups: {} }`,
    });
  });
  after(async () => {
    for (const client of clients.values()) client.drop();
    for (const { slapd } of places) await slapd.close();
    for (const { proxy } of places) await proxy.close();
    await hub?.close();
  });

  const isWell = ({ proxy }: Place) => proxy.passage === 'passing' && proxy.mostAnswered === Number.POSITIVE_INFINITY;
  const change = async (dn: string, operation: 'add' | 'delete' | 'replace', type: string, value: string) => {
    const modification = new Attribute({ type, values: [value] });
    for (const { admin } of places) await admin.modify(dn, new Change({ operation, modification }));
  };

  /** Tries to log in; says whether that went as the directory has it. */
  async function login(random: Random, keep = false): Promise<void> {
    const user = random.pick(users);
    const right = keep || random.chance(60);
    const password = right ? passwords.get(user)! : random.pick(['wrong', ...passwords.values()]);
    const isRight = password === passwords.get(user);
    const well = places.some(isWell);
    const began = performance.now();
    const options = { jid: `${user}@hub.test`, password, port: hub.port, quiet: true, bind: false };
    const outcome = await connectClient({ ...options, mechanism: random.pick(['PLAIN', 'SCRAM-SHA-1']) }).then(
      client => {
        client.drop();
        return 'in';
      },
      error => (error as Error).message,
    );
    const taken = performance.now() - began;
    assert.ok(taken < bound, `${taken} ms`);
    const expected = isRight ? 'in' : 'not-authorized';
    assert.ok(outcome === expected || (!well && outcome === 'temporary-auth-failure'), `${outcome}, not ${expected}`);
  }

  async function write(random: Random, id: string): Promise<void> {
    const sender = random.pick(users);
    const group = random.pick(['capulets', 'verona', 'household']);
    const well = places.some(isWell);
    const house = group === 'household' ? ['juliet', 'nurse'] : capulets;
    const others = [...new Set([...house, ...(group === 'verona' ? montagues : [])])].filter(user => user !== sender);
    if (others.length === 0) return;
    const from = clients.get(sender)!;
    await from.sends(`<message to='${group}@groups.hub.test' id='${id}'><body>${id}</body></message>`);
    // One or the other comes: an error, or the message to the first of them.
    const first = clients.get(others[0])!;
    const errors = () => from.inbox.filter(e => e.attrs.id === id && e.attrs.type === 'error');
    const arrived = () => first.inbox.some(e => e.attrs.id === id && e.attrs.type !== 'error');
    const outcome = [from, first].map(client => client.waits(() => errors().length > 0 || arrived(), id, groupBound));
    await Promise.any(outcome);
    const [refused] = errors();
    if (refused) {
      assert.ok(!well && refused.child('error')?.child('resource-constraint', ns.stanzaErrors), String(refused));
      return;
    }
    for (const user of others) await clients.get(user)!.hears(id);
  }

  it('lose nobody and nothing, and let nobody in who may not', async () => {
    const seed = Date.now();
    const random = new Random(seed);
    for (const user of users) {
      const jid = `${user}@hub.test`;
      clients.set(user, await connectClient({ jid, password: passwords.get(user)!, port: hub.port }));
    }
    const end = performance.now() + span;
    try {
      for (let n = 0; performance.now() < end; n++) {
        const kind = random.below(10);
        if (kind < 4) await login(random);
        else if (kind === 4) await Promise.all(Array.from({ length: 8 }, () => login(random)));
        else if (kind < 7) await write(random, `message ${n}`);
        else if (kind === 7) {
          const user = random.pick(users);
          passwords.set(user, `secret ${n}`);
          await change(dnOf(user), 'replace', 'userPassword', `secret ${n}`);
        } else if (kind === 8) {
          const user = random.pick(['romeo', 'mercutio', 'nurse']);
          const gone = capulets.delete(user);
          if (!gone) capulets.add(user);
          // The nurse's name stands there in a form of its own.
          await change('cn=capulets,ou=groups,dc=hub,dc=test', gone ? 'delete' : 'add', 'member', dnOf(user));
        } else {
          const { proxy } = random.pick(places);
          proxy.passage = random.pick(['passing', 'passing', 'resetting', 'holding']);
          proxy.mostAnswered = random.chance(20) ? random.below(400) : Number.POSITIVE_INFINITY;
        }
      }
      for (const { proxy } of places) {
        proxy.mostAnswered = Number.POSITIVE_INFINITY;
        proxy.passage = 'passing';
      }
      for (let n = 0; n < 4; n++) await login(random, true);
      await write(random, 'the last one');
      // Nothing came twice, or to somebody it was not for.
      for (const client of clients.values()) {
        await client.hasNot(e => e.name === 'message' && e.attrs.type !== 'error');
      }
    } catch (error) {
      throw new Error(`with seed ${seed}`, { cause: error });
    }
  }).timeout(span + 30_000);
});
