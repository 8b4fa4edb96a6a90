// Private XML storage (XEP-0049).
import type { Module } from '../hub/module.ts';
import { el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import { parseElement } from '../xmpp/payload.ts';
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
    hub.iq(ns.private, 'query', 'own-account', async ({ stanza, query, from }) => {
      const user = from.bare.toString();
      const items = query.all();
      if (items.length === 0 || (stanza.type === 'get' && items.length > 1)) {
        throw new StanzaError('not-acceptable', 'name the element to be stored or read');
      }
      if (items.some(item => item.ns === ns.private || item.ns === '')) {
        throw new StanzaError('not-acceptable', 'an element of private storage has a namespace of its own');
      }
      if (stanza.type === 'get') {
        const [{ name, ns: space }] = items;
        const row = hub.store
          .prepare('SELECT xml FROM private_items WHERE user = ? AND name = ?')
          .get(user, `${space} ${name}`);
        return el('query', ns.private, {}, row ? parseElement(String(row.xml)) : el(name, space));
      }
      const count = hub.store.prepare('SELECT count(*) AS n FROM private_items WHERE user = ?').get(user);
      if (Number(count?.n) + items.length > mostItems)
        throw new StanzaError('resource-constraint', 'too many elements are stored');
      hub.store.atomic(() => {
        for (const item of items) {
          const xml = item.toString();
          if (xml.length > largest) throw new StanzaError('not-acceptable', `at most ${largest} characters are stored`);
          hub.store
            .prepare('INSERT OR REPLACE INTO private_items (user, name, xml) VALUES (?, ?, ?)')
            .run(user, `${item.ns} ${item.name}`, xml);
        }
      });
      await hub.store.durable();
      return null;
    });
    hub.iq(ns.private, 'query', 'any', () => {
      throw new StanzaError('forbidden', 'private storage is private');
    });
    hub.on('account-removed', user => {
      hub.store.prepare('DELETE FROM private_items WHERE user = ?').run(user.bare.toString());
    });
  },
};
