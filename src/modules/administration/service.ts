// XEP-0133 §4.30, §4.31: restarting and shutting down the service.
import type { AdHocCommand } from '../../hub/ad-hoc.ts';
import type { Hub } from '../../hub/module.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { linesOf, textOf } from '../../xmpp/form.ts';
import { adminsOf } from '../admins.ts';
import { noticesOf } from '../announcements.ts';
import { adminCommand, adminForm } from './forms.ts';

const delays = [
  ['0', 'now'],
  ['30', '30 seconds'],
  ['60', '60 seconds'],
  ['90', '90 seconds'],
  ['120', '2 minutes'],
  ['180', '3 minutes'],
  ['240', '4 minutes'],
  ['300', '5 minutes'],
] as const;
const longestDelay = 24 * 3_600;

/** Both end every domain, so only those who administer all of them may ask for it. */
export function serviceCommands(hub: Hub): AdHocCommand[] {
  const admins = adminsOf(hub);
  const ending = (restart: boolean, node: string, title: string, doing: string, verb: string): AdHocCommand => ({
    ...adminCommand(hub, node, title, {
      form: () =>
        adminForm(
          `${doing} the Service`,
          `Fill out this form to ${verb} the service.`,
          {
            var: 'delay',
            type: 'list-single',
            label: `Time delay before ${doing.toLowerCase()}`,
            value: '30',
            options: delays.map(([value, label]) => ({ value, label })),
          },
          { var: 'announcement', type: 'text-multi', label: 'Announcement' },
        ),
      run(values) {
        const text = textOf(values, 'delay') || '0';
        if (!/^\d{1,5}$/.test(text) || Number(text) > longestDelay) {
          throw new StanzaError('bad-request', `the delay is a number of seconds, at most ${longestDelay}`);
        }
        const body = linesOf(values, 'announcement');
        if (body)
          for (const domain of hub.config.domains.keys()) noticesOf(hub).toOnline(domain, { subject: '', body });
        hub.end(restart, Math.max(Number(text) * 1_000, 100));
        return null;
      },
    }),
    allowed: from => hub.config.domains.size === admins.domainsOf(from).length,
  });
  return [
    ending(true, 'restart', 'Restart Service', 'Restarting', 'restart'),
    ending(false, 'shutdown', 'Shut Down Service', 'Shutting Down', 'shut down'),
  ];
}
