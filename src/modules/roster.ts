// Rosters as clients use them: get with versions, set, remove, and pushes (RFC 6121 §2).
import { meantBy } from '../hub/config.ts';
import type { Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { portableRoster } from './portable.ts';
import { changeElement, itemElement, type Roster, rostersOf, versionOf } from './rosters.ts';
import { cancelSubscriptions, keptByGroup, say } from './subscription.ts';

const longestName = 1023;
const mostGroups = 100;

export const roster: Module = {
  name: 'roster',
  implements: ['RFC 6121 §2', 'RFC 6121 §2.6'],
  portable: portableRoster,
  start(hub) {
    const rosters = rostersOf(hub);
    hub.streamFeature(el('ver', ns.rosterVersioning));
    hub.streamFeature(el('sub', ns.subscriptionPreApproval));
    hub.iq(ns.roster, 'query', 'own-account', request =>
      request.stanza.type === 'get' ? get(hub, request) : set(hub, request),
    );
    hub.iq(ns.roster, 'query', 'any', () => {
      throw new StanzaError('forbidden', 'that roster is not yours');
    });
    hub.on('roster-changed', (user, contact, _before, change) => {
      const item = rosters.item(user, contact);
      const query = change ?? (item && changeElement(rosters.of(user), item));
      if (query) push(hub, user, query);
    });
    hub.on('account-removed', user => rosters.forget(user));
  },
};

/** What a push costs, in items of a whole roster: each is a stanza of its own, which the client answers. */
const costOfPush = 10;

/** RFC 6121 §2.1.3, §2.6. */
function get(hub: Hub, { from, query, session }: Request): Element | null {
  const roster = rostersOf(hub).of(from);
  const items = [...roster.items.values()];
  if (session) session.interested = true;
  const known = query.attrs.ver ?? '';
  const ver = versionOf(roster);
  if (known === ver) return null;
  const listed = items.filter(item => item.listed);
  const changes = isBehind(roster, known) ? items.filter(item => item.version > Number(known)) : null;
  if (!session || !changes || changes.length * costOfPush > listed.length) {
    return el('query', ns.roster, { ver }, ...listed.map(itemElement));
  }
  // The changes come as pushes behind an empty result.
  changes.sort((a, b) => a.version - b.version);
  setImmediate(() => {
    for (const item of changes) session.send(pushStanza(from.bare, session.jid, changeElement(roster, item)));
  });
  return null;
}

/** Whether a client that knows this version can be told what has changed since. */
function isBehind({ version, floor, shared }: Roster, known: string): boolean {
  if (shared.size > 0 || !/^[1-9]\d{0,14}$/.test(known)) return false;
  return Number(known) >= floor && Number(known) < version;
}

/** What a set brings, once it is kept: the push, and what is said to the contact. */
interface Outcome {
  change: Element | undefined;
  said: readonly Stanza[];
}

/** RFC 6121 §2.1.5. */
async function set(hub: Hub, { from, query }: Request): Promise<null> {
  const [asked, ...more] = query.all('item');
  if (!asked || more.length > 0) throw new StanzaError('bad-request', 'a roster set has one item');
  const named = Jid.tryParse(asked.attrs.jid ?? '');
  if (!named) throw new StanzaError('jid-malformed', 'the item has no usable jid');
  const contact = meantBy(named, hub.config);
  const { from: visible = false, groups: grouped = [] } = rostersOf(hub).item(from, contact) ?? {};
  const removal = asked.attrs.subscription === 'remove';
  const { change, said } = removal ? remove(hub, from, contact) : put(hub, from, contact, asked);
  await hub.store.durable();
  say(hub, said);
  hub.emit('roster-changed', from.bare, contact.bare, { from: visible, groups: grouped }, change);
  // COMPAT(Smack): it takes pushes aside from what it reads; an answer in the same segment would get ahead of its push.
  await new Promise(resolve => setImmediate(resolve));
  return null;
}

/** RFC 6121 §2.5. */
function remove(hub: Hub, user: Jid, contact: Jid): Outcome {
  const rosters = rostersOf(hub);
  const item = rosters.item(user, contact);
  if (!item?.listed) throw new StanzaError('item-not-found');
  if (item.shared) throw keptByGroup();
  const said = cancelSubscriptions(hub, user.bare, item);
  item.listed = false;
  item.name = '';
  item.groups = [];
  return { change: rosters.save(user, item), said };
}

/** RFC 6121 §2.3, §2.4. */
function put(hub: Hub, user: Jid, contact: Jid, asked: Element): Outcome {
  const name = asked.attrs.name ?? '';
  const groups = asked.all('group').map(group => group.text);
  if (groups.length > mostGroups || [name, ...groups].some(text => text.length > longestName)) {
    throw new StanzaError('not-acceptable', 'a name or group is too long, or there are too many groups');
  }
  if (groups.includes('')) throw new StanzaError('not-acceptable', 'a group has a name');
  if (new Set(groups).size < groups.length) throw new StanzaError('bad-request', 'a group stands twice');
  const rosters = rostersOf(hub);
  if (!rosters.hasRoom(user, contact, 'item')) throw new StanzaError('resource-constraint', 'the roster is full');
  const item = rosters.itemOrNew(user, contact);
  item.name = name;
  item.groups = groups;
  item.listed = true;
  return { change: rosters.save(user, item), said: [] };
}

/** Tells every interested client of a change (RFC 6121 §2.1.6). */
function push(hub: Hub, user: Jid, change: Element): void {
  for (const session of hub.sessions.of(user)) {
    if (session.interested) session.send(pushStanza(user.bare, session.jid, change));
  }
}

let pushes = 0;

function pushStanza(user: Jid, to: Jid, change: Element): Stanza {
  return Stanza.of('iq', { from: user, to, type: 'set', id: `push-${++pushes}` }, change);
}
