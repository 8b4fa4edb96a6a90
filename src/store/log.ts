// The write-ahead log of a SQLite database: what flushes it, and what moves it into the database so that it stays short.
import { closeSync, openSync } from 'node:fs';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';

/** How much may be in the log alone before a thread moves it into the database, in bytes. */
const mostPending = 8 * 1024 * 1024;
/** The length at which the log is begun anew, even if the event loop has to move its end. */
const mostLength = 32 * 1024 * 1024;
/** How long to leave the log alone after it was moved, in ms: a reader elsewhere may be in the way. */
const pause = 1000;
/** How long the thread waits for more to do, in ms: to start one costs more than to move a log. */
const patience = 60_000;

export class WriteAheadLog {
  /** For fdatasync. */
  readonly descriptor: number;
  readonly #database: DatabaseSync;
  readonly #path: string;
  readonly #state: StatementSync;
  readonly #frame: number;
  #thread: Worker | null = null;
  #rest: NodeJS.Timeout | null = null;
  #moving = false;
  #moved = -Infinity;

  constructor(database: DatabaseSync, path: string) {
    this.#database = database;
    this.#path = path;
    this.descriptor = openSync(`${path}-wal`, 'r+');
    database.exec(`PRAGMA journal_size_limit = ${mostLength}`);
    // It tells how long the log is and how much of it is in the database, and moves nothing.
    this.#state = database.prepare('PRAGMA wal_checkpoint(NOOP)');
    this.#frame = Number(database.prepare('PRAGMA page_size').get()?.page_size) + 24;
  }

  /**
   * Keeps the log short; to be called between transactions. SQLite begins the log anew where all of it was moved. A
   * thread does nearly all of that, but under steady writing it never quite catches up: then what came while it
   * worked is moved here, on the event loop.
   */
  tend(): void {
    if (this.#moving) return;
    const state = this.#state.get();
    const length = Number(state?.log) * this.#frame;
    const pending = length - Number(state?.checkpointed) * this.#frame;
    const since = performance.now() - this.#moved;
    if (length >= mostLength && pending > 0 && since < pause) {
      this.#database.exec('PRAGMA wal_checkpoint(PASSIVE)');
      this.#moved = -Infinity;
    } else if (pending >= mostPending && since >= pause) {
      this.#move();
    }
  }

  #move(): void {
    this.#moving = true;
    if (this.#rest) clearTimeout(this.#rest);
    this.#thread ??= this.#start();
    this.#thread.postMessage('move');
  }

  #start(): Worker {
    const file = import.meta.url.endsWith('.ts') ? './checkpoint.ts' : './checkpoint.js';
    const thread = new Worker(new URL(file, import.meta.url), { workerData: this.#path, execArgv: [] });
    const moved = () => {
      this.#moving = false;
      this.#moved = performance.now();
    };
    thread.on('message', () => {
      moved();
      this.#rest = setTimeout(() => thread.postMessage('end'), patience);
      this.#rest.unref();
    });
    thread.on('error', () => {}); // It is tried again later; the log only stays longer.
    thread.on('exit', () => {
      if (this.#thread === thread) this.#thread = null;
      moved();
    });
    thread.unref();
    return thread;
  }

  /** Lets go of the log. Nothing may be written any more. */
  async close(): Promise<void> {
    if (this.#rest) clearTimeout(this.#rest);
    const thread = this.#thread;
    if (thread) {
      thread.ref();
      const ended = new Promise(resolve => thread.once('exit', resolve));
      thread.postMessage('end');
      await ended;
    }
    closeSync(this.descriptor);
  }
}
