// What people keep with the hub: avatars and vCards, bookmarks in their three places, private storage.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { type Element, el } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf, eventOf, form, hearsOf, wants } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { befriend } from '../support/friends.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const png = (text: string) => Buffer.from(`\x89PNG\r\n\x1a\n${text}`, 'latin1');
const sha1 = (bytes: Uint8Array) => createHash('sha1').update(bytes).digest('hex');
const photo = (bytes: Buffer) =>
  `<PHOTO><TYPE>image/gif</TYPE><BINVAL>${bytes.toString('base64').replace(/(.{8})/g, '$1\n')}</BINVAL></PHOTO>`;
const vcard = (inside: string) => `<vCard xmlns='vcard-temp'><FN>Romeo</FN>${inside}</vCard>`;
const items = (client: Client, node: string, to = client.options.jid) =>
  client.asks('get', `<pubsub xmlns='${ns.pubsub}'><items node='${node}'/></pubsub>`, to);
const listed = (answer: Element) => answer.child('pubsub', ns.pubsub)?.child('items')?.all('item') ?? [];
const publish = (client: Client, node: string, item: string, options = '') =>
  client.asks('set', `<pubsub xmlns='${ns.pubsub}'><publish node='${node}'>${item}</publish>${options}</pubsub>`);
const hashIn = (presence: Element) => presence.child('x', ns.vcardUpdate)?.child('photo')?.text;
const seen = (client: Client, from: string, hash: string | undefined) =>
  client.receives(e => e.name === 'presence' && e.attrs.from === from && !e.attrs.type && hashIn(e) === hash);

