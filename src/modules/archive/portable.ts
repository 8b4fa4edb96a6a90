// A user's archive and what they want archived, as they move from server to server (XEP-0227 §4.11).
import type { Portable, PortableList } from '../../hub/module.ts';
import { type Element, el } from '../../xmpp/element.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { pie, portion, stampOf } from '../portable.ts';
import { messagesOf, type Selection } from './messages.ts';
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
    const messages = messagesOf(store);
    let wrong = 0;
    for (const entry of entries) {
      const forwarded = entry.child('forwarded', ns.forward);
      const message = forwarded?.child('message', ns.client);
      const at = forwarded ? stampOf(forwarded) : null;
      const { id = '' } = entry.attrs;
      const stanza = message && withoutForgedIds(Stanza.from(message), user);
      const contact = stanza && contactOf(stanza, user);
      const right = entry.is('result', ns.archive) && id !== '' && id.length <= longestId;
      if (right && contact && at !== null) messages.adopt(user, contact, stanza, at, id);
      else wrong++;
    }
    return wrong;
  },
};

/** The other side's address. */
function contactOf({ from, to }: Stanza, user: Jid): Jid | null {
  return from === null || from.bare.equals(user) ? (to ?? from) : from;
}

export const portableArchive: Portable = {
  ...portablePreferences,
  list,
  reread(store, user) {
    portablePreferences.reread(store, user);
    messagesOf(store).reread(user);
  },
};
