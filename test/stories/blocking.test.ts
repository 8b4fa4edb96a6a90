// Blocking: what a blocked address gets to see, and what its blocker does (XEP-0191).
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const conditionOf = (answer: Element) =>
  answer
    .child('error')
    ?.all()
    .find(e => e.ns === ns.stanzaErrors)?.name;
const items = (...jids: string[]) => jids.map(jid => `<item jid='${jid}'/>`).join('');

describe('blocking', () => {
  let hub: TestHub;
  let juliet: Client;
  let romeo: Client;
  before(async () => {
    hub = await startTestHub(['hub.test'], { yaml: 'clients: { require-tls: false }' });
    juliet = await login('juliet@hub.test', 'balcony');
    romeo = await login('romeo@hub.test', 'orchard');
    // Each sees the other.
    await romeo.sends(`<presence to='juliet@hub.test' type='subscribe'/>`);
    await juliet.receives(e => e.attrs.type === 'subscribe');
    await juliet.sends(
      `<presence to='romeo@hub.test' type='subscribed'/><presence to='romeo@hub.test' type='subscribe'/>`,
    );
    await romeo.receives(e => e.attrs.type === 'subscribe');
    await romeo.sends(`<presence to='juliet@hub.test' type='subscribed'/>`);
    await juliet.receives(e => e.name === 'presence' && e.attrs.from === romeo.jid);
    await romeo.receives(e => e.name === 'presence' && e.attrs.from === juliet.jid);
  });
  after(() => hub.close());

  const login = (jid: string, resource: string) => hub.client(jid, { resource, security: 'plain', mechanism: 'PLAIN' });
  const blocks = (verb: 'block' | 'unblock', ...jids: string[]) =>
    juliet.asks('set', `<${verb} xmlns='${ns.blocking}'>${items(...jids)}</${verb}>`);
  const list = async () => {
    const answer = await juliet.asks('get', `<blocklist xmlns='${ns.blocking}'/>`);
    return answer
      .child('blocklist', ns.blocking)!
      .all('item')
      .map(({ attrs }) => attrs.jid)
      .sort();
  };
  afterEach(() => blocks('unblock'));

  it('is announced, and empty at first', async () => {
    const info = await juliet.asks('get', `<query xmlns='${ns.discoInfo}'/>`, 'hub.test');
    assert.ok(String(info).includes(ns.blocking));
    assert.deepEqual(await list(), []);
  });

  it('refuses what a blocker sends, even where both have blocked each other', async () => {
    const [nurse, peter] = [await login('nurse@hub.test', 'a'), await login('peter@hub.test', 'b')];
    await nurse.asks('set', `<block xmlns='${ns.blocking}'>${items('peter@hub.test')}</block>`);
    await peter.asks('set', `<block xmlns='${ns.blocking}'>${items('nurse@hub.test')}</block>`);
    for (const name of ['message', 'presence']) {
      await nurse.sends(`<${name} to='peter@hub.test' id='both ${name}'/>`);
      assert.equal(conditionOf(await nurse.receives(e => e.attrs.id === `both ${name}`)), 'not-acceptable');
    }
    await nurse.close();
    await peter.close();
  });

  it('is pushed to the devices that have asked for the list', async () => {
    const asked = await login('juliet@hub.test', 'asked');
    const other = await login('juliet@hub.test', 'other');
    await asked.asks('get', `<blocklist xmlns='${ns.blocking}'/>`);
    for (const verb of ['block', 'unblock'] as const) {
      await blocks(verb, 'Tybalt@hub.test');
      const push = await asked.receives(e => e.attrs.type === 'set' && e.child(verb, ns.blocking) !== null);
      assert.deepEqual(
        push
          .child(verb, ns.blocking)!
          .all('item')
          .map(({ attrs }) => attrs.jid),
        ['tybalt@hub.test'],
      );
    }
    await blocks('unblock');
    const push = await asked.receives(e => e.attrs.type === 'set' && e.child('unblock', ns.blocking) !== null);
    assert.equal(push.child('unblock', ns.blocking)!.all().length, 0);
    await other.hasNot(e => e.attrs.type === 'set');
    await asked.close();
    await other.close();
  });

  it('makes one go, for the blocked, and come back', async () => {
    romeo.inbox.length = 0;
    await blocks('block', 'romeo@hub.test');
    await romeo.receives(e => e.attrs.type === 'unavailable' && e.attrs.from === juliet.jid);
    await juliet.sends('<presence><status>unseen</status></presence>');
    await juliet.receives(e => e.childText('status') === 'unseen');
    await romeo.sends(`<presence type='probe' to='juliet@hub.test'/>`);
    await romeo.hasNot(e => e.name === 'presence' && e.attrs.from?.startsWith('juliet'));
    await blocks('unblock', 'romeo@hub.test');
    assert.equal((await romeo.receives(e => e.attrs.from === juliet.jid)).childText('status'), 'unseen');
  });

  it('lets nothing in', async () => {
    await blocks('block', 'romeo@hub.test');
    juliet.inbox.length = 0;
    for (const to of ['juliet@hub.test', juliet.jid]) {
      await romeo.sends(`<message to='${to}' type='chat' id='m'><body>x</body></message>`);
      assert.equal(conditionOf(await romeo.receives(e => e.attrs.id === 'm')), 'service-unavailable');
      for (const type of ['get', 'set'] as const) {
        const answer = await romeo.asks(type, `<query xmlns='${ns.discoInfo}'/>`, to);
        assert.equal(conditionOf(answer), 'service-unavailable');
      }
      await romeo.sends(
        `<iq type='result' id='r' to='${to}'/><presence to='${to}'/><presence type='subscribe' to='${to}'/>`,
      );
    }
    await romeo.hasNot(e => e.name === 'presence' && e.attrs.type === 'error');
    await juliet.hasNot(e => e.attrs.from?.startsWith('romeo') === true);
  });

  it('lets nothing out', async () => {
    await blocks('block', 'romeo@hub.test');
    for (const [name, xml] of [
      ['message', `<message to='romeo@hub.test' id='out'><body>x</body></message>`],
      ['iq', `<iq to='${romeo.jid}' type='get' id='out'><ping xmlns='${ns.ping}'/></iq>`],
      ['presence', `<presence to='${romeo.jid}' id='out'/>`],
      ['presence', `<presence to='${romeo.jid}' id='out' type='unavailable'/>`],
      ['presence', `<presence to='romeo@hub.test' id='out' type='subscribe'/>`],
      ['presence', `<presence to='romeo@hub.test' id='out' type='unsubscribed'/>`],
    ]) {
      await juliet.sends(xml);
      const error = await juliet.receives(e => e.name === name && e.attrs.id === 'out');
      assert.equal(conditionOf(error), 'not-acceptable');
      assert.ok(error.child('error')!.child('blocked', ns.blockingErrors));
    }
    await romeo.hasNot(e => e.attrs.id === 'out');
  });

  it('ends directed presence, which does not come back', async () => {
    const mercutio = await login('mercutio@hub.test', 'street');
    for (const entry of ['mercutio@hub.test', mercutio.jid, 'hub.test']) {
      await juliet.sends(`<presence to='${mercutio.jid}'/>`);
      await mercutio.receives(e => e.attrs.from === juliet.jid && e.attrs.type === undefined);
      await blocks('block', entry);
      await mercutio.receives(e => e.attrs.from === juliet.jid && e.attrs.type === 'unavailable');
      await blocks('unblock', entry);
      await mercutio.hasNot(e => e.name === 'presence' && e.attrs.from === juliet.jid);
    }
    await mercutio.close();
  });

  it('shows again, with the end of it, how the other is by then', async () => {
    await blocks('block', romeo.jid);
    await romeo.receives(e => e.attrs.type === 'unavailable' && e.attrs.from === juliet.jid);
    await romeo.sends('<presence><status>meanwhile</status></presence>');
    await romeo.receives(e => e.childText('status') === 'meanwhile' && e.attrs.from === romeo.jid);
    await juliet.hasNot(e => e.childText('status') === 'meanwhile');
    await blocks('unblock');
    await juliet.receives(e => e.childText('status') === 'meanwhile');
    await romeo.receives(e => e.attrs.type === undefined && e.attrs.from === juliet.jid);
  });

  it('goes on in other sessions and after a restart', async () => {
    await blocks('block', 'romeo@hub.test');
    const later = await login('juliet@hub.test', 'later');
    await romeo.sends(`<message to='${later.jid}' type='chat' id='l'><body>x</body></message>`);
    assert.equal(conditionOf(await romeo.receives(e => e.attrs.id === 'l')), 'service-unavailable');
    await later.close();
    assert.deepEqual(await list(), ['romeo@hub.test']);
    hub = await hub.restart();
    juliet = await login('juliet@hub.test', 'balcony');
    romeo = await login('romeo@hub.test', 'orchard');
    assert.deepEqual(await list(), ['romeo@hub.test']);
    await romeo.hasNot(e => e.name === 'presence' && e.attrs.from?.startsWith('juliet'));
  });

  const patterns: [string, boolean][] = [
    ['romeo@hub.test/orchard', true],
    ['romeo@hub.test/else', false],
    ['romeo@hub.test', true],
    ['hub.test', true],
    ['other.test', false],
    ['hub.test/orchard', false],
  ];
  for (const [pattern, blocked] of patterns) {
    it(`${pattern} ${blocked ? 'stops' : 'lets pass'} ${'romeo@hub.test/orchard'}`, async () => {
      await blocks('block', pattern);
      await romeo.sends(`<message to='${juliet.jid}' type='chat' id='p'><body>${pattern}</body></message>`);
      if (blocked) assert.equal(conditionOf(await romeo.receives(e => e.attrs.id === 'p')), 'service-unavailable');
      else await juliet.hears(pattern);
    });
  }

  it('never comes between one’s own devices, nor between one and one’s server', async () => {
    const other = await login('juliet@hub.test', 'other');
    await blocks('block', 'juliet@hub.test', 'hub.test');
    await other.sends(`<message to='${juliet.jid}'><body>to myself</body></message>`);
    await juliet.hears('to myself');
    assert.equal((await juliet.asks('get', `<ping xmlns='${ns.ping}'/>`, 'hub.test')).attrs.type, 'result');
    await other.close();
  });

  for (const [what, type, payload, condition] of [
    ['a block of nobody', 'set', `<block xmlns='${ns.blocking}'/>`, 'bad-request'],
    ['an item without address', 'set', `<block xmlns='${ns.blocking}'><item/></block>`, 'jid-malformed'],
    ['an address that is none', 'set', `<block xmlns='${ns.blocking}'>${items('@')}</block>`, 'jid-malformed'],
    ['a get of block', 'get', `<block xmlns='${ns.blocking}'>${items('a@b.test')}</block>`, 'bad-request'],
    ['a set of the list', 'set', `<blocklist xmlns='${ns.blocking}'/>`, 'bad-request'],
    [
      'more than there is room for',
      'set',
      `<block xmlns='${ns.blocking}'>${items(...Array.from({ length: 1001 }, (_, n) => `u${n}@x.test`))}</block>`,
      'resource-constraint',
    ],
  ] as const) {
    it(`answers ${condition} to ${what}`, async () => {
      assert.equal(conditionOf(await juliet.asks(type, payload)), condition);
      assert.deepEqual(await list(), []);
    });
  }

  it('frees whom it names, and answers for those who were not blocked as well', async () => {
    await blocks('block', 'a@b.test', 'c@d.test');
    assert.equal((await blocks('unblock', 'a@b.test', 'e@f.test')).attrs.type, 'result');
    assert.deepEqual(await list(), ['c@d.test']);
    assert.equal((await blocks('block', 'c@d.test')).attrs.type, 'result');
    assert.deepEqual(await list(), ['c@d.test']);
  });

  it('is nobody else’s to read or change', async () => {
    for (const verb of ['blocklist', 'block', 'unblock']) {
      const payload = `<${verb} xmlns='${ns.blocking}'>${verb === 'block' ? items('a@b.test') : ''}</${verb}>`;
      const answer = await romeo.asks(verb === 'blocklist' ? 'get' : 'set', payload, 'juliet@hub.test');
      assert.equal(answer.attrs.type, 'error');
    }
    assert.deepEqual(await list(), []);
  });
});
