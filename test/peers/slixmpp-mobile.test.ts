// What wakes phones and keeps devices in step, used by an independent client library, its component among it.
import assert from 'node:assert/strict';
import { seenBy } from './libraries.ts';

const yaml = `
clients: { fork: true }
push: { sender: true, body: true }
components: { push.hub.test: { secret: shared } }
`;

describe('slixmpp, of phones', () => {
  const seen = seenBy('slixmpp', 'mobile.py', {
    users: ['romeo', 'juliet'],
    domain: 'greeting: Welcome., contacts: { abuse: ["mailto:abuse@hub.test"] }',
    yaml,
    listen: { component: '127.0.0.1:0' },
  });

  it('pushes what comes for a phone that is away', () => {
    assert.deepEqual(
      [seen.node, seen.count, seen.sender, seen.text],
      ['phone', '2', 'romeo@hub.test/orchard', 'are you there?'],
    );
    assert.equal(seen.secret, 'known to the phone');
  });

  it('tells a component of messages that are kept', () => {
    assert.equal(seen.kept, 'juliet@hub.test');
    assert.equal(seen.waiting, '1');
  });

  it('finds what was kept, and its welcome', () => {
    assert.deepEqual(seen.heard, ['Welcome.', 'are you there?', 'wake up']);
    assert.equal(seen.delayed, 2);
    assert.equal(seen.greeting, 'Welcome.');
  });

  it('hears with all its devices, and answers with receipts and markers', () => {
    assert.deepEqual(seen.forked, ['to all of you', 'to all of you']);
    assert.equal(seen.receipt, 'asks-for-a-receipt');
    assert.equal(seen.displayed, 'asks-for-a-receipt');
  });

  it('bookmarks in the new way what it finds in the old', () => {
    assert.deepEqual(seen.old, ['garden@rooms.test', 'Garden', 'true', 'Jules']);
    assert.equal(seen.gone, true);
  });

  it('finds whom to write to', () => assert.equal(seen.contacts, 'mailto:abuse@hub.test'));
});
