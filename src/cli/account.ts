// `isthmus account`: the hub's own users, through the running hub or, where none runs, in its store.
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { NotRunning, UsageError } from '../hub/admin.ts';
import type { Command, Context } from './command.ts';

/** What can be done with accounts; the same in the hub and without it. Rejects with an Error that says why not. */
export interface Accounts {
  add(jid: string, password: string): Promise<void>;
  passwd(jid: string, password: string): Promise<void>;
  remove(jid: string): Promise<void>;
  list(domain?: string): Promise<{ jid: string }[]>;
}

export const account: Command = {
  name: 'account',
  summary: 'make, change, remove and list users',
  usage: 'add JID | passwd JID | remove JID | list [DOMAIN]',
  help: `The password is asked for on a terminal, and read as one line from standard input elsewhere:
  isthmus account add romeo@hub.test
  echo "$PASSWORD" | isthmus account add juliet@hub.test
It works whether the hub runs or not.`,
  async run(context) {
    const [verb, subject, ...more] = context.args;
    const wanting = verb === 'add' || verb === 'passwd';
    if (!['add', 'passwd', 'remove', 'list'].includes(verb ?? '') || more.length > 0 || (verb !== 'list' && !subject)) {
      throw new UsageError('account takes: add JID | passwd JID | remove JID | list [DOMAIN]');
    }
    const words = [...(subject ? [subject] : []), ...(wanting ? [await readPassword(subject)] : [])];
    const result = await carryOut(context, verb, words);
    if (verb === 'list') context.print(result);
    else context.say(`${subject}: ${{ add: 'added', passwd: 'password changed', remove: 'removed' }[verb as 'add']}`);
  },
};

async function carryOut(context: Context, verb: string, words: string[]): Promise<unknown> {
  try {
    return await context.ask(`account ${verb}`, ...words);
  } catch (error) {
    if (!(error instanceof NotRunning)) throw error;
  }
  const { accounts, close } = await context.parts.openAccounts(context.config());
  try {
    return await callAccounts(accounts, verb, words);
  } finally {
    await close();
  }
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
  const mute = new Writable({ write: (_chunk, _encoding, done) => done() });
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
