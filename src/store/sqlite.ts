// The store on node:sqlite: one connection, write-ahead log, commits in groups, and the disk flush off the event loop.
import { accessSync, closeSync, constants, fdatasync, mkdirSync, openSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Journal, type Migration, type Statement, type Store, StoreError } from '../hub/store.ts';
import { syncDirectory } from './directory.ts';
import { FileJournal, MemoryJournal } from './journal.ts';
import { WriteAheadLog } from './log.ts';
import { SqliteStatement } from './statement.ts';

/** How long writes that nobody waits for may wait for others, in ms. */
const commitDelay = 100;
/** The same where a loss would be noticed, in ms. */
const soonDelay = 10;
const mostStatements = 500;

/** Opens (and makes, where it is new) a database file. Throws StoreError saying why it cannot be used. */
export function openSqlite(path: string): Store {
  makeFile(path);
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(path, { timeout: 5000 });
    const mode = database.prepare('PRAGMA journal_mode = WAL').get()?.journal_mode;
    if (mode !== 'wal') {
      throw new StoreError(`${path}: its file system cannot hold a write-ahead log; let \`data\` be on a local disk`);
    }
    database.exec('PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0');
    database.exec('CREATE TABLE IF NOT EXISTS schema_versions (owner TEXT PRIMARY KEY, version INTEGER NOT NULL)');
    database.exec('BEGIN IMMEDIATE; COMMIT');
    return new SqliteStore(database, path, new WriteAheadLog(database, path));
  } catch (error) {
    database?.close();
    throw storeError(error, path);
  }
}

/** A store that lives in memory, for tests. */
export function openMemory(): Store {
  const database = new DatabaseSync(':memory:');
  database.exec('CREATE TABLE schema_versions (owner TEXT PRIMARY KEY, version INTEGER NOT NULL)');
  return new SqliteStore(database, 'the store in memory', null);
}

/** Makes what is missing of directory and file, to be read by this user alone, and brings their names onto the disk. */
function makeFile(path: string): void {
  const directory = dirname(path);
  try {
    const made = mkdirSync(directory, { recursive: true, mode: 0o700 });
    if (made !== undefined) syncDirectory(dirname(made));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'EEXIST' || code === 'ENOTDIR' ? 'a file is in its place' : code;
    throw new StoreError(`${directory} cannot be made: ${why}; check \`data\``);
  }
  try {
    // Never opened where it is there: closing it again would drop the locks that SQLite holds in this process.
    closeSync(openSync(path, 'wx', 0o600));
    syncDirectory(directory);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code === 'EROFS')
      throw new StoreError(`${directory} is on a read-only file system; the hub needs to write there`);
    if (code === 'ENOSPC') throw new StoreError(`${path}: the disk is full; free space and start again`);
    throw new StoreError(`${path} cannot be made: ${code}; check that this user can write to its directory`);
  }
}

function storeError(error: unknown, path: string): StoreError {
  return known(error, path) ?? new StoreError(`${path}: ${(error as Error).message}`);
}

/** What SQLite says, in words for the operator; null where it is the statement's own fault (a constraint, say). */
function known(error: unknown, path: string): StoreError | null {
  if (error instanceof StoreError) return error;
  const { message, errcode } = error as { message: string; errcode?: number };
  switch ((errcode ?? 0) & 0xff) {
    case 5: // SQLITE_BUSY
      return new StoreError(`${path} is in use by another process`);
    case 8: // SQLITE_READONLY
      return new StoreError(`${path} is read-only; the hub needs to write there`);
    case 10: // SQLITE_IOERR
      if (isFull(path)) return new StoreError(`${path}: the disk is full; free space`);
      return new StoreError(`${path}: the disk failed (${message}); check it before you go on`);
    case 11: // SQLITE_CORRUPT
    case 26: // SQLITE_NOTADB
      return new StoreError(`${path} is damaged or no database; restore a backup`);
    case 13: // SQLITE_FULL
      return new StoreError(`${path}: the disk is full; free space`);
    case 14: // SQLITE_CANTOPEN
      if (isReadOnly(path))
        return new StoreError(`${path} is on a read-only file system; the hub needs to write there`);
      return new StoreError(`${path} cannot be opened; check that it is a file and that this user can write to it`);
    default:
      return null;
  }
}

