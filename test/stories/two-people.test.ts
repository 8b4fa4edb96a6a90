// Two people on one hub: login in every way, chat, presence, rosters, and what happens when one is away.
import assert from 'node:assert/strict';
import { startTestHub, type TestHub } from '../support/hubs.ts';

describe('two people on one hub', () => {
  let hub: TestHub;
  before(async () => {
    hub = await startTestHub(['hub.test']);
  });
  after(() => hub.close());

  for (const mechanism of ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN']) {
    it(`logs in with ${mechanism}`, async () => {
      const romeo = await hub.client('romeo@hub.test', { mechanism });
      assert.match(romeo.jid, /^romeo@hub\.test\/./);
      await romeo.close();
    });
  }

  it('refuses a wrong password and an unknown user alike', async () => {
    await assert.rejects(hub.client('romeo@hub.test', { password: 'wrong' }), /not-authorized/);
    await hub.accounts.remove('romeo@hub.test');
    await assert.rejects(hub.client('nobody@hub.test', { password: 'wrong', mechanism: 'PLAIN' }), /not-authorized/);
  });

  it('carries a chat both ways, in any script', async () => {
    const romeo = await hub.client('romeo@hub.test');
    const juliet = await hub.client('juliet@hub.test');
    await romeo.sends(`<message to='juliet@hub.test' type='chat' id='m1'><body>Ἔρως 爱 ❤️ &amp; &lt;</body></message>`);
    const heard = await juliet.hears('Ἔρως 爱 ❤️ & <');
    assert.equal(heard.attrs.from, romeo.jid);
    await juliet.sends(`<message to='${romeo.jid}' type='chat'><body>so late so soon</body></message>`);
    assert.equal((await romeo.hears('so late so soon')).attrs.from, juliet.jid);
    await romeo.close();
    await juliet.close();
  });

  it('subscribes, sees presence come and go', async () => {
    const romeo = await hub.client('romeo@hub.test');
    const juliet = await hub.client('juliet@hub.test');
    await romeo.asks('get', `<query xmlns='jabber:iq:roster'/>`);
    await juliet.asks('get', `<query xmlns='jabber:iq:roster'/>`);
    await romeo.sends(`<presence to='juliet@hub.test' type='subscribe'/>`);
    const request = await juliet.receives(e => e.attrs.type === 'subscribe');
    assert.equal(request.attrs.from, 'romeo@hub.test');
    await juliet.sends(`<presence to='romeo@hub.test' type='subscribed'/>`);
    await romeo.receives(e => e.attrs.type === 'subscribed');
    await romeo.receives(e => e.name === 'presence' && e.attrs.from === juliet.jid && !e.attrs.type);
    await juliet.sends(`<presence><show>away</show><status>on the balcony</status></presence>`);
    const away = await romeo.receives(e => e.name === 'presence' && e.childText('show') === 'away');
    assert.equal(away.childText('status'), 'on the balcony');
    juliet.drop();
    const gone = await romeo.receives(e => e.attrs.type === 'unavailable');
    assert.equal(gone.attrs.from, juliet.jid);
    await romeo.close();
  });

  it('keeps messages for somebody who is away, with the time they came', async () => {
    const romeo = await hub.client('romeo@hub.test');
    await romeo.sends(`<message to='juliet@hub.test' type='chat'><body>first</body></message>`);
    await romeo.sends(`<message to='juliet@hub.test' type='chat'><body>second</body></message>`);
    await romeo.hasNot(e => e.attrs.type === 'error');
    const juliet = await hub.client('juliet@hub.test');
    const first = await juliet.hears('first');
    assert.match(first.child('delay', 'urn:xmpp:delay')?.attrs.stamp ?? '', /^\d{4}-\d\d-\d\dT/);
    await juliet.hears('second');
    await romeo.close();
    await juliet.close();
  });

  it('says so where there is nobody', async () => {
    const romeo = await hub.client('romeo@hub.test');
    await romeo.sends(`<message to='mercutio@hub.test' type='chat' id='m9'><body>?</body></message>`);
    const error = await romeo.receives(e => e.attrs.id === 'm9');
    assert.equal(error.attrs.type, 'error');
    assert.ok(error.child('error')?.child('service-unavailable', 'urn:ietf:params:xml:ns:xmpp-stanzas'));
    await romeo.close();
  });
});
