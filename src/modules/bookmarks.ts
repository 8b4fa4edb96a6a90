// Bookmarks: those of personal eventing are the true ones; the two older places show and change them (XEP-0402 §5.2).
import type { Hub, Module } from '../hub/module.ts';
import { Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { parseElement } from '../xmpp/payload.ts';
import { type Item, limits, type Node } from './pubsub/node.ts';
import { personalOf } from './pubsub/personal.ts';
import { retractItems } from './pubsub/publisher.ts';

export const bookmarks: Module = {
  name: 'bookmarks',
  implements: ['XEP-0402', 'XEP-0048', 'XEP-0411'],
  start(hub) {
    const personal = personalOf(hub);
    hub.feature('account', ns.bookmarksConversion, ns.bookmarksPepConversion, ns.bookmarksOldConversion);
    /** Accounts whose old node is about to be written. */
    const stale = new Set<string>();
    let writing = false;
    personal.listen((owner, node, _ids, item) => {
      const user = owner.toString();
      if (node.name === ns.privateBookmarks && item && !writing) {
        settle(hub, saveBookmarks(hub, owner, parseElement(item.payload)));
      } else if (node.name === ns.bookmarks && !stale.has(user)) {
        // Many may change at once, and the old node is written once.
        stale.add(user);
        setImmediate(() => {
          stale.delete(user);
          writing = true;
          settle(hub, collate(hub, owner));
          writing = false;
        });
      }
    });
  },
};

function settle(hub: Hub, work: Promise<unknown>): void {
  work.catch(error => {
    if (!(error instanceof StanzaError)) hub.log.error({ err: error }, 'bookmarks could not be kept in step');
  });
}

/** Publishes all bookmarks as the one item of the old node: it is there when this returns, and kept when it resolves. */
async function collate(hub: Hub, user: Jid): Promise<void> {
  const { nodes } = personalOf(hub);
  const old = nodes.get(user.toString(), ns.privateBookmarks);
  const before = old && nodes.items.get(old, 'current');
  const stored = before ? parseElement(before.payload) : null;
  const storage = readBookmarks(hub, user, stored);
  if (!storage || (before && storage.toString() === before.payload)) return;
  await personalOf(hub).publish(user, ns.privateBookmarks, el('item', ns.pubsub, { id: 'current' }, storage));
}

function nodeOf(hub: Hub, user: Jid): Node | undefined {
  return personalOf(hub).nodes.get(user.bare.toString(), ns.bookmarks);
}

function itemsOf(hub: Hub, node: Node): Item[] {
  const { items } = personalOf(hub).nodes;
  return items
    .ids(node, limits.items)
    .reverse()
    .flatMap(id => items.get(node, id) ?? []);
}

/**
 * `<storage/>` as clients of the older places see it: the rooms of personal eventing, beside whatever else was stored.
 * What was stored stands as it is where the user has no such bookmarks.
 */
export function readBookmarks(hub: Hub, user: Jid, stored: Element | null): Element | null {
  const node = nodeOf(hub, user);
  if (!node) return stored;
  const others = stored?.all().filter(({ name }) => name !== 'conference') ?? [];
  const rooms = itemsOf(hub, node).map(item => asStored(item));
  return el('storage', ns.privateBookmarks, {}, ...others, ...rooms);
}

/** A bookmark in the older form; its extensions stay where they are. */
function asStored({ id, payload }: Item): Element {
  const conference = parseElement(payload);
  const { name, autojoin } = conference.attrs;
  const texts = ['nick', 'password'].flatMap(child => conference.child(child) ?? []);
  return el(
    'conference',
    ns.privateBookmarks,
    { jid: id, name, autojoin },
    ...texts.map(child => el(child.name, ns.privateBookmarks, {}, child.text)),
  );
}

/**
 * Takes `<storage/>` from one of the older places: publishes the rooms that are new or changed, and retracts those that
 * are missing. Gives what is left to be stored. Throws a StanzaError for more rooms than are kept.
 */
export async function saveBookmarks(hub: Hub, user: Jid, storage: Element): Promise<Element> {
  const personal = personalOf(hub);
  const wanted = new Map<string, Element>();
  for (const room of storage.all('conference')) {
    const jid = Jid.tryParse(room.attrs.jid ?? '');
    if (jid) wanted.set(jid.bare.toString(), room);
  }
  if (wanted.size > limits.items) throw new StanzaError('not-acceptable', `at most ${limits.items} rooms are kept`);
  const node = nodeOf(hub, user);
  const existing = new Map((node ? itemsOf(hub, node) : []).map(item => [item.id, item]));
  const work: Promise<void>[] = [];
  for (const [id, room] of wanted) {
    const before = existing.get(id);
    const payload = asPublished(room, before ? parseElement(before.payload) : null);
    if (before && asStored(before).toString() === asStored({ ...before, payload: payload.toString() }).toString())
      continue;
    work.push(personal.publish(user.bare, ns.bookmarks, el('item', ns.pubsub, { id }, payload)));
  }
  const gone = [...existing.keys()].filter(id => !wanted.has(id));
  if (node && gone.length > 0) work.push(retractItems(personal.host(user), node, gone, true));
  await Promise.all(work);
  const others = storage.children.filter(child => typeof child === 'string' || child.name !== 'conference');
  return new Element(storage.name, storage.ns, storage.attrs, others);
}

/** A bookmark in the form of today, with the extensions that it had. */
function asPublished(room: Element, before: Element | null): Element {
  const { name, autojoin } = room.attrs;
  const texts = ['nick', 'password'].flatMap(child => room.child(child) ?? []);
  return el(
    'conference',
    ns.bookmarks,
    { name, autojoin: autojoin === '1' ? 'true' : autojoin === '0' ? undefined : autojoin },
    ...texts.map(child => el(child.name, ns.bookmarks, {}, child.text)),
    before?.child('extensions'),
  );
}
