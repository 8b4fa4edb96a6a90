// Personal eventing between people on one hub and on two: who hears of what, and who does not (XEP-0163).
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { answersInfo, conditionOf, eventOf, form, hearsOf, infoOf, tagFor, wants } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { befriend } from '../support/friends.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { type Partners, startPartners } from '../support/partners.ts';

const tune = 'http://jabber.org/protocol/tune';
const geoloc = 'http://jabber.org/protocol/geoloc';
const song = (title: string) => `<item id='current'><tune xmlns='${tune}'><title>${title}</title></tune></item>`;
const publish = (client: Client, item: string, options: Record<string, string> = {}, to?: string, node = tune) =>
  client.asks(
    'set',
    `<pubsub xmlns='${ns.pubsub}'><publish node='${node}'>${item}</publish>${
      Object.keys(options).length
        ? `<publish-options>${form(`${ns.pubsub}#publish-options`, options)}</publish-options>`
        : ''
    }</pubsub>`,
    to,
  );
const items = (client: Client, to: string, node = tune) =>
  client.asks('get', `<pubsub xmlns='${ns.pubsub}'><items node='${node}'/></pubsub>`, to);
const titleIn = (message: Parameters<typeof eventOf>[0]) =>
  eventOf(message)?.child('item')?.child('tune', tune)?.childText('title');

