// What subscribers do: subscribe, unsubscribe and set their options (XEP-0060 §6.1–§6.4).
import { type Element, el } from '../../xmpp/element.ts';
import { type ErrorType, StanzaError } from '../../xmpp/errors.ts';
import { type FormValues, flagOf, formElement } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { refuseSubscriber, subscribesAtOnce } from './access.ts';
import { askOwners } from './approval.ts';
import { checkFormType } from './config.ts';
import { refusal, unsupported } from './errors.ts';
import { sendLast, tellOwners } from './events.ts';
import { factsOf } from './host.ts';
import { limits, type Node, type Subscription } from './node.ts';
import { bareOf } from './nodes.ts';
import { type Call, jidIn, nodeOf, submitted, type UseCases } from './requests.ts';

export const optionsForm = `${ns.pubsub}#subscribe_options`;

export const subscriberCases: UseCases = {
  'set subscribe': subscribe,
  'set unsubscribe': unsubscribe,
  'get options': call => {
    const { node, subscription } = ownSubscription(call, 'modify');
    return answer(optionsElement(node, subscription, 'form'));
  },
  'set options': setOptions,
  'get default': call => {
    if (call.action.attrs.node !== undefined) nodeOf(call);
    return answer(el('default', ns.pubsub, { node: call.action.attrs.node }, optionsFields('form', true)));
  },
};

function answer(...children: (Element | null)[]): Element {
  return el('pubsub', ns.pubsub, {}, ...children);
}

export function subscriptionElement(
  node: Node,
  { jid, state }: { jid: string; state: string },
  space: string,
): Element {
  return el('subscription', space, { node: node.name, jid, subscription: state });
}

async function subscribe(call: Call): Promise<Element> {
  const { host, from, pubsub } = call;
  const jid = jidIn(call.action);
  // The order is that of XEP-0060 §6.1.3: first who asks, then what the node lets in.
  if (!jid?.bare.equals(from.bare)) throw refusal('bad-request', 'invalid-jid');
  const node = nodeOf(call);
  const options = optionsBeside(call);
  const facts = factsOf(host, node, from);
  const refused = refuseSubscriber(facts);
  if (refused) throw refused;
  if (!node.config.subscribe) throw unsupported('subscribe');
  const subscriptions = host.nodes.subscriptions(node);
  const existing = subscriptions.get(jid.toString());
  if (existing?.state === 'pending') throw refusal('not-authorized', 'pending-subscription');
  if (existing) {
    if (options) host.nodes.subscribe(node, withOptions(existing, options));
    await host.hub.store.durable();
    return answer(subscriptionElement(node, existing, ns.pubsub));
  }
  checkRoom(call, node);
  const state = subscribesAtOnce(facts) ? 'subscribed' : 'pending';
  const fresh = withOptions({ jid: jid.toString(), state, deliver: true }, options);
  host.nodes.subscribe(node, fresh);
  await host.hub.store.durable();
  if (state === 'pending') askOwners(host, node, jid);
  else {
    tellOwners(host, node, jid, state);
    // Behind the answer, which says what it is sent for.
    if (fresh.deliver && node.config.sendLast !== 'never') setImmediate(() => sendLast(host, node, jid));
  }
  const shown = pubsub.child('options') ? optionsElement(node, fresh, 'result') : null;
  return answer(subscriptionElement(node, fresh, ns.pubsub), shown);
}

function checkRoom({ host, from }: Call, node: Node): void {
  const subscriptions = host.nodes.subscriptions(node);
  const bare = from.bare.toString();
  let own = 0;
  for (const jid of subscriptions.keys()) if (bareOf(jid) === bare) own++;
  if (
    own >= limits.subscriptionsOfOne ||
    subscriptions.size >= limits.subscriptions ||
    host.nodes.countSubscriptionsOf(host.address, bare) >= limits.subscriptionsThere
  ) {
    throw refusal('policy-violation', 'too-many-subscriptions', '', 'wait');
  }
}

/** The options that come with a subscription (XEP-0060 §6.3.7). */
function optionsBeside({ pubsub, action }: Call): FormValues | null {
  const options = pubsub.child('options');
  if (!options) return null;
  const all = pubsub.all();
  const misplaced = all.indexOf(options) < all.indexOf(action);
  if (misplaced || options.attrs.node !== undefined || options.attrs.jid !== undefined) {
    throw new StanzaError('bad-request', '<options/> follows <subscribe/> and names neither node nor JID');
  }
  return submitted(options);
}

async function unsubscribe(call: Call): Promise<null> {
  const { host } = call;
  const { node, jid } = ownSubscription(call, 'cancel');
  host.nodes.unsubscribe(node, jid.toString());
  await host.hub.store.durable();
  tellOwners(host, node, jid, 'none');
  return null;
}

/**
 * The subscription that a request names, which is the sender's (XEP-0060 §6.2.3, §6.3.4). `missing` is the type of the
 * error where there is none.
 */
function ownSubscription(call: Call, missing: ErrorType): { node: Node; jid: Jid; subscription: Subscription } {
  const { host, from, action } = call;
  const node = nodeOf(call);
  if (action.attrs.jid === undefined) throw refusal('bad-request', 'jid-required');
  const jid = jidIn(action);
  if (!jid) throw refusal('bad-request', 'invalid-jid');
  if (!jid.bare.equals(from.bare)) throw new StanzaError('forbidden', 'that subscription is not yours');
  const subscription = host.nodes.subscriptions(node).get(jid.toString());
  if (!subscription) throw refusal('unexpected-request', 'not-subscribed', '', missing);
  return { node, jid, subscription };
}

async function setOptions(call: Call): Promise<null> {
  const { host, action } = call;
  const { node, subscription } = ownSubscription(call, 'modify');
  const values = submitted(action);
  if (!action.child('x', ns.data)) throw refusal('bad-request', 'invalid-options', 'a form is expected');
  if (!values) return null;
  host.nodes.subscribe(node, withOptions(subscription, values));
  await host.hub.store.durable();
  return null;
}

function optionsElement(node: Node, { jid, deliver }: Subscription, type: 'form' | 'result'): Element {
  return el('options', ns.pubsub, { node: node.name, jid }, optionsFields(type, deliver));
}

function optionsFields(type: 'form' | 'result', deliver: boolean): Element {
  return formElement(type, {
    fields: [
      { var: 'FORM_TYPE', type: 'hidden', value: optionsForm },
      { var: 'pubsub#deliver', type: 'boolean', label: 'Deliver notices of events', value: deliver ? '1' : '0' },
    ],
  });
}

/** The subscription with other options. Throws `bad-request` for options that there are not (XEP-0060 §6.3.6). */
function withOptions(subscription: Subscription, values: FormValues | null): Subscription {
  if (!values) return subscription;
  checkFormType(values, optionsForm);
  for (const [name, [value = '']] of values) {
    const known = name === 'FORM_TYPE' || (name === 'pubsub#deliver' && ['0', '1', 'true', 'false'].includes(value));
    if (!known) throw refusal('bad-request', 'invalid-options', `${name.slice(0, 100)} cannot be set so`);
  }
  return { ...subscription, deliver: flagOf(values, 'pubsub#deliver') ?? subscription.deliver };
}
