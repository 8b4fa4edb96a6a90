// What an LDAP directory holds besides people: hosted domains in both layouts, groups of all kinds, names, member URLs, settings.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Directories } from '../../src/directory/directories.ts';
import { parseMemberUrl } from '../../src/directory/ldap/member-url.ts';
import { child, isWithin, normalName, parseName } from '../../src/directory/ldap/name.ts';
import { keysOf } from '../../src/directory/ldap/stored-keys.ts';
import { parseConfig } from '../../src/hub/config.ts';
import type { Groups } from '../../src/hub/directory.ts';
import { type LdapStandIn, startLdapStandIn } from '../support/ldap.ts';
import { type OpenOptions, openDirectories } from '../support/open-directories.ts';

const fixture = (name: string) => readFileSync(join(import.meta.dirname, '..', '..', 'fixtures', 'ldap', name), 'utf8');
const domains = '{ hub.test: { directory: corp }, sales.test: { directory: corp }, third.test: { directory: corp } }';

describe('an LDAP tree', () => {
  const cleaning: (() => void | Promise<void>)[] = [];
  afterEach(async () => {
    for (const step of cleaning.splice(0).reverse()) await step();
  });

  async function open(
    ldif: string,
    section: string,
    options: OpenOptions = {},
  ): Promise<{ server: LdapStandIn; directories: Directories }> {
    const server = await startLdapStandIn({ ldif });
    cleaning.push(() => server.stop());
    const directories = openDirectories(`url: "${server.url}", ${section}`, options);
    cleaning.push(() => directories.close());
    return { server, directories };
  }

  for (const [layout, section] of [
    ['dc-tree', 'layout: dc-tree, base: "o=isp", domain-root: "o=internet", groups: {}'],
    ['organisations', 'layout: organisations, base: "o=isp"'],
  ]) {
    it(`holds several domains (${layout})`, async () => {
      const { directories } = await open(fixture(`${layout}.ldif`), section, { domains });
      const [hub, sales, third] = ['hub.test', 'sales.test', 'third.test'].map(name => directories.get(name)!);
      assert.equal((await hub.find('romeo'))?.name, 'Romeo of the Hub');
      assert.equal((await sales.find('romeo'))?.name, 'Romeo of Sales');
      assert.equal(await third.find('romeo'), null);
      assert.equal(await hub.verify('romeo', 'rose'), true);
      assert.equal(await sales.verify('romeo', 'rose'), false);
      assert.equal(await sales.verify('romeo', 'thorn'), true);
      assert.equal(await third.verify('romeo', 'rose'), false);
      assert.deepEqual(await hub.aliases?.(), ['chat.hub.test']);
      assert.deepEqual(await sales.aliases?.(), layout === 'dc-tree' ? ['vendite.test'] : []);
    });
  }

  it('takes aliases and domains along when they go, and brings them back', async () => {
    const section = 'layout: organisations, base: "o=isp", cache: 0s';
    const { server, directories } = await open(fixture('organisations.ldif'), section, { domains });
    const config = parseConfig('domains: { hub.test: { aliases: [own.hub.test] }, sales.test: {} }', 'isthmus.yaml');
    let changes = 0;
    const follow = () =>
      directories.followAliases(
        () => config,
        () => false,
        () => changes++,
      );
    const aliases = () => [...config.aliases.keys()];
    await follow();
    assert.deepEqual(aliases(), ['own.hub.test', 'chat.hub.test']);
    const [dn, entry] = [...server.entries].find(([, { attributes }]) =>
      attributes.get('associateddomain')?.values.some(value => String(value) === 'chat.hub.test'),
    )!;
    const names = entry.attributes.get('associateddomain')!;
    const before = names.values;
    names.values = before.map(value => (String(value) === 'chat.hub.test' ? Buffer.from('talk.hub.test') : value));
    await follow();
    assert.deepEqual(aliases(), ['own.hub.test', 'talk.hub.test']);
    // A directory that cannot be asked takes nothing away.
    const hub = directories.get('hub.test')!;
    Object.assign(hub, { aliases: () => Promise.reject(new Error('it does not answer')) });
    await follow();
    assert.deepEqual(aliases(), ['own.hub.test', 'talk.hub.test']);
    Reflect.deleteProperty(hub, 'aliases');
    server.entries.delete(dn);
    await follow();
    assert.deepEqual(aliases(), ['own.hub.test']);
    assert.equal(await hub.find('romeo'), null);
    assert.equal(await hub.verify('romeo', 'rose'), false);
    server.entries.set(dn, { ...entry });
    names.values = before;
    await follow();
    assert.deepEqual(aliases(), ['own.hub.test', 'chat.hub.test']);
    assert.equal(await hub.verify('romeo', 'rose'), true);
    assert.equal(changes, 4);
    await follow();
    assert.equal(changes, 4);
  });

  it('keeps the people of another domain out of a group', async () => {
    const section = 'layout: dc-tree, base: "o=isp", domain-root: "o=internet", groups: {}';
    const { directories } = await open(fixture('dc-tree.ldif'), section, { domains });
    const all = await directories.get('sales.test')?.groups?.find('all');
    assert.deepEqual(
      all?.members.map(({ jid }) => jid.toString()),
      ['romeo@sales.test'],
    );
    assert.equal(await directories.get('hub.test')?.groups?.find('all'), null);
  });

  it('gives a domain the base that is configured for it', async () => {
    const section = 'base: "o=isp", bases: { sales.test: "o=Sales,o=isp", third.test: "o=nowhere" }';
    const { directories } = await open(fixture('organisations.ldif'), section, { domains });
    assert.equal((await directories.get('sales.test')?.find('romeo'))?.name, 'Romeo of Sales');
    assert.equal(await directories.get('third.test')?.find('romeo'), null);
  });

  describe('groups', () => {
    const names = async (groups: Groups | undefined, name: string) =>
      (await groups?.find(name))?.members.map(({ jid }) => jid.local).sort();
    const flat = `${fixture('flat.ldif')}\n${fixture('dynamic.ldif')}`;
    const openGroups = async (ldif = flat, groups = '{}') => {
      const { directories } = await open(ldif, `base: "dc=hub,dc=test", groups: ${groups}`);
      return directories.get('hub.test')?.groups;
    };

    it('are static, unique, dynamic and nested', async () => {
      const groups = await openGroups();
      assert.deepEqual(await names(groups, 'capulets'), ['juliet', 'nurse']);
      assert.deepEqual(await names(groups, 'montagues'), ['mercutio', 'romeo']);
      assert.deepEqual(await names(groups, 'household'), ['juliet', 'nurse']);
      assert.deepEqual(await names(groups, 'verona'), ['juliet', 'mercutio', 'nurse', 'romeo']);
      assert.equal((await groups?.find('verona'))?.title, 'All of Verona');
      assert.equal(await groups?.find('*'), null);
      assert.equal(await groups?.find('capulets)(cn=*'), null);
    });

    it('that are in a loop end', async () => {
      const groups = await openGroups();
      assert.deepEqual(await names(groups, 'loop\\20one'), ['juliet', 'romeo']);
      assert.deepEqual(await names(groups, 'loop\\20two'), ['juliet', 'romeo']);
    });

    it('are nested as deep as allowed, and as large', async () => {
      assert.deepEqual(await names(await openGroups(flat, '{ nesting: 0 }'), 'verona'), []);
      assert.equal((await names(await openGroups(flat, '{ members: 2 }'), 'verona'))?.length, 2);
    });

    it('of many members take few searches', async () => {
      const people = Array.from({ length: 200 }, (_, i) => `uid=u${i},ou=people,dc=hub,dc=test`);
      const entries = people.map((dn, i) => `dn: ${dn}\nobjectClass: inetOrgPerson\nuid: u${i}\ncn: User ${i}`);
      const group = `dn: cn=many,ou=groups,dc=hub,dc=test\nobjectClass: groupOfNames\ncn: many\n${people.map(dn => `member: ${dn}`).join('\n')}`;
      const ldif = [fixture('flat.ldif'), ...entries, group].join('\n\n');
      const { server, directories } = await open(ldif, 'base: "dc=hub,dc=test", groups: {}');
      assert.equal((await names(directories.get('hub.test')?.groups, 'many'))?.length, 200);
      assert.ok(server.operations.length < 10, server.operations.length.toString());
    });

    it('do not follow URLs out of the domain, nor filters that are none', async () => {
      const urls = [
        'ldap:///o=elsewhere??sub',
        'ldap:///dc=hub,dc=test??sub?(uid=romeo',
        'http://x',
        'ldap:///%zz??sub',
        'ldap:///ou=people,dc=hub,dc=test??sub?%zz',
      ];
      const lines = urls.map(url => `memberURL: ${url}`).join('\n');
      const group = `dn: cn=odd,ou=groups,dc=hub,dc=test\nobjectClass: groupOfURLs\ncn: odd\n${lines}`;
      assert.deepEqual(await names(await openGroups(`${flat}\n\n${group}`), 'odd'), []);
    });
  });

  it('reads member URLs', () => {
    assert.deepEqual(parseMemberUrl('ldap:///ou=a%20b,dc=x?cn?sub?(a=b%3f)'), {
      base: 'ou=a b,dc=x',
      scope: 'sub',
      filter: '(a=b?)',
    });
    assert.deepEqual(parseMemberUrl('ldap:///'), { base: '', scope: 'base', filter: '(objectClass=*)' });
    assert.deepEqual(parseMemberUrl('ldap://host:1/dc=x??one'), {
      base: 'dc=x',
      scope: 'one',
      filter: '(objectClass=*)',
    });
    for (const wrong of ['', 'ldap:', 'ldap:///dc=x??all', 'ldap:///dc=x??sub?(a=b)(c=d)', 'ldap:///nonsense??sub']) {
      assert.equal(parseMemberUrl(wrong), null, wrong);
    }
  });

  it('compares names as the directory does', () => {
    assert.equal(normalName('UID=Romeo , OU=a\\2Cb,dc=X'), normalName('uid=romeo,ou=a\\,b,DC=x'));
    assert.notEqual(normalName('uid=a,b=c'), normalName('uid=a\\,b=c'));
    assert.equal(normalName('cn=a+sn=b,dc=x'), normalName('sn=B+cn=A,dc=x'));
    assert.deepEqual(parseName('cn=\\c3\\a6,dc=x')?.[0], [{ type: 'cn', value: 'æ' }]);
    assert.equal(isWithin('uid=a,dc=b', 'dc=b'), true);
    assert.equal(isWithin('uid=a\\,dc=b', 'dc=b'), false);
    assert.equal(isWithin('dc=b', 'uid=a,dc=b'), false);
    for (const wrong of ['a', '=', 'a b=c', 'cn=a,', 'cn=a\\', ',cn=a', 'x'.repeat(5000)])
      assert.equal(parseName(wrong), null, wrong);
    const hostile = ' #a,b+c="d"\\;<e>\0 ';
    assert.equal(parseName(child('uid', hostile, 'dc=x'))?.[0][0].value, hostile);
    assert.equal(parseName(child('uid', hostile, 'dc=x'))?.length, 2);
  });

  it('holds keys in several forms', async () => {
    const [salt, stored, server] = [16, 20, 20].map(length => Buffer.alloc(length, 1).toString('base64'));
    for (const text of [
      `SCRAM-SHA-1$4096:${salt}$${stored}:${server}`,
      `{SCRAM-SHA-1}4096:${salt}$${stored}:${server}`,
      `{SCRAM-SHA-1}4096,${salt},${stored},${server}`,
    ]) {
      assert.equal((await keysOf([text], 'SHA-1', 'romeo'))?.iterations, 4096, text);
      assert.equal(await keysOf([text], 'SHA-256', 'romeo'), null);
    }
    for (const text of ['{SSHA}abc', '', '{SCRAM-SHA-1}0:a$b:c', `SCRAM-SHA-1$99999999:${salt}$${stored}:${server}`]) {
      assert.equal(await keysOf([text], 'SHA-1', 'romeo'), null, text);
    }
  });

  it('is refused where its settings are wrong', () => {
    const cases: [string, RegExp][] = [
      ['url: "http://x", base: "dc=x"', /corp\.url: http:\/\/x is not ldap/],
      ['url: "ldap://x", base: "nonsense"', /corp\.base: nonsense is not a distinguished name/],
      ['url: "ldap://x"', /base: is missing/],
      ['url: "ldaps://x", base: "dc=x", starttls: true', /starttls/],
      ['url: "ldap://x", base: "dc=x", login-filter: "(uid=x)"', /login-filter: has no \{0\}/],
      ['url: "ldap://x", base: "dc=x", login-filter: "(uid={0}"', /login-filter: /],
      ['url: "ldap://x", base: "dc=x", login-filter: "(a=b)(uid={0})"', /login-filter: /],
      ['url: "ldap://x", base: "dc=x", attributes: { mail: "a)(b" }', /is not the name of an attribute/],
      ['url: "ldap://x", base: "dc=x", bind: { dn: "cn=x", password: "" }', /password: is empty/],
      ['url: "ldap://x", base: "dc=x", groups: { filter: "x" }', /parentheses/],
      ['url: "ldap://x", base: "dc=x", nonsense: 1', /there is no such key/],
    ];
    for (const [section, expected] of cases) assert.throws(() => openDirectories(section), expected, section);
    const both = '{ hub.test: { directory: corp }, groups.hub.test: {} }';
    assert.throws(
      () => openDirectories('url: "ldap://x", base: "dc=x", groups: {}', { domains: both }),
      /domain of its own/,
    );
  });
});
