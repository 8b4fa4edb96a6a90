// What publishers do: publish and retract items (XEP-0060 §7).
import { randomBytes } from 'node:crypto';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { FormValues } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { mayPublish, mayRetract } from './access.ts';
import { withOptions } from './config.ts';
import { refusal, unsupported } from './errors.ts';
import { tellPublished, tellRetracted } from './events.ts';
import { fanOutOf } from './fan-out.ts';
import { factsOf, type Host } from './host.ts';
import { type Item, limits, mostItems, type Node, type NodeConfig } from './node.ts';
import { checkNewNode } from './owner.ts';
import { type Call, nameOf, nodeOf, submitted, type UseCases } from './requests.ts';

export const publisherCases: UseCases = { 'set publish': publish, 'set retract': retract };

async function publish(call: Call): Promise<Element> {
  const { host, from, action } = call;
  const items = action.all('item');
  if (items.length > 1) throw new StanzaError('bad-request', 'one item is published at a time');
  const existing = existingNode(call);
  const node = existing ?? newNode(call);
  let published: Promise<string | null>;
  try {
    published = publishItem(host, node, items[0] ?? null, from);
  } catch (error) {
    // At once: the next request may publish there.
    if (!existing) host.nodes.remove(node);
    throw error;
  }
  const id = await published;
  const item = id === null ? null : el('item', ns.pubsub, { id });
  return el('pubsub', ns.pubsub, {}, el('publish', ns.pubsub, { node: node.name }, item));
}

/** The node of a publish request, whose options it meets; null where it is to be made (XEP-0060 §7.1.4, §7.1.5). */
function existingNode(call: Call): Node | null {
  const { host, from, action } = call;
  const name = nameOf(action);
  if (host.personal && name !== '' && !host.nodes.get(host.address, name)) return null;
  const node = nodeOf(call);
  if (!mayPublish(node.config.publishModel, factsOf(host, node, from))) {
    throw new StanzaError('forbidden', 'you may not publish there');
  }
  const options = optionsOf(call);
  if (options && !withOptions(node.config, options).met) throw refusal('conflict', 'precondition-not-met');
  return node;
}

function newNode(call: Call): Node {
  const { host, from, action } = call;
  const name = nameOf(action);
  checkNewNode(host, from, name);
  const defaults = defaultsFor(host, name);
  const options = optionsOf(call);
  const config = options ? withOptions(defaults, options).config : defaults;
  return host.nodes.create(host.address, name, from.bare.toString(), config);
}

function optionsOf({ pubsub }: Call): FormValues | null {
  const options = pubsub.child('publish-options');
  const values = options && submitted(options);
  if (options && !values) throw new StanzaError('bad-request', 'publish options come in a form');
  return values;
}

/** What nodes that a specification names are configured with where the publisher says nothing. */
export function defaultsFor(host: Pick<Host, 'personal' | 'defaults'>, name: string): NodeConfig {
  const own = host.personal ? privateNodes.get(name) : undefined;
  return own ? { ...host.defaults, accessModel: 'whitelist', ...own } : host.defaults;
}

/** What is nobody else's business (XEP-0223): bookmarks and the user's own notes on contacts. */
const privateNodes: ReadonlyMap<string, Partial<NodeConfig>> = new Map([
  [ns.bookmarks, { maxItems: limits.items, sendLast: 'never' }],
  [ns.privateBookmarks, {}],
  [ns.contacts, { maxItems: limits.items }],
]);

/**
 * Publishes an item, which is allowed, and resolves with its id once it is kept; null where none is kept. Throws a
 * StanzaError at once where the item and the node do not go together (XEP-0060 §7.1.3).
 */
export function publishItem(host: Host, node: Node, item: Element | null, publisher: Jid): Promise<string | null> {
  const { config } = node;
  if (fanOutOf(host.hub).full(node)) throw new StanzaError('resource-constraint', 'too many events are on their way');
  if (!config.persistItems && !config.deliverPayloads) {
    if (item) throw refusal('bad-request', 'item-forbidden');
    tellPublished(host, node, null);
    return Promise.resolve(null);
  }
  if (!item) throw refusal('bad-request', 'item-required');
  const id = item.attrs.id || randomBytes(12).toString('base64url');
  if (Buffer.byteLength(id) > limits.idLength)
    throw new StanzaError('not-acceptable', 'the id of the item is too long');
  const payload = payloadOf(config, item);
  const published: Item = { id, publisher: publisher.bare.toString(), at: Date.now(), payload };
  const gone = mostItems(config) > 0 ? keep(host, node, published) : [];
  host.changed?.(node, [id], published);
  return tellOnceKept(host, node, published, gone);
}

