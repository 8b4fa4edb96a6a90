// Service discovery for the domain and for accounts, and for the nodes that modules add to them (XEP-0030, XEP-0128).
import type { DiscoIdentity, DiscoItem, DiscoNode, Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import { rostersOf } from './rosters.ts';

export const disco: Module = {
  name: 'disco',
  implements: ['XEP-0030'],
  start(hub) {
    hub.identity('domain', { category: 'server', type: 'im', name: 'Isthmus' });
    hub.identity('account', { category: 'account', type: 'registered' });
    hub.feature('domain', ns.discoInfo, ns.discoItems);
    hub.feature('account', ns.discoInfo, ns.discoItems);
    hub.iq(ns.discoInfo, 'query', 'any', request => info(hub, request));
    hub.iq(ns.discoItems, 'query', 'any', request => items(hub, request));
  },
};

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
  const open = await maySee(hub, request);
  if (node === '') {
    if (!open) throw new StanzaError('service-unavailable');
    const own = await hub.discoNode(request, '');
    return infoElement('', hub.identities(of), hub.features(of), own?.forms);
  }
  const found = await findNode(hub, request, node);
  // To strangers an account's unknown node and an unknown account look the same (XEP-0030 §8).
  if (!found) throw new StanzaError(open ? 'item-not-found' : 'service-unavailable');
  return infoElement(node, found.identities ?? [], found.features ?? [], found.forms);
}

async function items(hub: Hub, request: Request): Promise<Element> {
  const node = nodeOf(request);
  const found = await findNode(hub, request, node);
  if (found) {
    const added = request.to.isDomain && node === '' ? hub.items(request.to.domain) : [];
    return itemsElement(node, [...added, ...(found.items ?? [])]);
  }
  if (node === '') return itemsElement('', request.to.isDomain ? hub.items(request.to.domain) : []);
  if (await maySee(hub, request)) throw new StanzaError('item-not-found');
  // A stranger gets an empty list whether or not there is such an account (XEP-0030 §8).
  return itemsElement(node, []);
}

function nodeOf({ stanza, query }: Request): string {
  if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'discovery only asks');
  return query.attrs.node ?? '';
}

/** What a module says of a node; what it refuses to tell looks like nothing. */
async function findNode(hub: Hub, request: Request, node: string): Promise<DiscoNode | null> {
  try {
    return await hub.discoNode(request, node);
  } catch (error) {
    if (error instanceof StanzaError && !(await maySee(hub, request))) return null;
    throw error;
  }
}

/** Whether the sender may know of the entity: everybody of a domain, those who see its presence of an account. */
async function maySee(hub: Hub, { to, from }: Request): Promise<boolean> {
  if (to.isDomain || from.bare.equals(to.bare)) return true;
  if (rostersOf(hub).item(to, from)?.from !== true) return false;
  return (await hub.directory(to.domain)?.find(to.local)) != null;
}
