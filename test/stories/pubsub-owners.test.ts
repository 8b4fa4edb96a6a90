// What owners do at the nodes of a domain's service, and what everybody else hears of it (XEP-0060 §5, §8, §12).
import assert from 'node:assert/strict';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf, eventOf, form, hearsOf } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { sees } from '../support/friends.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const at = 'pubsub.hub.test';
const config = `${ns.pubsub}#node_config`;
const asked = (inside: string) => `<pubsub xmlns='${ns.pubsub}'>${inside}</pubsub>`;
const owned = (inside: string) => `<pubsub xmlns='${ns.pubsubOwner}'>${inside}</pubsub>`;
const entry = `<entry xmlns='urn:entry'/>`;

describe('the owner of a node', () => {
  let hub: TestHub;
  let owner: Client;
  let reader: Client;
  let other: Client;
  const create = (node: string, fields: Record<string, string | string[]> = {}) =>
    owner.asks('set', asked(`<create node='${node}'/><configure>${form(config, fields)}</configure>`), at);
  const configure = (node: string, fields: Record<string, string | string[]>) =>
    owner.asks('set', owned(`<configure node='${node}'>${form(config, fields)}</configure>`), at);
  const subscribe = (who: Client, node: string) =>
    who.asks('set', asked(`<subscribe node='${node}' jid='${who.options.jid}'/>`), at);
  const publish = (node: string, id: string) =>
    owner.asks('set', asked(`<publish node='${node}'><item id='${id}'>${entry}</item></publish>`), at);
  const metadata = async (node: string) => {
    const answer = await reader.asks('get', `<query xmlns='${ns.discoInfo}' node='${node}'/>`, at);
    const fields = answer.child('query', ns.discoInfo)?.child('x', ns.data)?.all('field') ?? [];
    return new Map(fields.map(field => [field.attrs.var, field.all('value').map(({ text }) => text)]));
  };

  before(async () => {
    hub = await startTestHub(['hub.test'], { yaml: 'clients: { registration: true }' });
    owner = await hub.client('owner@hub.test');
    reader = await hub.client('reader@hub.test');
    other = await hub.client('other@hub.test');
    await sees(reader, owner);
  });
  after(() => hub.close());

  it('tells those who wait for approval that the node is gone', async () => {
    await create('waiting', { access_model: 'authorize' });
    await subscribe(reader, 'waiting');
    await owner.asks('set', owned(`<delete node='waiting'/>`), at);
    assert.equal(eventOf(await hearsOf(reader, 'waiting'))?.name, 'delete');
  });

  it('says nothing of a node that goes where nobody is to hear of it', async () => {
    await create('silent', { notify_delete: '0' });
    await subscribe(reader, 'silent');
    await owner.asks('set', owned(`<delete node='silent'/>`), at);
    await reader.hasNot(e => eventOf(e) !== undefined);
  });

  it('purges without a word where retractions are not told of', async () => {
    await create('quiet', { notify_retract: '0' });
    await subscribe(reader, 'quiet');
    await publish('quiet', 'a');
    await hearsOf(reader, 'quiet');
    assert.equal(conditionOf(await owner.asks('set', owned(`<purge node='quiet'/>`), at)), 'result');
    await owner.asks('set', asked(`<retract node='quiet' notify='1'><item id='none'/></retract>`), at);
    await reader.hasNot(e => eventOf(e) !== undefined);
  });

  it('lets in somebody who then gets the last item, and nobody else gets it again', async () => {
    await create('opening', { access_model: 'open', send_last_published_item: 'on_sub_and_presence' });
    for (const who of [reader, other]) await subscribe(who, 'opening');
    await configure('opening', { access_model: 'presence' });
    await publish('opening', 'a');
    await hearsOf(reader, 'opening');
    await configure('opening', { access_model: 'open' });
    const event = await hearsOf(other, 'opening');
    assert.equal(eventOf(event)?.child('item')?.attrs.id, 'a');
    assert.ok(event.child('delay', ns.delay));
    await reader.hasNot(e => eventOf(e) !== undefined);
  });

  it('keeps the names of roster groups from everybody else', async () => {
    await create('grouped', { roster_groups_allowed: ['Family', 'Bores'], notify_config: '1' });
    assert.equal((await metadata('grouped')).has('pubsub#roster_groups_allowed'), false);
    assert.ok((await owner.asks('get', owned(`<configure node='grouped'/>`), at)).toString().includes('Bores'));
    await subscribe(reader, 'grouped');
    await configure('grouped', { title: 'Groups' });
    assert.equal((await hearsOf(reader, 'grouped')).toString().includes('Bores'), false);
  });

  it('reads that nodes are leaves, and makes no others', async () => {
    const answer = await owner.asks('get', owned('<default/>'), at);
    const fields = answer.child('pubsub', ns.pubsubOwner)?.child('default')?.child('x', ns.data)?.all('field') ?? [];
    const type = fields.find(({ attrs }) => attrs.var === 'pubsub#node_type');
    assert.equal(type?.childText('value'), 'leaf');
    assert.equal(conditionOf(await create('leaf', { node_type: 'leaf' })), 'result');
    assert.deepEqual((await metadata('leaf')).get('pubsub#node_type'), ['leaf']);
    const refused = await create('collection', { node_type: 'collection' });
    assert.equal(conditionOf(refused), 'feature-not-implemented/unsupported:collections');
  });

  it('is told of an entity that stands twice in a list, however it is written', async () => {
    await create('twice');
    const affiliation = (jid: string, what: string) => `<affiliation jid='${jid}' affiliation='${what}'/>`;
    const answer = await owner.asks(
      'set',
      owned(
        `<affiliations node='twice'>${affiliation('a@b.test', 'member')}${affiliation('A@b.test/c', 'outcast')}</affiliations>`,
      ),
      at,
    );
    assert.equal(conditionOf(answer), 'bad-request');
  });

  it('lists nodes and items page by page, for each as they may see them', async () => {
    await create('hidden', { access_model: 'whitelist' });
    for (let i = 0; i < 5; i++) await create(`page${i}`, { title: `Page ${i}`, max_items: 'max' });
    const list = async (set = '', node = '') => {
      const attr = node && ` node='${node}'`;
      const xml = `<query xmlns='${ns.discoItems}'${attr}>${set && `<set xmlns='${ns.resultSet}'>${set}</set>`}</query>`;
      const query = (await reader.asks('get', xml, at)).child('query', ns.discoItems);
      const page = query?.child('set', ns.resultSet) ?? null;
      const names = query?.all('item').map(({ attrs }) => attrs.node ?? attrs.name) ?? [];
      return { names, page, first: page?.childText('first'), last: page?.childText('last') };
    };
    const { names: all, page } = await list();
    assert.equal(page, null);
    assert.ok(all.includes('page4') && !all.includes('hidden'));
    const forwards: string[] = [];
    for (let set = '<max>2</max>'; ; ) {
      const { names, last } = await list(set);
      if (names.length === 0) break;
      forwards.push(...names);
      set = `<max>2</max><after>${last}</after>`;
    }
    assert.deepEqual(forwards, all);
    const end = await list('<max>2</max><before/>');
    assert.deepEqual(end.names, all.slice(-2));
    const before = await list(`<max>2</max><before>${end.first}</before>`);
    assert.deepEqual(before.names, all.slice(-4, -2));
    assert.deepEqual((await list('<max>2</max><index>1</index>')).names, all.slice(1, 3));
    assert.equal((await list('<max>0</max>')).page?.childText('count'), String(all.length));
    const wrong = `<query xmlns='${ns.discoItems}'><set xmlns='${ns.resultSet}'><after>x</after></set></query>`;
    assert.equal(conditionOf(await reader.asks('get', wrong, at)), 'item-not-found');
    for (let i = 0; i < 4; i++) await publish('page0', `i${i}`);
    assert.deepEqual((await list('', 'page0')).names, ['i3', 'i2', 'i1', 'i0']);
    assert.deepEqual((await list('<max>2</max><after>i2</after>', 'page0')).names, ['i1', 'i0']);
  });

  it('goes with their account, and their nodes go where nobody else owns them', async () => {
    const brief = await hub.client('brief@hub.test');
    const make = (node: string) => brief.asks('set', asked(`<create node='${node}'/>`), at);
    await make('orphan');
    await make('shared');
    await brief.asks(
      'set',
      owned(`<affiliations node='shared'><affiliation jid='owner@hub.test' affiliation='owner'/></affiliations>`),
      at,
    );
    await subscribe(reader, 'orphan');
    assert.equal(conditionOf(await brief.asks('set', `<query xmlns='jabber:iq:register'><remove/></query>`)), 'result');
    assert.equal(eventOf(await hearsOf(reader, 'orphan'))?.name, 'delete');
    assert.equal(conditionOf(await owner.asks('get', asked(`<items node='orphan'/>`), at)), 'item-not-found');
    assert.equal(conditionOf(await owner.asks('get', owned(`<configure node='shared'/>`), at)), 'result');
  });
});
