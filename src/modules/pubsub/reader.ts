// What anybody asks of a service: items, and their own subscriptions and affiliations (XEP-0060 §5.6, §5.7, §6.5).
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { pageElement, readPage } from '../../xmpp/result-set.ts';
import { refuseReader } from './access.ts';
import { unsupported } from './errors.ts';
import { itemElement } from './events.ts';
import { factsOf, type View } from './host.ts';
import { type Item, limits, type Node } from './node.ts';
import { type Call, nameOf, nodeOf, type UseCases } from './requests.ts';

export const readerCases: UseCases = {
  'get items': items,
  'get subscriptions': subscriptions,
  'get affiliations': affiliations,
};

function items(call: Call): Element | Promise<Element> {
  const { host, action } = call;
  const view = host.view?.(nameOf(action));
  return view ? viewed(call, view) : keptItems(call);
}

/** The one item of a node as it is shown; where nothing is, the node is as it is kept. */
async function viewed(call: Call, view: View): Promise<Element> {
  const { host, from, action } = call;
  const node = host.nodes.get(host.address, nameOf(action));
  const refused = node && refuseReader(factsOf(host, node, from));
  if (refused) throw refused;
  const kept = node ? host.nodes.items.last(node) : null;
  const shown = await view(host.jid, from, kept);
  if (!shown) return keptItems(call);
  const id = kept?.id ?? 'current';
  const named = action.all('item');
  const wanted = named.length === 0 || named.some(({ attrs }) => attrs.id === id);
  const list = wanted ? el('item', ns.pubsub, { id }, shown) : null;
  return el('pubsub', ns.pubsub, {}, el('items', ns.pubsub, { node: nameOf(action) }, list));
}

function keptItems(call: Call): Element {
  const { host, from, action, pubsub } = call;
  const node = nodeOf(call);
  const refused = refuseReader(factsOf(host, node, from));
  if (refused) throw refused;
  if (!node.config.persistItems && node.config.sendLast === 'never') throw unsupported('persistent-items');
  const named = action.all('item');
  if (named.length > 0) return answer(node, namedItems(call, node, named));
  const set = pubsub.child('set', ns.resultSet);
  const recent = recentOf(action);
  // Whoever asks for the most recent few expects no more than those (XEP-0060 §6.5.7).
  const most = Math.min(recent ?? limits.page, limits.page);
  const wanted = readPage(set, most, most);
  const page = host.nodes.items.page(node, wanted);
  const paged = set !== null || (page.truncated && recent === undefined);
  return answer(node, page.items, paged ? pageElement(page.answer) : null);
}

function recentOf(action: Element): number | undefined {
  const text = action.attrs.max_items;
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text) || Number(text) === 0)
    throw new StanzaError('bad-request', 'max_items is a number from 1');
  return Number(text);
}

/** Those of the named items that there are (XEP-0060 §6.5.8), as many as one answer holds. */
function namedItems({ host }: Call, node: Node, named: readonly Element[]): Item[] {
  if (named.length > limits.page) throw new StanzaError('not-acceptable', `at most ${limits.page} items are asked for`);
  const found: Item[] = [];
  let size = 0;
  for (const { attrs } of named) {
    const item = attrs.id ? host.nodes.items.get(node, attrs.id) : undefined;
    if (!item) continue;
    size += item.payload.length;
    if (found.length > 0 && size > limits.pageSize) break;
    found.push(item);
  }
  return found;
}

function answer(node: Node, shown: readonly Item[], set: Element | null = null): Element {
  const list = el('items', ns.pubsub, { node: node.name }, ...shown.map(item => itemElement(node, item, ns.pubsub)));
  return el('pubsub', ns.pubsub, {}, list, set);
}

function subscriptions({ host, from, action }: Call): Element {
  const wanted = action.attrs.node === undefined ? null : nameOf(action);
  const own = host.nodes.subscriptionsOf(host.address, from.bare.toString());
  const shown = own.filter(({ node }) => wanted === null || node === wanted);
  const list = shown.map(({ node, subscription: { jid, state } }) =>
    el('subscription', ns.pubsub, { node, jid, subscription: state }),
  );
  return el('pubsub', ns.pubsub, {}, el('subscriptions', ns.pubsub, { node: wanted ?? undefined }, ...list));
}

function affiliations({ host, from, action }: Call): Element {
  const wanted = action.attrs.node === undefined ? null : nameOf(action);
  const kept = host.nodes.affiliationsOf(host.address, from.bare.toString());
  const implied = host.personal && from.bare.equals(host.jid) ? [...host.nodes.of(host.address).keys()] : [];
  const own = [...implied.map(node => ({ node, affiliation: 'owner' })), ...kept];
  const list = own
    .filter(({ node }) => wanted === null || node === wanted)
    .map(({ node, affiliation }) => el('affiliation', ns.pubsub, { node, affiliation }));
  return el('pubsub', ns.pubsub, {}, el('affiliations', ns.pubsub, { node: wanted ?? undefined }, ...list));
}
