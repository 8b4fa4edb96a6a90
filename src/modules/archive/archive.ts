// Archives of what users send and get, for all their devices to read (XEP-0313), with stable ids (XEP-0359).
import type { Hub, Module, Request, Session } from '../../hub/module.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import { type Added, type Messages, messagesOf } from './messages.ts';
import { portableArchive } from './portable.ts';
import { ArchivePreferences } from './preferences.ts';
import { answerQuery, metadata, queryForm } from './query.ts';
import { belongsInArchive } from './rules.ts';
import { stableId, withoutForgedIds } from './stable-ids.ts';

const expiryInterval = 600_000;
/** The query that a session waits for: they are answered one after another, a turn of the event loop apart. */
const underWay = Symbol('archive query under way');

/** The message that was last archived as sent: for the sender's other devices, and for the recipient's archive. */
const lastSent: { stanza: Stanza | null; added: Added | null; messages: Messages | null } = {
  stanza: null,
  added: null,
  messages: null,
};

/** The message as its sender's other devices get it: with the id in the sender's archive (XEP-0313 §3.4). */
export function asArchivedBySender(stanza: Stanza): Stanza {
  return lastSent.stanza === stanza
    ? identified(stanza, stanza.from!, lastSent.messages!.idOf(lastSent.added!))
    : stanza;
}

export const archive: Module = {
  name: 'archive',
  implements: ['XEP-0313', 'XEP-0059', 'XEP-0359', 'XEP-0441'],
  defaultOn: false,
  portable: portableArchive,
  start(hub) {
    const messages = messagesOf(hub.store, error => hub.log.error({ err: error }, 'messages could not be archived'));
    const preferences = new ArchivePreferences(hub);
    const marks = ['#extended', '#groupchat-field'].map(mark => ns.archive + mark);
    hub.feature('account', ns.archive, ...marks, ns.stableIds, ns.resultSet);
    answerRequests(hub, messages, preferences);
    hub.atBind(null, ({ jid }) => metadata(messages, jid.bare));

    const wanted = (user: Jid, contact: Jid, stanza: Stanza) =>
      belongsInArchive(stanza) && preferences.wants(user, contact);
    hub.filter((stanza, origin) => {
      if (origin.kind !== 'session' || stanza.name !== 'message') return stanza;
      const user = stanza.from!.bare;
      if (!hub.enabled('archive', user.domain)) return stanza;
      const sent = withoutForgedIds(stanza, user);
      if (!wanted(user, sent.to!, sent)) return sent;
      const added = messages.add(sent, 'sender');
      // What users send to themselves stands in the archive once.
      if (sent.to!.bare.equals(user)) return identified(sent, user, messages.idOf(added));
      lastSent.stanza = sent;
      lastSent.added = added;
      lastSent.messages = messages;
      return sent;
    });
    hub.arrival((stanza, origin) => {
      const user = stanza.to!.bare;
      const contact = stanza.from ?? Jid.of('', user.domain, '');
      if (!stanza.isError && (origin.kind === 'hub' || contact.bare.equals(user))) {
        const known = stableId(stanza, user);
        if (known !== null && messages.placeOf(user, known) !== null) return stanza;
      }
      const clean = withoutForgedIds(stanza, user);
      // What a user here has just sent to this one stands once for both.
      const sent = lastSent.stanza === clean ? lastSent.added : null;
      if (sent === null ? !wanted(user, contact, clean) : !preferences.wants(user, contact)) return clean;
      const shared = sent !== null && messages.share(sent, clean);
      return identified(clean, user, messages.idOf(shared ? sent : messages.add(clean, 'recipient')));
    });
    // Who is told that a message is kept may rely on the archive as well. (What fails is told otherwise.)
    hub.on('message-kept', stanza =>
      stableId(stanza, stanza.to!) === null ? undefined : messages.durable().catch(() => {}),
    );
    // What is archived is kept: it does not bounce where it is not stored besides.
    hub.on('message-undelivered', stanza =>
      stableId(stanza, stanza.to!) === null ? false : messages.durable().then(() => true),
    );
    // The answer to a query is for the session that asked.
    hub.on(
      'message-returned',
      ({ jid }, stanza) => stanza.has('result', ns.archive) && stanza.from?.equals(jid.bare) === true,
    );
    hub.on('account-removed', async user => {
      preferences.forget(user);
      while (!messages.forget(user)) await turn();
    });
    return keepYoung(hub, messages);
  },
};

function answerRequests(hub: Hub, messages: Messages, preferences: ArchivePreferences): void {
  hub.iq(ns.archive, 'query', 'own-account', request => {
    if (request.stanza.type === 'get') return queryForm();
    return inTurn(request.session!, () => answerQuery(messages, request.from.bare, request.query, request.session!));
  });
  hub.iq(ns.archive, 'metadata', 'own-account', ({ stanza, from }) => {
    if (stanza.type !== 'get') throw new StanzaError('bad-request', 'the metadata can be read only');
    return metadata(messages, from.bare);
  });
  hub.iq(ns.archive, 'prefs', 'own-account', preferences.answer);
  const refuse = (_request: Request): never => {
    throw new StanzaError('forbidden', 'that archive is not yours');
  };
  for (const name of ['query', 'metadata', 'prefs']) hub.iq(ns.archive, name, 'account', refuse);
}

function identified(stanza: Stanza, user: Jid, id: string): Stanza {
  const xml = `<stanza-id xmlns='${ns.stableIds}' by='${user.bare.escaped}' id='${id}'/>`;
  return stanza.withWritten('stanza-id', ns.stableIds, xml);
}

/** Runs `work` when the session's earlier work of this kind is done. */
async function inTurn<T>(session: Session, work: () => T): Promise<T> {
  const before = session.notes.get(underWay) as Promise<void> | undefined;
  const mine = (before ?? Promise.resolve()).then(turn);
  session.notes.set(underWay, mine);
  await mine;
  return work();
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

/** Removes what has become too old, now and then. Returns what ends it. */
function keepYoung(hub: Hub, messages: Messages): () => Promise<void> {
  let stopped = false;
  const expire = async () => {
    const { retention } = hub.config.archive;
    if (retention === 0) return;
    while (!stopped && !messages.expire(Date.now() - retention)) await turn();
  };
  const safely = () => void expire().catch(error => hub.log.error({ err: error }, 'old messages could not be removed'));
  safely();
  const timer = setInterval(safely, expiryInterval);
  return () => {
    stopped = true;
    clearInterval(timer);
    return messages.close();
  };
}