describe('avatars', () => {
  let hub: TestHub;
  let romeo: Client;
  let juliet: Client;
  before(async () => {
    hub = await startTestHub(['hub.test']);
    romeo = await hub.client('romeo@hub.test');
    juliet = await hub.client('juliet@hub.test');
    await befriend(romeo, juliet);
    await wants(juliet, [ns.avatarMetadata]);
  });
  after(() => hub.close());

  it('go from the vCard to personal eventing, and into presence', async () => {
    const face = png('one');
    assert.equal(conditionOf(await romeo.asks('set', vcard(photo(face)))), 'result');
    const event = eventOf(await hearsOf(juliet, ns.avatarMetadata));
    const info = event?.child('item')?.child('metadata', ns.avatarMetadata)?.child('info');
    assert.deepEqual(info?.attrs, { id: sha1(face), type: 'image/png', bytes: String(face.length) });
    const [data] = listed(await items(juliet, ns.avatarData, 'romeo@hub.test'));
    assert.equal(data.attrs.id, sha1(face));
    assert.equal(data.childText('data', ns.avatarData), face.toString('base64'));
    await seen(juliet, romeo.jid, sha1(face));
    await romeo.sends(`<presence><show>away</show></presence>`);
    assert.equal((await seen(juliet, romeo.jid, sha1(face))).childText('show'), 'away');
    await romeo.sends(`<presence to='${juliet.jid}'/>`);
    assert.equal((await seen(juliet, romeo.jid, sha1(face))).childText('show'), '');
    const stranger = await hub.client('tybalt@hub.test');
    const card = (await stranger.asks('get', `<vCard xmlns='vcard-temp'/>`, 'romeo@hub.test')).child('vCard', ns.vcard);
    assert.equal(card?.childText('FN'), 'Romeo');
    assert.equal(card?.child('PHOTO')?.childText('BINVAL'), face.toString('base64'));
    await stranger.close();
  });

  it('go from personal eventing into the vCard, for those who may see them', async () => {
    const face = png('two');
    const id = sha1(face);
    const options = `<publish-options>${form(`${ns.pubsub}#publish-options`, { access_model: 'presence' })}</publish-options>`;
    const mercutio = await hub.client('mercutio@hub.test');
    await befriend(mercutio, juliet);
    await publish(
      mercutio,
      ns.avatarData,
      `<item id='${id}'><data xmlns='${ns.avatarData}'>${face.toString('base64')}</data></item>`,
      options,
    );
    await publish(
      mercutio,
      ns.avatarMetadata,
      `<item id='${id}'><metadata xmlns='${ns.avatarMetadata}'><info id='${id}' type='image/png' bytes='9'/></metadata></item>`,
      options,
    );
    await seen(juliet, mercutio.jid, id);
    const card = (client: Client) => client.asks('get', `<vCard xmlns='vcard-temp'/>`, 'mercutio@hub.test');
    const shown = (await card(juliet)).child('vCard', ns.vcard)?.child('PHOTO');
    assert.equal(shown?.childText('BINVAL'), face.toString('base64'));
    const stranger = await hub.client('tybalt@hub.test');
    assert.equal(conditionOf(await card(stranger)), 'service-unavailable');
    // Nor does a stranger learn the hash.
    await mercutio.sends(`<presence to='${stranger.jid}'/>`);
    await seen(stranger, mercutio.jid, undefined);
    await stranger.close();
    await mercutio.close();
  });

  it('are told of by the event first, which says more than the hash in presence', async () => {
    assert.equal(conditionOf(await romeo.asks('set', vcard(photo(png('three'))))), 'result');
    const hash = sha1(png('three'));
    const told = await juliet.receives(e => hashIn(e) === hash || eventOf(e)?.child('item')?.attrs.id === hash);
    assert.equal(eventOf(told)?.attrs.node, ns.avatarMetadata);
    await seen(juliet, romeo.jid, hash);
  });

  it('are taken away by a vCard without one, and hidden by a client that shows none', async () => {
    await romeo.sends(`<presence><x xmlns='${ns.vcardUpdate}'><photo/></x><status>bare</status></presence>`);
    const shy = await juliet.receives(e => e.childText('status') === 'bare');
    assert.equal(hashIn(shy), '');
    const face = sha1(png('three'));
    await romeo.sends(`<presence to='${juliet.jid}'/>`);
    await seen(juliet, romeo.jid, face);
    await romeo.sends(`<presence><x xmlns='${ns.vcardUpdate}'/><status>again</status></presence>`);
    await seen(juliet, romeo.jid, face);
    await romeo.asks('set', vcard(''));
    const event = eventOf(
      await juliet.receives(
        e => eventOf(e)?.child('item')?.child('metadata', ns.avatarMetadata)?.children.length === 0,
      ),
    );
    assert.ok(event);
    await seen(juliet, romeo.jid, '');
    const card = (await juliet.asks('get', `<vCard xmlns='vcard-temp'/>`, 'romeo@hub.test')).child('vCard', ns.vcard);
    assert.equal(card?.child('PHOTO'), null);
  });

  it('leave presence with their node, or when it is closed to contacts', async () => {
    const benvolio = await hub.client('benvolio@hub.test');
    await befriend(benvolio, juliet);
    const owned = (inside: string) => benvolio.asks('set', `<pubsub xmlns='${ns.pubsubOwner}'>${inside}</pubsub>`);
    const configure = (model: string) =>
      owned(
        `<configure node='${ns.avatarMetadata}'>${form(`${ns.pubsub}#node_config`, { access_model: model })}</configure>`,
      );
    const hash = sha1(png('four'));
    await benvolio.asks('set', vcard(photo(png('four'))));
    await seen(juliet, benvolio.jid, hash);
    assert.equal(conditionOf(await configure('whitelist')), 'result');
    await seen(juliet, benvolio.jid, '');
    await configure('open');
    await seen(juliet, benvolio.jid, hash);
    assert.equal(conditionOf(await owned(`<delete node='${ns.avatarMetadata}'/>`)), 'result');
    await seen(juliet, benvolio.jid, '');
    await benvolio.close();
  });

  it('leaves what is no picture in the vCard, where it stands for an earlier one', async () => {
    await romeo.asks('set', vcard(photo(png('five'))));
    await seen(juliet, romeo.jid, sha1(png('five')));
    const other = Buffer.from('<script>');
    await romeo.asks('set', vcard(photo(other)));
    await seen(juliet, romeo.jid, '');
    const card = (await romeo.asks('get', `<vCard xmlns='vcard-temp'/>`)).child('vCard', ns.vcard);
    assert.equal(card?.child('PHOTO')?.childText('TYPE'), 'image/gif');
    // What the client says of it is believed.
    await romeo.sends(`<presence><x xmlns='${ns.vcardUpdate}'><photo>${sha1(other)}</photo></x></presence>`);
    await seen(juliet, romeo.jid, sha1(other));
  });

  it('says of a missing vCard what it says of a missing account', async () => {
    await hub.client('nurse@hub.test').then(nurse => nurse.close());
    for (const jid of ['nurse@hub.test', 'nobody@hub.test']) {
      const answer = await juliet.asks('get', `<vCard xmlns='vcard-temp'/>`, jid);
      assert.equal(conditionOf(answer), 'service-unavailable');
    }
    assert.equal(conditionOf(await juliet.asks('set', vcard(''), 'romeo@hub.test')), 'forbidden');
  });
});

