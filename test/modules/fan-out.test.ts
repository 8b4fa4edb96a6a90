// Events for many: how much goes in one turn, in which order, and when there is too much on its way.
import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FanOut } from '../../src/modules/pubsub/fan-out.ts';
import { el } from '../../src/xmpp/element.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import type { Stanza as StanzaType } from '../../src/xmpp/stanza.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';

const people = (count: number) => Array.from({ length: count }, (_, i) => Jid.parse(`u${i}@hub.test`));
const event = (id: string, size = 10) => Stanza.of('message', { id }, el('event', 'urn:event', {}, 'x'.repeat(size)));

describe('an event for many', () => {
  const sent: StanzaType[] = [];
  const fanOut = new FanOut(stanza => void sent.push(stanza), { turn: 10_000, line: 12_000, waiting: 20_000 });
  const emptied = async () => {
    const turns: number[] = [];
    for (let before = -1; before !== sent.length; ) {
      before = sent.length;
      await nextTurn();
      turns.push(sent.length - before);
    }
    return turns;
  };
  beforeEach(() => void (sent.length = 0));

  it('goes at once where it is little, and all share its bytes', () => {
    fanOut.send({}, event('a'), people(10));
    assert.deepEqual(
      sent.map(({ to }) => String(to)),
      people(10).map(String),
    );
    assert.equal(new Set(sent.map(({ payload }) => payload.buffer)).size, 1);
  });

  it('goes in turns where it is much', async () => {
    fanOut.send({}, event('a', 4_000), people(7));
    assert.equal(sent.length, 2);
    assert.deepEqual(await emptied(), [2, 2, 1, 0]);
  });

  it('keeps the order of its node, and lets others through', async () => {
    const line = {};
    fanOut.send(line, event('a', 4_000), people(4));
    fanOut.send(line, event('b'), people(2));
    fanOut.send({}, event('c'), people(2));
    assert.deepEqual(
      sent.map(({ id }) => id),
      ['a', 'a', 'c', 'c'],
    );
    await emptied();
    assert.deepEqual(
      sent.map(({ id }) => id),
      ['a', 'a', 'c', 'c', 'a', 'a', 'b', 'b'],
    );
  });

  it('says when too much is on its way, and when that is over', async () => {
    const [one, other, third] = [{}, {}, {}];
    const full = () => [one, other, third].map(node => fanOut.full(node));
    assert.deepEqual(full(), [false, false, false]);
    for (let i = 0; i < 2; i++) fanOut.send(one, event('a', 5_000), people(3));
    assert.deepEqual(full(), [true, false, false]);
    for (let i = 0; i < 2; i++) fanOut.send(other, event('b', 5_000), people(3));
    assert.deepEqual(full(), [true, true, true]);
    await emptied();
    assert.deepEqual(full(), [false, false, false]);
    assert.equal(sent.length, 12);
  });

  it('goes to nobody where there is nobody', async () => {
    fanOut.send({}, event('a', 50_000), []);
    assert.deepEqual(await emptied(), [0]);
  });
});
