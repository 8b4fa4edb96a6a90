// People who live in OpenLDAP: TLS, two servers, groups of all kinds, both layouts of hosted domains, registration.
import assert from 'node:assert/strict';
import { ns } from '../../src/xmpp/namespaces.ts';
import { type Authority, createAuthority } from '../support/authority.ts';
import { type Client, type ClientOptions, connectClient } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { type Slapd, type SlapdOptions, startSlapd } from './ldap/slapd.ts';

const passwords: Record<string, string> = {
  'romeo@hub.test': 'rose',
  'juliet@hub.test': 'moon',
  'nurse@hub.test': 'aqua vitae',
  'romeo@sales.test': 'thorn',
};
const flat = ['flat.ldif', 'dynamic.ldif'];
const reader = 'bind: { dn: "cn=reader,dc=hub,dc=test", password: reader secret }';

describe('OpenLDAP', () => {
  let authority: Authority;
  const cleaning: (() => Promise<void>)[] = [];
  before(async () => {
    authority = await createAuthority();
  });
  afterEach(async () => {
    for (const step of cleaning.splice(0).reverse()) await step();
  });

  async function serve(options: SlapdOptions): Promise<Slapd> {
    const slapd = await startSlapd(options);
    cleaning.push(() => slapd.close());
    return slapd;
  }

  async function secured(more: Partial<SlapdOptions> = {}): Promise<Slapd> {
    const certificate = await authority.issue({ names: ['localhost'], usages: ['serverAuth'] });
    return serve({ fixtures: flat, tls: { authority: authority.certificate, certificate }, ...more });
  }

  async function start(
    section: string,
    more: { domains?: string; yaml?: string; trust?: Authority } = {},
  ): Promise<TestHub> {
    const hub = await startTestHub(more.domains ?? '{ hub.test: { directory: corp } }', {
      files: { 'ca.crt': (more.trust ?? authority).certificate },
      yaml: `tls: { trust: [ca.crt] }\n${more.yaml ?? ''}\ndirectories: { corp: { kind: ldap, ${section} } }`,
    });
    cleaning.push(() => hub.close());
    return hub;
  }

  const login = (hub: TestHub, jid: string, more: Partial<ClientOptions> = {}): Promise<Client> =>
    connectClient({ jid, port: hub.port, password: passwords[jid] ?? 'secret', mechanism: 'PLAIN', ...more });

  it('is asked over StartTLS and over ldaps, and its certificate is checked', async () => {
    const slapd = await secured({ onlyTls: true });
    for (const [url, startTls] of [
      [slapd.url, true],
      [slapd.secureUrl, false],
    ]) {
      const section = `url: "${url}", starttls: ${startTls}, base: "dc=hub,dc=test", ${reader}`;
      const hub = await start(section);
      await (await login(hub, 'romeo@hub.test')).close();
      await assert.rejects(login(hub, 'romeo@hub.test', { password: 'moon' }), /not-authorized/);
      await assert.rejects(login(hub, 'romeo)(uid=*@hub.test'), /not-authorized/);
      const wary = await start(section, { trust: await createAuthority() });
      await assert.rejects(login(wary, 'romeo@hub.test'), /temporary-auth-failure/);
    }
    const open = await start(`url: "${slapd.url}", base: "dc=hub,dc=test", ${reader}`);
    await assert.rejects(login(open, 'romeo@hub.test'), /temporary-auth-failure/);
  });

  it('gives way to the next server and is taken back, while sessions live on', async () => {
    const [first, second] = [await secured(), await secured()];
    const section = `url: ["${first.url}", "${second.url}"], starttls: true, base: "dc=hub,dc=test", ${reader}`;
    const hub = await start(section);
    const romeo = await login(hub, 'romeo@hub.test');
    await first.stop();
    const juliet = await login(hub, 'juliet@hub.test');
    await romeo.sends(`<message to='juliet@hub.test' type='chat'><body>still here</body></message>`);
    await juliet.hears('still here');
    await second.stop();
    const began = performance.now();
    await assert.rejects(login(hub, 'nurse@hub.test'), /temporary-auth-failure/);
    assert.ok(performance.now() - began < 5_000);
    await juliet.sends(`<message to='romeo@hub.test' type='chat'><body>and I</body></message>`);
    await romeo.hears('and I');
    await first.start();
    await (await login(hub, 'nurse@hub.test')).close();
  });

  it('takes passwords that it holds in the clear as SCRAM keys', async () => {
    const slapd = await serve({ fixtures: flat });
    const hub = await start(`url: "${slapd.url}", base: "dc=hub,dc=test", ${reader}, passwords: stored`);
    for (const mechanism of ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1', 'PLAIN']) {
      await (await login(hub, 'juliet@hub.test', { mechanism })).close();
    }
  });

  it('has people log in by their mail address, and tells an anonymous reader what vCards and searches show', async () => {
    const slapd = await serve({ fixtures: flat });
    const filter = '(&(objectClass=inetOrgPerson)(|(uid={0})(mail={0})))';
    const hub = await start(`url: "${slapd.url}", base: "dc=hub,dc=test", login-filter: "${filter}"`);
    const romeo = await login(hub, 'romeo@hub.test');
    const card = (await romeo.asks('get', `<vCard xmlns='${ns.vcard}'/>`, 'juliet@hub.test')).child('vCard', ns.vcard)!;
    assert.equal(card.childText('FN'), 'Juliet Capulet');
    assert.equal(card.child('PHOTO')?.childText('TYPE'), 'image/jpeg');
    const found = await romeo.asks('set', `<query xmlns='${ns.search}'><first>*capulet*</first></query>`, 'hub.test');
    assert.deepEqual(
      found
        .child('query', ns.search)
        ?.all('item')
        .map(({ attrs }) => attrs.jid),
      ['juliet@hub.test'],
    );
    const directory = hub.hub.directory('hub.test')!;
    assert.equal(await directory.userOf?.('romeo.montague@hub.test'), 'romeo');
    for (const name of ['*', 'x)(|(uid=*', '\\2a', '(', 'æ*', 'romeo\\', '\0']) {
      assert.equal(await directory.userOf?.(name), null, name);
      assert.equal(await directory.find(name), null, name);
    }
    assert.equal((await directory.find('o\\27brien'))?.name, "Flann O'Brien");
  });

  it('has groups of all kinds, in rosters and as addresses', async () => {
    const slapd = await serve({ fixtures: flat });
    const hub = await start(`url: "${slapd.url}", base: "dc=hub,dc=test", ${reader}, groups: { roster: [verona] }`);
    const groups = hub.hub.directory('hub.test')?.groups;
    const members = async (name: string) =>
      (await groups?.find(name))?.members
        .map(({ jid }) => jid.local)
        .sort()
        .join(' ');
    assert.equal(await members('capulets'), 'juliet nurse');
    assert.equal(await members('montagues'), 'mercutio romeo');
    assert.equal(await members('household'), 'juliet nurse');
    assert.equal(await members('verona'), 'juliet mercutio nurse romeo');
    assert.equal(await members('loop\\20one'), 'juliet romeo');
    const [romeo, juliet] = [await login(hub, 'romeo@hub.test'), await login(hub, 'juliet@hub.test')];
    const roster = await juliet.asks('get', `<query xmlns='${ns.roster}'/>`);
    assert.match(roster.toString(), /romeo@hub\.test.*All of Verona/);
    await romeo.sends(`<message to='household@groups.hub.test'><body>Is she there?</body></message>`);
    await juliet.hears('Is she there?');
  });

  for (const [layout, section] of [
    ['dc-tree', 'base: "o=isp", domain-root: "o=internet"'],
    ['organisations', 'base: "o=isp"'],
  ]) {
    it(`holds several domains and their other names (${layout})`, async () => {
      const slapd = await serve({ fixtures: [`${layout}.ldif`] });
      const domains = '{ hub.test: { directory: corp }, sales.test: { directory: corp } }';
      const hub = await start(`url: "${slapd.url}", layout: ${layout}, ${section}`, { domains });
      await (await login(hub, 'romeo@hub.test')).close();
      const romeo = await login(hub, 'romeo@sales.test');
      await assert.rejects(login(hub, 'romeo@sales.test', { password: 'rose' }), /not-authorized/);
      assert.equal((await hub.hub.directory('sales.test')!.find('romeo'))?.name, 'Romeo of Sales');
      const other = await login(hub, 'romeo@chat.hub.test', { password: 'rose' });
      assert.match(other.jid, /^romeo@hub\.test\//);
      await other.close();
      await romeo.close();
    });
  }

  it('takes new people, whose passwords it hashes', async () => {
    const slapd = await serve({ fixtures: flat });
    const registration = 'registration: { base: "ou=people,{base}" }';
    const hub = await start(
      `url: "${slapd.url}", base: "dc=hub,dc=test", ${reader}, passwords: stored, ${registration}`,
      {
        yaml: 'clients: { registration: true }',
      },
    );
    const options = { jid: 'x,ou=groups@hub.test', password: 'peace ✌', port: hub.port };
    await hub.accounts.add(options.jid, options.password);
    await assert.rejects(hub.accounts.add(options.jid, 'again'), /exists/);
    const person = await connectClient({ ...options, mechanism: 'PLAIN' });
    // slapd keeps a hash, of which no SCRAM keys can be made.
    await assert.rejects(connectClient({ ...options, mechanism: 'SCRAM-SHA-1' }), /not-authorized/);
    assert.equal((await person.asks('set', `<query xmlns='${ns.register}'><remove/></query>`)).attrs.type, 'result');
    await assert.rejects(connectClient({ ...options, mechanism: 'PLAIN' }), /not-authorized/);
    await assert.rejects(hub.accounts.remove('nobody@hub.test'), /no account/);
  });
});
