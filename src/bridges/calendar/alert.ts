// The text of an alert: what, when on the reader's clock, where, and a link.
import type { Element } from '../../xmpp/element.ts';
import { el } from '../../xmpp/element.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import type { Entry, Moment } from './entry.ts';
import type { AlertKind } from './notification.ts';
import { toTime, toWall, type Zone } from './zones.ts';

/** The payload that carries the iCalendar text as it came. */
export const calendarNamespace = 'urn:isthmus:calendar:0';
/** Longer objects stay behind: a stanza has to fit through everybody's limits. */
const longestObject = 64 * 1024;

export interface AlertOptions {
  kind: AlertKind;
  /** The reader's zone, and the one that floating times are in. */
  zone: string;
  /** Where the message goes, and the stanza's type: a headline, or one that is kept. */
  to: Jid;
  from: Jid;
  type: 'headline' | 'normal' | 'chat';
  /** Follows from the message's own id, so that a repeated alert can be known. */
  id: string;
  /** The iCalendar text, '' for none. */
  object: string;
  /** Asks servers to keep it. */
  store: boolean;
}

/** The message that tells somebody of an event or task. */
export function alertMessage(entry: Entry, options: AlertOptions): Stanza {
  const { kind, zone, to, from, type, id, object, store } = options;
  return Stanza.of(
    'message',
    { to, from, type, id },
    el('subject', ns.client, {}, headline(entry, kind)),
    el('body', ns.client, {}, alertText(entry, kind, zone)),
    objectElement(object),
    store ? el('store', ns.hints) : null,
  );
}

function objectElement(object: string): Element | null {
  if (object === '' || object.length > longestObject) return null;
  return el('icalendar', calendarNamespace, { type: 'text/calendar' }, object);
}

/** `Reminder: Standup` */
export function headline(entry: Entry, kind: AlertKind): string {
  return `${lead(entry, kind)}: ${title(entry)}`;
}

function title({ summary, kind }: Entry): string {
  return summary.replace(/\s+/g, ' ').trim() || (kind === 'task' ? 'a task' : 'an event');
}

function lead(entry: Entry, kind: AlertKind): string {
  const what = entry.kind === 'task' ? 'Task' : 'Event';
  switch (kind) {
    case 'reminder':
      return 'Reminder';
    case 'task':
      return 'Task reminder';
    case 'invitation':
      return 'Invitation';
    case 'change':
      return `${what} changed`;
    case 'cancellation':
      return `${what} cancelled`;
    case 'reply':
      return 'Answer to your invitation';
  }
}

/** The whole text, one fact a line. */
export function alertText(entry: Entry, kind: AlertKind, zone: string): string {
  const { location, url, organizer, attendees } = entry;
  const lines = [headline(entry, kind), when(entry, zone)];
  if (location) lines.push(`Where: ${location.replace(/\s+/g, ' ')}`);
  if (kind === 'reply') lines.push(...attendees.slice(0, 5).map(one => answer(one.name || one.address, one.status)));
  else if (organizer && kind !== 'reminder' && kind !== 'task')
    lines.push(`From: ${organizer.name || organizer.address}`);
  if (entry.rules.length > 0 && kind === 'invitation') lines.push('It repeats.');
  if (url) lines.push(url);
  return lines.filter(line => line !== '').join('\n');
}

function answer(who: string, status: string): string {
  const said: Record<string, string> = {
    ACCEPTED: 'will come',
    DECLINED: 'will not come',
    TENTATIVE: 'may come',
    DELEGATED: 'sends somebody else',
    COMPLETED: 'has done it',
    'IN-PROCESS': 'has begun',
  };
  return `${who} ${said[status] ?? 'has not decided'}`;
}

/** The time of a moment, for a reader in `zone`. */
export function timeOf(moment: Moment, zone: Zone): number {
  return toTime(moment.wall, moment.zone ?? zone);
}

/** `When: Mon 23 Nov 2026, 14:00–15:00 (Europe/Berlin)`, or for a task `Due: …`; '' where no time is known. */
export function when(entry: Entry, zone: string): string {
  const { start, end, duration, kind } = entry;
  if (kind === 'task') {
    const due = end ?? start;
    return due ? `Due: ${due.day ? dateText(due.wall) : momentText(due, zone)}` : '';
  }
  if (!start) return '';
  if (start.day) {
    const last = (end?.day ? end.wall : start.wall + (duration ?? day)) - day;
    return `When: ${dateText(start.wall)}${last > start.wall ? ` – ${dateText(last)}` : ''}, all day`;
  }
  const from = timeOf(start, zone);
  const to = end ? timeOf(end, zone) : from + (duration ?? 0);
  const fromWall = toWall(from, zone);
  const toWallTime = toWall(to, zone);
  if (to <= from) return `When: ${momentText(start, zone)}`;
  const sameDay = Math.floor(fromWall / day) === Math.floor(toWallTime / day);
  const until = sameDay ? clockText(toWallTime) : `${dateText(toWallTime)}, ${clockText(toWallTime)}`;
  return `When: ${dateText(fromWall)}, ${clockText(fromWall)}–${until} (${zone})`;
}

const day = 86_400_000;

function momentText(moment: Moment, zone: string): string {
  const wall = toWall(timeOf(moment, zone), zone);
  return `${dateText(wall)}, ${clockText(wall)} (${zone})`;
}

const days = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function dateText(wall: number): string {
  const date = new Date(wall);
  return `${days[date.getUTCDay()]} ${date.getUTCDate()} ${months[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
}

/** `14:00` */
export function clockText(wall: number): string {
  return new Date(wall).toISOString().slice(-13, -8);
}
