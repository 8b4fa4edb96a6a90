// What the hub has for many devices, used by the plugins of an independent client library.
import assert from 'node:assert/strict';
import { seenBy } from './libraries.ts';

describe('slixmpp, of devices', () => {
  const seen = seenBy('slixmpp', 'devices.py', { users: ['juliet', 'romeo'], domain: 'modules: { archive: true }' });

  it('reads the archive page by page, and from its end', () => {
    assert.deepEqual(
      seen.lines,
      Array.from({ length: 25 }, (_, n) => `line ${n}`),
    );
    assert.deepEqual([...(seen.last as string[])].sort(), ['line 22', 'line 23', 'line 24']);
    assert.equal(seen.ends, true);
    assert.equal(seen.foreign, 'forbidden');
    for (const field of ['with', 'start', 'end', 'before-id', 'after-id', 'ids', 'include-groupchat']) {
      assert.ok((seen.fields as string[]).includes(field), field);
    }
  });

  it('sets what is archived', () => assert.deepEqual(seen.preferences, ['always', ['nurse@hub.test']]));

  it('gets copies of what is sent and what comes', () => {
    assert.equal(seen.sent, 'from the desk');
    assert.deepEqual(seen.received, ['to the desk', true]);
  });

  it('tells whether its user looks', () => assert.equal(seen.pong, true));

  it('blocks and unblocks', () => {
    assert.deepEqual(seen.blocked, ['romeo@hub.test']);
    assert.equal(seen.blocks, 'service-unavailable');
    assert.equal(seen.unblocked, 0);
    assert.deepEqual(seen.reported, ['spam.test']);
  });

  it('resumes, and gets what it missed', () => {
    assert.equal(seen.resumed, true);
    assert.equal(seen.missed, 'while you were gone');
  });
});
