// Messages across the SIP bridge, over a fake engine in memory.
import assert from 'node:assert/strict';
import { type Desk, sit } from './desk.ts';

const alice = 'sip:alice@sip.test';
const juliet = 'sip:juliet@hub.test';
const message = (inner: string, attrs = "id='m1' type='chat'", to = 'alice@sip.test') =>
  `<message from='juliet@hub.test/balcony' to='${to}' ${attrs}>${inner}</message>`;
const asking = "<body>Hi</body><request xmlns='urn:xmpp:receipts'/>";
const bounce = (id: string, condition: string) =>
  `<message from='juliet@hub.test' to='alice@sip.test' id='${id}' type='error'><error type='cancel'><${condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>`;
const cpim = (inner: string, about = '') =>
  `From: <im:alice@sip.test>\r\nTo: <im:juliet@hub.test>\r\nDateTime: 2026-01-01T00:00:00Z\r\n` +
  `NS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: s1\r\n${about}\r\nContent-Type: text/plain\r\n\r\n${inner}`;
const wanting = 'imdn.Disposition-Notification: positive-delivery, display\r\n';

describe('messages across the SIP bridge', () => {
  let desk: Desk;
  beforeEach(async () => {
    desk = await sit('chat: { size: 200B, parts: 3, queue: 250 }');
  });
  afterEach(() => desk.close());
  const sent = (i = -1) => {
    const { uri, from, contentType, body } = desk.engine.sent.at(i)!;
    return { uri, from, contentType, text: Buffer.from(body ?? []).toString() };
  };

  it('go out as MESSAGE', async () => {
    await desk.xmpp(message('<subject>Eve</subject><body>Čau 👋</body>'));
    assert.deepEqual(sent(), {
      uri: alice,
      from: juliet,
      contentType: 'text/plain;charset=UTF-8',
      text: 'Čau 👋',
    });
    assert.deepEqual(desk.engine.sent[0].headers, [['Subject', 'Eve']]);
    assert.deepEqual(desk.told, []);
  });

  it('keep to their thread, by the Call-ID', async () => {
    await desk.engine.message(alice, juliet, 'x', { callId: 'talk-1@alice.test' });
    assert.match((await desk.hears())[0], /<thread>talk-1@alice.test<\/thread>/);
    await desk.xmpp(message('<body>y</body><thread>talk-1@alice.test</thread>'));
    await desk.xmpp(message('<body>y</body><thread>no call\r\nid: x</thread>', '', 'bob@sip.test'));
    await desk.until(() => desk.engine.sent.length === 2);
    assert.deepEqual(
      desk.engine.sent.map(one => one.callId),
      ['talk-1@alice.test', undefined],
    );
  });

  it('come in as stanzas, delivered or on their way', async () => {
    assert.equal((await desk.engine.message(alice, juliet, 'Ahoj ☀')).status, 200);
    assert.match(desk.told[0], /^<message from='alice@sip.test' to='juliet@hub.test' id='sip-[^']+' type='chat'/);
    assert.match(desk.told[0], /<body>Ahoj ☀<\/body><thread>a-call<\/thread>/);
    assert.equal((await desk.engine.message(alice, 'sip:mercutio@far.test', 'x')).status, 202);
    assert.equal((await desk.engine.message(alice, `${juliet};gr=balcony`, 'x')).status, 200);
    assert.match(desk.told[2], /to='juliet@hub.test\/balcony'/);
    assert.equal((await desk.engine.message('tel:+15551230000', juliet, 'x')).status, 200);
    assert.match(desk.told[3], /from='\+15551230000@sip.test'/);
  });

  it('are told of as received when the other end says 200, and not when somebody on the way says 202', async () => {
    await desk.xmpp(message(asking));
    assert.match(
      (await desk.hears())[0],
      /to='juliet@hub.test\/balcony'.*<received xmlns='urn:xmpp:receipts' id='m1'\/>/,
    );
    desk.engine.answer = () => ({ status: 202 });
    await desk.xmpp(message(asking));
    await desk.xmpp(message('<body>x</body>'));
    assert.deepEqual(desk.told, []);
  });

  const errors: [number, string][] = [
    [404, 'item-not-found'],
    [403, 'forbidden'],
    [408, 'remote-server-timeout'],
    [480, 'recipient-unavailable'],
    [407, 'registration-required'],
    [302, 'redirect'],
    [503, 'service-unavailable'],
    [699, 'recipient-unavailable'],
  ];
  for (const [status, condition] of errors) {
    it(`come back as ${condition} for ${status}`, async () => {
      desk.engine.answer = () => ({ status, reason: 'Be<cause' });
      await desk.xmpp(message('<body>Hi</body>'));
      const [error] = await desk.hears();
      assert.match(error, /^<message from='alice@sip.test' to='juliet@hub.test\/balcony' id='m1' type='error'>/);
      assert.match(
        error,
        new RegExp(`<${condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>.*SIP ${status} Be&lt;cause`),
      );
    });
  }

  it('keep their order, and no one waits for another’s', async () => {
    let release = () => {};
    desk.engine.answer = request =>
      Buffer.from(request.body!).toString() === '0'
        ? new Promise(resolve => {
            release = () => resolve({ status: 200 });
          })
        : { status: 200 };
    for (let i = 0; i < 5; i++) await desk.xmpp(message(`<body>${i}</body>`));
    await desk.xmpp(message('<body>hey</body>', '', 'bob@sip.test'));
    assert.deepEqual([desk.engine.sent.length, sent().text], [2, 'hey']);
    release();
    await desk.until(() => desk.engine.sent.length === 6);
    assert.deepEqual(
      desk.engine.sent.slice(2).map(one => Buffer.from(one.body!).toString()),
      ['1', '2', '3', '4'],
    );
  });

  it('are refused when too many wait', async () => {
    desk.engine.answer = () => new Promise(() => {});
    for (let i = 0; i < 200; i++) assert.equal(await desk.xmpp(message('<body>x</body>')), '');
    assert.match(await desk.xmpp(message('<body>x</body>')), /^resource-constraint/);
    // One sender cannot take the room of others.
    assert.match(await desk.xmpp(message('<body>x</body>', '', 'bob@sip.test')), /^resource-constraint/);
    assert.equal(await desk.xmpp(message('<body>x</body>', '', 'bob@sip.test').replace('juliet', 'romeo')), '');
  });

  it('are split where they are long, and refused where they are longer', async () => {
    const long = 'ž'.repeat(99).concat(' ', 'ž'.repeat(80));
    await desk.xmpp(message(asking.replace('Hi', long)));
    await desk.until(() => desk.engine.sent.length === 2);
    assert.equal(`${sent(0).text} ${sent(1).text}`, long);
    assert.match((await desk.hears())[0], /<received/);
    assert.equal(desk.told.length, 0);
    assert.match(await desk.xmpp(message(`<body>${'x'.repeat(700)}</body>`)), /^policy-violation/);
  });

  it('are not sent on when their beginning did not arrive', async () => {
    desk.engine.answer = () => ({ status: 480 });
    await desk.xmpp(message(`<body>${'x'.repeat(500)}</body>`));
    await desk.hears();
    assert.deepEqual([desk.engine.sent.length, desk.told.length], [1, 0]);
    assert.equal(desk.bridge.standing.waiting, 0);
  });

  it('say who is writing, until somebody does not want to know', async () => {
    const composing = message("<composing xmlns='http://jabber.org/protocol/chatstates'/>");
    await desk.xmpp(composing);
    assert.match(sent().text, /<state>active<\/state>/);
    desk.engine.answer = () => ({ status: 415 });
    await desk.xmpp(composing);
    await desk.xmpp(composing);
    assert.deepEqual([desk.engine.sent.length, desk.told.length], [2, 0]);
  });

  it('pass requests for notifications, and the notifications', async () => {
    await desk.engine.message(alice, juliet, cpim('Hello', wanting), { contentType: 'message/cpim' });
    assert.match((await desk.hears())[0], /id='s1'.*<request xmlns='urn:xmpp:receipts'\/><markable/);
    await desk.xmpp(message("<received xmlns='urn:xmpp:receipts' id='s1'/>", ''));
    assert.match(sent().text, /<message-id>s1<\/message-id><datetime>2026-01-01T00:00:00.000Z<.*<delivered\/>/);
    // From now on it is known that alice's software speaks CPIM.
    await desk.xmpp(message(asking));
    await desk.until(() => desk.engine.sent.length === 2);
    assert.match(sent().text, /imdn\.Message-ID: m1\r\nimdn\.Disposition-Notification: positive-delivery/);
    assert.deepEqual(desk.told, []);
    const imdn =
      "<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>m1</message-id><delivery-notification><status><delivered/></status></delivery-notification></imdn>";
    await desk.engine.message(alice, juliet, imdn, { contentType: 'message/imdn+xml' });
    assert.match((await desk.hears())[0], /<received xmlns='urn:xmpp:receipts' id='m1'\/>/);
  });

  it('go as plain text again when CPIM is not understood', async () => {
    await desk.engine.message(alice, juliet, cpim('Hello'), { contentType: 'message/cpim' });
    desk.engine.answer = ({ contentType }) => ({ status: contentType === 'message/cpim' ? 415 : 200 });
    await desk.xmpp(message('<body>Hi</body>'));
    await desk.until(() => desk.engine.sent.length === 2);
    assert.equal(sent().text, 'Hi');
    await desk.xmpp(message('<body>Hi</body>'));
    await desk.until(() => desk.engine.sent.length === 3);
    assert.equal(sent().contentType, 'text/plain;charset=UTF-8');
  });

  it('bring no notices to those who never asked', async () => {
    await desk.xmpp(message("<received xmlns='urn:xmpp:receipts' id='zz'/>", ''));
    assert.deepEqual(desk.engine.sent, []);
  });

  it('answer with the error that comes back at once', async () => {
    desk.reacts = stanza => bounce(stanza.id, 'service-unavailable');
    assert.equal((await desk.engine.message(alice, juliet, 'x')).status, 480);
    desk.reacts = stanza => bounce(stanza.id, 'remote-server-not-found').replace('juliet@hub', 'x@far');
    assert.equal((await desk.engine.message(alice, 'sip:x@far.test', 'x')).status, 502);
  });

  it('tell of an error that comes later to those who asked', async () => {
    const about = 'imdn.Disposition-Notification: negative-delivery\r\n';
    await desk.engine.message(alice, juliet, cpim('Hello', about), { contentType: 'message/cpim' });
    await desk.xmpp(bounce('s1', 'recipient-unavailable'));
    assert.match(sent().text, /<message-id>s1<.*<failed\/>/);
    await desk.engine.message(alice, juliet, 'plain');
    await desk.xmpp(bounce('other', 'recipient-unavailable'));
    assert.equal(desk.engine.sent.length, 1);
  });

  const refused: [string, string, string, Record<string, unknown>, number][] = [
    ['nobody', alice, 'sip:nobody@hub.test', {}, 404],
    ['a stranger', 'sip:eve@evil.test', juliet, {}, 403],
    ['a loop', alice, 'sip:bob@sip.test', {}, 482],
    ['no user', alice, 'sip:hub.test', {}, 484],
    ['another media type', alice, juliet, { contentType: 'image/png' }, 415],
    ['broken CPIM', alice, juliet, { contentType: 'message/cpim' }, 400],
  ];
  for (const [what, from, to, more, status] of refused) {
    it(`are answered ${status} for ${what}`, async () => {
      assert.equal((await desk.engine.message(from, to, 'x', more)).status, status);
      assert.deepEqual(desk.told, []);
    });
  }

  it('have no rooms, and none for the bridge itself', async () => {
    assert.match(await desk.xmpp(message('<body>x</body>', "type='groupchat'")), /^not-acceptable/);
    assert.match(await desk.xmpp(message('<body>x</body>', '', 'sip.test')), /^service-unavailable/);
  });

  it('go to a device that can be reached, and else to its user', async () => {
    await desk.xmpp("<presence from='juliet@hub.test' to='alice@sip.test' type='subscribe'/>");
    const tuple = (id: string, contact = '') =>
      `<tuple id='${id}'><status><basic>open</basic></status>${contact}</tuple>`;
    const both = tuple('x') + tuple('y', '<contact>sip:alice@sip.test;gr=urn:uuid:1</contact>');
    desk.engine.watches[0].notifies('active', `<presence xmlns='urn:ietf:params:xml:ns:pidf'>${both}</presence>`);
    await desk.hears(3);
    await desk.xmpp(message('<body>a</body>', '', 'alice@sip.test/x'));
    assert.equal(sent().uri, alice);
    await desk.xmpp(message('<body>a</body>', '', 'alice@sip.test/urn:uuid:1'));
    await desk.until(() => desk.engine.sent.length === 2);
    assert.equal(sent().uri, 'sip:alice@sip.test;gr=urn:uuid:1');
  });

  it('are counted', async () => {
    await desk.xmpp(message('<body>x</body>'));
    await desk.engine.message(alice, juliet, 'x');
    assert.match(
      await desk.metrics.text(),
      /sip_messages_total\{domain="sip.test",direction="out",outcome="delivered"\} 1/,
    );
  });
});
