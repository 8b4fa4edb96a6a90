// `isthmus account`: passwords from standard input, with and without a hub, and users that move (XEP-0227).
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ns } from '../../src/xmpp/namespaces.ts';
import { isthmus, workplace } from '../support/command.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

describe('isthmus account', () => {
  const place = workplace({ 'isthmus.yaml': 'domains: { hub.test: {}, other.test: {} }' });
  after(() => place.remove());
  const account = (...args: string[]) => isthmus(['account', ...args], { cwd: place.path, input: 'a password\n' });

  it('adds, lists, changes and removes where no hub runs', async () => {
    assert.deepEqual(await account('add', 'romeo@hub.test'), { code: 0, out: 'romeo@hub.test: added\n', err: '' });
    const twice = await account('add', 'romeo@hub.test');
    assert.deepEqual(twice, { code: 1, out: '', err: 'isthmus: romeo@hub.test exists already\n' });
    assert.equal((await account('passwd', 'romeo@hub.test')).out, 'romeo@hub.test: password changed\n');
    const listed = await isthmus(['account', 'list', 'hub.test', '--json'], { cwd: place.path });
    assert.deepEqual(JSON.parse(listed.out), [{ jid: 'romeo@hub.test' }]);
    assert.equal((await account('remove', 'romeo@hub.test')).code, 0);
    assert.equal((await account('remove', 'romeo@hub.test')).err, 'isthmus: there is no account romeo@hub.test\n');
  });

  it('says in one line what is wrong, and whether it was the words', async () => {
    for (const [args, code, err] of [
      [['add', 'romeo@far.test'], 1, /^isthmus: far\.test is not served here; served are hub\.test, other\.test\n$/],
      [['add', 'no address'], 1, /^isthmus: no address is not an account; user@domain is expected\n$/],
      [['add'], 2, /^isthmus: account takes: add JID \| .*\n$/],
      [['dance', 'romeo@hub.test'], 2, /^isthmus: account takes: /],
      [['import', 'nothing.xml'], 1, /^isthmus: .*nothing\.xml cannot be read: ENOENT\n$/],
    ] as const) {
      const ran = await account(...args);
      assert.deepEqual([ran.code, ran.out], [code, ''], args.join(' '));
      assert.match(ran.err, err);
    }
    const empty = await isthmus(['account', 'add', 'x@hub.test'], { cwd: place.path, input: '\n' });
    assert.deepEqual([empty.code, empty.err.split('\n').length], [1, 2]);
  });
});

