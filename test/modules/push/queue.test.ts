// The queue of notifications: bounded, one under way for each target, the newest kept.
import assert from 'node:assert/strict';
import { type Notice, PushQueue } from '../../../src/modules/push/queue.ts';

const notice = (target: string, count: number): Notice<string> => ({ target, count, pending: 0, sender: '', body: '' });
const turn = () => new Promise(resolve => setImmediate(resolve));

describe('push queue', () => {
  function make(most: number, atOnce: number) {
    const told: string[] = [];
    const answers: ((error?: Error) => void)[] = [];
    const queue = new PushQueue<string>(
      ({ target, count }) => {
        told.push(`${target}${count}`);
        return new Promise((resolve, reject) => answers.push(error => (error ? reject(error) : resolve())));
      },
      most,
      atOnce,
    );
    return { queue, told, answers, add: (target: string, count: number) => queue.add(target, notice(target, count)) };
  }

  it('tells one thing at a time to a target, and then the newest', async () => {
    const { told, answers, add } = make(10, 10);
    for (const count of [1, 2, 3]) add('a', count);
    add('b', 1);
    assert.deepEqual(told, ['a1', 'b1']);
    answers[0]();
    await turn();
    assert.deepEqual(told, ['a1', 'b1', 'a3']);
  });

  it('goes on after a failure', async () => {
    const { told, answers, add } = make(10, 10);
    add('a', 1);
    add('a', 2);
    answers[0](new Error('no'));
    await turn();
    assert.deepEqual(told, ['a1', 'a2']);
  });

  it('has no more under way, and no more waiting, than there is room for', async () => {
    const { told, answers, queue, add } = make(2, 2);
    const taken = ['a', 'b', 'c', 'd', 'e'].map(target => add(target, 1));
    assert.deepEqual(taken, [true, true, true, true, false]);
    assert.equal(queue.length, 2);
    assert.deepEqual(told, ['a1', 'b1']);
    answers[1]();
    await turn();
    assert.deepEqual(told, ['a1', 'b1', 'c1']);
    queue.clear();
    answers[0]();
    await turn();
    assert.deepEqual(told, ['a1', 'b1', 'c1']);
  });
});
