// The parts of pubsub by themselves: who may do what, what a configuration takes, and what bounds a node's items.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Facts, mayPublish, mayRetract, refuseReader, refuseSubscriber } from '../../src/modules/pubsub/access.ts';
import { configForm, configured, withOptions } from '../../src/modules/pubsub/config.ts';
import {
  type AccessModel,
  type Affiliation,
  limits,
  personalDefaults,
  serviceDefaults,
} from '../../src/modules/pubsub/node.ts';
import { Nodes, nodesOf } from '../../src/modules/pubsub/nodes.ts';
import { portablePersonal } from '../../src/modules/pubsub/portable.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import type { StanzaError } from '../../src/xmpp/errors.ts';
import { formElement, formValues } from '../../src/xmpp/form.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { parseElement } from '../../src/xmpp/payload.ts';

const stranger: Facts = {
  model: 'open',
  affiliation: 'none',
  subscription: 'none',
  seesPresence: false,
  inGroup: false,
};
const said = (error: StanzaError | null) => (error ? (error.more?.name ?? error.condition) : 'yes');

describe('access to a node', () => {
  const cases: [AccessModel, Partial<Facts>, string, string][] = [
    // model, facts, may subscribe, may read
    ['open', {}, 'yes', 'yes'],
    ['presence', {}, 'presence-subscription-required', 'presence-subscription-required'],
    ['presence', { seesPresence: true }, 'yes', 'yes'],
    ['presence', { affiliation: 'member' }, 'yes', 'yes'],
    ['roster', { seesPresence: true }, 'not-in-roster-group', 'not-in-roster-group'],
    ['roster', { inGroup: true }, 'not-in-roster-group', 'not-in-roster-group'],
    ['roster', { seesPresence: true, inGroup: true }, 'yes', 'yes'],
    ['whitelist', { seesPresence: true }, 'closed-node', 'closed-node'],
    ['whitelist', { subscription: 'subscribed' }, 'closed-node', 'closed-node'],
    ['whitelist', { affiliation: 'member' }, 'yes', 'yes'],
    ['authorize', {}, 'yes', 'not-subscribed'],
    ['authorize', { subscription: 'pending' }, 'yes', 'not-subscribed'],
    ['authorize', { subscription: 'subscribed' }, 'yes', 'yes'],
    ['authorize', { affiliation: 'publisher' }, 'yes', 'yes'],
    ['authorize', { affiliation: 'owner' }, 'yes', 'yes'],
    ['open', { affiliation: 'outcast' }, 'forbidden', 'forbidden'],
    ['open', { affiliation: 'outcast', subscription: 'subscribed' }, 'forbidden', 'forbidden'],
    ['open', { affiliation: 'publish-only' }, 'forbidden', 'forbidden'],
  ];
  for (const [model, facts, subscribe, read] of cases) {
    it(`${model} for ${JSON.stringify(facts)}: subscribing ${subscribe}, reading ${read}`, () => {
      assert.equal(said(refuseSubscriber({ ...stranger, ...facts, model })), subscribe);
      assert.equal(said(refuseReader({ ...stranger, ...facts, model })), read);
    });
  }

  it('lets publish and retract whom the table of affiliations lets', () => {
    const may = (affiliation: Affiliation) => {
      const facts = { ...stranger, affiliation };
      const publishes = mayPublish('publishers', facts);
      return [publishes, mayRetract(facts, publishes, true), mayRetract(facts, publishes, false)];
    };
    assert.deepEqual(may('owner'), [true, true, true]);
    assert.deepEqual(may('publisher'), [true, true, true]);
    assert.deepEqual(may('publish-only'), [true, true, false]);
    assert.deepEqual(may('member'), [false, false, false]);
    assert.deepEqual(may('none'), [false, false, false]);
    assert.deepEqual(may('outcast'), [false, false, false]);
    assert.equal(mayPublish('open', stranger), true);
    assert.equal(mayPublish('open', { ...stranger, affiliation: 'outcast' }), false);
    assert.equal(mayPublish('subscribers', { ...stranger, subscription: 'pending' }), false);
    assert.equal(mayPublish('subscribers', { ...stranger, subscription: 'subscribed' }), true);
  });
});

