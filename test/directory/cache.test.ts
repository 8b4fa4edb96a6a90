// What is remembered of a directory's answers, and for how long.
import assert from 'node:assert/strict';
import { Cache } from '../../src/directory/ldap/cache.ts';
import { VirtualTime } from '../support/virtual-time.ts';

describe('a cache of answers', () => {
  let time: VirtualTime;
  let cache: Cache<string>;
  beforeEach(() => {
    time = new VirtualTime();
    time.install();
    cache = new Cache<string>({ age: () => 1_000, most: 2 });
  });
  afterEach(() => time.uninstall());

  const slowly = (value: string, ms: number) => () =>
    new Promise<string>(resolve => setTimeout(() => resolve(value), ms));

  it('counts their age from the question', async () => {
    void cache.find('a', slowly('1', 900));
    await time.pass(900);
    assert.equal(cache.get('a'), '1');
    await time.pass(100);
    assert.equal(cache.get('a'), undefined);
  });

  it('forgets also what is being looked up', async () => {
    const early = cache.find('a', slowly('1', 300));
    await time.pass(100);
    cache.delete('a');
    const late = cache.find('a', slowly('2', 100));
    await time.pass(300);
    assert.deepEqual([await early, await late, cache.get('a')], ['1', '2', '2']);
  });

  it('shares lookups with those who can wait as long', async () => {
    const first = cache.find('a', slowly('1', 300), 500);
    const patient = cache.find('a', slowly('2', 100), 500);
    const hasty = cache.find('a', slowly('3', 100), 400);
    await time.pass(300);
    assert.deepEqual(await Promise.all([first, patient, hasty]), ['1', '1', '3']);
  });
});
