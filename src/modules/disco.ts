// Service discovery for the domain and for accounts (XEP-0030), with forms (XEP-0128) and the nodes that modules know.
import type { DiscoNodes, Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { formElement } from '../xmpp/form.ts';
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

/** Which list answers a request; what must not be known of an account looks like there is none (XEP-0030 §8). */
function subject(hub: Hub, request: Request): 'domain' | 'account' {
  const { to, from, stanza } = request;
  if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'discovery only asks');
  const seen = to.isDomain || from.bare.equals(to.bare) || rostersOf(hub).item(to, from)?.from === true;
  if (!seen) throw new StanzaError('service-unavailable');
  return to.isDomain ? 'domain' : 'account';
}

async function info(hub: Hub, request: Request): Promise<Element> {
  const of = subject(hub, request);
  const { domain } = request.to;
  const { node } = request.query.attrs;
  if (node) return ofNode(hub.nodesAt(domain), nodes => nodes.info?.(node, request));
  return el(
    'query',
    ns.discoInfo,
    {},
    ...hub
      .identities(of, domain)
      .map(({ category, type, name }) => el('identity', ns.discoInfo, { category, type, name })),
    ...hub.features(of, domain).map(feature => el('feature', ns.discoInfo, { var: feature })),
    ...hub.discoForms(of, domain).map(form => formElement('result', form)),
  );
}

async function items(hub: Hub, request: Request): Promise<Element> {
  const of = subject(hub, request);
  const { domain } = request.to;
  const { node } = request.query.attrs;
  if (node) return ofNode(hub.nodesAt(domain), nodes => nodes.items?.(node, request));
  const listed = of === 'domain' ? hub.items(domain) : [];
  return el('query', ns.discoItems, {}, ...listed.map(({ jid, name }) => el('item', ns.discoItems, { jid, name })));
}

/** The answer of the first who knows the node (XEP-0030 §3.2, §4.2). */
async function ofNode(
  known: readonly DiscoNodes[],
  ask: (nodes: DiscoNodes) => Element | null | undefined | Promise<Element | null>,
): Promise<Element> {
  for (const nodes of known) {
    const answer = await ask(nodes);
    if (answer) return answer;
  }
  throw new StanzaError('item-not-found');
}
