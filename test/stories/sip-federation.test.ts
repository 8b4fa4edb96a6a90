// A SIP domain among XMPP domains: reached over server links, refused by policy, and shared with XMPP by DNS or user by user.
import assert from 'node:assert/strict';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { type Partners, recordsOf, startPartners } from '../support/partners.ts';
import { freePort, type SipPerson, SipSide } from '../support/sip.ts';
import { startZones, type Zones } from '../support/zones.ts';

const bridge = (port: number, side: SipSide, domain = 'sip.test') => `
bridges:
  sip:
    kind: sip
    domains: [${domain}]
    listen: ["udp:127.0.0.1:${port}"]
    routes: { ${domain}: "sip:127.0.0.1:${side.port}" }
    presence: { retry: 200ms }
`;
const condition = async (client: Client, id: string) =>
  (await client.receives(e => e.attrs.id === id && e.attrs.type === 'error')).child('error')?.all()[0]?.name;
const writes = (client: Client, to: string, body: string, id = body) =>
  client.sends(`<message to='${to}' type='chat' id='${id}'><body>${body}</body></message>`);

for (const security of ['verified', 'encrypted', 'trusted'] as const) {
  describe(`a SIP domain over server links, ${security}`, () => {
    let partners: Partners;
    let side: SipSide;
    let alice: SipPerson;
    let romeo: Client;

    before(async () => {
      side = await SipSide.start();
      const port = await freePort();
      side.reaches(port);
      const federation = `federation: { security: ${security} }`;
      partners = await startPartners({
        yaml: federation,
        capulet: {
          yaml: federation + bridge(port, side),
          certificate: security === 'trusted' ? { names: ['capulet.test', 'sip.test'] } : null,
        },
        montague: security === 'trusted' ? {} : { certificate: null },
      });
      const { capulet, montague, zones } = partners;
      const records = [recordsOf('capulet.test', capulet), recordsOf('montague.test', montague)];
      zones.set([...records, recordsOf('sip.test', capulet)].join('\n'));
      alice = side.person('alice');
      alice.is('open');
      romeo = await montague.client('romeo@montague.test', { resource: 'orchard' });
      await romeo.asks('get', "<query xmlns='jabber:iq:roster'/>");
    });
    after(async () => {
      await partners.close();
      await side.stop();
    });

    it('carries chat both ways, and errors', async () => {
      await writes(romeo, 'alice@sip.test', 'Ἔρως ☀');
      assert.equal((await alice.hears('Ἔρως ☀')).from, 'sip:romeo@montague.test');
      assert.equal((await alice.says('sip:romeo@montague.test', 'ahoj 👋')).status, 202);
      await romeo.hears('ahoj 👋');
      await writes(romeo, 'nobody@sip.test', 'x', 'e1');
      assert.equal(await condition(romeo, 'e1'), 'item-not-found');
    });

    it('carries presence both ways', async () => {
      await romeo.sends("<presence to='alice@sip.test' type='subscribe'/>");
      await romeo.receives(e => e.attrs.type === 'subscribed' && e.attrs.from === 'alice@sip.test');
      alice.is('away');
      await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && e.childText('show') === 'away');
      const sight = alice.watches('sip:romeo@montague.test');
      await romeo.receives(e => e.attrs.type === 'subscribe' && e.attrs.from === 'alice@sip.test');
      await romeo.sends("<presence to='alice@sip.test' type='subscribed'/>");
      await sight.sees('active orchard:open');
      await romeo.sends('<presence><show>dnd</show></presence>');
      await sight.sees('active orchard:dnd');
      await romeo.close();
      await sight.sees(/closed/);
      romeo = await partners.montague.client('romeo@montague.test', { resource: 'orchard' });
      await sight.sees('active orchard:open');
      await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && e.childText('show') === 'away');
      await sight.out.end();
    });

    it('refuses there as here', async () => {
      const sight = side.person('mallory').watches('sip:romeo@montague.test');
      await romeo.receives(e => e.attrs.type === 'subscribe' && e.attrs.from === 'mallory@sip.test');
      await romeo.sends("<presence to='mallory@sip.test' type='unsubscribed'/>");
      await sight.sees('terminated (rejected)');
      // Whether there is somebody who has not answered is not told (RFC 6121 §8.5.1).
      const nobody = alice.watches('sip:nobody@montague.test');
      await nobody.sees(/^pending/);
    });
  });
}

