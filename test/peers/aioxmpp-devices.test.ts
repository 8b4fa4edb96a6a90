// What the hub has for many devices, used by a client library of another make.
import assert from 'node:assert/strict';
import { seenBy } from './libraries.ts';

describe('aioxmpp, of devices', () => {
  const seen = seenBy('aioxmpp', 'devices.py', { users: ['romeo', 'juliet'], domain: 'modules: { archive: true }' });

  it('gets copies of what is sent and what comes, with what they carry', () => {
    assert.deepEqual(seen.sent, ['juliet@hub.test', 'romeo@hub.test/orchard', 'from the desk', 'ACTIVE']);
    assert.deepEqual(seen.received, ['romeo@hub.test/orchard', 'to the desk', 1]);
    assert.equal(seen.marked, 'the-message');
  });

  it('gets no copies of headlines, nor when it said so', () => assert.equal(seen.copies, 0));

  it('blocks on all devices, and looks offline to whom it blocks', () => {
    assert.deepEqual(seen.blocked, ['romeo@hub.test', 'spam.test']);
    assert.deepEqual(seen.list, seen.blocked);
    assert.equal(seen.left, 'juliet@hub.test');
    assert.equal(seen.refused, 'service-unavailable');
    assert.equal(seen.own, 'not-acceptable');
  });

  it('unblocks everybody, and is seen again', () => {
    assert.equal(seen.unblocked, 2);
    assert.equal(seen.back, 'juliet@hub.test');
  });

  it('pages through its archive both ways', () => {
    assert.deepEqual(seen.end, ['line 4', 'line 5', 'line 6']);
    assert.equal(seen.complete, null);
    assert.equal(seen.stamped, true);
    assert.deepEqual(seen.before, ['line 1', 'line 2', 'line 3']);
    assert.deepEqual(seen.next, ['line 4', 'line 5']);
    assert.equal(seen.first, true);
    assert.deepEqual(seen.none, [[], 'true', 0]);
  });

  it('is refused what is not there or not its own', () => {
    assert.equal(seen.foreign, 'forbidden');
    assert.equal(seen.lost, 'item-not-found');
  });

  it('sets what is archived', () => assert.deepEqual(seen.preferences, ['roster', ['', 'nurse@hub.test']]));

  it('gets the last presence when its user looks again', () => assert.deepEqual(seen.shown, ['xa']));

  it('resumes again and again, and loses nothing either way', () => {
    assert.equal(seen.acknowledged, 0);
    assert.equal(seen.longest, 300);
    assert.equal(seen.resumed, true);
    assert.equal(seen.stayed, true);
    assert.equal(seen.closed, 'juliet@hub.test/desk');
  });
});
