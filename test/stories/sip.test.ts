// People on XMPP and people on SIP, over a real hub, real sockets and both engines' wire: they add each other, see each other, chat.
import assert from 'node:assert/strict';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { freePort, type SipPerson, SipSide } from '../support/sip.ts';

for (const protocol of ['udp', 'tcp'] as const) {
  describe(`people on XMPP and on SIP, over ${protocol}`, () => {
    let hub: TestHub;
    let side: SipSide;
    let alice: SipPerson;
    let romeo: Client;
    const roster = (jid: string, subscription: string) => (e: Client['inbox'][0]) =>
      e
        .child('query', 'jabber:iq:roster')
        ?.all('item')
        .some(i => i.attrs.jid === jid && i.attrs.subscription === subscription) ?? false;

    before(async () => {
      side = await SipSide.start();
      const port = await freePort();
      hub = await startTestHub(['hub.test'], {
        yaml: `
bridges:
  sip:
    kind: sip
    domains: [sip.test]
    listen: ["udp:127.0.0.1:${port}", "tcp:127.0.0.1:${port}"]
    routes: { sip.test: "sip:127.0.0.1:${side.port};transport=${protocol}" }
    presence: { retry: 200ms }
    limits: { per-source: 0 }
`,
      });
      side.reaches(port, protocol);
      alice = side.person('alice');
      alice.is('open');
      romeo = await hub.client('romeo@hub.test', { resource: 'orchard' });
      await romeo.asks('get', "<query xmlns='jabber:iq:roster'/>");
    });
    after(async () => {
      await hub.close();
      await side.stop();
    });

    it('chat both ways, in any script', async () => {
      await romeo.sends("<message to='alice@sip.test' type='chat' id='m1'><body>Ἔρως 爱 ❤️ &amp; &lt;</body></message>");
      const heard = await alice.hears('Ἔρως 爱 ❤️ & <');
      assert.equal(heard.from, 'sip:romeo@hub.test');
      assert.equal((await alice.says('sip:romeo@hub.test', 'Žluťoučký kůň 👋🏽')).status, 200);
      assert.equal((await romeo.hears('Žluťoučký kůň 👋🏽')).attrs.from, 'alice@sip.test');
    });

    it('keep to a thread', async () => {
      await romeo.sends("<message to='alice@sip.test' type='chat'><body>one</body><thread>t-77</thread></message>");
      assert.equal((await alice.hears('one')).request.callId, 't-77');
      await romeo.sends("<message to='alice@sip.test' type='chat'><body>two</body><thread>t-77</thread></message>");
      assert.equal((await alice.hears('two')).request.callId, 't-77');
    });

    it('send long messages whole', async () => {
      const long = 'ž'.repeat(3000);
      await romeo.sends(`<message to='alice@sip.test' type='chat'><body>${long}</body></message>`);
      await alice.hears(long);
      assert.equal((await alice.says('sip:romeo@hub.test', long)).status, 200);
      await romeo.hears(long);
    });

    it('see who is not there', async () => {
      await romeo.sends("<message to='nobody@sip.test' type='chat' id='e1'><body>x</body></message>");
      const error = await romeo.receives(e => e.attrs.id === 'e1');
      assert.ok(error.child('error')?.child('item-not-found', 'urn:ietf:params:xml:ns:xmpp-stanzas'));
      assert.equal((await alice.says('sip:nobody@hub.test', 'x')).status, 404);
    });

    it('get receipts', async () => {
      await romeo.sends(
        "<message to='alice@sip.test' id='r1'><body>ok?</body><request xmlns='urn:xmpp:receipts'/></message>",
      );
      await romeo.receives(e => e.child('received', 'urn:xmpp:receipts')?.attrs.id === 'r1');
    });

    it('subscribe from XMPP to SIP: wait, be let in, see away, busy and gone', async () => {
      alice.lets = 'pending';
      await romeo.sends("<presence to='alice@sip.test' type='subscribe'/>");
      await side.waits(() => alice.watchers.length > 0, 'a watcher');
      alice.answers('active');
      await romeo.receives(e => e.attrs.type === 'subscribed' && e.attrs.from === 'alice@sip.test');
      await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && !e.attrs.type);
      alice.is('away', 'u oběda');
      const away = await romeo.receives(e => e.childText('show') === 'away');
      assert.equal(away.childText('status'), 'u oběda');
      alice.is('dnd');
      await romeo.receives(e => e.childText('show') === 'dnd');
      alice.is('');
      await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && e.attrs.type === 'unavailable');
      alice.is('open');
      await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && !e.attrs.type);
    });

    it('subscribe from SIP to XMPP: wait, be let in, see away, busy and gone', async () => {
      const sight = alice.watches('sip:romeo@hub.test');
      await sight.sees('pending');
      await romeo.receives(e => e.attrs.type === 'subscribe' && e.attrs.from === 'alice@sip.test');
      await romeo.sends("<presence to='alice@sip.test' type='subscribed'/>");
      await sight.sees('active orchard:open');
      await romeo.sends('<presence><show>away</show></presence>');
      await sight.sees('active orchard:away');
      await romeo.sends('<presence><show>dnd</show><status>hledám slova</status></presence>');
      await sight.sees('active orchard:dnd');
      assert.deepEqual(sight.devices[0].status, [['en', 'hledám slova']]);
      const phone = await hub.client('romeo@hub.test', { resource: 'phone' });
      await sight.sees('active orchard:dnd phone:open');
      await phone.close();
      await sight.sees('active orchard:dnd');
      await romeo.sends("<presence type='unavailable'/>");
      await sight.sees(/closed/);
      await romeo.sends('<presence/>');
      await sight.sees('active orchard:open');
      await sight.out.end();
      await sight.sees(/^terminated/);
    });

    it('come back without asking again, and see at once', async () => {
      const sight = alice.watches('sip:romeo@hub.test');
      await sight.sees('active orchard:open');
      assert.equal(sight.notifications[0].state, 'active');
      await sight.out.end();
    });

    it('keep out whom nobody let in, and put out', async () => {
      const mallory = side.person('mallory');
      const sight = mallory.watches('sip:romeo@hub.test');
      await romeo.receives(e => e.attrs.type === 'subscribe' && e.attrs.from === 'mallory@sip.test');
      await romeo.sends("<presence to='mallory@sip.test' type='unsubscribed'/>");
      await sight.sees('terminated (rejected)');
      assert.ok(sight.notifications.every(one => one.body.length === 0));
      const nobody = alice.watches('sip:nobody@hub.test');
      await nobody.sees('refused 404');
    });

    it('are hidden from those they block', async () => {
      const sight = alice.watches('sip:romeo@hub.test');
      await sight.sees('active orchard:open');
      await romeo.asks('set', "<block xmlns='urn:xmpp:blocking'><item jid='alice@sip.test'/></block>");
      await sight.sees(/closed/);
      await romeo.sends('<presence><show>chat</show></presence>');
      assert.equal((await alice.says('sip:romeo@hub.test', 'let me in')).status >= 400, true);
      const again = alice.watches('sip:romeo@hub.test');
      await again.sees(/closed/);
      await romeo.asks('set', "<unblock xmlns='urn:xmpp:blocking'><item jid='alice@sip.test'/></unblock>");
      await sight.sees('active orchard:chat');
      await again.sees('active orchard:chat');
      await Promise.all([sight.out.end(), again.out.end()]);
      assert.equal((await alice.says('sip:romeo@hub.test', 'thanks')).status, 200);
      await romeo.hears('thanks');
    });

    it('are refused by SIP, and put out', async () => {
      const bob = side.person('bob');
      bob.lets = 'rejected';
      await romeo.sends("<presence to='bob@sip.test' type='subscribe'/>");
      await romeo.receives(e => e.attrs.type === 'unsubscribed' && e.attrs.from === 'bob@sip.test');
      await romeo.receives(roster('bob@sip.test', 'none'));
    });

    it('survive a restart of the hub', async () => {
      const sight = alice.watches('sip:romeo@hub.test');
      await sight.sees('active orchard:chat');
      hub = await hub.restart();
      await sight.sees('terminated (deactivated)');
      await side.waits(() => alice.watchers.length > 0, 'the subscription again');
      romeo = await hub.client('romeo@hub.test', { resource: 'orchard' });
      await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && !e.attrs.type);
      const again = alice.watches('sip:romeo@hub.test');
      await again.sees('active orchard:open');
      assert.equal(again.notifications[0].state, 'active');
      alice.is('xa');
      await romeo.receives(e => e.childText('show') === 'xa');
      await again.out.end();
    });

    it('can ask the bridge what it is', async () => {
      const info = (to: string) => romeo.asks('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", to);
      const query = (answer: Client['inbox'][0]) => answer.child('query', 'http://jabber.org/protocol/disco#info')!;
      const { category, type } = query(await info('sip.test')).child('identity')!.attrs;
      assert.deepEqual([category, type], ['gateway', 'simple']);
      const features = query(await info('alice@sip.test'))
        .all('feature')
        .map(feature => feature.attrs.var);
      assert.ok(features.includes('urn:xmpp:receipts'));
      const refused = await romeo.asks('get', "<query xmlns='jabber:iq:private'/>", 'alice@sip.test');
      assert.ok(refused.child('error')?.child('service-unavailable', 'urn:ietf:params:xml:ns:xmpp-stanzas'));
    });

    it('part', async () => {
      await romeo.sends("<presence to='alice@sip.test' type='unsubscribe'/>");
      await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && e.attrs.type === 'unavailable');
      await side.waits(() => alice.watchers.length === 0, 'nobody to watch');
    });
  });
}
