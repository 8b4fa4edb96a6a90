// What goes wrong between XMPP and SIP, over real sockets: peers that refuse, are away, talk nonsense or too much; and telephones without a server.
import assert from 'node:assert/strict';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { freePort, type SipPerson, SipSide } from '../support/sip.ts';

const conditionOf = async (client: Client, id: string) => {
  const error = await client.receives(e => e.attrs.id === id && e.attrs.type === 'error');
  return error.child('error')?.all()[0]?.name;
};

describe('trouble on the SIP side', () => {
  let hub: TestHub;
  let side: SipSide;
  let alice: SipPerson;
  let romeo: Client;
  let port: number;
  beforeEach(async () => {
    side = await SipSide.start();
    port = await freePort();
    side.reaches(port, 'tcp');
    alice = side.person('alice');
    alice.is('open');
    hub = await startTestHub(['hub.test'], {
      yaml: `
bridges:
  sip:
    kind: sip
    domains: [sip.test]
    listen: ["tcp:127.0.0.1:${port}"]
    routes: { sip.test: "sip:127.0.0.1:${side.port};transport=tcp" }
    presence: { retry: 100ms }
    limits: { per-source: 5 }
`,
    });
    romeo = await hub.client('romeo@hub.test', { resource: 'orchard' });
    await romeo.asks('get', "<query xmlns='jabber:iq:roster'/>");
  });
  afterEach(async () => {
    await hub.close();
    await side.stop();
  });
  const writes = (id: string) =>
    romeo.sends(`<message to='alice@sip.test' type='chat' id='${id}'><body>${id}</body></message>`);
  const subscribes = () => romeo.sends("<presence to='alice@sip.test' type='subscribe'/>");

  for (const [status, condition] of [
    [401, 'not-authorized'],
    [407, 'registration-required'],
    [423, 'resource-constraint'],
    [480, 'recipient-unavailable'],
    [486, 'service-unavailable'],
    [503, 'service-unavailable'],
    [603, 'forbidden'],
  ] as const) {
    it(`comes back as ${condition} for ${status}`, async () => {
      side.answers = () => ({ status, reason: 'No' });
      await writes('m1');
      assert.equal(await conditionOf(romeo, 'm1'), condition);
    });
  }

  it('comes back at once when nobody listens there', async () => {
    await side.stop();
    await writes('m1');
    assert.equal(await conditionOf(romeo, 'm1'), 'service-unavailable');
  });

  it('passes: a subscription is made when the peer is ready for it', async () => {
    let refused = 0;
    side.answers = request => (request.method === 'SUBSCRIBE' && ++refused < 3 ? { status: 480 } : null);
    await subscribes();
    await romeo.receives(e => e.attrs.type === 'subscribed');
    assert.equal(refused, 3);
  });

  it('waits as long as Retry-After says', async () => {
    let asked = 0;
    side.answers = request =>
      request.method === 'SUBSCRIBE' && asked++ === 0 ? { status: 503, headers: [['Retry-After', '1']] } : null;
    const began = Date.now();
    await subscribes();
    await romeo.receives(e => e.attrs.type === 'subscribed');
    assert.ok(Date.now() - began >= 900);
  });

  it('does nothing to presence that makes no sense', async () => {
    await subscribes();
    await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && !e.attrs.type);
    const nonsense = [
      '<!DOCTYPE a [<!ENTITY b "c">]><presence>&b;</presence>',
      'x'.repeat(50_000),
      '\0',
      '<a>'.repeat(9_000),
    ];
    for (const body of nonsense) {
      await alice.watchers[0].notify({ state: 'active', contentType: 'application/pidf+xml', body: Buffer.from(body) });
    }
    alice.is('away');
    await romeo.receives(e => e.childText('show') === 'away');
    assert.equal(romeo.inbox.filter(e => e.attrs.from?.startsWith('alice@sip.test/')).length, 0);
  });

  it('cannot be made by what stands in a stanza', async () => {
    await romeo.sends(
      "<message to='alice@sip.test' type='chat' xml:lang='x\"&#10;y'><subject>a&#13;&#10;Route: &lt;sip:evil&gt;</subject><body>in&#13;&#10;line</body><thread>t&#10;Via: x</thread></message>",
    );
    const { request } = await alice.hears(/^in/);
    assert.equal(request.header('subject'), 'a Route: <sip:evil>');
    assert.deepEqual(request.headersOf('route'), []);
    assert.equal(request.header('content-language'), undefined);
  });

  it('cannot be too much: a source that floods is told when to come back', async () => {
    const answers = await Promise.all(Array.from({ length: 80 }, () => alice.says('sip:romeo@hub.test', 'flood')));
    const refused = answers.filter(({ status }) => status === 503);
    assert.ok(refused.length > 10 && refused.every(({ retryAfter }) => retryAfter !== undefined));
    assert.ok(answers.some(({ status }) => status === 200));
  });
});

describe('telephones without a SIP server', () => {
  let hub: TestHub;
  let side: SipSide;
  let romeo: Client;
  let alice: SipPerson;
  before(async () => {
    side = await SipSide.start(
      'sip.test',
      undefined,
      'credentials: { sip.test: { user: alice, password: wonder }, hub.test: { user: alice, password: wonder } }',
    );
    const port = await freePort();
    side.reaches(port, 'tcp');
    alice = side.person('alice');
    hub = await startTestHub(['hub.test'], {
      yaml: `
bridges:
  sip:
    kind: sip
    domains: [sip.test]
    listen: ["tcp:127.0.0.1:${port}"]
    digest: { accounts: { alice@sip.test: wonder } }
    presence: { server: open, retry: 100ms }
    registrar: true
`,
    });
    romeo = await hub.client('romeo@hub.test', { resource: 'orchard' });
    await romeo.asks('get', "<query xmlns='jabber:iq:roster'/>");
  });
  after(async () => {
    await hub.close();
    await side.stop();
  });

  it('cannot be reached before they register', async () => {
    await romeo.sends("<message to='alice@sip.test' type='chat' id='m1'><body>x</body></message>");
    assert.equal(await conditionOf(romeo, 'm1'), 'recipient-unavailable');
    await romeo.sends("<presence to='alice@sip.test' type='subscribe'/>");
    await romeo.receives(e => e.attrs.type === 'subscribed');
  });

  it('register with their password, and are there', async () => {
    const { status } = await alice.registers();
    assert.equal(status, 200);
    await romeo.receives(e => e.attrs.from === 'alice@sip.test/phone' && !e.attrs.type);
    await romeo.sends("<message to='alice@sip.test' type='chat'><body>ahoj</body></message>");
    await alice.hears('ahoj');
    assert.equal((await alice.says('sip:romeo@hub.test', 'i tobě')).status, 200);
    await romeo.hears('i tobě');
  });

  it('publish how they are', async () => {
    alice.is('dnd', 'píšu');
    const { status } = await alice.publishes(alice.document);
    assert.equal(status, 200);
    const busy = await romeo.receives(e => e.childText('show') === 'dnd');
    assert.equal(busy.childText('status'), 'píšu');
  });

  it('speak for nobody else', async () => {
    const bob = side.person('bob');
    assert.equal((await bob.says('sip:romeo@hub.test', 'x')).status, 403);
    assert.equal((await bob.registers()).status, 403);
    assert.equal((await side.person('eve').publishes(alice.document)).status, 403);
  });

  it('unregister, and are gone', async () => {
    await alice.registers(0);
    await romeo.sends("<message to='alice@sip.test' type='chat' id='m2'><body>x</body></message>");
    assert.equal(await conditionOf(romeo, 'm2'), 'recipient-unavailable');
  });
});
