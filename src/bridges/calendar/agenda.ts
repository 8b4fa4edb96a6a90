// The events of all users as they are kept, and which times they take: series are expanded one after the other.
import type { Row, Store } from '../../hub/store.ts';
import { busyOf, keptOf, seriesOf, spanOf } from './availability.ts';
import type { BusyTimes } from './busy-times.ts';
import type { Entry, FreeBusy, Moment } from './entry.ts';
import { type Recurrence, Unexpandable } from './recurrence.ts';
import type { Span } from './series.ts';
import { toTime } from './zones.ts';

const day = 86_400_000;
/** Series are expanded from yesterday to this far ahead, and again when that comes near. */
const ahead = 62 * day;
const renewal = 31 * day;
/** How long it is remembered that something was cancelled: an older message may still be on its way. */
const memory = 30 * day;
const mostEvents = 5_000;
/** Users whose number of events is at hand. */
const mostCounted = 20_000;
/** All that could matter of an entry's size; a row is a few of these at most. */
const largestEntry = 256 * 1024;

const schema = [
  `CREATE TABLE calendar_events (
     user TEXT NOT NULL, uid TEXT NOT NULL, instance TEXT NOT NULL, sequence INTEGER NOT NULL, stamp INTEGER NOT NULL,
     entry TEXT, forget INTEGER NOT NULL, PRIMARY KEY (user, uid, instance)) WITHOUT ROWID;
   CREATE INDEX calendar_events_forget ON calendar_events (forget);
   CREATE TABLE calendar_series (
     user TEXT NOT NULL, uid TEXT NOT NULL, expanded INTEGER NOT NULL, problem TEXT NOT NULL,
     PRIMARY KEY (user, uid)) WITHOUT ROWID;
   CREATE INDEX calendar_series_expanded ON calendar_series (expanded)`,
];

/** Whose events these are: the bare JID, the addresses that name them in events, and their zone. */
export interface Owner {
  readonly jid: string;
  readonly addresses: ReadonlySet<string>;
  readonly zone: string;
}

/** A row to be written. */
interface Fresh {
  entry: Entry;
  instance: string;
  stored: string;
  forget: number;
}

export interface AgendaEvents {
  /** Somebody's times changed. */
  changed(jid: string): void;
  /** A series is not expanded: its instances count for nothing. */
  refused(jid: string, uid: string, why: string): void;
  /** The zone that somebody's floating times are in. */
  zone(jid: string): string;
}

export class Agenda {
  readonly #store: Store;
  readonly #times: BusyTimes;
  readonly #recurrence: Recurrence;
  readonly #events: AgendaEvents;
  readonly #counts = new Map<string, number>();
  #expanding: Promise<void> | null = null;
  #again = false;
  #stopped = false;

  constructor(store: Store, times: BusyTimes, recurrence: Recurrence, events: AgendaEvents) {
    this.#store = store;
    this.#times = times;
    this.#recurrence = recurrence;
    this.#events = events;
    store.migrate('calendar-agenda', schema);
  }

  /**
   * Takes the events of one object, which all have one uid. Where the master is among them they replace all that is
   * known of it. What is older than what is known changes nothing; nor does what a `reminder` carries where the event
   * is known and no older, for that may be one instance of a series. False: there are too many events of this user.
   */
  put(owner: Owner, entries: readonly Entry[], now: number, reminder = false): boolean {
    const { jid } = owner;
    const { uid } = entries[0];
    const master = entries.find(entry => !entry.recurrence);
    const taken = this.#store.atomic(() => {
      const known = this.#rows(jid, uid);
      if (known.length === 0 && this.#count(jid) >= mostEvents) return false;
      const before = known.find(row => row.instance === '');
      if (master && isStale(master, before)) return true;
      if (reminder && before && Number(before.sequence) >= entries[0].sequence) return true;
      const fresh = entries.flatMap(entry => this.#freshRow(owner, entry, now));
      const complete = !master || fresh.length === known.length;
      if (complete && fresh.every(row => known.some(old => isSame(old, row)))) return true;
      if (master && known.length > 0) {
        this.#store.prepare('DELETE FROM calendar_events WHERE user = ? AND uid = ?').run(jid, uid);
      }
      for (const row of fresh) {
        const old = master ? undefined : known.find(one => one.instance === row.instance);
        if (!isStale(row.entry, old)) this.#write(jid, row.entry, row.instance, row.stored, row.forget);
      }
      if (known.length === 0 && entries.length === 1 && !repeats(entries[0])) this.#addSpan(owner, fresh);
      else this.#expand(jid, owner.zone, uid, now);
      return true;
    });
    if (taken) this.#events.changed(jid);
    return taken;
  }

