// Private XML storage (XEP-0049); the bookmarks in it are those of personal eventing.
import type { Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { parseElement } from '../xmpp/payload.ts';
import { readBookmarks, saveBookmarks } from './bookmarks.ts';
import { portablePrivate } from './portable.ts';

const largest = 256 * 1024;
const mostItems = 100;

const schema = [
  'CREATE TABLE private_items (user TEXT, name TEXT, xml TEXT NOT NULL, PRIMARY KEY (user, name)) WITHOUT ROWID',
];

export const privateStorage: Module = {
  name: 'private',
  implements: ['XEP-0049'],
  portable: portablePrivate(schema),
  start(hub) {
    hub.store.migrate('private', schema);
    hub.feature('account', ns.private);
    hub.feature('domain', ns.private);
    hub.iq(ns.private, 'query', 'own-account', request =>
      request.stanza.type === 'get' ? read(hub, request) : save(hub, request),
    );
    hub.iq(ns.private, 'query', 'any', () => {
      throw new StanzaError('forbidden', 'private storage is private');
    });
    hub.on('account-removed', user => {
      hub.store.prepare('DELETE FROM private_items WHERE user = ?').run(user.bare.toString());
    });
  },
};

function isBookmarks({ name, ns: space }: Element): boolean {
  return name === 'storage' && space === ns.privateBookmarks;
}

function checkNamespaces(items: readonly Element[]): void {
  if (items.some(item => item.ns === ns.private || item.ns === '')) {
    throw new StanzaError('not-acceptable', 'an element of private storage has a namespace of its own');
  }
}

function stored(hub: Hub, user: Jid, item: Element): Element | null {
  const row = hub.store
    .prepare('SELECT xml FROM private_items WHERE user = ? AND name = ?')
    .get(user.bare.toString(), `${item.ns} ${item.name}`);
  return row ? parseElement(String(row.xml)) : null;
}

function read(hub: Hub, { query, from }: Request): Element {
  const items = query.all();
  if (items.length === 0) throw new StanzaError('bad-request', 'name the element to be read');
  if (items.length > 1) throw new StanzaError('not-acceptable', 'one element is read at a time');
  checkNamespaces(items);
  const [item] = items;
  const kept = stored(hub, from, item);
  const shown = isBookmarks(item) ? readBookmarks(hub, from.bare, kept) : kept;
  return el('query', ns.private, {}, shown ?? el(item.name, item.ns));
}

async function save(hub: Hub, { query, from }: Request): Promise<null> {
  const items = query.all();
  if (items.length === 0) throw new StanzaError('not-acceptable', 'name the element to be stored');
  checkNamespaces(items);
  const user = from.bare.toString();
  const count = hub.store.prepare('SELECT count(*) AS n FROM private_items WHERE user = ?').get(user);
  if (Number(count?.n) + items.length > mostItems) {
    throw new StanzaError('resource-constraint', 'too many elements are stored');
  }
  if (items.some(item => item.toString().length > largest)) {
    throw new StanzaError('not-acceptable', `at most ${largest} characters are stored`);
  }
  const kept: Element[] = [];
  for (const item of items) kept.push(isBookmarks(item) ? await saveBookmarks(hub, from.bare, item) : item);
  hub.store.atomic(() => {
    for (const item of kept) {
      hub.store
        .prepare('INSERT OR REPLACE INTO private_items (user, name, xml) VALUES (?, ?, ?)')
        .run(user, `${item.ns} ${item.name}`, item.toString());
    }
  });
  await hub.store.durable();
  return null;
}