describe('a profile', () => {
  let hub: TestHub;
  let romeo: Client;
  let juliet: Client;
  before(async () => {
    hub = await startTestHub(['hub.test']);
    romeo = await hub.client('romeo@hub.test');
    juliet = await hub.client('juliet@hub.test');
    await befriend(romeo, juliet);
  });
  after(() => hub.close());

  const older = async (client: Client, jid = 'romeo@hub.test') =>
    (await client.asks('get', `<vCard xmlns='vcard-temp'/>`, jid)).child('vCard', ns.vcard);
  const newer = async (client: Client, jid = 'romeo@hub.test') =>
    listed(await items(client, 'urn:xmpp:vcard4', jid))[0]?.child('vcard', ns.vcard4);
  const full = `<vCard xmlns='vcard-temp'><FN>Romeo M.</FN><N><FAMILY>Montague</FAMILY><GIVEN>Romeo</GIVEN></N><BDAY>1597-02-03</BDAY><TEL><HOME/><ISDN/><NUMBER>+39 045 1234</NUMBER></TEL><TEL><NUMBER>call me</NUMBER></TEL><EMAIL><WORK/><INTERNET/><PREF/><USERID>romeo@mail.test</USERID></EMAIL><ADR><HOME/><STREET>Via Cappello 23</STREET><LOCALITY>Verona</LOCALITY><CTRY>Italy</CTRY></ADR><ORG><ORGNAME>House</ORGNAME><ORGUNIT>Heirs</ORGUNIT></ORG><GEO><LAT>45.4</LAT><LON>10.9</LON></GEO><JABBERID>romeo@hub.test</JABBERID><DESC>In love &amp; banished</DESC><MAILER>pigeon</MAILER></vCard>`;

  it('that is set in the older form is there in the newer', async () => {
    await wants(juliet, ['urn:xmpp:vcard4']);
    assert.equal(conditionOf(await romeo.asks('set', full)), 'result');
    const event = eventOf(await hearsOf(juliet, 'urn:xmpp:vcard4'));
    const inner = `<fn><text>Romeo M.</text></fn><n><surname>Montague</surname><given>Romeo</given></n><bday><date>1597-02-03</date></bday><tel><parameters><type><text>home</text></type></parameters><uri>tel:+39-045-1234</uri></tel><tel><text>call me</text></tel><email><parameters><type><text>work</text></type><pref><integer>1</integer></pref></parameters><text>romeo@mail.test</text></email><adr><parameters><type><text>home</text></type></parameters><street>Via Cappello 23</street><locality>Verona</locality><country>Italy</country></adr><org><text>House</text><text>Heirs</text></org><geo><uri>geo:45.4,10.9</uri></geo><impp><uri>xmpp:romeo@hub.test</uri></impp><note><text>In love &amp; banished</text></note>`;
    const expected = `<vcard xmlns='${ns.vcard4}'>${inner}</vcard>`;
    assert.equal(String(event?.child('item')?.child('vcard', ns.vcard4)), expected);
    const tybalt = await hub.client('tybalt@hub.test');
    assert.equal(String(await newer(tybalt)), expected);
    // Nothing is lost in the form that it was set in.
    assert.equal(String(await older(tybalt)), full);
    await tybalt.close();
  });

  it('that is published in the newer form is there in the older, for those who may see it', async () => {
    const vcard4 = `<vcard xmlns='${ns.vcard4}'><fn><text>Romeo</text></fn><nickname><text>Ro</text></nickname><tel><parameters><type><text>cell</text><text>voice</text></type></parameters><uri>tel:+1-555</uri></tel><url><uri>https://romeo.test/</uri></url><photo><uri>data:image/png;base64,AAAA</uri></photo><x-odd/></vcard>`;
    assert.equal(conditionOf(await publish(romeo, 'urn:xmpp:vcard4', `<item id='current'>${vcard4}</item>`)), 'result');
    const expected = `<vCard xmlns='vcard-temp'><FN>Romeo</FN><NICKNAME>Ro</NICKNAME><TEL><VOICE/><CELL/><NUMBER>+1-555</NUMBER></TEL><URL>https://romeo.test/</URL><PHOTO><TYPE>image/png</TYPE><BINVAL>AAAA</BINVAL></PHOTO><MAILER>pigeon</MAILER><JABBERID>romeo@hub.test</JABBERID></vCard>`;
    assert.equal(String(await older(juliet)), expected);
    const configure = form(`${ns.pubsub}#node_config`, { access_model: 'whitelist' });
    const owned = `<pubsub xmlns='${ns.pubsubOwner}'><configure node='urn:xmpp:vcard4'>${configure}</configure></pubsub>`;
    assert.equal(conditionOf(await romeo.asks('set', owned)), 'result');
    assert.equal(String(await older(romeo)), expected);
    assert.equal(
      String(await older(juliet)),
      `<vCard xmlns='vcard-temp'><MAILER>pigeon</MAILER><JABBERID>romeo@hub.test</JABBERID></vCard>`,
    );
    assert.equal(conditionOf(await items(juliet, 'urn:xmpp:vcard4', 'romeo@hub.test')), 'not-allowed/closed-node');
    // Setting it in the older form again does not open the node.
    await romeo.asks('set', full);
    assert.equal(conditionOf(await items(juliet, 'urn:xmpp:vcard4', 'romeo@hub.test')), 'not-allowed/closed-node');
    assert.equal((await older(juliet))?.child('FN'), null);
  });

  it('that is taken back in the newer form is gone in the older', async () => {
    const retract = `<pubsub xmlns='${ns.pubsub}'><retract node='urn:xmpp:vcard4'><item id='current'/></retract></pubsub>`;
    assert.equal(conditionOf(await romeo.asks('set', retract)), 'result');
    assert.equal((await older(romeo))?.child('FN'), null);
  });

  it('that nobody has is not there in either form', async () => {
    for (const jid of ['juliet@hub.test', 'nobody@hub.test']) {
      assert.equal(conditionOf(await items(romeo, 'urn:xmpp:vcard4', jid)), 'item-not-found');
    }
  });
});