  /** Takes an event out, or instances of it. Keeps in mind that it was. */
  cancel(owner: Owner, entries: readonly Entry[], now: number): void {
    const { jid } = owner;
    this.#store.atomic(() => {
      for (const entry of entries) {
        if (entry.recurrence) {
          // An instance that is cancelled is kept as one that takes no time.
          const cancelled = { ...keptOf(entry, owner.addresses), status: 'CANCELLED' };
          const instance = instanceKey(entry.recurrence, owner.zone);
          const known = this.#rows(jid, entry.uid).find(row => row.instance === instance);
          if (isStale(entry, known)) continue;
          this.#write(jid, cancelled, instance, JSON.stringify(cancelled), now + memory);
        } else {
          const known = this.#rows(jid, entry.uid).find(row => row.instance === '');
          if (isStale(entry, known)) continue;
          this.#store.prepare('DELETE FROM calendar_events WHERE user = ? AND uid = ?').run(jid, entry.uid);
          this.#write(jid, entry, '', null, now + memory);
        }
        this.#expand(jid, owner.zone, entry.uid, now);
      }
    });
    this.#events.changed(jid);
  }

  /** Takes published free/busy: it replaces what was published under that uid. */
  publish(owner: Owner, { uid, periods }: FreeBusy, now: number): void {
    this.#store.atomic(() => this.#times.set(owner.jid, uid, periods.filter(one => one.end > now).slice(0, 1_000)));
    this.#events.changed(owner.jid);
  }

  /** Forgets all of somebody's events. */
  clear(jid: string): void {
    for (const table of ['calendar_events', 'calendar_series']) {
      this.#store.prepare(`DELETE FROM ${table} WHERE user = ?`).run(jid);
    }
    this.#times.clear(jid);
    this.#events.changed(jid);
  }

  /** Somebody's clocks are in another zone now: all-day and floating events happen at other times. */
  rezone(jid: string, zone: string, now: number): void {
    const uids = this.#store.prepare('SELECT DISTINCT uid FROM calendar_events WHERE user = ?').all(jid);
    this.#store.atomic(() => {
      for (const { uid } of uids) this.#expand(jid, zone, String(uid), now);
    });
    this.#events.changed(jid);
  }

  get counts(): { events: number; problems: number } {
    const count = (sql: string) => Number(this.#store.prepare(sql).get()?.n);
    return {
      events: count("SELECT count(*) AS n FROM calendar_events WHERE instance = '' AND entry IS NOT NULL"),
      problems: count("SELECT count(*) AS n FROM calendar_series WHERE problem <> ''"),
    };
  }

  /** Series that were not expanded, and why. */
  problems(jid: string): { uid: string; problem: string }[] {
    const sql = "SELECT uid, problem FROM calendar_series WHERE user = ? AND problem <> '' LIMIT 20";
    return this.#store
      .prepare(sql)
      .all(jid)
      .map(row => ({ uid: String(row.uid), problem: String(row.problem) }));
  }

  /** Forgets what is over, and has series whose window comes to its end expanded anew. */
  tend(now: number): void {
    this.#times.tend(now - day);
    this.#store.prepare('DELETE FROM calendar_events WHERE forget < ?').run(now);
    const due = "UPDATE calendar_series SET expanded = 0 WHERE expanded > 0 AND expanded < ? AND problem = ''";
    this.#store.prepare(due).run(now + renewal);
    this.expandSoon();
  }

  /** Starts to expand the series that wait for it, one after the other. */
  expandSoon(): void {
    this.#again = true;
    this.#expanding ??= this.#expandAll().finally(() => {
      this.#expanding = null;
    });
  }

  /** Resolves when no series waits. */
  async settled(): Promise<void> {
    while (this.#expanding) await this.#expanding;
  }

  stop(): void {
    this.#stopped = true;
  }

  async #expandAll(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      const waiting = this.#store.prepare('SELECT user, uid FROM calendar_series WHERE expanded = 0 LIMIT 200').all();
      for (const row of waiting) {
        if (this.#stopped) return;
        await this.#expandOne(String(row.user), String(row.uid));
        this.#again = true;
      }
    }
  }

  async #expandOne(jid: string, uid: string): Promise<void> {
    const zone = this.#events.zone(jid);
    const now = Date.now();
    const window = { from: now - day, to: now + ahead };
    const rows = this.#rows(jid, uid);
    const entries = rows.filter(row => row.entry !== null).map(row => JSON.parse(String(row.entry)) as Entry);
    const master = entries.find(entry => !entry.recurrence);
    const version = versionOf(rows);
    let spans: Span[] = [];
    let problem = '';
    try {
      if (master?.excessive) throw new Unexpandable('it has too many dates');
      if (master?.start) {
        const instances = entries.filter(entry => entry.recurrence);
        spans = await this.#recurrence.expand(seriesOf(master, instances, zone, window));
      }
    } catch (error) {
      if (this.#stopped) return;
      problem = (error as Error).message;
    }
    // What has changed meanwhile waits for its own turn.
    if (versionOf(this.#rows(jid, uid)) !== version) return;
    this.#store.atomic(() => {
      this.#times.set(jid, uid, spans);
      this.#setSeries(jid, uid, window.to, problem);
    });
    if (problem) this.#events.refused(jid, uid, problem);
    this.#events.changed(jid);
  }

  /** What is kept of an entry; nothing of one that is too large. */
  #freshRow({ addresses, zone }: Owner, given: Entry, now: number): Fresh[] {
    const entry = keptOf(given, addresses);
    const stored = JSON.stringify(entry);
    if (stored.length > largestEntry) return [];
    const instance = entry.recurrence ? instanceKey(entry.recurrence, zone) : '';
    return [{ entry, instance, stored, forget: lastUse(entry, zone, now) }];
  }

  /** The time of an event that is new and does not repeat. */
  #addSpan({ jid, zone }: Owner, [fresh]: readonly Fresh[]): void {
    const span = fresh ? spanOf(fresh.entry, busyOf(fresh.entry), zone) : null;
    if (span) this.#times.add(jid, fresh.entry.uid, span);
  }

  /** Writes the times of an event: at once where it does not repeat, else a thread is asked. */
  #expand(jid: string, zone: string, uid: string, now: number): void {
    const rows = this.#rows(jid, uid);
    const entries = rows.filter(row => row.entry !== null).map(row => JSON.parse(String(row.entry)) as Entry);
    const master = entries.find(entry => !entry.recurrence);
    if (master && (repeats(master) || entries.length > 1)) {
      this.#setSeries(jid, uid, 0, '');
      this.expandSoon();
      return;
    }
    this.#store.prepare('DELETE FROM calendar_series WHERE user = ? AND uid = ?').run(jid, uid);
    // Instances whose series is not known stand for themselves.
    const spans = entries.map(entry => spanOf(entry, busyOf(entry), zone));
    this.#times.set(jid, uid, spans.filter(span => span !== null && span.end > now - day) as Span[]);
  }

  #setSeries(jid: string, uid: string, expanded: number, problem: string): void {
    this.#store.prepare('INSERT OR REPLACE INTO calendar_series VALUES (?, ?, ?, ?)').run(jid, uid, expanded, problem);
  }

  #write(jid: string, entry: Entry, instance: string, stored: string | null, forget: number): void {
    this.#store
      .prepare('INSERT OR REPLACE INTO calendar_events VALUES (?, ?, ?, ?, ?, ?, ?)')
      .run(jid, entry.uid, instance, entry.sequence, entry.stamp, stored, forget);
  }

  #rows(jid: string, uid: string): Row[] {
    return this.#store.prepare('SELECT * FROM calendar_events WHERE user = ? AND uid = ?').all(jid, uid);
  }

  /** How many events somebody has: counted once, and from then on no fewer than there are. */
  #count(jid: string): number {
    let count = this.#counts.get(jid);
    if (count === undefined) {
      count = Number(this.#store.prepare('SELECT count(*) AS n FROM calendar_events WHERE user = ?').get(jid)?.n);
      if (this.#counts.size >= mostCounted) this.#counts.clear();
    } else if (count >= mostEvents) {
      this.#counts.delete(jid);
      return this.#count(jid);
    }
    this.#counts.set(jid, count + 1);
    return count;
  }
}

