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
import { Nodes } from '../../src/modules/pubsub/nodes.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import type { StanzaError } from '../../src/xmpp/errors.ts';
import { formElement, formValues } from '../../src/xmpp/form.ts';

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
    { node_type: 'collection' },
  ];
  for (const fields of wrong) {
    it(`refuses ${JSON.stringify(fields).slice(0, 60)}`, () => {
      assert.throws(() => configured(serviceDefaults, values(fields)), { condition: 'not-acceptable' });
    });
  }

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
    again.forget('t');
    assert.equal(new Nodes(store).has('t'), false);
  });
});
