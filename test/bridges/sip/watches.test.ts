// XMPP users who watch SIP users: the state machine, over a fake engine in memory.
import assert from 'node:assert/strict';
import { openMemory } from '../../../src/store/sqlite.ts';
import { type Desk, pidf, sit } from './desk.ts';

const subscribe = "<presence from='romeo@hub.test' to='alice@sip.test' type='subscribe'/>";
const unsubscribe = "<presence from='romeo@hub.test' to='alice@sip.test' type='unsubscribe'/>";
const probe = "<presence from='romeo@hub.test/orchard' to='alice@sip.test' type='probe'/>";
const say = (inner: string, type = '') =>
  `<presence from='alice@sip.test${inner}' to='romeo@hub.test'${type && ` type='${type}'`}/>`;

describe('XMPP users who watch SIP users', () => {
  let desk: Desk;
  beforeEach(async () => {
    desk = await sit('presence: { retry: 100ms }');
  });
  afterEach(() => desk.close());

  /** Subscribed, with alice at her desk. */
  async function settled() {
    assert.equal(await desk.xmpp(subscribe), '');
    const [watch] = desk.engine.watches;
    watch.notifies('active', pidf());
    assert.deepEqual(await desk.hears(2), [say('', 'subscribed'), say('/desk')]);
    return watch;
  }

  it('are let in when the SIP side says active', async () => {
    await desk.xmpp(subscribe);
    const [watch] = desk.engine.watches;
    assert.deepEqual(watch.wish, {
      uri: 'sip:alice@sip.test',
      from: 'sip:romeo@hub.test',
      event: 'presence',
      accept: ['application/pidf+xml'],
      expires: 3600,
    });
    watch.notifies('pending');
    watch.notifies('pending', pidf());
    assert.deepEqual(desk.told, []);
    watch.notifies('active', pidf('away'));
    const [granted, presence] = await desk.hears(2);
    assert.equal(granted, say('', 'subscribed'));
    assert.match(presence, /<show>away<\/show>/);
  });

  it('see each change once, and who has gone', async () => {
    const watch = await settled();
    watch.notifies('active', pidf());
    watch.notifies('active', pidf('dnd'));
    assert.match((await desk.hears())[0], /<show>dnd<\/show>/);
    watch.notifies('active', pidf('', 'mobile'));
    assert.deepEqual(await desk.hears(2), [say('/mobile'), say('/desk', 'unavailable')]);
    watch.notifies('active', "<presence xmlns='urn:ietf:params:xml:ns:pidf'/>");
    assert.deepEqual(await desk.hears(), [say('/mobile', 'unavailable')]);
  });

  it('keep what they knew when a NOTIFY makes no sense', async () => {
    const watch = await settled();
    for (const body of ['<!DOCTYPE x []><presence/>', 'x'.repeat(300_000), '<a>']) watch.notifies('active', body);
    watch.notifies('active', pidf(), { contentType: 'application/xpidf+xml' });
    await desk.xmpp(probe);
    assert.deepEqual(desk.told, ["<presence from='alice@sip.test/desk' to='romeo@hub.test/orchard'/>"]);
    assert.match(JSON.stringify(desk.bridge.show()), /xpidf/);
  });

  it('get what is known when they probe', async () => {
    const watch = await settled();
    await desk.xmpp(probe);
    assert.deepEqual(await desk.hears(), ["<presence from='alice@sip.test/desk' to='romeo@hub.test/orchard'/>"]);
    watch.notifies('active', "<presence xmlns='urn:ietf:params:xml:ns:pidf'/>");
    await desk.hears();
    await desk.xmpp(probe);
    assert.deepEqual(await desk.hears(), [
      "<presence from='alice@sip.test' to='romeo@hub.test/orchard' type='unavailable'/>",
    ]);
  });

  it('unsubscribe', async () => {
    const watch = await settled();
    await desk.xmpp(unsubscribe);
    assert.ok(watch.ended);
    assert.deepEqual(desk.told, [say('/desk', 'unavailable')]);
    watch.notifies('active', pidf('dnd'));
    assert.equal(desk.told.length, 1);
    assert.equal(await desk.xmpp(unsubscribe), '');
  });

  for (const [what, end] of Object.entries({
    'SUBSCRIBE is answered 403': { kind: 'refused', status: 403 },
    'there is nobody of that name': { kind: 'refused', status: 404 },
    'SUBSCRIBE is answered 603': { kind: 'refused', status: 603 },
    'the peer does no presence': { kind: 'refused', status: 489 },
    'NOTIFY says rejected': { kind: 'terminated', reason: 'rejected' },
    'NOTIFY says noresource': { kind: 'terminated', reason: 'noresource' },
  } as const)) {
    it(`are told no when ${what}`, async () => {
      await desk.xmpp(subscribe);
      desk.engine.watches[0].ends(end);
      assert.deepEqual(await desk.hears(), [say('', 'unsubscribed')]);
      assert.equal(desk.engine.watches.length, 1);
      assert.deepEqual(
        (desk.bridge.show() as Record<string, { subscriptions: number }>)['XMPP users who watch SIP users']
          .subscriptions,
        0,
      );
    });
  }

  it('are put out by a clear no later', async () => {
    const watch = await settled();
    watch.notifies('terminated', '', { reason: 'rejected' });
    watch.ends({ reason: 'rejected' });
    assert.deepEqual(await desk.hears(2), [say('/desk', 'unavailable'), say('', 'unsubscribed')]);
  });

  it('are not put out by a server that has just forgotten everybody', async () => {
    const watch = await settled();
    watch.ends({ kind: 'refused', status: 404 });
    assert.deepEqual(await desk.hears(), [say('/desk', 'unavailable')]);
    await desk.until(() => desk.engine.watches.length === 2, 'a new try');
    desk.engine.watches[1].notifies('active', pidf());
    assert.deepEqual(await desk.hears(), [say('/desk')]);
  });

  it('are taken up at once when a subscription is deactivated, and see no gap', async () => {
    const watch = await settled();
    watch.ends({ reason: 'deactivated' });
    await desk.until(() => desk.engine.watches.length === 2);
    desk.engine.watches[1].notifies('active', pidf());
    desk.engine.watches[1].notifies('active', pidf('xa'));
    assert.match((await desk.hears())[0], /<show>xa<\/show>/);
  });

  it('see nobody any more when the peer does not come back', async () => {
    const watch = await settled();
    watch.ends({ kind: 'lost', status: 408 });
    assert.deepEqual(desk.told, []);
    await desk.until(() => desk.engine.watches.length === 2);
    desk.engine.watches[1].ends({ kind: 'lost', status: 408 });
    assert.deepEqual(await desk.hears(), [say('/desk', 'unavailable')]);
    await desk.until(() => desk.engine.watches.length === 3);
    assert.match(JSON.stringify(desk.bridge.show()), /lost 408/);
  });

  it('wait as long as the peer asks for', async () => {
    const watch = await settled();
    const before = Date.now();
    watch.ends({ reason: 'probation', retryAfter: 1 });
    await desk.until(() => desk.engine.watches.length === 2);
    assert.ok(Date.now() - before >= 950);
  });

  it('are told again when their own server has forgotten', async () => {
    await settled();
    await desk.xmpp(subscribe);
    assert.deepEqual(await desk.hears(2), [say('', 'subscribed'), say('/desk')]);
    assert.equal(desk.engine.watches.length, 1);
  });

  it('are believed when they probe for what nobody remembers', async () => {
    await desk.xmpp(probe);
    desk.engine.watches[0].notifies('active', pidf());
    assert.deepEqual(await desk.hears(), [say('/desk')]);
  });

  it('are forgotten when their server says that they are no more', async () => {
    const watch = await settled();
    await desk.xmpp(
      "<presence from='romeo@hub.test' to='alice@sip.test' type='error'><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>",
    );
    assert.ok(watch.ended);
  });

  it('hear no more of a domain that is denied than that its people have gone', async () => {
    const watch = await settled();
    desk.denied = 'sip.test';
    watch.notifies('active', pidf('dnd'));
    watch.notifies('active', "<presence xmlns='urn:ietf:params:xml:ns:pidf'/>");
    assert.deepEqual(await desk.hears(), [say('/desk', 'unavailable')]);
    assert.match(await desk.xmpp(probe), /^not-allowed/);
  });

  it('cannot be more than there is room for', async () => {
    const small = await sit('presence: { subscriptions: 1 }');
    assert.equal(await small.xmpp(subscribe), '');
    assert.match(await small.xmpp(subscribe.replace('alice', 'bob')), /^resource-constraint/);
    await small.close();
  });
});

describe('XMPP users who watch SIP users, over a restart', () => {
  it('are taken up anew, and not told twice that they are let in', async () => {
    const store = openMemory();
    const first = await sit('', store);
    await first.xmpp(subscribe);
    await first.xmpp(subscribe.replace('alice', 'bob'));
    first.engine.watches[0].notifies('active', pidf());
    await first.hears(2);
    await first.close();

    const second = await sit('', store);
    assert.deepEqual(second.engine.watches.map(watch => watch.wish.uri).sort(), [
      'sip:alice@sip.test',
      'sip:bob@sip.test',
    ]);
    const [alice, bob] = second.engine.watches;
    alice.notifies('active', pidf());
    assert.deepEqual(await second.hears(), [say('/desk')]);
    bob.notifies('active', pidf());
    assert.equal((await second.hears(2))[0], say('', 'subscribed').replace('alice', 'bob'));
    await second.close();
  });
});
