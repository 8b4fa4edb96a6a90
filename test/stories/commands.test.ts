// Ad-hoc commands at the domain: discovery of the list and of one, and the errors of requests gone wrong (XEP-0050).
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const admin = 'http://jabber.org/protocol/admin#';

/** The condition of an error, with the application's own behind it. */
function conditions(answer: Element): string {
  const error = answer.child('error');
  return (error?.all() ?? [])
    .filter(one => one.name !== 'text')
    .map(one => one.name)
    .join(' ');
}

describe('ad-hoc commands of the domain', () => {
  let hub: TestHub;
  let bard: Client;
  let juliet: Client;
  before(async () => {
    hub = await startTestHub('{ hub.test: { admins: [bard@hub.test] } }');
    bard = await hub.client('bard@hub.test');
    juliet = await hub.client('juliet@hub.test');
  });
  after(() => hub.close());

  const discoItems = (client: Client, node: string) =>
    client.asks('get', `<query xmlns='${ns.discoItems}' node='${node}'/>`, 'hub.test');
  const discoInfo = (client: Client, node: string) =>
    client.asks('get', `<query xmlns='${ns.discoInfo}' node='${node}'/>`, 'hub.test');
  const command = (client: Client, attributes: string, inner = '') =>
    client.asks('set', `<command xmlns='${ns.commands}' ${attributes}>${inner}</command>`, 'hub.test');

  it('are announced as a feature', async () => {
    const info = await juliet.asks('get', `<query xmlns='${ns.discoInfo}'/>`, 'hub.test');
    const features = info.child('query', ns.discoInfo)!.all('feature');
    assert.ok(features.some(feature => feature.attrs.var === ns.commands));
  });

  it('are listed to those who may run them', async () => {
    const mine = (await discoItems(bard, ns.commands)).child('query', ns.discoItems)!;
    assert.equal(mine.attrs.node, ns.commands);
    assert.ok(mine.all('item').every(({ attrs }) => attrs.jid === 'hub.test' && attrs.node && attrs.name));
    assert.ok(mine.all('item').some(({ attrs }) => attrs.node === `${admin}add-user`));
    const theirs = (await discoItems(juliet, ns.commands)).child('query', ns.discoItems)!;
    assert.deepEqual(theirs.all('item'), []);
  });

  it('tell what they are, and that they are not for everybody', async () => {
    const list = (await discoInfo(bard, ns.commands)).child('query', ns.discoInfo)!;
    assert.equal(list.child('identity')?.attrs.type, 'command-list');
    const one = (await discoInfo(bard, `${admin}add-user`)).child('query', ns.discoInfo)!;
    const { category, type, name } = one.child('identity')!.attrs;
    assert.deepEqual({ category, type, name }, { category: 'automation', type: 'command-node', name: 'Add User' });
    assert.deepEqual(
      one.all('feature').map(feature => feature.attrs.var),
      [ns.commands, ns.data],
    );
    assert.equal(conditions(await discoInfo(juliet, `${admin}add-user`)), 'forbidden');
    assert.equal(conditions(await discoInfo(bard, 'no-such-node')), 'item-not-found');
    assert.equal(conditions(await discoItems(bard, 'no-such-node')), 'item-not-found');
    assert.deepEqual((await discoItems(bard, `${admin}add-user`)).child('query', ns.discoItems)?.all(), []);
  });

  it('refuse what XEP-0050 §4.4 lists', async () => {
    const node = `node='${admin}add-user'`;
    assert.equal(conditions(await command(juliet, node)), 'forbidden');
    assert.equal(conditions(await command(bard, "node='nothing'")), 'item-not-found');
    assert.equal(conditions(await command(bard, `node='${admin}make-coffee'`)), 'feature-not-implemented');
    assert.equal(conditions(await command(bard, `${node} action='dance'`)), 'bad-request malformed-action');
    assert.equal(conditions(await command(bard, `${node} action='complete'`)), 'bad-request bad-action');
    assert.equal(conditions(await command(bard, `${node} sessionid='made-up'`)), 'bad-request bad-sessionid');
    const begun = (await command(bard, node)).child('command', ns.commands)!;
    const session = `${node} sessionid='${begun.attrs.sessionid}'`;
    assert.equal(conditions(await command(bard, `${session} action='prev'`)), 'bad-request bad-action');
    assert.equal(conditions(await command(bard, `${session} action='next'`)), 'bad-request bad-action');
    assert.equal(conditions(await command(bard, `${session} action='complete'`)), 'bad-request bad-payload');
    assert.equal(conditions(await command(juliet, session)), 'forbidden');
  });

  it('begin with a form, and can be cancelled', async () => {
    const begun = (await command(bard, `node='${admin}add-user' action='execute'`)).child('command', ns.commands)!;
    assert.equal(begun.attrs.status, 'executing');
    const actions = begun.child('actions')!;
    assert.equal(actions.attrs.execute, 'complete');
    assert.deepEqual(
      actions.all().map(one => one.name),
      ['complete'],
    );
    const { sessionid, node } = begun.attrs;
    const over = await command(bard, `node='${node}' sessionid='${sessionid}' action='cancel'`);
    assert.deepEqual(over.child('command', ns.commands)?.attrs, { node, sessionid, status: 'canceled' });
    const again = await command(bard, `node='${node}' sessionid='${sessionid}' action='cancel'`);
    assert.equal(conditions(again), 'not-allowed session-expired');
  });
});
