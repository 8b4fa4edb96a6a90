// Requests to pubsub services made to break them, or to reach what is somebody else's.
import assert from 'node:assert/strict';
import { configForm } from '../../src/modules/pubsub/config.ts';
import { limits, serviceDefaults } from '../../src/modules/pubsub/node.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf, form } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { logTo } from '../support/log.ts';

const entity = [
  'create',
  'publish',
  'retract',
  'subscribe',
  'unsubscribe',
  'options',
  'items',
  'subscriptions',
  'affiliations',
  'default',
];
const owners = ['configure', 'default', 'delete', 'purge', 'subscriptions', 'affiliations'];
const long = 'n'.repeat(3_000);
/** A submitted form with all fields that there are, each with that value as often. */
const filled = (value: string, times = 1) => {
  const names = configForm(serviceDefaults).fields.map(field => field.var!);
  const fields = [...names, 'pubsub#deliver', 'pubsub#allow', 'pubsub#node', 'pubsub#subscriber_jid']
    .filter(name => name !== 'FORM_TYPE')
    .map(name => `<field var='${name}'>${`<value>${value}</value>`.repeat(times)}</field>`.repeat(times));
  return `<x xmlns='jabber:x:data' type='submit'>${fields.join('')}</x>`;
};
const insides: [string, string, string][] = [
  ['nothing', '', ''],
  ['an empty node', ` node=''`, ''],
  ['a long node', ` node='${long}'`, ''],
  ['a node like no other', ` node='__proto__'`, ''],
  ['wrong attributes', ` node='secret' jid='@@/' subid='x' max_items='-1' type='x' notify='?'`, ''],
  ['somebody else', ` node='secret' jid='juliet@hub.test'`, ''],
  ['an odd item', ` node='secret'`, `<item id='${long}'><x xmlns='urn:x'/></item>`],
  ['an item of ours', ` node='secret'`, `<item id='a'><item xmlns='${ns.pubsub}'/></item>`],
  ['many items', ` node='secret'`, `<item id='a'/>`.repeat(300)],
  [
    'many members',
    ` node='secret'`,
    `<affiliation jid='a@b' affiliation='owner'/><subscription jid='@' subscription='x'/>`.repeat(300),
  ],
  [
    'a wrong form',
    ` node='secret'`,
    `<x xmlns='jabber:x:data' type='submit'><field/><field var='__proto__'><value>1</value></field></x>`,
  ],
  ...['', '&lt;x/>', '-1', '99999999999999999999', 'max', '__proto__', long.slice(0, 1_100)].map(
    (value): [string, string, string] => [
      `a form full of ${value.slice(0, 20) || 'nothing'}`,
      ` node='secret'`,
      filled(value),
    ],
  ),
  ['a form in which all stands often', ` node='secret'`, filled('1', 5)],
  ['a form of nothing', ` node='secret'`, `<x xmlns='jabber:x:data' type='odd'/>`],
];