/** Tells of an item and of those that it pushed out, and resolves with its id. */
async function tellOnceKept(host: Host, node: Node, published: Item, gone: readonly string[]): Promise<string> {
  const { config } = node;
  await host.hub.store.durable();
  tellPublished(host, node, published);
  if (gone.length > 0 && config.whenFull === 'retract-oldest' && config.notifyRetract && config.maxItems > 1) {
    tellRetracted(host, node, gone);
  }
  return published.id;
}

/**
 * The payload that an item has to have. COMPAT(clients): its namespace may be another than `pubsub#type`, by which
 * XEP-0472 names what a node is for.
 */
function payloadOf(config: NodeConfig, item: Element): string {
  const payloads = item.all();
  if (payloads.length > 1) throw refusal('bad-request', 'invalid-payload', 'an item has one payload');
  if (payloads.length === 0) {
    if (config.deliverPayloads) throw refusal('bad-request', 'payload-required');
    return '';
  }
  const [{ ns: space }] = payloads;
  if (space === ns.pubsub) throw refusal('bad-request', 'invalid-payload', 'a payload has a namespace of its own');
  const payload = payloads[0].toString();
  if (Buffer.byteLength(payload) > config.maxPayloadSize) throw refusal('not-acceptable', 'payload-too-big');
  return payload;
}

/** Keeps the item, and removes what it pushes out: those ids. A node that keeps nothing remembers its last item. */
function keep(host: Host, node: Node, item: Item): string[] {
  const { items } = host.nodes;
  const { config } = node;
  const most = mostItems(config);
  const isNew = items.get(node, item.id) === undefined;
  if (isNew && config.persistItems && config.whenFull === 'reject' && items.count(node) >= most) {
    throw refusal('conflict', 'node-full');
  }
  try {
    return host.hub.store.atomic(() => {
      items.put(node, item);
      const gone = isNew ? items.trim(node, most) : [];
      checkSize(host, node);
      return config.persistItems ? gone : [];
    });
  } catch (error) {
    items.forget(node);
    throw error;
  }
}

function checkSize(host: Host, node: Node): void {
  const { items } = host.nodes;
  let all = 0;
  for (const other of host.nodes.of(host.address).values()) {
    if (other.creator === node.creator) all += items.sizeOf(other);
  }
  if (items.sizeOf(node) > limits.nodeSize || all > limits.accountSize) {
    throw new StanzaError('resource-constraint', 'there is no more room');
  }
}

async function retract(call: Call): Promise<null> {
  const { host, from, action } = call;
  const node = nodeOf(call);
  const facts = factsOf(host, node, from);
  const publishes = mayPublish(node.config.publishModel, facts);
  const named = action.all('item');
  if (named.length === 0 || named.some(({ attrs }) => !attrs.id)) throw refusal('bad-request', 'item-required');
  const ids = named.map(({ attrs }) => attrs.id);
  for (const id of ids) {
    const item = host.nodes.items.get(node, id);
    const own = item?.publisher === from.bare.toString();
    if (!mayRetract(facts, publishes, own)) throw new StanzaError('forbidden', 'that item is not yours to retract');
    if (!node.config.persistItems) throw unsupported('persistent-items');
    if (!item) throw new StanzaError('item-not-found', 'there is no such item');
  }
  const notify = action.attrs.notify === '1' || action.attrs.notify === 'true';
  await retractItems(host, node, ids, notify || node.config.notifyRetract);
  return null;
}

/** Retracts items, which is allowed, and resolves when they are gone for good. */
export async function retractItems(host: Host, node: Node, ids: readonly string[], notify: boolean): Promise<void> {
  host.hub.store.atomic(() => {
    for (const id of ids) host.nodes.items.remove(node, id);
  });
  host.changed?.(node, ids, null);
  await host.hub.store.durable();
  if (notify) tellRetracted(host, node, ids);
}
