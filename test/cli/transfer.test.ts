// Files of users (XEP-0227): everything that is kept goes along, hostile files leave nothing, large accounts no trace in memory.
import assert from 'node:assert/strict';
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { importAccounts } from '../../src/cli/transfer.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from '../support/client.ts';
import { isthmus, workplace } from '../support/command.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const domains = '{ hub.test: { modules: { archive: true } } }';
const pie = "xmlns='urn:xmpp:pie:0'";
const png = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex').toString('base64');

function fileOf(user: string, domain = 'hub.test'): string {
  return `<?xml version='1.0'?><server-data ${pie}><host jid='${domain}'>${user}</host></server-data>`;
}

async function sets(client: Client, ...payloads: string[]): Promise<void> {
  for (const xml of payloads) {
    const answer = await client.asks('set', xml);
    assert.equal(answer.attrs.type, 'result', `${xml}: ${answer}`);
  }
}

const field = (name: string, value: string) => `<field var='${name}'><value>${value}</value></field>`;
const publish = (node: string, id: string, payload: string, ...options: string[]) =>
  `<pubsub xmlns='${ns.pubsub}'><publish node='${node}'><item id='${id}'>${payload}</item></publish>${
    options.length === 0
      ? ''
      : `<publish-options><x xmlns='${ns.data}' type='submit'>${field('FORM_TYPE', `${ns.pubsub}#publish-options`)}${options.join('')}</x></publish-options>`
  }</pubsub>`;
const owner = (inner: string) => `<pubsub xmlns='${ns.pubsubOwner}'>${inner}</pubsub>`;

