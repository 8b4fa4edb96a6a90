// Journals: append-only files in a directory, each named by the position that it begins at.
import { closeSync, mkdirSync, openSync, readdirSync, readSync, statSync, unlinkSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Journal, StoreError } from '../hub/store.ts';
import { syncDirectory } from './directory.ts';

/** The length at which a segment is followed by the next, in bytes. */
const mostInSegment = 16 * 1024 * 1024;

interface Segment {
  readonly from: number;
  end: number;
  /** Null: it is not open. Two are at most, the last one and one that is read. */
  descriptor: number | null;
}

export class FileJournal implements Journal {
  readonly #directory: string;
  readonly #segments: Segment[];
  #end: number;
  /** Whether the next append begins a segment. */
  #dividing: boolean;
  /** What is open besides the last segment. */
  #reading: Segment | null = null;
  readonly #unflushed = new Set<Segment>();
  #flushing: Promise<void> = Promise.resolve();

  /** Throws StoreError where the directory cannot be used. */
  constructor(directory: string) {
    this.#directory = directory;
    this.#segments = this.#attempt('cannot be read', () => segmentsIn(directory));
    this.#end = this.#segments.at(-1)?.end ?? 0;
    this.#dividing = this.#segments.length === 0;
  }

  get segments(): readonly number[] {
    return this.#segments.map(({ from }) => from);
  }

  get end(): number {
    return this.#end;
  }

  append(bytes: Uint8Array): void {
    const at = this.#end;
    this.#end += bytes.length;
    try {
      const last = this.#segments.at(-1);
      const segment =
        this.#dividing || last === undefined || last.end - last.from >= mostInSegment ? this.#begin(at) : last;
      this.#write(segment, at, bytes);
      segment.end = this.#end;
    } catch (error) {
      this.#dividing = true;
      throw error;
    }
  }

  read(position: number, length: number): Uint8Array {
    const segment = this.#segmentAt(position);
    if (!segment) return new Uint8Array(0);
    return this.#attempt('cannot be read', () => {
      const bytes = Buffer.allocUnsafe(Math.min(length, segment.end - position));
      return bytes.subarray(0, readSync(this.#open(segment), bytes, 0, bytes.length, position - segment.from));
    });
  }

  overwrite(position: number, bytes: Uint8Array): void {
    const segment = this.#segmentAt(position);
    if (!segment || position + bytes.length > segment.end) throw new StoreError(`${this.#directory}: nothing is there`);
    this.#write(segment, position, bytes);
  }

  divide(at = this.#end): void {
    this.#end = Math.max(at, this.#end);
    this.#dividing = true;
  }

