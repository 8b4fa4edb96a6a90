// Messages that go to all devices of a user until one of them answers (`clients.fork`).
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { ClientSession } from './session.ts';

/** The contacts a session has answered last, at most so many. */
const mostAnswered = 200;
const answered = Symbol('contacts answered');

/** Notes that a session has sent a message: from now on it is the one that its contact talks to. */
export function noteAnswer(session: ClientSession, others: readonly ClientSession[], sent: Stanza): void {
  const { to, type } = sent;
  if (to === null || type === 'error' || type === 'groupchat' || !sent.has('body', ns.client)) return;
  const contact = to.bare.toString();
  for (const other of others) if (other !== session) contactsOf(other)?.delete(contact);
  const contacts = contactsOf(session) ?? new Set<string>();
  session.notes.set(answered, contacts);
  contacts.delete(contact);
  contacts.add(contact);
  if (contacts.size > mostAnswered) contacts.delete(contacts.values().next().value!);
}

/** Of the sessions that could take a contact's message: the one that has answered it, or all of them. */
export function forked(able: readonly ClientSession[], contact: Jid | null): readonly ClientSession[] {
  const key = contact?.bare.toString() ?? '';
  const one = able.find(session => contactsOf(session)?.has(key));
  return one ? [one] : able;
}

function contactsOf(session: ClientSession): Set<string> | undefined {
  return session.notes.get(answered) as Set<string> | undefined;
}