/** COMPAT(SQLite): it calls the shared memory that finds no room on the disk an I/O error. */
function isFull(path: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(dirname(path));
    return bavail * bsize < 64 * 1024;
  } catch {
    return false;
  }
}

function isReadOnly(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS';
  }
}

interface Waiter {
  resolve: () => void;
  reject: (error: Error) => void;
}

class SqliteStore implements Store {
  readonly #database: DatabaseSync;
  readonly #path: string;
  /** Null: the store lives in memory. */
  readonly #log: WriteAheadLog | null;
  readonly #statements = new Map<string, SqliteStatement>();
  readonly #journals = new Map<string, Journal>();
  /** Whether the group's transaction is open. */
  #open = false;
  /** How many writes were begun in it, and how many of them before the atomic step that is under way. */
  #writes = 0;
  #before = 0;
  #savepoints = 0;
  #later: NodeJS.Timeout | null = null;
  /** Whether `#later` is soon. */
  #hurried = false;
  #soon: NodeJS.Immediate | null = null;
  #waiters: Waiter[] = [];
  #flushing = false;
  #unflushed: Waiter[] = [];
  /** How many groups were committed, and how many of them are on the disk. */
  #committed = 0;
  #flushed = 0;
  /** A group was lost and nobody waited for it: who asks next is told. */
  #lost: StoreError | null = null;
  /** A flush failed: what the kernel still has of the log can no longer be trusted, nor a later flush. */
  #broken: StoreError | null = null;
  #closed = false;

  constructor(database: DatabaseSync, path: string, log: WriteAheadLog | null) {
    this.#database = database;
    this.#path = path;
    this.#log = log;
  }

  migrate(owner: string, steps: readonly Migration[]): void {
    const row = this.prepare('SELECT version FROM schema_versions WHERE owner = ?').get(owner);
    const version = Number(row?.version ?? 0);
    if (version > steps.length) {
      throw new StoreError(
        `${this.#path}: the tables of ${owner} are of version ${version}, this isthmus knows ${steps.length}; run the newer one`,
      );
    }
    if (version === steps.length) return;
    this.atomic(() => {
      for (const step of steps.slice(version)) this.#database.exec(step);
      this.prepare('INSERT OR REPLACE INTO schema_versions (owner, version) VALUES (?, ?)').run(owner, steps.length);
    });
  }

