// The command line: finds the command, reads its options, and turns what goes wrong into one line and an exit code.
import { existsSync } from 'node:fs';
import { askAdmin, NotRunning, UsageError } from '../hub/admin.ts';
import { type Config, loadConfig } from '../hub/config.ts';
import type { Command, Context, Parts } from './command.ts';
import { format } from './print.ts';

const defaultFile = 'isthmus.yaml';

interface Parsed {
  words: string[];
  options: Map<string, string>;
  json: boolean;
  help: boolean;
}

/** Takes options out of the words. Throws UsageError for one that is not known. */
function parse(argv: readonly string[], valued: readonly string[]): Parsed {
  const parsed: Parsed = { words: [], options: new Map(), json: false, help: false };
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i];
    const [name, inline] =
      word.startsWith('--') && word.includes('=')
        ? [word.slice(0, word.indexOf('=')), word.slice(word.indexOf('=') + 1)]
        : [word];
    if (word === '--') {
      parsed.words.push(...argv.slice(i + 1));
      break;
    }
    if (name === '--json') parsed.json = true;
    else if (name === '--help' || name === '-h') parsed.help = true;
    else if (name === '-c' || name === '--config' || (name.startsWith('--') && valued.includes(name.slice(2)))) {
      const value = inline ?? argv[++i];
      if (value === undefined) throw new UsageError(`${name} takes a value`);
      parsed.options.set(name === '-c' ? 'config' : name.slice(2), value);
    } else if (name.startsWith('-') && name.length > 1 && !/^-\d/.test(name)) {
      throw new UsageError(`there is no option ${name}`);
    } else parsed.words.push(word);
  }
  return parsed;
}

/** Runs one command. Resolves to the exit code: 0 done, 1 failed, 2 wrong usage. */
export async function run(argv: readonly string[], commands: readonly Command[], parts: Parts): Promise<number> {
  const valued = [...new Set(commands.flatMap(command => command.options ?? []))];
  try {
    const parsed = parse(argv, valued);
    const [name, ...args] = parsed.words;
    if (name === undefined || name === 'help') {
      const topic = commands.find(command => command.name === args[0] && command.name !== '*');
      if (args[0] !== undefined && !topic) throw new UsageError(`there is no command ${args[0]}`);
      console.log(topic ? commandHelp(topic) : overview(commands));
      return name === undefined && !parsed.help ? 2 : 0;
    }
    const command = commands.find(one => one.name === name) ?? commands.find(one => one.name === '*');
    if (!command) throw new UsageError(`there is no command ${name}; \`isthmus --help\` lists them`);
    if (parsed.help) {
      console.log(command.name === '*' ? overview(commands) : commandHelp(command));
      return 0;
    }
    return (await command.run(context(command.name === '*' ? [name, ...args] : args, parsed, parts))) ?? 0;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    console.error(`isthmus: ${message}`);
    if (error instanceof NotRunning || !(error instanceof UsageError)) return 1;
    return 2;
  }
}

function context(args: string[], parsed: Parsed, parts: Parts): Context {
  let config: Config | undefined;
  const file = parsed.options.get('config') ?? (existsSync(defaultFile) ? defaultFile : null);
  const read = () => (config ??= loadConfig(file));
  return {
    args,
    json: parsed.json,
    options: parsed.options,
    config: read,
    ask: (command, ...words) => askAdmin(read().data, command, words),
    print: data => console.log(parsed.json ? JSON.stringify(data, null, 2) : format(data)),
    say: line => console.log(line),
    parts: { ...parts, start: (first, _reread) => parts.start(first, () => loadConfig(file)) },
  };
}

function overview(commands: readonly Command[]): string {
  const listed = commands.filter(command => command.name !== '*');
  const width = Math.max(...listed.map(command => command.name.length));
  return `isthmus joins XMPP domains with each other and with SIP, SMS and calendars.

Usage: isthmus COMMAND [WORDS] [-c FILE] [--json]

${listed.map(command => `  ${command.name.padEnd(width)}  ${command.summary}`).join('\n')}

  -c FILE   the configuration; without it ./${defaultFile}, and without that a hub for the domain localhost
  --json    listings as JSON
  --help    behind a command: what it takes, with examples

A first try:
  isthmus account add romeo@localhost
  isthmus start

Exit codes: 0 done, 1 failed, 2 wrong usage.`;
}

function commandHelp(command: Command): string {
  return `isthmus ${command.name}: ${command.summary}

Usage: isthmus ${command.name}${command.usage ? ` ${command.usage}` : ''} [-c FILE]${command.help ? `\n\n${command.help}` : ''}`;
}
