// What subscribers of a domain's nodes hear, and what they do not, as nodes and subscriptions are configured (XEP-0060).
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf, eventOf, form, hearsOf } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const at = 'pubsub.hub.test';
const config = `${ns.pubsub}#node_config`;
const asked = (inside: string) => `<pubsub xmlns='${ns.pubsub}'>${inside}</pubsub>`;
const owned = (inside: string) => `<pubsub xmlns='${ns.pubsubOwner}'>${inside}</pubsub>`;
const entry = `<entry xmlns='urn:entry'>said</entry>`;

describe('the events of a node', () => {
  let hub: TestHub;
  let owner: Client;
  let reader: Client;
  const create = (node: string, fields: Record<string, string> = {}) =>
    owner.asks('set', asked(`<create node='${node}'/><configure>${form(config, fields)}</configure>`), at);
  const publish = (node: string, id: string, who = owner) =>
    who.asks('set', asked(`<publish node='${node}'><item id='${id}'>${entry}</item></publish>`), at);
  const subscribe = (node: string, more = '', jid = reader.options.jid) =>
    reader.asks('set', asked(`<subscribe node='${node}' jid='${jid}'/>${more}`), at);
  const affiliate = (node: string, affiliation: string) =>
    owner.asks(
      'set',
      owned(
        `<affiliations node='${node}'><affiliation jid='reader@hub.test' affiliation='${affiliation}'/></affiliations>`,
      ),
      at,
    );
  const hears = async (node: string) => eventOf(await hearsOf(reader, node))!;
  const silent = () => reader.hasNot(e => eventOf(e) !== undefined);
  const idsIn = (answer: Element) =>
    (answer.child('pubsub', ns.pubsub)?.child('items')?.all('item') ?? []).map(({ attrs }) => attrs.id);
  const items = async (node: string, inside = '') =>
    idsIn(await reader.asks('get', asked(`<items node='${node}'>${inside}</items>`), at));

  before(async () => {
    hub = await startTestHub(['hub.test', 'other.test'], { yaml: 'cross-domain: { policy: open }' });
    owner = await hub.client('owner@hub.test');
    reader = await hub.client('reader@hub.test');
  });
  beforeEach(() => void (reader.inbox.length = 0));
  after(() => hub.close());

  it('come one for each subscription, to the address that was subscribed', async () => {
    await create('plain');
    await subscribe('plain');
    await subscribe('plain', '', reader.jid);
    const answer = await publish('plain', 'a');
    const published = answer.child('pubsub', ns.pubsub)?.child('publish');
    assert.deepEqual([published?.attrs.node, published?.child('item')?.attrs.id], ['plain', 'a']);
    const events = [await hearsOf(reader, 'plain'), await hearsOf(reader, 'plain')];
    assert.deepEqual(events.map(({ attrs }) => attrs.to).sort(), ['reader@hub.test', reader.jid].sort());
    for (const event of events) {
      assert.equal(event.attrs.from, at);
      assert.equal(event.attrs.type, 'headline');
      assert.ok(event.attrs.id);
      assert.equal(eventOf(event)?.child('item')?.childText('entry', 'urn:entry'), 'said');
      assert.equal(eventOf(event)?.child('item')?.attrs.publisher, undefined);
    }
    await silent();
    const listed = await reader.asks('get', asked(`<subscriptions node='plain'/>`), at);
    const list = listed.child('pubsub', ns.pubsub)?.child('subscriptions');
    assert.equal(list?.attrs.node, 'plain');
    assert.deepEqual(
      list?.all().map(({ attrs }) => attrs.node),
      ['plain', 'plain'],
    );
  });

  it('name the item that was published without a name', async () => {
    await create('unnamed');
    await subscribe('unnamed');
    const answer = await owner.asks('set', asked(`<publish node='unnamed'><item>${entry}</item></publish>`), at);
    const id = answer.child('pubsub', ns.pubsub)?.child('publish')?.child('item')?.attrs.id;
    assert.ok(id);
    assert.equal((await hears('unnamed')).child('item')?.attrs.id, id);
    assert.deepEqual(await items('unnamed', `<item id='${id}'/><item id='none'/>`), [id]);
  });

  it('say who published where anybody may', async () => {
    await create('anybody', { publish_model: 'open' });
    await subscribe('anybody');
    await publish('anybody', 'mine', reader);
    assert.equal((await hears('anybody')).child('item')?.attrs.publisher, 'reader@hub.test');
    const spoofed = `<item id='spoofed' publisher='owner@hub.test'>${entry}</item>`;
    await reader.asks('set', asked(`<publish node='anybody'>${spoofed}</publish>`), at);
    assert.equal((await hears('anybody')).child('item')?.attrs.publisher, 'reader@hub.test');
    // Their own they may take back, those of others not.
    await publish('anybody', 'theirs');
    await hears('anybody');
    const retract = (id: string) =>
      reader.asks('set', asked(`<retract node='anybody'><item id='${id}'/></retract>`), at);
    assert.equal(conditionOf(await retract('theirs')), 'forbidden');
    assert.equal(conditionOf(await retract('mine')), 'result');
    assert.equal((await hears('anybody')).child('retract')?.attrs.id, 'mine');
  });

  it('say who published where the owner wants that', async () => {
    await create('signed', { itemreply: 'publisher' });
    await affiliate('signed', 'publisher');
    await subscribe('signed');
    await publish('signed', 'a', reader);
    assert.equal((await hears('signed')).child('item')?.attrs.publisher, 'reader@hub.test');
    const answer = await owner.asks('get', asked(`<items node='signed'/>`), at);
    const [item] = answer.child('pubsub', ns.pubsub)?.child('items')?.all('item') ?? [];
    assert.equal(item.attrs.publisher, 'reader@hub.test');
    assert.equal(conditionOf(await create('odd', { itemreply: 'everybody' })), 'not-acceptable');
  });

  it('stay away from those who do not want them for now', async () => {
    await create('paused');
    const off = `<options>${form(`${ns.pubsub}#subscribe_options`, { deliver: '0' })}</options>`;
    const answer = await subscribe('paused', off);
    const options = answer.child('pubsub', ns.pubsub)?.child('options')?.child('x', ns.data);
    assert.equal(options?.attrs.type, 'result');
    await publish('paused', 'a');
    await silent();
    const on = `<options node='paused' jid='reader@hub.test'>${form(`${ns.pubsub}#subscribe_options`, { deliver: 'true' })}</options>`;
    assert.equal(conditionOf(await reader.asks('set', asked(on), at)), 'result');
    await publish('paused', 'b');
    assert.equal((await hears('paused')).child('item')?.attrs.id, 'b');
    await reader.asks('set', asked(`<unsubscribe node='paused' jid='reader@hub.test'/>`), at);
    await publish('paused', 'c');
    await silent();
  });

  it('are none where the node delivers none', async () => {
    await create('mute', { deliver_notifications: '0' });
    await subscribe('mute');
    await publish('mute', 'a');
    await silent();
    assert.deepEqual(await items('mute'), ['a']);
  });

  it('say only that something happened at a node that keeps and delivers nothing', async () => {
    await create('bell', { persist_items: '0', deliver_payloads: '0', send_last_published_item: 'never' });
    await subscribe('bell');
    await owner.asks('set', asked(`<publish node='bell'/>`), at);
    const event = await hears('bell');
    assert.deepEqual([event.name, event.children.length], ['items', 0]);
    const read = await reader.asks('get', asked(`<items node='bell'/>`), at);
    assert.equal(conditionOf(read), 'feature-not-implemented/unsupported:persistent-items');
  });

  it('begin with the last item as the node says', async () => {
    for (const [when, expected] of [
      ['on_sub', 'a'],
      ['on_sub_and_presence', 'a'],
      ['never', undefined],
    ] as const) {
      await create(when, { send_last_published_item: when, persist_items: '0' });
      await publish(when, 'a');
      await subscribe(when);
      if (expected) {
        const event = await hearsOf(reader, when);
        assert.equal(eventOf(event)?.child('item')?.attrs.id, expected);
        assert.ok(event.child('delay', ns.delay));
      }
      await silent();
    }
    const phone = await hub.client('reader@hub.test', { resource: 'phone' });
    assert.equal(eventOf(await hearsOf(phone, 'on_sub_and_presence'))?.child('item')?.attrs.id, 'a');
    await phone.hasNot(e => eventOf(e) !== undefined);
    await phone.close();
  });

  it('begin with what was published last, though it came at the same time and under the same name', async () => {
    const { now } = Date;
    const stopped = now();
    await create('fast');
    await publish('fast', 'a');
    Date.now = () => stopped;
    try {
      for (const said of ['one', 'two']) {
        const item = `<item id='a'><entry xmlns='urn:entry'>${said}</entry></item>`;
        await owner.asks('set', asked(`<publish node='fast'>${item}</publish>`), at);
        await subscribe('fast');
        assert.equal((await hears('fast')).child('item')?.childText('entry', 'urn:entry'), said);
        await reader.asks('set', asked(`<unsubscribe node='fast' jid='reader@hub.test'/>`), at);
      }
    } finally {
      Date.now = now;
    }
  });

  it('begin with nothing where something later was published that nothing remembers', async () => {
    const remembered = { persist_items: '0', deliver_payloads: '1', send_last_published_item: 'on_sub' };
    const configure = (node: string, fields: Record<string, string>) =>
      owner.asks('set', owned(`<configure node='${node}'>${form(config, fields)}</configure>`), at);
    for (const [node, fields] of [
      ['forgetful', { send_last_published_item: 'never' }],
      ['ringing', { deliver_payloads: '0' }],
    ] as const) {
      await create(node, remembered);
      await publish(node, 'a');
      await configure(node, fields);
      const item = node === 'ringing' ? '' : `<item id='b'>${entry}</item>`;
      const published = await owner.asks('set', asked(`<publish node='${node}'>${item}</publish>`), at);
      assert.equal(conditionOf(published), 'result');
      await configure(node, remembered);
      assert.deepEqual(await items(node), []);
      await subscribe(node);
      await silent();
    }
  });

  it('end for addresses that are gone, and not for those that cannot be reached for now', async () => {
    await create('bouncing');
    await subscribe('bouncing', '', reader.jid);
    const bounces = async (id: string, error: string) =>
      reader.sends(`<message type='error' to='${at}' id='${id}'><error ${error}</error></message>`);
    const condition = (name: string) => `<${name} xmlns='${ns.stanzaErrors}'/>`;
    await publish('bouncing', 'a');
    const { id } = (await hearsOf(reader, 'bouncing')).attrs;
    await bounces(id, `type='wait'>${condition('remote-server-timeout')}`);
    await bounces(id, `type='cancel'>${condition('remote-server-not-found')}`);
    await bounces('unheard-of', `type='cancel'>${condition('item-not-found')}`);
    await publish('bouncing', 'b');
    assert.equal((await hears('bouncing')).child('item')?.attrs.id, 'b');
    await bounces(id, `type='cancel'>${condition('item-not-found')}`);
    await publish('bouncing', 'c');
    await silent();
  });

  it('come to users of all domains here as they come back', async () => {
    const neighbour = await hub.client('neighbour@other.test');
    await create('town', { send_last_published_item: 'on_sub_and_presence' });
    await neighbour.asks('set', asked(`<subscribe node='town' jid='neighbour@other.test'/>`), at);
    await publish('town', 'a');
    await hearsOf(neighbour, 'town');
    await neighbour.close();
    const back = await hub.client('neighbour@other.test');
    assert.equal(eventOf(await hearsOf(back, 'town'))?.child('item')?.attrs.id, 'a');
    await back.close();
  });

  it('come as messages of the type that the node says', async () => {
    await create('letters', { notification_type: 'normal' });
    await subscribe('letters');
    await publish('letters', 'a');
    assert.equal((await hearsOf(reader, 'letters')).attrs.type, undefined);
  });

  it('tell of what a full node lets go of only where it retracts it', async () => {
    for (const [full, told] of [
      ['retract-oldest', true],
      ['discard-oldest', false],
    ] as const) {
      await create(full, { max_items: '2', publish_node_full: full });
      await subscribe(full);
      for (const id of ['a', 'b', 'c']) {
        await publish(full, id);
        assert.equal((await hears(full)).child('item')?.attrs.id, id);
      }
      if (told) assert.equal((await hears(full)).child('retract')?.attrs.id, 'a');
      await silent();
      assert.deepEqual(await items(full), ['c', 'b']);
    }
  });

  it('tell of a retraction where the publisher wants that, or the node always does', async () => {
    await create('shy', { notify_retract: '0' });
    await subscribe('shy');
    const retract = (id: string, notify = '') =>
      owner.asks('set', asked(`<retract node='shy'${notify}><item id='${id}'/></retract>`), at);
    for (const id of ['a', 'b']) {
      await publish('shy', id);
      await hears('shy');
    }
    await retract('a');
    await silent();
    await retract('b', ` notify='true'`);
    assert.equal((await hears('shy')).child('retract')?.attrs.id, 'b');
  });

  it('end for those who are cast out, and for those whom an owner takes from the list', async () => {
    await create('strict', { notify_sub: '1' });
    await subscribe('strict');
    await affiliate('strict', 'outcast');
    assert.equal((await hears('strict')).attrs.subscription, 'none');
    const told = await reader.receives(e => e.name === 'message' && e.child('pubsub', ns.pubsub) !== null);
    const affiliation = told.child('pubsub', ns.pubsub)?.child('affiliations')?.child('affiliation');
    assert.deepEqual(affiliation?.attrs, { jid: 'reader@hub.test', affiliation: 'outcast' });
    await publish('strict', 'a');
    await silent();
    const list = async () =>
      (await owner.asks('get', owned(`<affiliations node='strict'/>`), at))
        .child('pubsub', ns.pubsubOwner)
        ?.child('affiliations')
        ?.all()
        .map(({ attrs }) => `${attrs.jid} ${attrs.affiliation}`);
    assert.deepEqual(await list(), ['owner@hub.test owner', 'reader@hub.test outcast']);
    await affiliate('strict', 'none');
    assert.deepEqual(await list(), ['owner@hub.test owner']);
    const change = (state: string) =>
      owner.asks(
        'set',
        owned(
          `<subscriptions node='strict'><subscription jid='reader@hub.test' subscription='${state}'/></subscriptions>`,
        ),
        at,
      );
    await change('subscribed');
    assert.equal((await hears('strict')).attrs.subscription, 'subscribed');
    await publish('strict', 'b');
    assert.equal((await hears('strict')).child('item')?.attrs.id, 'b');
    await change('none');
    assert.equal((await hears('strict')).attrs.subscription, 'none');
    await publish('strict', 'c');
    await silent();
  });

  it('wait for approval, which owners and publishers to be need not', async () => {
    await create('asking', { access_model: 'authorize' });
    await publish('asking', 'a');
    const answer = await subscribe('asking');
    assert.equal(answer.child('pubsub', ns.pubsub)?.child('subscription')?.attrs.subscription, 'pending');
    await publish('asking', 'b');
    await silent();
    const listed = await owner.asks('get', owned(`<subscriptions node='asking'/>`), at);
    assert.deepEqual(listed.child('pubsub', ns.pubsubOwner)?.child('subscriptions')?.all(), []);
    await affiliate('asking', 'publisher');
    assert.equal((await hears('asking')).attrs.subscription, 'subscribed');
    assert.equal((await hears('asking')).child('item')?.attrs.id, 'b');
  });

  it('are denied by an owner who says no, and put off by one who cancels', async () => {
    await create('picky', { access_model: 'authorize' });
    await subscribe('picky');
    const question = await owner.receives(
      e => e.name === 'message' && e.child('x', ns.data)?.toString().includes('>picky<') === true,
    );
    const answer = (xml: string) => owner.sends(`<message to='${at}' id='${question.attrs.id}'>${xml}</message>`);
    const approval = (allow: string) =>
      form(`${ns.pubsub}#subscribe_authorization`, { node: 'picky', subscriber_jid: 'reader@hub.test', allow });
    await answer(approval('1').replace(`type='submit'`, `type='cancel'`));
    assert.equal(conditionOf(await subscribe('picky')), 'not-authorized/pending-subscription');
    await answer(approval('false'));
    assert.equal((await hears('picky')).attrs.subscription, 'none');
    const again = await subscribe('picky');
    assert.equal(again.child('pubsub', ns.pubsub)?.child('subscription')?.attrs.subscription, 'pending');
  });

  it('stay away from those who want none for now, also when they are approved', async () => {
    await create('later', { access_model: 'authorize' });
    await publish('later', 'a');
    await subscribe('later', `<options>${form(`${ns.pubsub}#subscribe_options`, { deliver: '0' })}</options>`);
    await affiliate('later', 'member');
    assert.equal((await hears('later')).attrs.subscription, 'subscribed');
    await silent();
  });

  it('do not end where another resource asks for them as well', async () => {
    await create('twice', { access_model: 'authorize', publish_model: 'subscribers' });
    await publish('twice', 'a');
    await subscribe('twice', '', reader.jid);
    const approve = form(`${ns.pubsub}#subscribe_authorization`, {
      node: 'twice',
      subscriber_jid: reader.jid,
      allow: '1',
    });
    await owner.sends(`<message to='${at}'>${approve}</message>`);
    assert.equal((await hears('twice')).attrs.subscription, 'subscribed');
    const second = await subscribe('twice');
    assert.equal(second.child('pubsub', ns.pubsub)?.child('subscription')?.attrs.subscription, 'pending');
    assert.deepEqual(await items('twice'), ['a']);
    assert.equal(conditionOf(await publish('twice', 'b', reader)), 'result');
    await reader.asks('set', asked(`<unsubscribe node='twice' jid='reader@hub.test'/>`), at);
  });

  it('do not begin for those who may only publish, whoever wants that', async () => {
    await create('dropbox');
    await affiliate('dropbox', 'publish-only');
    const list = `<subscription jid='reader@hub.test' subscription='subscribed'/>`;
    const answer = await owner.asks('set', owned(`<subscriptions node='dropbox'>${list}</subscriptions>`), at);
    assert.equal(conditionOf(answer), 'not-acceptable');
    await publish('dropbox', 'a');
    await silent();
  });

  it('wait for owners, who ask what waits, and for nobody else', async () => {
    const node = `${ns.pubsub}#get-pending`;
    const execute = (who: Client, attrs = '', inside = '') =>
      who.asks('set', `<command xmlns='${ns.commands}' node='${node}'${attrs}>${inside}</command>`, at);
    assert.equal(conditionOf(await execute(reader)), 'forbidden');
    const first = (await execute(owner)).child('command', ns.commands);
    const options = first?.child('x', ns.data)?.all('field').at(-1)?.all('option') ?? [];
    assert.deepEqual(
      options.map(option => option.childText('value')),
      ['picky'],
    );
    const choose = form(`${ns.pubsub}#subscribe_authorization`, { node: 'nowhere' });
    const answer = await execute(owner, ` sessionid='${first?.attrs.sessionid}'`, choose);
    assert.equal(conditionOf(answer), 'item-not-found');
  });

  it('reach those who gain access by becoming members', async () => {
    await create('club', { access_model: 'whitelist' });
    await affiliate('club', 'member');
    assert.equal(conditionOf(await subscribe('club')), 'result');
    await publish('club', 'a');
    await hears('club');
    await affiliate('club', 'none');
    await publish('club', 'b');
    await silent();
    assert.equal(conditionOf(await reader.asks('get', asked(`<items node='club'/>`), at)), 'not-allowed/closed-node');
  });

  it('of nodes made without a name, or with a name that is taken', async () => {
    const made = await owner.asks('set', asked('<create/><configure/>'), at);
    const name = made.child('pubsub', ns.pubsub)?.child('create')?.attrs.node;
    assert.ok(name);
    assert.equal(conditionOf(await owner.asks('set', asked(`<create node='${name}'/>`), at)), 'conflict');
    assert.equal(conditionOf(await owner.asks('set', owned(`<delete node='${name}'/>`), at)), 'result');
    assert.equal(conditionOf(await owner.asks('set', asked(`<create node='${name}'/>`), at)), 'result');
  });
});
