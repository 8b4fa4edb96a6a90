// The nodes of an account, with all that is published there, as they move from server to server (XEP-0227 §4.8).
import type { Portable } from '../../hub/module.ts';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { formValues } from '../../xmpp/form.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { parseElement } from '../../xmpp/payload.ts';
import { configFormElement, configured } from './config.ts';
import { type Affiliation, affiliations, limits, type Node, type NodeConfig, personalDefaults } from './node.ts';
import { type Nodes, nodesOf } from './nodes.ts';

export const portablePersonal: Portable = {
  export(store, user) {
    const known = nodesOf({ store });
    const nodes = [...known.of(user.toString()).values()];
    if (nodes.length === 0) return [];
    return [
      el('pubsub', ns.pubsubOwner, {}, ...nodes.flatMap(node => settingsOf(known, node))),
      el('pubsub', ns.pubsub, {}, ...nodes.map(node => itemsOf(known, node))),
    ];
  },
  import(store, user, element) {
    const known = nodesOf({ store });
    if (element.is('pubsub', ns.pubsubOwner)) {
      for (const entry of element.all()) takeSettings(known, nodeFor(known, user, entry), entry);
    } else if (element.is('pubsub', ns.pubsub)) {
      for (const entry of element.all('items')) takeItems(known, nodeFor(known, user, entry), entry, user);
    } else return false;
    return true;
  },
};

function settingsOf(known: Nodes, node: Node): Element[] {
  const at = { node: node.name };
  const lists = [
    el(
      'affiliations',
      ns.pubsubOwner,
      at,
      ...[...known.affiliations(node)].map(([jid, affiliation]) =>
        el('affiliation', ns.pubsubOwner, { jid, affiliation }),
      ),
    ),
    el(
      'subscriptions',
      ns.pubsubOwner,
      at,
      ...[...known.subscriptions(node).values()].map(({ jid, state }) =>
        el('subscription', ns.pubsubOwner, { jid, subscription: state }),
      ),
    ),
  ];
  const configure = el('configure', ns.pubsubOwner, at, configFormElement(node.config, []));
  return [configure, ...lists.filter(list => list.children.length > 0)];
}

/** All items, the oldest first, so that they stand in the same order elsewhere. */
function itemsOf(known: Nodes, node: Node): Element {
  const ids = known.items.ids(node, limits.items).reverse();
  const items = ids.flatMap(id => known.items.get(node, id) ?? []);
  return el(
    'items',
    ns.pubsub,
    { node: node.name },
    ...items.map(({ id, publisher, payload }) =>
      el('item', ns.pubsub, { id, publisher }, payload === '' ? null : parseElement(payload)),
    ),
  );
}

/** The node that an entry names, made for its owner alone where it is new; null where it cannot be made. */
function nodeFor(known: Nodes, user: Jid, { attrs: { node: name = '' } }: Element): Node | null {
  const service = user.bare.toString();
  const existing = known.get(service, name);
  if (existing) return existing;
  if (name === '' || Buffer.byteLength(name) > limits.idLength || known.of(service).size >= limits.nodes) return null;
  return known.create(service, name, service, { ...personalDefaults, accessModel: 'whitelist' });
}

function takeSettings(known: Nodes, node: Node | null, entry: Element): void {
  const form = entry.child('x', ns.data);
  if (!node) return;
  if (entry.name === 'configure' && form) known.configure(node, readConfig(node.config, form));
  for (const { attrs } of entry.all(entry.name.slice(0, -1)).slice(0, limits.affiliations)) {
    const jid = Jid.tryParse(attrs.jid ?? '');
    if (!jid) continue;
    if (entry.name === 'affiliations' && affiliations.includes(attrs.affiliation as Affiliation)) {
      known.affiliate(node, jid.bare.toString(), attrs.affiliation as Affiliation);
    }
    if (entry.name === 'subscriptions' && (attrs.subscription === 'subscribed' || attrs.subscription === 'pending')) {
      known.subscribe(node, { jid: jid.toString(), state: attrs.subscription, deliver: true });
    }
  }
}

/** What of a form is known here; a node whose access model is not known stays its owner's alone. */
function readConfig(config: NodeConfig, form: Element): NodeConfig {
  let read = config;
  for (const entry of formValues(form)) {
    try {
      read = configured(read, new Map([entry]));
    } catch (error) {
      if (!(error instanceof StanzaError)) throw error;
    }
  }
  return read;
}

function takeItems(known: Nodes, node: Node | null, entry: Element, user: Jid): void {
  if (!node) return;
  for (const item of entry.all('item').slice(-limits.items)) {
    const payload = item.all()[0]?.toString() ?? '';
    const { id = '' } = item.attrs;
    const fits = Buffer.byteLength(payload) <= limits.payload && Buffer.byteLength(id) <= limits.idLength;
    if (id === '' || !fits || known.items.sizeOf(node) > limits.nodeSize) continue;
    const publisher = Jid.tryParse(item.attrs.publisher ?? '')?.bare ?? user.bare;
    known.items.put(node, { id, publisher: publisher.toString(), at: Date.now(), payload });
  }
}
