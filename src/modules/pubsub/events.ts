// Notices of what happens at a node: each is serialised once, whoever gets it (XEP-0060 §7.1.2, §12).
import { randomBytes } from 'node:crypto';
import { hubOrigin } from '../../hub/router.ts';
import { type Element, el } from '../../xmpp/element.ts';
import { type Field, formElement } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { parseElement } from '../../xmpp/payload.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { nodeConfigForm, publicFields } from './config.ts';
import { fanOutOf } from './fan-out.ts';
import type { Host } from './host.ts';
import type { Item, Node } from './node.ts';

/** A message with an event, as yet to nobody. Its id tells the node, should it come back as an error. */
function eventOf(host: Host, node: Node, child: Element, more: Element | null = null): Stanza {
  return Stanza.of(
    'message',
    { from: host.jid, id: `${node.id}.${randomBytes(9).toString('base64url')}`, type: typeOf(node) },
    el('event', ns.pubsubEvent, {}, child),
    more,
  );
}

function typeOf({ config }: Node): string | undefined {
  return config.notificationType === 'headline' ? 'headline' : undefined;
}

/** Sends a message to a few; all copies share the payload. */
export function sendTo(host: Host, message: Stanza, recipients: Iterable<Jid>): void {
  for (const to of recipients) void host.hub.router.route(message.withTo(to), hubOrigin);
}

function tell(host: Host, node: Node, child: Element, recipients = host.recipients(node)): void {
  if (node.config.deliverNotifications) fanOutOf(host.hub).send(node, eventOf(host, node, child), recipients);
}

/** Whether items say who published them (XEP-0060 §7.1.2.3, §12.17). */
export function namesPublisher({ config }: Node): boolean {
  return config.itemReply === 'publisher' || config.publishModel !== 'publishers';
}

/** An item as it stands in an answer or an event. */
export function itemElement(node: Node, item: Item, space: string, payload = true): Element {
  const publisher = namesPublisher(node) ? item.publisher : undefined;
  const content = payload && item.payload !== '' ? parseElement(item.payload) : null;
  return el('item', space, { id: item.id, publisher }, content);
}

/** Something was published; null: at a node that keeps nothing and says nothing but that (XEP-0060 §4.3). */
export function tellPublished(host: Host, node: Node, item: Item | null): void {
  const shown = item && itemElement(node, item, ns.pubsubEvent, node.config.deliverPayloads);
  tell(host, node, el('items', ns.pubsubEvent, { node: node.name }, shown));
}

export function tellRetracted(host: Host, node: Node, ids: readonly string[]): void {
  const gone = ids.map(id => el('retract', ns.pubsubEvent, { id }));
  tell(host, node, el('items', ns.pubsubEvent, { node: node.name }, ...gone));
}

export function tellPurged(host: Host, node: Node): void {
  tell(host, node, el('purge', ns.pubsubEvent, { node: node.name }));
}

/** A node is gone, and with it the knowledge of whom to tell: they come along. */
export function tellDeleted(host: Host, node: Node, redirect: string, recipients: Iterable<Jid>): void {
  const more = redirect ? el('redirect', ns.pubsubEvent, { uri: redirect }) : null;
  tell(host, node, el('delete', ns.pubsubEvent, { node: node.name }, more), recipients);
}

export function tellConfigured(host: Host, node: Node): void {
  const formType: Field = { var: 'FORM_TYPE', type: 'hidden', value: nodeConfigForm };
  const fields = [formType, ...publicFields(node.config)];
  const form = node.config.deliverPayloads ? formElement('result', { fields }) : null;
  tell(host, node, el('configuration', ns.pubsubEvent, { node: node.name }, form));
}

/** The state of a subscription has changed without the subscriber's doing (XEP-0060 §12.14). */
export function tellSubscription(host: Host, node: Node, jid: Jid, subscription: string): void {
  const child = el('subscription', ns.pubsubEvent, { node: node.name, jid: jid.toString(), subscription });
  sendTo(host, eventOf(host, node, child), [jid]);
}

/** Owners learn of new and of lost subscribers where they want to (`pubsub#notify_sub`). */
export function tellOwners(host: Host, node: Node, jid: Jid, subscription: string): void {
  if (!node.config.notifySubscriptions) return;
  const child = el('subscription', ns.pubsubEvent, { node: node.name, jid: jid.toString(), subscription });
  sendTo(host, eventOf(host, node, child), host.owners(node));
}

export function tellAffiliation(host: Host, node: Node, jid: Jid, affiliation: string): void {
  const child = el(
    'affiliations',
    ns.pubsub,
    { node: node.name },
    el('affiliation', ns.pubsub, { jid: jid.toString(), affiliation }),
  );
  const message = Stanza.of(
    'message',
    { from: host.jid, to: jid, id: randomBytes(9).toString('base64url'), type: typeOf(node) },
    el('pubsub', ns.pubsub, {}, child),
  );
  void host.hub.router.route(message, hubOrigin);
}

const lastEvents = new WeakMap<Node, { item: Item; message: Stanza }>();

/** The last item, stamped with its time (XEP-0060 §6.1.7), as a message to nobody yet; null where there is none. */
export function lastEvent(host: Host, node: Node): Stanza | null {
  const item = host.nodes.items.last(node);
  if (!item) return null;
  const known = lastEvents.get(node);
  if (known?.item === item) return known.message;
  const message = eventOf(
    host,
    node,
    el(
      'items',
      ns.pubsubEvent,
      { node: node.name },
      itemElement(node, item, ns.pubsubEvent, node.config.deliverPayloads),
    ),
    el('delay', ns.delay, { stamp: new Date(item.at).toISOString() }),
  );
  if (item.payload.length < 4_096) lastEvents.set(node, { item, message });
  return message;
}

/** Sends the last item to somebody who has just come. */
export function sendLast(host: Host, node: Node, to: Jid): void {
  if (!node.config.deliverNotifications) return;
  const message = lastEvent(host, node);
  if (message) sendTo(host, message, [to]);
}

/** A configuration changed, so that what was made of the old one is made anew. */
export function forgetLast(node: Node): void {
  lastEvents.delete(node);
}
