// In-band registration: new accounts where that is permitted, passwords and leaving for those who have one (XEP-0077).
import type { Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError, StreamError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';

/** New accounts from one address in one hour. */
const mostPerHour = 5;

export const registration: Module = {
  name: 'registration',
  implements: ['XEP-0077'],
  start(hub) {
    const made = new Map<string, { count: number; since: number }>();
    hub.iq(ns.register, 'query', 'own-account', request => manage(hub, request));
    hub.iq(ns.register, 'query', 'domain', request => {
      if (!request.session) throw new StanzaError('service-unavailable');
      return manage(hub, request);
    });
    if (hub.config.clients.registration) hub.feature('domain', ns.register);
    hub.registrar = async (domain, stanza, query, remote) => {
      const writable = hub.directory(domain)?.writable;
      if (!writable) throw new StanzaError('service-unavailable', 'accounts are not made here');
      if (stanza.type === 'get') return stanza.result(form(null));
      const user = query.childText('username');
      const password = query.childText('password');
      const jid = Jid.tryParse(`${user}@${domain}`);
      if (!user || !password || !jid?.local)
        throw new StanzaError('not-acceptable', 'a username and a password are needed');
      count(made, remote);
      await writable.add(jid.local, password);
      hub.log.info({ jid: jid.toString(), remote }, 'account registered');
      return stanza.result();
    };
  },
};

function form(user: string | null): Element {
  return el(
    'query',
    ns.register,
    {},
    user === null
      ? el('instructions', ns.register, {}, 'Choose a username and a password.')
      : el('registered', ns.register),
    el('username', ns.register, {}, user ?? ''),
    el('password', ns.register),
  );
}

function count(made: Map<string, { count: number; since: number }>, remote: string): void {
  const now = Date.now();
  if (made.size > 10_000) made.clear();
  const known = made.get(remote);
  const entry = known && now - known.since < 3_600_000 ? known : { count: 0, since: now };
  made.set(remote, entry);
  if (++entry.count > mostPerHour) {
    throw new StanzaError(
      'resource-constraint',
      `no more than ${mostPerHour} accounts an hour from one address`,
      'wait',
    );
  }
}

/** XEP-0077 §3.2, §3.3. */
async function manage(hub: Hub, { from, query, stanza }: Request): Promise<Element | Stanza | null> {
  const writable = hub.directory(from.domain)?.writable;
  if (!writable) throw new StanzaError('service-unavailable', 'accounts are kept elsewhere');
  if (stanza.type === 'get') return form(from.local);
  if (query.child('remove')) {
    await writable.remove(from.local);
    await removeAccount(hub, from.bare);
    return null;
  }
  const user = query.childText('username');
  const password = query.childText('password');
  if (!password || (user && Jid.tryParse(`${user}@${from.domain}`)?.local !== from.local)) {
    throw new StanzaError(password ? 'not-allowed' : 'bad-request', 'the password of one’s own account can be changed');
  }
  await writable.setPassword(from.local, password);
  return null;
}

/** Ends the sessions of an account that is gone and forgets what was kept for it. */
export async function removeAccount(hub: Hub, user: Jid): Promise<void> {
  const sessions = [...hub.sessions.of(user)];
  await hub.emit('account-removed', user.bare);
  await hub.store.durable();
  setImmediate(() => {
    for (const session of sessions) session.end(new StreamError('not-authorized', 'the account was removed'));
  });
}
