// vCards of accounts: anybody may read, only their owner may write (XEP-0054).
import type { Hub, Module, Portable } from '../hub/module.ts';
import { Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { parseElement } from '../xmpp/payload.ts';
import { adoptAvatar, takeAvatar, withAvatar, withKeptAvatar } from './avatars.ts';
import { completeVcard } from './directory-vcard.ts';
import { refuseReader } from './pubsub/access.ts';
import { factsOf } from './pubsub/host.ts';
import type { Item } from './pubsub/node.ts';
import { nodesOf } from './pubsub/nodes.ts';
import { personalOf } from './pubsub/personal.ts';
import { besideVcard4, fromVcard4, toVcard4 } from './vcard4.ts';

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
  implements: ['XEP-0054', 'XEP-0292'],
  portable: portableVcard,
  start(hub) {
    hub.store.migrate('vcard', schema);
    const select = hub.store.prepare('SELECT vcard FROM vcards WHERE user = ?');
    hub.feature('domain', ns.vcard);
    hub.feature('account', ns.vcard);
    const keptOf = (user: Jid) => {
      const row = select.get(user.toString());
      return row ? parseElement(String(row.vcard)) : null;
    };
    const keep = (user: Jid, vcard: Element) =>
      hub.store
        .prepare('INSERT OR REPLACE INTO vcards (user, vcard) VALUES (?, ?)')
        .run(user.toString(), vcard.toString());
    const personal = personalOf(hub);
    personal.views.set(ns.vcard4Node, (owner, reader, item) => shownVcard4(hub, owner, reader, item, keptOf(owner)));
    personal.listen((owner, node, ids) => {
      if (node.name !== ns.vcard4Node || ids.length === 0 || personal.nodes.items.last(node)) return;
      if (!hub.enabled('vcard', owner.domain)) return;
      // Who takes the one form back takes back the other.
      const kept = keptOf(owner);
      if (kept) keep(owner, el('vCard', ns.vcard, kept.attrs, ...besideVcard4(kept)));
    });
    hub.iq(ns.vcard, 'vCard', 'account', async ({ stanza, query, from, to }) => {
      if (stanza.type === 'get') {
        const stored = withAvatar(hub, to.bare, from, profileOf(hub, to.bare, from, keptOf(to.bare)));
        const vcard = await completeVcard(hub, to.bare, from, stored);
        if (vcard) return vcard;
        if (from.bare.equals(to.bare)) return el('vCard', ns.vcard);
        // An account without a vCard and an address without an account look the same (XEP-0054 §3.3).
        throw new StanzaError('service-unavailable');
      }
      if (!from.bare.equals(to.bare)) throw new StanzaError('forbidden', 'that vCard is not yours');
      const vcard = await takeAvatar(hub, to.bare, query);
      if (vcard.toString().length > largest)
        throw new StanzaError('not-acceptable', `a vCard has at most ${largest} characters`);
      keep(to.bare, vcard);
      if (hub.enabled('pep', to.domain)) {
        const item = el('item', ns.pubsub, { id: 'current' }, toVcard4(vcard));
        await personal.publish(to.bare, ns.vcard4Node, item, { accessModel: 'open' });
      }
      await hub.store.durable();
      return null;
    });
    hub.on('account-removed', user => {
      hub.store.prepare('DELETE FROM vcards WHERE user = ?').run(user.bare.toString());
    });
  },
};

/**
 * The profile in the older form: as it was set so, unless its owner published another one in the newer form since. That
 * one is for those whom its node is for.
 */
function profileOf(hub: Hub, user: Jid, reader: Jid, kept: Element | null): Element | null {
  const host = personalOf(hub).host(user);
  const node = hub.enabled('pep', user.domain) ? host.nodes.get(host.address, ns.vcard4Node) : undefined;
  const item = node && host.nodes.items.last(node);
  if (!item || (kept && toVcard4(kept).toString() === item.payload)) {
    return node && refuseReader(factsOf(host, node, reader)) ? restOf(kept) : kept;
  }
  if (refuseReader(factsOf(host, node, reader))) return restOf(kept);
  const vcard = fromVcard4(parseElement(item.payload));
  return el('vCard', ns.vcard, {}, ...vcard.children, ...(restOf(kept)?.children ?? []));
}

function restOf(kept: Element | null): Element | null {
  const rest = kept ? besideVcard4(kept) : [];
  return rest.length > 0 ? el('vCard', ns.vcard, {}, ...rest) : null;
}

/** The profile in the newer form: the item that was published, or else what the older form has; and the directory's part. */
async function shownVcard4(
  hub: Hub,
  user: Jid,
  reader: Jid,
  item: Item | null,
  kept: Element | null,
): Promise<Element | null> {
  if (!hub.enabled('vcard', user.domain)) return null;
  const published = item ? parseElement(item.payload) : null;
  const own = published ? fromVcard4(published) : withAvatar(hub, user, reader, kept);
  const whole = await completeVcard(hub, user, reader, own);
  if (!published) return whole ? toVcard4(whole, true) : null;
  const added = whole?.children.slice(own?.children.length ?? 0) ?? [];
  return new Element(published.name, published.ns, published.attrs, [
    ...published.children,
    ...toVcard4(el('vCard', ns.vcard, {}, ...added), true).children,
  ]);
}
