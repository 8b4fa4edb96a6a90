// Which instance of a series a reminder is about: the message may carry the whole series, from its first day on.
import { seriesOf } from './availability.ts';
import type { Entry } from './entry.ts';
import type { Notification } from './notification.ts';
import type { Recurrence } from './recurrence.ts';
import { toWall } from './zones.ts';

const day = 86_400_000;
/** A reminder comes before its instance, or a little late. */
const lateness = 15 * 60_000;
const ahead = 14 * day;
/** However many series wait for their expansion: an alert does not wait longer, ms. */
const patience = 1_500;

/** The notification with the instance that is due, where it reminds of a series. Never rejects. */
export function dueInstance(
  notification: Notification,
  recurrence: Recurrence,
  zone: string,
  now = Date.now(),
): Notification | Promise<Notification> {
  const [entry] = notification.object.entries;
  const reminder = notification.alert === 'reminder' || notification.alert === 'task';
  if (!reminder || !entry?.start || entry.recurrence || entry.excessive) return notification;
  if (entry.rules.length === 0 && entry.dates.length === 0) return notification;
  return find(notification, entry, recurrence, zone, now);
}

async function find(
  notification: Notification,
  entry: Entry,
  recurrence: Recurrence,
  zone: string,
  now: number,
): Promise<Notification> {
  // Whether it takes time does not matter for when it is.
  const series = seriesOf({ ...entry, transparent: false, status: '', kind: 'event', attendees: [] }, [], zone, {
    from: now - lateness,
    to: now + ahead,
  });
  const timed = { ...series, length: Math.max(series.length, 1), busy: 'busy' as const };
  const spans = await Promise.race([
    recurrence.expand(timed).catch(() => []),
    new Promise<never[]>(resolve => setTimeout(resolve, patience, []).unref()),
  ]);
  const starts = spans.map(({ start }) => start).filter(start => start > now - lateness);
  if (starts.length === 0) return notification;
  const start = Math.min(...starts);
  const { zone: own, day: whole } = entry.start!;
  const at = { wall: toWall(start, own ?? zone), zone: own, day: whole };
  return { ...notification, instance: { ...entry, start: at, end: null, duration: series.length } };
}
