// A hub whose people live in an LDAP directory: logins, vCards, search, groups, registration, and what outages leave.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseName } from '../../src/directory/ldap/name.ts';
import type { Element } from '../../src/xmpp/element.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { tokenMessage } from '../../src/xmpp/sasl/hashed-token.ts';
import { plainMessage } from '../../src/xmpp/sasl/plain.ts';
import { refusal, runs } from '../support/administration.ts';
import { type Client, type ClientOptions, connectClient } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { keyOf, type LdapStandIn, startLdapStandIn } from '../support/ldap.ts';
import { recordsOf } from '../support/partners.ts';
import { startZones, type Zones } from '../support/zones.ts';

const fixtures = join(import.meta.dirname, '..', '..', 'fixtures', 'ldap');
const ldif = ['flat.ldif', 'dynamic.ldif'].map(name => readFileSync(join(fixtures, name), 'utf8')).join('\n');
const passwords: Record<string, string> = { romeo: 'rose', juliet: 'moon', nurse: 'aqua vitae', mercutio: 'queen mab' };

describe('a hub with an LDAP directory', () => {
  let ldap: LdapStandIn;
  let hub: TestHub;
  before(async () => {
    ldap = await startLdapStandIn({ ldif });
    hub = await startTestHub('{ hub.test: { directory: corp }, other.test: {} }', {
      yaml: `
clients: { registration: true }
directories:
  corp:
    kind: ldap
    url: "${ldap.url}"
    base: "dc=hub,dc=test"
    bind: { dn: "cn=reader,dc=hub,dc=test", password: reader secret }
    login-filter: "(&(objectClass=inetOrgPerson)(|(uid={0})(mail={0})))"
    groups: { roster: [verona] }
    registration: { base: "ou=people,{base}" }`,
      listen: { 'c2s-tls': '127.0.0.1:0' },
    });
  });
  after(async () => {
    await hub.close();
    await ldap.stop();
  });

  // The test hub's own `client` would make the account first.
  const login = (user: string, more: Partial<ClientOptions> = {}): Promise<Client> => {
    const password = passwords[user] ?? 'secret';
    return connectClient({ jid: `${user}@hub.test`, port: hub.port, password, mechanism: 'PLAIN', ...more });
  };

  it('lets its people in with PLAIN over TLS, and nobody else', async () => {
    const romeo = await login('romeo');
    assert.deepEqual(romeo.jid.split('/')[0], 'romeo@hub.test');
    await assert.rejects(login('romeo', { password: 'moon' }), /not-authorized/);
    await assert.rejects(login('nobody'), /not-authorized/);
    await assert.rejects(login('*'), /not-authorized/);
    await assert.rejects(login('romeo)(uid=*', { password: 'rose' }), /not-authorized/);
    await assert.rejects(login('romeo', { mechanism: 'SCRAM-SHA-1' }), /invalid-mechanism/);
    assert.equal(ldap.operations.filter(text => /^bind (?!cn=reader|uid=romeo,)/.test(text)).length, 0);
    await romeo.close();
  });

  it('shows what the directory knows in vCards, to its own people', async () => {
    const romeo = await login('romeo');
    const card = (await romeo.asks('get', `<vCard xmlns='${ns.vcard}'/>`, 'juliet@hub.test')).child('vCard', ns.vcard)!;
    assert.equal(card.childText('FN'), 'Juliet Capulet');
    assert.equal(card.child('EMAIL')?.childText('USERID'), 'juliet@hub.test');
    assert.equal(card.child('TEL')?.childText('NUMBER'), '+15551230002');
    assert.equal(card.child('PHOTO')?.childText('TYPE'), 'image/jpeg');
    const newer = async (jid: string) =>
      String(await romeo.asks('get', `<pubsub xmlns='${ns.pubsub}'><items node='urn:xmpp:vcard4'/></pubsub>`, jid));
    const known = [
      '<fn><text>Juliet Capulet</text></fn>',
      '<text>juliet@hub.test</text></email>',
      '<uri>tel:+15551230002</uri></tel>',
      '<photo><uri>data:image/jpeg;base64,/9j',
    ];
    for (const part of known) assert.ok((await newer('juliet@hub.test')).includes(part), part);
    await romeo.asks('set', `<vCard xmlns='${ns.vcard}'><FN>Romeo M.</FN></vCard>`);
    const both = await newer('romeo@hub.test');
    assert.match(both, /<fn><text>Romeo M\.<\/text><\/fn>.*<uri>tel:\+15551230001<\/uri><\/tel>/);
    assert.equal(both.split('<fn>').length, 2);
    const own = (await romeo.asks('get', `<vCard xmlns='${ns.vcard}'/>`)).child('vCard', ns.vcard)!;
    assert.equal(own.childText('FN'), 'Romeo M.');
    assert.equal(own.child('TEL')?.childText('NUMBER'), '+15551230001');
    await romeo.close();
  });

  it('is searched by its own people, with the old fields and with a form', async () => {
    const romeo = await login('romeo');
    const asked = await romeo.asks('get', `<query xmlns='${ns.search}'/>`, 'hub.test');
    assert.ok(asked.child('query', ns.search)?.child('x', ns.data));
    const old = await romeo.asks('set', `<query xmlns='${ns.search}'><first>Jul*</first></query>`, 'hub.test');
    const items = old.child('query', ns.search)!.all('item');
    assert.deepEqual(
      items.map(item => item.attrs.jid),
      ['juliet@hub.test'],
    );
    const form = `<x xmlns='${ns.data}' type='submit'><field var='email'><value>nurse@hub.test</value></field></x>`;
    const found = await romeo.asks('set', `<query xmlns='${ns.search}'>${form}</query>`, 'hub.test');
    assert.match(found.toString(), /nurse@hub\.test/);
    assert.match(found.toString(), /Angelica Nurse/);
    const nothing = await romeo.asks('set', `<query xmlns='${ns.search}'/>`, 'hub.test');
    assert.deepEqual(nothing.child('query', ns.search)?.all(), []);
    const blank = `<query xmlns='${ns.search}'><x xmlns='${ns.data}' type='submit'/></query>`;
    const nobody = (await romeo.asks('set', blank, 'hub.test')).child('query', ns.search)?.child('x', ns.data);
    assert.equal(nobody?.attrs.type, 'result');
    assert.equal(nobody.all('item').length, 0);
    const tried = await romeo.asks('set', `<query xmlns='${ns.search}'><email>*)(uid=*</email></query>`, 'hub.test');
    assert.equal(tried.child('query', ns.search)?.all('item').length, 0);
    const stranger = await hub.client('paris@other.test');
    const refused = await stranger.asks('set', `<query xmlns='${ns.search}'><first>*</first></query>`, 'hub.test');
    assert.equal(refused.attrs.type, 'error');
    await stranger.close();
    await romeo.close();
  });

  it('puts shared groups into the rosters of their members, who see each other', async () => {
    const juliet = await login('juliet');
    const roster = (await juliet.asks('get', `<query xmlns='${ns.roster}'/>`)).child('query', ns.roster)!;
    assert.deepEqual(
      roster
        .all('item')
        .map(({ attrs }) => [attrs.jid, attrs.name, attrs.subscription])
        .sort(),
      [
        ['mercutio@hub.test', 'Mercutio (of Verona) *', 'both'],
        ['nurse@hub.test', 'Angelica Nurse', 'both'],
        ['romeo@hub.test', 'Romeo Montague', 'both'],
      ],
    );
    assert.equal(roster.all('item')[0].childText('group'), 'All of Verona');
    const romeo = await login('romeo');
    await juliet.receives(e => e.name === 'presence' && e.attrs.from === romeo.jid && !e.attrs.type);
    await romeo.receives(e => e.name === 'presence' && e.attrs.from === juliet.jid && !e.attrs.type);
    const same = await juliet.asks('get', `<query xmlns='${ns.roster}' ver='${roster.attrs.ver}'/>`);
    assert.equal(same.child('query', ns.roster), null);
    const remove = await juliet.asks(
      'set',
      `<query xmlns='${ns.roster}'><item jid='romeo@hub.test' subscription='remove'/></query>`,
    );
    assert.ok(remove.child('error')?.child('not-allowed', ns.stanzaErrors));
    for (const type of ['unsubscribe', 'unsubscribed']) {
      await juliet.sends(`<presence to='romeo@hub.test' type='${type}'/>`);
      const refused = await juliet.receives(e => e.name === 'presence' && e.attrs.type === 'error');
      assert.ok(refused.child('error')?.child('not-allowed', ns.stanzaErrors));
    }
    await romeo.hasNot(e => /subscribe/.test(e.attrs.type ?? ''));
    await juliet.asks('set', `<query xmlns='${ns.roster}'><item jid='romeo@hub.test' name='Sweet Montague'/></query>`);
    const push = await juliet.receives(e => e.attrs.type === 'set' && e.toString().includes('Sweet Montague'));
    const item = push.child('query', ns.roster)!.child('item')!;
    assert.equal(item.attrs.subscription, 'both');
    assert.equal(item.childText('group'), 'All of Verona');
    await romeo.close();
    await juliet.close();
  });

  it('carries a message to a group to every member, nested and dynamic groups included', async () => {
    const people = await Promise.all(['romeo', 'juliet', 'nurse'].map(user => login(user)));
    const [romeo, juliet, nurse] = people;
    await romeo.sends(`<message to='verona@groups.hub.test' type='chat' id='g1'><body>Peace!</body></message>`);
    const heard = await juliet.hears('Peace!');
    assert.equal(heard.attrs.from, romeo.jid);
    assert.equal(heard.child('addresses', ns.addresses)?.all('address')[0].attrs.jid, 'verona@groups.hub.test');
    await nurse.hears('Peace!');
    await romeo.hasNot(e => e.name === 'message');
    await romeo.sends(`<message to='household@groups.hub.test'><body>Is she there?</body></message>`);
    await juliet.hears('Is she there?');
    await nurse.hears('Is she there?');
    await romeo.sends(`<message to='loop\\20one@groups.hub.test'><body>Round and round</body></message>`);
    await juliet.hears('Round and round');
    for (const client of people) await client.close();
    const mercutio = await login('mercutio');
    await mercutio.hears('Peace!');
    await mercutio.close();
  });

  it('takes nothing that people write for syntax', async () => {
    const romeo = await login('romeo');
    const hostile = ['*)(cn=*', 'verona)(objectClass=*', '\\2a', 'a,ou=groups', 'verona#', 'x+cn=y'];
    for (const text of hostile) {
      const before = ldap.operations.length;
      const group = Jid.tryParse(`${text}@groups.hub.test`);
      if (group) {
        await romeo.sends(`<message to='${group.escaped}' id='h'><body>?</body></message>`);
        assert.equal((await romeo.receives(e => e.attrs.id === 'h')).attrs.type, 'error', text);
      }
      const fields = ['first', 'last', 'nick', 'email'].map(name => `<${name}>${text}</${name}>`).join('');
      const found = await romeo.asks('set', `<query xmlns='${ns.search}'>${fields}</query>`, 'hub.test');
      assert.deepEqual(found.child('query', ns.search)?.all('item') ?? [], [], text);
      await assert.rejects(login(text), text);
      for (const operation of ldap.operations.slice(before)) {
        const base = operation.split(' ')[1];
        assert.match(base, /^("")?$|dc=hub,dc=test$/, operation);
      }
    }
    const known = new Set(ldap.entries.keys());
    for (const text of ['x,ou=groups', 'x+uid=romeo', '#04', 'x\\2c', '"x"', ' x', 'x;y', 'x=y']) {
      // Some are no address at all.
      await hub.accounts.add(`${text}@hub.test`, 'a password)(x=*').catch(() => {});
    }
    assert.ok(ldap.entries.size > known.size);
    for (const dn of ldap.entries.keys()) {
      if (known.has(dn)) continue;
      assert.equal(parseName(dn)?.length, 4, dn);
      ldap.entries.delete(dn);
    }
    await romeo.close();
  });

  it('keeps groups to the people of the domain', async () => {
    const paris = await hub.client('paris@other.test');
    const romeo = await login('romeo');
    await paris.sends(`<message to='verona@groups.hub.test' id='p1'><body>Let me in</body></message>`);
    assert.ok((await paris.receives(e => e.attrs.id === 'p1')).child('error')?.child('forbidden', ns.stanzaErrors));
    await romeo.sends(`<message to='nothing@groups.hub.test' id='r1'><body>?</body></message>`);
    assert.ok(
      (await romeo.receives(e => e.attrs.id === 'r1')).child('error')?.child('item-not-found', ns.stanzaErrors),
    );
    const listed = await romeo.asks('get', `<query xmlns='${ns.discoItems}'/>`, 'groups.hub.test');
    const names = listed
      .child('query', ns.discoItems)!
      .all('item')
      .map(({ attrs }) => attrs.jid);
    assert.ok(names.includes('verona@groups.hub.test') && names.includes('loop\\20one@groups.hub.test'));
    await paris.close();
    await romeo.close();
  });

  it('takes new people into the directory, and touches nobody else’s entry', async () => {
    const options = { password: 'peace' };
    const port = hub.listening['c2s-tls'][0].port;
    const newcomer = await connectClient({
      jid: 'benvolio@hub.test',
      port,
      password: '',
      security: 'direct',
      bare: true,
    });
    const register = `<query xmlns='${ns.register}'><username>benvolio</username><password>peace</password></query>`;
    assert.equal((await newcomer.asks('set', register)).attrs.type, 'result');
    assert.ok((await newcomer.asks('set', register)).child('error')?.child('conflict', ns.stanzaErrors));
    const taken = register.replace('benvolio', 'romeo');
    assert.ok((await newcomer.asks('set', taken)).child('error')?.child('conflict', ns.stanzaErrors));
    newcomer.drop();
    const entry = ldap.entries.get('uid=benvolio,ou=people,dc=hub,dc=test')!;
    assert.deepEqual(entry.attributes.get('sn')?.values.map(String), ['benvolio']);
    await assert.rejects(hub.accounts.add('benvolio@hub.test', 'again'), /exists/);
    await hub.accounts.add('x,ou=groups@hub.test', 'peace');
    assert.ok(ldap.entries.has('uid=x\\,ou\\=groups,ou=people,dc=hub,dc=test'));
    const benvolio = await login('benvolio', options);
    const change = `<query xmlns='${ns.register}'><username>benvolio</username><password>calm</password></query>`;
    assert.equal((await benvolio.asks('set', change)).attrs.type, 'result');
    await assert.rejects(login('benvolio', options), /not-authorized/);
    await benvolio.asks('set', `<query xmlns='${ns.register}'><remove/></query>`);
    assert.equal(ldap.entries.has('uid=benvolio,ou=people,dc=hub,dc=test'), false);
    ldap.entries.set('uid=elder,dc=hub,dc=test', {
      dn: 'uid=elder,dc=hub,dc=test',
      attributes: new Map(
        [
          ['uid', 'elder'],
          ['objectClass', 'inetOrgPerson'],
          ['userPassword', 'old'],
        ].map(([name, value]) => [name.toLowerCase(), { name, values: [Buffer.from(value)] }]),
      ),
    });
    const elder = await login('elder', { password: 'old' });
    const refused = await elder.asks('set', `<query xmlns='${ns.register}'><remove/></query>`);
    assert.ok(refused.child('error')?.child('not-allowed', ns.stanzaErrors));
    assert.equal((await elder.asks('set', change.replace('benvolio', 'elder'))).attrs.type, 'error');
    await elder.close();
  });

  it('has no commands for accounts where it may not make any', async () => {
    const reading = await startTestHub('{ hub.test: { directory: corp, admins: [romeo@hub.test] } }', {
      yaml: `directories: { corp: { kind: ldap, url: "${ldap.url}", base: "dc=hub,dc=test", bind: { dn: "cn=reader,dc=hub,dc=test", password: reader secret } } }`,
    });
    const romeo = await login('romeo', { port: reading.port });
    const answer = await romeo.asks('get', `<query xmlns='${ns.discoItems}' node='${ns.commands}'/>`, 'hub.test');
    const nodes = answer
      .child('query', ns.discoItems)!
      .all('item')
      .map(({ attrs }) => attrs.node.split('#')[1]);
    const missing = ['add-user', 'delete-user', 'change-user-password', 'get-registered-users-num', 'announce-all'];
    assert.deepEqual(
      missing.filter(name => nodes.includes(name)),
      [],
    );
    for (const name of ['get-online-users-num', 'disable-user', 'get-user-roster'])
      assert.ok(nodes.includes(name), name);
    for (const name of missing) {
      assert.equal(refusal(await runs(romeo, name)), 'feature-not-implemented', name);
    }
    assert.ok((await runs(romeo, 'get-user-roster', { accountjids: 'juliet@hub.test' })).attrs.type === 'result');
    await reading.close();
  });

  it('leaves sessions alone when the directory is away, and says that it cannot tell', async () => {
    const romeo = await login('romeo');
    const juliet = await login('juliet');
    await ldap.stop();
    await romeo.sends(`<message to='juliet@hub.test' type='chat'><body>still here</body></message>`);
    await juliet.hears('still here');
    const began = performance.now();
    await assert.rejects(login('romeo'), /temporary-auth-failure/);
    await assert.rejects(login('nobody'), /temporary-auth-failure/);
    assert.ok(performance.now() - began < 10_000);
    await juliet.close();
    await romeo.sends(`<message to='juliet@hub.test' type='chat'><body>for later</body></message>`);
    await romeo.hasNot(e => e.attrs.type === 'error');
    await ldap.start();
    const back = await login('juliet');
    await back.hears('for later');
    await back.close();
    await romeo.close();
  });

  it('asks the directory whether the owner of a token is still there', async () => {
    const { now } = performance;
    const connect = () =>
      connectClient({
        jid: 'mercutio@hub.test',
        port: hub.listening['c2s-tls'][0].port,
        password: '',
        security: 'direct',
        bare: true,
      });
    const agent = `<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>`;
    const authenticates = async (mechanism: string, message: Uint8Array, more: string): Promise<Element> => {
      const client = await connect();
      const initial = Buffer.from(message).toString('base64');
      await client.sends(
        `<authenticate xmlns='${ns.sasl2}' mechanism='${mechanism}'><initial-response>${initial}</initial-response>${agent}${more}</authenticate>`,
      );
      const outcome = await client.receives(e => e.ns === ns.sasl2);
      await client.close();
      return outcome;
    };
    const mechanism = 'HT-SHA-256-NONE';
    const asked = `<request-token xmlns='${ns.fast}' mechanism='${mechanism}'/>`;
    const given = await authenticates('PLAIN', plainMessage('mercutio', passwords.mercutio), asked);
    const { token } = given.child('token', ns.fast)!.attrs;
    const message = tokenMessage(mechanism, 'mercutio', token, new Map());
    const uses = () => authenticates(mechanism, message, `<fast xmlns='${ns.fast}'/>`);
    const key = keyOf('uid=mercutio,ou=people,dc=hub,dc=test');
    const entry = ldap.entries.get(key)!;
    assert.equal((await uses()).name, 'success');
    try {
      // What is known of people is remembered for longer.
      performance.now = () => now.call(performance) + 60_000;
      ldap.entries.delete(key);
      assert.ok((await uses()).child('not-authorized', ns.sasl));
      ldap.entries.set(key, entry);
      assert.equal((await uses()).name, 'success');
      performance.now = () => now.call(performance) + 120_000;
      await ldap.stop();
      assert.ok((await uses()).child('temporary-auth-failure', ns.sasl));
      await ldap.start();
    } finally {
      performance.now = now;
    }
  });

  it('makes no lookups for messages to people it knows', async () => {
    const romeo = await login('romeo');
    await romeo.sends(`<message to='nurse@hub.test' type='chat'><body>0</body></message>`);
    await romeo.sends(`<message to='ghost@hub.test' type='chat' id='ghost'><body>0</body></message>`);
    await romeo.receives(e => e.attrs.id === 'ghost' && e.attrs.type === 'error');
    const before = ldap.operations.length;
    for (let i = 1; i <= 20; i++) {
      await romeo.sends(`<message to='nurse@hub.test' type='chat'><body>${i}</body></message>`);
      await romeo.sends(`<message to='ghost@hub.test' type='chat' id='ghost'><body>${i}</body></message>`);
    }
    for (let i = 1; i <= 20; i++) await romeo.receives(e => e.attrs.id === 'ghost' && e.attrs.type === 'error');
    assert.equal(ldap.operations.length, before);
    await romeo.close();
  });
});

