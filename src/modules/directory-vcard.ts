// What the directory knows of a person, put into their vCard where they say nothing else themselves (XEP-0054 §3).
import { Buffer } from 'node:buffer';
import type { Directory, Person, Photo } from '../hub/directory.ts';
import type { Hub } from '../hub/module.ts';
import { Element, el } from '../xmpp/element.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { rostersOf } from './rosters.ts';

const v = (name: string, ...children: (Element | string)[]) => el(name, ns.vcard, {}, ...children);

/**
 * The vCard of a user as `reader` may see it: the stored one, completed by the directory for people of the same
 * domain and for those who may see the user's presence. Null where there is neither.
 */
export async function completeVcard(hub: Hub, user: Jid, reader: Jid, stored: Element | null): Promise<Element | null> {
  const admitted = reader.domain === user.domain || rostersOf(hub).item(user, reader)?.from === true;
  const directory = admitted ? hub.directory(user.domain) : undefined;
  const person = await personOf(directory, user, stored);
  if (!person) return stored;
  const has = (name: string) => stored?.child(name) != null;
  const photo = has('PHOTO') ? null : ((await directory?.photo?.(user.local).catch(() => null)) ?? null);
  const known = fields(person, user, photo).filter(field =>
    field.name === 'TEL' ? !hasMobile(stored) : !has(field.name),
  );
  // An account of the hub's own of which nobody said anything has no vCard.
  if (!stored && !person.name && !person.mail && !person.mobile && !photo) return null;
  return new Element('vCard', ns.vcard, stored?.attrs ?? {}, [...(stored?.children ?? []), ...known]);
}

/** Rejects where the directory cannot tell, unless there is something to show without it. */
async function personOf(directory: Directory | undefined, user: Jid, stored: Element | null): Promise<Person | null> {
  try {
    return (await directory?.find(user.local)) ?? null;
  } catch (error) {
    if (stored) return null;
    throw error;
  }
}

function fields({ name, mail, mobile }: Person, user: Jid, photo: Photo | null): Element[] {
  const made: Element[] = [];
  if (name) made.push(v('FN', name));
  if (mail) made.push(v('EMAIL', v('INTERNET'), v('PREF'), v('USERID', mail)));
  if (mobile) made.push(v('TEL', v('CELL'), v('VOICE'), v('NUMBER', mobile)));
  if (photo) made.push(v('PHOTO', v('TYPE', photo.type), v('BINVAL', Buffer.from(photo.data).toString('base64'))));
  made.push(v('JABBERID', user.bare.toString()));
  return made;
}

function hasMobile(vcard: Element | null): boolean {
  return vcard?.all('TEL').some(tel => tel.child('CELL') !== null) === true;
}
