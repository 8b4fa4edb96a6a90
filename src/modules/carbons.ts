// Message carbons: a user's other devices see what one of them sends and gets (XEP-0280).
import type { Module, Session } from '../hub/module.ts';
import { Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';

const enabled = Symbol('carbons enabled');

export const carbons: Module = {
  name: 'carbons',
  implements: ['XEP-0280', 'XEP-0297'],
  start(hub) {
    hub.feature('domain', ns.carbons);
    hub.feature('account', ns.carbons);
    let users = 0;
    for (const verb of ['enable', 'disable'] as const) {
      hub.iq(ns.carbons, verb, 'own-account', ({ session, stanza }) => {
        if (stanza.type !== 'set' || !session) throw new StanzaError('bad-request');
        if (session.notes.has(enabled) !== (verb === 'enable')) {
          if (verb === 'enable') session.notes.set(enabled, true);
          else session.notes.delete(enabled);
          users += verb === 'enable' ? 1 : -1;
        }
        return null;
      });
    }
    hub.on('session-closed', session => {
      if (users > 0 && session.notes.has(enabled)) users--;
    });
    const copy = (stanza: Stanza, verb: 'sent' | 'received', of: Session, except: readonly Session[]): void => {
      for (const other of hub.sessions.of(of.jid)) {
        if (!except.includes(other) && other.notes.has(enabled)) other.send(carbon(stanza, verb, other));
      }
    };
    hub.on('session-sent', (session, stanza) => {
      if (users > 0 && stanza.name === 'message' && hub.sessions.of(session.jid).length > 1 && eligible(stanza)) {
        copy(stanza, 'sent', session, [session]);
      }
      return false;
    });
    hub.on('message-delivered', (stanza, to) => {
      if (users > 0 && hub.sessions.of(to[0].jid).length > to.length && eligible(stanza)) {
        // A message to oneself was copied as it was sent.
        if (!stanza.from?.bare.equals(to[0].jid.bare)) copy(stanza, 'received', to[0], to);
      }
    });
  },
};

/** XEP-0280 §6.1, and never what is a copy itself. */
function eligible(stanza: Stanza): boolean {
  if (stanza.has('private', ns.carbons) || stanza.has('no-copy', ns.hints)) return false;
  if (stanza.has('received', ns.carbons) || stanza.has('sent', ns.carbons)) return false;
  if (stanza.has('x', ns.mucUser) && stanza.type !== 'chat') return false;
  if (stanza.type === 'chat') return true;
  if (stanza.type === 'error') return stanza.has('body', ns.client) || stanza.has('received', ns.receipts);
  return (stanza.type === '' || stanza.type === 'normal') && (stanza.has('body', ns.client) || carriesChat(stanza));
}

function carriesChat(stanza: Stanza): boolean {
  return (
    stanza.has('request', ns.receipts) ||
    stanza.has('received', ns.receipts) ||
    ['active', 'composing', 'paused', 'inactive', 'gone'].some(state => stanza.has(state, ns.chatStates)) ||
    ['received', 'displayed', 'acknowledged'].some(marker => stanza.has(marker, ns.markers))
  );
}

function carbon(stanza: Stanza, verb: 'sent' | 'received', to: Session): Stanza {
  const { name, attrs, children } = stanza.element;
  const forwarded = el('forwarded', ns.forward, {}, new Element(name, ns.client, attrs, children));
  return Stanza.of(
    'message',
    { from: to.jid.bare, to: to.jid, type: stanza.type || undefined },
    el(verb, ns.carbons, {}, forwarded),
  );
}
