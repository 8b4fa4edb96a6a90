// Message carbons: a user's other devices see what one of them sends and gets (XEP-0280).
import type { Module, Session } from '../hub/module.ts';
import { el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { forward } from '../xmpp/forward.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import { asArchivedBySender } from './archive/archive.ts';
import { Copies } from './copies.ts';

type Direction = 'sent' | 'received';

const enabled = Symbol('carbons enabled');
/** The ids of the eligible messages that a session sent last: errors that answer them are eligible, too. */
const sentIds = Symbol('ids of copied messages');
const mostIds = 100;
const none: ReadonlyMap<Session, Stanza> = new Map();

export const carbons: Module = {
  name: 'carbons',
  implements: ['XEP-0280', 'XEP-0297'],
  start(hub) {
    hub.feature('domain', ns.carbons, ns.carbonsRules);
    hub.feature('account', ns.carbons, ns.carbonsRules);
    let users = 0;
    const turn = (session: Session, on: boolean): void => {
      if (session.notes.has(enabled) === on) return;
      if (on) session.notes.set(enabled, true);
      else session.notes.delete(enabled);
      users += on ? 1 : -1;
    };
    for (const verb of ['enable', 'disable'] as const) {
      hub.iq(ns.carbons, verb, 'own-account', ({ session, stanza }) => {
        if (stanza.type !== 'set' || !session) throw new StanzaError('bad-request');
        turn(session, verb === 'enable');
        return null;
      });
      hub.iq(ns.carbons, verb, 'any', () => {
        throw new StanzaError('not-allowed', 'carbons are for the users of this server, by their own account');
      });
    }
    hub.atBind(ns.carbons, (session, bind) => {
      if (bind.child('enable', ns.carbons)) turn(session, true);
      return null;
    });
    hub.on('session-closed', session => turn(session, false));

    const copies = new Copies(hub);
    const copy = (stanza: Stanza, direction: Direction, of: readonly Session[], except: readonly Session[]) => {
      const made = new Map<Session, Stanza>();
      for (const other of of) {
        if (other.notes.has(enabled) && !except.includes(other)) made.set(other, carbon(stanza, direction, other));
      }
      for (const [other, one] of made) other.send(one);
      return made;
    };
    hub.filter((stanza, origin) => {
      if (users === 0 || origin.kind !== 'session' || stanza.name !== 'message') return stanza;
      const own = hub.sessions.of(stanza.from!);
      // What users send to themselves is copied as it is delivered.
      if (own.length < 2 || stanza.to!.bare.equals(stanza.from!.bare)) return stanza;
      const sender = own.find(session => session.jid.equals(stanza.from!));
      if (!sender || !isEligible(stanza, 'sent', sender)) return stanza;
      noteId(sender, stanza);
      copy(asArchivedBySender(stanza), 'sent', own, [sender]);
      return stanza;
    });
    const arrived = (stanza: Stanza, to: readonly Session[]): ReadonlyMap<Session, Stanza> => {
      if (users === 0) return none;
      const own = hub.sessions.of(stanza.to!);
      if (own.length <= to.length) return none;
      const sender = own.filter(session => stanza.from !== null && session.jid.equals(stanza.from));
      const direction = sender.length > 0 ? 'sent' : 'received';
      return isEligible(stanza, direction, to[0]) ? copy(stanza, direction, own, [...to, ...sender]) : none;
    };
    hub.on('message-delivered', (stanza, to) => {
      const made = arrived(stanza, to);
      if (to.length + made.size > 1) copies.note(stanza, to, made);
    });
    hub.on('message-returned', (session, stanza) => {
      if (copies.returned(session, stanza)) return true;
      // Carbons of what was sent, and those beside a message that somebody has, are of no use any more.
      return isCopy(stanza) && stanza.from?.equals(session.jid.bare) === true;
    });
    // Copies come from the user's own server: what comes with a message is forged (XEP-0280 §11).
    hub.arrival(stanza => {
      if (!isCopy(stanza)) return stanza;
      return stanza.without((name, space) => space === ns.carbons && (name === 'received' || name === 'sent'));
    });
  },
};

function isCopy(stanza: Stanza): boolean {
  return stanza.has('received', ns.carbons) || stanza.has('sent', ns.carbons);
}

/** The rules of XEP-0280 §6.1. `session` is who sent it or whom it was delivered to. */
function isEligible(stanza: Stanza, direction: Direction, session: Session | undefined): boolean {
  if (stanza.has('private', ns.carbons) || stanza.type === 'groupchat') return false;
  if (stanza.isError) return direction === 'received' && answersCopied(stanza, session);
  // Hints count in what is no error (XEP-0334 §5).
  if (stanza.has('no-copy', ns.hints)) return false;
  if (stanza.has('x', ns.directInvitation)) return true;
  const room = stanza.child('x', ns.mucUser);
  if (room?.child('invite')) return true;
  // The room sends its private messages to each client that is in it.
  if (room && direction === 'received') return false;
  if (stanza.type === 'chat' || carriesChat(stanza)) return true;
  return stanza.type !== 'headline' && stanza.has('body', ns.client);
}

function carriesChat(stanza: Stanza): boolean {
  return (
    stanza.has('request', ns.receipts) ||
    stanza.has('received', ns.receipts) ||
    ['active', 'composing', 'paused', 'inactive', 'gone'].some(state => stanza.has(state, ns.chatStates)) ||
    ['markable', 'received', 'displayed', 'acknowledged'].some(marker => stanza.has(marker, ns.markers))
  );
}

function noteId(session: Session, { id, to }: Stanza): void {
  if (id === '' || id.length > 256) return;
  let ids = session.notes.get(sentIds) as Set<string> | undefined;
  if (!ids) session.notes.set(sentIds, (ids = new Set()));
  ids.add(`${id} ${to!.bare}`);
  if (ids.size > mostIds) ids.delete(ids.values().next().value!);
}

function answersCopied({ id, from }: Stanza, session: Session | undefined): boolean {
  const ids = session?.notes.get(sentIds) as Set<string> | undefined;
  return ids !== undefined && from !== null && ids.has(`${id} ${from.bare}`);
}

function carbon(stanza: Stanza, direction: Direction, { jid }: Session): Stanza {
  return forward({ from: jid.bare, to: jid, type: stanza.type }, el(direction, ns.carbons), stanza);
}
