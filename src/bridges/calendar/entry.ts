// What a calendar object says, read once into plain data: events, tasks, reminders and times that are taken.
import type { Wall, Zone } from './zones.ts';

/** A body that nothing can be made of. `reason` is a label for metrics, the message is for the log. */
export class Unusable extends Error {
  override readonly name = 'Unusable';
  readonly reason: Reason;

  constructor(reason: Reason, message: string) {
    super(message);
    this.reason = reason;
  }
}

export type Reason = 'empty' | 'too-large' | 'malformed' | 'unknown-type' | 'no-owner' | 'unknown-user';

/** A time as an event gives it. `zone` null: floating, it means what the reader's clock shows (RFC 5545 §3.3.5). */
export interface Moment {
  readonly wall: Wall;
  readonly zone: Zone | null;
  /** A date without a time. */
  readonly day: boolean;
}

/** Somebody named in an event: a mail address in lower case, or what else the URI says. */
export interface Party {
  readonly address: string;
  readonly name: string;
  /** PARTSTAT, in upper case. */
  readonly status: string;
}

/** An event or a task. Times that could not be read are null. */
export interface Entry {
  readonly kind: 'event' | 'task';
  readonly uid: string;
  /** Which instance of a series this replaces (RFC 5545 §3.8.4.4). */
  readonly recurrence: Moment | null;
  readonly sequence: number;
  /** LAST-MODIFIED or DTSTAMP, ms; 0 where there is neither. */
  readonly stamp: number;
  readonly summary: string;
  readonly location: string;
  readonly url: string;
  readonly start: Moment | null;
  /** The end, exclusive; of a task, when it is due. */
  readonly end: Moment | null;
  /** Where there is no `end`: how long it takes, in ms. */
  readonly duration: number | null;
  /** STATUS, in upper case. */
  readonly status: string;
  /** TRANSP:TRANSPARENT: it takes no time. */
  readonly transparent: boolean;
  /** X-MICROSOFT-CDO-BUSYSTATUS, in upper case. */
  readonly busyStatus: string;
  /** CLASS is not PUBLIC. */
  readonly private: boolean;
  readonly organizer: Party | null;
  readonly attendees: readonly Party[];
  readonly rules: readonly string[];
  readonly dates: readonly Moment[];
  readonly exceptions: readonly Moment[];
  /** It has more dates or rules than anybody expands: its instances are not known. */
  readonly excessive: boolean;
  /** Whom its alarms name (VALARM with ATTENDEE), and how many alarms there are. */
  readonly alarms: { readonly count: number; readonly attendees: readonly string[] };
}

export type Busy = 'busy' | 'tentative' | 'away';

/** A published free/busy (VFREEBUSY): the times of one person that are taken. */
export interface FreeBusy {
  readonly uid: string;
  readonly owner: string;
  readonly periods: readonly { readonly start: number; readonly end: number; readonly busy: Busy }[];
}

export interface CalendarObject {
  /** In upper case, '' where there is none. */
  readonly method: string;
  /** X-WR-TIMEZONE, or null. */
  readonly zone: string | null;
  /** X-WR-CALOWNER and the like: whose calendar it is, '' where it does not say. */
  readonly owner: string;
  readonly entries: readonly Entry[];
  readonly freeBusy: readonly FreeBusy[];
}
