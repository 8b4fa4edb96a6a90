// Presence: broadcasts, probes, directed presence, and the end of a session (RFC 6121 §4).
import type { Hub, Module, Session } from '../hub/module.ts';
import { hubOrigin } from '../hub/router.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { withCaps, withoutKnownCaps } from './caps.ts';
import { compositionOf } from './composition.ts';
import { rostersOf } from './rosters.ts';
import { isSubscription, receiveSubscription, sendSubscription } from './subscription.ts';

/** Whom a session has sent directed presence (RFC 6121 §4.6), and who has answered its broadcasts with an error. */
const directed = Symbol('directed presence');
const failed = Symbol('failed contacts');
const mostDirected = 1_000;

export const presence: Module = {
  name: 'presence',
  implements: ['RFC 6121 §3', 'RFC 6121 §4'],
  start(hub) {
    compositionOf(hub).broadcast = (session, stanza) => broadcast(hub, session, stanza);
    hub.on('session-sent', (session, stanza) => (stanza.name === 'presence' ? sent(hub, session, stanza) : false));
    hub.on('presence-received', stanza => received(hub, stanza));
    hub.on('session-closed', session => {
      if (session.presence)
        goUnavailable(hub, session, Stanza.of('presence', { from: session.jid, type: 'unavailable' }));
      else endDirected(hub, session, Stanza.of('presence', { from: session.jid, type: 'unavailable' }));
    });
  },
};

/** A presence stanza of a local client. True: it is dealt with. */
function sent(hub: Hub, session: Session, stanza: Stanza): boolean | Promise<boolean> {
  const { type, to } = stanza;
  if (isSubscription(type)) {
    if (!to) throw new StanzaError('bad-request', 'a subscription names a contact');
    return sendSubscription(hub, stanza, type).then(() => true);
  }
  if (type === 'probe') return to === null;
  if (type !== '' && type !== 'unavailable' && type !== 'error') throw unknownType(type);
  if (to) {
    if (type !== 'error') noteDirected(session, to, type === '');
    return false;
  }
  if (type === 'error') return true;
  if (type === 'unavailable') {
    if (session.presence) goUnavailable(hub, session, stanza);
    else endDirected(hub, session, stanza);
    return true;
  }
  const priority = priorityOf(stanza);
  const before = session.presence;
  const receptive = priority >= 0 && (before === null || session.priority < 0);
  session.presence = withCaps(before, stanza).detach();
  session.priority = priority;
  const composition = compositionOf(hub);
  const shown = composition.said(session);
  if (before === null) becomeAvailable(hub, session, shown);
  else broadcast(hub, session, withoutKnownCaps(before, shown));
  composition.refresh(session.jid, session);
  if (receptive) hub.emit('session-receptive', session);
  return true;
}

function unknownType(type: string): StanzaError {
  return new StanzaError('bad-request', `there is no presence of type ${type.slice(0, 40)}`);
}

/** RFC 6121 §4.7.2.3. Throws a StanzaError for what is no priority. */
function priorityOf(stanza: Stanza): number {
  const text = stanza.text('priority').trim();
  if (text === '') return 0;
  const priority = /^[+-]?\d{1,3}$/.test(text) ? Number(text) : Number.NaN;
  if (!(priority >= -128 && priority <= 127)) throw new StanzaError('bad-request', 'a priority is from -128 to 127');
  return priority;
}

function noteDirected(session: Session, to: Jid, available: boolean): void {
  let known = session.notes.get(directed) as Map<string, Jid> | undefined;
  if (!available) {
    known?.delete(to.toString());
    return;
  }
  if (!known) session.notes.set(directed, (known = new Map()));
  if (known.size < mostDirected) known.set(to.toString(), to);
}

/** Initial presence (RFC 6121 §4.2): broadcast, probes, and what waited for it. */
function becomeAvailable(hub: Hub, session: Session, stanza: Stanza): void {
  const { items } = rostersOf(hub).of(session.jid);
  broadcast(hub, session, stanza);
  for (const other of hub.sessions.of(session.jid)) {
    if (other !== session && other.presence) session.send(compositionOf(hub).shown(other).withTo(session.jid));
  }
  const user = session.jid.bare;
  for (const item of items.values()) {
    if (item.to) {
      void hub.router.route(Stanza.of('presence', { from: session.jid, to: item.contact, type: 'probe' }), hubOrigin);
    }
    if (item.pending !== null) session.send(Stanza.parse(Buffer.from(item.pending)).withAddresses(item.contact, user));
  }
  hub.emit('session-available', session, session.presence!);
}

/** Sends presence to all who are to see it; each copy shares the payload's bytes (RFC 6121 §4.2.2, §4.4.2). */
function broadcast(hub: Hub, session: Session, stanza: Stanza): void {
  const { items } = rostersOf(hub).of(session.jid);
  const silent = session.notes.get(failed) as Set<string> | undefined;
  for (const other of hub.sessions.of(session.jid)) {
    if (other.presence) other.send(stanza.withTo(other.jid));
  }
  for (const [contact, item] of items) {
    if (item.from && !silent?.has(contact)) void hub.router.route(stanza.withTo(item.contact), hubOrigin);
  }
  for (const [domain, { presence: wanted }] of hub.config.components) {
    if (wanted) void hub.router.route(stanza.withTo(Jid.of('', domain, '')), hubOrigin);
  }
}

