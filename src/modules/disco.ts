// Service discovery for the domain and for accounts (XEP-0030).
import type { Hub, Module, Request } from '../hub/module.ts';
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

/** Which list answers a request; what must not be known of an account looks like there is none (XEP-0030 §8). */
function subject(hub: Hub, request: Request): 'domain' | 'account' {
  const { to, from, stanza, query } = request;
  if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'discovery only asks');
  const seen = to.isDomain || from.bare.equals(to.bare) || rostersOf(hub).item(to, from)?.from === true;
  if (!seen) throw new StanzaError('service-unavailable');
  if (query.attrs.node) throw new StanzaError('item-not-found');
  return to.isDomain ? 'domain' : 'account';
}

function info(hub: Hub, request: Request): Element {
  const of = subject(hub, request);
  return el(
    'query',
    ns.discoInfo,
    {},
    ...hub.identities(of).map(({ category, type, name }) => el('identity', ns.discoInfo, { category, type, name })),
    ...hub.features(of).map(feature => el('feature', ns.discoInfo, { var: feature })),
  );
}

function items(hub: Hub, request: Request): Element {
  const of = subject(hub, request);
  const listed = of === 'domain' ? hub.items(request.to.domain) : [];
  return el('query', ns.discoItems, {}, ...listed.map(({ jid, name }) => el('item', ns.discoItems, { jid, name })));
}
