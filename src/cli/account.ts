// `isthmus account`: the hub's own users, through the running hub or, where none runs, in its store.
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { NotRunning, UsageError } from '../hub/admin.ts';
import type { Command, Context } from './command.ts';
import { exportAccounts, importAccounts } from './transfer.ts';

/** What can be done with accounts; the same in the hub and without it. Rejects with an Error that says why not. */
export interface Accounts {
  add(jid: string, password: string): Promise<void>;
  passwd(jid: string, password: string): Promise<void>;
  remove(jid: string): Promise<void>;
  list(domain?: string): Promise<{ jid: string }[]>;
  /**
   * The account as a `<user/>` element (XEP-0227), of which `xml` is a portion; `from` is '' at first, then `next` of
   * the portion before, until that is null.
   */
  export(jid: string, from: string): Promise<{ xml: string; next: string | null }>;
  /**
   * Keeps what a `<user/>` element holds, wholly or not at all, and makes the account with the `first` one. Resolves
   * with whether it was made and with what the operator should know.
   */
  import(jid: string, xml: string, first: boolean): Promise<{ made: boolean; notes: string[] }>;
}

/** Calls one of the verbs of `Accounts`, wherever they are. */
export type CallAccounts = (verb: string, ...words: string[]) => Promise<unknown>;

const usage = 'add JID | passwd JID | remove JID | list [DOMAIN] | export [JID|DOMAIN] | import FILE';
const verbs = ['add', 'passwd', 'remove', 'list', 'export', 'import'];
const done = { add: 'added', passwd: 'password changed', remove: 'removed' };

export const account: Command = {
  name: 'account',
  summary: 'make, change, remove, list and move users',
  usage,
  help: `The password is asked for on a terminal, and read as one line from standard input elsewhere:
  isthmus account add romeo@hub.test
  echo "$PASSWORD" | isthmus account add juliet@hub.test
Users move with their contact lists, archives, personal nodes, waiting messages and keys in a file of XEP-0227; keep
it as you keep passwords:
  isthmus account export hub.test > users.xml
  isthmus account import users.xml
It works whether the hub runs or not.`,
  async run(context) {
    const [verb = '', subject, ...more] = context.args;
    const optional = verb === 'list' || verb === 'export';
    if (!verbs.includes(verb) || more.length > 0 || (!optional && !subject)) {
      throw new UsageError(`account takes: ${usage}`);
    }
    const { call, close } = connect(context);
    try {
      if (verb === 'export') return await exportAccounts(call, subject);
      if (verb === 'import') return await importAccounts(context, call, subject);
      if (verb === 'list') return context.print(await call(verb, ...(subject ? [subject] : [])));
      const wanting = verb === 'add' || verb === 'passwd';
      await call(verb, subject, ...(wanting ? [await readPassword(subject)] : []));
      context.say(`${subject}: ${done[verb as 'add']}`);
    } finally {
      await close();
    }
  },
};

/** The accounts of the running hub or, once that is known not to run, those in its store. */
function connect(context: Context): { call: CallAccounts; close(): Promise<void> } {
  let opened: Awaited<ReturnType<Context['parts']['openAccounts']>> | null = null;
  return {
    async call(verb, ...words) {
      if (!opened) {
        try {
          return await context.ask(`account ${verb}`, ...words);
        } catch (error) {
          if (!(error instanceof NotRunning)) throw error;
          opened = await context.parts.openAccounts(context.config());
        }
      }
      return callAccounts(opened.accounts, verb, words);
    },
    close: async () => opened?.close(),
  };
}

/** Calls one of the verbs with its words, as they come over the admin socket. */
export function callAccounts(accounts: Accounts, verb: string, words: readonly string[]): Promise<unknown> {
  switch (verb) {
    case 'add':
      return accounts.add(words[0], words[1]);
    case 'passwd':
      return accounts.passwd(words[0], words[1]);
    case 'remove':
      return accounts.remove(words[0]);
    case 'export':
      return accounts.export(words[0], words[1] ?? '');
    case 'import':
      return accounts.import(words[0], words[1], words[2] !== 'more');
    default:
      return accounts.list(words[0]);
  }
}

async function readPassword(jid: string): Promise<string> {
  if (!process.stdin.isTTY) {
    let text = '';
    process.stdin.setEncoding('utf8');
    for await (const chunk of process.stdin) text += chunk;
    const password = text.split(/\r?\n/, 1)[0];
    if (password === '') throw new Error('the password is empty; give it as one line on standard input');
    return password;
  }
  const mute = new Writable({ write: (_chunk, _encoding, written) => written() });
  const terminal = createInterface({ input: process.stdin, output: mute, terminal: true });
  try {
    process.stderr.write(`Password for ${jid}: `);
    const password = await terminal.question('');
    process.stderr.write('\nOnce more: ');
    const again = await terminal.question('');
    process.stderr.write('\n');
    if (password !== again) throw new Error('the two passwords differ; nothing was changed');
    if (password === '') throw new Error('the password is empty; nothing was changed');
    return password;
  } finally {
    terminal.close();
  }
}