describe('bookmarks', () => {
  let hub: TestHub;
  let romeo: Client;
  before(async () => {
    hub = await startTestHub(['hub.test']);
    romeo = await hub.client('romeo@hub.test');
    await wants(romeo, [ns.bookmarks, ns.privateBookmarks]);
  });
  after(() => hub.close());

  const room = (jid: string, name: string, inside = '') =>
    `<conference jid='${jid}' name='${name}' autojoin='1'>${inside}</conference>`;
  const store = (client: Client, inside: string) =>
    client.asks(
      'set',
      `<query xmlns='${ns.private}'><storage xmlns='${ns.privateBookmarks}'>${inside}</storage></query>`,
    );
  const stored = async (client: Client) =>
    (await client.asks('get', `<query xmlns='${ns.private}'><storage xmlns='${ns.privateBookmarks}'/></query>`))
      .child('query', ns.private)!
      .child('storage', ns.privateBookmarks)!
      .all()
      .map(({ name, attrs }) => `${name} ${attrs.jid ?? attrs.url} ${attrs.name}`);

  it('are announced as the same in all three places, for clients of each time', async () => {
    const info = await romeo.asks('get', `<query xmlns='${ns.discoInfo}'/>`, 'romeo@hub.test');
    const features = new Set(
      info
        .child('query', ns.discoInfo)!
        .all('feature')
        .map(({ attrs }) => attrs.var),
    );
    const announced = [
      'urn:xmpp:bookmarks:1#compat',
      'urn:xmpp:bookmarks:1#compat-pep',
      'urn:xmpp:bookmarks-conversion:0',
    ];
    for (const feature of announced) assert.ok(features.has(feature), feature);
    // Who keeps bookmarks wants as many items as there can be (XEP-0402 §3).
    assert.ok(features.has(`${ns.pubsub}#config-node-max`));
  });

  it('stored in the old way are items of the new', async () => {
    await store(
      romeo,
      `<url name='Web' url='https://web.test'/>${room('a@rooms.test', 'A', '<nick>Ro</nick>')}${room('b@rooms.test', 'B')}`,
    );
    const shown = listed(await items(romeo, ns.bookmarks));
    assert.deepEqual(shown.map(({ attrs }) => attrs.id).sort(), ['a@rooms.test', 'b@rooms.test']);
    const a = shown.find(({ attrs }) => attrs.id === 'a@rooms.test')?.child('conference', ns.bookmarks);
    assert.deepEqual(a?.attrs, { name: 'A', autojoin: 'true' });
    assert.equal(a?.childText('nick'), 'Ro');
    const old = await romeo.receives(e => eventOf(e)?.attrs.node === ns.privateBookmarks);
    assert.equal(eventOf(old)?.child('item')?.child('storage', ns.privateBookmarks)?.all('conference').length, 2);
  });

  it('published in the new way show in the old, and keep their extensions', async () => {
    await publish(
      romeo,
      ns.bookmarks,
      `<item id='a@rooms.test'><conference xmlns='${ns.bookmarks}' name='A2'><extensions><x xmlns='urn:x'/></extensions></conference></item>`,
    );
    assert.deepEqual(await stored(romeo), [
      'url https://web.test Web',
      'conference b@rooms.test B',
      'conference a@rooms.test A2',
    ]);
    romeo.inbox.length = 0;
    await store(romeo, `<url name='Web' url='https://web.test'/>${room('a@rooms.test', 'A3')}`);
    const event = eventOf(await hearsOf(romeo, ns.bookmarks));
    assert.ok(event?.child('item')?.child('conference', ns.bookmarks)?.child('extensions')?.child('x', 'urn:x'));
    assert.equal(eventOf(await hearsOf(romeo, ns.bookmarks))?.child('retract')?.attrs.id, 'b@rooms.test');
  });

  it('say nothing of what did not change', async () => {
    romeo.inbox.length = 0;
    await store(romeo, room('a@rooms.test', 'A3'));
    await romeo.hasNot(e => eventOf(e)?.attrs.node === ns.bookmarks);
  });

  it('published as one item are bookmarks as well', async () => {
    await publish(
      romeo,
      ns.privateBookmarks,
      `<item id='current'><storage xmlns='${ns.privateBookmarks}'>${room('c@rooms.test', 'C')}</storage></item>`,
    );
    await romeo.receives(e => eventOf(e)?.child('retract')?.attrs.id === 'a@rooms.test');
    assert.deepEqual(
      listed(await items(romeo, ns.bookmarks)).map(({ attrs }) => attrs.id),
      ['c@rooms.test'],
    );
    assert.deepEqual(await stored(romeo), ['conference c@rooms.test C']);
  });

  it('that a node lets go of as it shrinks are gone from the old places as well', async () => {
    for (const name of ['d', 'e']) {
      await publish(
        romeo,
        ns.bookmarks,
        `<item id='${name}@rooms.test'><conference xmlns='${ns.bookmarks}' name='${name}'/></item>`,
      );
    }
    assert.equal((await stored(romeo)).length, 3);
    const shrink = form(`${ns.pubsub}#node_config`, { max_items: '1' });
    const configure = `<pubsub xmlns='${ns.pubsubOwner}'><configure node='${ns.bookmarks}'>${shrink}</configure></pubsub>`;
    romeo.inbox.length = 0;
    assert.equal(conditionOf(await romeo.asks('set', configure)), 'result');
    const old = await romeo.receives(e => eventOf(e)?.attrs.node === ns.privateBookmarks);
    const rooms = eventOf(old)?.child('item')?.child('storage', ns.privateBookmarks)?.all('conference') ?? [];
    assert.deepEqual(
      rooms.map(({ attrs }) => attrs.jid),
      ['e@rooms.test'],
    );
  });

  it('are nobody else’s business', async () => {
    const juliet = await hub.client('juliet@hub.test');
    await befriend(romeo, juliet);
    for (const node of [ns.bookmarks, ns.privateBookmarks]) {
      assert.equal(conditionOf(await items(juliet, node, 'romeo@hub.test')), 'not-allowed/closed-node');
    }
    await juliet.close();
  });

  const cases: [string, 'get' | 'set', string, string, string?][] = [
    ['reading nothing', 'get', '', 'bad-request'],
    ['storing nothing', 'set', '', 'not-acceptable'],
    ['reading two things', 'get', `<a xmlns='urn:a'/><b xmlns='urn:b'/>`, 'not-acceptable'],
    ['reading something without a namespace', 'get', `<a/>`, 'not-acceptable'],
    ['reading what is not there', 'get', `<a xmlns='urn:a'/>`, 'result'],
    ['reading what is another’s', 'get', `<a xmlns='urn:a'/>`, 'forbidden', 'juliet@hub.test'],
    ['storing for another', 'set', `<a xmlns='urn:a'/>`, 'forbidden', 'juliet@hub.test'],
  ];
  for (const [what, type, inside, expected, to] of cases) {
    it(`private storage answers ${what} with ${expected}`, async () => {
      const query = `<query xmlns='${ns.private}'>${inside}</query>`;
      assert.equal(conditionOf(await romeo.asks(type, query, to)), expected);
    });
  }

  it('private storage keeps what it is given', async () => {
    const secret = el('a', 'urn:a', { x: '1' }, 'kept');
    await romeo.asks('set', `<query xmlns='${ns.private}'>${secret}</query>`);
    const answer = await romeo.asks('get', `<query xmlns='${ns.private}'><a xmlns='urn:a'/></query>`);
    assert.equal(answer.child('query', ns.private)?.child('a', 'urn:a')?.text, 'kept');
  });
});
