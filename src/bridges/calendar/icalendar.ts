// Reads iCalendar (RFC 5545) into plain data: checks text before the parser sees it, and trusts nothing after.
import ICAL from 'ical.js';
import {
  type Busy,
  type CalendarObject,
  type Entry,
  type FreeBusy,
  type Moment,
  type Party,
  Unusable,
} from './entry.ts';
import { ianaZone, type Observance, toTime, type Zone } from './zones.ts';

/** A component as the parser gives it (RFC 7265): name, properties, components. */
export type JCal = [string, JProperty[], JCal[]];
export type JProperty = [string, Record<string, string | string[]>, string, ...unknown[]];

/** Parts of one object; more is an attack, or a whole calendar that does not belong into one notification. */
const mostComponents = 500;
const deepest = 5;
const mostDates = 5_000;
const mostRules = 10;
const mostParties = 500;
const longestText = 2_000;

/** Reads the text of one or more VCALENDAR objects. Throws Unusable. */
export function readICalendar(text: string): CalendarObject {
  checkNesting(text);
  let parsed: unknown;
  try {
    parsed = ICAL.parse(text);
  } catch (error) {
    throw new Unusable('malformed', `not iCalendar: ${(error as Error).message.slice(0, 200)}`);
  }
  const list = (Array.isArray(parsed) && typeof parsed[0] === 'string' ? [parsed] : parsed) as JCal[];
  return readJCal(list);
}

/** Every BEGIN has its END, nothing is nested too deep, and there are not too many of them. */
function checkNesting(text: string): void {
  const open: string[] = [];
  let components = 0;
  for (const [, word, name] of text.matchAll(/^(BEGIN|END):[ \t]*([A-Za-z0-9-]+)[ \t]*\r?$/gim)) {
    const upper = name.toUpperCase();
    if (word.toUpperCase() === 'END') {
      if (open.pop() !== upper) throw new Unusable('malformed', `END:${upper.slice(0, 40)} ends something else`);
      continue;
    }
    open.push(upper);
    if (open.length > deepest) throw new Unusable('malformed', `components are nested deeper than ${deepest}`);
    if (++components > mostComponents) throw new Unusable('too-large', `more than ${mostComponents} components`);
  }
  if (components === 0) throw new Unusable('malformed', 'there is no component');
  if (open.length > 0) throw new Unusable('malformed', `${open.pop()!.slice(0, 40)} does not end`);
}

/** Reads parsed objects. Throws Unusable. */
export function readJCal(objects: readonly JCal[]): CalendarObject {
  const calendars = objects.filter(one => Array.isArray(one) && one[0] === 'vcalendar');
  if (calendars.length === 0) throw new Unusable('malformed', 'there is no VCALENDAR');
  const entries: Entry[] = [];
  const freeBusy: FreeBusy[] = [];
  for (const calendar of calendars) {
    const zones = new Map<string, Zone>();
    for (const part of calendar[2]) if (part[0] === 'vtimezone') readZone(part, zones);
    for (const part of calendar[2]) {
      if (part[0] === 'vevent' || part[0] === 'vtodo') entries.push(readEntry(part, zones));
      else if (part[0] === 'vfreebusy') freeBusy.push(readFreeBusy(part));
    }
  }
  const first = calendars[0];
  return {
    method: textOf(first, 'method').toUpperCase(),
    zone: ianaZone(textOf(first, 'x-wr-timezone')),
    owner: addressOf(textOf(first, 'x-wr-calowner') || textOf(first, 'x-owner')),
    entries,
    freeBusy,
  };
}

function property(component: JCal, name: string): JProperty | undefined {
  return component[1].find(one => one[0] === name);
}

function textOf(component: JCal, name: string): string {
  const value = property(component, name)?.[3];
  return typeof value === 'string' ? clean(value) : typeof value === 'number' ? String(value) : '';
}

/** Without characters that no reader should see, and of a sensible length. */
function clean(text: string): string {
  const short = text.length > longestText ? `${text.slice(0, longestText).toWellFormed()}…` : text;
  return short.replace(/\r\n?/g, '\n').replace(/[\0-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]/g, '');
}

