// The store on node:sqlite: one connection, write-ahead log, commits in groups, and the disk flush off the event loop.
import { closeSync, fdatasync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { type Migration, type Row, type SqlValue, type Statement, type Store, StoreError } from '../hub/store.ts';

/** How long writes that nobody waits for may wait for others, in ms. */
const commitDelay = 10;
/** The size of the write-ahead log at which it is moved into the database, by a thread of its own. */
const checkpointSize = 8 * 1024 * 1024;
const mostStatements = 500;

/** Opens (and makes, where it is new) a database file. Throws StoreError saying why it cannot be used. */
export function openSqlite(path: string): Store {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new StoreError(`${dirname(path)} cannot be made: ${(error as NodeJS.ErrnoException).code}; check \`data\``);
  }
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(path, { timeout: 5000 });
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;');
    database.exec('CREATE TABLE IF NOT EXISTS schema_versions (owner TEXT PRIMARY KEY, version INTEGER NOT NULL)');
    database.exec('BEGIN IMMEDIATE; COMMIT');
    return new SqliteStore(database, path);
  } catch (error) {
    database?.close();
    throw storeError(error, path);
  }
}

/** A store that lives in memory, for tests. */
export function openMemory(): Store {
  const database = new DatabaseSync(':memory:');
  database.exec('CREATE TABLE schema_versions (owner TEXT PRIMARY KEY, version INTEGER NOT NULL)');
  return new SqliteStore(database, '');
}

function storeError(error: unknown, path: string): StoreError {
  if (error instanceof StoreError) return error;
  const { message, errcode } = error as { message: string; errcode?: number };
  switch ((errcode ?? 0) & 0xff) {
    case 8: // SQLITE_READONLY
      return new StoreError(`${path} is read-only; the hub needs to write there`);
    case 13: // SQLITE_FULL
      return new StoreError(`${path}: the disk is full; free space and start again`);
    case 11: // SQLITE_CORRUPT
    case 26: // SQLITE_NOTADB
      return new StoreError(`${path} is damaged or no database; restore a backup`);
    case 14: // SQLITE_CANTOPEN
      return new StoreError(`${path} cannot be opened; check that its directory can be written by this user`);
    case 5: // SQLITE_BUSY
      return new StoreError(`${path} is in use by another process`);
    default:
      return new StoreError(`${path}: ${message}`);
  }
}

interface Waiter {
  resolve: () => void;
  reject: (error: Error) => void;
}

class SqliteStore implements Store {
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #log: number;
  readonly #statements = new Map<string, SqliteStatement>();
  #open = false;
  #savepoints = 0;
  #timer: NodeJS.Timeout | NodeJS.Immediate | null = null;
  #timerIsImmediate = false;
  #waiters: Waiter[] = [];
  #flushing = false;
  #unflushed: Waiter[] = [];
  #checkpointing: Promise<void> | null = null;
  #closed = false;

  constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
    this.#log = path === '' ? -1 : openSync(`${path}-wal`, 'r+');
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
    const statement = new SqliteStatement(this.#database.prepare(sql), () => this.begin());
    if (this.#statements.size >= mostStatements) this.#statements.delete(this.#statements.keys().next().value!);
    this.#statements.set(sql, statement);
    return statement;
  }

  atomic<T>(work: () => T): T {
    this.begin();
    const name = `s${this.#savepoints++}`;
    this.#database.exec(`SAVEPOINT ${name}`);
    try {
      const result = work();
      this.#database.exec(`RELEASE ${name}`);
      return result;
    } catch (error) {
      this.#database.exec(`ROLLBACK TO ${name}; RELEASE ${name}`);
      throw error;
    } finally {
      this.#savepoints--;
    }
  }

  durable(): Promise<void> {
    if (this.#closed) return Promise.reject(new StoreError('the store is closed'));
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#schedule(true);
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    const last = this.durable();
    this.#closed = true;
    await last;
    await this.#checkpointing;
    if (this.#path !== '') this.#database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    this.#cancel();
    if (this.#open) this.#commit();
    this.#database.close();
    if (this.#log >= 0) closeSync(this.#log);
  }

  /** Opens the group's transaction, unless it is open. */
  begin(): void {
    if (this.#open) return;
    this.#database.exec('BEGIN IMMEDIATE');
    this.#open = true;
    this.#schedule(false);
  }

  #schedule(soon: boolean): void {
    if (this.#timer && (this.#timerIsImmediate || !soon)) return;
    this.#cancel();
    this.#timerIsImmediate = soon;
    this.#timer = soon ? setImmediate(() => this.#commit()) : setTimeout(() => this.#commit(), commitDelay);
  }

  #cancel(): void {
    if (this.#timer && this.#timerIsImmediate) clearImmediate(this.#timer as NodeJS.Immediate);
    else if (this.#timer) clearTimeout(this.#timer as NodeJS.Timeout);
    this.#timer = null;
  }

  /** Ends the group: one commit for all of its writes, then one flush for all who wait. */
  #commit(): void {
    this.#cancel();
    const waiters = this.#waiters;
    this.#waiters = [];
    try {
      if (this.#open) {
        this.#open = false;
        this.#database.exec('COMMIT');
      }
    } catch (error) {
      // What was written in this group is lost: whoever waits for it is told.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      const failure = storeError(error, this.#path);
      for (const waiter of waiters) waiter.reject(failure);
      return;
    }
    if (waiters.length === 0) return;
    this.#unflushed.push(...waiters);
    this.#flush();
  }

  /** COMMIT has written the log; fdatasync, on a thread of the pool, brings it onto the disk. */
  #flush(): void {
    if (this.#flushing || this.#unflushed.length === 0) return;
    const waiters = this.#unflushed;
    this.#unflushed = [];
    if (this.#log < 0) {
      for (const waiter of waiters) waiter.resolve();
      return;
    }
    this.#flushing = true;
    fdatasync(this.#log, error => {
      this.#flushing = false;
      for (const waiter of waiters) error ? waiter.reject(storeError(error, this.#path)) : waiter.resolve();
      this.#flush();
      this.#checkpoint();
    });
  }

  #checkpoint(): void {
    if (this.#checkpointing || this.#closed) return;
    if (statSync(`${this.#path}-wal`).size < checkpointSize) return;
    const file = import.meta.url.endsWith('.ts') ? './checkpoint.ts' : './checkpoint.js';
    const worker = new Worker(new URL(file, import.meta.url), { workerData: this.#path });
    this.#checkpointing = new Promise(resolve => {
      worker.on('error', () => {}); // It is tried again with the next flush; the log only stays longer.
      worker.on('exit', () => {
        this.#checkpointing = null;
        resolve();
      });
    });
  }
}

class SqliteStatement implements Statement {
  readonly #statement: StatementSync;
  readonly #begin: () => void;

  constructor(statement: StatementSync, begin: () => void) {
    this.#statement = statement;
    this.#begin = begin;
  }

  get(...values: SqlValue[]): Row | undefined {
    return this.#statement.get(...values) as Row | undefined;
  }

  all(...values: SqlValue[]): Row[] {
    return this.#statement.all(...values) as Row[];
  }

  iterate(...values: SqlValue[]): IterableIterator<Row> {
    return this.#statement.iterate(...values) as IterableIterator<Row>;
  }

  run(...values: SqlValue[]): { changes: number; lastId: number } {
    this.#begin();
    const { changes, lastInsertRowid } = this.#statement.run(...values);
    return { changes: Number(changes), lastId: Number(lastInsertRowid) };
  }
}
