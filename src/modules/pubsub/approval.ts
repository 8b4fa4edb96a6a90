// Subscriptions that wait for an owner's word: the question, the answer, and what comes of it (XEP-0060 §8.6).
import { randomBytes } from 'node:crypto';
import { el } from '../../xmpp/element.ts';
import { flagOf, formElement, readForm, textOf } from '../../xmpp/form.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { sendLast, sendTo, tellOwners, tellSubscription } from './events.ts';
import { affiliationOf, type Host } from './host.ts';
import type { Node } from './node.ts';

const approvalForm = `${ns.pubsub}#subscribe_authorization`;

/** Asks the owners whether somebody may subscribe; they find the question when they come back. */
export function askOwners(host: Host, node: Node, subscriber: Jid, owners: Iterable<Jid> = host.owners(node)): void {
  const who = subscriber.toString();
  const form = formElement('form', {
    title: 'A request to subscribe',
    instructions: `${who} asks to subscribe to ${node.name}.`,
    fields: [
      { var: 'FORM_TYPE', type: 'hidden', value: approvalForm },
      { var: 'pubsub#node', type: 'text-single', label: 'Node', value: node.name },
      { var: 'pubsub#subscriber_jid', type: 'jid-single', label: 'Address of the subscriber', value: who },
      { var: 'pubsub#allow', type: 'boolean', label: 'Allow it?', value: 'false' },
    ],
  });
  const body = el('body', ns.client, {}, `${who} asks to subscribe to ${node.name} at ${host.address}.`);
  const id = randomBytes(9).toString('base64url');
  sendTo(host, Stanza.of('message', { from: host.jid, id }, body, form), owners);
}

/**
 * Takes an owner's answer to such a question. True: the message was one, whatever came of it; a cancelled form leaves
 * things as they are.
 */
export async function takeAnswer(host: Host, message: Stanza): Promise<boolean> {
  const x = message.child('x', ns.data);
  if (!x?.all('field').some(field => field.attrs.var === 'FORM_TYPE' && field.childText('value') === approvalForm)) {
    return false;
  }
  const values = readForm(x);
  const node = values && host.nodes.get(host.address, textOf(values, 'pubsub#node'));
  const subscriber = values && Jid.tryParse(textOf(values, 'pubsub#subscriber_jid'));
  const allow = values && flagOf(values, 'pubsub#allow');
  if (!node || !subscriber || typeof allow !== 'boolean') return true;
  if (affiliationOf(host, node, message.from!) === 'owner') await decide(host, node, subscriber, allow);
  return true;
}

/** Those whose subscription to a node waits for an owner's word. */
export function pendingAt(host: Host, node: Node): Jid[] {
  return [...host.nodes.subscriptions(node).values()]
    .filter(({ state }) => state === 'pending')
    .map(({ jid }) => Jid.parse(jid));
}

/** Approves or denies a pending subscription, if there is one. */
export async function decide(host: Host, node: Node, subscriber: Jid, allow: boolean): Promise<void> {
  const jid = subscriber.toString();
  const pending = host.nodes.subscriptions(node).get(jid);
  if (pending?.state !== 'pending') return;
  if (allow) host.nodes.subscribe(node, { ...pending, state: 'subscribed' });
  else host.nodes.unsubscribe(node, jid);
  await host.hub.store.durable();
  tellSubscription(host, node, subscriber, allow ? 'subscribed' : 'none');
  if (!allow) return;
  tellOwners(host, node, subscriber, 'subscribed');
  if (pending.deliver && node.config.sendLast !== 'never') sendLast(host, node, subscriber);
}
