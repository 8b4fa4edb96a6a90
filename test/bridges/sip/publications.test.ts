// The presence server and registrar for SIP users, over a fake engine in memory.
import assert from 'node:assert/strict';
import type { SipAnswer } from '../../../src/bridges/sip/engine.ts';
import { openMemory } from '../../../src/store/sqlite.ts';
import { type Desk, pidf, sit } from './desk.ts';
import { request } from './fake-engine.ts';

const alice = 'sip:alice@sip.test';
const bob = 'sip:bob@sip.test';
const subscribe = "<presence from='romeo@hub.test' to='alice@sip.test' type='subscribe'/>";
const tagOf = (answer: SipAnswer) => answer.headers?.find(([name]) => name === 'SIP-ETag')?.[1] ?? '';
const show = (stanza: string) =>
  /<show>(\w+)/.exec(stanza)?.[1] ?? (stanza.includes("'unavailable'") ? 'gone' : 'here');

describe('the presence server for SIP users', () => {
  let desk: Desk;
  beforeEach(async () => {
    desk = await sit('presence: { server: open }');
  });
  afterEach(() => desk.close());

  it('tells XMPP users what is published, changed and removed', async () => {
    await desk.xmpp(subscribe);
    assert.match((await desk.hears())[0], /subscribed/);
    assert.equal(show((await desk.hears())[0]), 'gone');
    const first = await desk.engine.publish(alice, pidf('away'));
    assert.equal(first.status, 200);
    assert.equal(show((await desk.hears())[0]), 'away');
    const second = await desk.engine.publish(alice, pidf('dnd'), { 'sip-if-match': tagOf(first) });
    assert.notEqual(tagOf(second), tagOf(first));
    assert.equal(show((await desk.hears())[0]), 'dnd');
    assert.equal((await desk.engine.publish(alice, '', { 'sip-if-match': tagOf(first) })).status, 412);
    const third = await desk.engine.publish(alice, '', { 'sip-if-match': tagOf(second) });
    assert.equal(third.status, 200);
    await desk.engine.publish(alice, '', { 'sip-if-match': tagOf(third), expires: '0' });
    assert.equal(show((await desk.hears())[0]), 'gone');
    assert.deepEqual(desk.told, []);
  });

  it('believes the later word of a device that has published twice', async () => {
    await desk.engine.publish(alice, pidf('away'));
    const second = await desk.engine.publish(alice, pidf('dnd'));
    await desk.xmpp(subscribe);
    await desk.hears();
    assert.equal(show((await desk.hears())[0]), 'dnd');
    const closed = pidf().replace('open', 'closed');
    await desk.engine.publish(alice, closed, { 'sip-if-match': tagOf(second) });
    assert.equal(show((await desk.hears())[0]), 'gone');
  });

  it('tells SIP users as well, and puts devices together', async () => {
    await desk.engine.publish(alice, pidf('', 'desk'));
    const dialog = await desk.engine.subscribes(bob, alice);
    await desk.until(() => dialog.notified.length === 1);
    await desk.engine.publish(alice, pidf('away', 'mobile'));
    assert.match(dialog.notified[1].body, /ID-desk[\s\S]*ID-mobile/);
    dialog.subscription.onEnd('unsubscribed');
    assert.equal(dialog.notified[2].state, 'terminated');
    await desk.engine.publish(alice, pidf('', 'third'));
    assert.equal(dialog.notified.length, 3);
    const fetch = await desk.engine.subscribes(bob, alice, { expires: 0 });
    await desk.until(() => fetch.notified.length === 1);
    assert.deepEqual([fetch.notified[0].state, fetch.notified[0].reason], ['terminated', 'timeout']);
  });

  const refused: [string, () => Promise<SipAnswer>, number][] = [
    ['nothing', () => desk.engine.publish(alice, ''), 400],
    ['what is not XML', () => desk.engine.publish(alice, 'open'), 400],
    ['another package', () => desk.engine.publish(alice, pidf(), { event: 'dialog' }), 489],
    ['a moment', () => desk.engine.publish(alice, pidf(), { expires: '5' }), 423],
    ['a time that is none', () => desk.engine.publish(alice, pidf(), { expires: 'soon' }), 400],
    ['somebody of another domain', () => desk.engine.publish('sip:eve@evil.test', pidf()), 403],
    [
      'another media type',
      () =>
        desk.engine.handler.publish!(
          request(
            'PUBLISH',
            alice,
            alice,
            { contentType: 'text/plain', body: Buffer.from('x') },
            { event: 'presence' },
          ),
        ),
      415,
    ],
    [
      'somebody else',
      () => desk.engine.handler.publish!(request('PUBLISH', bob, alice, {}, { event: 'presence' })),
      403,
    ],
  ];
  for (const [what, publish, status] of refused) {
    it(`answers ${status} to who publishes ${what}`, async () => assert.equal((await publish()).status, status));
  }

  it('keeps no more than a person has devices', async () => {
    for (let i = 0; i < 16; i++) assert.equal((await desk.engine.publish(alice, pidf())).status, 200);
    assert.equal((await desk.engine.publish(alice, pidf())).status, 503);
  });
});

