// What service discovery tells of nodes: their kind, their metadata and their items (XEP-0060 §5.2–§5.5).
import type { DiscoItem, DiscoNode } from '../../hub/module.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { type Field, formElement } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { refuseReader, refuseSubscriber } from './access.ts';
import { configForm } from './config.ts';
import { factsOf, type Host } from './host.ts';
import { limits, type Node } from './node.ts';

const metadataForm = `${ns.pubsub}#meta-data`;

/** The nodes that somebody may subscribe to or read, as items of the service; the first hundreds. */
export function nodeItems(host: Host, who: Jid): DiscoItem[] {
  const items: DiscoItem[] = [];
  for (const node of host.nodes.of(host.address).values()) {
    if (items.length >= limits.page) break;
    if (refuseSubscriber(factsOf(host, node, who))) continue;
    items.push({ jid: host.address, node: node.name, name: node.config.title || undefined });
  }
  return items;
}

/** What discovery says of a node; null where there is none. What somebody may not subscribe to tells nothing. */
export function nodeInfo(host: Host, who: Jid, name: string): DiscoNode | null {
  const node = host.nodes.get(host.address, name);
  if (!node) return null;
  const facts = factsOf(host, node, who);
  const refused = refuseSubscriber(facts);
  if (refused) throw facts.affiliation === 'outcast' ? new StanzaError('forbidden') : refused;
  const ids = refuseReader(facts) ? [] : host.nodes.items.ids(node, limits.page);
  return {
    identities: [{ category: 'pubsub', type: 'leaf', name: node.config.title || undefined }],
    features: [ns.pubsub, ns.discoInfo, ns.discoItems],
    forms: [metadata(host, node)],
    items: ids.map(id => ({ jid: host.address, name: id })),
  };
}

/** As much for an account: a node of '' is the account itself. */
export function personalNode(host: Host, who: Jid, name: string): DiscoNode | null {
  if (name !== '') return nodeInfo(host, who, name);
  return host.nodes.has(host.address) ? { items: nodeItems(host, who) } : null;
}

function metadata(host: Host, node: Node): ReturnType<typeof formElement> {
  const subscribed = [...host.nodes.subscriptions(node).values()].filter(({ state }) => state === 'subscribed');
  const publishers = [...host.nodes.affiliations(node)].filter(([, affiliation]) => affiliation === 'publisher');
  const shown: Field[] = configForm(node.config).fields.filter(({ var: name }) => name !== 'FORM_TYPE');
  return formElement('result', {
    fields: [
      { var: 'FORM_TYPE', type: 'hidden', value: metadataForm },
      { var: 'pubsub#creator', type: 'jid-single', value: node.creator },
      { var: 'pubsub#creation_date', type: 'text-single', value: new Date(node.created).toISOString() },
      { var: 'pubsub#owner', type: 'jid-multi', value: host.owners(node).map(String) },
      { var: 'pubsub#publisher', type: 'jid-multi', value: publishers.slice(0, limits.page).map(([jid]) => jid) },
      { var: 'pubsub#num_subscribers', type: 'text-single', value: String(subscribed.length) },
      ...shown.map(({ var: name, type, value }) => ({ var: name, type, value })),
    ],
  });
}
