// A few thousand cases of the SIP fuzzer, always the same ones; `npm run fuzz` runs others.
import { fuzzSip } from '../../fuzz/sip.ts';

describe('SIP messages by chance', () => {
  it('are read and written again, answered or dropped', () => {
    fuzzSip({ cases: 3000 }, 20_260_101);
  });
});
