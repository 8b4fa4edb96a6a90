// XEP-0133 §4.1–§4.11: adding, deleting, disabling, kicking and looking at users.
import type { AdHocCommand } from '../../hub/ad-hoc.ts';
import type { Hub } from '../../hub/module.ts';
import { el } from '../../xmpp/element.ts';
import { StanzaError, StreamError } from '../../xmpp/errors.ts';
import { type Field, type FormValues, textOf } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { disabledUsersOf } from '../disabled.ts';
import { lastLogin } from '../last.ts';
import { removeAccount } from '../removal.ts';
import { itemElement, rostersOf } from '../rosters.ts';
import {
  accountOf,
  accountsAt,
  accountsOf,
  adminCommand,
  adminForm,
  adminResult,
  mustExist,
  withAccounts,
} from './forms.ts';

const one = (label: string): Field => ({ var: 'accountjid', type: 'jid-single', label, required: true });
const many = (label: string): Field => ({ var: 'accountjids', type: 'jid-multi', label, required: true });

export function userCommands(hub: Hub): AdHocCommand[] {
  return [...accountCommands(hub), ...sessionCommands(hub), ...lookCommands(hub)];
}

function accountCommands(hub: Hub): AdHocCommand[] {
  return [
    adminCommand(hub, 'add-user', 'Add User', {
      ...withAccounts(hub),
      form: () =>
        adminForm(
          'Adding a User',
          'Fill out this form to add a user.',
          one('The Jabber ID for the account to be added'),
          { var: 'password', type: 'text-private', label: 'The password for this account', required: true },
          { var: 'password-verify', type: 'text-private', label: 'Retype password', required: true },
          { var: 'email', type: 'text-single', label: 'Email address' },
          { var: 'given_name', type: 'text-single', label: 'Given name' },
          { var: 'surname', type: 'text-single', label: 'Family name' },
        ),
      run: (values, _from, at) => add(hub, values, at),
    }),
    adminCommand(hub, 'delete-user', 'Delete User', {
      ...withAccounts(hub),
      form: () =>
        adminForm('Deleting a User', 'Fill out this form to delete a user.', many('The Jabber ID(s) to delete')),
      run: (values, _from, at) => remove(hub, values, at),
    }),
    adminCommand(hub, 'change-user-password', 'Change User Password', {
      ...withAccounts(hub),
      form: () =>
        adminForm(
          'Changing a User Password',
          'Fill out this form to change a user’s password.',
          one('The Jabber ID for this account'),
          { var: 'password', type: 'text-private', label: 'The password for this account', required: true },
        ),
      async run(values, _from, at) {
        const user = accountOf(values, 'accountjid', at);
        const password = textOf(values, 'password');
        if (password === '') throw new StanzaError('bad-request', 'the password is empty');
        if (!(await accountsAt(hub, at.domain).setPassword(user.local, password))) await mustExist(hub, user);
        return null;
      },
    }),
  ];
}

async function add(hub: Hub, values: FormValues, at: Jid): Promise<null> {
  const user = accountOf(values, 'accountjid', at);
  const password = textOf(values, 'password');
  if (password === '') throw new StanzaError('bad-request', 'the password is empty');
  const again = values.get('password-verify')?.[0];
  if (again !== undefined && again !== password) throw new StanzaError('bad-request', 'the two passwords differ');
  await accountsAt(hub, at.domain).add(user.local, password);
  const directory = hub.directory(at.domain);
  const name = [textOf(values, 'given_name'), textOf(values, 'surname')].filter(Boolean).join(' ');
  if (name) await directory?.setAttribute?.(user.local, 'name', name);
  if (textOf(values, 'email')) await directory?.setAttribute?.(user.local, 'mail', textOf(values, 'email'));
  return null;
}

async function remove(hub: Hub, values: FormValues, at: Jid): Promise<null> {
  const users = accountsOf(values, 'accountjids', at);
  const accounts = accountsAt(hub, at.domain);
  for (const user of users) await mustExist(hub, user);
  for (const user of users) {
    await accounts.remove(user.local);
    await removeAccount(hub, user.bare);
  }
  return null;
}

