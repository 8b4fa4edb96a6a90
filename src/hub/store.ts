// The contract of the store: tables for the hub's modules and bridges, on one database, committed in groups.

/** The store cannot be opened or written; the message says why and what to do. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
}

/** A value that a column can hold. */
export type SqlValue = string | number | bigint | null | Uint8Array;
export type Row = Record<string, SqlValue>;

/** A prepared statement. Reads see every write made before them, committed or not. */
export interface Statement {
  get(...values: SqlValue[]): Row | undefined;
  all(...values: SqlValue[]): Row[];
  iterate(...values: SqlValue[]): IterableIterator<Row>;
  /** Writes. The change is visible at once and durable when the next `Store.durable()` resolves. */
  run(...values: SqlValue[]): { changes: number; lastId: number };
}

/** One step of a schema: plain SQL. Steps are numbered by their place and run once each. */
export type Migration = string;

export interface Store {
  /**
   * Brings the tables of one owner (a module or bridge) up to date: runs those of `steps` that were not run before,
   * in one transaction. Throws StoreError when the database is newer than the code.
   */
  migrate(owner: string, steps: readonly Migration[]): void;
  /** Prepares a statement; the same text gives the same statement. */
  prepare(sql: string): Statement;
  /** Runs `work` atomically: either all of its writes are kept or, when it throws, none. Not for async work. */
  atomic<T>(work: () => T): T;
  /** Resolves when everything written so far is on disk: the writes of many callers share one commit and one fsync. */
  durable(): Promise<void>;
  /**
   * Has what was written so far committed within some 10 ms instead of 100: for writes that nobody waits for, but whose
   * loss in a crash shows.
   */
  commitSoon(): void;
  /** The journal of that name, a short word; it is made where there is none. */
  journal(name: string): Journal;
  /** Commits what is open and closes the database. */
  close(): Promise<void>;
}

/**
 * Bytes in the order of their arrival, beside the tables: for what is written often and read seldom. A position is the
 * number of bytes that came before. The journal is divided into segments, each of which begins where an append does.
 */
export interface Journal {
  /** Where each segment begins, in order. */
  readonly segments: readonly number[];
  /** Where the next append goes. */
  readonly end: number;
  /**
   * Adds bytes, which can be read at once and survive the end of the process. Throws StoreError where they cannot be
   * written; the positions that they would have had stay empty.
   */
  append(bytes: Uint8Array): void;
  /** Up to `length` bytes; fewer at the end of a segment, none where there is nothing (any more). */
  read(position: number, length: number): Uint8Array;
  /** Puts other bytes in the place of some that are there. Throws StoreError. */
  overwrite(position: number, bytes: Uint8Array): void;
  /** Has the next append begin a segment, at `end` or wherever behind it. */
  divide(at?: number): void;
  /** Removes the segments that end at or before a position. */
  drop(before: number): void;
  /** Resolves when all that was written so far is on the disk. Rejects with StoreError. */
  durable(): Promise<void>;
}
