// A user's archive and what they want archived, as they move from server to server (XEP-0227 §4.11).
import type { Portable, PortableList } from '../../hub/module.ts';
import { type Element, el } from '../../xmpp/element.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { pie, portion, stampOf } from '../portable.ts';
import { type Foreign, messagesOf, type Selection } from './messages.ts';
import { portablePreferences } from './preferences.ts';
import { withoutForgedIds } from './stable-ids.ts';

/** Messages that are read at once. */
const atOnce = 50;
const longestId = 256;

const list: PortableList = {
  name: 'archive',
  ns: `${pie}#mam`,
  read(store, user, from) {
    const messages = messagesOf(store);
    const entries: Element[] = [];
    const selection: Selection = from === '' ? {} : { after: Number(from) };
    for (let size = 0; size < portion; ) {
      const page = messages.page(user, selection, atOnce, false);
      for (const { id, at, stanza } of page) {
        size += stanza.payload.length;
        const delay = el('delay', ns.delay, { stamp: at.toISOString() });
        entries.push(el('result', ns.archive, { id }, el('forwarded', ns.forward, {}, delay, stanza.element)));
      }
      if (page.length < atOnce) return { entries, next: null };
      selection.after = page[page.length - 1].place;
    }
    return { entries, next: String(selection.after) };
  },
  keep(store, user, entries) {
    const messages = entries.map(entry => foreignIn(entry, user));
    const right = messages.filter(message => message !== null);
    messagesOf(store).adopt(user, right);
    return messages.length - right.length;
  },
};

/** The message of a result as it stands in the user's archive: they are one of its ends. Null: it is none. */
function foreignIn(entry: Element, user: Jid): Foreign | null {
  const forwarded = entry.is('result', ns.archive) ? entry.child('forwarded', ns.forward) : null;
  const message = forwarded?.child('message', ns.client);
  const at = forwarded ? stampOf(forwarded) : null;
  const { id = '' } = entry.attrs;
  if (!message || at === null || id === '' || id.length > longestId) return null;
  const stanza = withoutForgedIds(Stanza.from(message), user);
  const sent = stanza.from?.bare.equals(user) ?? false;
  // What a room or a domain's server reflects may name no recipient.
  if (sent ? stanza.to === null : !stanza.to?.bare.equals(user)) {
    return stanza.from ? { stanza: stanza.withTo(user), at, id } : null;
  }
  return { stanza, at, id };
}

export const portableArchive: Portable = {
  ...portablePreferences,
  list,
  reread(store, user) {
    portablePreferences.reread(store, user);
    messagesOf(store).settle();
  },
  durable: store => messagesOf(store).durable(),
};
