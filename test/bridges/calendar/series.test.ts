// Series and zones: which instances there are, when they are, and what no rule can do to the hub.
import assert from 'node:assert/strict';
import { keptOf, type State, seriesOf, stateAt, statusText } from '../../../src/bridges/calendar/availability.ts';
import { readICalendar } from '../../../src/bridges/calendar/icalendar.ts';
import { Recurrence } from '../../../src/bridges/calendar/recurrence.ts';
import { expandSeries, type Series, type Span } from '../../../src/bridges/calendar/series.ts';
import { ianaZone, offsetAt, toTime, toWall, type Zone } from '../../../src/bridges/calendar/zones.ts';
import { eventText } from './objects.ts';

const hour = 3_600_000;
const day = 24 * hour;
const from = Date.UTC(2026, 2, 1);
const to = Date.UTC(2026, 5, 1);

/** The instances of one or more events of a uid, as `2026-03-28 13:00+60` in UTC with minutes. */
function instances(events: readonly (readonly string[])[], window = { from, to }, zone = 'Europe/Berlin'): string[] {
  const entries = events
    .map(lines => readICalendar(eventText({ lines })).entries[0])
    .map(one => keptOf(one, new Set()));
  const series = seriesOf(entries[0], entries.slice(1), zone, window);
  return expandSeries(series)
    .sort((a, b) => a.start - b.start)
    .map(
      ({ start, end }) => `${new Date(start).toISOString().slice(0, 16).replace('T', ' ')}+${(end - start) / 60_000}`,
    );
}

