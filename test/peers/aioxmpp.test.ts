// Clients of another independent make log in by SCRAM, keep rosters, watch presence and chat.
import assert from 'node:assert/strict';
import { seenBy } from './libraries.ts';

describe('aioxmpp', () => {
  const seen = seenBy('aioxmpp', 'talk.py', { users: ['romeo', 'juliet', 'nurse'] });

  it('logs in over STARTTLS and direct TLS by SCRAM, also bound to the channel', () => {
    assert.deepEqual(seen.mechanisms, ['SCRAM-SHA-256', 'SCRAM-SHA-256']);
    assert.equal(seen.bound, 'SCRAM-SHA-256-PLUS');
    assert.equal(seen.wrong, 'not-authorized');
  });

  it('keeps a roster on all its devices', () => {
    assert.deepEqual(seen.pushed, ['My Romeo', ['Loves', 'Verona'], 'none']);
    assert.equal(seen.removed, 'nurse@hub.test');
    assert.equal(seen.unknown, 'item-not-found');
  });

  it('subscribes both ways, and keeps name and groups', () => {
    assert.equal(seen.subscription, 'both');
    assert.deepEqual(seen.kept, ['My Romeo', ['Loves']]);
  });

  it('lets in whom it approved before, until it takes that back', () => {
    assert.equal(seen.approved, 'juliet@hub.test');
    assert.equal(seen.unasked, true);
    assert.equal(seen.dropped, 'juliet@hub.test');
  });

  it('is told only what changed in a roster that it knows', () => {
    assert.equal(seen.version, true);
    assert.equal(seen.later, 'Friar');
    assert.equal(seen.difference, true);
  });

  it('watches every device of a contact', () => {
    assert.deepEqual(seen.presence, ['romeo@hub.test/orchard', 'away', 'in the orchard', 7]);
    assert.equal(seen.early, false);
    assert.equal(seen.gone, 'romeo@hub.test/orchard');
  });

  it('ends directed presence with the session', () => assert.equal(seen.directed, 'romeo@hub.test/orchard'));

  it('chats in languages, with states, receipts and markers', () => {
    assert.deepEqual(seen.body, ['But, soft!', 'Ma piano! 爱']);
    assert.deepEqual([seen.state, seen.composing], ['ACTIVE', 'COMPOSING']);
    assert.equal(seen.asked, true);
    assert.equal(seen.displayed, true);
    assert.equal(seen.bounced, 'service-unavailable');
  });

  it('finds what came while it was away, with its time', () => assert.deepEqual(seen.delayed, [true, 'hub.test']));
});
