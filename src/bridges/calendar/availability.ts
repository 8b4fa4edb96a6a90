// From events to the times somebody is busy, and from those to what the presence says.
import { type Element, el } from '../../xmpp/element.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { clockText, timeOf } from './alert.ts';
import type { Busy, Entry, Moment } from './entry.ts';
import type { Override, Series, Span } from './series.ts';
import { toTime, toWall } from './zones.ts';

const day = 86_400_000;
/** XEP-0108. */
const activityNamespace = 'http://jabber.org/protocol/activity';

/** An event as it is kept for one of the people in it: their own answer to it, and nothing that tells what it is. */
export function keptOf(entry: Entry, addresses: ReadonlySet<string>): Entry {
  const attendees = entry.attendees.filter(one => addresses.has(one.address)).slice(0, 1);
  const alarms = { count: 0, attendees: [] };
  const kept = { ...entry, summary: '', location: '', url: '', organizer: null, attendees, alarms };
  // Nobody will expand it: its dates need no room.
  return entry.excessive ? { ...kept, dates: [], exceptions: [] } : kept;
}

/** What an event that is kept for somebody counts as; null: it takes none of their time. */
export function busyOf(entry: Entry): Busy | null {
  if (entry.kind === 'task' || entry.status === 'CANCELLED') return null;
  if (entry.busyStatus === 'OOF') return 'away';
  if (entry.transparent || entry.busyStatus === 'FREE') return null;
  const answer = entry.attendees[0]?.status;
  if (answer === 'DECLINED' || answer === 'DELEGATED') return null;
  const tentative = entry.status === 'TENTATIVE' || entry.busyStatus === 'TENTATIVE';
  return tentative || answer === 'TENTATIVE' || answer === 'NEEDS-ACTION' ? 'tentative' : 'busy';
}

/** How long an event takes, in ms: on the wall clock where it takes whole days (RFC 5545 §3.6.1). */
export function lengthOf({ start, end, duration }: Entry, zone: string): number {
  if (!start) return 0;
  if (start.day) return end?.day ? Math.max(end.wall - start.wall, 0) : (duration ?? day);
  if (end) return Math.max(timeOf(end, zone) - timeOf(start, zone), 0);
  return duration ?? 0;
}

/** The time of an event that does not repeat, or of one instance; null where it takes none. */
export function spanOf(entry: Entry, busy: Busy | null, zone: string): Span | null {
  const { start } = entry;
  if (!start || !busy) return null;
  const length = lengthOf(entry, zone);
  const from = timeOf(start, zone);
  const to = start.day ? toTime(start.wall + length, start.zone ?? zone) : from + length;
  return to > from ? { start: from, end: to, busy } : null;
}

/** What a thread needs to expand an event and the instances that differ from it. */
export function seriesOf(
  master: Entry,
  instances: readonly Entry[],
  zone: string,
  window: { from: number; to: number },
): Series {
  const overrides = instances.flatMap((entry): Override[] =>
    entry.recurrence ? [{ of: entry.recurrence, at: spanOf(entry, busyOf(entry), zone) }] : [],
  );
  return {
    start: master.start as Moment,
    length: lengthOf(master, zone),
    busy: busyOf(master),
    rules: master.rules,
    dates: master.dates,
    exceptions: master.exceptions,
    overrides,
    zone,
    ...window,
  };
}

export interface State {
  busy: Busy;
  /** When that changes, as far as is known. */
  until: number;
}

const strength: Record<Busy, number> = { busy: 3, tentative: 2, away: 1 };

/** What somebody is at a time, by the times that are taken; the strongest of those that run counts. */
export function stateAt(spans: readonly Span[], now: number): State | null {
  const running = spans.filter(span => span.start <= now && span.end > now);
  if (running.length === 0) return null;
  const { busy } = running.reduce((best, span) => (strength[span.busy] > strength[best.busy] ? span : best));
  // One after the other is one long meeting to whoever waits for its end.
  let until = now;
  const same = spans.filter(span => span.busy === busy && span.end > now).sort((a, b) => a.start - b.start);
  for (const span of same) if (span.start <= until) until = Math.max(until, span.end);
  return { busy, until };
}

/** `In a meeting until 15:00`; says nothing of what the meeting is. */
export function statusText({ busy, until }: State, now: number, zone: string): string {
  const what = { busy: 'In a meeting', tentative: 'Possibly in a meeting', away: 'Out of office' }[busy];
  const wall = toWall(until, zone);
  const days = Math.floor(wall / day) - Math.floor(toWall(now, zone) / day);
  if (days === 0) return `${what} until ${clockText(wall)}`;
  // Midnight is the end of the day before.
  if (wall % day === 0 && days === 1) return `${what} today`;
  const last = new Date(wall % day === 0 ? wall - day : wall).toISOString().slice(0, 10);
  return wall % day === 0 ? `${what} until the end of ${last}` : `${what} until ${last} ${clockText(wall)}`;
}

/** What the calendar knows of somebody's presence, for the composition; with XEP-0108's words for it. */
export function availabilityPresence(user: Jid, state: State, now: number, zone: string): Stanza {
  return Stanza.of(
    'presence',
    { from: user },
    el('show', ns.client, {}, state.busy === 'busy' ? 'dnd' : 'away'),
    el('status', ns.client, {}, statusText(state, now, zone)),
    activity(state.busy),
  );
}

/** XEP-0108 §2: a meeting is work; being away is nobody's business. */
function activity(busy: Busy): Element {
  return busy === 'away'
    ? el('activity', activityNamespace, {}, el('inactive', activityNamespace))
    : el(
        'activity',
        activityNamespace,
        {},
        el('working', activityNamespace, {}, el('in_a_meeting', activityNamespace)),
      );
}