  prepare(sql: string): Statement {
    const known = this.#statements.get(sql);
    if (known) return known;
    const statement = new SqliteStatement(this.#database, sql, this);
    if (this.#statements.size >= mostStatements) this.#statements.delete(this.#statements.keys().next().value!);
    this.#statements.set(sql, statement);
    return statement;
  }

  atomic<T>(work: () => T): T {
    if (this.#savepoints === 0) this.#before = this.#open ? this.#writes : 0;
    this.begin();
    const name = `s${this.#savepoints++}`;
    try {
      this.#database.exec(`SAVEPOINT ${name}`);
      const result = work();
      this.#database.exec(`RELEASE ${name}`);
      return result;
    } catch (error) {
      const failure = this.failed(error);
      // A group that was lost has taken its savepoints with it.
      if (this.#open) this.#database.exec(`ROLLBACK TO ${name}; RELEASE ${name}`);
      throw failure;
    } finally {
      this.#savepoints--;
    }
  }

  durable(): Promise<void> {
    if (this.#closed) return Promise.reject(new StoreError(`${this.#path} is closed`));
    const lost = this.#lost;
    if (lost) {
      this.#lost = null;
      return Promise.reject(lost);
    }
    // Nobody gets ahead of those who wait already.
    const waiting = this.#flushing || this.#waiters.length > 0 || this.#unflushed.length > 0;
    if (!this.#open && this.#flushed === this.#committed && !waiting) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#soon ??= setImmediate(() => this.#commit());
    });
  }

  commitSoon(): void {
    if (!this.#open || this.#hurried) return;
    this.#hurried = true;
    clearTimeout(this.#later ?? undefined);
    this.#later = setTimeout(() => this.#commit(), soonDelay);
  }

  journal(name: string): Journal {
    let journal = this.#journals.get(name);
    if (!journal) {
      journal = this.#log ? new FileJournal(`${this.#path.replace(/\.db$/, '')}.${name}`) : new MemoryJournal();
      this.#journals.set(name, journal);
    }
    return journal;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    try {
      const last = this.durable();
      this.#closed = true;
      await last;
    } finally {
      if (this.#open) this.#commit();
      for (const journal of this.#journals.values()) if (journal instanceof FileJournal) await journal.close();
      await this.#log?.close();
      this.#database.close();
    }
  }

  /** Opens the group's transaction, unless it is open. Throws StoreError. */
  begin(): void {
    this.#writes++;
    if (this.#open) return;
    this.#writes = 1;
    try {
      this.#database.exec('BEGIN IMMEDIATE');
    } catch (error) {
      throw storeError(error, this.#path);
    }
    this.#open = true;
    this.#later ??= setTimeout(() => this.#commit(), commitDelay);
  }

  /** What to throw for an error of a statement. On some, SQLite takes back the whole transaction: then the group is lost. */
  failed(error: unknown): unknown {
    const failure = known(error, this.#path) ?? error;
    if (this.#open && !this.#database.isTransaction) {
      // Where the write that failed was the only one, whoever made it knows, and nobody else has lost anything.
      const others = this.#savepoints > 0 ? this.#before > 0 : this.#writes > 1;
      this.#lose(storeError(failure, this.#path), others);
    }
    return failure;
  }

  /** Ends the group: one commit for all of its writes, then one flush for all who wait. */
  #commit(): void {
    if (this.#later) clearTimeout(this.#later);
    if (this.#soon) clearImmediate(this.#soon);
    this.#later = this.#soon = null;
    this.#hurried = false;
    if (this.#open) {
      try {
        this.#database.exec('COMMIT');
      } catch (error) {
        return this.#lose(storeError(error, this.#path));
      }
      this.#open = false;
      this.#committed++;
      this.#log?.tend();
    }
    this.#unflushed.push(...this.#waiters.splice(0));
    this.#flush();
  }

  /** What was written in this group is gone: whoever waits for it is told, or else who asks next. */
  #lose(failure: StoreError, others = true): void {
    this.#open = false;
    try {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
    } catch {
      // There is nothing left to take back.
    }
    if (this.#waiters.length === 0 && others) this.#lost = failure;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(failure);
  }

  /** COMMIT has written the log; fdatasync, on a thread of the pool, brings it onto the disk. */
  #flush(): void {
    if (this.#flushing || this.#unflushed.length === 0) return;
    const waiters = this.#unflushed.splice(0);
    if (this.#broken) {
      for (const waiter of waiters) waiter.reject(this.#broken);
      return;
    }
    const upTo = this.#committed;
    const done = (error: Error | null) => {
      this.#flushing = false;
      if (error) {
        this.#broken = new StoreError(`${this.#path}: the disk failed (${error.message}); check it, then restart`);
      } else {
        this.#flushed = upTo;
      }
      for (const waiter of waiters) this.#broken ? waiter.reject(this.#broken) : waiter.resolve();
      this.#flush();
    };
    if (!this.#log || this.#flushed === upTo) return done(null);
    this.#flushing = true;
    fdatasync(this.#log.descriptor, done);
  }
}
