// What a domain tells its users: announcements by command and by message, standing messages, and the greeting.
import assert from 'node:assert/strict';
import { ns } from '../../src/xmpp/namespaces.ts';
import { refusal, runs } from '../support/administration.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const yaml = `
  hub.test: { admins: [bard@hub.test], greeting: Mind the gap. }
  other.test: { admins: [bard@hub.test] }
  third.test: { modules: { announcements: false } }
`;

describe('announcements', () => {
  let hub: TestHub;
  let bard: Client;
  let juliet: Client;
  before(async () => {
    hub = await startTestHub(yaml, { yaml: 'cross-domain: { policy: open }' });
    bard = await hub.client('bard@hub.test');
    juliet = await hub.client('juliet@hub.test');
  });
  after(() => hub.close());

  const announce = (to: string, body: string, subject = '') =>
    bard.sends(`<message to='${to}' id='a'><subject>${subject}</subject><body>${body}</body></message>`);

  it('greet every client that logs in', async () => {
    const greeting = await juliet.hears('Mind the gap.');
    assert.deepEqual([greeting.attrs.from, greeting.attrs.type], ['hub.test', 'headline']);
  });

  it('reach those who are online, with their subject', async () => {
    await announce('hub.test/announce/online', 'The curtain rises.', 'Tonight');
    const heard = await juliet.hears('The curtain rises.');
    assert.equal(heard.childText('subject'), 'Tonight');
    assert.equal(heard.attrs.from, 'hub.test');
    await bard.hears('The curtain rises.');
    await runs(bard, 'announce', { announcement: ['Two lines', 'of verse'] });
    await juliet.hears('Two lines\nof verse');
  });

  it('wait for those who are away, where they are for all', async () => {
    await (await hub.client('romeo@hub.test')).close();
    await announce('hub.test/announce/all', 'To everybody');
    await juliet.hears('To everybody');
    const romeo = await hub.client('romeo@hub.test');
    const late = await romeo.hears('To everybody');
    assert.ok(late.child('delay', ns.delay));
    await runs(bard, 'announce-all', { announcement: 'To all again' });
    await romeo.hears('To all again');
    await romeo.close();
  });

  it('are shown once as the message of the day, to whoever comes until it is deleted', async () => {
    await announce('hub.test/announce/motd', 'Closed on Monday');
    await juliet.hears('Closed on Monday');
    const first = await hub.client('romeo@hub.test');
    await first.hears('Closed on Monday');
    await first.close();
    await announce('hub.test/announce/motd/update', 'Closed on Tuesday');
    const second = await hub.client('romeo@hub.test');
    await second.hears('Mind the gap.');
    await second.hasNot(element => element.childText('body').startsWith('Closed'));
    const paris = await hub.client('paris@hub.test');
    await paris.hears('Closed on Tuesday');
    const form = await bard.asks(
      'set',
      `<command xmlns='${ns.commands}' node='${ns.administration}#edit-motd'/>`,
      'hub.test',
    );
    assert.match(String(form), /Closed on Tuesday/);
    await announce('hub.test/announce/motd/delete', '');
    await runs(bard, 'delete-motd');
    const nurse = await hub.client('nurse@hub.test');
    await nurse.hears('Mind the gap.');
    await nurse.hasNot(element => element.childText('body').startsWith('Closed'));
    await Promise.all([second, paris, nurse].map(client => client.close()));
  });

  it('welcome somebody who logs in for the first time', async () => {
    await runs(bard, 'set-welcome', { welcome: 'Welcome to Verona' });
    const once = await hub.client('tybalt@hub.test');
    await once.hears('Welcome to Verona');
    await once.close();
    const again = await hub.client('tybalt@hub.test');
    await again.hears('Mind the gap.');
    await again.hasNot(element => element.childText('body').startsWith('Welcome'));
    await again.close();
    await runs(bard, 'delete-welcome');
  });

  it('are for admins, at addresses that there are', async () => {
    const refused = async (client: Client, to: string, body = '<body>x</body>') => {
      await client.sends(`<message to='${to}' id='no'>${body}</message>`);
      return refusal(await client.receives(element => element.attrs.id === 'no'));
    };
    assert.equal(await refused(juliet, 'hub.test/announce/online'), 'forbidden');
    assert.equal(await refused(bard, 'hub.test/announce/nobody'), 'item-not-found');
    assert.equal(await refused(bard, 'hub.test/announce/online', ''), 'bad-request');
    assert.equal(await refused(bard, 'third.test/announce/online'), 'service-unavailable');
    assert.equal(await refused(juliet, 'hub.test'), 'service-unavailable');
    assert.equal(await refused(juliet, 'hub.test/elsewhere'), 'service-unavailable');
  });

  it('go to all domains from somebody who administers them all', async () => {
    const othello = await hub.client('othello@other.test');
    await announce('hub.test/announce/all-hosts/online', 'Everywhere');
    await othello.hears('Everywhere');
    await juliet.hears('Everywhere');
    hub.hub.config.domains.get('other.test')!.admins.length = 0;
    await announce('hub.test/announce/all-hosts/online', 'Nowhere');
    const answer = await bard.receives(element => element.attrs.type === 'error');
    assert.equal(refusal(answer), 'forbidden');
    await othello.close();
  });
});
