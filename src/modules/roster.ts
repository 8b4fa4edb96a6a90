// Rosters as clients use them: get with versions, set, remove, and pushes (RFC 6121 §2).
import { meantBy } from '../hub/config.ts';
import type { Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { portableRoster } from './portable.ts';
import { itemElement, type Roster, type RosterItem, rostersOf, versionOf } from './rosters.ts';
import { cancelSubscriptions, keptByGroup } from './subscription.ts';

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
    hub.on('roster-changed', (user, contact) => {
      const item = rosters.item(user, contact);
      if (item) push(hub, user, item);
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
    for (const item of changes) session.send(pushStanza(from.bare, session.jid, item));
  });
  return null;
}

/** Whether a client that knows this version can be told what has changed since. */
function isBehind({ version, floor, shared }: Roster, known: string): boolean {
  if (shared.size > 0 || !/^[1-9]\d{0,14}$/.test(known)) return false;
  return Number(known) >= floor && Number(known) < version;
}

/** RFC 6121 §2.1.5. */
async function set(hub: Hub, { from, query }: Request): Promise<null> {
  const [asked, ...more] = query.all('item');
  if (!asked || more.length > 0) throw new StanzaError('bad-request', 'a roster set has one item');
  const named = Jid.tryParse(asked.attrs.jid ?? '');
  if (!named) throw new StanzaError('jid-malformed', 'the item has no usable jid');
  const contact = meantBy(named, hub.config);
  const { from: visible = false, groups: grouped = [] } = rostersOf(hub).item(from, contact) ?? {};
  if (asked.attrs.subscription === 'remove') remove(hub, from, contact);
  else put(hub, from, contact, asked);
  await hub.store.durable();
  hub.emit('roster-changed', from.bare, contact.bare, { from: visible, groups: grouped });
  // COMPAT(Smack): it takes pushes aside from what it reads; an answer in the same segment would get ahead of its push.
  await new Promise(resolve => setImmediate(resolve));
  return null;
}

/** RFC 6121 §2.5. */
function remove(hub: Hub, user: Jid, contact: Jid): void {
  const rosters = rostersOf(hub);
  const item = rosters.item(user, contact);
  if (!item?.listed) throw new StanzaError('item-not-found');
  if (item.shared) throw keptByGroup();
  cancelSubscriptions(hub, user.bare, item);
  item.listed = false;
  item.name = '';
  item.groups = [];
  rosters.save(user, item);
}

/** RFC 6121 §2.3, §2.4. */
function put(hub: Hub, user: Jid, contact: Jid, asked: Element): void {
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
  rosters.save(user, item);
}

/** Tells every interested client of an item (RFC 6121 §2.1.6). */
function push(hub: Hub, user: Jid, item: RosterItem): void {
  if (!item.listed && item.version === 0) return;
  const roster = rostersOf(hub).of(user);
  const ver = roster.shared.size === 0 ? String(item.version) : versionOf(roster);
  for (const session of hub.sessions.of(user)) {
    if (session.interested) session.send(pushStanza(user.bare, session.jid, item, ver));
  }
}

let pushes = 0;

function pushStanza(user: Jid, to: Jid, item: RosterItem, ver = String(item.version)): Stanza {
  const query = el('query', ns.roster, { ver }, itemElement(item));
  return Stanza.of('iq', { from: user, to, type: 'set', id: `push-${++pushes}` }, query);
}