describe('calendar series', () => {
  it('keeps to the wall clock when summer time begins', () => {
    const found = instances([
      ['DTSTART;TZID=Europe/Berlin:20260327T140000', 'DURATION:PT1H', 'RRULE:FREQ=DAILY;COUNT=4'],
    ]);
    assert.deepEqual(found, [
      '2026-03-27 13:00+60',
      '2026-03-28 13:00+60',
      '2026-03-29 12:00+60',
      '2026-03-30 12:00+60',
    ]);
  });

  it('leaves exceptions out and puts dates in, in whatever zone they are written', () => {
    const found = instances([
      [
        'DTSTART;TZID=Europe/Berlin:20260302T140000',
        'DURATION:PT30M',
        'RRULE:FREQ=WEEKLY;COUNT=4',
        'EXDATE:20260309T130000Z',
        'EXDATE;VALUE=DATE:20260316',
        'RDATE;TZID=America/New_York:20260303T080000',
      ],
    ]);
    assert.deepEqual(found, ['2026-03-02 13:00+30', '2026-03-03 13:00+30', '2026-03-23 13:00+30']);
  });

  it('moves, cancels and frees single instances', () => {
    const found = instances([
      ['DTSTART:20260302T140000Z', 'DURATION:PT30M', 'RRULE:FREQ=DAILY;COUNT=4'],
      ['RECURRENCE-ID:20260303T140000Z', 'DTSTART:20260303T180000Z', 'DURATION:PT1H'],
      [
        'RECURRENCE-ID;TZID=Europe/Berlin:20260304T150000',
        'DTSTART:20260304T140000Z',
        'DURATION:PT1H',
        'STATUS:CANCELLED',
      ],
      ['RECURRENCE-ID:20260305T140000Z', 'DTSTART:20260305T140000Z', 'DURATION:PT1H', 'TRANSP:TRANSPARENT'],
    ]);
    assert.deepEqual(found, ['2026-03-02 14:00+30', '2026-03-03 18:00+60']);
  });

  it('takes days in the reader’s zone', () => {
    const lines = [
      'DTSTART;VALUE=DATE:20260328',
      'DURATION:P1D',
      'RRULE:FREQ=DAILY;COUNT=3',
      'EXDATE;VALUE=DATE:20260330',
    ];
    assert.deepEqual(instances([lines]), ['2026-03-27 23:00+1440', '2026-03-28 23:00+1380']);
  });

  const ends: [string, string, number][] = [
    ['in UTC', 'UNTIL=20260304T130000Z', 3],
    ['in UTC, a second too early', 'UNTIL=20260304T125959Z', 2],
    ['as a date', 'UNTIL=20260304', 3],
    ['on the wall clock', 'UNTIL=20260304T140000', 3],
  ];
  for (const [what, until, count] of ends) {
    it(`ends a series ${what}`, () => {
      const lines = ['DTSTART;TZID=Europe/Berlin:20260302T140000', 'DURATION:PT30M', `RRULE:FREQ=DAILY;${until}`];
      assert.equal(instances([lines]).length, count);
    });
  }

  it('knows no 30th of February, and no 31st of April', () => {
    const window = { from: Date.UTC(2026, 0, 1), to: Date.UTC(2027, 0, 1) };
    const yearly = ['DTSTART:20200301T120000Z', 'DURATION:PT1H', 'RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30'];
    assert.deepEqual(instances([yearly], window), []);
    const leap = ['DTSTART:20240229T120000Z', 'DURATION:PT1H', 'RRULE:FREQ=YEARLY'];
    assert.deepEqual(instances([leap], window), []);
    const monthly = ['DTSTART:20260131T120000Z', 'DURATION:PT1H', 'RRULE:FREQ=MONTHLY'];
    assert.equal(instances([monthly], window).length, 7);
  });

  it('finds what is still on from before the window', () => {
    const lines = ['DTSTART:20260201T000000Z', 'DURATION:P40D', 'RRULE:FREQ=YEARLY'];
    assert.deepEqual(instances([lines]), ['2026-02-01 00:00+57600']);
  });

  it('refuses rules that are mad, and gives up on those that hang', async () => {
    const recurrence = new Recurrence(300);
    const series = (rule: string, year = 2026): Series => ({
      start: { wall: new Date(Date.UTC(2000, 0, 1, 12)).setUTCFullYear(year), zone: null, day: false },
      length: hour,
      busy: 'busy',
      rules: [rule],
      dates: [],
      exceptions: [],
      overrides: [],
      zone: 'UTC',
      from,
      to,
    });
    const hanging = ['FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30', 'FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30'];
    const mad = ['FREQ=SECONDLY;BYMONTH=12', 'FREQ=MINUTELY', 'FREQ=NEVER', 'FREQ=DAILY;INTERVAL=-1', 'BYDAY=MO', ''];
    const began = Date.now();
    const results = [...hanging, ...mad].map(rule => recurrence.expand(series(rule)));
    const good = recurrence.expand(series('FREQ=DAILY'));
    for (const one of results.slice(0, 5)) await assert.rejects(one);
    await Promise.allSettled(results);
    assert.equal((await good).length, 92);
    assert.ok(Date.now() - began < 5_000);
    await recurrence.close();
    await assert.rejects(recurrence.expand(series('FREQ=DAILY')), /ending/);
  });
});