describe('a shared group that changes', () => {
  it('lets contacts come and go while people are online, and leaves what they made themselves', async () => {
    const ldap = await startLdapStandIn({ ldif });
    const section = `kind: ldap, url: "${ldap.url}", base: "dc=hub,dc=test", cache: 0s, groups: { roster: [capulets] }`;
    const hub = await startTestHub('{ hub.test: { directory: corp } }', {
      yaml: `log: { level: error }\ndirectories: { corp: { ${section} } }`,
    });
    const login = async (user: string) => {
      const jid = `${user}@hub.test`;
      const client = await connectClient({ jid, password: passwords[user], port: hub.port });
      const roster = await client.asks('get', `<query xmlns='${ns.roster}'/>`);
      return {
        client,
        contacts: roster
          .child('query', ns.roster)!
          .all('item')
          .map(({ attrs }) => attrs.jid),
      };
    };
    const pushed = (client: Client, jid: string, subscription: string) =>
      client.receives(e => {
        const item = e.attrs.type === 'set' ? e.child('query', ns.roster)?.child('item') : null;
        return item?.attrs.jid === jid && item.attrs.subscription === subscription;
      });
    try {
      await hub.reload(hub.config);
      const [juliet, nurse, romeo] = [await login('juliet'), await login('nurse'), await login('romeo')];
      assert.deepEqual(
        [juliet.contacts, nurse.contacts, romeo.contacts],
        [['nurse@hub.test'], ['juliet@hub.test'], []],
      );
      await romeo.client.asks('set', `<query xmlns='${ns.roster}'><item jid='juliet@hub.test' name='J'/></query>`);
      const members = ldap.entries.get('cn=capulets,ou=groups,dc=hub,dc=test')!.attributes.get('member')!;
      members.values = ['juliet', 'romeo'].map(user => Buffer.from(`uid=${user},ou=people,dc=hub,dc=test`));
      await hub.reload(hub.config);
      await pushed(juliet.client, 'romeo@hub.test', 'both');
      await pushed(romeo.client, 'juliet@hub.test', 'both');
      await pushed(juliet.client, 'nurse@hub.test', 'remove');
      await romeo.client.receives(e => e.name === 'presence' && e.attrs.from === juliet.client.jid && !e.attrs.type);
      await nurse.client.receives(e => e.attrs.type === 'unavailable' && e.attrs.from === juliet.client.jid);
      members.values = [];
      await hub.reload(hub.config);
      await pushed(romeo.client, 'juliet@hub.test', 'none');
      await romeo.client.close();
      assert.deepEqual((await login('romeo')).contacts, ['juliet@hub.test']);
    } finally {
      await hub.close();
      await ldap.stop();
    }
  });
});

