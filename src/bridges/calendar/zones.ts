// Time zones: IANA rules from Node's own tables, and the rules that a calendar object brings for names nobody knows.
import { windowsZones } from './windows-zones.ts';

/**
 * Times on a wall clock are numbers here: the milliseconds at which that clock would show them if it stood in UTC.
 * A zone turns them into milliseconds since 1970 and back.
 */
export type Wall = number;

/** When a zone's offset begins to hold: every year on a day of a month, or once (RFC 5545 §3.6.5). */
export interface Observance {
  /** Of the wall clock, in ms: what it shows is UTC plus this. */
  offset: number;
  /** The offset until then. */
  before: number;
  /** 1 to 12; 0: once, at `start`. */
  month: number;
  /** 1 to 5 from the month's beginning, -1 to -5 from its end. */
  week: number;
  /** 0 is Sunday. */
  weekday: number;
  /** The first time, on the wall clock before it. */
  start: Wall;
}

/** A zone as it is stored with an event: the IANA name, or rules of its own. */
export type Zone = string | { readonly name: string; readonly rules: readonly Observance[] };

const day = 86_400_000;
const mostFormats = 600;
const mostOffsets = 4_000;

interface Known {
  format: Intl.DateTimeFormat;
  /** Quarter hours since 1970 → offset in ms. */
  offsets: Map<number, number>;
}

const known = new Map<string, Known | null>();

/** The IANA zone that a TZID means, or null: the name itself, the end of a path, or a name of Windows. */
export function ianaZone(tzid: string): string | null {
  const name = tzid.trim().replace(/^["']|["']$/g, '');
  if (name === '' || name.length > 200) return null;
  const windows = windowsZones.get(name.toLowerCase());
  if (windows) return windows;
  if (lookUp(name)) return name;
  const parts = name.split('/').filter(part => part !== '');
  for (const count of [3, 2]) {
    const tail = parts.slice(-count).join('/');
    if (parts.length > count && lookUp(tail)) return tail;
  }
  return null;
}

/** How far a zone's wall clocks are ahead of UTC at a time, in ms. */
export function offsetAt(zone: Zone, time: number): number {
  if (typeof zone !== 'string') return ruledOffset(zone.rules, time);
  const found = lookUp(zone);
  if (!found) return 0;
  const quarter = Math.floor(time / 900_000);
  let offset = found.offsets.get(quarter);
  if (offset === undefined) {
    offset = askOffset(found.format, quarter * 900_000);
    if (found.offsets.size >= mostOffsets) found.offsets.clear();
    found.offsets.set(quarter, offset);
  }
  return offset;
}

/**
 * The time at which a zone's clocks show something. Of a time that comes twice the first counts, and one that never
 * comes is read with the offset before the gap (RFC 5545 §3.3.5).
 */
export function toTime(wall: Wall, zone: Zone): number {
  const before = offsetAt(zone, wall - day);
  const after = offsetAt(zone, wall + day);
  if (before === after) return wall - before;
  const first = wall - Math.max(before, after);
  const second = wall - Math.min(before, after);
  if (offsetAt(zone, first) === wall - first) return first;
  if (offsetAt(zone, second) === wall - second) return second;
  return wall - before;
}

export function toWall(time: number, zone: Zone): Wall {
  return time + offsetAt(zone, time);
}

/** The zone of this machine. */
export function systemZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

function lookUp(name: string): Known | null {
  const found = known.get(name);
  if (found !== undefined) return found;
  let made: Known | null = null;
  // What begins with a sign is an offset to Intl, not a name.
  if (/^[A-Za-z][A-Za-z0-9_+\-/]*$/.test(name)) {
    try {
      made = {
        format: new Intl.DateTimeFormat('en-US', { timeZone: name, timeZoneName: 'longOffset' }),
        offsets: new Map(),
      };
    } catch {
      // There is no such zone.
    }
  }
  if (known.size >= mostFormats) known.clear();
  known.set(name, made);
  return made;
}

function askOffset(format: Intl.DateTimeFormat, time: number): number {
  const text = format.formatToParts(time).find(part => part.type === 'timeZoneName')?.value ?? '';
  const match = /^GMT([+-])(\d\d):(\d\d)(?::(\d\d))?$/.exec(text);
  if (!match) return 0;
  const size = (Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4] ?? 0)) * 1000;
  return match[1] === '-' ? -size : size;
}

/** The offset of the observance that began last. */
function ruledOffset(rules: readonly Observance[], time: number): number {
  let last = Number.NEGATIVE_INFINITY;
  let offset = rules[0]?.before ?? 0;
  const year = new Date(time).getUTCFullYear();
  for (const rule of rules) {
    const onsets = rule.month === 0 ? [rule.start] : [year - 1, year, year + 1].map(y => yearlyOnset(rule, y));
    for (const wall of onsets) {
      const onset = wall - rule.before;
      if (onset <= time && onset > last && wall >= rule.start) {
        last = onset;
        offset = rule.offset;
      }
    }
  }
  return offset;
}

function yearlyOnset({ month, week, weekday, start }: Observance, year: number): Wall {
  const clock = ((start % day) + day) % day;
  if (week > 0) {
    const first = new Date(Date.UTC(year, month - 1, 1)).getUTCDay();
    return Date.UTC(year, month - 1, 1 + ((weekday - first + 7) % 7) + (week - 1) * 7) + clock;
  }
  const end = new Date(Date.UTC(year, month, 0));
  return Date.UTC(year, month - 1, end.getUTCDate() - ((end.getUTCDay() - weekday + 7) % 7) + (week + 1) * 7) + clock;
}
