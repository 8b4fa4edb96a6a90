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
  /** Commits what is open and closes the database. */
  close(): Promise<void>;
}
