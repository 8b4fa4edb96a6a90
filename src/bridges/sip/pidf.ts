// Reads and writes application/pidf+xml (RFC 3863) with RPID (RFC 4480) and the data model (RFC 4479).
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { type Element, escapeAttribute, escapeText } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { parseSipAddress } from './addresses.ts';
import { activityOf, type Device, foremost, type Show, showOfActivities, shows } from './device.ts';
import { readDocument, timeOf } from './documents.ts';
import { languageTag } from './text.ts';

export const pidfType = 'application/pidf+xml';

const pidf = 'urn:ietf:params:xml:ns:pidf';
const rpid = 'urn:ietf:params:xml:ns:pidf:rpid';
const dataModel = 'urn:ietf:params:xml:ns:pidf:data-model';

/** The devices that are read of one document, and the notes of one of them. */
const mostDevices = 32;
const mostNotes = 8;
const longestNote = 1024;

/**
 * The devices that a PIDF document tells of, none where it says that nobody is there. The `entity` is not looked at:
 * who it is about is known from the dialog. Throws a StanzaError `bad-request`.
 */
export function readPidf(bytes: Uint8Array): Device[] {
  const root = readDocument(bytes);
  if (root.name !== 'presence' || root.ns !== pidf) throw new StanzaError('bad-request', 'that is no PIDF document');
  const parts = root.all();
  const person = parts.find(part => part.name === 'person');
  const overall: Overall = {
    notes: [...notesOf(root), ...(person ? notesOf(person) : [])],
    activities: person ? activitiesOf(person) : [],
    idleSince: person ? idleOf(person) : null,
    handsets: parts.filter(part => part.name === 'device'),
  };
  const found = new Map<string, Device>();
  for (const tuple of root.all('tuple').slice(0, mostDevices)) {
    const device = readTuple(tuple, overall);
    const known = found.get(device.name);
    if (!known || (device.open && !known.open)) found.set(device.name, device);
  }
  if (found.size === 0 && overall.activities.length > 0) {
    // A person without a way to be reached may still be told of (RFC 4479 §3.1).
    found.set('sip', { ...readTuple(null, overall), open: true });
  }
  return [...found.values()];
}

/** What a document says of the person and all devices. */
interface Overall {
  notes: [string, string][];
  activities: string[];
  idleSince: number | null;
  handsets: Element[];
}

function readTuple(tuple: Element | null, overall: Overall): Device {
  const status = tuple?.child('status');
  const basic = status?.childText('basic').trim().toLowerCase() ?? '';
  const said = [tuple, status].flatMap(part => (part ? activitiesOf(part) : []));
  const told = showOfActivities(said.length > 0 ? said : overall.activities);
  const explicit = explicitShow(tuple, status);
  const handset = tuple && handsetOf(tuple, overall.handsets);
  const idleSince = (tuple && idleOf(tuple)) ?? (handset && idleOf(handset)) ?? overall.idleSince;
  const own = tuple ? notesOf(tuple) : [];
  const notes = own.length > 0 ? own : overall.notes;
  return {
    ...(tuple ? nameOf(tuple) : { name: 'sip', reachable: false }),
    open: basic === 'open' || (basic === '' && (explicit !== null || said.length > 0)),
    show: explicit ?? (told.show || (idleSince === null ? '' : 'away')),
    status: notes.length > 0 || told.words === '' ? notes : [['en', told.words]],
    priority: priorityOf(tuple?.child('contact')?.attrs.priority),
    idleSince,
  };
}

/** The XMPP extension: `<show xmlns='jabber:client'/>` in the status (RFC 8048 §5.2). Null where it is not there. */
function explicitShow(tuple: Element | null, status: Element | null | undefined): Show | null {
  const show = status?.child('show', ns.client) ?? tuple?.child('show', ns.client);
  const text = show?.text.trim() as Show | undefined;
  return text && shows.includes(text) ? text : null;
}

/** The GRUU's name where the contact has one, else the tuple's id, as RFC 8048 §5.2 writes it. */
function nameOf(tuple: Element): Pick<Device, 'name' | 'reachable'> {
  const contact = tuple.childText('contact').trim();
  if (/;gr=/i.test(contact)) {
    try {
      const { gr } = parseSipAddress(contact);
      if (gr !== '') return { name: gr, reachable: true };
    } catch {
      // COMPAT(Asterisk): a contact can be anything; the id serves.
    }
  }
  return { name: (tuple.attrs.id ?? '').replace(/^ID-(?=.)/, '').trim() || 'sip', reachable: false };
}

/** `priority` is from 0 to 1 (RFC 3863 §4.1.5); RFC 8048 §5.2 maps XMPP's from 0 to 127. */
function priorityOf(text: string | undefined): number {
  const value = /^(?:0(?:\.\d{1,6})?|1(?:\.0{1,6})?)$/.test(text ?? '') ? Number(text) : 0;
  return Math.round(value * 127);
}

