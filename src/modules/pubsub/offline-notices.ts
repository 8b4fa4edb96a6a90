// The node at which components hear of messages kept for users who are away, so that they can wake phones.
import { el } from '../../xmpp/element.ts';
import { formElement } from '../../xmpp/form.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import type { Host } from './host.ts';
import { type Node, serviceDefaults } from './node.ts';
import { publishItem } from './publisher.ts';

/** The name of the node and the namespace of what is published there. */
export const offlineNotices = 'urn:isthmus:offline:0';
const summaryForm = 'urn:xmpp:push:summary';

/** The node of a domain's service; made where it is not there. It keeps nothing: who is not connected misses notices. */
export function offlineNode(host: Host): Node {
  const existing = host.nodes.get(host.address, offlineNotices);
  return (
    existing ??
    host.nodes.create(host.address, offlineNotices, host.address, {
      ...serviceDefaults,
      title: 'Messages kept for users who are away',
      accessModel: 'whitelist',
      persistItems: false,
      sendLast: 'never',
      notificationType: 'normal',
    })
  );
}

/** Publishes that a message was kept: for whom, from whom, and how many wait; never what it says. */
export async function tellKept(host: Host, message: Stanza, waiting: number): Promise<void> {
  const node = host.nodes.get(host.address, offlineNotices);
  if (!node || host.nodes.subscriptions(node).size === 0) return;
  const summary = formElement('result', {
    fields: [
      { var: 'FORM_TYPE', type: 'hidden', value: summaryForm },
      { var: 'message-count', value: String(waiting) },
      { var: 'last-message-sender', value: message.from?.toString() },
    ],
  });
  const attrs = { jid: message.to!.bare.toString(), stamp: new Date().toISOString() };
  await publishItem(
    host,
    node,
    el('item', offlineNotices, {}, el('offline', offlineNotices, attrs, summary)),
    host.jid,
  );
}
