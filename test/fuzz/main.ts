// Runs the fuzzers for a number of seconds (the argument, 60 if there is none), each from a new seed or from FUZZ_SEED.
import { fuzzAddresses } from './addresses.ts';
import { fuzzCalendar } from './calendar.ts';
import { type Budget, type FuzzResult, fuzzScanner } from './scanner.ts';
import { fuzzSip } from './sip.ts';

const targets: { name: string; run(budget: Budget, seed: number): FuzzResult; share: number }[] = [
  { name: 'scanner', run: fuzzScanner, share: 0.4 },
  { name: 'addresses', run: fuzzAddresses, share: 0.2 },
  { name: 'calendar', run: fuzzCalendar, share: 0.2 },
  { name: 'sip', run: fuzzSip, share: 0.2 },
];

const seconds = Number(process.argv[2] ?? 60);
const seed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 1_000_000_000));
let passed = 0;
let failed = 0;
console.log(`seed ${seed}`);
for (const { name, run, share } of targets) {
  try {
    const { cases, verdicts } = run({ seconds: seconds * share }, seed);
    passed += cases;
    console.log(`${name}: ${cases} cases`, verdicts);
  } catch (error) {
    failed++;
    console.error(`${name}: ${(error as Error).message}`);
  }
}
process.exitCode = failed ? 1 : 0;
console.log(`${passed} passed, ${failed} failed`);
