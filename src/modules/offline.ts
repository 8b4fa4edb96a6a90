// Messages for users who are not online are kept for them (XEP-0160).
import type { Hub, Module, Session } from '../hub/module.ts';
import { isAside, saysMoreThanState } from '../xmpp/chat-states.ts';
import { el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { stableId } from './archive/stable-ids.ts';
import { portableOffline } from './portable.ts';

const schema = [
  `CREATE TABLE offline (id INTEGER PRIMARY KEY, user TEXT NOT NULL, stanza BLOB NOT NULL, at INTEGER NOT NULL);
   CREATE INDEX offline_user ON offline (user, id)`,
];

/** As many messages are under way at once to a client that acknowledges them. */
const portion = 500;

export const offline: Module = {
  name: 'offline',
  portable: portableOffline(schema),
  implements: ['XEP-0160', 'XEP-0203', 'XEP-0334'],
  start(hub) {
    hub.store.migrate('offline', schema);
    const underWay = new UnderWay(hub);
    hub.feature('domain', 'msgoffline');
    hub.on('message-undelivered', stanza => (keeps(hub, stanza) ? keep(hub, underWay, stanza) : false));
    hub.on('session-receptive', session => underWay.deliver(session));
    // A client that binds so reads the archive: it gets from here only what is not in there (XEP-0386 §3.2).
    hub.atBind(null, ({ jid }) => {
      if (hub.enabled('archive', jid.domain)) underWay.dropArchived(jid.bare);
      return null;
    });
    // What a lost session has not taken is still in the store, and goes to the next one from there.
    hub.on('message-returned', (_session, stanza) => underWay.has(stanza));
    hub.on('session-closed', session => underWay.ended(session));
    hub.on('account-removed', user => {
      hub.store.prepare('DELETE FROM offline WHERE user = ?').run(user.bare.toString());
    });
  },
};

/** XEP-0160 §3, XEP-0334: messages of the types `normal` and `chat` that say something. */
function keeps(hub: Hub, stanza: Stanza): boolean {
  const { store, exceptions } = hub.config.offline;
  if (store === exceptions.includes(stanza.to!.domain)) return false;
  if (stanza.type === 'error' || stanza.type === 'groupchat' || stanza.has('no-store', ns.hints)) return false;
  if (stanza.has('store', ns.hints)) return true;
  if (stanza.type === 'headline') return false;
  return stanza.type === 'chat' ? saysMoreThanState(stanza.children) : !stanza.children.every(isAside);
}

/** Keeps a message. Throws a StanzaError where there is no room, unless the archive has it anyway. */
async function keep(hub: Hub, underWay: UnderWay, stanza: Stanza): Promise<boolean> {
  const user = stanza.to!.bare.toString();
  const { domain } = stanza.to!;
  const row = hub.store.prepare('SELECT count(*) AS n FROM offline WHERE user = ?').get(user);
  if (Number(row?.n) >= hub.config.offline.messages) {
    if (stableId(stanza, stanza.to!) !== null) return false;
    throw new StanzaError('service-unavailable', 'no more messages are kept for this user');
  }
  const now = new Date();
  const stamped = isStamped(stanza, domain)
    ? stanza
    : stanza.with(el('delay', ns.delay, { from: domain, stamp: now.toISOString() }));
  hub.store
    .prepare('INSERT INTO offline (user, stanza, at) VALUES (?, ?, ?)')
    .run(user, stamped.toBytes(), now.getTime());
  // Somebody may have come meanwhile.
  underWay.deliverTo(stanza.to!);
  await hub.store.durable();
  await hub.emit('message-kept', stanza, Number(row?.n) + 1);
  return true;
}

/** Whether this domain has said already when the message came. */
function isStamped(stanza: Stanza, domain: string): boolean {
  if (!stanza.has('delay', ns.delay)) return false;
  return stanza.children.some(child => child.is('delay', ns.delay) && child.attrs.from === domain);
}

/** The kept messages that were sent to a session which has not taken them yet. */
class UnderWay {
  readonly #hub: Hub;
  /** By user: whom a row was sent to. */
  readonly #users = new Map<string, Map<number, Session>>();
  readonly #stanzas = new WeakSet<Stanza>();

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  has(stanza: Stanza): boolean {
    return this.#stanzas.has(stanza);
  }

  /**
   * Writes to the session what is kept and not under way, oldest first: a portion at a time, where each is acknowledged.
   * A row goes when its message was taken.
   */
  deliver(session: Session): void {
    const { store, sessions } = this.#hub;
    const user = session.jid.bare.toString();
    const known = this.#users.get(user) ?? new Map<number, Session>();
    // Who has begun gets all of it.
    for (const holder of known.values()) if (holder !== session && isReceptive(holder)) return;
    const most = session.acknowledges ? portion : Number.MAX_SAFE_INTEGER;
    const fresh = store
      .prepare('SELECT id, stanza FROM offline WHERE user = ? ORDER BY id LIMIT ?')
      .all(user, most)
      .filter(row => !known.has(Number(row.id)));
    if (fresh.length === 0) return;
    this.#users.set(user, known);
    for (const row of fresh) {
      const id = Number(row.id);
      // A session that cannot take so much ends meanwhile.
      if (sessions.get(session.jid) !== session) return;
      const message = Stanza.parse(row.stanza as Uint8Array);
      this.#stanzas.add(message);
      known.set(id, session);
      session.send(message);
      session.taken(() => {
        store.prepare('DELETE FROM offline WHERE id = ?').run(id);
        known.delete(id);
        if (known.size === 0) this.#users.delete(user);
      });
    }
    if (session.acknowledges) session.taken(() => this.deliverTo(session.jid));
  }

  /** Forgets what the user's archive has as well. */
  dropArchived(user: Jid): void {
    const { store } = this.#hub;
    const known = this.#users.get(user.toString());
    for (const row of store.prepare('SELECT id, stanza FROM offline WHERE user = ?').all(user.toString())) {
      if (known?.has(Number(row.id)) || stableId(Stanza.parse(row.stanza as Uint8Array), user) === null) continue;
      store.prepare('DELETE FROM offline WHERE id = ?').run(row.id);
    }
  }

  /** The session is gone: what it has not taken goes to another one, if there is one that takes messages. */
  ended(session: Session): void {
    const user = session.jid.bare.toString();
    const known = this.#users.get(user);
    if (!known) return;
    let left = false;
    for (const [id, holder] of known) {
      if (holder !== session) continue;
      known.delete(id);
      left = true;
    }
    if (known.size === 0) this.#users.delete(user);
    // At once: what goes to the account next is younger.
    if (left) this.deliverTo(session.jid);
  }

  /** Writes what is kept to whoever has begun to get it, or else to a session of the user that takes messages. */
  deliverTo(user: Jid): void {
    const holders = this.#users.get(user.bare.toString())?.values() ?? [];
    const receptive = [...holders, ...this.#hub.sessions.of(user)].find(isReceptive);
    if (receptive) this.deliver(receptive);
  }
}

function isReceptive({ presence, priority }: Session): boolean {
  return presence !== null && priority >= 0;
}
