// What of a user moves from server to server (XEP-0227): contact list, requests, offline messages, private data, vCard.
import type { Portable, PortableList } from '../hub/module.ts';
import type { Store } from '../hub/store.ts';
import { Element, el } from '../xmpp/element.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { parseElement } from '../xmpp/payload.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { itemElement, type RosterItem, rostersOf } from './rosters.ts';

/** The contact list, and the requests that wait for an answer (XEP-0227 §4.4, §4.9). */
export const portableRoster: Portable = {
  export(store, user) {
    const byAddress = [...rostersOf({ store }).of(user).items].sort(([a], [b]) => (a < b ? -1 : 1));
    // What the directory's groups add is not the user's own.
    const items = byAddress.map(([, item]) => (item.shared ? { ...item, ...item.shared.own } : item));
    const requests = items.flatMap(({ pending }) =>
      pending === null ? [] : [Stanza.parse(Buffer.from(pending)).element],
    );
    return [el('query', ns.roster, {}, ...items.filter(item => item.listed).map(itemElement)), ...requests];
  },
  import(store, user, element, note) {
    if (element.is('presence', ns.client) && element.attrs.type === 'subscribe') {
      keep(store, user, element.attrs.from, note, item => {
        // COMPAT(prosody): who waits is named, and nothing more.
        item.pending ??= Stanza.from(element.withAttrs({ to: element.attrs.to ?? user.toString() })).toString();
      });
      return true;
    }
    if (!element.is('query', ns.roster)) return false;
    for (const entry of element.all('item')) keep(store, user, entry.attrs.jid, note, item => readItem(item, entry));
    return true;
  },
  reread: (store, user) => rostersOf({ store }).release(user),
};

function readItem(item: RosterItem, { attrs, ...entry }: Element): void {
  const { subscription = 'none' } = attrs;
  item.name = attrs.name ?? '';
  item.groups = [...new Set(groupsOf(entry.children))];
  item.to = subscription === 'to' || subscription === 'both';
  item.from = subscription === 'from' || subscription === 'both';
  item.ask = attrs.ask === 'subscribe';
  item.approved = attrs.approved === 'true' || attrs.approved === '1';
  item.listed = subscription !== 'remove';
}

function groupsOf(children: Element['children']): string[] {
  return children
    .filter(child => child instanceof Element)
    .filter(child => child.name === 'group' && child.text !== '')
    .map(child => child.text);
}

function keep(
  store: Store,
  user: Jid,
  address: string | undefined,
  note: (text: string) => void,
  change: (item: RosterItem) => void,
): void {
  const contact = Jid.tryParse(address ?? '')?.bare;
  if (!contact || contact.equals(user)) return note('a contact without an address was left out');
  const rosters = rostersOf({ store });
  if (!rosters.hasRoom(user, contact, 'item')) throw new Error('there are more contacts than a roster holds');
  const item = rosters.itemOrNew(user, contact);
  change(item);
  rosters.save(user, item, item.listed);
}

/** Private storage: one query with all elements (XEP-0227 §4.6). */
export function portablePrivate(schema: readonly string[]): Portable {
  return {
    export(store, user) {
      store.migrate('private', schema);
      const rows = store.prepare('SELECT xml FROM private_items WHERE user = ? ORDER BY name').all(user.toString());
      return rows.length === 0 ? [] : [el('query', ns.private, {}, ...rows.map(row => parseElement(String(row.xml))))];
    },
    import(store, user, element) {
      if (!element.is('query', ns.private)) return false;
      store.migrate('private', schema);
      for (const item of element.all()) {
        store
          .prepare('INSERT OR REPLACE INTO private_items (user, name, xml) VALUES (?, ?, ?)')
          .run(user.toString(), `${item.ns} ${item.name}`, item.toString());
      }
      return true;
    },
  };
}

/** Offline messages, oldest first (XEP-0227 §4.5). One that is kept already is not kept twice. */
export function portableOffline(schema: readonly string[]): Portable {
  const list: PortableList = {
    name: 'offline-messages',
    ns: pie,
    read(store, user, from) {
      store.migrate('offline', schema);
      const entries: Element[] = [];
      let size = 0;
      const select = 'SELECT id, stanza FROM offline WHERE user = ? AND id > ? ORDER BY id';
      for (const { id, stanza } of store.prepare(select).iterate(user.toString(), Number(from))) {
        entries.push(Stanza.parse(stanza as Uint8Array).element);
        size += (stanza as Uint8Array).length;
        if (size > portion) return { entries, next: String(id) };
      }
      return { entries, next: null };
    },
    keep(store, user, entries) {
      store.migrate('offline', schema);
      const insert = store.prepare(
        `INSERT INTO offline (user, stanza, at) SELECT ?1, ?2, ?3
         WHERE NOT EXISTS (SELECT 1 FROM offline WHERE user = ?1 AND stanza = ?2)`,
      );
      let wrong = 0;
      for (const entry of entries) {
        if (!entry.is('message', ns.client)) wrong++;
        else
          insert.run(user.toString(), Stanza.from(entry).toBytes(), Math.min(stampOf(entry) ?? Date.now(), Date.now()));
      }
      return wrong;
    },
  };
  return { list };
}

/** When a `<delay/>` in the element says that it happened, in milliseconds; null: it does not say (XEP-0203). */
export function stampOf(element: Element): number | null {
  const at = Date.parse(element.child('delay', ns.delay)?.attrs.stamp ?? '');
  return Number.isNaN(at) ? null : Math.max(at, 0);
}

/** Characters or bytes after which a portion of a list ends. */
export const portion = 512 * 1024;

/** The namespace of exports (XEP-0227 §4). */
export const pie = 'urn:xmpp:pie:0';
