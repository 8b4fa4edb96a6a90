// How many stanzas are kept for a peer that has not acknowledged them (XEP-0198 §4).
import assert from 'node:assert/strict';
import { Acknowledgements } from '../../src/xmpp/acknowledgements.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';

describe('what is kept until it is acknowledged', () => {
  const kept = (bursts: boolean) => {
    const acks = new Acknowledgements('', 10);
    let count = 0;
    while (acks.keep(Stanza.of('message', {}), bursts)) count++;
    return count;
  };

  it('is no more than the limit', () => assert.equal(kept(false), 10));
  it('is more while the peer had no time to answer', () => assert.equal(kept(true), 60));
});
