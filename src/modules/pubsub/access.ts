// Who may do what at a node: decisions from a few facts, without a store or a roster (XEP-0060 §4.1, §4.5).
import { StanzaError } from '../../xmpp/errors.ts';
import { refusal } from './errors.ts';
import type { AccessModel, Affiliation, PublishModel } from './node.ts';

/** What the decisions are made from, for one entity and one node. */
export interface Facts {
  model: AccessModel;
  affiliation: Affiliation;
  /** Its subscription, under any of its resources. */
  subscription: 'none' | 'pending' | 'subscribed';
  /** Whether it sees the presence of an owner. */
  seesPresence: boolean;
  /** Whether it is in one of the roster groups that are let in. */
  inGroup: boolean;
}

/** Whether an affiliation keeps from subscribing and retrieving, whatever the access model (XEP-0060 §4.1). */
export function keptOut(affiliation: Affiliation): boolean {
  return affiliation === 'outcast' || affiliation === 'publish-only';
}

/** Null: it may subscribe; else why not (XEP-0060 §6.1.3). `authorize` lets everybody ask. */
export function refuseSubscriber(facts: Facts): StanzaError | null {
  const { model, affiliation, seesPresence, inGroup } = facts;
  if (keptOut(affiliation)) return new StanzaError('forbidden');
  if (affiliation === 'owner' || affiliation === 'publisher' || affiliation === 'member') return null;
  if (model === 'presence' && !seesPresence) return refusal('not-authorized', 'presence-subscription-required');
  if (model === 'roster' && !(seesPresence && inGroup)) return refusal('not-authorized', 'not-in-roster-group');
  if (model === 'whitelist') return refusal('not-allowed', 'closed-node');
  return null;
}

/** Null: it may retrieve items; else why not (XEP-0060 §6.5.9). */
export function refuseReader(facts: Facts): StanzaError | null {
  const refused = refuseSubscriber(facts);
  if (refused) return refused;
  const { model, affiliation, subscription } = facts;
  if (model !== 'authorize' || affiliation === 'owner' || affiliation === 'publisher') return null;
  return subscription === 'subscribed' ? null : refusal('not-authorized', 'not-subscribed');
}

/** Whether a subscription needs no owner's approval (XEP-0060 §6.1.4). */
export function subscribesAtOnce({ model, affiliation }: Facts): boolean {
  return model !== 'authorize' || affiliation !== 'none';
}

/** Whether it may publish (XEP-0060 §7.1.3.1). */
export function mayPublish(model: PublishModel, { affiliation, subscription }: Facts): boolean {
  if (affiliation === 'owner' || affiliation === 'publisher' || affiliation === 'publish-only') return true;
  if (affiliation === 'outcast') return false;
  return model === 'open' || (model === 'subscribers' && subscription === 'subscribed');
}

/** Whether it may retract an item (XEP-0060 §4.1, §7.2.3.1): owners and publishers any, others what they published. */
export function mayRetract(facts: Facts, publishes: boolean, own: boolean): boolean {
  return facts.affiliation === 'owner' || facts.affiliation === 'publisher' || (publishes && own);
}
