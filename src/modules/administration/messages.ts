// XEP-0133 §4.23–§4.28: announcements, the message of the day and the welcome message.
import type { AdHocCommand } from '../../hub/ad-hoc.ts';
import type { Hub } from '../../hub/module.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { type Field, type FormValues, linesOf, textOf } from '../../xmpp/form.ts';
import { type Notice, noticesOf } from '../announcements.ts';
import { adminCommand, adminForm, withAccounts } from './forms.ts';

const subjectField: Field = { var: 'subject', type: 'text-single', label: 'Subject' };

export function messageCommands(hub: Hub): AdHocCommand[] {
  const notices = noticesOf(hub);
  const text = (name: string, label: string, value = ''): Field => ({
    var: name,
    type: 'text-multi',
    label,
    required: true,
    value: value ? value.split('\n') : undefined,
  });
  return [
    adminCommand(hub, 'announce', 'Send Announcement to Online Users', {
      form: () =>
        adminForm(
          'Making an Announcement',
          'Fill out this form to make an announcement to all active users of this service.',
          subjectField,
          text('announcement', 'Announcement'),
        ),
      run: (values, _from, at) => `${notices.toOnline(at.domain, notice(values, 'announcement'))} clients were told.`,
    }),
    adminCommand(hub, 'announce-all', 'Send Announcement to All Users', {
      ...withAccounts(hub),
      form: () =>
        adminForm(
          'Making an Announcement',
          'Fill out this form to make an announcement to all users, also those who are away.',
          subjectField,
          text('announcement', 'Announcement'),
        ),
      run: async (values, _from, at) =>
        `${await notices.toAll(at.domain, notice(values, 'announcement'))} users were told.`,
    }),
    adminCommand(hub, 'set-motd', 'Set Message of the Day', {
      form: () =>
        adminForm(
          'Setting the Message of the Day',
          'Fill out this form to set the message of the day.',
          text('motd', 'Message of the Day'),
        ),
      async run(values, _from, at) {
        await notices.showMotd(at.domain, notice(values, 'motd'));
        return null;
      },
    }),
    adminCommand(hub, 'edit-motd', 'Edit Message of the Day', {
      form: (_from, at) =>
        adminForm(
          'Editing the Message of the Day',
          'Fill out this form to edit the message of the day.',
          text('motd', 'Message of the Day', notices.get(at.domain, 'motd')?.body),
        ),
      async run(values, _from, at) {
        await notices.set(at.domain, 'motd', notice(values, 'motd'), false);
        return null;
      },
    }),
    adminCommand(hub, 'delete-motd', 'Delete Message of the Day', {
      run: async (_values, _from, at) =>
        (await notices.clear(at.domain, 'motd')) ? null : 'There was no message of the day.',
    }),
    adminCommand(hub, 'set-welcome', 'Set Welcome Message', {
      form: (_from, at) =>
        adminForm(
          'Setting Welcome Message',
          'Fill out this form to set the welcome message for this service.',
          text('welcome', 'Welcome Message', notices.get(at.domain, 'welcome')?.body),
        ),
      async run(values, _from, at) {
        await notices.set(at.domain, 'welcome', notice(values, 'welcome'));
        return null;
      },
    }),
    adminCommand(hub, 'delete-welcome', 'Delete Welcome Message', {
      run: async (_values, _from, at) =>
        (await notices.clear(at.domain, 'welcome')) ? null : 'There was no welcome message.',
    }),
  ];
}

function notice(values: FormValues, field: string): Notice {
  const body = linesOf(values, field);
  if (body === '') throw new StanzaError('bad-request', `${field} is empty`);
  return { subject: textOf(values, 'subject').trim(), body };
}