describe('the configuration of a node', () => {
  const values = (fields: Record<string, string | string[]>) =>
    new Map(Object.entries(fields).map(([name, value]) => [`pubsub#${name}`, [value].flat()]));

  it('reads what it writes', () => {
    for (const defaults of [personalDefaults, serviceDefaults]) {
      const written = formValues(formElement('submit', configForm(defaults)));
      assert.deepEqual(written.get('pubsub#node_type'), ['leaf']);
      assert.deepEqual(configured(serviceDefaults, written), defaults);
    }
  });

  it('has lists where the registry has them, to choose from', () => {
    const field = (name: string, config = serviceDefaults) =>
      configForm(config, ['Friends', 'Montague']).fields.find(one => one.var === `pubsub#${name}`);
    const choices = (name: string, config = serviceDefaults) => field(name, config)?.options?.map(one => one.value);
    assert.equal(field('language')?.type, 'list-single');
    assert.deepEqual(
      ['', 'en', 'de'].filter(tag => !choices('language')?.includes(tag)),
      [],
    );
    assert.ok(choices('language', { ...serviceDefaults, language: 'tlh' })?.includes('tlh'));
    assert.equal(field('roster_groups_allowed')?.type, 'list-multi');
    assert.deepEqual(choices('roster_groups_allowed', { ...serviceDefaults, rosterGroups: ['Friends', 'Old'] }), [
      'Friends',
      'Montague',
      'Old',
    ]);
  });

  it('takes max for the most there is', () => {
    const config = configured(serviceDefaults, values({ max_items: 'max', item_expire: 'max' }));
    assert.equal(config.maxItems, limits.items);
    assert.equal(config.itemExpire, 0);
    assert.equal(configured(serviceDefaults, values({ max_items: '9999999' })).maxItems, limits.items);
    assert.equal(configured(serviceDefaults, values({ max_payload_size: '99999999' })).maxPayloadSize, limits.payload);
  });

  const wrong: Record<string, string | string[]>[] = [
    { max_items: '0' },
    { max_items: '-1' },
    { max_items: '1e3' },
    { persist_items: 'yes' },
    { send_last_published_item: 'sometimes' },
    { title: 'x'.repeat(2_000) },
    { contact: ['@@'] },
    { roster_groups_allowed: Array.from({ length: 200 }, String) },
    { item_expire: 'soon' },
  ];
  for (const fields of wrong) {
    it(`refuses ${JSON.stringify(fields).slice(0, 60)}`, () => {
      assert.throws(() => configured(serviceDefaults, values(fields)), { condition: 'not-acceptable' });
    });
  }

  it('knows no other nodes than leaves', () => {
    assert.throws(() => configured(serviceDefaults, values({ node_type: 'collection' })), {
      condition: 'feature-not-implemented',
    });
  });

  it('compares publish options with what is', () => {
    assert.equal(withOptions(serviceDefaults, values({ access_model: 'open', max_items: '20' })).met, true);
    assert.equal(withOptions(serviceDefaults, values({ access_model: 'presence' })).met, false);
    assert.throws(() => withOptions(serviceDefaults, values({ unheard_of: '1' })), { condition: 'conflict' });
  });
});

