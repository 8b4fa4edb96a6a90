// The binding of a resource: whose name it is, who has to go for it, and what becomes of what the one before has not got (RFC 6120 §7).
import assert from 'node:assert/strict';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { ClientOptions } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

describe('resource binding', () => {
  let hub: TestHub;
  before(async () => {
    hub = await startTestHub(['hub.test'], { yaml: 'clients: { require-tls: false, resumption: { time: 10s } }' });
  });
  after(() => hub.close());

  const login = (jid: string, options: Partial<ClientOptions> = {}) =>
    hub.client(jid, { security: 'plain', mechanism: 'PLAIN', ...options });
  const bound = (jid: string) => hub.hub.sessions.of(Jid.parse(jid)).map(session => session.jid.resource);

  it('is offered once somebody has authenticated, and not after it', async () => {
    const early = await login('abram@hub.test', { bare: true });
    assert.equal(early.features.child('bind', ns.bind), null);
    await early.close();
    const abram = await login('abram@hub.test', { bind: false });
    assert.ok(abram.features.child('bind', ns.bind));
    assert.ok(abram.features.child('session', ns.session)?.child('optional'));
    await abram.close();
  });

  it('makes resources that nobody can guess, each once', async () => {
    const clients = await Promise.all([1, 2, 3].map(() => login('juliet@hub.test', { quiet: true })));
    const resources = new Set(clients.map(({ jid }) => jid.split('/')[1]));
    assert.equal(resources.size, 3);
    for (const resource of resources) assert.match(resource, /^[\w-]{12}$/);
    for (const client of clients) await client.close();
  });

  for (const [wanted, given] of [
    ['balcony', 'balcony'],
    ['Bal cony/@1', 'Bal cony/@1'],
    ['ﬀ', 'ﬀ'],
    ['e\u0301', '\u00e9'],
    ['x'.repeat(1023), 'x'.repeat(1023)],
  ]) {
    it(`gives ${wanted.slice(0, 20)} to who asks for it`, async () => {
      const client = await login('juliet@hub.test', { resource: wanted, quiet: true });
      assert.equal(client.jid, `juliet@hub.test/${given}`);
      await client.close();
    });
  }

  it('refuses what is no resource, and lets one ask again', async () => {
    const client = await login('juliet@hub.test', { bind: false });
    for (const wanted of ['x'.repeat(1024), '&#x200e;', '\u0085']) {
      const answer = await client.asks('set', `<bind xmlns='${ns.bind}'><resource>${wanted}</resource></bind>`);
      assert.ok(answer.child('error')?.child('bad-request', ns.stanzaErrors), String(answer));
    }
    assert.ok((await client.asks('get', `<bind xmlns='${ns.bind}'/>`)).child('error'));
    await client.bind('at last');
    assert.equal(client.jid, 'juliet@hub.test/at last');
    await client.close();
  });

  it('lets the newer one have the resource of the older', async () => {
    const friend = await login('friend@hub.test');
    const older = await login('romeo@hub.test', { resource: 'orchard' });
    await older.sends(`<presence to='${friend.jid}'/>`);
    await friend.receives(e => e.attrs.from === older.jid && e.attrs.type === undefined);
    const newer = await login('romeo@hub.test', { resource: 'orchard', quiet: true });
    assert.equal((await older.ends()).error?.condition, 'conflict');
    await friend.receives(e => e.attrs.from === older.jid && e.attrs.type === 'unavailable');
    assert.deepEqual(bound('romeo@hub.test'), ['orchard']);
    await friend.sends(`<message to='${newer.jid}'><body>for the newer</body></message>`);
    await newer.hears('for the newer');
    await newer.close();
    await friend.close();
  });

  it('gives the newer one what a lost one has not got', async () => {
    const friend = await login('friend@hub.test');
    const older = await login('romeo@hub.test', { resource: 'orchard' });
    await older.sends(`<enable xmlns='${ns.streamManagement}' resume='true'/>`);
    const { id } = (await older.receives(e => e.is('enabled', ns.streamManagement))).attrs;
    older.drop();
    await friend.sends(`<message to='${older.jid}' type='chat'><body>meanwhile</body></message>`);
    await friend.hasNot(() => false);
    const newer = await login('romeo@hub.test', { resource: 'orchard' });
    const heard = await newer.hears('meanwhile');
    assert.equal(heard.all('delay', ns.delay).length, 1);
    const late = await login('romeo@hub.test', { bind: false });
    await late.sends(`<resume xmlns='${ns.streamManagement}' previd='${id}' h='0'/>`);
    const failed = await late.receives(e => e.is('failed', ns.streamManagement));
    assert.ok(failed.child('item-not-found', ns.stanzaErrors));
    for (const one of [newer, late, friend]) await one.close();
  });
});