describe('time zones', () => {
  const names: [string, string | null][] = [
    ['Europe/Berlin', 'Europe/Berlin'],
    ['W. Europe Standard Time', 'Europe/Berlin'],
    ['/mozilla.org/20050126_1/America/Argentina/Buenos_Aires', 'America/Argentina/Buenos_Aires'],
    ['/freeassociation.sourceforge.net/Europe/Rome', 'Europe/Rome'],
    ['UTC', 'Etc/UTC'],
    ['+01:00', null],
    ['Moon/Base', null],
    ['', null],
  ];
  for (const [name, zone] of names) {
    it(`reads ${name || 'an empty name'} as ${zone}`, () => assert.equal(ianaZone(name), zone));
  }

  it('takes the first of two times, and the offset before a gap', () => {
    const twice = Date.UTC(2026, 9, 25, 2, 30);
    assert.equal(new Date(toTime(twice, 'Europe/Berlin')).toISOString(), '2026-10-25T00:30:00.000Z');
    const never = Date.UTC(2026, 2, 29, 2, 30);
    assert.equal(new Date(toTime(never, 'Europe/Berlin')).toISOString(), '2026-03-29T01:30:00.000Z');
  });

  it('comes back to the same time from the wall clock, but where it comes twice', () => {
    for (let time = Date.UTC(2026, 0, 1); time < Date.UTC(2027, 0, 1); time += 7 * hour) {
      for (const zone of ['Europe/Berlin', 'America/St_Johns', 'Asia/Kathmandu', 'Australia/Lord_Howe', 'UTC']) {
        const back = toTime(toWall(time, zone), zone);
        if (toWall(back, zone) !== toWall(time, zone)) assert.fail(`${zone} ${new Date(time).toISOString()}`);
      }
    }
  });

  it('follows the rules an object brings as the real ones', () => {
    const object = readICalendar(
      eventText({
        lines: ['DTSTART;TZID=Home:20260706T140000', 'DURATION:PT1H'],
        calendar: [
          'BEGIN:VTIMEZONE',
          'TZID:Home',
          ...['BEGIN:STANDARD', 'DTSTART:19701025T030000', 'RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10'],
          ...['TZOFFSETFROM:+0200', 'TZOFFSETTO:+0100', 'END:STANDARD'],
          ...['BEGIN:DAYLIGHT', 'DTSTART:19700329T020000', 'RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3'],
          ...['TZOFFSETFROM:+0100', 'TZOFFSETTO:+0200', 'END:DAYLIGHT'],
          'END:VTIMEZONE',
        ],
      }),
    );
    const zone = object.entries[0].start!.zone as Zone;
    for (let time = Date.UTC(2020, 0, 1); time < Date.UTC(2028, 0, 1); time += 5 * hour) {
      assert.equal(offsetAt(zone, time), offsetAt('Europe/Berlin', time), new Date(time).toISOString());
    }
  });
});

describe('availability', () => {
  const now = Date.UTC(2026, 6, 6, 12, 10);
  const span = (start: number, end: number, busy: Span['busy'] = 'busy'): Span => ({
    start: Date.UTC(2026, 6, 6, start),
    end: Date.UTC(2026, 6, 6, end),
    busy,
  });
  const cases: [string, Span[], string][] = [
    ['nothing', [], ''],
    ['one meeting', [span(12, 13)], 'In a meeting until 13:00'],
    ['one that is over, one to come', [span(10, 11), span(13, 14)], ''],
    ['meetings that follow each other', [span(12, 13), span(13, 15), span(16, 17)], 'In a meeting until 15:00'],
    ['a tentative one beside', [span(12, 13), span(11, 18, 'tentative')], 'In a meeting until 13:00'],
    ['only tentative', [span(12, 13, 'tentative')], 'Possibly in a meeting until 13:00'],
    ['away', [span(0, 24, 'away')], 'Out of office today'],
    ['away for days', [span(0, 48, 'away')], 'Out of office until the end of 2026-07-07'],
    ['into the night', [span(12, 26)], 'In a meeting until 2026-07-07 02:00'],
  ];
  for (const [what, spans, text] of cases) {
    it(`says of ${what}: ${text || 'nothing'}`, () => {
      const state: State | null = stateAt(spans, now);
      assert.equal(state ? statusText(state, now, 'UTC') : '', text);
    });
  }

  const answers: [string, string[], number][] = [
    ['a meeting', [], 1],
    ['one that is free', ['TRANSP:TRANSPARENT'], 0],
    ['one that was declined', ['ATTENDEE;PARTSTAT=DECLINED:mailto:juliet@hub.test'], 0],
    ['one that somebody else declined', ['ATTENDEE;PARTSTAT=DECLINED:mailto:romeo@hub.test'], 1],
    ['one that is cancelled', ['STATUS:CANCELLED'], 0],
  ];
  for (const [what, lines, count] of answers) {
    it(`counts ${what} ${count === 1 ? 'as taken' : 'as free'}`, () => {
      const [entry] = readICalendar(eventText({ start: now - hour, length: day, lines })).entries;
      const kept = keptOf(entry, new Set(['juliet@hub.test']));
      assert.equal(expandSeries(seriesOf(kept, [], 'UTC', { from, to: to + 90 * day })).length, count);
      assert.equal(kept.summary, '');
    });
  }
});