describe('an account that moves', () => {
  let hub: TestHub;
  let exported: string;
  const target = workplace({ 'isthmus.yaml': `domains: ${domains}` });
  const run = (...args: string[]) => isthmus(['account', ...args], { cwd: target.path });

  before(async () => {
    hub = await startTestHub(domains);
    const juliet = await hub.client('juliet@hub.test');
    const romeo = await hub.client('romeo@hub.test');
    await sets(
      juliet,
      `<query xmlns='${ns.roster}'><item jid='nurse@far.test' name='Nurse'><group>House</group></item></query>`,
      `<vCard xmlns='${ns.vcard}'><FN>Juliet</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>${png}</BINVAL></PHOTO></vCard>`,
      `<query xmlns='${ns.private}'><prefs xmlns='urn:test:prefs'><a>1 &lt; 2</a></prefs></query>`,
      `<block xmlns='${ns.blocking}'><item jid='tybalt@hub.test'/><item jid='foes.test'/></block>`,
      `<prefs xmlns='${ns.archive}' default='roster'><always><jid>romeo@hub.test</jid></always><never/></prefs>`,
      publish('urn:test:many', 'one', "<a xmlns='urn:test:a'>1</a>", field('pubsub#max_items', '10')),
      publish('urn:test:many', 'two', "<a xmlns='urn:test:a'>2 &amp; ]]&gt;</a>"),
      publish('urn:test:secret', 'x', "<a xmlns='urn:test:a'/>", field('pubsub#access_model', 'whitelist')),
      owner(
        `<affiliations node='urn:test:secret'><affiliation jid='nurse@far.test' affiliation='member'/></affiliations>`,
      ),
      owner(
        `<subscriptions node='urn:test:secret'><subscription jid='nurse@far.test' subscription='subscribed'/></subscriptions>`,
      ),
    );
    await juliet.sends("<presence to='friar@far.test' type='subscribe'/>");
    await romeo.sends("<presence to='juliet@hub.test' type='subscribe'><status>Let me in</status></presence>");
    await juliet.receives(element => element.attrs.type === 'subscribe');
    await romeo.sends("<message to='juliet@hub.test' type='chat' id='m1'><body>One &amp; two</body></message>");
    await juliet.hears('One & two');
    await juliet.sends("<message to='romeo@hub.test' type='chat' id='m2'><body>Three</body></message>");
    await romeo.hears('Three');
    await juliet.close();
    await romeo.sends("<message to='juliet@hub.test' type='chat'><body>Are you there?</body></message>");
    await romeo.close();
    const ran = await isthmus(['account', 'export', 'hub.test', '-c', join(hub.directory, 'isthmus.yaml')]);
    assert.equal(ran.code, 0, ran.err);
    exported = ran.out;
    writeFileSync(join(target.path, 'users.xml'), exported);
  });
  after(async () => {
    await hub.close();
    target.remove();
  });

  it('brings everything along: a second export says the same as the first', async () => {
    const juliet = exported.split('</user>')[0];
    for (const part of [
      /<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-256'>/,
      /<item jid='nurse@far\.test' name='Nurse' subscription='none'><group>House<\/group><\/item>/,
      /<item jid='friar@far\.test' subscription='none' ask='subscribe'\/>/,
      /<presence xmlns='jabber:client' [^>]*from='romeo@hub\.test'[^>]*><status>Let me in/,
      /<vCard xmlns='vcard-temp'><FN>Juliet<\/FN><PHOTO><TYPE>image\/png/,
      /<query xmlns='jabber:iq:private'><prefs xmlns='urn:test:prefs'><a>1 &lt; 2</,
      /<query xmlns='jabber:iq:privacy'><default name='blocked'\/><list name='blocked'><item type='jid' value='foes\.test' action='deny' order='1'\/>/,
      /<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>romeo@hub\.test<\/jid><\/always><never\/>/,
      /<configure node='urn:test:many'><x xmlns='jabber:x:data' type='form'>.*?<field var='pubsub#max_items' type='text-single'><value>10</,
      /<affiliations node='urn:test:secret'><affiliation jid='nurse@far\.test' affiliation='member'\/>/,
      /<subscriptions node='urn:test:secret'><subscription jid='nurse@far\.test' subscription='subscribed'\/>/,
      /<items node='urn:test:many'><item id='one'>.*?<item id='two'><a xmlns='urn:test:a'>2 &amp; \]\]&gt;<\/a><\/item><\/items>/,
      /<items node='urn:xmpp:avatar:data'><item id='[0-9a-f]{40}'>/,
      /<offline-messages><message xmlns='jabber:client'.*?Are you there\?/,
      /<archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2' id='[^']+'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='[^']+'\/><message xmlns='jabber:client' .*?One &amp; two.*Three.*Are you there\?.*<\/archive>/,
    ]) {
      assert.ok(part.test(juliet), String(part));
    }
    const ran = await run('import', 'users.xml', '--json');
    const imported = ['juliet@hub.test', 'romeo@hub.test'].map(user => ({ user, result: 'imported' }));
    assert.deepEqual(JSON.parse(ran.out), imported, ran.err);
    assert.ok((await run('export', 'hub.test')).out === exported, 'another export');
  });

  it('may come twice: nothing is there twice then', async () => {
    const ran = await run('import', 'users.xml', '--json');
    assert.match(ran.out, /juliet@hub\.test",\s*"result": "imported; exists already: its password stays"/);
    assert.ok((await run('export', 'hub.test')).out === exported, 'another export');
  });

  it('finds everything in its place in a hub that runs, ids of the archive included', async () => {
    const other = await startTestHub(domains);
    try {
      const ids = [...exported.matchAll(/<result [^>]*id='([^']+)'/g)].map(([, id]) => id);
      // What a running hub remembers of a user is renewed.
      const juliet = await other.client('juliet@hub.test');
      assert.equal(
        (await juliet.asks('get', `<blocklist xmlns='${ns.blocking}'/>`)).child('blocklist', ns.blocking)?.children
          .length,
        0,
      );
      const ran = await isthmus([
        'account',
        'import',
        join(target.path, 'users.xml'),
        '-c',
        join(other.directory, 'isthmus.yaml'),
      ]);
      assert.equal(ran.code, 0, ran.err);
      const blocked = await juliet.asks('get', `<blocklist xmlns='${ns.blocking}'/>`);
      assert.equal(blocked.child('blocklist', ns.blocking)?.children.length, 2);
      const items = await juliet.asks('get', `<pubsub xmlns='${ns.pubsub}'><items node='urn:test:many'/></pubsub>`);
      assert.match(String(items), /id='two'.*id='one'/);
      const preferences = await juliet.asks('get', `<prefs xmlns='${ns.archive}'/>`);
      assert.match(String(preferences), /default='roster'/);
      const query = `<query xmlns='${ns.archive}' queryid='q'><set xmlns='${ns.resultSet}'><after>${ids[0]}</after></set></query>`;
      const asked = juliet.asks('set', query);
      const second = await juliet.receives(element => element.child('result', ns.archive) !== null);
      assert.equal(second.child('result', ns.archive)?.attrs.id, ids[1]);
      assert.equal((await asked).attrs.type, 'result');
      await juliet.close();
    } finally {
      await other.close();
    }
  });
});

