// Groups of the directory in their members’ rosters: whoever is in one sees the others, and nobody has to ask.
import type { Group } from '../hub/directory.ts';
import type { Hub, Module } from '../hub/module.ts';
import { hubOrigin } from '../hub/router.ts';
import { Jid } from '../xmpp/jid.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { compositionOf } from './composition.ts';
import { rostersOf, type SharedContact } from './rosters.ts';

/** How often the groups are looked at; the directory's cache decides how often they are read. */
const interval = 60_000;

/** The shared groups that each user is in, by bare JID. */
type Membership = Map<string, Group[]>;

export const sharedGroups: Module = {
  name: 'shared-groups',
  implements: [],
  start(hub) {
    const rosters = rostersOf(hub);
    let current: Membership = new Map();
    rosters.sharedWith = user => contactsOf(user, current.get(user.bare.toString()) ?? []);
    let stopped = false;
    const look = async (): Promise<void> => {
      const before = current;
      const found = await membership(hub, before);
      if (stopped) return;
      current = found;
      for (const user of new Set([...before.keys(), ...current.keys()])) {
        if (!same(before.get(user), current.get(user))) apply(hub, Jid.parse(user));
      }
    };
    // One look at a time, each after the one before.
    let looking = Promise.resolve();
    const again = () => {
      looking = looking.then(look).catch(error => hub.log.error({ err: error }, 'shared groups were not taken over'));
    };
    again();
    const timer = setInterval(again, interval);
    timer.unref();
    hub.on('reloaded', () => {
      again();
      return looking;
    });
    return () => {
      stopped = true;
      clearInterval(timer);
    };
  },
};

/** Reads the shared groups of all domains. Where a directory does not answer, its groups stay as they were. */
async function membership(hub: Hub, before: Membership): Promise<Membership> {
  const found: Membership = new Map();
  for (const domain of hub.config.domains.keys()) {
    const groups = hub.directory(domain)?.groups;
    if (!groups) continue;
    try {
      for (const group of await groups.shared()) {
        for (const { jid } of group.members) {
          const known = found.get(jid.toString());
          if (known) known.push(group);
          else found.set(jid.toString(), [group]);
        }
      }
    } catch (error) {
      hub.log.warn({ domain, reason: (error as Error).message }, 'shared groups stay as they were');
      for (const [user, list] of before) if (user.endsWith(`@${domain}`)) found.set(user, list);
    }
  }
  return found;
}

/** A group that was not read anew is the same object. */
function same(a: Group[] = [], b: Group[] = []): boolean {
  return a.length === b.length && a.every((group, i) => group === b[i]);
}

/** Everybody else in a user's groups. */
function contactsOf(user: Jid, groups: readonly Group[]): ReadonlyMap<string, SharedContact> {
  const contacts = new Map<string, { name: string; groups: string[] }>();
  for (const { title, members } of groups) {
    for (const { jid, name } of members) {
      if (jid.equals(user.bare)) continue;
      const known = contacts.get(jid.toString());
      if (known) known.groups.push(title);
      else contacts.set(jid.toString(), { name, groups: [title] });
    }
  }
  return contacts;
}

/** Takes over a user's groups as they are now: pushes for whoever is about, and presence to those who come and go. */
function apply(hub: Hub, user: Jid): void {
  const rosters = rostersOf(hub);
  const sessions = hub.sessions.of(user);
  if (sessions.length === 0) return rosters.release(user);
  const { came, went } = rosters.refresh(user);
  for (const contact of [...came, ...went]) hub.emit('roster-changed', user, contact);
  for (const session of sessions) {
    if (!session.presence) continue;
    const shown = compositionOf(hub).shown(session);
    const gone = Stanza.of('presence', { from: session.jid, type: 'unavailable' });
    for (const contact of came) void hub.router.route(shown.withTo(contact), hubOrigin);
    for (const contact of went) {
      if (!rosters.item(user, contact)?.from) void hub.router.route(gone.withTo(contact), hubOrigin);
    }
  }
}
