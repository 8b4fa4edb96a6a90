// Reads the XML forms of a notification: iCalendar inside an element, xCal (RFC 6321), or plain fields by their names.
import type { Element } from '../../xmpp/element.ts';
import { parseElement } from '../../xmpp/payload.ts';
import { type CalendarObject, Unusable } from './entry.ts';
import { type JCal, type JProperty, readICalendar, readJCal } from './icalendar.ts';

const xCal = 'urn:ietf:params:xml:ns:icalendar-2.0';
const limits = { stanzaSize: 1024 * 1024, children: 20_000, depth: 40 };

/** What an XML body says: the object, and the fields beside it by their names in lower case. */
export interface XmlNotification {
  object: CalendarObject;
  fields: Map<string, string>;
}

/** Reads an XML body. No document types, so no entities of its own. Throws Unusable. */
export function readXml(text: string): XmlNotification {
  let root: Element;
  try {
    root = parseElement(text.trim().replace(/^<\?xml[^>]{0,200}\?>\s*/, ''), limits);
  } catch (error) {
    throw new Unusable('malformed', `not XML: ${(error as Error).message.slice(0, 200)}`);
  }
  const fields = new Map<string, string>();
  const found: { text: string; xCal: Element | null } = { text: '', xCal: null };
  collect(root, fields, found);
  if (found.text) return { object: readICalendar(found.text), fields };
  if (found.xCal) return { object: readJCal(found.xCal.all('vcalendar').map(component)), fields };
  return { object: readJCal([fromFields(root, fields)]), fields };
}

/** Walks the tree: texts and attributes become fields, the first of a name counts. */
function collect(element: Element, fields: Map<string, string>, found: { text: string; xCal: Element | null }): void {
  if (element.is('icalendar', xCal)) found.xCal ??= element;
  const { text } = element;
  if (!found.text && text.includes('BEGIN:VCALENDAR')) found.text = text.trim();
  note(fields, element.name, text);
  for (const [name, value] of Object.entries(element.attrs)) note(fields, name, value);
  if (element === found.xCal) return;
  for (const child of element.all()) collect(child, fields, found);
}

function note(fields: Map<string, string>, name: string, value: string): void {
  const key = name.toLowerCase().replace(/[^a-z0-9]/g, '');
  const text = value.trim();
  if (text && text.length <= 10_000 && !fields.has(key)) fields.set(key, text);
}

/** An xCal component as the parser of iCalendar would give it (RFC 6321 §3.3, RFC 7265 §3.3). */
function component(element: Element): JCal {
  const properties = element.child('properties')?.all() ?? [];
  const components = element.child('components')?.all() ?? [];
  return [element.name.toLowerCase(), properties.map(xCalProperty), components.map(component)];
}

function xCalProperty(element: Element): JProperty {
  const parameters: Record<string, string> = {};
  for (const parameter of element.child('parameters')?.all() ?? []) {
    parameters[parameter.name.toLowerCase()] = parameter.all()[0]?.text ?? '';
  }
  const values = element.all().filter(one => one.name !== 'parameters');
  const type = values[0]?.name ?? 'text';
  const parts = (one: Element) => Object.fromEntries(one.all().map(part => [part.name, part.text]));
  return [
    element.name.toLowerCase(),
    parameters,
    type,
    ...values.map(one => (type === 'recur' || type === 'period' ? period(type, parts(one)) : one.text.trim())),
  ];
}

function period(type: string, parts: Record<string, string>): unknown {
  return type === 'recur' ? parts : [parts.start ?? '', parts.end ?? parts.duration ?? ''];
}

/** Where a plain form keeps what: the property, and the names its field goes by. */
const names: Record<string, string[]> = {
  uid: ['uid', 'eventid', 'todoid', 'eventuid', 'id'],
  summary: ['summary', 'title', 'subject'],
  location: ['location', 'place', 'where'],
  url: ['url', 'link', 'href'],
  status: ['status'],
  class: ['class', 'privacy'],
  transp: ['transp', 'transparency'],
  sequence: ['sequence'],
  organizer: ['organizer'],
};
const times: Record<string, string[]> = {
  dtstart: ['dtstart', 'start', 'starttime', 'startdate', 'begin'],
  dtend: ['dtend', 'end', 'endtime', 'enddate'],
  due: ['due', 'duetime', 'duedate'],
};

function fromFields(root: Element, fields: ReadonlyMap<string, string>): JCal {
  const find = (candidates: readonly string[]) => candidates.map(name => fields.get(name)).find(text => text);
  const zone = find(['tzid', 'timezone', 'tz']);
  const properties: JProperty[] = [];
  for (const [name, candidates] of Object.entries(names)) {
    const text = find(candidates);
    if (text) properties.push([name, {}, 'text', text]);
  }
  for (const [name, candidates] of Object.entries(times)) {
    const text = find(candidates);
    const time = text ? timeOf(text) : null;
    if (time) properties.push([name, zone ? { tzid: zone } : {}, 'date-time', time]);
  }
  if (!properties.some(([name]) => name === 'summary' || name === 'dtstart')) {
    throw new Unusable('unknown-type', `<${root.name.slice(0, 40)}> says nothing of an event or a task`);
  }
  const type = `${find(['comptype', 'componenttype', 'component']) ?? ''} ${root.name}`.toLowerCase();
  const task = /todo|task/.test(type) || properties.some(([name]) => name === 'due');
  const method = find(['method']) ?? '';
  return ['vcalendar', [['method', {}, 'text', method]], [[task ? 'vtodo' : 'vevent', properties, []]]];
}

/** `20261121T140000Z`, `2026-11-21T14:00:00+01:00` or milliseconds since 1970 in the form of RFC 7265. */
function timeOf(text: string): string | null {
  const basic = /^(\d{4})-?(\d\d)-?(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d))?(?:\.\d+)?(Z|[+-]\d\d:?\d\d)?)?$/.exec(text);
  if (basic) {
    const [, year, month, day, hour, minute, second = '00', zone = ''] = basic;
    if (hour === undefined) return `${year}-${month}-${day}`;
    const local = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
    if (zone === '' || zone === 'Z') return local + zone;
    const time = Date.parse(`${local}${zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone}`);
    return Number.isNaN(time) ? null : new Date(time).toISOString().replace(/\.\d+/, '');
  }
  return /^\d{12,13}$/.test(text) ? new Date(Number(text)).toISOString().replace(/\.\d+/, '') : null;
}
