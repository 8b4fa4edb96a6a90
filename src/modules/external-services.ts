// Services outside of XMPP, such as TURN relays, with credentials that end by themselves (XEP-0215).
import { createHmac, hash } from 'node:crypto';
import type { ExternalService } from '../hub/config.ts';
import type { Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';

export const externalServices: Module = {
  name: 'external-services',
  implements: ['XEP-0215'],
  start(hub) {
    hub.feature('domain', ns.externalServices);
    hub.iq(ns.externalServices, 'services', 'domain', request => {
      const known = permitted(hub, request);
      const { type } = request.query.attrs;
      const wanted = known.filter(service => type === undefined || service.type === type);
      return el(
        'services',
        ns.externalServices,
        { type },
        ...wanted.map(service => element(service, credentials(service, request.from))),
      );
    });
    hub.iq(ns.externalServices, 'credentials', 'domain', request => {
      const known = permitted(hub, request);
      const asked = request.query.all('service');
      if (asked.length !== 1) throw new StanzaError('bad-request', 'credentials are asked for one service');
      const { host, type, port } = asked[0].attrs;
      if (!host || !type) throw new StanzaError('bad-request', 'a service is asked for by host and type');
      const found = known.filter(
        service =>
          service.host.toLowerCase() === host.toLowerCase() &&
          service.type === type &&
          (port === undefined || String(service.port) === port),
      );
      // One that takes everybody is told without credentials: the client learns that it needs none.
      if (found.length === 0) throw new StanzaError('item-not-found', 'there is no such service');
      return el(
        'credentials',
        ns.externalServices,
        {},
        ...found.map(service => element(service, credentials(service, request.from))),
      );
    });
  },
};

/** The services that the asked domain tells this sender of. Throws `forbidden` for strangers (XEP-0215 §2). */
function permitted(hub: Hub, { stanza, from, to }: Request): ExternalService[] {
  if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'services can only be asked for');
  const offered = hub.config.externalServices.filter(
    ({ domains }) => domains.length === 0 || domains.includes(to.domain),
  );
  const own = from.domain === to.domain;
  const known = offered.filter(
    ({ access }) => own || access.includes(from.domain) || access.includes(from.bare.toString()),
  );
  if (!own && known.length === 0) throw new StanzaError('forbidden', 'the services of this domain are for its users');
  return known;
}

interface Credentials {
  username?: string;
  password?: string;
  expires?: string;
}

/**
 * Fixed credentials, or some made for this user: the user name carries when they end, the password is its HMAC under
 * the secret that the service has as well (draft-uberti-behave-turn-rest-00 §2.2).
 */
function credentials(service: ExternalService, user: Jid): Credentials {
  const { secret, username, password, lifetime } = service;
  if (!secret) return username ? { username, password } : {};
  const ends = Math.floor((Date.now() + lifetime) / 1000);
  // A relay's log tells users apart, and does not tell who they are.
  const made = `${ends}:${hash('sha256', `${secret} ${user.bare}`, 'hex').slice(0, 16)}`;
  return {
    username: made,
    password: createHmac('sha1', secret).update(made).digest('base64'),
    expires: new Date(ends * 1000).toISOString().replace('.000', ''),
  };
}

function element({ host, port, type, transport, name }: ExternalService, given: Credentials): Element {
  const { username, password, expires } = given;
  return el('service', ns.externalServices, {
    host,
    port: port === 0 ? undefined : String(port),
    type,
    transport: transport || undefined,
    name: name || undefined,
    username,
    password,
    expires,
    restricted: username ? 'true' : undefined,
  });
}
