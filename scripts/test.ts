// `npm test`: type check, lint and format check, then every mocha test; the last line counts the tests.
import { spawnSync } from 'node:child_process';

const steps: [string, string[]][] = [
  ['tsc', ['--noEmit']],
  ['biome', ['ci', '--error-on-warnings', '.']],
  ['mocha', []],
];

for (const [command, args] of steps) {
  const { status } = spawnSync(command, args, { stdio: 'inherit' });
  if (status !== 0) {
    if (command !== 'mocha') console.log(`\n${command} failed, so no test was run\n0 passed, 1 failed`);
    process.exit(status ?? 1);
  }
}
