// Two seconds of the fuzzers, from a fixed seed, so that every run of the tests sees the same cases.
import assert from 'node:assert/strict';
import { fuzzAddresses } from '../fuzz/addresses.ts';
import { fuzzScanner } from '../fuzz/scanner.ts';

const seed = 6120;

describe(`fuzzing from seed ${seed}`, () => {
  it('finds the scanner and saxes of one mind about generated streams', () => {
    const { verdicts } = fuzzScanner({ cases: 4000 }, seed);
    assert.ok(verdicts.closed > 800, 'enough of them are right');
    assert.ok(verdicts['not-well-formed'] > 800, 'enough of them are wrong');
  });

  it('finds addresses stable', () => {
    assert.ok(fuzzAddresses({ cases: 10_000 }, seed).verdicts.address > 500);
  });
});
