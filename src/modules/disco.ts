// Service discovery for the domain and for accounts (XEP-0030), with forms (XEP-0128) and the nodes that modules know.
import type { DiscoIdentity, DiscoNodes, Hub, Module, Request } from '../hub/module.ts';
import { Element, el } from '../xmpp/element.ts';
import { type StanzaCondition, StanzaError } from '../xmpp/errors.ts';
import { formElement } from '../xmpp/form.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { rostersOf } from './rosters.ts';

export const disco: Module = {
  name: 'disco',
  implements: ['XEP-0030', 'XEP-0128'],
  start(hub) {
    hub.identity('domain', { category: 'server', type: 'im', name: 'Isthmus' });
    hub.identity('account', { category: 'account', type: 'registered' });
    hub.feature('domain', ns.discoInfo, ns.discoItems);
    hub.feature('account', ns.discoInfo, ns.discoItems);
    hub.iq(ns.discoInfo, 'query', 'any', request => info(hub, request));
    hub.iq(ns.discoItems, 'query', 'any', request => items(hub, request));
  },
};

/** An item of disco#items. */
export interface DiscoItem {
  readonly jid: string;
  readonly node?: string;
  readonly name?: string;
}

/** What a disco#info result holds (XEP-0030 §3.1). */
export function infoElement(
  node: string,
  identities: readonly DiscoIdentity[],
  features: readonly string[],
  forms: readonly Element[] = [],
): Element {
  return el(
    'query',
    ns.discoInfo,
    { node: node || undefined },
    ...identities.map(({ category, type, name }) => el('identity', ns.discoInfo, { category, type, name })),
    ...features.map(feature => el('feature', ns.discoInfo, { var: feature })),
    ...forms,
  );
}

/** What a disco#items result holds (XEP-0030 §4.1). */
export function itemsElement(node: string, listed: readonly DiscoItem[]): Element {
  return el(
    'query',
    ns.discoItems,
    { node: node || undefined },
    ...listed.map(({ jid, node: at, name }) => el('item', ns.discoItems, { jid, node: at, name })),
  );
}

async function info(hub: Hub, request: Request): Promise<Element> {
  const node = nodeOf(request);
  const of = request.to.isDomain ? 'domain' : 'account';
  if (node !== '') {
    const found = await ofNode(hub, request, nodes => nodes.info?.(node, request));
    // To strangers an account's unknown node and an unknown account look the same (XEP-0030 §8).
    return found ?? refuse((await maySee(hub, request)) ? 'item-not-found' : 'service-unavailable');
  }
  if (!(await maySee(hub, request))) refuse('service-unavailable');
  return ownInfo(hub, of, request.to.domain);
}

/** What a domain, or an account there, says of itself. */
export function ownInfo(hub: Hub, of: 'domain' | 'account', domain: string): Element {
  // What it is in the first place stands in the first place (XEP-0030 §3.1).
  const primary = of === 'domain' ? 'server' : 'account';
  const identities = hub.identities(of, domain);
  const sorted = [...identities].sort((a, b) => Number(b.category === primary) - Number(a.category === primary));
  const forms = hub.discoForms(of, domain).map(form => formElement('result', form));
  return infoElement('', sorted, hub.features(of, domain), forms);
}

async function items(hub: Hub, request: Request): Promise<Element> {
  const node = nodeOf(request);
  if (request.to.isDomain && node === '') return itemsElement('', hub.items(request.to.domain));
  const found = await ofNode(hub, request, nodes => nodes.items?.(node, request));
  if (node === '') {
    const devices = (await maySee(hub, request)) ? available(hub, request.to) : [];
    return new Element('query', ns.discoItems, {}, [...devices, ...(found?.children ?? [])]);
  }
  if (found) return found;
  if (await maySee(hub, request)) refuse('item-not-found');
  // A stranger gets an empty list whether or not there is such an account (XEP-0030 §8).
  return itemsElement(node, []);
}

/** The available resources of an account, as items (XEP-0030 §4.1). */
function available(hub: Hub, account: Jid): Element[] {
  const sessions = hub.sessions.of(account).filter(({ presence }) => presence !== null);
  return sessions.map(({ jid }) => el('item', ns.discoItems, { jid: jid.toString() }));
}

function refuse(condition: StanzaCondition): never {
  throw new StanzaError(condition);
}

function nodeOf({ stanza, query }: Request): string {
  if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'discovery only asks');
  return query.attrs.node ?? '';
}

/** The answer of the first who knows the node; what it refuses to tell a stranger looks like nothing. */
async function ofNode(
  hub: Hub,
  request: Request,
  ask: (nodes: DiscoNodes) => Element | null | undefined | Promise<Element | null>,
): Promise<Element | null> {
  for (const nodes of hub.nodesAt(request.to.domain)) {
    try {
      const answer = await ask(nodes);
      if (answer) return answer;
    } catch (error) {
      if (error instanceof StanzaError && !(await maySee(hub, request))) return null;
      throw error;
    }
  }
  return null;
}

/** Whether the sender may know of the entity: everybody of a domain, those who see its presence of an account. */
async function maySee(hub: Hub, { to, from }: Request): Promise<boolean> {
  if (to.isDomain || from.bare.equals(to.bare)) return true;
  if (rostersOf(hub).item(to, from)?.from !== true) return false;
  return (await hub.directory(to.domain)?.find(to.local)) != null;
}
