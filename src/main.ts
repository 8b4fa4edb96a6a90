// The entry: joins the command line with what it can do.
import { commands } from './cli/commands.ts';
import { run } from './cli/run.ts';
import { accountsOf, openDirectories, type RunningHub, startHub, storePath } from './composition.ts';
import { makeDataDirectory } from './hub/admin.ts';
import type { Config } from './hub/config.ts';
import { createLog, type Log, silentLog } from './hub/log.ts';
import { version } from './hub/version.ts';
import { inspect } from './inspection.ts';
import { openSqlite } from './store/sqlite.ts';

/** Runs a hub until a signal ends it. Resolves to the exit code. */
async function runUntilSignalled(config: Config, reread: () => Config): Promise<number> {
  const log = createLog(config.log);
  // What nobody expected is a bug; it must be seen, and it must not take every session down with it.
  process.on('uncaughtException', error => log.fatal({ err: error }, 'unexpected error'));
  process.on('unhandledRejection', error => log.fatal({ err: error }, 'unexpected rejection'));
  // From now on, so that a signal that comes while the hub starts ends it properly as well.
  const signalled = new Promise<string>(resolve => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve(name));
  });
  let running = await startHub(config, log);
  process.on('SIGHUP', () => void reload(running, reread, log));
  for (;;) {
    const reason = await Promise.race([signalled, toldToEnd(running)]);
    log.info({ reason }, 'ending');
    const next = reason === 'restart' ? readAnew(reread, running, log) : null;
    await running.stop();
    log.info('ended');
    if (next === null) return 0;
    running = await startHub(next, log);
  }
}

/** Resolves when an administrator ends the hub (XEP-0133). */
function toldToEnd(running: RunningHub): Promise<string> {
  return new Promise(resolve => {
    running.hub.ending = restart => resolve(restart ? 'restart' : 'shutdown');
  });
}

/** The configuration as it is now, or the old one where it went bad: a restart is no time to stay away. */
function readAnew(reread: () => Config, running: RunningHub, log: Log): Config {
  try {
    return reread();
  } catch (error) {
    log.error({ reason: (error as Error).message }, 'configuration not read anew; the old one stays');
    return running.config;
  }
}

async function reload(running: RunningHub, reread: () => Config, log: Log): Promise<void> {
  try {
    await running.reload(reread());
  } catch (error) {
    log.error({ reason: (error as Error).message }, 'configuration not read anew; the old one stays');
  }
}

// Whoever reads our output may have seen enough, as `head` has.
process.stdout.on('error', error => {
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit();
  throw error;
});
process.exitCode = await run(process.argv.slice(2), commands, {
  start: runUntilSignalled,
  async openAccounts(config) {
    makeDataDirectory(config.data);
    const store = openSqlite(storePath(config));
    const directories = openDirectories(config, store, silentLog());
    const accounts = accountsOf(config, store, directories, async () => {});
    return {
      accounts,
      close: () => {
        directories.close();
        return store.close();
      },
    };
  },
  check: inspect,
  version: version,
});
// The hub's sockets may still be closing; nothing that matters is left.
if (process.argv[2] === 'start') process.exit();
