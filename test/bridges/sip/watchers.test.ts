// SIP users who watch XMPP users: the state machine, over a fake engine in memory.
import assert from 'node:assert/strict';
import { readPidf } from '../../../src/bridges/sip/pidf.ts';
import { openMemory } from '../../../src/store/sqlite.ts';
import { type Desk, sit } from './desk.ts';
import { type FakeDialog, request } from './fake-engine.ts';

const alice = 'sip:alice@sip.test';
const juliet = 'sip:juliet@hub.test';
const asks = "<presence from='alice@sip.test' to='juliet@hub.test' type='subscribe'/>";
const probes = "<presence from='alice@sip.test' to='juliet@hub.test' type='probe'/>";
const yes = "<presence from='juliet@hub.test' to='alice@sip.test' type='subscribed'/>";
const no = "<presence from='juliet@hub.test' to='alice@sip.test' type='unsubscribed'/>";
const here = (inner = '', resource = 'balcony') =>
  `<presence from='juliet@hub.test/${resource}' to='alice@sip.test'>${inner}</presence>`;
const away = (resource = '/balcony', inner = '') =>
  `<presence from='juliet@hub.test${resource}' to='alice@sip.test' type='unavailable'>${inner}</presence>`;

/** What the last NOTIFY said: `active balcony:away`. */
function last({ notified }: FakeDialog): string {
  const { state, reason, body } = notified.at(-1)!;
  const devices = body === '' ? [] : readPidf(Buffer.from(body));
  const seen = devices.map(({ name, open, show }) => `${name}:${open ? show || 'open' : 'closed'}`);
  return [state, reason ? `(${reason})` : '', ...seen.sort()].filter(part => part !== '').join(' ');
}