function readEntry(component: JCal, zones: ReadonlyMap<string, Zone>): Entry {
  const moment = (name: string) => momentsOf(component, name, zones)[0] ?? null;
  const task = component[0] === 'vtodo';
  const alarms = component[2].filter(part => part[0] === 'valarm');
  const organizer = property(component, 'organizer');
  const stamp = moment('last-modified') ?? moment('dtstamp');
  const rules = component[1].filter(one => one[0] === 'rrule').map(one => ruleText(one[3]));
  const start = moment('dtstart');
  const duration = durationOf(component);
  const dates = momentsOf(component, 'rdate', zones);
  const exceptions = momentsOf(component, 'exdate', zones);
  return {
    kind: task ? 'task' : 'event',
    uid: textOf(component, 'uid').slice(0, 500),
    recurrence: moment('recurrence-id'),
    sequence: Math.max(0, Number.parseInt(textOf(component, 'sequence'), 10) || 0),
    stamp: stamp ? toTime(stamp.wall, stamp.zone ?? 'UTC') : 0,
    summary: textOf(component, 'summary'),
    location: textOf(component, 'location'),
    url: linkOf(textOf(component, 'url')) || linkOf(textOf(component, 'conference')),
    start,
    end: moment(task ? 'due' : 'dtend'),
    duration,
    status: textOf(component, 'status').toUpperCase(),
    transparent: textOf(component, 'transp').toUpperCase() === 'TRANSPARENT',
    busyStatus: textOf(component, 'x-microsoft-cdo-busystatus').toUpperCase(),
    private: !['', 'PUBLIC'].includes(textOf(component, 'class').toUpperCase()),
    organizer: organizer ? partyOf(organizer) : null,
    attendees: component[1]
      .filter(one => one[0] === 'attendee')
      .slice(0, mostParties)
      .map(partyOf),
    rules: rules.slice(0, mostRules),
    dates,
    exceptions,
    excessive: dates.length > mostDates || exceptions.length > mostDates || rules.length > mostRules,
    alarms: {
      count: alarms.length,
      attendees: alarms.flatMap(alarm =>
        alarm[1].filter(one => one[0] === 'attendee').map(one => addressOf(String(one[3]))),
      ),
    },
  };
}

function partyOf(attendee: JProperty): Party {
  const { cn, partstat } = attendee[1];
  return {
    address: addressOf(String(attendee[3] ?? '')),
    name: clean(typeof cn === 'string' ? cn : '').slice(0, 200),
    status: typeof partstat === 'string' ? partstat.toUpperCase() : '',
  };
}

/** The mail address of a `mailto:` URI in lower case, anything else as it is. */
export function addressOf(uri: string): string {
  return clean(uri.trim())
    .replace(/^mailto:/i, '')
    .slice(0, 500)
    .toLowerCase();
}

/** A link that people may follow; anything but the web and telephones is left out. */
function linkOf(text: string): string {
  return /^(https?|xmpp|sip|sips|tel):[^\s<>"]+$/i.test(text) ? text : '';
}

function momentsOf(component: JCal, name: string, zones: ReadonlyMap<string, Zone>): Moment[] {
  const moments: Moment[] = [];
  for (const [of, parameters, type, ...values] of component[1]) {
    if (of !== name) continue;
    for (const value of values) {
      if (moments.length > mostDates) return moments;
      const text = type === 'period' && Array.isArray(value) ? String(value[0]) : value;
      const moment = typeof text === 'string' ? momentOf(text, parameters.tzid, zones) : null;
      if (moment) moments.push(moment);
    }
  }
  return moments;
}

/** `2026-11-21` or `2026-11-21T14:00:00`, with `Z` in UTC; null where there is no such time. */
function momentOf(text: string, tzid: string | string[] | undefined, zones: ReadonlyMap<string, Zone>): Moment | null {
  const match = /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d):(\d\d)(Z?))?$/.exec(text);
  if (!match) return null;
  const [year, month, date, hour, minute, second] = match.slice(1, 7).map(part => Number(part ?? 0));
  const wall = Date.UTC(year, month - 1, date, hour, minute, Math.min(second, 59));
  const made = new Date(wall);
  const exists = made.getUTCMonth() === month - 1 && made.getUTCDate() === date && hour < 24 && minute < 60;
  if (!exists || year < 1000) return null;
  if (match[4] === undefined) return { wall, zone: null, day: true };
  if (match[7] === 'Z') return { wall, zone: 'UTC', day: false };
  return { wall, zone: typeof tzid === 'string' ? zoneOf(tzid, zones) : null, day: false };
}

/** What Node knows by that name counts before what the object says of it; a name that neither knows is floating. */
function zoneOf(tzid: string, zones: ReadonlyMap<string, Zone>): Zone | null {
  return ianaZone(tzid) ?? zones.get(tzid) ?? null;
}