describe('nodes in the store', () => {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-pubsub-'));
  const store = openSqlite(join(directory, 'test.db'));
  const nodes = new Nodes(store);
  after(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });
  const item = (id: string, payload = '<x/>', at = Date.now()) => ({ id, publisher: 'a@b', at, payload });

  it('keeps items in the order in which they were published last', () => {
    const node = nodes.create('s', 'order', 'a@b', serviceDefaults);
    for (const id of ['1', '2', '3', '1']) nodes.items.put(node, item(id));
    assert.deepEqual(nodes.items.ids(node, 10), ['1', '3', '2']);
    assert.equal(nodes.items.last(node)?.id, '1');
    assert.deepEqual(nodes.items.trim(node, 2), ['2']);
    assert.equal(nodes.items.remove(node, '1'), true);
    assert.equal(nodes.items.remove(node, '1'), false);
    assert.equal(nodes.items.last(node)?.id, '3');
    nodes.items.trim(node, 0);
    assert.equal(nodes.items.last(node), null);
  });

  it('knows the size of its items whatever becomes of them', () => {
    const node = nodes.create('s', 'size', 'a@b', serviceDefaults);
    nodes.items.put(node, item('1', '12345'));
    nodes.items.put(node, item('2', '123'));
    nodes.items.put(node, item('1', '1'));
    assert.equal(nodes.items.sizeOf(node), 4);
    nodes.items.trim(node, 1);
    assert.equal(nodes.items.sizeOf(node), 1);
    nodes.items.purge(node);
    assert.equal(nodes.items.sizeOf(node), 0);
  });

  it('lets items expire', () => {
    const node = nodes.create('s', 'expiring', 'a@b', { ...serviceDefaults, itemExpire: 60 });
    nodes.items.put(node, item('old', '<x/>', Date.now() - 61_000));
    nodes.items.put(node, item('new'));
    assert.deepEqual(nodes.items.ids(node, 10), ['new']);
    assert.equal(nodes.items.get(node, 'old'), undefined);
  });

  it('fills in what a node made by an earlier version does not say of its configuration', () => {
    const { id } = nodes.create('s', 'older', 'a@b', serviceDefaults);
    store.prepare('UPDATE pubsub_nodes SET config = ? WHERE id = ?').run(`{"title":"Older"}`, id);
    assert.deepEqual(new Nodes(store).get('s', 'older')?.config, { ...serviceDefaults, title: 'Older' });
  });

  it('forgets first the services that were used the longest ago', () => {
    const small = new Nodes(store, 3);
    for (const service of ['s1', 's2', 's3', 's4']) small.create(service, 'n', 'a@b', serviceDefaults);
    const used = small.get('s2', 'n');
    small.get('s1', 'n');
    assert.equal(small.get('s2', 'n'), used);
    small.get('s3', 'n');
    assert.equal(small.get('s2', 'n'), used);
  });

  it('takes what other servers have exported, and opens nothing that it does not understand', () => {
    const user = Jid.parse('mover@hub.test');
    const take = (xml: string) => portablePersonal.import?.(store, user, parseElement(xml), () => {});
    const field = (name: string, value: string) => `<field var='pubsub#${name}'><value>${value}</value></field>`;
    const settings = (inside: string) => `<pubsub xmlns='${ns.pubsubOwner}'>${inside}</pubsub>`;
    const configure = (node: string, ...fields: string[]) =>
      `<configure node='${node}'><x xmlns='${ns.data}' type='form'>${fields.join('')}</x></configure>`;
    const item = (id: string, text: string) => `<item id='${id}'><x xmlns='urn:x'>${text}</x></item>`;
    const items = (node: string, ...inside: string[]) =>
      `<pubsub xmlns='${ns.pubsub}'><items node='${node}'>${inside.join('')}</items></pubsub>`;
    assert.equal(take(items('early', item('a', '1'), item('b', '2'), '<item/>', item('c', 'x'.repeat(200_000)))), true);
    const all = [
      configure('early', field('access_model', 'open'), field('max_items', 'max'), field('colour', 'red')),
      configure('odd', field('access_model', 'by-moonlight'), field('title', 'Odd'), field('max_items', 'lots')),
      configure('', field('access_model', 'open')),
      `<affiliations node='early'><affiliation jid='@@' affiliation='owner'/><affiliation jid='c@d' affiliation='king'/></affiliations>`,
      `<subscriptions node='early'><subscription jid='c@d/e' subscription='subscribed'/><subscription jid='f@d'/></subscriptions>`,
    ];
    assert.equal(take(settings(all.join(''))), true);
    assert.equal(take(`<query xmlns='jabber:iq:private'/>`), false);
    const kept = nodesOf({ store });
    const early = kept.get('mover@hub.test', 'early')!;
    assert.deepEqual(kept.items.ids(early, 10), ['b', 'a']);
    assert.equal(early.config.accessModel, 'open');
    assert.deepEqual([...kept.affiliations(early)], []);
    assert.deepEqual([...kept.subscriptions(early).keys()], ['c@d/e']);
    const { config } = kept.get('mover@hub.test', 'odd')!;
    assert.deepEqual([config.accessModel, config.title, config.maxItems], ['whitelist', 'Odd', 1]);
    assert.equal(kept.of('mover@hub.test').size, 2);
  });

  it('is the same after it was read again, and gone when it was removed', () => {
    const node = nodes.create('t', 'kept', 'a@b', personalDefaults);
    nodes.affiliate(node, 'c@d', 'publisher');
    nodes.subscribe(node, { jid: 'c@d/e', state: 'pending', deliver: false });
    const again = new Nodes(store);
    const read = again.get('t', 'kept')!;
    assert.deepEqual(read, node);
    assert.equal(again.affiliation(read, 'c@d'), 'publisher');
    assert.deepEqual([...again.subscriptions(read).values()], [{ jid: 'c@d/e', state: 'pending', deliver: false }]);
    again.forget('c@d');
    assert.equal(again.subscriptions(read).size, 0);
    again.removeAll('t');
    assert.equal(new Nodes(store).has('t'), false);
  });
});
