// Presence stanzas and devices, both ways (RFC 8048 §5, XEP-0319, XEP-0256).
import { el } from '../../xmpp/element.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { type Device, type Show, shows } from './device.ts';
import { timeOf } from './documents.ts';
import { languageTag } from './text.ts';

const idleNs = 'urn:xmpp:idle:1';
const activityNs = 'http://jabber.org/protocol/activity';
const mostStatus = 8;
const longestStatus = 1024;

/** What an available or unavailable presence says of the resource it comes from. */
export function deviceOf(stanza: Stanza): Device {
  const open = stanza.type === '';
  const show = stanza.text('show').trim() as Show;
  const priority = Number(stanza.text('priority').trim() || 0);
  return {
    name: stanza.from?.resource || 'xmpp',
    reachable: stanza.from?.resource !== '',
    open,
    show: open && shows.includes(show) ? show : '',
    status: stanza.has('status', ns.client) ? statusOf(stanza) : [],
    priority: Number.isInteger(priority) && priority >= -128 && priority <= 127 ? priority : 0,
    idleSince: open ? idleSince(stanza) : null,
    ...(open && inMeeting(stanza) ? { activity: 'meeting' } : {}),
  };
}

/** XEP-0108 §2: what the calendar says of a running meeting. */
function inMeeting(stanza: Stanza): boolean {
  const working = stanza.child('activity', activityNs)?.child('working');
  return working ? working.child('in_a_meeting') !== null : false;
}

function statusOf(stanza: Stanza): [string, string][] {
  return stanza.children
    .filter(child => child.is('status', ns.client) && child.text.trim() !== '')
    .slice(0, mostStatus)
    .map(child => [languageTag(child.attrs['xml:lang'] ?? stanza.lang), child.text.trim().slice(0, longestStatus)]);
}

function idleSince(stanza: Stanza): number | null {
  const now = Date.now();
  const since = timeOf(stanza.child('idle', idleNs)?.attrs.since ?? '');
  if (!Number.isNaN(since)) return Math.min(since, now);
  const seconds = stanza.child('query', ns.last)?.attrs.seconds ?? '';
  return /^\d{1,9}$/.test(seconds) && Number(seconds) > 0 ? now - Number(seconds) * 1000 : null;
}

/** The presence of a device of `contact` for `to`. A name that cannot be a resource becomes `sip`. */
export function presenceOf(device: Device, contact: Jid, to: Jid): Stanza {
  const from = resourceOf(contact, device.name);
  const status = device.status.map(([lang, text]) => el('status', ns.client, { 'xml:lang': lang || undefined }, text));
  if (!device.open) return Stanza.of('presence', { from, to, type: 'unavailable' }, ...status);
  const { show, priority, idleSince: since } = device;
  return Stanza.of(
    'presence',
    { from, to },
    show === '' ? null : el('show', ns.client, {}, show),
    ...status,
    priority === 0 ? null : el('priority', ns.client, {}, String(priority)),
    since === null ? null : el('idle', idleNs, { since: new Date(since).toISOString() }),
  );
}

export function resourceOf(contact: Jid, name: string): Jid {
  try {
    return contact.withResource(name);
  } catch {
    return contact.withResource('sip');
  }
}
