// What service discovery tells of nodes: their kind, their metadata and their items (XEP-0060 §5.2–§5.5).
import type { Element } from '../../xmpp/element.ts';
import { formElement } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { type DiscoItem, infoElement, itemsElement } from '../disco.ts';
import { refuseReader, refuseSubscriber } from './access.ts';
import { publicFields } from './config.ts';
import { factsOf, type Host } from './host.ts';
import { limits, type Node } from './node.ts';

const metadataForm = `${ns.pubsub}#meta-data`;

/** The nodes that somebody may subscribe to or read, as items of the service; the first hundreds. */
function nodeItems(host: Host, who: Jid): DiscoItem[] {
  const items: DiscoItem[] = [];
  let scanned = 0;
  for (const node of host.nodes.of(host.address).values()) {
    if (items.length >= limits.page || ++scanned > limits.scanned) break;
    if (refuseSubscriber(factsOf(host, node, who))) continue;
    items.push({ jid: host.address, node: node.name, name: node.config.title || undefined });
  }
  return items;
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

/** disco#items of a node, or with a name of '' of the service itself; null where there is no such node. */
export function itemsOf(host: Host, who: Jid, name: string): Element | null {
  if (name === '') return itemsElement('', nodeItems(host, who));
  const node = visibleNode(host, who, name);
  if (!node) return null;
  const ids = refuseReader(factsOf(host, node, who)) ? [] : host.nodes.items.ids(node, limits.page);
  return itemsElement(
    name,
    ids.map(id => ({ jid: host.address, name: id })),
  );
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