describe('users that move', () => {
  let hub: TestHub;
  let source: string;
  const target = workplace({ 'isthmus.yaml': 'domains: { hub.test: {} }' });
  before(async () => {
    hub = await startTestHub(['hub.test']);
    source = join(hub.directory, 'isthmus.yaml');
    const juliet = await hub.client('juliet@hub.test');
    const set = async (xml: string) => assert.equal((await juliet.asks('set', xml)).attrs.type, 'result');
    await set(
      `<query xmlns='${ns.roster}'><item jid='romeo@far.test' name='Romeo'><group>Friends</group></item></query>`,
    );
    await set(`<vCard xmlns='${ns.vcard}'><FN>Juliet</FN></vCard>`);
    await set(`<query xmlns='${ns.private}'><prefs xmlns='urn:test:prefs'><a>1 &lt; 2</a></prefs></query>`);
    const item = (id: string) => `<item id='${id}'><note xmlns='urn:test:notes'>${id}</note></item>`;
    const open = `<field var='pubsub#access_model'><value>open</value></field><field var='pubsub#max_items'><value>5</value></field>`;
    const options = `<publish-options><x xmlns='${ns.data}' type='submit'>${open}</x></publish-options>`;
    for (const id of ['first', 'second', 'third']) {
      await set(`<pubsub xmlns='${ns.pubsub}'><publish node='notes'>${item(id)}</publish>${options}</pubsub>`);
    }
    await set(
      `<pubsub xmlns='${ns.pubsubOwner}'><affiliations node='notes'><affiliation jid='nurse@far.test' affiliation='publisher'/></affiliations></pubsub>`,
    );
    const romeo = await hub.client('romeo@hub.test');
    await romeo.sends("<presence to='juliet@hub.test' type='subscribe'><status>Let me in</status></presence>");
    await juliet.receives(element => element.attrs.type === 'subscribe');
    await juliet.close();
    await romeo.sends("<message to='juliet@hub.test' type='chat'><body>Are you there?</body></message>");
    await romeo.close();
  });
  after(async () => {
    await hub.close();
    target.remove();
  });

  it('bring their contacts, requests, messages, data and password along', async () => {
    const exported = await isthmus(['account', 'export', 'juliet@hub.test', '-c', source]);
    assert.equal(exported.code, 0, exported.err);
    assert.match(exported.out, /^<\?xml version='1\.0' encoding='UTF-8'\?>\n<server-data xmlns='urn:xmpp:pie:0'>\n/);
    writeFileSync(join(target.path, 'users.xml'), exported.out);
    const imported = await isthmus(['account', 'import', 'users.xml', '--json'], { cwd: target.path });
    assert.deepEqual(JSON.parse(imported.out), [{ user: 'juliet@hub.test', result: 'imported' }], imported.err);
    const again = await isthmus(['account', 'export', 'hub.test'], { cwd: target.path });
    // A version of the roster is the server's own affair; everything else is the same.
    assert.equal(again.out, exported.out);
    assert.match(again.out, /Let me in/);
    assert.match(again.out, /Are you there\?/);
    assert.match(again.out, /1 &lt; 2/);
    assert.match(again.out, /scram-credentials/);
    assert.match(again.out, /first<.*second<.*third</s);
    assert.match(again.out, /jid='nurse@far\.test' affiliation='publisher'/);
  });

  it('can log in with their password, and merge into an account that is there', async () => {
    const other = await startTestHub(['hub.test']);
    try {
      const file = join(target.path, 'users.xml');
      const config = join(other.directory, 'isthmus.yaml');
      const running = await isthmus(['account', 'import', file, '-c', config]);
      assert.match(running.out, /juliet@hub\.test\s+imported\n/, running.err);
      const juliet = await other.client('juliet@hub.test');
      await juliet.hears('Are you there?');
      const roster = await juliet.asks('get', `<query xmlns='${ns.roster}'/>`);
      assert.match(String(roster), /jid='romeo@far\.test' name='Romeo' subscription='none'><group>Friends</);
      const romeo = await other.client('romeo@hub.test');
      const notes = `<pubsub xmlns='${ns.pubsub}'><items node='notes'/></pubsub>`;
      assert.match(String(await romeo.asks('get', notes, 'juliet@hub.test')), /third<.*second<.*first</);
      await romeo.close();
      await juliet.close();
      const second = await isthmus(['account', 'import', file, '-c', config]);
      assert.match(second.out, /exists already: its password stays/);
    } finally {
      await other.close();
    }
  });

  it('log in with PLAIN where they brought keys of one kind, and with every mechanism from then on', async () => {
    const other = await startTestHub(['hub.test']);
    try {
      const text = readFileSync(join(target.path, 'users.xml'), 'utf8');
      const old = text.replace(/<scram-credentials[^>]*SCRAM-SHA-256'.*?<\/scram-credentials>/, '');
      writeFileSync(join(other.directory, 'old.xml'), old);
      const config = join(other.directory, 'isthmus.yaml');
      const ran = await isthmus(['account', 'import', join(other.directory, 'old.xml'), '-c', config]);
      assert.match(ran.out, /imported; has no SCRAM-SHA-256 keys: it logs in by other mechanisms/);
      const login = async (mechanism: string) => {
        const juliet = await other.client('juliet@hub.test', { mechanism, quiet: true });
        await juliet.close();
      };
      await assert.rejects(login('SCRAM-SHA-256'), /not-authorized/);
      await login('SCRAM-SHA-1');
      await assert.rejects(
        other.client('juliet@hub.test', { mechanism: 'PLAIN', password: 'wrong' }),
        /not-authorized/,
      );
      await login('PLAIN');
      await login('SCRAM-SHA-256');
      await login('SCRAM-SHA-1');
    } finally {
      await other.close();
    }
  });

  it('come from divided files of others, and say what is left out', async () => {
    const pie = "xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'";
    mkdirSync(join(target.path, 'hub.test'));
    const files = {
      'main.xml': `<?xml version='1.0'?>\n<!-- from elsewhere --><server-data ${pie}>\n<xi:include href='hub.test.xml'/></server-data>`,
      'hub.test.xml': `<host ${pie} jid='hub.test'><xi:include href='hub.test/paris.xml'/><user name='tybalt'/></host>`,
      'hub.test/paris.xml': `<user ${pie} name='paris' password='pw'><thing xmlns='urn:other'/></user>`,
      'outside.xml': `<server-data ${pie}><xi:include href='../../etc/passwd'/></server-data>`,
      'wrong.xml': '<html/>',
      'broken.xml': '<server-data',
    };
    for (const [name, text] of Object.entries(files)) writeFileSync(join(target.path, name), text);
    const ran = await isthmus(['account', 'import', 'main.xml', '--json'], { cwd: target.path });
    assert.equal(ran.code, 1);
    assert.deepEqual(JSON.parse(ran.out), [
      { user: 'paris@hub.test', result: 'imported; thing in urn:other is not kept here' },
      { user: 'tybalt@hub.test', result: 'failed: there is neither a password nor a key that is known here' },
    ]);
    for (const [name, err] of [
      ['outside.xml', /passwd is no file beside this one\n$/],
      ['wrong.xml', /a file of urn:xmpp:pie:0 is expected, this is html\n$/],
      ['broken.xml', /^isthmus: broken\.xml: .*\n$/],
    ] as const) {
      const refused = await isthmus(['account', 'import', name], { cwd: target.path });
      assert.equal(refused.code, 1);
      assert.match(refused.err, err);
      assert.equal(refused.err.split('\n').length, 2, refused.err);
    }
  });
});
