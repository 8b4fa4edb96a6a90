// An administrator at work over XMPP: users, lists, access, messages and the service itself (XEP-0133).
import assert from 'node:assert/strict';
import { type Element, el } from '../../src/xmpp/element.ts';
import { formValues } from '../../src/xmpp/form.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { failure, refusal, runs } from '../support/administration.ts';
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
    const user = { accountjid: 'iago@hub.test', password: 'x', 'password-verify': 'x' };
    const add = (values: Record<string, string>) => runs(bard, 'add-user', { ...user, ...values });
    assert.match(failure(await add({ 'password-verify': 'y' })), /passwords differ/);
    assert.match(failure(await add({ accountjid: '@@' })), /@@ is not an address/);
    assert.match(failure(await add({ accountjid: 'iago@other.test' })), /not of this domain, hub\.test/);
    assert.match(failure(await add({ accountjid: 'hub.test' })), /no account/);
    const nobody = { accountjid: 'nobody@hub.test', password: 'x' };
    assert.match(failure(await runs(bard, 'change-user-password', nobody)), /no account nobody@hub\.test/);
    for (const name of ['delete-user', 'disable-user', 'reenable-user', 'get-user-roster', 'get-user-lastlogin']) {
      assert.match(failure(await runs(bard, name, { accountjids: 'nobody@hub.test' })), /no account/, name);
      assert.match(failure(await runs(bard, name, { accountjids: 'iago@other.test' })), /not of this domain/, name);
      // What is required was not said at all (XEP-0050 §4.4).
      assert.equal(refusal(await runs(bard, name, {})), 'bad-request', name);
    }
    assert.equal(refusal(await add({ password: '' })), 'bad-request');
    assert.match(failure(await runs(bard, 'user-stats', {})), /accountjids is empty/);
  });

  // Each command with what it asks for, as XEP-0133 §4 names and types it; what is optional stands in brackets.
  const forms: Record<string, string> = {
    'add-user':
      'accountjid:jid-single password:text-private password-verify:text-private [email:text-single] [given_name:text-single] [surname:text-single]',
    'delete-user': 'accountjids:jid-multi',
    'disable-user': 'accountjids:jid-multi',
    'reenable-user': 'accountjids:jid-multi',
    'end-user-session': 'accountjids:jid-multi',
    'change-user-password': 'accountjid:jid-single password:text-private',
    'get-user-roster': 'accountjids:jid-multi',
    'get-user-lastlogin': 'accountjids:jid-multi',
    'user-stats': '[accountjid:jid-single] [accountjids:jid-multi]',
    'edit-blacklist': '[blacklistjids:jid-multi]',
    'edit-whitelist': '[whitelistjids:jid-multi]',
    'get-registered-users-list': '[max_items:list-single]',
    'get-disabled-users-list': '[max_items:list-single]',
    'get-online-users-list': '[max_items:list-single]',
    'get-active-users': '[max_items:list-single]',
    'get-idle-users': '[max_items:list-single]',
    announce: '[subject:text-single] announcement:text-multi',
    'set-motd': 'motd:text-multi',
    'edit-motd': 'motd:text-multi',
    'set-welcome': 'welcome:text-multi',
    'edit-admin': 'adminjids:jid-multi',
  };
  for (const [name, expected] of Object.entries(forms)) {
    it(`asks for ${expected} in ${name}`, async () => {
      const node = `${ns.administration}#${name}`;
      const begun = await bard.asks('set', el('command', ns.commands, { node, action: 'execute' }), 'hub.test');
      const form = begun.child('command', ns.commands)!.child('x', ns.data)!;
      const [type, ...fields] = form.all('field');
      assert.deepEqual(type.attrs, { var: 'FORM_TYPE', type: 'hidden' });
      assert.equal(type.childText('value'), ns.administration);
      const shown = fields.map(field => {
        const text = `${field.attrs.var}:${field.attrs.type}`;
        return field.child('required') ? text : `[${text}]`;
      });
      assert.equal(shown.join(' '), expected);
    });
  }

  it('is found and done at an admin’s own account as well, and is not at anybody’s else', async () => {
    const own = 'bard@hub.test';
    const portia = await hub.client('portia@hub.test');
    const listed = async (client: Client, at: string) => {
      const answer = await client.asks('get', `<query xmlns='${ns.discoItems}' node='${ns.commands}'/>`, at);
      return answer.child('query', ns.discoItems)!.all('item');
    };
    const nodes = (await listed(bard, own)).map(({ attrs }) => attrs.node);
    assert.deepEqual(
      nodes,
      (await listed(bard, 'hub.test')).map(({ attrs }) => attrs.node),
    );
    assert.ok((await listed(bard, own)).every(({ attrs }) => attrs.jid === own));
    assert.deepEqual(await listed(portia, 'portia@hub.test'), []);
    assert.deepEqual(await listed(bard, 'portia@hub.test'), []);
    assert.ok(result(await runs(bard, 'get-online-users-num', {}, own)).onlineusersnum);
    result(await runs(bard, 'set-motd', { motd: 'from my account' }, own));
    assert.equal((await portia.hears('from my account')).attrs.from, 'hub.test');
    result(await runs(bard, 'delete-motd', {}, own));
    assert.equal(refusal(await runs(portia, 'get-online-users-num', {}, 'portia@hub.test')), 'forbidden');
    assert.equal(refusal(await runs(bard, 'get-online-users-num', {}, 'portia@hub.test')), 'service-unavailable');
    assert.equal(refusal(await runs(portia, 'get-online-users-num', {}, own)), 'service-unavailable');
    await portia.close();
  });

  it('counts for one user, named in either field', async () => {
    for (const field of ['accountjid', 'accountjids']) {
      const stats = result(await runs(bard, 'user-stats', { [field]: 'bard@hub.test' }));
      assert.deepEqual(stats.rostersize, ['0']);
    }
  });

  it('forgets what is deleted, so that forms show nothing', async () => {
    const shown = async (name: string, field: string) => {
      const node = `${ns.administration}#${name}`;
      const begun = await bard.asks('set', el('command', ns.commands, { node }), 'hub.test');
      return formValues(begun.child('command', ns.commands)!.child('x', ns.data)!).get(field);
    };
    result(await runs(bard, 'set-motd', { motd: ['one', 'two'] }));
    assert.deepEqual(await shown('edit-motd', 'motd'), ['one', 'two']);
    result(await runs(bard, 'delete-motd'));
    assert.deepEqual(await shown('edit-motd', 'motd'), []);
    result(await runs(bard, 'set-welcome', { welcome: ['come', 'in'] }));
    assert.deepEqual(await shown('set-welcome', 'welcome'), ['come', 'in']);
    result(await runs(bard, 'delete-welcome'));
    assert.deepEqual(await shown('set-welcome', 'welcome'), []);
    bard.inbox.length = 0;
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
    assert.match(
      failure(await runs(bard, 'end-user-session', { accountjids: 'mercutio@hub.test' })),
      /no such session/,
    );
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
    assert.match(failure(await runs(bard, 'get-registered-users-list', { max_items: 'many' })), /number or none/);
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
    assert.match(failure(await runs(bard, 'edit-blacklist', { blacklistjids: ['bard@hub.test'] })), /of this domain/);
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
    assert.match(failure(await runs(bard, 'restart', { delay: 'soon' })), /number of seconds/);
    result(await runs(bard, 'restart', { delay: '0', announcement: ['Back', 'soon'] }));
    await bard.hears('Back\nsoon');
    assert.equal(refusal(await runs(bard, 'shutdown', { delay: '0' })), 'conflict');
    assert.equal(await ended, true);
    admins('other.test').length = 0;
  });
});
