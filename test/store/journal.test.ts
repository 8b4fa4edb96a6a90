// Journals in files: what is there after a restart, and what they say when a disk refuses.
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StoreError } from '../../src/hub/store.ts';
import { FileJournal } from '../../src/store/journal.ts';

describe('a journal in files', () => {
  let home: string;
  let directory: string;
  beforeEach(() => {
    home = mkdtempSync(join(tmpdir(), 'isthmus-journal-'));
    directory = join(home, 'things');
  });
  afterEach(() => {
    chmodSync(home, 0o700);
    rmSync(home, { recursive: true });
  });

  it('leaves no trace before something is appended', async () => {
    await new FileJournal(directory).close();
    assert.deepEqual(readdirSync(home), []);
  });

  it('goes on where it was left, for its owner alone', async () => {
    const first = new FileJournal(directory);
    first.append(Buffer.from('abc'));
    first.divide(5);
    first.append(Buffer.from('def'));
    await first.close();
    writeFileSync(join(directory, 'notes.txt'), 'something else');
    const second = new FileJournal(directory);
    assert.deepEqual([second.end, second.segments], [8, [0, 5]]);
    second.append(Buffer.from('g'));
    assert.equal(Buffer.from(second.read(5, 9)).toString(), 'defg');
    assert.deepEqual(second.segments, [0, 5]);
    await second.close();
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    for (const name of readdirSync(directory).filter(one => one.endsWith('.log'))) {
      assert.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name);
    }
  });

  it('begins a segment where one has become long', async () => {
    const journal = new FileJournal(directory);
    const bytes = new Uint8Array(5 * 1024 * 1024);
    for (let n = 0; n < 5; n++) journal.append(bytes);
    assert.deepEqual(journal.segments, [0, 4 * bytes.length]);
    await journal.close();
  });

  it('says why it cannot write, never uses a position twice, and goes on when it can', async () => {
    const journal = new FileJournal(directory);
    journal.append(Buffer.from('abc'));
    journal.divide();
    // Something in the place of the segment stops the root user, too.
    writeFileSync(join(directory, '0000000000000003.log'), '');
    assert.throws(
      () => journal.append(Buffer.from('def')),
      (error: Error) => error instanceof StoreError && /things cannot be made/.test(error.message),
    );
    journal.append(Buffer.from('ghi'));
    assert.deepEqual([journal.end, journal.segments], [9, [0, 6]]);
    assert.equal(Buffer.from(journal.read(6, 9)).toString(), 'ghi');
    assert.equal(journal.read(3, 9).length, 0);
    await journal.close();
  });

  it('refuses a directory that is none', () => {
    writeFileSync(directory, 'a file');
    assert.throws(
      () => new FileJournal(directory),
      (error: Error) => error instanceof StoreError && /things cannot be read: ENOTDIR/.test(error.message),
    );
  });

  it('is flushed while segments come and go', async () => {
    const journal = new FileJournal(directory);
    const flushed: Promise<void>[] = [];
    for (let n = 0; n < 50; n++) {
      journal.append(Buffer.from('abc'));
      journal.divide();
      flushed.push(journal.durable());
      if (n % 2) journal.drop(journal.end - 3);
    }
    await Promise.all(flushed);
    await journal.close();
  });
});
