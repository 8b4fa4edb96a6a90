// The errors of publish-subscribe: a stanza condition with one of its own beside it (XEP-0060 §11).
import { el } from '../../xmpp/element.ts';
import { type ErrorType, type StanzaCondition, StanzaError } from '../../xmpp/errors.ts';
import { ns } from '../../xmpp/namespaces.ts';

type Specific =
  | 'closed-node'
  | 'configuration-required'
  | 'invalid-jid'
  | 'invalid-options'
  | 'invalid-payload'
  | 'item-forbidden'
  | 'item-required'
  | 'jid-required'
  | 'max-nodes-exceeded'
  | 'node-full'
  | 'nodeid-required'
  | 'not-in-roster-group'
  | 'not-subscribed'
  | 'payload-required'
  | 'payload-too-big'
  | 'pending-subscription'
  | 'precondition-not-met'
  | 'presence-subscription-required'
  | 'too-many-subscriptions'
  | 'unsupported-access-model';

/** A stanza error with the condition that pubsub adds to it. */
export function refusal(condition: StanzaCondition, specific: Specific, text = '', type?: ErrorType): StanzaError {
  return new StanzaError(condition, text, type, el(specific, ns.pubsubErrors));
}

/** A feature that the service or the node does not have. */
export function unsupported(feature: string): StanzaError {
  const more = el('unsupported', ns.pubsubErrors, { feature });
  return new StanzaError('feature-not-implemented', '', 'cancel', more);
}