describe('federation.policy and SIP domains', () => {
  for (const [policy, isOpen] of [
    ['{ policy: open, exceptions: [sip.test] }', false],
    ['{ policy: closed, exceptions: [sip.test] }', true],
    ['{ policy: closed }', false],
  ] as const) {
    it(`${policy} ${isOpen ? 'lets through' : 'refuses'}`, async () => {
      const side = await SipSide.start();
      const port = await freePort();
      side.reaches(port);
      const hub = await startTestHub(['hub.test'], { yaml: `federation: ${policy}${bridge(port, side)}` });
      const romeo = await hub.client('romeo@hub.test');
      const alice = side.person('alice');
      const { status } = await alice.says('sip:romeo@hub.test', 'hi');
      await writes(romeo, 'alice@sip.test', 'x');
      if (isOpen) {
        assert.equal(status, 200);
        await alice.hears('x');
      } else {
        assert.equal(status, 403);
        assert.equal(await condition(romeo, 'x'), 'not-allowed');
        await hub.links.setAllowed('sip.test', true);
        assert.equal((await alice.says('sip:romeo@hub.test', 'now')).status, 200);
      }
      await hub.close();
      await side.stop();
    });
  }
});

describe('a domain that is both XMPP’s and SIP’s', () => {
  let side: SipSide;
  let zones: Zones;
  let port: number;
  const dns = () => `dns: { servers: ["${zones.server.host}:${zones.server.port}"] }`;
  beforeEach(async () => {
    side = await SipSide.start();
    zones = await startZones('');
    port = await freePort();
    side.reaches(port);
  });
  afterEach(async () => {
    await side.stop();
    await zones.close();
  });

  it('is reached by XMPP first', async () => {
    const there = await startTestHub(['sip.test'], { yaml: dns() });
    const here = await startTestHub(['hub.test'], { yaml: dns() + bridge(port, side) });
    zones.set(`${recordsOf('sip.test', there)}\n${recordsOf('hub.test', here)}`);
    const alice = await there.client('alice@sip.test');
    const romeo = await here.client('romeo@hub.test');
    await writes(romeo, 'alice@sip.test', 'over XMPP');
    await alice.hears('over XMPP');
    assert.equal(side.person('alice').inbox.length, 0);
    await here.close();
    await there.close();
  });

  it('is reached by SIP where its XMPP records are ours', async () => {
    const hub = await startTestHub(['hub.test'], { yaml: dns() + bridge(port, side) });
    zones.set(`${recordsOf('hub.test', hub)}\n${recordsOf('sip.test', hub)}`);
    const alice = side.person('alice');
    const romeo = await hub.client('romeo@hub.test');
    await writes(romeo, 'alice@sip.test', 'over SIP');
    await alice.hears('over SIP');
    assert.equal(hub.links.list().length, 0);
    await hub.close();
  });

  it('moves from SIP to XMPP user by user', async () => {
    const hub: TestHub = await startTestHub(['hub.test'], { yaml: bridge(port, side, 'hub.test') });
    const bob = side.person('bob');
    const uri = 'sip:bob@hub.test';
    // The SIP side of the same domain.
    const from = { uri, says: (to: string, text: string) => side.engine.send(outgoing(uri, to, text)) };
    const romeo = await hub.client('romeo@hub.test');
    await writes(romeo, 'bob@hub.test', 'to SIP');
    await bob.hears('to SIP');
    assert.equal((await from.says('sip:romeo@hub.test', 'from SIP')).status, 200);
    assert.equal((await romeo.hears('from SIP')).attrs.from, 'bob@hub.test');
    assert.equal((await from.says('sip:carol@hub.test', 'a loop')).status, 404);
    await writes(romeo, 'carol@hub.test', 'x', 'e1');
    assert.equal(await condition(romeo, 'e1'), 'item-not-found');

    const moved = await hub.client('bob@hub.test');
    await writes(romeo, 'bob@hub.test', 'to XMPP');
    await moved.hears('to XMPP');
    assert.equal((await from.says('sip:romeo@hub.test', 'an impostor')).status, 403);
    const disco = await romeo.asks('get', "<query xmlns='http://jabber.org/protocol/disco#info'/>", 'hub.test');
    assert.equal(
      disco.child('query', 'http://jabber.org/protocol/disco#info')?.child('identity')?.attrs.category,
      'server',
    );
    await hub.close();
  });
});

function outgoing(from: string, uri: string, text: string) {
  return { method: 'MESSAGE' as const, uri, from, contentType: 'text/plain', body: Buffer.from(text) };
}