describe('a directory, seen from another hub', () => {
  let ldap: LdapStandIn;
  let zones: Zones;
  let near: TestHub;
  let far: TestHub;
  before(async () => {
    ldap = await startLdapStandIn({ ldif });
    zones = await startZones('');
    const dns = `dns: { servers: ["${zones.server.host}:${zones.server.port}"] }`;
    const section = `kind: ldap, url: "${ldap.url}", base: "dc=hub,dc=test", groups: { senders: anyone }`;
    near = await startTestHub('{ hub.test: { directory: corp } }', {
      yaml: `${dns}\ndirectories: { corp: { ${section} } }`,
    });
    far = await startTestHub(['far.test'], { yaml: dns });
    const groups = recordsOf('groups.hub.test', near);
    zones.set([recordsOf('hub.test', near), recordsOf('far.test', far), groups].join('\n'));
  });
  after(async () => {
    await far.close();
    await near.close();
    await zones.close();
    await ldap.stop();
  });

  it('shows strangers neither its people nor its groups, and lets them write where that is allowed', async () => {
    const paris = await far.client('paris@far.test');
    const juliet = await connectClient({ jid: 'juliet@hub.test', password: 'moon', port: near.port });
    const card = await paris.asks('get', `<vCard xmlns='${ns.vcard}'/>`, 'juliet@hub.test');
    assert.ok(card.child('error')?.child('service-unavailable', ns.stanzaErrors));
    const search = `<query xmlns='${ns.search}'><first>*</first></query>`;
    assert.ok((await paris.asks('set', search, 'hub.test')).child('error')?.child('forbidden', ns.stanzaErrors));
    const listed = await paris.asks('get', `<query xmlns='${ns.discoItems}'/>`, 'groups.hub.test');
    assert.deepEqual(listed.child('query', ns.discoItems)?.all('item'), []);
    await paris.sends(`<message to='capulets@groups.hub.test'><body>My suit?</body></message>`);
    assert.equal((await juliet.hears('My suit?')).attrs.from, paris.jid);
    await juliet.sends(`<presence to='paris@far.test' type='subscribed'/>`);
    await paris.sends(`<presence to='juliet@hub.test' type='subscribe'/>`);
    await paris.receives(e => e.name === 'presence' && e.attrs.from === juliet.jid);
    const seen = await paris.asks('get', `<vCard xmlns='${ns.vcard}'/>`, 'juliet@hub.test');
    assert.equal(seen.child('vCard', ns.vcard)?.childText('FN'), 'Juliet Capulet');
    await paris.close();
    await juliet.close();
  });
});
