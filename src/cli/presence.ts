// `isthmus presence`: what makes up somebody's presence, and what third parties say of it.
import { UsageError } from '../hub/admin.ts';
import type { Command } from './command.ts';

const usage = 'USER | USER set SOURCE SHOW [STATUS] [--for TIME] | USER clear SOURCE';

export const presence: Command = {
  name: 'presence',
  summary: 'see what makes up a user’s presence, and add to it',
  usage,
  options: ['for'],
  help: `SHOW is available, chat, away, xa or dnd. What is set counts for an hour, or for the TIME given (90s, 30m, 8h,
7d): a party that goes on knowing it says so again. SOURCE is a name for who says it.
  isthmus presence juliet@hub.test
  isthmus presence juliet@hub.test set badge away 'Out of the building' --for 8h
  isthmus presence juliet@hub.test clear badge`,
  async run(context) {
    const [user, verb, source, show, status = '', ...more] = context.args;
    const time = context.options.get('for');
    const set = verb === 'set' && show !== undefined;
    const clear = verb === 'clear' && source !== undefined && show === undefined;
    if (!user || more.length > 0 || !(verb === undefined || set || clear) || (time !== undefined && !set)) {
      throw new UsageError(`presence takes: ${usage}`);
    }
    const words = set ? [verb, source, show, status, String(seconds(time ?? '1h'))] : clear ? [verb, source] : [];
    context.print(await context.ask('presence', user, ...words));
  },
};

function seconds(text: string): number {
  const match = /^(\d{1,6})(s|m|h|d)$/.exec(text);
  if (!match) throw new UsageError(`${text} is not a time such as 90s, 30m, 8h or 7d`);
  return Number(match[1]) * { s: 1, m: 60, h: 3_600, d: 86_400 }[match[2] as 's'];
}
