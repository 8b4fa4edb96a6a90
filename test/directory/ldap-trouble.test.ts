// LDAP servers in trouble, in virtual time: what was found by holding directories against a model, case by case.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Directories } from '../../src/directory/directories.ts';
import { keyOf, parseLdif, type StandInEntry, serveLdap } from '../support/ldap.ts';
import { Host, useHosts } from '../support/lossy-network.ts';
import { openDirectories } from '../support/open-directories.ts';
import { VirtualTime } from '../support/virtual-time.ts';

const fixture = (name: string) => readFileSync(join(import.meta.dirname, '..', '..', 'fixtures', 'ldap', name), 'utf8');
const flat = `base: "dc=hub,dc=test", bind: { dn: "cn=reader,dc=hub,dc=test", password: reader secret }`;

describe('LDAP servers in trouble', () => {
  const time = new VirtualTime();
  const entries = new Map<string, StandInEntry>();
  let code: number | undefined;
  let hosts: Host[];
  const cleaning: (() => void)[] = [];
  beforeEach(() => {
    time.install();
    code = undefined;
    hosts = [0, 1].map(
      i =>
        new Host(socket =>
          serveLdap(socket, {
            entries,
            operations: [],
            options: {},
            behaviour: () => (i === 0 ? { code } : {}),
          }),
        ),
    );
    cleaning.push(useHosts(new Map(hosts.map((host, i) => [`server${i}`, host]))));
  });
  afterEach(() => {
    for (const step of cleaning.splice(0)) step();
    time.uninstall();
  });

  function open(section = flat, { servers = 2, file = 'flat.ldif' } = {}): Directories {
    entries.clear();
    for (const entry of parseLdif(fixture(file))) entries.set(keyOf(entry.dn), entry);
    const urls = hosts.slice(0, servers).map((_, i) => `"ldap://server${i}"`);
    const directories = openDirectories(`url: [${urls}], ${section}`);
    cleaning.push(() => directories.close());
    return directories;
  }

  /** What comes of it, and after how many ms. */
  async function outcome<T>(work: () => T | Promise<T>): Promise<{ value: T | string; after: number }> {
    const began = time.now;
    let ended: { value: T | string; after: number } | null = null;
    const end = (value: T | string) => {
      ended = { value, after: time.now - began };
    };
    Promise.resolve()
      .then(work)
      .then(end, error => end(`${error.condition}`));
    while (!ended && time.now < began + 60_000) await time.pass(10);
    return ended ?? { value: 'never', after: Number.POSITIVE_INFINITY };
  }

  it('get no more connections than allowed while they are looked after', async () => {
    const directory = open(`${flat}, connections: 1`, { servers: 1 }).get('hub.test')!;
    hosts[0].condition = 'dark';
    for (const user of ['romeo', 'juliet', 'nurse']) {
      assert.equal((await outcome(() => directory.find(user))).value, 'resource-constraint');
    }
    assert.equal(hosts[0].peak, 1);
  });

  for (const result of [3, 10, 11]) {
    it(`leave it to the next where they answer with ${result}, and count as well`, async () => {
      const directories = open();
      const directory = directories.get('hub.test')!;
      code = result;
      assert.equal((await outcome(() => directory.verify('romeo', 'rose'))).value, true);
      assert.equal((await outcome(() => directory.verify('romeo', 'moon'))).value, false);
      code = undefined;
      await outcome(() => directory.find('juliet'));
      code = result;
      // The reader is known there already: only the password is asked for.
      assert.equal((await outcome(() => directory.verify('juliet', 'moon'))).value, true);
      assert.equal(directories.servers[0].down, false);
    });
  }

  it('keep no login waiting, also where somebody waits for the same person already', async () => {
    const directory = open().get('hub.test')!;
    for (const host of hosts) host.condition = 'stalled';
    const lookup = outcome(() => directory.find('romeo'));
    await time.pass(100);
    const named = outcome(() => directory.userOf!('romeo'));
    const checked = outcome(() => directory.verify('romeo', 'rose'));
    assert.ok((await named).after <= 2_010);
    assert.ok((await checked).after <= 2_510);
    assert.equal((await lookup).value, 'resource-constraint');
  });

  it('keep no lookup waiting for more than 5 s, however many searches it takes', async () => {
    const section = 'layout: dc-tree, base: "o=isp", domain-root: "o=internet"';
    const directory = open(section, { servers: 1, file: 'dc-tree.ldif' }).get('hub.test')!;
    hosts[0].latency = 1_000;
    const { value, after } = await outcome(() => directory.find('romeo'));
    assert.equal(value, 'resource-constraint');
    assert.ok(after < 5_000, String(after));
  });

  it('refuse nobody by an old answer', async () => {
    const filter = '(&(objectClass=inetOrgPerson)(|(uid={0})(mail={0})))';
    const directory = open(`${flat}, login-filter: "${filter}"`).get('hub.test')!;
    assert.equal((await outcome(() => directory.userOf!('romeo@mail.test'))).value, null);
    await time.pass(5_000);
    for (const host of hosts) host.condition = 'refusing';
    assert.equal((await outcome(() => directory.userOf!('romeo@mail.test'))).value, 'resource-constraint');
  });

  it('that lose the answer to a removal have removed', async () => {
    const directory = open(`${flat}, registration: { base: "ou=people,{base}" }`, { servers: 1 }).get('hub.test')!;
    await outcome(() => directory.find('romeo'));
    const removal = outcome(() => directory.writable!.remove('romeo'));
    // The lookup before it takes one round trip.
    await time.pass(3);
    hosts[0].cut = { after: 0, reset: true };
    assert.equal((await removal).value, true);
    assert.equal((await outcome(() => directory.find('romeo'))).value, null);
  });
});