describe('personal eventing on one hub', () => {
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

  it('tells those who want to hear, in each of their resources, and the publisher', async () => {
    await wants(romeo, [tune]);
    await wants(juliet, [tune], false);
    assert.equal((await publish(romeo, song('Heirs'))).attrs.type, 'result');
    for (const client of [romeo, juliet]) {
      const event = await hearsOf(client, tune);
      assert.equal(event.attrs.from, 'romeo@hub.test');
      assert.equal(event.attrs.to, client.jid);
      assert.equal(event.attrs.type, 'headline');
      assert.ok(event.attrs.id);
      assert.equal(titleIn(event), 'Heirs');
    }
    await juliet.hasNot(e => eventOf(e) !== undefined);
  });

  it('says nothing to those who do not want to hear', async () => {
    await wants(juliet, [geoloc]);
    await publish(romeo, song('Yad'));
    await hearsOf(romeo, tune);
    await juliet.hasNot(e => eventOf(e) !== undefined);
  });

  it('sends the last item to a resource that comes, with the time it was published, and only once', async () => {
    const phone = await hub.client('juliet@hub.test', { resource: 'phone' });
    await wants(phone, [tune], false);
    const event = await hearsOf(phone, tune);
    assert.equal(titleIn(event), 'Yad');
    assert.match(event.child('delay', ns.delay)?.attrs.stamp ?? '', /^\d{4}-/);
    await phone.sends(`<presence><show>away</show>${tagFor(infoOf([tune]))}</presence>`);
    await phone.sends(`<presence><show>xa</show></presence>`);
    await phone.hasNot(e => eventOf(e) !== undefined);
    await phone.close();
  });

  it('sends capabilities to those who do not know them, and not again to those who do', async () => {
    const tag = tagFor(infoOf([tune]));
    const caps = (presence: Element) => presence.child('c', ns.caps)?.attrs.ver;
    const nurse = await hub.client('nurse@hub.test');
    await befriend(nurse, juliet);
    await nurse.sends(`<presence><status>one</status>${tag}</presence>`);
    const status = (text: string) => juliet.receives(e => e.name === 'presence' && e.childText('status') === text);
    assert.equal(caps(await status('one')), tag.attrs.ver);
    await nurse.sends(`<presence><status>two</status>${tag}</presence>`);
    assert.equal(caps(await status('two')), undefined);
    await nurse.sends(`<presence><status>three</status></presence>`);
    assert.equal(caps(await status('three')), undefined);
    const late = await hub.client('juliet@hub.test', { resource: 'late' });
    const seen = await late.receives(e => e.name === 'presence' && e.childText('status') === 'three');
    assert.equal(caps(seen), tag.attrs.ver);
    await nurse.sends(`<presence><status>four</status>${tagFor(infoOf([tune, geoloc]))}</presence>`);
    assert.notEqual(caps(await status('four')), undefined);
    for (const client of [late, nurse]) await client.close();
  });

  it('believes no hash that the features do not bear out', async () => {
    const liar = await hub.client('liar@hub.test');
    const real = infoOf([geoloc], 'Victim');
    await liar.sends(`<presence>${tagFor(real)}</presence>`);
    await answersInfo(liar, infoOf([tune], 'Victim'));
    const honest = await hub.client('honest@hub.test');
    await honest.sends(`<presence>${tagFor(real)}</presence>`);
    const asked = await answersInfo(honest, real);
    assert.equal(asked.child('query', ns.discoInfo)?.attrs.node, `https://tester.test#${tagFor(real).attrs.ver}`);
    await publish(honest, `<item><geoloc xmlns='${geoloc}'><lat>1</lat></geoloc></item>`, {}, undefined, geoloc);
    await hearsOf(honest, geoloc);
    for (const client of [liar, honest]) await client.close();
  });

  it('lets contacts read, and nobody else', async () => {
    const stranger = await hub.client('tybalt@hub.test');
    assert.equal(conditionOf(await items(juliet, 'romeo@hub.test')), 'result');
    assert.equal(conditionOf(await items(stranger, 'romeo@hub.test')), 'not-authorized/presence-subscription-required');
    assert.equal(conditionOf(await publish(stranger, song('Mine'), {}, 'romeo@hub.test')), 'forbidden');
    assert.equal(conditionOf(await publish(juliet, song('Mine'), {}, 'romeo@hub.test')), 'forbidden');
    assert.equal(conditionOf(await publish(juliet, song('Mine'), {}, 'romeo@hub.test', 'new')), 'forbidden');
    // An account that is not there looks like one without nodes.
    for (const jid of ['tybalt@hub.test', 'nobody@hub.test']) {
      assert.equal(conditionOf(await items(juliet, jid)), 'item-not-found');
      assert.equal(conditionOf(await publish(juliet, song('Mine'), {}, jid)), 'forbidden');
    }
    await stranger.close();
  });

  it('keeps access with the roster: who is let in hears at once, who is thrown out no more', async () => {
    const paris = await hub.client('paris@hub.test');
    await wants(paris, [tune], false);
    await paris.hasNot(e => eventOf(e) !== undefined);
    await befriend(paris, romeo);
    assert.equal(titleIn(await hearsOf(paris, tune)), 'Yad');
    await romeo.sends(`<presence to='paris@hub.test' type='unsubscribed'/>`);
    await paris.receives(e => e.attrs.type === 'unsubscribed');
    paris.inbox.length = 0;
    await publish(romeo, song('Alone'));
    await hearsOf(romeo, tune);
    await paris.hasNot(e => eventOf(e) !== undefined);
    assert.match(conditionOf(await items(paris, 'romeo@hub.test')), /^not-authorized/);
    await paris.close();
  });

  it('sends nothing again to a contact who only gets another name, and the nodes of a group to who joins it', async () => {
    const benvolio = await hub.client('benvolio@hub.test');
    await befriend(romeo, benvolio);
    const inGroup = { access_model: 'roster', 'pubsub#roster_groups_allowed': 'Friends' };
    await publish(romeo, `<item id='g'><x xmlns='urn:g'/></item>`, inGroup, undefined, 'urn:g');
    await wants(benvolio, [tune, 'urn:g']);
    await hearsOf(benvolio, tune);
    const place = (inside: string) =>
      romeo.asks(
        'set',
        `<query xmlns='jabber:iq:roster'><item jid='benvolio@hub.test' name='B'>${inside}</item></query>`,
      );
    await place('');
    await benvolio.hasNot(e => eventOf(e) !== undefined);
    await place('<group>Friends</group>');
    assert.equal(eventOf(await hearsOf(benvolio, 'urn:g'))?.child('item')?.attrs.id, 'g');
    const subscribe = `<pubsub xmlns='${ns.pubsub}'><subscribe node='urn:g' jid='${benvolio.jid}'/></pubsub>`;
    assert.equal(conditionOf(await benvolio.asks('set', subscribe, 'romeo@hub.test')), 'result');
    benvolio.inbox.length = 0;
    await place('<group>Friends</group><group>Cousins</group>');
    await benvolio.hasNot(e => eventOf(e) !== undefined);
    await place('');
    assert.equal(eventOf(await hearsOf(benvolio, 'urn:g'))?.attrs.subscription, 'none');
    assert.equal(conditionOf(await items(benvolio, 'romeo@hub.test', 'urn:g')), 'not-authorized/not-in-roster-group');
    await benvolio.close();
  });

  it('leaves the subscriptions of a contact alone where the roster changes nothing about access', async () => {
    const benvolio = await hub.client('benvolio@hub.test');
    await publish(romeo, `<item id='m'><x xmlns='urn:m'/></item>`, { access_model: 'whitelist' }, undefined, 'urn:m');
    const owned = (inside: string) => romeo.asks('set', `<pubsub xmlns='${ns.pubsubOwner}'>${inside}</pubsub>`);
    const subscription = `<subscription jid='benvolio@hub.test' subscription='subscribed'/>`;
    await owned(`<subscriptions node='urn:m'>${subscription}</subscriptions>`);
    assert.equal(eventOf(await hearsOf(benvolio, 'urn:m'))?.attrs.subscription, 'subscribed');
    await romeo.asks('set', `<query xmlns='jabber:iq:roster'><item jid='benvolio@hub.test' name='Ben'/></query>`);
    await benvolio.hasNot(e => eventOf(e) !== undefined);
    // Once he may have them, events come.
    await owned(
      `<affiliations node='urn:m'><affiliation jid='benvolio@hub.test' affiliation='member'/></affiliations>`,
    );
    await publish(romeo, `<item id='n'><x xmlns='urn:m'/></item>`, {}, undefined, 'urn:m');
    assert.equal(eventOf(await hearsOf(benvolio, 'urn:m'))?.child('item')?.attrs.id, 'n');
    await benvolio.close();
  });

  it('tells the other resources of the account what it published, also those that come later', async () => {
    const nurse = await hub.client('angelica@hub.test');
    const phone = await hub.client('angelica@hub.test', { resource: 'phone' });
    await wants(phone, [tune], false);
    const own = { access_model: 'whitelist' };
    await publish(nurse, `<item id='w'><x xmlns='${tune}'/></item>`, own);
    assert.equal(eventOf(await hearsOf(phone, tune))?.child('item')?.attrs.id, 'w');
    await nurse.hasNot(e => eventOf(e) !== undefined);
    await wants(nurse, [tune], false);
    assert.equal(eventOf(await hearsOf(nurse, tune))?.child('item')?.attrs.id, 'w');
    // Away and back: it is told again, as is everybody who comes.
    await phone.sends(`<presence type='unavailable'/>`);
    await wants(phone, [tune], false);
    await hearsOf(phone, tune);
    // Who does not want to hear any more hears nothing.
    await wants(phone, [geoloc], false);
    await publish(nurse, `<item id='v'><x xmlns='${tune}'/></item>`);
    await hearsOf(nurse, tune);
    await phone.hasNot(e => eventOf(e) !== undefined);
    for (const client of [phone, nurse]) await client.close();
  });

  it('tells nothing to those whom the account has blocked', async () => {
    const blocked = await hub.client('rosaline@hub.test');
    await wants(blocked, [tune], false);
    await befriend(romeo, blocked);
    await hearsOf(blocked, tune);
    await romeo.asks('set', `<block xmlns='urn:xmpp:blocking'><item jid='rosaline@hub.test'/></block>`);
    blocked.inbox.length = 0;
    await publish(romeo, song('Silence'));
    await hearsOf(romeo, tune);
    await blocked.hasNot(e => eventOf(e) !== undefined);
    await blocked.close();
  });

  it('checks publish options, and makes a node after them', async () => {
    const made = await publish(
      romeo,
      `<item id='a'><x xmlns='urn:x'/></item>`,
      { access_model: 'open' },
      undefined,
      'urn:x',
    );
    assert.equal(conditionOf(made), 'result');
    const again = await publish(
      romeo,
      `<item id='a'><x xmlns='urn:x'/></item>`,
      { access_model: 'whitelist' },
      undefined,
      'urn:x',
    );
    assert.equal(conditionOf(again), 'conflict/precondition-not-met');
    const odd = await publish(romeo, `<item id='a'><x xmlns='urn:x'/></item>`, { odd: '1' }, undefined, 'urn:x');
    assert.equal(conditionOf(odd), 'conflict/precondition-not-met');
    const stranger = await hub.client('tybalt@hub.test');
    assert.equal(conditionOf(await items(stranger, 'romeo@hub.test', 'urn:x')), 'result');
    await stranger.close();
  });

  it('keeps what came right behind a request that was to make the node and failed', async () => {
    const request = (id: string, inside: string) =>
      `<iq type='set' id='${id}'><pubsub xmlns='${ns.pubsub}'><publish node='urn:new'>${inside}</publish></pubsub></iq>`;
    await romeo.sends(request('empty', `<item id='a'/>`) + request('full', `<item id='b'><x xmlns='urn:x'/></item>`));
    const answers = ['empty', 'full'].map(id => romeo.receives(e => e.attrs.id === id));
    const conditions = (await Promise.all(answers)).map(conditionOf);
    assert.deepEqual(conditions, ['bad-request/payload-required', 'result']);
    assert.equal(conditionOf(await items(romeo, 'romeo@hub.test', 'urn:new')), 'result');
  });

  it('tells those who have sent presence of open nodes alone', async () => {
    const fan = await hub.client('fan@hub.test');
    await wants(fan, [tune, 'urn:x'], true, 'romeo@hub.test');
    assert.equal(eventOf(await hearsOf(fan, 'urn:x'))?.child('item')?.attrs.id, 'a');
    await publish(romeo, song('Not for fans'));
    await publish(romeo, `<item id='b'><x xmlns='urn:x'/></item>`, {}, undefined, 'urn:x');
    assert.equal(eventOf(await hearsOf(fan, 'urn:x'))?.child('item')?.attrs.id, 'b');
    await fan.hasNot(e => eventOf(e) !== undefined);
    await fan.close();
  });

  it('keeps nodes over a restart', async () => {
    hub = await hub.restart();
    const back = await hub.client('juliet@hub.test');
    await wants(back, [tune]);
    assert.equal(titleIn(await hearsOf(back, tune)), 'Not for fans');
    await back.close();
  });
});

