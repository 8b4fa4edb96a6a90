// Messages for users who are not online are kept for them (XEP-0160).
import type { Hub, Module, Session } from '../hub/module.ts';
import { el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';

const schema = [
  `CREATE TABLE offline (id INTEGER PRIMARY KEY, user TEXT NOT NULL, stanza BLOB NOT NULL, at INTEGER NOT NULL);
   CREATE INDEX offline_user ON offline (user, id)`,
];

export const offline: Module = {
  name: 'offline',
  implements: ['XEP-0160', 'XEP-0203'],
  start(hub) {
    hub.store.migrate('offline', schema);
    hub.feature('domain', 'msgoffline');
    hub.on('message-undelivered', stanza => (keeps(hub, stanza) ? keep(hub, stanza) : false));
    hub.on('session-available', session => {
      if (session.priority >= 0) deliver(hub, session);
    });
    hub.on('session-sent', (session, stanza) => {
      // A first presence of negative priority left them where they are; a later one may take them.
      if (stanza.name === 'presence' && stanza.to === null && stanza.type === '' && session.priority < 0) {
        setImmediate(() => session.presence && session.priority >= 0 && deliver(hub, session));
      }
      return false;
    });
    hub.on('account-removed', user => {
      hub.store.prepare('DELETE FROM offline WHERE user = ?').run(user.bare.toString());
    });
  },
};

/** XEP-0160 §3: chat and normal messages that say something. */
function keeps(hub: Hub, stanza: Stanza): boolean {
  const { store, exceptions } = hub.config.offline;
  if (store === exceptions.includes(stanza.to!.domain)) return false;
  if (stanza.type !== '' && stanza.type !== 'normal' && stanza.type !== 'chat') return false;
  if (stanza.has('no-store', ns.hints) || stanza.has('no-permanent-store', ns.hints)) return false;
  if (stanza.has('store', ns.hints)) return true;
  if (stanza.type !== 'chat') return stanza.index.length > 0;
  const states = ['active', 'composing', 'paused', 'inactive', 'gone'];
  return stanza.children.some(
    child => child.name !== 'thread' && !(child.ns === ns.chatStates && states.includes(child.name)),
  );
}

async function keep(hub: Hub, stanza: Stanza): Promise<boolean> {
  const user = stanza.to!.bare.toString();
  const row = hub.store.prepare('SELECT count(*) AS n FROM offline WHERE user = ?').get(user);
  if (Number(row?.n) >= hub.config.offline.messages) {
    throw new StanzaError('service-unavailable', `${row?.n} messages wait for ${user} already`);
  }
  const now = new Date();
  const stamped = stanza.has('delay', ns.delay)
    ? stanza
    : stanza.with(el('delay', ns.delay, { from: stanza.to!.domain, stamp: now.toISOString() }));
  hub.store
    .prepare('INSERT INTO offline (user, stanza, at) VALUES (?, ?, ?)')
    .run(user, stamped.toBytes(), now.getTime());
  await hub.store.durable();
  await hub.emit('message-kept', stanza, Number(row?.n) + 1);
  return true;
}

/** Writes what is kept to the session, oldest first; what it does not acknowledge comes back through the router. */
function deliver(hub: Hub, session: Session): void {
  const user = session.jid.bare.toString();
  const rows = hub.store.prepare('SELECT id, stanza FROM offline WHERE user = ? ORDER BY id').all(user);
  for (const row of rows) session.send(Stanza.parse(row.stanza as Uint8Array));
  if (rows.length > 0) {
    hub.store.prepare('DELETE FROM offline WHERE user = ? AND id <= ?').run(user, rows[rows.length - 1].id);
  }
}
