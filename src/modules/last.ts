// When somebody was last here, and how long the server has been up (XEP-0012).
import type { Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { rostersOf } from './rosters.ts';

const schema = [
  'CREATE TABLE last_activity (user TEXT PRIMARY KEY, login INTEGER, logout INTEGER, status TEXT) WITHOUT ROWID',
];

const longestStatus = 1024;

export const last: Module = {
  name: 'last',
  implements: ['XEP-0012'],
  start(hub) {
    const since = Date.now();
    hub.store.migrate('last', schema);
    hub.feature('domain', ns.last);
    hub.feature('account', ns.last);
    hub.iq(ns.last, 'query', 'any', request => {
      const { stanza, to } = request;
      if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'last activity can only be asked for');
      return to.isDomain ? answer(Date.now() - since) : ofAccount(hub, request);
    });
    hub.filter((stanza, origin) => {
      // A client is not bothered by somebody who may not know either (XEP-0012 §4).
      const asks = stanza.name === 'iq' && stanza.type === 'get' && origin.kind !== 'hub';
      const { from, to } = stanza;
      if (!asks || !from || !to?.local || !to.resource || stanza.firstChild?.ns !== ns.last) return stanza;
      if (hub.hosts(to.domain) && !mayAsk(hub, from, to)) throw new StanzaError('forbidden');
      return stanza;
    });
    hub.on('session-opened', session => {
      hub.store
        .prepare(
          'INSERT INTO last_activity (user, login) VALUES (?, ?) ON CONFLICT (user) DO UPDATE SET login = excluded.login',
        )
        .run(session.jid.bare.toString(), Date.now());
    });
    hub.on('session-unavailable', (session, presence) => {
      const others = hub.sessions.of(session.jid).some(other => other !== session && other.presence !== null);
      // An account that was removed leaves nothing.
      if (others || hub.directory(session.jid.domain)?.find(session.jid.local) === null) return;
      hub.store
        .prepare(
          `INSERT INTO last_activity (user, logout, status) VALUES (?, ?, ?)
           ON CONFLICT (user) DO UPDATE SET logout = excluded.logout, status = excluded.status`,
        )
        .run(session.jid.bare.toString(), Date.now(), presence.text('status').slice(0, longestStatus));
    });
    hub.on('account-removed', user => {
      hub.store.prepare('DELETE FROM last_activity WHERE user = ?').run(user.bare.toString());
    });
  },
};

/** XEP-0012 §3, §4: only those who would see the presence learn when it was last there. */
function ofAccount(hub: Hub, { from, to }: Request): Element {
  if (!mayAsk(hub, from, to)) throw new StanzaError('forbidden', 'only those who may see the presence may ask');
  if (hub.sessions.of(to).length > 0) return answer(0);
  const row = hub.store.prepare('SELECT logout, status FROM last_activity WHERE user = ?').get(to.bare.toString());
  if (typeof row?.logout !== 'number') throw new StanzaError('item-not-found', 'never seen here');
  return answer(Date.now() - row.logout, String(row.status ?? ''));
}

function mayAsk(hub: Hub, from: Jid, to: Jid): boolean {
  return from.bare.equals(to.bare) || rostersOf(hub).item(to, from)?.from === true;
}

function answer(ms: number, status = ''): Element {
  return el('query', ns.last, { seconds: String(Math.max(0, Math.floor(ms / 1000))) }, status);
}

/** When somebody last logged in, in ms of Unix time; null where nobody knows. */
export function lastLogin(hub: Hub, user: Jid): number | null {
  const row = hub.store.prepare('SELECT login FROM last_activity WHERE user = ?').get(user.bare.toString());
  return typeof row?.login === 'number' ? row.login : null;
}