function sessionCommands(hub: Hub): AdHocCommand[] {
  const disabled = disabledUsersOf(hub);
  return [
    adminCommand(hub, 'disable-user', 'Disable User', {
      form: () =>
        adminForm('Disabling a User', 'Fill out this form to disable a user.', many('The Jabber ID(s) to disable')),
      async run(values, _from, at) {
        const users = accountsOf(values, 'accountjids', at);
        for (const user of users) await mustExist(hub, user);
        for (const user of users) {
          await disabled.set(user, true);
          endSessions(hub, user.bare, 'the account was disabled');
        }
        return null;
      },
    }),
    adminCommand(hub, 'reenable-user', 'Re-Enable User', {
      form: () =>
        adminForm('Re-Enable a User', 'Fill out this form to re-enable a user.', many('The Jabber ID(s) to re-enable')),
      async run(values, _from, at) {
        const users = accountsOf(values, 'accountjids', at);
        for (const user of users) if (!disabled.has(user)) await mustExist(hub, user);
        for (const user of users) await disabled.set(user, false);
        return null;
      },
    }),
    adminCommand(hub, 'end-user-session', 'End User Session', {
      form: () =>
        adminForm(
          'Ending a User Session',
          'Fill out this form to end a user’s session.',
          many('The Jabber ID(s) for which to end sessions'),
        ),
      run(values, _from, at) {
        const users = accountsOf(values, 'accountjids', at);
        if (users.some(user => sessionsOf(hub, user).length === 0)) {
          throw new StanzaError('item-not-found', 'there is no such session');
        }
        for (const user of users) endSessions(hub, user, 'ended by an administrator');
        return null;
      },
    }),
  ];
}

function lookCommands(hub: Hub): AdHocCommand[] {
  return [
    adminCommand(hub, 'get-user-roster', 'Get User Roster', {
      form: () =>
        adminForm(
          'Getting a User’s Roster',
          'Fill out this form to get a user’s roster.',
          many('The Jabber ID(s) for which to retrieve the roster'),
        ),
      async run(values, _from, at) {
        const users = accountsOf(values, 'accountjids', at);
        for (const user of users) await mustExist(hub, user);
        const rosters = users.map(user => {
          const items = [...rostersOf(hub).of(user).items.values()].filter(item => item.listed);
          return el('query', ns.roster, {}, ...items.map(itemElement));
        });
        const shown: Field = { var: 'accountjids', type: 'jid-multi', value: users.map(user => user.bare.toString()) };
        return { ...adminResult(shown), payload: rosters };
      },
    }),
    adminCommand(hub, 'get-user-lastlogin', 'Get User Last Login Time', {
      form: () =>
        adminForm(
          'Getting a User’s Last Login Time',
          'Fill out this form to get a user’s last login time.',
          many('The Jabber ID(s) for which to retrieve the last login time'),
        ),
      async run(values, _from, at) {
        const users = accountsOf(values, 'accountjids', at);
        for (const user of users) await mustExist(hub, user);
        return adminResult(
          { var: 'accountjids', type: 'jid-multi', value: users.map(user => user.bare.toString()) },
          {
            var: 'lastlogin',
            type: users.length > 1 ? 'text-multi' : 'text-single',
            value: users.map(user => when(lastLogin(hub, user))),
          },
        );
      },
    }),
    adminCommand(hub, 'user-stats', 'Get User Statistics', {
      form: () =>
        adminForm(
          'Get User Statistics',
          'Fill out this form to gather user statistics.',
          { ...one('The Jabber ID for statistics'), required: false },
          // COMPAT(smack-sint-server-extensions): fills in the field that the other commands have.
          { var: 'accountjids', type: 'jid-multi', label: 'The same, for clients that fill in a list of one' },
        ),
      async run(values, _from, at) {
        const user = accountOf(values, textOf(values, 'accountjid') ? 'accountjid' : 'accountjids', at);
        await mustExist(hub, user);
        const items = [...rostersOf(hub).of(user).items.values()].filter(item => item.listed);
        const sessions = hub.sessions.of(user);
        return adminResult(
          { var: 'rostersize', label: 'Roster size', value: String(items.length) },
          {
            var: 'onlineresources',
            type: 'text-multi',
            label: 'Online resources',
            value: sessions.map(({ jid }) => jid.resource),
          },
          { var: 'lastlogin', label: 'Last login', value: when(lastLogin(hub, user)) },
        );
      },
    }),
  ];
}

/** A bare JID's sessions, or the one of a full JID (XEP-0133 §4.5). */
function sessionsOf(hub: Hub, user: Jid) {
  return hub.sessions.of(user).filter(({ jid }) => user.resource === '' || jid.resource === user.resource);
}

/** Ends them behind the answer to the command, which may be for one of them. */
function endSessions(hub: Hub, user: Jid, why: string): void {
  const ending = sessionsOf(hub, user);
  setImmediate(() => {
    for (const session of ending) session.end(new StreamError('not-authorized', why));
  });
}

function when(ms: number | null): string {
  return ms === null ? 'never' : new Date(ms).toISOString();
}
