// What of a user moves from server to server (XEP-0227): contact list, requests, offline messages, private data, vCard.
import type { Portable } from '../hub/module.ts';
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
    const items = [...rostersOf({ store }).of(user).items.values()];
    const requests = items.flatMap(({ pending }) =>
      pending === null ? [] : [Stanza.parse(Buffer.from(pending)).element],
    );
    return [el('query', ns.roster, {}, ...items.filter(item => item.listed).map(itemElement)), ...requests];
  },
  import(store, user, element) {
    if (element.is('presence', ns.client) && element.attrs.type === 'subscribe') {
      const contact = Jid.tryParse(element.attrs.from ?? '');
      if (contact) keep(store, user, contact, item => (item.pending ??= Stanza.from(element).toString()));
      return true;
    }
    if (!element.is('query', ns.roster)) return false;
    for (const entry of element.all('item')) {
      const contact = Jid.tryParse(entry.attrs.jid ?? '');
      if (contact) keep(store, user, contact, item => readItem(item, entry));
    }
    return true;
  },
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

function keep(store: Store, user: Jid, contact: Jid, change: (item: RosterItem) => void): void {
  const rosters = rostersOf({ store });
  if (!rosters.hasRoom(user, contact, 'item')) throw new Error(`the roster of ${user} is full`);
  const item = rosters.itemOrNew(user, contact);
  change(item);
  rosters.save(user, item, item.listed);
}

/** One row for a user that holds one element, such as a vCard. */
export function portableElement(name: string, space: string, table: PortableTable): Portable {
  return {
    export(store, user) {
      store.migrate(table.owner, table.schema);
      return store
        .prepare(table.select)
        .all(user.toString())
        .map(row => parseElement(String(row.xml)));
    },
    import(store, user, element) {
      if (!element.is(name, space)) return false;
      store.migrate(table.owner, table.schema);
      store.prepare(table.insert).run(user.toString(), element.toString());
      return true;
    },
  };
}

export interface PortableTable {
  owner: string;
  schema: readonly string[];
  /** Takes the bare JID; gives `xml`. */
  select: string;
  /** Takes the bare JID and the XML. */
  insert: string;
}

/** Private storage: one query with all elements (XEP-0227 §4.6). */
export function portablePrivate(schema: readonly string[]): Portable {
  return {
    export(store, user) {
      store.migrate('private', schema);
      const rows = store.prepare('SELECT xml FROM private_items WHERE user = ?').all(user.toString());
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

/** Offline messages, oldest first (XEP-0227 §4.5). */
export function portableOffline(schema: readonly string[]): Portable {
  return {
    export(store, user) {
      store.migrate('offline', schema);
      const rows = store.prepare('SELECT stanza FROM offline WHERE user = ? ORDER BY id').all(user.toString());
      if (rows.length === 0) return [];
      return [el('offline-messages', pie, {}, ...rows.map(row => Stanza.parse(row.stanza as Uint8Array).element))];
    },
    import(store, user, element) {
      if (!element.is('offline-messages', pie)) return false;
      store.migrate('offline', schema);
      for (const message of element.all('message', ns.client)) {
        const stanza = Stanza.from(message);
        store
          .prepare('INSERT INTO offline (user, stanza, at) VALUES (?, ?, ?)')
          .run(user.toString(), stanza.toBytes(), Date.now());
      }
      return true;
    },
  };
}

/** The namespace of exports (XEP-0227 §4). */
export const pie = 'urn:xmpp:pie:0';
