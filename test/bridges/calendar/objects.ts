// Calendar objects for tests, the demo and the bench, made from a few words.

export interface EventWords {
  uid?: string;
  summary?: string;
  /** A time, ms; written in UTC. */
  start?: number;
  /** ms */
  length?: number;
  method?: string;
  /** Further lines of the event. */
  lines?: readonly string[];
  /** Further lines of the calendar. */
  calendar?: readonly string[];
  component?: 'VEVENT' | 'VTODO';
}

const minute = 60_000;

/** `20261121T140000Z` */
export function utc(time: number): string {
  return new Date(time).toISOString().replace(/[-:]|\.\d+/g, '');
}

/** An event in a calendar, as text. */
export function eventText(words: EventWords = {}): string {
  const { uid = 'event-1', summary = 'Standup', start = Date.now() + 5 * minute, length = 30 * minute } = words;
  const { method, lines = [], calendar = [], component = 'VEVENT' } = words;
  return [
    'BEGIN:VCALENDAR',
    'VERSION:2.0',
    'PRODID:-//isthmus//test//EN',
    ...(method ? [`METHOD:${method}`] : []),
    ...calendar,
    `BEGIN:${component}`,
    `UID:${uid}`,
    `SUMMARY:${summary}`,
    ...(lines.some(line => line.startsWith('DTSTART')) ? [] : [`DTSTART:${utc(start)}`]),
    ...(lines.some(line => /^(DTEND|DURATION|DUE)/.test(line)) ? [] : [`DTEND:${utc(start + length)}`]),
    ...lines,
    `END:${component}`,
    'END:VCALENDAR',
    '',
  ].join('\r\n');
}
