// From the body and the properties of a message to one notification: what happened, in whose calendar.
import { type CalendarObject, type Entry, Unusable } from './entry.ts';
import { addressOf, readICalendar } from './icalendar.ts';
import { readXml } from './xml.ts';

/** What people are told of, each kind with a text of its own. */
export const alertKinds = ['reminder', 'task', 'invitation', 'change', 'cancellation', 'reply'] as const;
export type AlertKind = (typeof alertKinds)[number];

/** What a broker or the HTTP door hands over. */
export interface Incoming {
  readonly body: Uint8Array;
  /** '' where it is not said. */
  readonly type: string;
  /** The message's own properties, by their names in lower case. */
  readonly properties: ReadonlyMap<string, string>;
}

export interface Notification {
  /** Null: nobody is told, it only changes what is known of somebody's time. */
  readonly alert: AlertKind | null;
  /** Whether the whole calendar is gone. */
  readonly calendarDeleted: boolean;
  readonly object: CalendarObject;
  /** What people are told of, where that is not the first entry: the instance of a series that is due. */
  readonly instance?: Entry;
  /** Whose calendar it is, as the message says it: mail addresses, user names or addresses of ours; best first. */
  readonly owners: readonly string[];
  /** Everybody it is addressed to, where it names no owner (invitations). */
  readonly parties: readonly string[];
  /** The iCalendar text as it came; '' where it came in another form. */
  readonly text: string;
}

export const largestBody = 1024 * 1024;
const mostOwners = 100;

/** Reads a message. Throws Unusable. `now` tells a reminder that fired from an event that only has alarms. */
export function readNotification({ body, type, properties }: Incoming, now: number): Notification {
  if (body.length > largestBody) throw new Unusable('too-large', `${body.length} bytes`);
  const text = decode(body);
  if (text === '') {
    const kind = typeHint(properties);
    if (/^DELETECAL/.test(kind)) return calendarDeletion(properties);
    throw new Unusable('empty', 'the message has no text: a MapMessage or an ObjectMessage, perhaps');
  }
  const xml = text.startsWith('<');
  if (!xml && !/^BEGIN:VCALENDAR/i.test(text)) {
    throw new Unusable('unknown-type', `neither iCalendar nor XML${type ? ` (${type.slice(0, 80)})` : ''}`);
  }
  const { object, fields } = xml ? readXml(text) : { object: readICalendar(text), fields: new Map<string, string>() };
  const hints = new Map([...fields, ...properties]);
  const kind = typeHint(hints);
  if (/^DELETECAL/.test(kind)) return calendarDeletion(hints);
  if (object.entries.length === 0 && object.freeBusy.length === 0) {
    throw new Unusable('unknown-type', 'there is no event, task or free/busy in it');
  }
  const alert = alertOf(object, kind, now);
  return {
    alert,
    calendarDeleted: false,
    object,
    owners: ownersOf(object, hints),
    parties: partiesOf(object, alert),
    text: xml ? '' : text,
  };
}

function decode(body: Uint8Array): string {
  try {
    // The decoder takes a byte order mark away.
    return new TextDecoder('utf-8', { fatal: true }).decode(body).replace(/\0+$/, '').trim();
  } catch {
    throw new Unusable('malformed', 'the text is not UTF-8');
  }
}

function calendarDeletion(hints: ReadonlyMap<string, string>): Notification {
  const object = { method: '', zone: null, owner: '', entries: [], freeBusy: [] };
  return { alert: null, calendarDeleted: true, object, owners: ownersOf(object, hints), parties: [], text: '' };
}

/** What the properties say happened, in upper case: `ALARM`, `CREATEEVENT`, `MODIFYTODO`, `DELETECAL` … */
function typeHint(hints: ReadonlyMap<string, string>): string {
  for (const name of [
    'mq_message_type_header_property',
    'notificationtype',
    'notification-type',
    'eventtype',
    'type',
  ]) {
    const value = hints.get(name);
    if (value && !value.includes('/')) return value.toUpperCase().replace(/[^A-Z]/g, '');
  }
  return '';
}

/** How near a trigger must be for an object without any hint to be a reminder that fired. */
const nearTrigger = 15 * 60_000;

function alertOf({ method, entries }: CalendarObject, hint: string, now: number): AlertKind | null {
  const first = entries[0];
  if (!first) return null;
  const reminder = first.kind === 'task' ? 'task' : 'reminder';
  if (/ALARM|REMIND|TRIGGER/.test(hint)) return reminder;
  if (method === 'CANCEL' || first.status === 'CANCELLED' || /CANCEL|DELETE/.test(hint)) return 'cancellation';
  if (method === 'REPLY' || method === 'COUNTER' || /^REPLY/.test(hint)) return 'reply';
  if (method === 'REQUEST') return isChange(first, hint) ? 'change' : 'invitation';
  if (/INVIT|REQUEST/.test(hint)) return 'invitation';
  if (/MODIFY|CHANGE|UPDATE/.test(hint)) return 'change';
  if (hint !== '' || method !== '') return null;
  return entries.some(entry => entry.alarms.count > 0 && isNear(entry, now)) ? reminder : null;
}

function isChange(first: Entry, hint: string): boolean {
  return first.sequence > 0 || /MODIFY|CHANGE|UPDATE/.test(hint);
}

/** Without a hint an event with an alarm is a reminder where it is about to begin. */
function isNear(entry: Entry, now: number): boolean {
  const at = entry.start ?? entry.end;
  return at !== null && at.zone !== null && at.wall > now - nearTrigger && at.wall < now + nearTrigger;
}

const ownerNames = ['owner', 'recipient', 'mail', 'email', 'user', 'userid', 'calendaruser', 'calid', 'calendarid'];

function ownersOf(object: CalendarObject, hints: ReadonlyMap<string, string>): string[] {
  const said = ownerNames.map(name => hints.get(name)).filter(text => text !== undefined);
  const alarmed = object.entries.flatMap(entry => entry.alarms.attendees);
  const published = object.freeBusy.map(one => one.owner);
  const owners = [...said.map(ownerOf), object.owner, ...alarmed, ...published].filter(text => text !== '');
  return [...new Set(owners)].slice(0, mostOwners);
}

/** A calendar's name begins with its owner's: `juliet:work`, `juliet@hub.test:work`, `/home/juliet/calendar/`. */
function ownerOf(text: string): string {
  const path = /\/(?:home|principals\/users|calendars)\/([^/]+)/.exec(text);
  const name = addressOf(path ? safeDecode(path[1]) : text);
  return name.startsWith('urn:') ? name : name.split(':')[0];
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Whom a message that names no owner is for: answers go to who invited, everything else to who is invited. */
function partiesOf({ entries }: CalendarObject, alert: AlertKind | null): string[] {
  const organizers = entries.map(entry => entry.organizer?.address ?? '');
  const attendees = entries.flatMap(entry => entry.attendees.map(one => one.address));
  const parties =
    alert === 'reply'
      ? organizers
      : alert === 'invitation' || alert === 'cancellation' || alert === 'change'
        ? attendees
        : [...organizers, ...attendees].slice(0, 1);
  return [...new Set(parties)].filter(text => text !== '').slice(0, mostOwners);
}