describe('the presence server for SIP users, where looking is mutual', () => {
  it('lets those look whom they watch themselves', async () => {
    const desk = await sit('presence: { server: mutual }');
    await desk.engine.publish(alice, pidf('chat'));
    await desk.xmpp(subscribe);
    await desk.xmpp(subscribe.replace('romeo', 'juliet'));
    assert.deepEqual(desk.told, []);
    await desk.engine.subscribes(alice, 'sip:romeo@hub.test');
    await desk.until(() => desk.told.length === 3);
    assert.match(desk.told.join(), /to='romeo@hub.test' type='subscribed'/);
    assert.doesNotMatch(desk.told.join(), /juliet/);
    const dialog = await desk.engine.subscribes(bob, alice);
    await desk.until(() => dialog.notified.length === 1);
    assert.deepEqual(dialog.notified[0], { state: 'pending', body: '' });
    await desk.close();
  });

  it('remembers over a restart', async () => {
    const store = openMemory();
    const first = await sit('presence: { server: open }', store);
    const tag = tagOf(await first.engine.publish(alice, pidf('xa')));
    await first.xmpp(subscribe);
    await first.hears(2);
    await first.close();
    const second = await sit('presence: { server: open }', store);
    assert.equal(show((await second.hears())[0]), 'xa');
    assert.equal((await second.engine.publish(alice, '', { 'sip-if-match': tag })).status, 200);
    await second.close();
  });
});

describe('the registrar for SIP users', () => {
  let desk: Desk;
  beforeEach(async () => {
    desk = await sit('registrar: true');
  });
  afterEach(() => desk.close());
  let sequence = 0;
  const register = (contacts: string[], headers: Record<string, string> = {}, from = alice, to = alice) => {
    const cseq = { cseq: `${++sequence} REGISTER` };
    const incoming = request('REGISTER', from, to, {}, { ...cseq, ...headers });
    return desk.engine.handler.register!({
      ...incoming,
      uri: 'sip:sip.test',
      headersOf: name => (name === 'contact' ? contacts : incoming.headersOf(name)),
    });
  };
  const writes = () =>
    desk.xmpp("<message from='romeo@hub.test/x' to='alice@sip.test' id='m'><body>x</body></message>");

  it('finds all telephones of somebody, and nobody without one', async () => {
    await writes();
    assert.match((await desk.hears())[0], /recipient-unavailable/);
    const answer = await register(['<sip:alice@127.0.0.1:5070;transport=udp>;expires=600', 'sip:alice@127.0.0.1:5080']);
    assert.equal(answer.status, 200);
    assert.deepEqual(
      answer.headers?.map(([, value]) => value),
      ['<sip:alice@127.0.0.1:5070;transport=udp>;expires=600', '<sip:alice@127.0.0.1:5080>;expires=3600'],
    );
    desk.engine.answer = ({ uri }) => ({ status: uri.includes('5080') ? 480 : 200 });
    await writes();
    await desk.until(() => desk.engine.sent.length === 2);
    assert.deepEqual(desk.engine.sent.map(({ uri, to }) => `${uri} ${to}`).sort(), [
      'sip:alice@127.0.0.1:5070;transport=udp sip:alice@sip.test',
      'sip:alice@127.0.0.1:5080 sip:alice@sip.test',
    ]);
    assert.deepEqual(desk.told, []);
  });

  it('forgets one, or all', async () => {
    await register(['<sip:a@127.0.0.1:1>', '<sip:a@127.0.0.1:2>']);
    assert.equal((await register(['<sip:a@127.0.0.1:1>;expires=0'])).headers?.length, 1);
    assert.equal((await register(['*'], { expires: '0' })).headers?.length, 0);
    assert.equal((await register(['*'], { expires: '60' })).status, 400);
  });

  it('refuses what is too short, out of order, for somebody else, or no address', async () => {
    assert.equal((await register(['<sip:a@127.0.0.1:1>;expires=5'])).status, 423);
    assert.equal((await register(['<sip:a@127.0.0.1:1>'], { cseq: '100 REGISTER' })).status, 200);
    assert.equal((await register(['<sip:a@127.0.0.1:1>'], { cseq: '99 REGISTER' })).status, 500);
    assert.equal((await register(['<sip:a@127.0.0.1:1>'], {}, bob)).status, 403);
    assert.equal((await register(['<mailto:a@127.0.0.1>'])).status, 484);
    const many = Array.from({ length: 11 }, (_, i) => `<sip:b@127.0.0.1:${i + 1}>`);
    assert.equal((await register(many, {}, bob, bob)).status, 503);
  });

  it('makes those who wait look at once', async () => {
    await desk.xmpp(subscribe);
    assert.equal(desk.engine.watches.length, 0);
    await register(['<sip:alice@127.0.0.1:5070>']);
    await desk.until(() => desk.engine.watches.length === 1);
    assert.equal(desk.engine.watches[0].wish.uri, 'sip:alice@127.0.0.1:5070');
  });
});