describe('hostile pubsub requests', () => {
  let hub: TestHub;
  let mallory: Client;
  let juliet: Client;
  const errors: string[] = [];
  before(async () => {
    const log = logTo(line => errors.push(line), 'error');
    hub = await startTestHub(['hub.test'], {
      log,
      yaml: 'limits: { rate: { c2s: 0 } }',
    });
    mallory = await hub.client('mallory@hub.test');
    juliet = await hub.client('juliet@hub.test');
    await publish(juliet, 'secret', 'a', '<x xmlns="urn:x">hers</x>');
    await juliet.asks('set', `<pubsub xmlns='${ns.pubsub}'><create node='secret'/></pubsub>`, 'pubsub.hub.test');
  });
  after(() => hub.close());

  const publish = (client: Client, node: string, id: string, payload: string) =>
    client.asks(
      'set',
      `<pubsub xmlns='${ns.pubsub}'><publish node='${node}'><item id='${id}'>${payload}</item></publish>
       <publish-options>${form(`${ns.pubsub}#publish-options`, { access_model: 'whitelist', max_items: 'max' })}</publish-options></pubsub>`,
    );

  for (const [space, actions] of [
    [ns.pubsub, entity],
    [ns.pubsubOwner, owners],
  ] as const) {
    for (const action of actions) {
      it(`are answered: ${action} of ${space}`, async () => {
        for (const [what, attrs, inside] of insides) {
          const beside = inside.startsWith('<x')
            ? ['publish-options', 'configure', 'options'].map(name => `<${name}>${inside}</${name}>`).join('')
            : '';
          const xml = `<pubsub xmlns='${space}'><${action}${attrs}>${inside}</${action}>${beside}</pubsub>`;
          for (const type of ['get', 'set'] as const) {
            for (const to of ['mallory@hub.test', 'juliet@hub.test', 'nobody@hub.test', 'pubsub.hub.test']) {
              const condition = conditionOf(await mallory.asks(type, xml, to));
              assert.ok(condition && condition !== 'internal-server-error', `${type} ${what} to ${to}: ${condition}`);
            }
          }
        }
        assert.deepEqual(errors, []);
      });
    }
  }

  it('change nothing that is somebody else’s', async () => {
    const items = `<pubsub xmlns='${ns.pubsub}'><items node='secret'/></pubsub>`;
    const kept = (await juliet.asks('get', items)).child('pubsub', ns.pubsub)?.child('items')?.all() ?? [];
    assert.deepEqual(
      kept.map(item => [item.attrs.id, item.childText('x', 'urn:x')]),
      [['a', 'hers']],
    );
    const affiliations = `<pubsub xmlns='${ns.pubsubOwner}'><affiliations node='secret'/></pubsub>`;
    for (const to of ['juliet@hub.test', 'pubsub.hub.test']) {
      const answer = await juliet.asks('get', affiliations, to);
      const listed = answer.child('pubsub', ns.pubsubOwner)?.child('affiliations')?.all() ?? [];
      assert.deepEqual(
        listed.map(({ attrs }) => attrs),
        [{ jid: 'juliet@hub.test', affiliation: 'owner' }],
      );
    }
  });

  it('find no more room than there is', async () => {
    const payload = `<x xmlns='urn:x'>${'x'.repeat(limits.payload - 100)}</x>`;
    let refused = '';
    for (let i = 0; i < limits.accountSize / limits.payload + 2 && !refused; i++) {
      const condition = conditionOf(await publish(mallory, `big${i % 4}`, String(i), payload));
      if (condition !== 'result') refused = condition;
    }
    assert.equal(refused, 'resource-constraint');
    for (let i = 0; i < limits.nodes; i++) await publish(mallory, `node${i}`, 'a', '<x xmlns="urn:x"/>');
    const condition = conditionOf(await publish(mallory, 'one more', 'a', '<x xmlns="urn:x"/>'));
    assert.equal(condition, 'policy-violation/max-nodes-exceeded');
    // And what there is can still be read, in bounded answers.
    const answer = await mallory.asks('get', `<pubsub xmlns='${ns.pubsub}'><items node='big0'/></pubsub>`);
    assert.ok(answer.toString().length < limits.pageSize + limits.payload);
    assert.ok(answer.child('pubsub', ns.pubsub)?.child('set', ns.resultSet));
  });

  it('find no more room at the service of the domain either', async () => {
    const at = 'pubsub.hub.test';
    const ask = (inside: string) => mallory.asks('set', `<pubsub xmlns='${ns.pubsub}'>${inside}</pubsub>`, at);
    for (let i = 0; i < 8; i++) assert.equal(conditionOf(await ask(`<create node='big${i}'/>`)), 'result');
    const payload = `<x xmlns='urn:x'>${'x'.repeat(limits.payload - 100)}</x>`;
    let refused = '';
    for (let i = 0; i < limits.accountSize / limits.payload + 2 && !refused; i++) {
      const condition = conditionOf(
        await ask(`<publish node='big${i % 8}'><item id='${i}'>${payload}</item></publish>`),
      );
      if (condition !== 'result') refused = condition;
    }
    assert.equal(refused, 'resource-constraint');
  });

  it('subscribe not without end', async () => {
    const subscribe = (resource: number) =>
      `<pubsub xmlns='${ns.pubsub}'><subscribe node='big0' jid='mallory@hub.test/${resource}'/></pubsub>`;
    for (let i = 0; i < limits.subscriptionsOfOne; i++) {
      assert.equal(conditionOf(await mallory.asks('set', subscribe(i), 'pubsub.hub.test')), 'result');
    }
    const one = await mallory.asks('set', subscribe(-1), 'pubsub.hub.test');
    assert.equal(conditionOf(one), 'policy-violation/too-many-subscriptions');
    assert.equal(one.child('error')?.attrs.type, 'wait');
  });

  it('hear nothing of capabilities that never come', async () => {
    for (let i = 0; i < 50; i++) {
      await mallory.sends(`<presence><c xmlns='${ns.caps}' hash='sha-1' node='n' ver='${i}'/></presence>`);
    }
    await mallory.sends(`<presence><c xmlns='${ns.caps}' hash='${long}' node='${long}' ver='${long}'/></presence>`);
    await mallory.hasNot(e => e.attrs.type === 'error');
    assert.deepEqual(errors, []);
  });
});