function notesOf(element: Element): [string, string][] {
  const notes = element.all().filter(child => child.name === 'note' && child.ns.startsWith(pidf));
  return notes
    .slice(0, mostNotes)
    .map((note): [string, string] => [languageTag(note.attrs['xml:lang']), note.text.trim().slice(0, longestNote)])
    .filter(([, text]) => text !== '');
}

/** COMPAT(Asterisk): puts RPID into namespaces of drafts, and activities into a status of the person. */
function isRpid(element: Element, name: string): boolean {
  return element.name === name && element.ns.startsWith(pidf);
}

function activitiesOf(element: Element): string[] {
  const inStatus = element.all().find(child => child.name === 'status' && element.name === 'person');
  return [...element.all(), ...(inStatus?.all() ?? [])]
    .filter(child => isRpid(child, 'activities'))
    .flatMap(child => child.all().map(activity => activity.name))
    .slice(0, mostNotes);
}

/** RFC 4480 §3.13: `<user-input last-input="…">idle</user-input>`. Without a time it is idle since now. */
function idleOf(element: Element): number | null {
  const input = element.all().find(child => isRpid(child, 'user-input'));
  if (input?.text.trim() !== 'idle') return null;
  const since = timeOf(input.attrs['last-input'] ?? '');
  const now = Date.now();
  return Number.isNaN(since) || since > now ? now : since;
}

function handsetOf(tuple: Element, handsets: readonly Element[]): Element | undefined {
  const wanted = tuple
    .all()
    .find(child => child.name === 'deviceID')
    ?.text.trim();
  return wanted ? handsets.find(one => one.childText('deviceID').trim() === wanted) : undefined;
}

/**
 * A document about `entity` (a SIP address) that tells of these devices; with none of them, that nobody is there. The
 * person's activities are those of the foremost device. `contact` gives the address of one device.
 */
export function writePidf(entity: string, devices: readonly Device[], contact: (device: Device) => string): Uint8Array {
  const first = foremost(devices);
  const tuples = devices.length > 0 ? devices : [{ ...nobody, name: 'offline' }];
  // COMPAT(baresip): finds RPID by its usual prefix.
  const document =
    '<?xml version="1.0" encoding="UTF-8"?>\n' +
    `<presence xmlns="${pidf}" xmlns:dm="${dataModel}" xmlns:rpid="${rpid}" entity="${escapeAttribute(entity)}">\n` +
    tuples.map(device => tupleText(device, devices.length > 0 ? contact(device) : entity)).join('') +
    (first?.open ? personText(first) : '') +
    '</presence>\n';
  return Buffer.from(document);
}

const nobody: Device = { name: '', reachable: false, open: false, show: '', status: [], priority: 0, idleSince: null };

function tupleText(device: Device, contact: string): string {
  const { open, show, priority } = device;
  const extension = open && show !== '' ? `<show xmlns="${ns.client}">${show}</show>` : '';
  const share = Math.max(priority, 0) / 127;
  return (
    `<tuple id="${escapeAttribute(tupleId(device.name))}">\n` +
    `<status><basic>${open ? 'open' : 'closed'}</basic>${extension}</status>\n` +
    (open ? idleText(device) : '') +
    `<contact priority="${share === 0 || share === 1 ? share : share.toFixed(3)}">${escapeText(contact)}</contact>\n` +
    device.status.map(([lang, text]) => noteText('note', lang, text)).join('') +
    '</tuple>\n'
  );
}

function personText(device: Device): string {
  const activity = device.activity ?? activityOf(device.show);
  if (activity === '' && device.status.length === 0) return '';
  const activities = activity === '' ? '' : `<rpid:activities><rpid:${activity} /></rpid:activities>\n`;
  const notes = device.status.map(([lang, text]) => noteText('dm:note', lang, text)).join('');
  return `<dm:person id="person">\n${activities}${notes}</dm:person>\n`;
}

function noteText(name: string, lang: string, text: string): string {
  return `<${name}${lang ? ` xml:lang="${escapeAttribute(lang)}"` : ''}>${escapeText(text)}</${name}>\n`;
}

function idleText({ idleSince }: Device): string {
  if (idleSince === null) return '';
  return `<rpid:user-input last-input="${new Date(idleSince).toISOString()}">idle</rpid:user-input>\n`;
}

/** An XML name for a resource: `ID-` and the resource where that is one, else a digest of it. */
function tupleId(resource: string): string {
  if (/^[\w.-]{1,64}$/.test(resource)) return `ID-${resource}`;
  return `ID-${createHash('sha256').update(resource).digest('hex').slice(0, 16)}`;
}
