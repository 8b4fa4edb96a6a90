// Login in one round trip by another implementation of SCRAM: SASL2, Bind 2, tokens, resumption in the same breath.
import assert from 'node:assert/strict';
import { seenBy } from './libraries.ts';

describe('aioxmpp, in one round trip', () => {
  const seen = seenBy('aioxmpp', 'tokens.py', { users: ['juliet'] });

  it('finds what is offered', () => {
    assert.ok((seen.mechanisms as string[]).includes('SCRAM-SHA-256-PLUS'));
    assert.deepEqual(seen.tokens, ['HT-SHA-256-EXPR', 'HT-SHA-256-ENDP', 'HT-SHA-256-NONE']);
    assert.deepEqual(seen.inline, ['urn:xmpp:carbons:2', 'urn:xmpp:csi:0', 'urn:xmpp:sm:3']);
  });

  it('authenticates by SCRAM, and binds with a tag, carbons and stream management', () => {
    assert.equal(seen.bare, 'juliet@hub.test');
    assert.equal(seen.bound, true);
    assert.equal(seen.resumable, 'true');
    assert.equal(seen.features, true);
    assert.equal(seen.pong, 'result');
  });

  it('comes back into the same session by a token, which both sides prove', () => {
    assert.equal(seen.proved, true);
    assert.equal(seen.same, true);
    assert.equal(seen.resumed, '1');
    assert.equal(seen.alive, 'result');
  });

  it('gives a token up', () => {
    assert.equal(seen.again, true);
    assert.equal(seen.invalid, 'not-authorized');
  });
});
