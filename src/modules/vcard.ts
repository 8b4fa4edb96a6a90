// vCards of accounts: anybody may read, only their owner may write (XEP-0054).
import type { Module, Portable } from '../hub/module.ts';
import { el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import { parseElement } from '../xmpp/payload.ts';
import { adoptAvatar, takeAvatar, withAvatar, withKeptAvatar } from './avatars.ts';
import { completeVcard } from './directory-vcard.ts';
import { nodesOf } from './pubsub/nodes.ts';

const largest = 128 * 1024;

const schema = ['CREATE TABLE vcards (user TEXT PRIMARY KEY, vcard TEXT NOT NULL) WITHOUT ROWID'];

/** With the picture, which is an item of personal eventing as well: not every server takes that over. */
const portableVcard: Portable = {
  export(store, user) {
    store.migrate('vcard', schema);
    const row = store.prepare('SELECT vcard FROM vcards WHERE user = ?').get(user.toString());
    const vcard = withKeptAvatar(nodesOf({ store }), user, row ? parseElement(String(row.vcard)) : null);
    return vcard ? [vcard] : [];
  },
  import(store, user, element, note) {
    if (!element.is('vCard', ns.vcard)) return false;
    store.migrate('vcard', schema);
    const text = adoptAvatar(nodesOf({ store }), user, element).toString();
    if (text.length > largest) note('the vCard is too large, and was left out');
    else store.prepare('INSERT OR REPLACE INTO vcards (user, vcard) VALUES (?, ?)').run(user.toString(), text);
    return true;
  },
};

export const vcard: Module = {
  name: 'vcard',
  implements: ['XEP-0054'],
  portable: portableVcard,
  start(hub) {
    hub.store.migrate('vcard', schema);
    const select = hub.store.prepare('SELECT vcard FROM vcards WHERE user = ?');
    hub.feature('domain', ns.vcard);
    hub.feature('account', ns.vcard);
    hub.iq(ns.vcard, 'vCard', 'account', async ({ stanza, query, from, to }) => {
      const user = to.bare.toString();
      if (stanza.type === 'get') {
        const row = select.get(user);
        const stored = withAvatar(hub, to.bare, from, row ? parseElement(String(row.vcard)) : null);
        const vcard = await completeVcard(hub, to.bare, from, stored);
        if (vcard) return vcard;
        if (from.bare.equals(to.bare)) return el('vCard', ns.vcard);
        // An account without a vCard and an address without an account look the same (XEP-0054 §3.3).
        throw new StanzaError('service-unavailable');
      }
      if (!from.bare.equals(to.bare)) throw new StanzaError('forbidden', 'that vCard is not yours');
      const text = (await takeAvatar(hub, to.bare, query)).toString();
      if (text.length > largest) throw new StanzaError('not-acceptable', `a vCard has at most ${largest} characters`);
      hub.store.prepare('INSERT OR REPLACE INTO vcards (user, vcard) VALUES (?, ?)').run(user, text);
      await hub.store.durable();
      return null;
    });
    hub.on('account-removed', user => {
      hub.store.prepare('DELETE FROM vcards WHERE user = ?').run(user.bare.toString());
    });
  },
};