  drop(before: number): void {
    while (this.#segments.length > 0 && this.#segments[0].end <= before) {
      const segment = this.#segments[0];
      this.#attempt('cannot be removed', () => unlinkSync(this.#pathOf(segment)));
      this.#segments.shift();
      this.#close(segment);
    }
    if (this.#segments.length === 0) this.#dividing = true;
  }

  durable(): Promise<void> {
    const flushed = this.#flushing.then(() => this.#flush());
    this.#flushing = flushed.catch(() => {}); // Who waited has been told.
    return flushed;
  }

  /** Flushes what is open and closes it. */
  async close(): Promise<void> {
    try {
      await this.durable();
    } finally {
      for (const segment of this.#segments) this.#close(segment);
    }
  }

  /** By descriptors of its own: the others may be closed meanwhile. */
  async #flush(): Promise<void> {
    const segments = [...this.#unflushed];
    this.#unflushed.clear();
    for (const segment of segments) {
      if (!this.#segments.includes(segment)) continue;
      try {
        const file = await open(this.#pathOf(segment));
        await file.datasync().finally(() => file.close());
      } catch (error) {
        if (!this.#segments.includes(segment)) continue;
        throw new StoreError(`${this.#pathOf(segment)}: the disk failed (${(error as Error).message}); check it`);
      }
    }
  }

  #begin(at: number): Segment {
    return this.#attempt('cannot be made', () => {
      if (mkdirSync(this.#directory, { recursive: true, mode: 0o700 })) syncDirectory(dirname(this.#directory));
      const segment: Segment = { from: at, end: at, descriptor: null };
      segment.descriptor = openSync(this.#pathOf(segment), 'wx+', 0o600);
      syncDirectory(this.#directory);
      const last = this.#segments.at(-1);
      if (last) this.#close(last);
      this.#segments.push(segment);
      this.#dividing = false;
      return segment;
    });
  }

  #write(segment: Segment, position: number, bytes: Uint8Array): void {
    this.#attempt('cannot be written', () => {
      const descriptor = this.#open(segment);
      this.#unflushed.add(segment);
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(descriptor, bytes, done, bytes.length - done, position - segment.from + done);
      }
    });
  }

  #open(segment: Segment): number {
    if (segment.descriptor !== null) return segment.descriptor;
    if (segment !== this.#segments.at(-1)) {
      if (this.#reading) this.#close(this.#reading);
      this.#reading = segment;
    }
    segment.descriptor = openSync(this.#pathOf(segment), 'r+');
    return segment.descriptor;
  }

  #close(segment: Segment): void {
    if (segment.descriptor !== null) closeSync(segment.descriptor);
    segment.descriptor = null;
  }

  #segmentAt(position: number): Segment | undefined {
    const segment = this.#segments.findLast(({ from }) => from <= position);
    return segment && position < segment.end ? segment : undefined;
  }

  #pathOf({ from }: Segment): string {
    return join(this.#directory, `${String(from).padStart(16, '0')}.log`);
  }

  #attempt<T>(what: string, work: () => T): T {
    try {
      return work();
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (error instanceof StoreError) throw error;
      const why = code === 'ENOSPC' ? 'the disk is full; free space' : message;
      throw new StoreError(`${this.#directory} ${what}: ${why}`);
    }
  }
}

/** The segments that are in a directory, in order. */
function segmentsIn(directory: string): Segment[] {
  const names = readdirOrNone(directory).filter(name => /^\d{16}\.log$/.test(name));
  return names.sort().map(name => {
    const from = Number(name.slice(0, 16));
    return { from, end: from + statSync(join(directory, name)).size, descriptor: null };
  });
}

function readdirOrNone(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** A journal that lives in memory, for tests. */
export class MemoryJournal implements Journal {
  #segments: { from: number; bytes: Buffer }[] = [];
  #end = 0;
  #dividing = true;

  get segments(): readonly number[] {
    return this.#segments.map(({ from }) => from);
  }

  get end(): number {
    return this.#end;
  }

  append(bytes: Uint8Array): void {
    if (this.#dividing) this.#segments.push({ from: this.#end, bytes: Buffer.alloc(0) });
    this.#dividing = false;
    const last = this.#segments.at(-1)!;
    last.bytes = Buffer.concat([last.bytes, bytes]);
    this.#end += bytes.length;
  }

  read(position: number, length: number): Uint8Array {
    const segment = this.#segments.findLast(({ from }) => from <= position);
    if (!segment) return new Uint8Array(0);
    return Buffer.from(segment.bytes.subarray(position - segment.from, position - segment.from + length));
  }

  overwrite(position: number, bytes: Uint8Array): void {
    const segment = this.#segments.findLast(({ from }) => from <= position);
    if (!segment || position - segment.from + bytes.length > segment.bytes.length) {
      throw new StoreError('nothing is there');
    }
    segment.bytes.set(bytes, position - segment.from);
  }

  divide(at = this.#end): void {
    this.#end = Math.max(at, this.#end);
    this.#dividing = true;
  }

  drop(before: number): void {
    const end = ({ from, bytes }: { from: number; bytes: Buffer }) => from + bytes.length;
    while (this.#segments.length > 0 && end(this.#segments[0]) <= before) this.#segments.shift();
    if (this.#segments.length === 0) this.#dividing = true;
  }

  durable(): Promise<void> {
    return Promise.resolve();
  }
}