/** RFC 6121 §4.5. */
function goUnavailable(hub: Hub, session: Session, stanza: Stanza): void {
  broadcast(hub, session, stanza);
  session.presence = null;
  session.priority = 0;
  compositionOf(hub).refresh(session.jid);
  endDirected(hub, session, stanza, to => rostersOf(hub).item(session.jid, to)?.from === true);
  hub.emit('session-unavailable', session, stanza);
}

/** Ends the directed presence of a session to addresses that `covers` names, with this stanza (RFC 6121 §4.6.3). */
export function endDirectedTo(hub: Hub, session: Session, covers: (to: Jid) => boolean, stanza: Stanza): void {
  const known = session.notes.get(directed) as Map<string, Jid> | undefined;
  for (const [key, to] of known ?? []) {
    if (!covers(to)) continue;
    known!.delete(key);
    void hub.router.route(stanza.withTo(to), hubOrigin);
  }
}

/** Those who got directed presence, and were not `told` by a broadcast, learn of its end (RFC 6121 §4.6.3). */
function endDirected(hub: Hub, session: Session, stanza: Stanza, told = (_to: Jid) => false): void {
  const known = session.notes.get(directed) as Map<string, Jid> | undefined;
  if (!known) return;
  session.notes.delete(directed);
  for (const to of known.values()) if (!told(to)) void hub.router.route(stanza.withTo(to), hubOrigin);
}

/** A presence stanza for a local account. True: it is dealt with. */
function received(hub: Hub, stanza: Stanza): boolean | Promise<boolean> {
  const { type, to, from } = stanza;
  if (!to || !from || to.isDomain) return true;
  if (isSubscription(type)) return receiveSubscription(hub, stanza, type).then(() => true);
  switch (type) {
    case 'probe':
      noteRecovery(hub, stanza);
      return answerProbe(hub, stanza).then(() => true);
    case 'error':
      noteFailure(hub, stanza);
      if (to.resource === '') returnRequest(hub, stanza);
      return to.resource === '';
    case '':
      noteRecovery(hub, stanza);
      break;
    case 'unavailable':
      break;
    default:
      throw unknownType(type);
  }
  if (to.resource !== '') return false;
  for (const session of hub.sessions.of(to)) if (session.presence) session.send(stanza);
  return true;
}

/** A contact that cannot be reached gets no further broadcasts of this session until it is heard of (RFC 6121 §4.4.2). */
function noteFailure(hub: Hub, stanza: Stanza): void {
  const session = hub.sessions.get(stanza.to!);
  if (!session) return;
  let known = session.notes.get(failed) as Set<string> | undefined;
  if (!known) session.notes.set(failed, (known = new Set()));
  if (known.size < mostDirected) known.add(stanza.from!.bare.toString());
}

/** A contact shows that it is there (again): it gets the broadcasts, and the presence that it has missed. */
function noteRecovery(hub: Hub, { from, to, type }: Stanza): void {
  const contact = from!.bare;
  for (const session of hub.sessions.of(to!)) {
    const silent = session.notes.get(failed) as Set<string> | undefined;
    if (!silent?.delete(contact.toString()) || !session.presence) continue;
    // A probe is answered anyway.
    const wanted = type === '' && rostersOf(hub).item(to!, contact)?.from === true;
    if (wanted) void hub.router.route(compositionOf(hub).shown(session).withTo(contact), hubOrigin);
  }
}

/** A subscription request that could not be delivered comes back to the user's clients (RFC 6121 §3.1.2). */
function returnRequest(hub: Hub, error: Stanza): void {
  if (!rostersOf(hub).item(error.to!, error.from!)?.ask) return;
  for (const session of hub.sessions.of(error.to!)) if (session.interested || session.presence) session.send(error);
}

/** RFC 6121 §4.3.2. */
async function answerProbe(hub: Hub, probe: Stanza): Promise<void> {
  const user = probe.to!;
  const watcher = probe.from!;
  const answer = (stanza: Stanza) => hub.router.route(stanza, hubOrigin);
  const own = watcher.bare.equals(user.bare);
  const item = rostersOf(hub).item(user, watcher);
  if (!own && !item?.from) {
    // That would answer the request that the user has yet to answer.
    if (item && item.pending !== null) return;
    return answer(Stanza.of('presence', { from: user.bare, to: watcher.bare, type: 'unsubscribed' }));
  }
  const available = hub.sessions.of(user).filter(session => session.presence !== null);
  const asked = user.resource === '' ? available : available.filter(session => session.jid.equals(user));
  for (const session of asked) await answer(compositionOf(hub).shown(session).withTo(watcher));
  if (asked.length === 0) await answer(Stanza.of('presence', { from: user, to: watcher, type: 'unavailable' }));
}
