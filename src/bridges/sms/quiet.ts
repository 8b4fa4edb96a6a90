// Quiet hours: when phones must not be disturbed.
import type { QuietHours } from './settings.ts';

/** When sending is permitted again, in Unix ms; `now` or earlier where it is permitted now. */
export function quietUntil(quiet: QuietHours | null, now: number): number {
  if (quiet === null) return 0;
  const { from, until, timeZone } = quiet;
  const minute = minuteOfDay(now, timeZone);
  const inside = from <= until ? minute >= from && minute < until : minute >= from || minute < until;
  if (!inside) return 0;
  // Clocks that are put forward or back in between are met by asking again when the time has come.
  const left = (until - minute + 24 * 60) % (24 * 60);
  return now - (now % 60_000) + left * 60_000;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function minuteOfDay(now: number, timeZone: string): number {
  let format = formats.get(timeZone);
  if (!format) {
    format = new Intl.DateTimeFormat('en', { timeZone, hour: 'numeric', minute: 'numeric', hourCycle: 'h23' });
    formats.set(timeZone, format);
  }
  const parts = format.formatToParts(now);
  const value = (type: string) => Number(parts.find(part => part.type === type)?.value);
  return value('hour') * 60 + value('minute');
}
