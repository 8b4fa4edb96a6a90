// What owners do with the others at a node: their subscriptions and affiliations (XEP-0060 §8.8, §8.9).
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { keptOut } from './access.ts';
import { decide } from './approval.ts';
import { tellAffiliation, tellSubscription } from './events.ts';
import { affiliationOf, type Host } from './host.ts';
import { type Affiliation, affiliations, limits, type Node } from './node.ts';
import { bareOf } from './nodes.ts';
import { owner } from './owner.ts';
import { type Call, jidIn, ownedNode, type UseCases } from './requests.ts';

export const memberCases: UseCases = {
  'get subscriptions': call => {
    const node = ownedNode(call);
    const listed = [...call.host.nodes.subscriptions(node).values()].filter(({ state }) => state === 'subscribed');
    return owner(
      el(
        'subscriptions',
        ns.pubsubOwner,
        { node: node.name },
        ...listed.map(({ jid, state }) => el('subscription', ns.pubsubOwner, { jid, subscription: state })),
      ),
    );
  },
  'set subscriptions': setSubscriptions,
  'get affiliations': call => {
    const node = ownedNode(call);
    const listed = new Map<string, Affiliation>(call.host.nodes.affiliations(node));
    for (const jid of call.host.owners(node)) listed.set(jid.toString(), 'owner');
    return owner(
      el(
        'affiliations',
        ns.pubsubOwner,
        { node: node.name },
        ...[...listed].map(([jid, affiliation]) => el('affiliation', ns.pubsubOwner, { jid, affiliation })),
      ),
    );
  },
  'set affiliations': setAffiliations,
};

const mostChanges = 500;

function entriesIn(action: Element, name: string): Element[] {
  const entries = action.all(name);
  if (entries.length > mostChanges) throw new StanzaError('not-acceptable', `at most ${mostChanges} at a time`);
  return entries;
}

/** What could not be changed, as it still is, under the error (XEP-0060 §8.8.2.3, §8.9.2.3). */
function refuseSome(node: Node, list: string, wrong: readonly Element[]): StanzaError {
  const rest = owner(el(list, ns.pubsubOwner, { node: node.name }, ...wrong));
  return new PartlyRefused(rest);
}

/** Some of a list of changes were made and some not: the answer carries those. */
export class PartlyRefused extends StanzaError {
  readonly rest: Element;

  constructor(rest: Element) {
    super('not-acceptable', 'some of these cannot be changed so');
    this.rest = rest;
  }

  /** The answer to a request: the error, beside what was not changed. */
  answerTo(request: Stanza): Stanza {
    const { to, from, id } = request;
    const bare = Stanza.of('iq', { from, to, id, type: 'set' }, this.rest);
    return bare.refuse(this);
  }
}

async function setSubscriptions(call: Call): Promise<null> {
  const { host, action } = call;
  const node = ownedNode(call);
  const wrong: Element[] = [];
  for (const entry of entriesIn(action, 'subscription')) {
    const jid = jidIn(entry);
    const { subscription } = entry.attrs;
    if (subscription === undefined && jid) continue;
    if (jid && (await setSubscription(host, node, jid, subscription))) continue;
    const current = jid ? (host.nodes.subscriptions(node).get(jid.toString())?.state ?? 'none') : 'none';
    wrong.push(el('subscription', ns.pubsubOwner, { jid: entry.attrs.jid, subscription: current }));
  }
  await host.hub.store.durable();
  if (wrong.length > 0) throw refuseSome(node, 'subscriptions', wrong);
  return null;
}

/** False where that cannot be. */
async function setSubscription(host: Host, node: Node, jid: Jid, wanted: string): Promise<boolean> {
  const subscriptions = host.nodes.subscriptions(node);
  const existing = subscriptions.get(jid.toString());
  if (wanted === 'none') {
    if (existing) host.nodes.unsubscribe(node, jid.toString());
  } else if (wanted === 'subscribed') {
    if (existing?.state === 'pending') {
      await decide(host, node, jid, true);
      return true;
    }
    if (!existing && subscriptions.size >= limits.subscriptions) return false;
    // Nobody is subscribed whom the node keeps out.
    if (keptOut(affiliationOf(host, node, jid))) return false;
    if (!existing) host.nodes.subscribe(node, { jid: jid.toString(), state: 'subscribed', deliver: true });
  } else return false;
  if ((wanted === 'none') === (existing !== undefined)) tellSubscription(host, node, jid, wanted);
  return true;
}

async function setAffiliations(call: Call): Promise<null> {
  const { host, action } = call;
  const node = ownedNode(call);
  const entries = entriesIn(action, 'affiliation');
  const named = entries.flatMap(entry => jidIn(entry)?.bare.toString() ?? []);
  if (new Set(named).size !== named.length) throw new StanzaError('bad-request', 'each JID stands there once');
  const wrong: Element[] = [];
  for (const entry of entries) {
    const jid = jidIn(entry)?.bare ?? null;
    const { affiliation } = entry.attrs;
    if (affiliation === undefined && jid) continue;
    if (jid && (await setAffiliation(host, node, jid, affiliation as Affiliation))) continue;
    const current = jid ? affiliationOf(host, node, jid) : 'none';
    wrong.push(el('affiliation', ns.pubsubOwner, { jid: entry.attrs.jid, affiliation: current }));
  }
  await host.hub.store.durable();
  if (wrong.length > 0) throw refuseSome(node, 'affiliations', wrong);
  return null;
}

/** False where that cannot be: there is always an owner, and an account always owns its own nodes. */
async function setAffiliation(host: Host, node: Node, jid: Jid, wanted: Affiliation): Promise<boolean> {
  if (!affiliations.includes(wanted)) return false;
  const implied = host.implied(node, jid);
  if (implied) return implied === wanted;
  const bare = jid.toString();
  const current = host.nodes.affiliation(node, bare);
  if (current === wanted) return true;
  if (current === 'owner' && host.owners(node).length === 1) return false;
  if (current === 'none' && host.nodes.affiliations(node).size >= limits.affiliations) return false;
  host.nodes.affiliate(node, bare, wanted);
  await settleSubscriptions(host, node, bare, wanted);
  tellAffiliation(host, node, jid, wanted);
  return true;
}

/** What an affiliation means for subscriptions: outcasts lose theirs, owners and publishers need not wait (XEP-0060 §8.7.4). */
async function settleSubscriptions(host: Host, node: Node, bare: string, affiliation: Affiliation): Promise<void> {
  for (const [text, { state }] of [...host.nodes.subscriptions(node)]) {
    if (bareOf(text) !== bare) continue;
    const jid = Jid.parse(text);
    if (keptOut(affiliation)) {
      host.nodes.unsubscribe(node, text);
      tellSubscription(host, node, jid, 'none');
    } else if (state === 'pending' && affiliation !== 'none') {
      await decide(host, node, jid, true);
    }
  }
}
