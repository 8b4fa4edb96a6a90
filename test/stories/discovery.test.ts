// Service discovery, question by question: of the domain, of accounts and of their nodes, for friends and strangers (XEP-0030).
import assert from 'node:assert/strict';
import { verification } from '../../src/modules/caps.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf, eventOf, form } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { Component } from '../support/component.ts';
import { sees } from '../support/friends.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const offline = 'urn:isthmus:offline:0';
const secret = 'a secret of the component';

describe('service discovery', () => {
  let hub: TestHub;
  const people: Record<string, Client> = {};
  before(async () => {
    hub = await startTestHub(['hub.test'], {
      yaml: `components: { push.hub.test: { secret: ${secret} }, other.hub.test: { secret: ${secret} } }`,
      listen: { component: '127.0.0.1:0' },
    });
    for (const name of ['owner', 'friend', 'stranger']) people[name] = await hub.client(`${name}@hub.test`);
    await sees(people.friend, people.owner);
    for (const [node, model] of Object.entries({ open: 'open', shared: 'presence', own: 'whitelist' })) {
      const options = form(`${ns.pubsub}#publish-options`, { access_model: model });
      await people.owner.asks(
        'set',
        `<pubsub xmlns='${ns.pubsub}'><publish node='${node}'><item id='i'><x xmlns='urn:x'/></item></publish>
         <publish-options>${options}</publish-options></pubsub>`,
      );
    }
  });
  after(() => hub.close());

  const cases: [string, string, string, 'info' | 'items', string | null, string][] = [
    ['the domain', 'stranger', 'hub.test', 'info', null, 'result'],
    ['the domain', 'stranger', 'hub.test', 'items', null, 'result'],
    ['an unknown node of the domain', 'stranger', 'hub.test', 'info', 'nothing', 'item-not-found'],
    ['an unknown node of the domain', 'stranger', 'hub.test', 'items', 'nothing', 'item-not-found'],
    ['an empty node of the domain', 'stranger', 'hub.test', 'info', '', 'result'],
    ['oneself', 'owner', 'owner@hub.test', 'info', null, 'result'],
    ['a friend', 'friend', 'owner@hub.test', 'info', null, 'result'],
    ['a stranger', 'stranger', 'owner@hub.test', 'info', null, 'service-unavailable'],
    ['nobody', 'stranger', 'nobody@hub.test', 'info', null, 'service-unavailable'],
    ['an unknown node of one’s own', 'owner', 'owner@hub.test', 'info', 'nothing', 'item-not-found'],
    ['an unknown node of a friend', 'friend', 'owner@hub.test', 'info', 'nothing', 'item-not-found'],
    ['an unknown node of a stranger', 'stranger', 'owner@hub.test', 'info', 'nothing', 'service-unavailable'],
    ['a node of nobody', 'stranger', 'nobody@hub.test', 'info', 'open', 'service-unavailable'],
    ['an open node of a stranger', 'stranger', 'owner@hub.test', 'info', 'open', 'result'],
    ['a shared node of a stranger', 'stranger', 'owner@hub.test', 'info', 'shared', 'service-unavailable'],
    ['a shared node of a friend', 'friend', 'owner@hub.test', 'info', 'shared', 'result'],
    ['a friend’s own node', 'friend', 'owner@hub.test', 'info', 'own', 'not-allowed/closed-node'],
    ['a node of one’s own', 'owner', 'owner@hub.test', 'info', 'own', 'result'],
    ['nobody', 'stranger', 'nobody@hub.test', 'items', null, 'result'],
    ['an unknown node of nobody', 'stranger', 'nobody@hub.test', 'items', 'nothing', 'result'],
    ['an unknown node of a stranger', 'stranger', 'owner@hub.test', 'items', 'nothing', 'result'],
    ['an unknown node of a friend', 'friend', 'owner@hub.test', 'items', 'nothing', 'item-not-found'],
  ];
  for (const [what, who, to, kind, node, expected] of cases) {
    it(`answers ${who} asking for the ${kind} of ${what} with ${expected}`, async () => {
      const attr = node === null ? '' : ` node='${node}'`;
      const space = kind === 'info' ? ns.discoInfo : ns.discoItems;
      const answer = await people[who].asks('get', `<query xmlns='${space}'${attr}/>`, to);
      assert.equal(conditionOf(answer), expected);
      if (expected === 'result') assert.equal(answer.child('query', space)?.attrs.node, node || undefined);
    });
  }

  it('says in its stream features what it would answer', async () => {
    const c = people.owner.features.child('c', ns.caps)!;
    assert.equal(c.attrs.hash, 'sha-1');
    for (const node of ['', ` node='${c.attrs.node}#${c.attrs.ver}'`]) {
      const answer = await people.owner.asks('get', `<query xmlns='${ns.discoInfo}'${node}/>`, 'hub.test');
      assert.equal(verification(answer.child('query', ns.discoInfo)!, 'sha-1'), c.attrs.ver);
    }
  });

  it('refuses to be set', async () => {
    const answer = await people.owner.asks('set', `<query xmlns='${ns.discoInfo}'/>`, 'hub.test');
    assert.equal(conditionOf(answer), 'not-allowed');
  });

  it('lists the nodes of an account that may be read', async () => {
    const nodes = async (who: string) =>
      (await people[who].asks('get', `<query xmlns='${ns.discoItems}'/>`, 'owner@hub.test'))
        .child('query', ns.discoItems)!
        .all()
        .filter(({ attrs }) => attrs.jid === 'owner@hub.test')
        .map(({ attrs }) => attrs.node);
    assert.deepEqual(await nodes('owner'), ['open', 'shared', 'own']);
    assert.deepEqual(await nodes('friend'), ['open', 'shared']);
    assert.deepEqual(await nodes('stranger'), ['open']);
  });

  it('lists the available resources of an account to those who see its presence', async () => {
    const second = await hub.client('owner@hub.test');
    const quiet = await hub.client('owner@hub.test', { quiet: true });
    const devices = async (who: string, to = 'owner@hub.test') =>
      (await people[who].asks('get', `<query xmlns='${ns.discoItems}'/>`, to))
        .child('query', ns.discoItems)!
        .all()
        .filter(({ attrs }) => attrs.jid.includes('/'))
        .map(({ attrs }) => attrs.jid);
    for (const who of ['owner', 'friend']) assert.deepEqual(await devices(who), [people.owner.jid, second.jid]);
    assert.deepEqual(await devices('stranger'), []);
    // That the owner is seen does not mean that it sees.
    assert.deepEqual(await devices('owner', 'friend@hub.test'), []);
    await second.close();
    await quiet.close();
  });

  it('says what a node is, and names its items', async () => {
    const info = await people.friend.asks('get', `<query xmlns='${ns.discoInfo}' node='shared'/>`, 'owner@hub.test');
    const query = info.child('query', ns.discoInfo);
    assert.deepEqual(query?.child('identity')?.attrs, { category: 'pubsub', type: 'leaf' });
    const fields = query?.child('x', ns.data)?.all('field') ?? [];
    const value = (name: string) => fields.find(({ attrs }) => attrs.var === name)?.childText('value');
    assert.equal(value('FORM_TYPE'), `${ns.pubsub}#meta-data`);
    assert.equal(value('pubsub#access_model'), 'presence');
    assert.equal(value('pubsub#owner'), 'owner@hub.test');
    const items = await people.friend.asks('get', `<query xmlns='${ns.discoItems}' node='shared'/>`, 'owner@hub.test');
    assert.deepEqual(
      items
        .child('query', ns.discoItems)
        ?.all()
        .map(({ attrs }) => attrs),
      [{ jid: 'owner@hub.test', name: 'i' }],
    );
  });

  it('says that an account is a pubsub service', async () => {
    const info = await people.owner.asks('get', `<query xmlns='${ns.discoInfo}'/>`);
    const query = info.child('query', ns.discoInfo);
    const identities = query?.all('identity').map(({ attrs }) => `${attrs.category}/${attrs.type}`);
    assert.deepEqual(identities, ['account/registered', 'pubsub/pep']);
    const features = query?.all('feature').map(({ attrs }) => attrs.var) ?? [];
    for (const name of ['auto-create', 'auto-subscribe', 'filtered-notifications', 'publish-options', 'rsm']) {
      assert.ok(features.includes(`${ns.pubsub}#${name}`), name);
    }
    assert.equal(new Set(features).size, features.length);
  });

  describe('the node of kept messages', () => {
    const at = 'pubsub.hub.test';
    const subscribe = (jid: string) =>
      `<pubsub xmlns='${ns.pubsub}'><subscribe node='${offline}' jid='${jid}'/></pubsub>`;

    it('tells components of messages for users who are away, and not what they say', async () => {
      const push = await new Component('push.hub.test').open(hub.listening.component[0].port, secret);
      const other = await new Component('other.hub.test').open(hub.listening.component[0].port, secret);
      assert.equal(conditionOf(await push.asks('set', subscribe('push.hub.test'), at)), 'result');
      assert.equal(conditionOf(await push.asks('set', subscribe('other.hub.test'), at)), 'bad-request/invalid-jid');
      await people.stranger.close();
      for (const body of ['first', 'second']) {
        await people.owner.sends(`<message to='stranger@hub.test' type='chat'><body>${body}</body></message>`);
      }
      const notices = [];
      for (let i = 0; i < 2; i++) notices.push(await push.receives(e => eventOf(e)?.attrs.node === offline));
      for (const [i, notice] of notices.entries()) {
        const told = eventOf(notice)?.child('item')?.child('offline', offline);
        assert.equal(told?.attrs.jid, 'stranger@hub.test');
        const fields = told
          ?.child('x', ns.data)
          ?.all('field')
          .map(field => [field.attrs.var, field.childText('value')]);
        assert.deepEqual(fields, [
          ['FORM_TYPE', 'urn:xmpp:push:summary'],
          ['message-count', String(i + 1)],
          ['last-message-sender', people.owner.jid],
        ]);
        assert.ok(!String(notice).includes('first'));
      }
      assert.equal(other.inbox.length, 0);
      push.close();
      other.close();
    });

    it('lets in nobody else', async () => {
      const client = people.friend;
      assert.equal(conditionOf(await client.asks('set', subscribe('friend@hub.test'), at)), 'not-allowed/closed-node');
      const publish = `<pubsub xmlns='${ns.pubsub}'><publish node='${offline}'><item><x xmlns='urn:x'/></item></publish></pubsub>`;
      assert.equal(conditionOf(await client.asks('set', publish, at)), 'forbidden');
      const configure = `<pubsub xmlns='${ns.pubsubOwner}'><configure node='${offline}'/></pubsub>`;
      assert.equal(conditionOf(await client.asks('get', configure, at)), 'forbidden');
      const remove = `<pubsub xmlns='${ns.pubsubOwner}'><delete node='${offline}'/></pubsub>`;
      assert.equal(conditionOf(await client.asks('set', remove, at)), 'forbidden');
    });
  });
});
