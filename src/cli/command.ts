// What a command of the command line is, and what it is given.
import type { Config } from '../hub/config.ts';
import type { Accounts } from './account.ts';

export interface Context {
  /** The words behind the command, options taken out. */
  readonly args: readonly string[];
  /** `--json`, and options with a value such as `--domain`. */
  readonly json: boolean;
  readonly options: ReadonlyMap<string, string>;
  /** Reads the configuration; throws ConfigError. */
  config(): Config;
  /** Has the running hub carry out a command; rejects with NotRunning where there is none. */
  ask(command: string, ...args: string[]): Promise<unknown>;
  /** Prints plain data: as JSON with `--json`, else as a table or as lines. */
  print(data: unknown): void;
  /** Prints a line. */
  say(line: string): void;
  readonly parts: Parts;
}

/** What other rooms of the hub do for the command line. */
export interface Parts {
  /** Runs the hub until it is told to stop. Resolves to the exit code. */
  start(config: Config, reread: () => Config): Promise<number>;
  /** The accounts, where no hub runs. */
  openAccounts(config: Config): Promise<{ accounts: Accounts; close(): Promise<void> }>;
  /** What `check` says of the configuration, or of a partner domain. */
  check(config: Config, partner: string | undefined): AsyncIterable<Finding>;
  readonly version: string;
}

export interface Finding {
  verdict: 'ok' | 'warn' | 'fail';
  about: string;
  text: string;
}

export interface Command {
  readonly name: string;
  /** One line for the overview. */
  readonly summary: string;
  /** The words it takes: `add|remove|passwd JID`. */
  readonly usage: string;
  /** What more there is to say, with examples. */
  readonly help?: string;
  /** Options with a value that it takes besides `-c`. */
  readonly options?: readonly string[];
  /** Resolves to the exit code, 0 where it gives none. Rejects with UsageError for wrong words. */
  run(context: Context): Promise<number | void>;
}
