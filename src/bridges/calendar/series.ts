// Expands one series into its instances: pure, and run in a thread because a rule can keep it busy for ever.
import ICAL from 'ical.js';
import type { Busy, Moment } from './entry.ts';
import { toTime, toWall, type Wall, type Zone } from './zones.ts';

/** One instance that is as no other of its series. */
export interface Override {
  /** Which instance. */
  readonly of: Moment;
  /** Where it is now; null: it is cancelled, or takes no time. */
  readonly at: Span | null;
}

export interface Span {
  readonly start: number;
  readonly end: number;
  readonly busy: Busy;
}

/** What the thread is given: an event that takes time, and what differs from it. */
export interface Series {
  readonly start: Moment;
  /** ms; of a day-long event in whole days of the wall clock. */
  readonly length: number;
  /** What an instance counts as; null: only the overrides take time. */
  readonly busy: Busy | null;
  readonly rules: readonly string[];
  readonly dates: readonly Moment[];
  readonly exceptions: readonly Moment[];
  readonly overrides: readonly Override[];
  /** Where floating times are. */
  readonly zone: string;
  /** Instances that overlap this time are wanted. */
  readonly from: number;
  readonly to: number;
}

/** Instances of one series within one window. */
export const mostInstances = 1_000;
const day = 86_400_000;
/** Steps of a rule before the window is reached, and within it. */
const mostSteps = 400_000;

/** A rule that is not expanded. */
export class RefusedRule extends Error {
  override readonly name = 'RefusedRule';
}

/** The times that the series takes within its window, in no order. Throws RefusedRule, or what the parser throws. */
export function expandSeries(series: Series): Span[] {
  const { start, length, busy, dates, exceptions, overrides, from, to } = series;
  const zoneOf = (moment: Moment): Zone => moment.zone ?? series.zone;
  const left = new Set<number>();
  for (const exception of exceptions) left.add(keyOf(exception, start, zoneOf));
  for (const { of } of overrides) left.add(keyOf(of, start, zoneOf));
  const walls = new Set<Wall>();
  // Two days to spare: these are wall clocks, the window is not.
  const floor = from - length - 2 * day;
  if (series.rules.length === 0 && busy) walls.add(start.wall);
  for (const rule of busy ? series.rules : []) {
    for (const wall of occurrences(rule, start, floor, to, zoneOf(start))) {
      walls.add(wall);
      if (walls.size > mostInstances) break;
    }
  }
  for (const date of busy ? dates : []) walls.add(wallIn(date, start, zoneOf));
  const spans: Span[] = [];
  for (const wall of walls) {
    const begin = toTime(wall, zoneOf(start));
    if (left.has(start.day ? wall : begin)) continue;
    const end = start.day ? toTime(wall + length, zoneOf(start)) : begin + length;
    if (end > from && begin < to && end > begin) spans.push({ start: begin, end, busy: busy! });
    if (spans.length >= mostInstances) break;
  }
  for (const { at } of overrides) if (at && at.end > from && at.start < to) spans.push(at);
  return spans;
}

function midnight(wall: Wall): Wall {
  return Math.floor(wall / day) * day;
}

/** What identifies an instance: its time or, of a series of days, its date. A DATE names the whole day. */
function keyOf(moment: Moment, start: Moment, zoneOf: (moment: Moment) => Zone): number {
  if (start.day) return midnight(moment.wall);
  if (moment.day) return toTime(moment.wall + (start.wall - midnight(start.wall)), zoneOf(start));
  return toTime(moment.wall, zoneOf(moment));
}

/** A further date on the wall clock of the series. */
function wallIn(date: Moment, start: Moment, zoneOf: (moment: Moment) => Zone): Wall {
  if (date.day || start.day) {
    return midnight(date.wall) + (start.day ? 0 : start.wall - midnight(start.wall));
  }
  return toWall(toTime(date.wall, zoneOf(date)), zoneOf(start));
}

/** The wall times at which a rule says the series happens, from `from` on and before `to`. */
function* occurrences(text: string, start: Moment, from: number, to: number, zone: Zone): Generator<Wall> {
  if (/FREQ=(SECONDLY|MINUTELY)/i.test(text)) throw new RefusedRule('it repeats every minute or more often');
  const rule = ICAL.Recur.fromString(floatingUntil(text, start, zone));
  const iterator = rule.iterator(icalTime(start));
  const fits = dayOfMonth(text, start);
  for (let steps = 0; steps < mostSteps; steps++) {
    const next = iterator.next();
    if (!next) return;
    const wall = Date.UTC(next.year, next.month - 1, next.day, next.hour, next.minute, next.second);
    if (wall > to + 2 * day) return;
    if (wall >= from && fits(next.day)) yield wall;
  }
  throw new RefusedRule(`it has more than ${mostSteps} instances before it is over`);
}

function icalTime({ wall, day }: Moment): InstanceType<typeof ICAL.Time> {
  const date = new Date(wall);
  const fields = {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
    isDate: day,
  };
  return new ICAL.Time(fields, ICAL.Timezone.localTimezone);
}

/** UNTIL in UTC becomes the time that the series' own clock shows then (RFC 5545 §3.3.10). */
function floatingUntil(text: string, start: Moment, zone: Zone): string {
  return text.replace(/UNTIL=(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)(Z?))?/i, (_whole, ...parts: string[]) => {
    const [year, month, date, hour, minute, second] = parts.slice(0, 6).map(part => Number(part ?? 0));
    const given = Date.UTC(year, month - 1, date, hour, minute, second);
    const dated = parts[3] === undefined;
    const wall = dated && !start.day ? given + 86_399_000 : parts[6] === 'Z' ? toWall(given, zone) : given;
    const iso = new Date(wall).toISOString();
    return `UNTIL=${iso.slice(0, 10).replace(/-/g, '')}${start.day ? '' : `T${iso.slice(11, 19).replace(/:/g, '')}`}`;
  });
}

/** COMPAT(ical.js): a yearly rule for a day that the month does not have gives the next month's first. */
function dayOfMonth(text: string, start: Moment): (day: number) => boolean {
  const listed = /BYMONTHDAY=([-+\d,]+)/i.exec(text)?.[1].split(',').map(Number);
  if (listed?.every(day => day > 0)) return day => listed.includes(day);
  if (listed || !/FREQ=(YEARLY|MONTHLY)/i.test(text) || /BY(DAY|YEARDAY|WEEKNO)=/i.test(text)) return () => true;
  const own = new Date(start.wall).getUTCDate();
  return day => day === own;
}