function durationOf(component: JCal): number | null {
  const match = /^([+-]?)P(?:(\d{1,5})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,7})H)?(?:(\d{1,8})M)?(?:(\d{1,9})S)?)?$/.exec(
    textOf(component, 'duration'),
  );
  if (!match || match[1] === '-') return null;
  const [weeks, days, hours, minutes, seconds] = match.slice(2).map(part => Number(part ?? 0));
  return (((weeks * 7 + days) * 24 + hours) * 60 + minutes) * 60_000 + seconds * 1000;
}

const weekdays = ['SU', 'MO', 'TU', 'WE', 'TH', 'FR', 'SA'];

/** A rule as text again: the parser has made an object of it. */
function ruleText(rule: unknown): string {
  const parts = Object.entries((rule ?? {}) as Record<string, unknown>).map(([key, value]) => {
    const text = key === 'until' ? String(value).replace(/[-:]/g, '') : String(value);
    return `${key.toUpperCase()}=${key === 'wkst' && typeof value === 'number' ? weekdays[value - 1] : text}`;
  });
  return parts.join(';').slice(0, 1000);
}

const freeBusyTypes: Record<string, Busy> = { 'BUSY-TENTATIVE': 'tentative', 'BUSY-UNAVAILABLE': 'away' };

function readFreeBusy(component: JCal): FreeBusy {
  const periods: FreeBusy['periods'][number][] = [];
  for (const [name, parameters, , ...values] of component[1]) {
    const type = String(parameters?.fbtype ?? 'BUSY').toUpperCase();
    if (name !== 'freebusy' || type === 'FREE') continue;
    for (const value of values) {
      if (periods.length >= mostDates) throw new Unusable('too-large', `more than ${mostDates} busy times`);
      const [from, to] = Array.isArray(value) ? value.map(String) : String(value).split('/');
      const start = momentOf(from ?? '', undefined, new Map());
      const end = momentOf(to ?? '', undefined, new Map());
      const length = durationOf(['', [['duration', {}, 'duration', to]], []]);
      if (!start) continue;
      const until = end ? end.wall : start.wall + (length ?? 0);
      if (until > start.wall) periods.push({ start: start.wall, end: until, busy: freeBusyTypes[type] ?? 'busy' });
    }
  }
  const owner = addressOf(textOf(component, 'organizer'));
  return { uid: textOf(component, 'uid') || `freebusy:${owner}`, owner, periods };
}

/** A VTIMEZONE whose name is not known: its rules, as far as they are yearly (RFC 5545 §3.6.5). */
function readZone(component: JCal, zones: Map<string, Zone>): void {
  const name = textOf(component, 'tzid');
  if (!name || ianaZone(name)) return;
  const location = ianaZone(textOf(component, 'x-lic-location'));
  if (location) {
    zones.set(name, location);
    return;
  }
  const rules: Observance[] = [];
  for (const part of component[2].slice(0, 20)) {
    const rule = observanceOf(part);
    if (rule) rules.push(rule);
  }
  if (rules.length > 0) zones.set(name, { name, rules });
}

function observanceOf(part: JCal): Observance | null {
  const offset = offsetOf(textOf(part, 'tzoffsetto'));
  const before = offsetOf(textOf(part, 'tzoffsetfrom'));
  const start = momentsOf(part, 'dtstart', new Map())[0];
  if (offset === null || before === null || !start) return null;
  const once = { offset, before, month: 0, week: 0, weekday: 0, start: start.wall };
  const rule = property(part, 'rrule')?.[3] as Record<string, unknown> | undefined;
  const day = /^([+-]?[1-5])(SU|MO|TU|WE|TH|FR|SA)$/.exec(String(rule?.byday ?? ''));
  const month = Number(rule?.bymonth);
  if (rule?.freq !== 'YEARLY' || !day || !(month >= 1 && month <= 12)) return once;
  const weekday = weekdays.indexOf(day[2]);
  return { ...once, month, week: Number(day[1]), weekday };
}

function offsetOf(text: string): number | null {
  const match = /^([+-])(\d\d):?(\d\d)(?::?(\d\d))?$/.exec(text);
  if (!match) return null;
  const size = (Number(match[2]) * 3600 + Number(match[3]) * 60 + Number(match[4] ?? 0)) * 1000;
  return match[1] === '-' ? -size : size;
}
