// LDAP directories against a stand-in server: who is found, who gets in, what injection does not do, and what outages do.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Directories } from '../../src/directory/directories.ts';
import type { Directory, Person, PersonQuery } from '../../src/hub/directory.ts';
import { matchesScramKeys } from '../../src/xmpp/sasl/scram.ts';
import { createAuthority } from '../support/authority.ts';
import { type LdapStandIn, type StandInOptions, startLdapStandIn } from '../support/ldap.ts';
import { type OpenOptions, openDirectories } from '../support/open-directories.ts';

const fixtures = join(import.meta.dirname, '..', '..', 'fixtures', 'ldap');
const flat = ['flat.ldif', 'dynamic.ldif'].map(name => readFileSync(join(fixtures, name), 'utf8')).join('\n');
const reader = 'bind: { dn: "cn=reader,dc=hub,dc=test", password: reader secret }';

async function gather(found: AsyncIterable<Person>): Promise<string[]> {
  const users: string[] = [];
  for await (const { user } of found) users.push(user);
  return users.sort();
}

describe('an LDAP directory', () => {
  const cleaning: (() => void | Promise<void>)[] = [];
  afterEach(async () => {
    for (const step of cleaning.splice(0).reverse()) await step();
  });

  async function serve(options: Partial<StandInOptions> = {}): Promise<LdapStandIn> {
    const server = await startLdapStandIn({ ldif: flat, ...options });
    cleaning.push(() => server.stop().catch(() => {}));
    return server;
  }

  function open(section: string, options: OpenOptions = {}): Directories {
    const directories = openDirectories(section, options);
    cleaning.push(() => directories.close());
    return directories;
  }

  async function corp(
    more = '',
    options: Partial<StandInOptions> = {},
  ): Promise<{ server: LdapStandIn; directory: Directory }> {
    const server = await serve(options);
    const directories = open(`url: "${server.url}", base: "dc=hub,dc=test", ${reader}${more && `, ${more}`}`);
    return { server, directory: directories.get('hub.test')! };
  }

  describe('people', () => {
    it('are found with what the directory knows of them', async () => {
      const { directory } = await corp();
      assert.deepEqual(await directory.find('romeo'), {
        user: 'romeo',
        name: 'Romeo Montague',
        mail: 'romeo.montague@hub.test',
        mobile: '+15551230001',
      });
      assert.equal(await directory.find('nobody'), null);
      assert.equal((await directory.findByMail?.('romeo.montague@hub.test'))?.user, 'romeo');
      assert.equal((await directory.photo?.('juliet'))?.type, 'image/jpeg');
      assert.equal(await directory.photo?.('romeo'), null);
    });

    it('are looked up once and then known, and so is who is not there', async () => {
      const { server, directory } = await corp();
      await directory.find('romeo');
      await directory.find('nobody');
      const before = server.operations.length;
      assert.equal((directory.find('romeo') as Person).user, 'romeo');
      assert.equal(directory.find('nobody'), null);
      assert.equal(server.operations.length, before);
    });

    it('that many ask for at once are looked up once', async () => {
      const { server, directory } = await corp();
      await Promise.all(Array.from({ length: 50 }, () => directory.find('romeo')));
      assert.equal(server.operations.filter(text => text.startsWith('search')).length, 1);
    });

    it('whose names no address can have are escaped', async () => {
      const { directory } = await corp();
      assert.equal((await directory.find('o\\27brien'))?.mail, "o'brien@hub.test");
    });

    it('can be known to an anonymous reader', async () => {
      const server = await serve();
      const directory = open(`url: "${server.url}", base: "dc=hub,dc=test"`).get('hub.test')!;
      assert.equal((await directory.find('juliet'))?.name, 'Juliet Capulet');
      assert.equal(await directory.verify('juliet', 'moon'), true);
      assert.equal((await directory.find('nurse'))?.name, 'Angelica Nurse');
    });

    it('have their addresses from an attribute, where one is named', async () => {
      const server = await serve({
        ldif: flat.replace('mail: nurse@hub.test', 'mail: sip:angelica@sales.hub.test'),
      });
      const directories = open(
        `url: "${server.url}", base: "dc=hub,dc=test", ${reader}, attributes: { address: mail }`,
        {
          domains: '{ hub.test: { directory: corp }, sales.hub.test: { directory: corp } }',
        },
      );
      const [hub, sales] = ['hub.test', 'sales.hub.test'].map(name => directories.get(name)!);
      assert.equal((await hub.find('romeo.montague'))?.name, 'Romeo Montague');
      assert.equal(await hub.find('romeo'), null);
      assert.equal(await sales.find('romeo.montague'), null);
      assert.equal((await sales.find('angelica'))?.name, 'Angelica Nurse');
      assert.equal(await sales.verify('angelica', 'aqua vitae'), true);
    });
  });

  describe('logins', () => {
    it('are decided by a bind', async () => {
      const { directory } = await corp();
      assert.equal(directory.offersScram, false);
      assert.equal(await directory.verify('romeo', 'rose'), true);
      assert.equal(await directory.verify('romeo', 'moon'), false);
      assert.equal(await directory.verify('romeo', ''), false);
      assert.equal(await directory.verify('nobody', 'rose'), false);
    });

    it('by another attribute are those of the same user', async () => {
      const { directory } = await corp('login-filter: "(&(objectClass=inetOrgPerson)(|(uid={0})(mail={0})))"');
      assert.equal(await directory.userOf?.('romeo.montague@hub.test'), 'romeo');
      assert.equal(await directory.userOf?.('ROMEO'), 'romeo');
      assert.equal(await directory.userOf?.('romeo@hub.test'), 'romeo');
      assert.equal(await directory.userOf?.('nobody@hub.test'), null);
    });

    it('follow an entry that moves', async () => {
      const { server, directory } = await corp('passwords: stored');
      assert.equal(await directory.verify('romeo', 'rose'), true);
      const entry = server.entries.get('uid=romeo,ou=people,dc=hub,dc=test')!;
      server.entries.delete('uid=romeo,ou=people,dc=hub,dc=test');
      entry.dn = 'uid=romeo,dc=hub,dc=test';
      server.entries.set(entry.dn, entry);
      assert.notEqual(await directory.scram('romeo', 'SHA-256'), null);
      server.entries.delete(entry.dn);
      entry.dn = 'uid=romeo,ou=groups,dc=hub,dc=test';
      server.entries.set(entry.dn, entry);
      assert.equal(await directory.verify('romeo', 'rose'), true);
    });

    it('have SCRAM keys where the directory holds keys or the password', async () => {
      const keys =
        'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=';
      const { directory } = await corp('passwords: stored', {
        ldif: flat
          .replace('userPassword: rose', `userPassword: {SSHA}xxxx\nauthPassword: ${keys}`)
          .replace('moon', '{CLEARTEXT}moon'),
      });
      assert.equal(directory.offersScram, true);
      const romeo = await directory.scram('romeo', 'SHA-256');
      assert.equal(romeo?.iterations, 4096);
      assert.equal(await matchesScramKeys('pencil', romeo!), true);
      assert.equal(await directory.scram('romeo', 'SHA-1'), null);
      assert.equal(await matchesScramKeys('moon', (await directory.scram('juliet', 'SHA-1'))!), true);
      assert.equal(await directory.scram('nobody', 'SHA-1'), null);
    });

    it('do not mix up two entries of one name', async () => {
      const twin =
        'dn: uid=romeo,ou=groups,dc=hub,dc=test\nobjectClass: inetOrgPerson\nuid: romeo\ncn: Other\nuserPassword: other';
      const { directory } = await corp('', { ldif: `${flat}\n\n${twin}` });
      assert.equal(await directory.find('romeo'), null);
      assert.equal(await directory.verify('romeo', 'other'), false);
    });
  });

  describe('searches', () => {
    const cases: [string | PersonQuery, string[]][] = [
      ['capulet', ['juliet']],
      [{ name: 'Juliet Capulet' }, ['juliet']],
      [{ name: 'Jul*' }, ['juliet']],
      [{ name: '*a*', mail: 'nurse@hub.test' }, ['nurse']],
      [{ mail: 'nurse*' }, []],
      [{ user: '*' }, []],
      [{ name: 'Mercutio (of Verona) \\2a' }, []],
      ['*)(uid=*', []],
      ['', []],
      [{}, []],
      ['x'.repeat(1000), []],
    ];
    for (const [query, users] of cases) {
      it(`for ${JSON.stringify(query).slice(0, 60)} give ${users.join(' ') || 'nobody'}`, async () => {
        const { directory } = await corp();
        assert.deepEqual(await gather(directory.search(query)), users);
      });
    }

    it('end at the limit', async () => {
      const { directory } = await corp('search-limit: 2');
      assert.equal((await gather(directory.search({ name: '*' }))).length, 2);
    });

    it('take no wildcards where none are allowed', async () => {
      const { directory } = await corp('wildcards: []');
      assert.deepEqual(await gather(directory.search({ name: 'Jul*' })), []);
      assert.deepEqual(await gather(directory.search('Juliet Capulet')), ['juliet']);
    });
  });

  describe('injection', () => {
    const names = [
      '*',
      'romeo)(uid=*',
      'x)(|(objectClass=*',
      '\\2a',
      'romeo\\29',
      'romeo,ou=people',
      '(',
      ')',
      '\\',
      'a\0b',
      'ro*eo',
      '&(|',
    ];
    for (const name of names) {
      it(`finds nobody by ${JSON.stringify(name)}`, async () => {
        const { server, directory } = await corp(
          'login-filter: "(&(objectClass=inetOrgPerson)(|(uid={0})(mail={0})))"',
        );
        assert.equal(await directory.find(name), null);
        assert.equal(await directory.userOf?.(name), null);
        assert.equal(await directory.findByMail?.(name), null);
        assert.equal(await directory.verify(name, 'rose'), false);
        assert.deepEqual(
          server.operations.filter(text => /^bind (?!cn=reader)/.test(text)),
          [],
        );
      });
    }
  });

  describe('servers', () => {
    it('that are gone are stood in for by the next of the list, and taken back', async () => {
      const [first, second] = [await serve(), await serve()];
      const directories = open(`url: ["${first.url}", "${second.url}"], base: "dc=hub,dc=test", ${reader}, cache: 0s`);
      const directory = directories.get('hub.test')!;
      await directory.find('romeo');
      assert.equal(second.operations.length, 0);
      await first.stop();
      assert.equal((await directory.find('romeo'))?.user, 'romeo');
      assert.equal(await directory.verify('romeo', 'rose'), true);
      assert.ok(second.operations.length > 0);
      await first.start();
      const deadline = Date.now() + 5_000;
      while (directories.servers[0].down && Date.now() < deadline)
        await new Promise(resolve => setTimeout(resolve, 50));
      const before = second.operations.length;
      await directory.find('juliet');
      assert.equal(second.operations.length, before);
    });

    it('that hang are passed over in time', async () => {
      const [first, second] = [await serve(), await serve()];
      const directories = open(`url: ["${first.url}", "${second.url}"], base: "dc=hub,dc=test", ${reader}`);
      const directory = directories.get('hub.test')!;
      first.behave({ silent: true });
      const began = performance.now();
      assert.equal(await directory.verify('romeo', 'rose'), true);
      assert.ok(performance.now() - began < 2_500);
      const again = performance.now();
      assert.equal(await directory.verify('juliet', 'moon'), true);
      assert.ok(performance.now() - again < 500, 'a server known to be down costs nothing');
    });

    it('that say nothing fail a login within 5 s', async () => {
      const { server, directory } = await corp();
      server.behave({ silent: true });
      const began = performance.now();
      await assert.rejects(directory.verify('romeo', 'rose'), /does not answer/);
      assert.ok(performance.now() - began < 5_000);
    });

    it('that lose connections are asked again on new ones', async () => {
      const { server, directory } = await corp('cache: 0s');
      await directory.find('romeo');
      server.drop();
      assert.equal((await directory.find('romeo'))?.user, 'romeo');
      server.drop();
      assert.equal(await directory.verify('romeo', 'rose'), true);
    });

    it('that are away leave what is known', async () => {
      const { server, directory } = await corp('cache: 100ms');
      await directory.find('romeo');
      await server.stop();
      await new Promise(resolve => setTimeout(resolve, 150));
      assert.equal((await directory.find('romeo'))?.user, 'romeo');
      await assert.rejects(async () => directory.find('juliet'), /does not answer/);
    });

    it('get no more connections than allowed', async () => {
      const { server, directory } = await corp('connections: 3');
      server.behave({ delay: 20 });
      const users = ['romeo', 'juliet', 'nurse', 'mercutio'];
      const passwords = ['rose', 'moon', 'aqua vitae', 'queen mab'];
      const logins = Array.from({ length: 40 }, (_, i) => directory.verify(users[i % 4], passwords[i % 4]));
      assert.deepEqual(new Set(await Promise.all(logins)), new Set([true]));
      assert.ok(server.connections <= 3, `${server.connections}`);
    });

    it('that refuse the hub’s own login are no use', async () => {
      const server = await serve();
      const section = `url: "${server.url}", base: "dc=hub,dc=test", bind: { dn: "cn=reader,dc=hub,dc=test", password: wrong }`;
      const directory = open(section).get('hub.test')!;
      await assert.rejects(async () => directory.find('romeo'), /refuses the hub/);
    });
  });

  describe('a server gone mad', () => {
    const answers: [string, (socket: Socket) => void][] = [
      ['sends noise', socket => void socket.write(Buffer.alloc(5_000, 0xff))],
      ['announces more than it sends', socket => void socket.write(Buffer.from('3084ffffffff020102', 'hex'))],
      ['answers what nobody asked', socket => void socket.write(Buffer.from('300c02017f61070a010004000400', 'hex'))],
      [
        'answers a search with a bind',
        socket => void socket.write(Buffer.from('300c02010261070a010004000400', 'hex').fill(3, 4, 5)),
      ],
      ['dies in the middle of an answer', socket => socket.end(Buffer.from('300c0201026107', 'hex'))],
      ['sends XML', socket => void socket.write('<stream:stream>'.repeat(100))],
      ['resets', socket => socket.resetAndDestroy()],
    ];
    async function outlive([what, answer]: (typeof answers)[number]): Promise<void> {
      const server = createServer(socket => {
        socket.on('error', () => {});
        socket.on('data', () => answer(socket));
      });
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
      cleaning.push(() => void server.close());
      const { port } = server.address() as AddressInfo;
      const healthy = await serve();
      const section = `base: "dc=hub,dc=test", ${reader}`;
      const directory = open(`url: ["ldap://127.0.0.1:${port}", "${healthy.url}"], ${section}`).get('hub.test')!;
      assert.equal((await directory.find('romeo'))?.user, 'romeo', what);
      assert.equal(await directory.verify('romeo', 'moon'), false, what);
      assert.equal(await directory.verify('romeo', 'rose'), true, what);
    }

    it('fails the lookup at hand, and nothing else', async () => {
      await Promise.all(answers.map(outlive));
    });

    it('that puts something behind its answer to StartTLS gets no further', async () => {
      const success = '300c02010178070a010004000400';
      const server = createServer(socket => {
        socket.on('error', () => {});
        socket.once('data', () => void socket.write(Buffer.from(`${success}300c02010261070a0100`, 'hex')));
      });
      await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
      cleaning.push(() => void server.close());
      const { port } = server.address() as AddressInfo;
      const section = `url: "ldap://127.0.0.1:${port}", starttls: true, base: "dc=hub,dc=test", ${reader}`;
      await assert.rejects(async () => open(section).get('hub.test')!.find('romeo'), /StartTLS/);
    });
  });

  describe('TLS', () => {
    it('by StartTLS and by ldaps is checked', async () => {
      const authority = await createAuthority();
      const stranger = await createAuthority();
      const tls = await authority.issue({ names: ['localhost'] });
      for (const direct of [false, true]) {
        const server = await serve({ tls, direct });
        const url = server.url.replace('127.0.0.1', 'localhost');
        const section = (at: string) => `url: "${at}", base: "dc=hub,dc=test", ${reader}, starttls: ${!direct}`;
        const find = async (at: string, trust: string) => open(section(at), { trust }).get('hub.test')!.find('romeo');
        assert.equal((await find(url, authority.certificate))?.user, 'romeo');
        await assert.rejects(find(url, stranger.certificate), /certificate|issuer/i);
        await assert.rejects(find(server.url, authority.certificate), /altnames|IP/i);
      }
    });

    it('is not given up where the server has none', async () => {
      const server = await serve();
      const directory = open(`url: "${server.url}", base: "dc=hub,dc=test", ${reader}, starttls: true`).get(
        'hub.test',
      )!;
      await assert.rejects(async () => directory.find('romeo'), /StartTLS/);
      assert.deepEqual(server.operations, []);
    });
  });
});
