// What service discovery tells of nodes: their kind, their metadata and their items (XEP-0060 §5.2–§5.5).
import { Element } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { formElement } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { type PageAnswer, type PageRequest, pageElement, readPage } from '../../xmpp/result-set.ts';
import { type DiscoItem, infoElement, itemsElement } from '../disco.ts';
import { refuseReader, refuseSubscriber } from './access.ts';
import { publicFields } from './config.ts';
import { factsOf, type Host } from './host.ts';
import { limits, type Node } from './node.ts';

const metadataForm = `${ns.pubsub}#meta-data`;

/**
 * A page of the nodes that somebody may subscribe to or read, as items of the service, the oldest first. Pages go by the
 * numbers of nodes, which tell nothing of those that are hidden and outlive those that go.
 */
function nodePage(host: Host, who: Jid, wanted: PageRequest): { items: DiscoItem[]; answer: PageAnswer } {
  const backwards = wanted.before !== null;
  const [above, below] = [numberOf(wanted.after, 0), numberOf(wanted.before, Number.MAX_SAFE_INTEGER)];
  const nodes = [...host.nodes.of(host.address).values()].filter(({ id }) => id > above && id < below);
  if (backwards) nodes.reverse();
  // Who wants none wants to know how many there are.
  const most = wanted.max || Number.POSITIVE_INFINITY;
  const found: Node[] = [];
  let scanned = 0;
  let skipped = 0;
  while (scanned < Math.min(nodes.length, limits.scanned) && found.length < most) {
    const node = nodes[scanned++];
    if (refuseSubscriber(factsOf(host, node, who))) continue;
    if (skipped < (wanted.index ?? 0)) skipped++;
    else found.push(node);
  }
  // Where the walk has ended is where the next page starts, though what is there may be hidden.
  const ends = scanned > 0 ? [nodes[0].id, nodes[scanned - 1].id].map(String) : [null, null];
  if (backwards) {
    found.reverse();
    ends.reverse();
  }
  const whole = scanned === nodes.length && wanted.after === null && !wanted.before;
  const count = whole ? found.length + skipped : undefined;
  if (wanted.max === 0) return { items: [], answer: { first: null, last: null, count } };
  const items = found.map(node => ({ jid: host.address, node: node.name, name: node.config.title || undefined }));
  return { items, answer: { first: ends[0], last: ends[1], count } };
}

function numberOf(id: string | null, otherwise: number): number {
  if (!id) return otherwise;
  if (/^\d{1,15}$/.test(id)) return Number(id);
  throw new StanzaError('item-not-found', 'there is no such node to start from');
}

/** The items of a node by their names, the newest first; nothing for those who may not read them. */
function itemPage(host: Host, node: Node, who: Jid, wanted: PageRequest): { items: DiscoItem[]; answer: PageAnswer } {
  if (refuseReader(factsOf(host, node, who))) return { items: [], answer: { first: null, last: null, count: 0 } };
  const { items, answer } = host.nodes.items.page(node, wanted);
  return { items: items.map(({ id }) => ({ jid: host.address, name: id })), answer };
}

/** The node of that name; null where there is none. Throws a StanzaError where somebody may not know of it. */
function visibleNode(host: Host, who: Jid, name: string): Node | null {
  const node = host.nodes.get(host.address, name);
  if (!node) return null;
  const refused = refuseSubscriber(factsOf(host, node, who));
  if (refused) throw refused;
  return node;
}

/** disco#info of a node; null where there is none. What somebody may not subscribe to tells nothing. */
export function nodeInfo(host: Host, who: Jid, name: string): Element | null {
  const node = visibleNode(host, who, name);
  if (!node) return null;
  const identity = { category: 'pubsub', type: 'leaf', name: node.config.title || undefined };
  return infoElement(name, [identity], [ns.pubsub, ns.discoInfo, ns.discoItems], [metadata(host, node)]);
}

/**
 * disco#items of the node that a query names, or of the service itself, page by page where there are many (XEP-0059 §3);
 * null where there is no such node.
 */
export function itemsOf(host: Host, who: Jid, query: Element): Element | null {
  const { node: name = '' } = query.attrs;
  const set = query.child('set', ns.resultSet);
  const wanted = readPage(set, limits.page, limits.page);
  const node = name === '' ? null : visibleNode(host, who, name);
  if (name !== '' && !node) return null;
  const { items, answer } = node ? itemPage(host, node, who, wanted) : nodePage(host, who, wanted);
  const list = itemsElement(name, items);
  const whole = answer.count === items.length;
  return set || !whole ? new Element(list.name, list.ns, list.attrs, [...list.children, pageElement(answer)]) : list;
}

function metadata(host: Host, node: Node): ReturnType<typeof formElement> {
  const subscribed = [...host.nodes.subscriptions(node).values()].filter(({ state }) => state === 'subscribed');
  const publishers = [...host.nodes.affiliations(node)].filter(([, affiliation]) => affiliation === 'publisher');
  return formElement('result', {
    fields: [
      { var: 'FORM_TYPE', type: 'hidden', value: metadataForm },
      { var: 'pubsub#creator', type: 'jid-single', value: node.creator },
      { var: 'pubsub#creation_date', type: 'text-single', value: new Date(node.created).toISOString() },
      { var: 'pubsub#owner', type: 'jid-multi', value: host.owners(node).map(String) },
      { var: 'pubsub#publisher', type: 'jid-multi', value: publishers.slice(0, limits.page).map(([jid]) => jid) },
      { var: 'pubsub#num_subscribers', type: 'text-single', value: String(subscribed.length) },
      ...publicFields(node.config),
    ],
  });
}
