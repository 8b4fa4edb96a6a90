// Services outside of XMPP, such as TURN relays, with credentials that end by themselves (XEP-0215).
import { createHmac, hash } from 'node:crypto';
import type { ExternalService } from '../hub/config.ts';
import type { Hub, Module, Request, Session } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';

/** The lists that a session has asked for, as `domain type` with a type of '' for all: it hears of their changes. */
const asked = Symbol('lists of external services');
const mostAsked = 20;

export const externalServices: Module = {
  name: 'external-services',
  implements: ['XEP-0215'],
  start(hub) {
    hub.feature('domain', ns.externalServices);
    hub.iq(ns.externalServices, 'services', 'domain', request => {
      const known = permitted(hub, request);
      const { type } = request.query.attrs;
      if (request.session) note(request.session, `${request.to} ${type ?? ''}`);
      const wanted = known.filter(service => type === undefined || service.type === type);
      return list(
        type,
        wanted.map(service => element(service, credentials(service, request.from))),
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
    let before = hub.config.externalServices;
    hub.on('reloaded', ({ externalServices: now }) => {
      for (const session of hub.sessions.all()) tell(session, before, now);
      before = now;
    });
  },
};

function list(type: string | undefined, services: Element[]): Element {
  return el('services', ns.externalServices, { type }, ...services);
}

function note(session: Session, what: string): void {
  const known = (session.notes.get(asked) as Set<string> | undefined) ?? new Set<string>();
  session.notes.set(asked, known);
  if (known.size < mostAsked) known.add(what);
}

let pushes = 0;

/** Pushes to a session what has changed in the lists that it has asked for (XEP-0215 §3.2). */
function tell(session: Session, before: readonly ExternalService[], now: readonly ExternalService[]): void {
  for (const what of (session.notes.get(asked) as Set<string> | undefined) ?? []) {
    const [domain, type] = what.split(' ');
    const told = (services: readonly ExternalService[]) =>
      offered(services, session.jid, domain).filter(service => type === '' || service.type === type);
    const changes = changed(told(before), told(now), session.jid);
    if (changes.length === 0) continue;
    const fields = { from: Jid.of('', domain, ''), to: session.jid, type: 'set', id: `services-${++pushes}` };
    session.send(Stanza.of('iq', fields, list(type || undefined, changes)));
  }
}

/** What has to be said of two lists to one who knows the first. */
function changed(before: readonly ExternalService[], now: readonly ExternalService[], user: Jid): Element[] {
  const addressOf = ({ type, host, port, transport }: ExternalService) => `${type} ${host} ${port} ${transport}`;
  const known = new Map(before.map(service => [addressOf(service), JSON.stringify(service)]));
  const changes: Element[] = [];
  for (const service of now) {
    const earlier = known.get(addressOf(service));
    known.delete(addressOf(service));
    if (earlier === JSON.stringify(service)) continue;
    const action = earlier === undefined ? 'add' : 'modify';
    changes.push(element(service, credentials(service, user)).withAttrs({ action }));
  }
  const gone = before.filter(service => known.has(addressOf(service)));
  return [...changes, ...gone.map(service => element(service, {}).withAttrs({ action: 'delete' }))];
}

/** The services that the asked domain tells this sender of. Throws `forbidden` for strangers (XEP-0215 §2). */
function permitted(hub: Hub, { stanza, from, to }: Request): ExternalService[] {
  if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'services can only be asked for');
  const known = offered(hub.config.externalServices, from, to.domain);
  const own = from.domain === to.domain;
  if (!own && known.length === 0) throw new StanzaError('forbidden', 'the services of this domain are for its users');
  return known;
}

/** Of the services, those that a domain tells a user of. */
function offered(services: readonly ExternalService[], user: Jid, domain: string): ExternalService[] {
  const own = user.domain === domain;
  return services.filter(
    ({ domains, access }) =>
      (domains.length === 0 || domains.includes(domain)) &&
      (own || access.includes(user.domain) || access.includes(user.bare.toString())),
  );
}

interface Credentials {
  username?: string;
  password?: string;
  expires?: string;
}

/** A part of their lifetime in which the same credentials are given again: what clients compare and keep is stable. */
const stable = 1 / 16;

/**
 * Fixed credentials, or some made for this user: the user name carries when they end, the password is its HMAC under
 * the secret that the service has as well (draft-uberti-behave-turn-rest-00 §2.2).
 */
function credentials(service: ExternalService, user: Jid): Credentials {
  const { secret, username, password, lifetime } = service;
  if (!secret) return username ? { username, password } : {};
  const step = Math.max(1, Math.floor((lifetime / 1000) * stable));
  const ends = Math.floor((Date.now() + lifetime) / 1000 / step) * step;
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
