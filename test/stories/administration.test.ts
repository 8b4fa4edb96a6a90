// An administrator at work over XMPP: users, lists, access, messages and the service itself (XEP-0133).
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { formValues } from '../../src/xmpp/form.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { refusal, runs } from '../support/administration.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const yaml = "{ hub.test: { admins: [bard@hub.test], greeting: 'Mind the gap.' }, other.test: {} }";

function result(answer: Element): Record<string, readonly string[]> {
  assert.equal(answer.attrs.type, 'result', String(answer));
  const command = answer.child('command', ns.commands)!;
  assert.equal(command.attrs.status, 'completed');
  const form = command.child('x', ns.data);
  return form ? Object.fromEntries(formValues(form)) : {};
}

describe('administration over XMPP', () => {
  let hub: TestHub;
  let bard: Client;
  before(async () => {
    hub = await startTestHub(yaml, { yaml: 'cross-domain: { policy: open }' });
    bard = await hub.client('bard@hub.test');
  });
  after(() => hub.close());

  it('adds a user, who can log in, and no second one of that name', async () => {
    const values = {
      accountjid: 'rosaline@hub.test',
      password: 'her own',
      'password-verify': 'her own',
      email: 'rosaline@mail.test',
      given_name: 'Rosaline',
      surname: 'Capulet',
    };
    result(await runs(bard, 'add-user', values));
    const person = await hub.hub.directory('hub.test')!.find('rosaline');
    assert.deepEqual(person, {
      user: 'rosaline',
      name: 'Rosaline Capulet',
      mail: 'rosaline@mail.test',
      mobile: undefined,
    });
    const rosaline = await hub.client('rosaline@hub.test', { password: 'her own' });
    await rosaline.close();
    assert.equal(refusal(await runs(bard, 'add-user', values)), 'conflict');
  });

  it('refuses forms that are filled in wrongly', async () => {
    const user = { accountjid: 'iago@hub.test', password: 'x' };
    assert.equal(refusal(await runs(bard, 'add-user', { ...user, 'password-verify': 'y' })), 'bad-request');
    assert.equal(refusal(await runs(bard, 'add-user', { ...user, password: '' })), 'bad-request');
    assert.equal(refusal(await runs(bard, 'add-user', { ...user, accountjid: '@@' })), 'jid-malformed');
    assert.equal(refusal(await runs(bard, 'add-user', { ...user, accountjid: 'iago@other.test' })), 'not-allowed');
    assert.equal(refusal(await runs(bard, 'add-user', { ...user, accountjid: 'hub.test' })), 'bad-request');
    assert.equal(refusal(await runs(bard, 'delete-user', {})), 'bad-request');
    assert.equal(refusal(await runs(bard, 'delete-user', { accountjids: 'nobody@hub.test' })), 'item-not-found');
    assert.equal(refusal(await runs(bard, 'get-user-roster', { accountjids: 'nobody@hub.test' })), 'item-not-found');
    const nobody = { accountjid: 'nobody@hub.test', password: 'x' };
    assert.equal(refusal(await runs(bard, 'change-user-password', nobody)), 'item-not-found');
  });

  it('is refused at a domain that somebody does not administer', async () => {
    assert.equal(refusal(await runs(bard, 'get-registered-users-num', {}, 'other.test')), 'forbidden');
    assert.equal(refusal(await runs(bard, 'shutdown')), 'forbidden');
  });

  it('changes a password', async () => {
    await hub.accounts.add('paris@hub.test', 'before');
    result(await runs(bard, 'change-user-password', { accountjid: 'paris@hub.test', password: 'behind' }));
    await assert.rejects(hub.client('paris@hub.test', { password: 'before' }), /not-authorized/);
    await (await hub.client('paris@hub.test', { password: 'behind' })).close();
  });

  it('disables a user, who is thrown out and kept out, and lets him in again', async () => {
    const tybalt = await hub.client('tybalt@hub.test');
    result(await runs(bard, 'disable-user', { accountjids: ['tybalt@hub.test'] }));
    assert.equal((await tybalt.ends()).error?.condition, 'not-authorized');
    await assert.rejects(hub.client('tybalt@hub.test'), /account-disabled/);
    assert.deepEqual(result(await runs(bard, 'get-disabled-users-num')).disabledusersnum, ['1']);
    const listed = result(await runs(bard, 'get-disabled-users-list', { max_items: '25' }));
    assert.deepEqual(listed.disableduserjids, ['tybalt@hub.test']);
    result(await runs(bard, 'reenable-user', { accountjids: ['tybalt@hub.test'] }));
    await (await hub.client('tybalt@hub.test')).close();
  });

  it('ends one session, or all of a user', async () => {
    const [here, there] = await Promise.all(
      ['here', 'there'].map(resource => hub.client('mercutio@hub.test', { resource })),
    );
    result(await runs(bard, 'end-user-session', { accountjids: 'mercutio@hub.test/here' }));
    await here.ends();
    await there.hasNot(element => element.name === 'stream:error');
    result(await runs(bard, 'end-user-session', { accountjids: 'mercutio@hub.test' }));
    await there.ends();
    assert.equal(refusal(await runs(bard, 'end-user-session', { accountjids: 'mercutio@hub.test' })), 'item-not-found');
  });

  it('shows rosters, last logins and statistics', async () => {
    const juliet = await hub.client('juliet@hub.test', { resource: 'balcony' });
    await juliet.asks('set', `<query xmlns='${ns.roster}'><item jid='nurse@hub.test' name='Nurse'/></query>`);
    const roster = await runs(bard, 'get-user-roster', { accountjids: 'juliet@hub.test' });
    const query = roster.child('command', ns.commands)?.child('x', ns.data)?.child('query', ns.roster);
    assert.deepEqual(
      query?.all('item').map(item => item.attrs.jid),
      ['nurse@hub.test'],
    );
    const { lastlogin } = result(await runs(bard, 'get-user-lastlogin', { accountjids: 'juliet@hub.test' }));
    assert.ok(Math.abs(Date.parse(lastlogin[0]) - Date.now()) < 60_000);
    const stats = result(await runs(bard, 'user-stats', { accountjid: 'juliet@hub.test' }));
    assert.deepEqual([stats.rostersize, stats.onlineresources], [['1'], ['balcony']]);
    await juliet.close();
  });

  it('counts and lists users: registered, online, active and idle', async () => {
    const romeo = await hub.client('romeo@hub.test');
    await romeo.sends('<presence><show>xa</show></presence>');
    await romeo.receives(element => element.name === 'presence' && element.childText('show') === 'xa');
    const number = async (name: string) => Object.values(result(await runs(bard, `get-${name}-users-num`))).at(-1)?.[0];
    const list = async (node: string) => Object.values(result(await runs(bard, node, { max_items: 'none' }))).at(-1);
    assert.deepEqual(await Promise.all(['online', 'active', 'idle'].map(number)), ['2', '1', '1']);
    assert.deepEqual(await list('get-active-users'), ['bard@hub.test']);
    assert.deepEqual(await list('get-idle-users'), ['romeo@hub.test']);
    assert.deepEqual((await list('get-online-users-list'))?.toSorted(), ['bard@hub.test', 'romeo@hub.test']);
    const registered = await list('get-registered-users-list');
    assert.equal(await number('registered'), String(registered?.length));
    assert.ok(registered?.includes('juliet@hub.test'));
    assert.equal(refusal(await runs(bard, 'get-registered-users-list', { max_items: 'many' })), 'bad-request');
    await romeo.close();
  });

  it('deletes a user with everything that was kept for her', async () => {
    const juliet = await hub.client('juliet@hub.test');
    result(await runs(bard, 'delete-user', { accountjids: ['juliet@hub.test'] }));
    assert.equal((await juliet.ends()).error?.condition, 'not-authorized');
    assert.equal(await hub.hub.directory('hub.test')!.find('juliet'), null);
    for (const table of ['roster_items', 'last_activity', 'greeted']) {
      const rows = hub.hub.store.prepare(`SELECT * FROM ${table} WHERE user = ?`).all('juliet@hub.test');
      assert.deepEqual(rows, [], table);
    }
  });

  it('keeps apart who is on the blacklist, and everybody who is not on a whitelist', async () => {
    const romeo = await hub.client('romeo@hub.test');
    const othello = await hub.client('othello@other.test');
    result(await runs(bard, 'edit-blacklist', { blacklistjids: ['othello@other.test'] }));
    await othello.sends("<message to='romeo@hub.test' id='b1'><body>hello</body></message>");
    assert.equal(refusal(await othello.receives(element => element.attrs.id === 'b1')), 'forbidden');
    await romeo.sends("<message to='othello@other.test' id='b2'><body>hello</body></message>");
    assert.equal(refusal(await romeo.receives(element => element.attrs.id === 'b2')), 'forbidden');
    assert.equal(refusal(await runs(bard, 'edit-blacklist', { blacklistjids: ['bard@hub.test'] })), 'not-allowed');
    result(await runs(bard, 'edit-blacklist', { blacklistjids: [] }));
    result(await runs(bard, 'edit-whitelist', { whitelistjids: ['friends.test'] }));
    await othello.sends("<message to='romeo@hub.test' id='w1'><body>hello</body></message>");
    assert.equal(refusal(await othello.receives(element => element.attrs.id === 'w1')), 'forbidden');
    result(await runs(bard, 'edit-whitelist', { whitelistjids: [] }));
    await othello.sends("<message to='romeo@hub.test'><body>at last</body></message>");
    await romeo.hears('at last');
    await Promise.all([romeo.close(), othello.close()]);
  });

  it('makes further admins, and keeps those whom the configuration names', async () => {
    const portia = await hub.client('portia@hub.test');
    assert.equal(refusal(await runs(portia, 'get-online-users-num')), 'forbidden');
    result(await runs(bard, 'edit-admin', { adminjids: ['bard@hub.test', 'portia@hub.test'] }));
    assert.ok(result(await runs(portia, 'get-online-users-num')).onlineusersnum);
    assert.equal(refusal(await runs(portia, 'edit-admin', { adminjids: ['portia@hub.test'] })), 'not-allowed');
    result(await runs(bard, 'edit-admin', { adminjids: ['bard@hub.test'] }));
    assert.equal(refusal(await runs(portia, 'get-online-users-num')), 'forbidden');
    await portia.close();
  });

  it('restarts and shuts down where every domain is administered, and something can', async () => {
    const all = ['bard@hub.test'];
    const admins = (domain: string) => hub.hub.config.domains.get(domain)!.admins;
    admins('other.test').push(...all);
    assert.equal(refusal(await runs(bard, 'shutdown', { delay: '0' })), 'internal-server-error');
    const ended = new Promise(resolve => {
      hub.hub.ending = resolve;
    });
    assert.equal(refusal(await runs(bard, 'restart', { delay: 'soon' })), 'bad-request');
    result(await runs(bard, 'restart', { delay: '0', announcement: ['Back', 'soon'] }));
    await bard.hears('Back\nsoon');
    assert.equal(refusal(await runs(bard, 'shutdown', { delay: '0' })), 'conflict');
    assert.equal(await ended, true);
    admins('other.test').length = 0;
  });
});
