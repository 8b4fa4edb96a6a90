// Metrics: counters that are cheap to add to, gauges that are read when asked for, bounded labels.
import assert from 'node:assert/strict';
import { createMetrics } from '../../src/hub/metrics.ts';

describe('metrics', () => {
  const metrics = createMetrics();
  after(() => metrics.close());
  const line = async (name: string) => (await metrics.text()).split('\n').filter(one => one.startsWith(name));

  it('count by label', async () => {
    const counter = metrics.counter('isthmus_test_total', 'A test', ['kind']);
    const a = counter.bind('a');
    a.add();
    a.add(2);
    counter.bind('b').add();
    assert.equal(counter.bind('a'), a, 'the same labels give the same series');
    assert.equal(metrics.counter('isthmus_test_total', 'A test', ['kind']), counter);
    assert.deepEqual(await line('isthmus_test_total'), [
      'isthmus_test_total{kind="a"} 3',
      'isthmus_test_total{kind="b"} 1',
    ]);
    a.add();
    assert.deepEqual((await line('isthmus_test_total'))[0], 'isthmus_test_total{kind="a"} 4', 'asking does not add up');
  });

  it('keep label values apart that contain separators, and escape them', async () => {
    const counter = metrics.counter('isthmus_odd_total', 'Odd', ['x', 'y']);
    counter.bind('a b', 'c').add();
    counter.bind('a', 'b c').add(5);
    counter.bind('"\n', '\\').add(7);
    const lines = await line('isthmus_odd_total');
    assert.equal(lines.length, 3);
    assert.ok(lines.includes('isthmus_odd_total{x="\\"\\n",y="\\\\"} 7'));
  });

  it('read gauges when they are asked for', async () => {
    let open = 1;
    metrics.gauge('isthmus_open', 'Open', ['where'], set => set(open, 'here'));
    assert.deepEqual(await line('isthmus_open'), ['isthmus_open{where="here"} 1']);
    open = 5;
    assert.deepEqual(await line('isthmus_open'), ['isthmus_open{where="here"} 5']);
  });

  it('keep histograms', async () => {
    const histogram = metrics.histogram('isthmus_wait_seconds', 'Wait', [0.1, 1]);
    histogram.observe(0.05);
    histogram.observe(0.5);
    assert.equal(metrics.histogram('isthmus_wait_seconds', 'Wait', [0.1, 1]), histogram);
    const lines = await line('isthmus_wait_seconds');
    assert.ok(lines.includes('isthmus_wait_seconds_bucket{le="0.1"} 1'));
    assert.ok(lines.includes('isthmus_wait_seconds_count 2'));
  });

  it('bound the values of a label', () => {
    const named = metrics.capped(2);
    assert.deepEqual(['a', 'b', 'c', 'a', 'd'].map(named), ['a', 'b', 'other', 'a', 'other']);
  });

  it('tell of the process and of the event loop', async () => {
    const text = await metrics.text();
    assert.match(text, /^isthmus_process_resident_memory_bytes \d/m);
    assert.match(text, /^isthmus_event_loop_delay_seconds\{quantile="0\.99"\} \d/m);
  });
});