/** Whether something newer is known (RFC 5546 §2.1.5). */
function isStale(entry: Entry, known: Row | undefined): boolean {
  if (!known) return false;
  const sequence = Number(known.sequence);
  if (entry.sequence !== sequence) return entry.sequence < sequence;
  return entry.stamp !== 0 && entry.stamp < Number(known.stamp);
}

/** Whether that is what is known, but for when it can be forgotten. */
function isSame(known: Row, { entry, instance, stored }: Fresh): boolean {
  return known.instance === instance && known.entry === stored && Number(known.stamp) === entry.stamp;
}

function repeats({ rules, dates }: Entry): boolean {
  return rules.length > 0 || dates.length > 0;
}

function instanceKey(moment: Moment, zone: string): string {
  return moment.day ? `day ${moment.wall}` : String(toTime(moment.wall, moment.zone ?? zone));
}

const farFuture = 8_640_000_000_000_000;

/** When an event can be forgotten: after its end; a series ends when its rule says so, which is nobody's to know here. */
function lastUse(entry: Entry, zone: string, now: number): number {
  if (repeats(entry)) return farFuture;
  const span = spanOf(entry, 'busy', zone);
  return Math.max(span?.end ?? 0, now) + (entry.recurrence ? memory * 3 : memory);
}

function versionOf(rows: readonly Row[]): string {
  return rows.map(row => `${row.instance} ${row.sequence} ${row.stamp} ${String(row.entry)}`).join('\n');
}
