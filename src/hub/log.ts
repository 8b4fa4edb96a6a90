// The log: pino, as JSON lines or, on a terminal, as text for people.
import { pino } from 'pino';
import pretty from 'pino-pretty';
import type { Config } from './config.ts';

export type Log = pino.Logger;

/** What never reaches a log, under whichever object it stands. */
const secretKeys = ['password', 'secret', 'secrets', 'authorization', 'Authorization', 'key', 'token'];
const depths = ['', '*.', '*.*.'];

/** A log to standard output, or to `stream`. */
export function createLog(config: Config['log'], stream?: NodeJS.WritableStream): Log {
  const asText = config.format === 'pretty' || (config.format === 'auto' && !stream && process.stdout.isTTY === true);
  const options: pino.LoggerOptions = {
    level: config.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: label => ({ level: label }) },
    redact: { paths: depths.flatMap(above => secretKeys.map(key => above + key)), censor: '[secret]' },
  };
  if (asText) {
    return pino(
      options,
      pretty({
        colorize: !stream && process.stdout.isTTY,
        translateTime: 'SYS:HH:MM:ss.l',
        sync: true,
        destination: (stream as NodeJS.WritableStream) ?? 1,
      }),
    );
  }
  return stream
    ? pino(options, stream as pino.DestinationStream)
    : pino(options, pino.destination({ dest: 1, sync: true }));
}

/** A log that says nothing, for tests. */
export function silentLog(): Log {
  return pino({ level: 'silent' });
}
