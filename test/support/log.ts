// A log whose lines a test can read.
import { Writable } from 'node:stream';
import type { Config } from '../../src/hub/config.ts';
import { createLog, type Log } from '../../src/hub/log.ts';

/** A log in JSON; each line, with its end, goes to `take`. */
export function logTo(take: (line: string) => void, level: Config['log']['level'] = 'info'): Log {
  const sink = new Writable({
    write(line, _encoding, done) {
      take(String(line));
      done();
    },
  });
  return createLog({ level, format: 'json' }, sink);
}
