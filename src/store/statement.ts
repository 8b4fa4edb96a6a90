// A prepared statement of the SQLite store: writes join the group that is open.
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Row, SqlValue, Statement } from '../hub/store.ts';

/** What a statement needs of its store. */
export interface Group {
  /** Opens the group's transaction, unless it is open. */
  begin(): void;
  /** What to throw for an error of SQLite. */
  failed(error: unknown): unknown;
}

const writing = /^\s*(?:insert|update|delete|replace|with)\b/i;

export class SqliteStatement implements Statement {
  readonly #database: DatabaseSync;
  readonly #sql: string;
  readonly #statement: StatementSync;
  readonly #group: Group;
  /** `INSERT … RETURNING` is asked with get or all and belongs to the group as well. */
  readonly #writes: boolean;

  constructor(database: DatabaseSync, sql: string, group: Group) {
    this.#database = database;
    this.#sql = sql;
    this.#statement = database.prepare(sql);
    this.#group = group;
    this.#writes = writing.test(sql);
  }

  get(...values: SqlValue[]): Row | undefined {
    if (this.#writes) this.#group.begin();
    try {
      return this.#statement.get(...values) as Row | undefined;
    } catch (error) {
      throw this.#group.failed(error);
    }
  }

  all(...values: SqlValue[]): Row[] {
    if (this.#writes) this.#group.begin();
    try {
      return this.#statement.all(...values) as Row[];
    } catch (error) {
      throw this.#group.failed(error);
    }
  }

  /** On a statement of its own: others may use this one while the rows are read. */
  *iterate(...values: SqlValue[]): IterableIterator<Row> {
    try {
      yield* this.#database.prepare(this.#sql).iterate(...values) as IterableIterator<Row>;
    } catch (error) {
      throw this.#group.failed(error);
    }
  }

  run(...values: SqlValue[]): { changes: number; lastId: number } {
    this.#group.begin();
    try {
      const { changes, lastInsertRowid } = this.#statement.run(...values);
      return { changes: Number(changes), lastId: Number(lastInsertRowid) };
    } catch (error) {
      throw this.#group.failed(error);
    }
  }
}
