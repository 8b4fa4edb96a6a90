// The counters of stream management: what is kept, what an acknowledgement takes away, where the numbers begin anew (XEP-0198 §4).
import assert from 'node:assert/strict';
import { Acknowledgements } from '../../src/xmpp/acknowledgements.ts';
import { StreamError } from '../../src/xmpp/errors.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';
import type { Stream } from '../../src/xmpp/stream.ts';

const stanza = (id: string) => Stanza.of('message', { id });
const highest = 0xffffffff;

/** Stands for a stream: what is written to it. */
function written(): { stream: Stream; texts: string[] } {
  const texts: string[] = [];
  const stream = { sendText: (text: string) => texts.push(text), flush: () => {} };
  return { stream: stream as unknown as Stream, texts };
}

function holding(count: number, limit = 10): Acknowledgements {
  const acknowledgements = new Acknowledgements('id', limit);
  for (let n = 0; n < count; n++) assert.ok(acknowledgements.keep(stanza(String(n))));
  return acknowledgements;
}

const left = ({ unacknowledged }: Acknowledgements) => unacknowledged.map(({ id }) => id).join('');

describe('acknowledgements', () => {
  it('take away what was handled, oldest first, and may come twice', () => {
    const acknowledgements = holding(5);
    acknowledgements.acknowledge('2');
    assert.equal(left(acknowledgements), '234');
    acknowledgements.acknowledge('2');
    assert.equal(left(acknowledgements), '234');
    assert.equal(acknowledgements.sentAt.length, 3);
    acknowledgements.acknowledge('5');
    assert.equal(left(acknowledgements), '');
  });

  it('go on at 0 behind 2³² − 1, both ways', () => {
    const acknowledgements = new Acknowledgements('id', 10);
    acknowledgements.acknowledged = highest - 1;
    acknowledgements.received = highest;
    for (const id of 'abcd') acknowledgements.keep(stanza(id));
    acknowledgements.acknowledge(String(highest));
    assert.equal(left(acknowledgements), 'bcd');
    acknowledgements.acknowledge('1');
    assert.equal(left(acknowledgements), 'd');
    assert.equal(acknowledgements.acknowledged, 1);
    acknowledgements.count(undefined);
    assert.equal(acknowledgements.received, 0);
    const { stream, texts } = written();
    acknowledgements.answer(stream);
    assert.deepEqual(texts, [`<a xmlns='${ns.streamManagement}' h='0'/>`]);
  });

  for (const [start, sent, h, sendCount] of [
    [0, 2, '3', '2'],
    [0, 0, '1', '0'],
    [5, 2, '4', '7'],
    [highest, 2, '2', '1'],
    [0, 2, '4294967295', '2'],
  ] as const) {
    it(`of ${h} are too high where ${sendCount} were sent since ${start}`, () => {
      const acknowledgements = new Acknowledgements('id', 10);
      acknowledgements.acknowledged = start;
      for (let n = 0; n < sent; n++) acknowledgements.keep(stanza(String(n)));
      assert.throws(
        () => acknowledgements.acknowledge(h),
        (error: StreamError) => {
          assert.equal(error.condition, 'undefined-condition');
          assert.ok(error.more!.is('handled-count-too-high', ns.streamManagement));
          assert.deepEqual({ ...error.more!.attrs }, { h, 'send-count': sendCount });
          return true;
        },
      );
      assert.equal(acknowledgements.unacknowledged.length, sent);
    });
  }

  for (const h of [undefined, '', 'x', '-1', '1.5', '4294967296', '99999999999']) {
    it(`that say ${h} close the stream`, () => {
      assert.throws(() => holding(1).acknowledge(h), StreamError);
    });
  }

  it('have no room for more than the limit', () => {
    const acknowledgements = holding(3, 3);
    assert.equal(acknowledgements.keep(stanza('x')), false);
    acknowledgements.acknowledge('1');
    assert.ok(acknowledgements.keep(stanza('x')));
  });

  it('wait for what is not kept yet', async () => {
    const acknowledgements = new Acknowledgements('id', 10);
    const { stream, texts } = written();
    let keep = () => {};
    acknowledgements.count(
      new Promise<void>(resolve => {
        keep = resolve;
      }),
    );
    acknowledgements.count(Promise.reject(new Error('a failure counts as well')));
    acknowledgements.answer(stream);
    await new Promise(resolve => setImmediate(resolve));
    assert.deepEqual(texts, []);
    keep();
    await new Promise(resolve => setImmediate(resolve));
    assert.deepEqual(texts, [`<a xmlns='${ns.streamManagement}' h='2'/>`]);
  });

  it('call who waits for what was sent before, in order', () => {
    const acknowledgements = holding(2);
    const called: string[] = [];
    acknowledgements.whenAcknowledged(() => called.push('two'));
    acknowledgements.keep(stanza('2'));
    acknowledgements.whenAcknowledged(() => called.push('three'));
    acknowledgements.acknowledge('1');
    assert.equal(called.length, 0);
    acknowledgements.acknowledge('3');
    assert.deepEqual(called, ['two', 'three']);
    acknowledgements.whenAcknowledged(() => called.push('at once'));
    assert.equal(called.length, 3);
  });

  describe('that nobody sends', () => {
    const kept = (bursts: boolean) => {
      const acks = new Acknowledgements('', 10);
      let count = 0;
      while (acks.keep(Stanza.of('message', {}), bursts)) count++;
      return count;
    };

    it('is no more than the limit', () => assert.equal(kept(false), 10));
    it('is more while the peer had no time to answer', () => assert.equal(kept(true), 60));
  });
});