describe('personal eventing over a server link', () => {
  let partners: Partners;
  let romeo: Client;
  let juliet: Client;
  before(async () => {
    partners = await startPartners();
    romeo = await partners.montague.client('romeo@montague.test');
    juliet = await partners.capulet.client('juliet@capulet.test');
    await befriend(romeo, juliet);
  });
  after(() => partners.close());

  it('tells a contact elsewhere that wants to hear, and sends the last item when it comes', async () => {
    await wants(juliet, [tune], false);
    // Both hubs ask: its own, and that of the contact whom the presence reaches.
    await answersInfo(juliet, infoOf([tune]));
    await answersInfo(juliet, infoOf([tune]));
    await publish(romeo, song('Over the wall'));
    const event = await hearsOf(juliet, tune);
    assert.equal(event.attrs.from, 'romeo@montague.test');
    assert.equal(titleIn(event), 'Over the wall');
    const phone = await partners.capulet.client('juliet@capulet.test', { resource: 'phone' });
    await wants(phone, [tune], false);
    assert.equal(titleIn(await hearsOf(phone, tune)), 'Over the wall');
    await phone.close();
  });

  it('tells a subscriber elsewhere, by the access model', async () => {
    const subscribe = (client: Client, node: string) =>
      client.asks(
        'set',
        `<pubsub xmlns='${ns.pubsub}'><subscribe node='${node}' jid='${client.options.jid}'/></pubsub>`,
        'romeo@montague.test',
      );
    await publish(romeo, `<item id='1'><entry xmlns='urn:blog'/></item>`, { access_model: 'open' }, undefined, 'blog');
    const tybalt = await partners.capulet.client('tybalt@capulet.test');
    assert.equal(conditionOf(await subscribe(tybalt, tune)), 'not-authorized/presence-subscription-required');
    assert.equal(conditionOf(await subscribe(tybalt, 'blog')), 'result');
    assert.equal(eventOf(await hearsOf(tybalt, 'blog'))?.child('item')?.attrs.id, '1');
    await publish(romeo, `<item id='2'><entry xmlns='urn:blog'/></item>`, {}, undefined, 'blog');
    assert.equal(eventOf(await hearsOf(tybalt, 'blog'))?.child('item')?.attrs.id, '2');
    assert.equal(conditionOf(await items(tybalt, 'romeo@montague.test', 'blog')), 'result');
    assert.match(conditionOf(await items(tybalt, 'romeo@montague.test')), /^not-authorized/);
    await tybalt.close();
  });

  it('tells an address no more that is gone for good', async () => {
    const ghost = await partners.capulet.client('ghost@capulet.test');
    const blog = () => items(ghost, 'romeo@montague.test', 'blog');
    await ghost.asks(
      'set',
      `<pubsub xmlns='${ns.pubsub}'><subscribe node='blog' jid='${ghost.jid}'/></pubsub>`,
      'romeo@montague.test',
    );
    const { id } = (await hearsOf(ghost, 'blog')).attrs;
    // Most servers send back the id, and nothing of what was in the message.
    const gone = `<error type='cancel'><gone xmlns='${ns.stanzaErrors}'/></error>`;
    await ghost.sends(`<message type='error' id='${id}' to='romeo@montague.test'>${gone}</message>`);
    await blog();
    await publish(romeo, `<item id='3'><entry xmlns='urn:blog'/></item>`, {}, undefined, 'blog');
    await blog();
    assert.equal(
      ghost.inbox.some(e => eventOf(e) !== undefined),
      false,
    );
    await ghost.close();
  });

  it('tells a contact who comes while the account is away', async () => {
    await juliet.close();
    await romeo.close();
    const back = await partners.capulet.client('juliet@capulet.test', { resource: 'back' });
    await wants(back, [tune], false);
    assert.equal(titleIn(await hearsOf(back, tune)), 'Over the wall');
    await back.close();
  });
});