describe('a hostile file', () => {
  const place = workplace({ 'isthmus.yaml': 'domains: { hub.test: {} }' });
  after(() => place.remove());
  const run = (...args: string[]) => isthmus(['account', ...args], { cwd: place.path });
  const imports = async (text: string | Buffer) => {
    writeFileSync(join(place.path, 'x.xml'), text);
    const ran = await run('import', 'x.xml', '--json');
    assert.ok(ran.code === 1 && ran.err.split('\n').length <= 2, ran.err);
    return ran;
  };
  const listed = async () => (await run('list')).out;

  it('that is broken, or full of entities, is refused before anybody is taken', async () => {
    const good = "<user name='romeo' password='pw'/>";
    const bomb = `<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>`;
    for (const [text, err] of [
      [bomb + fileOf(good).slice(21), /x\.xml: line 1: a document type is not taken$/],
      [fileOf(`${good}<user name='a' password='&b;'/>`), /x\.xml: line 1: .+/],
      [fileOf(`${good}\n<user name='b'><vCard xmlns='vcard-temp'><FN>&xxe;</FN></vCard></user>`), /x\.xml: line 2: .+/],
      [fileOf(`${good}<user name='b'><vCard xmlns='vcard-temp'></FN></vCard></user>`), /x\.xml: line 1: .+/],
      [fileOf(good).slice(0, -12), /x\.xml: line 1: the document is not complete/],
      [`${fileOf(good)}<more/>`, /x\.xml: line 1: .*more than one root/],
      [`${fileOf(good)}more`, /x\.xml: line 1: text stands/],
      [fileOf(`${good}<user a='1' a='2' name='x'/>`), /x\.xml: line 1: .+/],
      [fileOf(`${good}<p:user name='x'/>`), /x\.xml: line 1: .+/],
      [Buffer.concat([Buffer.from(fileOf(good)), Buffer.from([0xff, 0xfe])]), /x\.xml: line 1: this is not UTF-8/],
      [fileOf(good).replace("'1.0'", "'1.0' encoding='utf-16'"), /only UTF-8/],
      [`<server-data xmlns='urn:other'>${good}</server-data>`, /a file of urn:xmpp:pie:0 is expected/],
      [`<server-data ${pie}/>`, /there are no users in it/],
      ['', /the document is not complete/],
      [fileOf(`${good}<user name='x'><a ${'y'.repeat(3 * 1024 * 1024)}`), /does not end/],
      [fileOf(`${good}<user name='x'>${'<a>'.repeat(100_000)}`), /x\.xml: line 1: .+/],
      [fileOf(`<include xmlns='http://www.w3.org/2001/XInclude' href='x.xml'/>`), /x\.xml is included twice/],
      [fileOf(`<include xmlns='http://www.w3.org/2001/XInclude' href='%00'/>`), /is no file beside/],
      [
        fileOf(`<include xmlns='http://www.w3.org/2001/XInclude' href='nowhere.xml'/>`),
        /nowhere\.xml cannot be read: ENOENT/,
      ],
    ] as const) {
      const file = join(place.path, 'x.xml');
      writeFileSync(file, text);
      const refused = importAccounts({ print: assert.fail }, () => assert.fail('a user was taken'), file);
      await assert.rejects(refused, { message: err }, String(text).slice(0, 200));
    }
    const ran = await imports(fileOf(good).slice(0, -12));
    assert.match(ran.err, /^isthmus: x\.xml: line 1: the document is not complete\n$/);
    assert.equal(await listed(), '(none)\n');
  });

  it('with users that cannot be is taken without them', async () => {
    const many = Array.from({ length: 5_001 }, (_, n) => `<item jid='c${n}@far.test'/>`).join('');
    const ran = await imports(
      `<server-data ${pie}>
        <host jid='far.test'><user name='a' password='pw'/></host>
        <host><user name='b' password='pw'/></host>
        <host jid='hub.test'>
          <user password='pw'/><user name='x/y' password='pw'/><user name='a@b' password='pw'/>
          <user name='full' password='pw'><query xmlns='jabber:iq:roster'>${many}</query></user>
          <user name='wrong'><scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'>
            <iter-count>1</iter-count><salt>AA==</salt><server-key>AA==</server-key><stored-key>AA==</stored-key></scram-credentials></user>
          <user xmlns='urn:other' name='other' password='pw'/>
          <user name='good' password='pw'>
            <query xmlns='jabber:iq:roster'><item jid='@@'/><item jid='good@hub.test' subscription='both'/></query>
            <archive xmlns='urn:xmpp:pie:0#mam'><result xmlns='urn:xmpp:mam:2' id='1'/><x xmlns='urn:x'/></archive>
            <offline-messages><iq xmlns='jabber:client'/></offline-messages>
            <pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='n'><x xmlns='jabber:x:data'>
              <field var='pubsub#access_model'><value>everybody</value></field></x></configure></pubsub>
          </user>
        </host></server-data>`,
    );
    const results = JSON.parse(ran.out) as { user: string; result: string }[];
    const of = (user: string) => results.find(one => one.user === user)?.result ?? '';
    assert.match(of('a@far.test'), /^failed: far\.test is not served here/);
    for (const user of ['b@', '@hub.test', 'x/y@hub.test', 'a@b@hub.test']) assert.match(of(user), /^failed: /, user);
    assert.match(of('full@hub.test'), /^failed: there are more contacts than a roster holds/);
    assert.match(of('wrong@hub.test'), /^failed: there is neither a password nor a key/);
    assert.match(of('hub.test'), /user in urn:other is not kept here/);
    const good = of('good@hub.test');
    assert.match(good, /^imported; /);
    for (const note of ['a contact without', 'in archive,', 'in offline-messages,', 'pubsub#access_model of n is not'])
      assert.ok(good.includes(note), `${note}: ${good}`);
    assert.equal(await listed(), 'JID\ngood@hub.test\n');
    assert.match(
      (await run('export', 'good@hub.test')).out,
      /pubsub#access_model' type='list-single'><value>whitelist</,
    );
  });

  it('that breaks off inside a large user leaves nothing of that one', async () => {
    await run('remove', 'good@hub.test');
    const archive = Array.from({ length: 3_000 }, (_, n) => resultOf(n, 'x'.repeat(600))).join('');
    const contacts = Array.from({ length: 5_001 }, (_, n) => `<item jid='c${n}@far.test'/>`).join('');
    const ran = await imports(
      fileOf(`<user name='large' password='pw'><archive xmlns='urn:xmpp:pie:0#mam'>${archive}</archive>
        <query xmlns='jabber:iq:roster'>${contacts}</query></user>`),
    );
    assert.match(ran.out, /large@hub\.test",\s*"result": "failed: there are more contacts than a roster holds"/);
    assert.equal(await listed(), '(none)\n');
    // What there was goes when the hub starts; until then the name cannot be had by another user.
    const again = await imports(fileOf("<user name='large' password='pw'/>"));
    assert.match(again.out, /was removed while the hub did not run; start the hub once before/);
  });
});

describe('an account that was removed while no hub ran', () => {
  it('leaves nothing to the next user of that name', async () => {
    const first = await startTestHub(domains);
    const config = ['-c', join(first.directory, 'isthmus.yaml')];
    const juliet = await first.client('juliet@hub.test');
    await sets(juliet, `<vCard xmlns='${ns.vcard}'><FN>Juliet</FN></vCard>`);
    await juliet.close();
    await first.stop();
    assert.equal((await isthmus(['account', 'remove', 'juliet@hub.test', ...config])).code, 0);
    assert.equal((await isthmus(['account', 'add', 'juliet@hub.test', ...config], { input: 'password\n' })).code, 0);
    const again = await first.restart();
    try {
      const other = await again.client('juliet@hub.test', { password: 'password' });
      const vcard = await other.asks('get', `<vCard xmlns='${ns.vcard}'/>`);
      assert.equal(vcard.child('vCard', ns.vcard)?.children.length, 0);
      await other.close();
    } finally {
      await again.close();
    }
  });
});

function resultOf(n: number, text: string): string {
  const stamp = new Date(1_700_000_000_000 + n * 1000).toISOString();
  return `<result xmlns='urn:xmpp:mam:2' id='old-${n}'><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='${stamp}'/><message xmlns='jabber:client' to='large@hub.test' from='friend${n % 50}@far.test/phone' type='chat'><body>${text} ${n}</body></message></forwarded></result>`;
}

describe('a large account', () => {
  const count = 15_000;
  const place = workplace({ 'isthmus.yaml': `domains: ${domains}` });
  after(() => place.remove());

  it('comes and goes in bounded memory', async () => {
    const file = join(place.path, 'large.xml');
    await pipeline(function* () {
      yield `<server-data ${pie}><host jid='hub.test'><user name='large' password='pw'>\n<archive xmlns='urn:xmpp:pie:0#mam'>`;
      for (let n = 0; n < count; n++) yield resultOf(n, 'x'.repeat(4_000));
      yield '</archive></user></host></server-data>';
    }, createWriteStream(file));
    const heap = { NODE_OPTIONS: '--max-old-space-size=56' };
    const ran = await isthmus(['account', 'import', 'large.xml'], { cwd: place.path, env: heap });
    assert.match(ran.out, /large@hub\.test\s+imported\n/, ran.err);
    const out = await isthmus(['account', 'export', 'large@hub.test'], { cwd: place.path, env: heap });
    assert.equal(out.code, 0, out.err);
    assert.equal(out.out.split('<result ').length - 1, count);
    assert.ok(readFileSync(file, 'utf8').length < out.out.length * 1.1);
  }).timeout(60_000);
});
