// XEP-0133 §4.13–§4.22: how many users there are, registered, disabled, online, active and idle, and who they are.
import type { AdHocCommand } from '../../hub/ad-hoc.ts';
import type { Hub } from '../../hub/module.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { type FormValues, textOf } from '../../xmpp/form.ts';
import { disabledUsersOf } from '../disabled.ts';
import { accountsAt, adminCommand, adminForm, adminResult, withAccounts } from './forms.ts';

interface Group {
  /** As it stands in the names of nodes: `get-NAME-users-num`. */
  name: string;
  title: string;
  /** The fields of the number and of the list. */
  number: string;
  list: string;
  /** The node of the list, where it does not follow the rule. */
  listNode?: string;
  /** Where it is offered, if not everywhere. */
  offered?: AdHocCommand['offered'];
  /** Bare JIDs. */
  members(domain: string): Iterable<string> | AsyncIterable<string>;
}

const counts = ['25', '50', '75', '100', '150', '200', 'none'];

/** The most addresses in one answer: a larger stanza would not pass everywhere. */
const mostListed = 2_000;

export function listCommands(hub: Hub): AdHocCommand[] {
  return groupsOf(hub).flatMap(group => [numberCommand(hub, group), listCommand(hub, group)]);
}

function groupsOf(hub: Hub): Group[] {
  const disabled = disabledUsersOf(hub);
  const group = (name: string, members: Group['members'], listNode?: string): Group => ({
    name,
    title: `${name[0].toUpperCase()}${name.slice(1)}`,
    number: `${name}usersnum`,
    list: `${name}userjids`,
    listNode,
    members,
  });
  return [
    { ...group('registered', domain => registered(hub, domain)), ...withAccounts(hub) },
    group('disabled', domain => disabled.of(domain)),
    group('online', domain => online(hub, domain, () => true)),
    group('active', domain => online(hub, domain, active => active), 'get-active-users'),
    group('idle', domain => online(hub, domain, active => !active), 'get-idle-users'),
  ];
}

async function* registered(hub: Hub, domain: string): AsyncIterable<string> {
  for await (const user of accountsAt(hub, domain).list()) yield `${user}@${domain}`;
}

/** Those who are online; active are those with a client that is neither away nor xa (XEP-0133 §4.16). */
function online(hub: Hub, domain: string, wanted: (active: boolean) => boolean): Iterable<string> {
  const active = new Map<string, boolean>();
  for (const { jid, presence } of hub.sessions.all()) {
    if (jid.domain !== domain) continue;
    const show = presence?.text('show') ?? 'away';
    const user = jid.bare.toString();
    active.set(user, (active.get(user) ?? false) || (show !== 'away' && show !== 'xa'));
  }
  return [...active].filter(([, is]) => wanted(is)).map(([user]) => user);
}

function numberCommand(hub: Hub, { name, title, number, offered, members }: Group): AdHocCommand {
  return adminCommand(hub, `get-${name}-users-num`, `Get Number of ${title} Users`, {
    offered,
    async run(_values, _from, at) {
      let count = 0;
      for await (const _ of members(at.domain)) count++;
      return adminResult({ var: number, label: `The number of ${name} users`, value: String(count) });
    },
  });
}

function listCommand(hub: Hub, { name, title, list, listNode, offered, members }: Group): AdHocCommand {
  return adminCommand(hub, listNode ?? `get-${name}-users-list`, `Get List of ${title} Users`, {
    offered,
    form: () =>
      adminForm(
        `Requesting List of ${title} Users`,
        `Fill out this form to request the ${name} users of this service.`,
        {
          var: 'max_items',
          type: 'list-single',
          label: 'Maximum number of items to show',
          value: '25',
          options: counts.map(value => ({ value, label: value === 'none' ? 'None' : value })),
        },
      ),
    async run(values, _from, at) {
      const most = mostOf(values);
      const listed: string[] = [];
      for await (const user of members(at.domain)) {
        if (listed.length >= most) break;
        listed.push(user);
      }
      return adminResult({ var: list, type: 'jid-multi', label: `The list of ${name} users`, value: listed });
    },
  });
}

function mostOf(values: FormValues): number {
  const text = textOf(values, 'max_items') || 'none';
  if (text === 'none') return mostListed;
  if (!/^\d{1,6}$/.test(text)) throw new StanzaError('bad-request', 'max_items is a number or none');
  return Math.min(Number(text), mostListed);
}
