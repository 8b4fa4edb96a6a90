// A second of the calendar fuzzer, from a fixed seed; and frames that no server should send.
import assert from 'node:assert/strict';
import { cutHeader, FrameCutter } from '../../../src/bridges/calendar/frames.ts';
import { fuzzCalendar } from '../../fuzz/calendar.ts';

const seed = 5545;

describe(`fuzzing calendar messages from seed ${seed}`, () => {
  it('finds a notification or a reason in every body', () => {
    const { verdicts } = fuzzCalendar({ cases: 4_000 }, seed);
    assert.ok(verdicts.reminder > 400, JSON.stringify(verdicts));
    assert.ok(verdicts.malformed > 400, JSON.stringify(verdicts));
  });
});

describe('frames of STOMP', () => {
  const cut = (chunks: readonly (string | Buffer)[], most = 100) => {
    const frames: string[] = [];
    const cutter = new FrameCutter(most, frame => frames.push(Buffer.from(frame).toString()));
    for (const chunk of chunks) cutter.push(Buffer.from(chunk));
    return frames;
  };

  it('takes the body out of a frame that is too large, announced or not', () => {
    const body = 'x'.repeat(1_000);
    const announced = cut([`MESSAGE\nid:1\ncontent-length:1000\n\n`, body, '\0', 'RECEIPT\n\n\0']);
    assert.deepEqual(announced, [`MESSAGE\n${cutHeader}:1000\nid:1\n\n\0`, 'RECEIPT\n\n\0']);
    const open = cut(['MESSAGE\r\nid:1\r\n\r\n', body, body, '\0\n']);
    assert.deepEqual(open, [`MESSAGE\r\n${cutHeader}:2000\nid:1\r\n\r\n\0`, '\n']);
  });

  it('passes heart-beats and empty bodies', () => {
    assert.deepEqual(cut(['\n', '\r\n', 'CONNECTED\nversion:1.2\n\n\0\n']), [
      '\n',
      '\r\n',
      'CONNECTED\nversion:1.2\n\n\0',
      '\n',
    ]);
  });

  it('refuses headers without end and a body that is longer than it says', () => {
    assert.throws(() => cut([`MESSAGE\n${'a'.repeat(70_000)}`]), /headers/);
    assert.throws(() => cut(['MESSAGE\ncontent-length:2\n\nabc\0']), /longer/);
  });
});
