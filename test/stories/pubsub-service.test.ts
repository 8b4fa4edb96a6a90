// The pubsub service of a domain, request by request: what is answered to whom (XEP-0060 §5–§8).
import assert from 'node:assert/strict';
import { type ErrorType, type StanzaCondition, stanzaConditions } from '../../src/xmpp/errors.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf, eventOf, form, hearsOf } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const at = 'pubsub.hub.test';
const config = `${ns.pubsub}#node_config`;
const options = `${ns.pubsub}#subscribe_options`;
const publishOptions = `${ns.pubsub}#publish-options`;
const asked = (inside: string) => `<pubsub xmlns='${ns.pubsub}'>${inside}</pubsub>`;
const owned = (inside: string) => `<pubsub xmlns='${ns.pubsubOwner}'>${inside}</pubsub>`;
const entry = `<entry xmlns='urn:entry'/>`;

describe('the pubsub service of a domain', () => {
  let hub: TestHub;
  const people: Record<string, Client> = {};
  const create = (node: string, fields: Record<string, string> = {}, who = 'owner') =>
    people[who].asks('set', asked(`<create node='${node}'/><configure>${form(config, fields)}</configure>`), at);
  const ask = (who: string, type: 'get' | 'set', xml: string) => people[who].asks(type, xml, at);
  const affiliate = (node: string, who: string, affiliation: string) =>
    ask(
      'owner',
      'set',
      owned(
        `<affiliations node='${node}'><affiliation jid='${who}@hub.test' affiliation='${affiliation}'/></affiliations>`,
      ),
    );
  const subscribe = (who: string, node: string) =>
    ask(who, 'set', asked(`<subscribe node='${node}' jid='${who}@hub.test'/>`));
  const publish = (who: string, node: string, id: string) =>
    ask(who, 'set', asked(`<publish node='${node}'><item id='${id}'>${entry}</item></publish>`));

  before(async () => {
    hub = await startTestHub(['hub.test', 'other.test'], { yaml: 'cross-domain: { policy: open }' });
    for (const name of ['owner', 'reader', 'writer', 'outcast', 'member']) {
      people[name] = await hub.client(`${name}@hub.test`);
    }
    people.foreigner = await hub.client('foreigner@other.test');
    await create('open');
    await create('presence', { access_model: 'presence' });
    await create('roster', { access_model: 'roster', roster_groups_allowed: 'friends' });
    await create('whitelist', { access_model: 'whitelist' });
    await create('authorize', { access_model: 'authorize' });
    await create('closed', { subscribe: '0' });
    await create('transient', { persist_items: '0' });
    await create('bare', { persist_items: '0', deliver_payloads: '0' });
    await create('notices', { deliver_payloads: '0' });
    await create('full', { max_items: '1', publish_node_full: 'reject' });
    await create('tiny', { max_payload_size: '30' });
    await create('anybody', { publish_model: 'open' });
    await create('subscribers', { publish_model: 'subscribers' });
    for (const node of ['open', 'whitelist', 'presence', 'authorize']) {
      await affiliate(node, 'outcast', 'outcast');
      await affiliate(node, 'writer', 'publisher');
      await affiliate(node, 'member', 'member');
      await publish('owner', node, 'one');
    }
    await publish('owner', 'full', 'one');
    await subscribe('reader', 'authorize');
    await subscribe('member', 'open');
  });
  after(() => hub.close());

  const cases: [string, string, 'get' | 'set', string, string][] = [
    // Requests that are none.
    ['nothing asked for', 'reader', 'get', asked(''), 'bad-request'],
    ['an unknown use case', 'reader', 'set', asked('<dance/>'), 'feature-not-implemented'],
    ['a use case of the wrong type', 'reader', 'get', asked(`<publish node='open'/>`), 'feature-not-implemented'],
    // §5.6, §5.7
    ['own subscriptions', 'reader', 'get', asked('<subscriptions/>'), 'result'],
    ['own affiliations', 'reader', 'get', asked('<affiliations/>'), 'result'],
    // §6.1
    ['subscribing', 'reader', 'set', asked(`<subscribe node='open' jid='reader@hub.test'/>`), 'result'],
    ['subscribing again', 'reader', 'set', asked(`<subscribe node='open' jid='reader@hub.test'/>`), 'result'],
    [
      'subscribing somebody else',
      'reader',
      'set',
      asked(`<subscribe node='open' jid='owner@hub.test'/>`),
      'bad-request/invalid-jid',
    ],
    ['subscribing nobody', 'reader', 'set', asked(`<subscribe node='open'/>`), 'bad-request/invalid-jid'],
    [
      'subscribing to no node',
      'reader',
      'set',
      asked(`<subscribe jid='reader@hub.test'/>`),
      'bad-request/nodeid-required',
    ],
    [
      'subscribing to a node that is not there',
      'reader',
      'set',
      asked(`<subscribe node='x' jid='reader@hub.test'/>`),
      'item-not-found',
    ],
    [
      'subscribing without presence',
      'reader',
      'set',
      asked(`<subscribe node='presence' jid='reader@hub.test'/>`),
      'not-authorized/presence-subscription-required',
    ],
    [
      'subscribing outside of the groups',
      'reader',
      'set',
      asked(`<subscribe node='roster' jid='reader@hub.test'/>`),
      'not-authorized/not-in-roster-group',
    ],
    [
      'subscribing outside of the whitelist',
      'reader',
      'set',
      asked(`<subscribe node='whitelist' jid='reader@hub.test'/>`),
      'not-allowed/closed-node',
    ],
    [
      'subscribing on the whitelist',
      'member',
      'set',
      asked(`<subscribe node='whitelist' jid='member@hub.test'/>`),
      'result',
    ],
    [
      'subscribing while that is pending',
      'reader',
      'set',
      asked(`<subscribe node='authorize' jid='reader@hub.test'/>`),
      'not-authorized/pending-subscription',
    ],
    ['an outcast subscribing', 'outcast', 'set', asked(`<subscribe node='open' jid='outcast@hub.test'/>`), 'forbidden'],
    [
      'subscribing where nobody can',
      'reader',
      'set',
      asked(`<subscribe node='closed' jid='reader@hub.test'/>`),
      'feature-not-implemented/unsupported:subscribe',
    ],
    [
      'a foreigner subscribing',
      'foreigner',
      'set',
      asked(`<subscribe node='open' jid='foreigner@other.test'/>`),
      'result',
    ],
    [
      'options before the subscription',
      'member',
      'set',
      asked(`<options/><subscribe node='open' jid='member@hub.test'/>`),
      'bad-request',
    ],
    [
      'options that name a node',
      'member',
      'set',
      asked(`<subscribe node='open' jid='member@hub.test'/><options node='open'/>`),
      'bad-request',
    ],
    [
      'a subscription with options',
      'member',
      'set',
      asked(`<subscribe node='open' jid='member@hub.test'/><options>${form(options, { deliver: '1' })}</options>`),
      'result',
    ],
    // §6.2
    [
      'unsubscribing from a node that is not there',
      'reader',
      'set',
      asked(`<unsubscribe node='x' jid='reader@hub.test'/>`),
      'item-not-found',
    ],
    [
      'unsubscribing somebody else',
      'reader',
      'set',
      asked(`<unsubscribe node='open' jid='member@hub.test'/>`),
      'forbidden',
    ],
    [
      'unsubscribing without a subscription',
      'owner',
      'set',
      asked(`<unsubscribe node='open' jid='owner@hub.test'/>`),
      'unexpected-request/not-subscribed',
    ],
    ['unsubscribing', 'reader', 'set', asked(`<unsubscribe node='open' jid='reader@hub.test' subid='x'/>`), 'result'],
    // §6.3, §6.4
    ['options of a subscription', 'member', 'get', asked(`<options node='open' jid='member@hub.test'/>`), 'result'],
    ['options of nobody', 'member', 'get', asked(`<options node='open'/>`), 'bad-request/jid-required'],
    ['options of somebody else', 'reader', 'get', asked(`<options node='open' jid='member@hub.test'/>`), 'forbidden'],
    [
      'options without a subscription',
      'owner',
      'get',
      asked(`<options node='open' jid='owner@hub.test'/>`),
      'unexpected-request/not-subscribed',
    ],
    [
      'options at a node that is not there',
      'member',
      'get',
      asked(`<options node='x' jid='member@hub.test'/>`),
      'item-not-found',
    ],
    [
      'options that there are not',
      'member',
      'set',
      asked(`<options node='open' jid='member@hub.test'>${form(options, { digest: '1' })}</options>`),
      'bad-request/invalid-options',
    ],
    [
      'an option set to nonsense',
      'member',
      'set',
      asked(`<options node='open' jid='member@hub.test'>${form(options, { deliver: 'perhaps' })}</options>`),
      'bad-request/invalid-options',
    ],
    [
      'options without a form',
      'member',
      'set',
      asked(`<options node='open' jid='member@hub.test'/>`),
      'bad-request/invalid-options',
    ],
    [
      'options',
      'member',
      'set',
      asked(`<options node='open' jid='member@hub.test'>${form(options, { deliver: '1' })}</options>`),
      'result',
    ],
    ['default options', 'reader', 'get', asked('<default/>'), 'result'],
    ['default options of a node', 'reader', 'get', asked(`<default node='open'/>`), 'result'],
    // §6.5
    ['items', 'reader', 'get', asked(`<items node='open'/>`), 'result'],
    ['items that are not there', 'reader', 'get', asked(`<items node='open'><item id='x'/></items>`), 'result'],
    ['items of no node', 'reader', 'get', asked(`<items/>`), 'bad-request/nodeid-required'],
    ['items of a node that is not there', 'reader', 'get', asked(`<items node='x'/>`), 'item-not-found'],
    [
      'items without presence',
      'reader',
      'get',
      asked(`<items node='presence'/>`),
      'not-authorized/presence-subscription-required',
    ],
    [
      'items outside of the groups',
      'reader',
      'get',
      asked(`<items node='roster'/>`),
      'not-authorized/not-in-roster-group',
    ],
    ['items outside of the whitelist', 'reader', 'get', asked(`<items node='whitelist'/>`), 'not-allowed/closed-node'],
    ['items on the whitelist', 'member', 'get', asked(`<items node='whitelist'/>`), 'result'],
    [
      'items while the subscription is pending',
      'reader',
      'get',
      asked(`<items node='authorize'/>`),
      'not-authorized/not-subscribed',
    ],
    ['items for a publisher', 'writer', 'get', asked(`<items node='authorize'/>`), 'result'],
    ['items for an outcast', 'outcast', 'get', asked(`<items node='open'/>`), 'forbidden'],
    ['nonsense for max_items', 'reader', 'get', asked(`<items node='open' max_items='many'/>`), 'bad-request'],
    [
      'a page behind an item that is not there',
      'reader',
      'get',
      asked(`<items node='open'/><set xmlns='${ns.resultSet}'><after>x</after></set>`),
      'item-not-found',
    ],
    [
      'a page of nonsense',
      'reader',
      'get',
      asked(`<items node='open'/><set xmlns='${ns.resultSet}'><max>-1</max></set>`),
      'bad-request',
    ],
    // §7.1
    ['publishing', 'owner', 'set', asked(`<publish node='open'><item>${entry}</item></publish>`), 'result'],
    [
      'a publisher publishing',
      'writer',
      'set',
      asked(`<publish node='open'><item id='w'>${entry}</item></publish>`),
      'result',
    ],
    [
      'a member publishing',
      'member',
      'set',
      asked(`<publish node='open'><item>${entry}</item></publish>`),
      'forbidden',
    ],
    [
      'anybody publishing where anybody may',
      'foreigner',
      'set',
      asked(`<publish node='anybody'><item>${entry}</item></publish>`),
      'result',
    ],
    [
      'publishing without the subscription it takes',
      'reader',
      'set',
      asked(`<publish node='subscribers'><item>${entry}</item></publish>`),
      'forbidden',
    ],
    [
      'publishing to a node that is not there',
      'owner',
      'set',
      asked(`<publish node='x'><item>${entry}</item></publish>`),
      'item-not-found',
    ],
    [
      'publishing to no node',
      'owner',
      'set',
      asked(`<publish><item>${entry}</item></publish>`),
      'bad-request/nodeid-required',
    ],
    ['publishing nothing', 'owner', 'set', asked(`<publish node='open'/>`), 'bad-request/item-required'],
    [
      'publishing an empty item',
      'owner',
      'set',
      asked(`<publish node='open'><item/></publish>`),
      'bad-request/payload-required',
    ],
    [
      'publishing an empty item where payloads are not delivered',
      'owner',
      'set',
      asked(`<publish node='notices'><item/></publish>`),
      'result',
    ],
    [
      'publishing two payloads',
      'owner',
      'set',
      asked(`<publish node='open'><item>${entry}${entry}</item></publish>`),
      'bad-request/invalid-payload',
    ],
    [
      'publishing two items',
      'owner',
      'set',
      asked(`<publish node='open'><item>${entry}</item><item>${entry}</item></publish>`),
      'bad-request',
    ],
    [
      'publishing an item where there are none',
      'owner',
      'set',
      asked(`<publish node='bare'><item>${entry}</item></publish>`),
      'bad-request/item-forbidden',
    ],
    ['publishing no item where there are none', 'owner', 'set', asked(`<publish node='bare'/>`), 'result'],
    [
      'publishing to a full node',
      'owner',
      'set',
      asked(`<publish node='full'><item id='two'>${entry}</item></publish>`),
      'conflict/node-full',
    ],
    [
      'publishing anew to a full node',
      'owner',
      'set',
      asked(`<publish node='full'><item id='one'>${entry}</item></publish>`),
      'result',
    ],
    [
      'publishing too much',
      'owner',
      'set',
      asked(`<publish node='tiny'><item><entry xmlns='urn:entry'>too much of it</entry></item></publish>`),
      'not-acceptable/payload-too-big',
    ],
    [
      'publishing under conditions that hold',
      'owner',
      'set',
      asked(
        `<publish node='open'><item>${entry}</item></publish><publish-options>${form(publishOptions, { access_model: 'open' })}</publish-options>`,
      ),
      'result',
    ],
    [
      'publishing under conditions that do not hold',
      'owner',
      'set',
      asked(
        `<publish node='open'><item>${entry}</item></publish><publish-options>${form(publishOptions, { access_model: 'presence' })}</publish-options>`,
      ),
      'conflict/precondition-not-met',
    ],
    [
      'publishing under conditions of another form',
      'owner',
      'set',
      asked(
        `<publish node='open'><item>${entry}</item></publish><publish-options>${form(config, { access_model: 'open' })}</publish-options>`,
      ),
      'bad-request',
    ],
    // §7.2
    [
      'retracting from no node',
      'owner',
      'set',
      asked(`<retract><item id='one'/></retract>`),
      'bad-request/nodeid-required',
    ],
    [
      'retracting from a node that is not there',
      'owner',
      'set',
      asked(`<retract node='x'><item id='one'/></retract>`),
      'item-not-found',
    ],
    ['retracting nothing', 'owner', 'set', asked(`<retract node='open'/>`), 'bad-request/item-required'],
    [
      'retracting an item without an id',
      'owner',
      'set',
      asked(`<retract node='open'><item/></retract>`),
      'bad-request/item-required',
    ],
    [
      'retracting an item that is not there',
      'owner',
      'set',
      asked(`<retract node='open'><item id='x'/></retract>`),
      'item-not-found',
    ],
    [
      'retracting what is not theirs',
      'member',
      'set',
      asked(`<retract node='open'><item id='one'/></retract>`),
      'forbidden',
    ],
    [
      'retracting from a node that keeps nothing',
      'owner',
      'set',
      asked(`<retract node='transient'><item id='one'/></retract>`),
      'feature-not-implemented/unsupported:persistent-items',
    ],
    ['retracting', 'writer', 'set', asked(`<retract node='open' notify='true'><item id='one'/></retract>`), 'result'],
    // §8.1
    ['making a node that is there', 'owner', 'set', asked(`<create node='open'/>`), 'conflict'],
    [
      'making a node of another kind',
      'owner',
      'set',
      asked(`<create node='c' type='collection'/>`),
      'feature-not-implemented/unsupported:collections',
    ],
    ['making a node without a name', 'reader', 'set', asked(`<create/>`), 'result'],
    ['a foreigner making a node', 'foreigner', 'set', asked(`<create node='f'/>`), 'forbidden'],
    ['a foreigner making a node that is there', 'foreigner', 'set', asked(`<create node='open'/>`), 'forbidden'],
    [
      'making a collection by its configuration',
      'owner',
      'set',
      asked(`<create node='c'/><configure>${form(config, { node_type: 'collection' })}</configure>`),
      'feature-not-implemented/unsupported:collections',
    ],
    [
      'making a node with an unknown access model',
      'owner',
      'set',
      asked(`<create node='c'/><configure>${form(config, { access_model: 'magic' })}</configure>`),
      'not-acceptable/unsupported-access-model',
    ],
    ['making a node configured too early', 'owner', 'set', asked(`<configure/><create node='c'/>`), 'bad-request'],
    [
      'making a node configured under a name',
      'owner',
      'set',
      asked(`<create node='c'/><configure node='c'/>`),
      'bad-request',
    ],
    [
      'making a node whose name is too long',
      'owner',
      'set',
      asked(`<create node='${'x'.repeat(600)}'/>`),
      'not-acceptable',
    ],
    // §8.2, §8.3
    ['the configuration', 'owner', 'get', owned(`<configure node='open'/>`), 'result'],
    ['the configuration for others', 'writer', 'get', owned(`<configure node='open'/>`), 'forbidden'],
    ['the configuration of no node', 'owner', 'get', owned(`<configure/>`), 'bad-request/nodeid-required'],
    ['the configuration of a node that is not there', 'owner', 'get', owned(`<configure node='x'/>`), 'item-not-found'],
    [
      'configuring',
      'owner',
      'set',
      owned(`<configure node='open'>${form(config, { title: 'Open' })}</configure>`),
      'result',
    ],
    [
      'configuring nonsense',
      'owner',
      'set',
      owned(`<configure node='open'>${form(config, { max_items: 'lots' })}</configure>`),
      'not-acceptable',
    ],
    [
      'configuring with another form',
      'owner',
      'set',
      owned(`<configure node='open'>${form(options, {})}</configure>`),
      'bad-request',
    ],
    ['configuring without a form', 'owner', 'set', owned(`<configure node='open'/>`), 'bad-request'],
    [
      'giving up on configuring',
      'owner',
      'set',
      owned(`<configure node='open'><x xmlns='jabber:x:data' type='cancel'/></configure>`),
      'result',
    ],
    [
      'others configuring',
      'member',
      'set',
      owned(`<configure node='open'>${form(config, { title: 'Mine' })}</configure>`),
      'forbidden',
    ],
    ['the default configuration', 'owner', 'get', owned(`<default/>`), 'result'],
    [
      'the default configuration of collections',
      'owner',
      'get',
      owned(`<default type='collection'/>`),
      'feature-not-implemented/unsupported:collections',
    ],
    // §8.4, §8.5
    ['others deleting', 'writer', 'set', owned(`<delete node='open'/>`), 'forbidden'],
    ['deleting a node that is not there', 'owner', 'set', owned(`<delete node='x'/>`), 'item-not-found'],
    ['others purging', 'member', 'set', owned(`<purge node='open'/>`), 'forbidden'],
    ['purging a node that is not there', 'owner', 'set', owned(`<purge node='x'/>`), 'item-not-found'],
    [
      'purging a node that keeps nothing',
      'owner',
      'set',
      owned(`<purge node='transient'/>`),
      'feature-not-implemented/unsupported:persistent-items',
    ],
    // §8.8, §8.9
    ['the subscriptions', 'owner', 'get', owned(`<subscriptions node='open'/>`), 'result'],
    ['the subscriptions for others', 'writer', 'get', owned(`<subscriptions node='open'/>`), 'forbidden'],
    [
      'the subscriptions of a node that is not there',
      'owner',
      'get',
      owned(`<subscriptions node='x'/>`),
      'item-not-found',
    ],
    ['others changing subscriptions', 'writer', 'set', owned(`<subscriptions node='open'/>`), 'forbidden'],
    [
      'a subscription in an odd state',
      'owner',
      'set',
      owned(`<subscriptions node='open'><subscription jid='member@hub.test' subscription='odd'/></subscriptions>`),
      'not-acceptable',
    ],
    ['the affiliations', 'owner', 'get', owned(`<affiliations node='open'/>`), 'result'],
    ['the affiliations for others', 'member', 'get', owned(`<affiliations node='open'/>`), 'forbidden'],
    [
      'the affiliations of a node that is not there',
      'owner',
      'get',
      owned(`<affiliations node='x'/>`),
      'item-not-found',
    ],
    [
      'others changing affiliations',
      'member',
      'set',
      owned(`<affiliations node='open'><affiliation jid='member@hub.test' affiliation='owner'/></affiliations>`),
      'forbidden',
    ],
    [
      'the last owner resigning',
      'owner',
      'set',
      owned(`<affiliations node='open'><affiliation jid='owner@hub.test' affiliation='none'/></affiliations>`),
      'not-acceptable',
    ],
    [
      'an odd affiliation',
      'owner',
      'set',
      owned(`<affiliations node='open'><affiliation jid='member@hub.test' affiliation='king'/></affiliations>`),
      'not-acceptable',
    ],
    [
      'two affiliations for one',
      'owner',
      'set',
      owned(
        `<affiliations node='open'><affiliation jid='a@b' affiliation='member'/><affiliation jid='a@b' affiliation='owner'/></affiliations>`,
      ),
      'bad-request',
    ],
    // Service discovery.
    ['discovery', 'foreigner', 'get', `<query xmlns='${ns.discoInfo}'/>`, 'result'],
    ['discovery of a node', 'foreigner', 'get', `<query xmlns='${ns.discoInfo}' node='open'/>`, 'result'],
    [
      'discovery of a node that is not there',
      'foreigner',
      'get',
      `<query xmlns='${ns.discoInfo}' node='x'/>`,
      'item-not-found',
    ],
    [
      'discovery of a node that is closed',
      'foreigner',
      'get',
      `<query xmlns='${ns.discoInfo}' node='whitelist'/>`,
      'not-allowed/closed-node',
    ],
    [
      'items of a node that is not there',
      'foreigner',
      'get',
      `<query xmlns='${ns.discoItems}' node='x'/>`,
      'item-not-found',
    ],
    ['something else', 'foreigner', 'get', `<query xmlns='jabber:iq:roster'/>`, 'service-unavailable'],
  ];
  /** The type that the examples of the specification have beside a condition. */
  const typeOf = (what: string, expected: string): ErrorType => {
    const [condition, more] = expected.split('/');
    if (more === 'not-subscribed' && condition === 'unexpected-request') {
      return what.startsWith('options') ? 'modify' : 'cancel';
    }
    return stanzaConditions[condition as StanzaCondition];
  };
  for (const [what, who, type, xml, expected] of cases) {
    it(`answers ${what} with ${expected}`, async () => {
      const answer = await ask(who, type, xml);
      assert.equal(conditionOf(answer), expected);
      if (expected !== 'result') assert.equal(answer.child('error')?.attrs.type, typeOf(what, expected));
    });
  }

  it('tells what changed in part', async () => {
    const answer = await ask(
      'owner',
      'set',
      owned(`<affiliations node='open'>
        <affiliation jid='owner@hub.test' affiliation='none'/><affiliation jid='new@hub.test' affiliation='publish-only'/></affiliations>`),
    );
    assert.equal(conditionOf(answer), 'not-acceptable');
    const rest = answer.child('pubsub', ns.pubsubOwner)?.child('affiliations')?.all() ?? [];
    assert.deepEqual(
      rest.map(({ attrs }) => attrs),
      [{ jid: 'owner@hub.test', affiliation: 'owner' }],
    );
    const now = await ask('owner', 'get', owned(`<affiliations node='open'/>`));
    const listed = now.child('pubsub', ns.pubsubOwner)?.child('affiliations')?.all() ?? [];
    assert.ok(listed.some(({ attrs }) => attrs.jid === 'new@hub.test' && attrs.affiliation === 'publish-only'));
  });

  it('asks owners about subscriptions, and does what they say', async () => {
    await people.owner.receives(e => e.name === 'message' && e.child('x', ns.data) !== null);
    const pending = await ask('owner', 'get', `<query xmlns='${ns.discoItems}' node='${ns.commands}'/>`);
    assert.equal(pending.child('query', ns.discoItems)?.all().length, 1);
    const command = `${ns.pubsub}#get-pending`;
    const first = await ask('owner', 'set', `<command xmlns='${ns.commands}' node='${command}'/>`);
    const { sessionid } = first.child('command', ns.commands)!.attrs;
    const second = `<command xmlns='${ns.commands}' node='${command}' sessionid='${sessionid}'>`;
    await ask(
      'owner',
      'set',
      `${second}${form(`${ns.pubsub}#subscribe_authorization`, { node: 'authorize' })}</command>`,
    );
    const question = await people.owner.receives(e => e.name === 'message' && e.child('x', ns.data) !== null);
    const answer = (who: string, allow: string) =>
      people[who].sends(
        `<message to='${at}' id='${question.attrs.id}'>${form(`${ns.pubsub}#subscribe_authorization`, {
          node: 'authorize',
          subscriber_jid: 'reader@hub.test',
          allow,
        })}</message>`,
      );
    await answer('reader', 'true');
    await people.reader.hasNot(e => eventOf(e)?.attrs.node === 'authorize');
    await answer('owner', '1');
    const told = await people.reader.receives(e => eventOf(e)?.name === 'subscription');
    assert.equal(eventOf(told)?.attrs.subscription, 'subscribed');
    assert.equal(eventOf(await hearsOf(people.reader, 'authorize'))?.child('item')?.attrs.id, 'one');
    assert.equal(conditionOf(await ask('reader', 'get', asked(`<items node='authorize'/>`))), 'result');
  });

  it('tells subscribers of what is published, retracted, purged, configured and deleted', async () => {
    await create('news', { notify_config: '1', max_items: '2', notify_sub: '1' });
    const subscribed = await ask('reader', 'set', asked(`<subscribe node='news' jid='${people.reader.jid}'/>`));
    assert.equal(subscribed.child('pubsub', ns.pubsub)?.child('subscription')?.attrs.subscription, 'subscribed');
    assert.equal(eventOf(await hearsOf(people.owner, 'news'))?.attrs.jid, people.reader.jid);
    const next = async () => eventOf(await hearsOf(people.reader, 'news'))!;
    await publish('owner', 'news', '1');
    assert.ok((await next()).child('item')?.child('entry', 'urn:entry'));
    await publish('owner', 'news', '2');
    await publish('owner', 'news', '3');
    assert.equal((await next()).child('item')?.attrs.id, '2');
    assert.equal((await next()).child('item')?.attrs.id, '3');
    assert.equal((await next()).child('retract')?.attrs.id, '1');
    await ask('owner', 'set', asked(`<retract node='news'><item id='2'/></retract>`));
    assert.equal((await next()).child('retract')?.attrs.id, '2');
    await ask('owner', 'set', owned(`<configure node='news'>${form(config, { deliver_payloads: '0' })}</configure>`));
    assert.deepEqual((await next()).name, 'configuration');
    await publish('owner', 'news', '4');
    assert.equal((await next()).child('item')?.children.length, 0);
    await ask('owner', 'set', owned(`<purge node='news'/>`));
    assert.equal((await next()).name, 'purge');
    await ask('owner', 'set', owned(`<delete node='news'><redirect uri='xmpp:elsewhere.test'/></delete>`));
    assert.equal((await next()).child('redirect')?.attrs.uri, 'xmpp:elsewhere.test');
  });

  it('gives items in pages, the newest first', async () => {
    await create('many', { max_items: 'max' });
    for (let i = 1; i <= 7; i++) await publish('owner', 'many', `i${i}`);
    const page = async (set: string, attrs = '') => {
      const answer = await ask(
        'reader',
        'get',
        asked(`<items node='many'${attrs}/>${set && `<set xmlns='${ns.resultSet}'>${set}</set>`}`),
      );
      const pubsub = answer.child('pubsub', ns.pubsub)!;
      const info = pubsub.child('set', ns.resultSet);
      return [
        pubsub
          .child('items')!
          .all()
          .map(({ attrs: { id } }) => id)
          .join(' '),
        info
          ? `${info.child('first')?.attrs.index ?? ''} ${info.childText('last')} of ${info.childText('count')}`.trim()
          : '',
      ];
    };
    assert.deepEqual(await page(''), ['i7 i6 i5 i4 i3 i2 i1', '']);
    assert.deepEqual(await page('', ` max_items='2'`), ['i7 i6', '']);
    assert.deepEqual(await page('<max>3</max>'), ['i7 i6 i5', '0 i5 of 7']);
    assert.deepEqual(await page('<max>3</max><after>i5</after>'), ['i4 i3 i2', '3 i2 of 7']);
    assert.deepEqual(await page('<max>3</max><after>i2</after>'), ['i1', '6 i1 of 7']);
    assert.deepEqual(await page('<max>3</max><before/>'), ['i3 i2 i1', '4 i1 of 7']);
    assert.deepEqual(await page('<max>3</max><before>i3</before>'), ['i6 i5 i4', '1 i4 of 7']);
    assert.deepEqual(await page('<max>2</max><index>4</index>'), ['i3 i2', '4 i2 of 7']);
    assert.deepEqual(await page('<max>0</max>'), ['', 'of 7']);
    // The page ends where its last item is, whichever of the two bounds it.
    assert.deepEqual(await page('<max>3</max>', ` max_items='2'`), ['i7 i6', '0 i6 of 7']);
    assert.deepEqual(await page('<max>3</max><before/>', ` max_items='2'`), ['i2 i1', '5 i1 of 7']);
  });

  it('says nothing of nodes that are closed to those who look', async () => {
    const list = async (who: string) =>
      (await ask(who, 'get', `<query xmlns='${ns.discoItems}'/>`))
        .child('query', ns.discoItems)!
        .all()
        .map(i => i.attrs.node);
    assert.ok((await list('member')).includes('whitelist'));
    assert.ok(!(await list('foreigner')).includes('whitelist'));
    assert.ok(!(await list('outcast')).includes('open'));
    const services = await people.owner.asks('get', `<query xmlns='${ns.discoItems}'/>`, 'hub.test');
    assert.deepEqual(
      services
        .child('query', ns.discoItems)
        ?.all()
        .map(i => i.attrs.jid),
      [at],
    );
  });
});
