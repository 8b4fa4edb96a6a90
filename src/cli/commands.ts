// The commands, in the order in which `--help` lists them.
import { UsageError } from '../hub/admin.ts';
import { account } from './account.ts';
import { check } from './check.ts';
import type { Command } from './command.ts';
import { presence } from './presence.ts';

const start: Command = {
  name: 'start',
  summary: 'run the hub in the foreground',
  usage: '',
  help: `The log goes to standard output. The hub is ready when GET /health/ready on its HTTP listener answers 200.
SIGHUP reads the configuration anew, SIGTERM and SIGINT end the hub properly.`,
  async run(context) {
    if (context.args.length > 0) throw new UsageError('start takes no words');
    return context.parts.start(context.config(), () => context.config());
  },
};

/** A command that the running hub answers, printed as it comes. */
function asked(name: string, summary: string, usage = '', help?: string): Command {
  return {
    name,
    summary,
    usage,
    help,
    async run(context) {
      const most = usage === '' ? 0 : Number.POSITIVE_INFINITY;
      if (context.args.length > most) throw new UsageError(`${name} takes no words`);
      context.print(await context.ask(name, ...context.args));
    },
  };
}

const version: Command = {
  name: 'version',
  summary: 'print the version',
  usage: '',
  run: async context =>
    context.print(context.json ? { version: context.parts.version } : `isthmus ${context.parts.version}`),
};

/** `isthmus sms queue list`: commands that bridges bring along, by the bridge's name. */
const ofBridge: Command = {
  name: '*',
  summary: '',
  usage: '',
  async run(context) {
    const [name, ...words] = context.args;
    if (!context.config().bridges.has(name)) {
      throw new UsageError(`there is no command ${name}; \`isthmus --help\` lists them`);
    }
    context.print(await context.ask('bridge command', name, ...words));
  },
};

export const commands: readonly Command[] = [
  start,
  check,
  asked('status', 'what the running hub is doing'),
  account,
  asked('sessions', 'list the clients that are connected'),
  asked('routes', 'list who takes stanzas for which domains, in order'),
  asked(
    'federation',
    'see and steer the links with other domains',
    'list | show DOMAIN | allow DOMAIN | deny DOMAIN | reset DOMAIN | close DOMAIN | ping DOMAIN | throttle DOMAIN RATE|off',
    `list    a line for each link
show    policy, links, and the story of each link's making
allow   lets a domain in, whatever the file says; deny keeps it out and closes its links
reset   forgets allow and deny: the file counts again
close   closes the links with a domain; ping makes one and asks for an answer
throttle reads what comes from a domain at this rate, per stream, until it is turned off
  isthmus federation show partner.test
  isthmus federation deny '*.spam.test'
  isthmus federation throttle noisy.test 8KiB/s`,
  ),
  asked('bridge', 'see the bridges', 'list | show NAME'),
  presence,
  asked('modules', 'list the features, and the domains each is on for'),
  asked('reload', 'read the configuration and certificates anew'),
  version,
  ofBridge,
];