describe('SIP users who watch XMPP users', () => {
  let desk: Desk;
  beforeEach(async () => {
    desk = await sit();
  });
  afterEach(() => desk.close());

  /** Subscribed, while juliet is on her balcony. */
  async function settled(): Promise<FakeDialog> {
    const dialog = await desk.engine.subscribes(alice, juliet);
    await desk.hears();
    await desk.xmpp(yes);
    await desk.xmpp(here());
    await desk.until(() => dialog.notified.length === 2, 'a NOTIFY');
    return dialog;
  }
  const heard = (dialog: FakeDialog, count: number) =>
    desk.until(() => dialog.notified.length >= count, `${count} NOTIFYs`);

  it('ask for consent, wait, and see', async () => {
    const dialog = await desk.engine.subscribes(alice, juliet);
    assert.equal(dialog.answer.status, 200);
    assert.deepEqual(dialog.notified, [{ state: 'pending', body: '' }]);
    assert.deepEqual(desk.told, [asks]);
    await desk.xmpp(here());
    await desk.xmpp(yes);
    await desk.xmpp(here('<show>dnd</show>'));
    await desk.xmpp(here('<show>away</show>', 'chamber'));
    await heard(dialog, 2);
    assert.equal(last(dialog), 'active balcony:dnd chamber:away');
    assert.match(dialog.notified[1].body, /sip:juliet@hub\.test;gr=balcony/);
  });

  it('say who they are', async () => {
    const dialog = await desk.engine.subscribes(alice, juliet);
    assert.equal(dialog.answer.status, 200);
    const named = { ...request('SUBSCRIBE', alice, juliet), displayName: 'Alice <3' };
    await desk.engine.handler.subscribe!(named, dialog.subscription);
    assert.match(desk.told[1], /<nick xmlns='http:\/\/jabber.org\/protocol\/nick'>Alice &lt;3<\/nick>/);
  });

  it('see resources come and go', async () => {
    const dialog = await settled();
    assert.equal(last(dialog), 'active balcony:open');
    await desk.xmpp(away());
    await heard(dialog, 3);
    assert.equal(last(dialog), 'active offline:closed');
    await desk.xmpp(here());
    await desk.xmpp(here('', 'chamber'));
    await heard(dialog, 4);
    await desk.xmpp(away('/balcony', '<status>Gone</status>'));
    await desk.xmpp(away('/chamber', '<status>Good night</status>'));
    await heard(dialog, 5);
    assert.equal(last(dialog), 'active chamber:closed');
    assert.match(dialog.notified[4].body, /Good night/);
  });

  it('learn of all resources at once from the bare address', async () => {
    const dialog = await settled();
    await desk.xmpp(away(''));
    await heard(dialog, 3);
    assert.equal(last(dialog), 'active offline:closed');
  });

  it('are refused', async () => {
    const dialog = await desk.engine.subscribes(alice, juliet);
    await desk.xmpp(no);
    await heard(dialog, 2);
    assert.equal(last(dialog), 'terminated (rejected)');
    await desk.xmpp(here());
    assert.equal(dialog.notified.length, 2);
  });

  it('are put out later', async () => {
    const dialog = await settled();
    await desk.xmpp(away());
    await desk.xmpp(no);
    await heard(dialog, 3);
    assert.equal(last(dialog), 'terminated (rejected)');
    const again = await desk.engine.subscribes(alice, juliet);
    assert.deepEqual(again.notified, [{ state: 'pending', body: '' }]);
  });

  it('see nothing that was not granted, whatever arrives', async () => {
    await desk.xmpp(yes);
    await desk.xmpp(here());
    const dialog = await desk.engine.subscribes(alice, juliet);
    assert.equal(last(dialog), 'pending');
  });

  it('come back without being asked for again, and see what the probe finds', async () => {
    const first = await settled();
    first.subscription.onEnd('unsubscribed');
    assert.equal(last(first), 'terminated (timeout) balcony:open');
    assert.deepEqual(desk.told, []);
    desk.reacts = stanza => (stanza.type === 'probe' ? here('<show>xa</show>') : undefined);
    const dialog = await desk.engine.subscribes(alice, juliet);
    await heard(dialog, 1);
    assert.equal(last(dialog), 'active balcony:xa');
    assert.deepEqual(desk.told, [probes]);
  });

  it('find out by the probe that they are not welcome any more', async () => {
    (await settled()).subscription.onEnd('expired');
    desk.reacts = stanza => (stanza.type === 'probe' ? no : undefined);
    const dialog = await desk.engine.subscribes(alice, juliet);
    await heard(dialog, 1);
    assert.equal(last(dialog), 'terminated (rejected)');
  });

  it('are told that nobody is there where no answer comes', async () => {
    (await settled()).subscription.onEnd('lost');
    const dialog = await desk.engine.subscribes(alice, juliet);
    await heard(dialog, 1);
    assert.equal(last(dialog), 'active offline:closed');
  });

  it('get the full state with each refresh', async () => {
    const dialog = await settled();
    dialog.subscription.onRefresh(3600);
    await heard(dialog, 3);
    assert.equal(last(dialog), 'active balcony:open');
    assert.deepEqual(desk.told, [probes]);
  });

  it('watch with several devices', async () => {
    const first = await settled();
    const second = await desk.engine.subscribes(alice, juliet);
    await heard(second, 1);
    assert.equal(last(second), 'active balcony:open');
    await desk.xmpp(here('<show>chat</show>'));
    await heard(second, 2);
    first.subscription.onEnd('lost');
    await desk.xmpp(here('<show>dnd</show>'));
    await heard(second, 3);
    assert.equal(last(second), 'active balcony:dnd');
  });

  it('fetch once what they may see', async () => {
    const stranger = await desk.engine.subscribes('sip:bob@sip.test', juliet, { expires: 0 });
    assert.equal(last(stranger), 'terminated (rejected)');
    assert.deepEqual(desk.told, []);
    await settled();
    const fetch = await desk.engine.subscribes(alice, juliet, { expires: 0 });
    await heard(fetch, 1);
    assert.equal(last(fetch), 'terminated (timeout) balcony:open');
  });

  for (const [condition, expected] of Object.entries({
    'item-not-found': 'terminated (noresource)',
    'remote-server-not-found': 'terminated (rejected)',
    'remote-server-timeout': 'terminated (probation)',
    forbidden: 'terminated (rejected)',
  })) {
    it(`are told when XMPP says ${condition}`, async () => {
      const dialog = await desk.engine.subscribes(alice, 'sip:mercutio@far.test');
      await desk.xmpp(
        `<presence from='mercutio@far.test' to='alice@sip.test' type='error'><error type='cancel'><${condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>`,
      );
      await heard(dialog, 2);
      assert.equal(last(dialog), expected);
    });
  }

  const refused: [string, () => Promise<FakeDialog>, number][] = [
    ['nobody', () => desk.engine.subscribes(alice, 'sip:nobody@hub.test'), 404],
    ['from another domain', () => desk.engine.subscribes('sip:eve@evil.test', juliet), 403],
    ['other SIP users, which would be a loop', () => desk.engine.subscribes(alice, 'sip:bob@sip.test'), 482],
    ['an address that is none', () => desk.engine.subscribes(alice, 'sip:%00@hub.test'), 484],
    ['another package', () => desk.engine.subscribes(alice, juliet, { event: 'dialog' }), 489],
  ];
  for (const [what, subscribe, status] of refused) {
    it(`are answered ${status} for ${what}`, async () => {
      assert.equal((await subscribe()).answer.status, status);
      assert.deepEqual(desk.told, []);
    });
  }

  it('are put out when their domain is denied', async () => {
    const dialog = await settled();
    desk.denied = 'sip.test';
    dialog.subscription.onRefresh(3600);
    assert.equal(last(dialog), 'terminated (rejected)');
    assert.equal((await desk.engine.subscribes(alice, juliet)).answer.status, 403);
    assert.match(await desk.xmpp(here()), /^not-allowed/);
  });

  it('cannot open more dialogs than a person has devices', async () => {
    for (let i = 0; i < 16; i++) assert.equal((await desk.engine.subscribes(alice, juliet)).answer.status, 200);
    assert.equal((await desk.engine.subscribes(alice, juliet)).answer.status, 503);
  });

  it('let go of their consent where it is leased', async () => {
    const leased = await sit('presence: { consent: leased }');
    const dialog = await leased.engine.subscribes(alice, juliet);
    await leased.xmpp(yes);
    dialog.subscription.onEnd('unsubscribed');
    assert.equal(leased.told.at(-1), "<presence from='alice@sip.test' to='juliet@hub.test' type='unsubscribe'/>");
    await leased.close();
  });
});

describe('SIP users who watch XMPP users, over a restart', () => {
  it('are told to come again, and are known then', async () => {
    const store = openMemory();
    const first = await sit('', store);
    const dialog = await first.engine.subscribes(alice, juliet);
    await first.xmpp(yes);
    await first.close();
    assert.equal(last(dialog), 'terminated (deactivated)');

    const second = await sit('', store);
    second.reacts = stanza => (stanza.type === 'probe' ? here() : undefined);
    const again = await second.engine.subscribes(alice, juliet);
    await second.until(() => again.notified.length > 0);
    assert.equal(last(again), 'active balcony:open');
    await second.close();
  });
});
