// Avatars: one picture, whether it was set by personal eventing or in a vCard, and its hash in presence (XEP-0398).
import { createHash } from 'node:crypto';
import type { Hub, Module, Session } from '../hub/module.ts';
import { Element, el } from '../xmpp/element.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { parseElement } from '../xmpp/payload.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import { refuseReader } from './pubsub/access.ts';
import { factsOf } from './pubsub/host.ts';
import type { Item } from './pubsub/node.ts';
import { personalOf } from './pubsub/personal.ts';

/** The first bytes of the kinds of pictures that are taken, whatever a vCard says of them (XEP-0153 §5.2). */
const kinds: readonly (readonly [type: string, start: string, at: number])[] = [
  ['image/png', '\x89PNG\r\n\x1a\n', 0],
  ['image/jpeg', '\xff\xd8\xff', 0],
  ['image/gif', 'GIF8', 0],
  ['image/webp', 'WEBP', 8],
];
const largest = 90 * 1024;
/** Its vCard is for everybody, so is the picture that comes from there. */
const publicly = { accessModel: 'open' } as const;

export const avatars: Module = {
  name: 'avatars',
  implements: ['XEP-0084', 'XEP-0153', 'XEP-0398'],
  start(hub) {
    const personal = personalOf(hub);
    hub.feature('account', ns.avatarConversion);
    hub.on('session-sent', (session, stanza) => {
      if (stanza.name !== 'presence' || stanza.type !== '' || injected.has(stanza)) return false;
      if (!stanza.to) session.notes.set(shy, showsNone(stanza));
      const annotated = annotate(hub, session, stanza);
      return annotated === stanza ? false : resend(hub, session, annotated);
    });
    personal.listen((owner, node) => {
      if (node.name !== ns.avatarMetadata) return;
      // Behind the event, which tells more, and goes out when what was published is kept.
      setImmediate(async () => {
        try {
          await hub.store.durable();
          for (const session of hub.sessions.of(owner)) rebroadcast(hub, session);
        } catch (error) {
          hub.log.error({ err: error }, 'presence with a new avatar could not be sent');
        }
      });
    });
  },
};

/** The stanza goes on its way as if the client had sent it so. */
async function resend(hub: Hub, session: Session, stanza: Stanza): Promise<true> {
  if (!(await hub.emit('session-sent', session, stanza)) && stanza.to) {
    await hub.router.route(stanza, { kind: 'session', name: session.jid.toString() });
  }
  return true;
}

/** Sends the presence of a session again where its picture is not the one that it tells of. */
function rebroadcast(hub: Hub, session: Session): void {
  const { presence } = session;
  if (!presence || session.notes.get(shy)) return;
  const annotated = annotate(hub, session, presence);
  if (annotated !== presence) void hub.emit('session-sent', session, annotated);
}

/** The presence with the hash of the user's picture, unless the client says that it shows none (XEP-0398 §4). */
function annotate(hub: Hub, session: Session, presence: Stanza): Stanza {
  const { notes, jid } = session;
  const known = hashOf(hub, jid.bare, presence.to);
  // Contacts who were told of a picture learn that it is not for them any more.
  const hash = known === null && presence.to === null && notes.has(told) ? '' : known;
  const photo = photoIn(presence);
  // An empty photo is the client's wish, unless the hub has put it there.
  if (hash === null || photo?.text === hash || (showsNone(presence) && presence !== session.presence)) return presence;
  const annotated = presence
    .without((name, space) => name === 'x' && space === ns.vcardUpdate)
    .with(el('x', ns.vcardUpdate, {}, el('photo', ns.vcardUpdate, {}, hash)));
  injected.add(annotated);
  if (presence.to === null) notes.set(told, true);
  return annotated;
}

/** Presence whose photo is the hub's doing. */
const injected = new WeakSet<Stanza>();
/** Set once the hub has put a picture's hash into a session's broadcasts. */
const told = Symbol('avatar in presence');
/** Whether a session says in its presence that it shows no picture. */
const shy = Symbol('no avatar in presence');

function photoIn(presence: Stanza): Element | null | undefined {
  return presence.child('x', ns.vcardUpdate)?.child('photo');
}

function showsNone(presence: Stanza): boolean {
  return photoIn(presence)?.text === '';
}

/** The hash of a user's picture, '' where it was taken away, null where there never was one or it is not for `reader`. */
function hashOf(hub: Hub, user: Jid, reader: Jid | null): string | null {
  const { nodes } = personalOf(hub);
  if (!nodes.has(user.toString())) return null;
  const node = nodes.get(user.toString(), ns.avatarMetadata);
  if (!node || node.config.accessModel === 'whitelist' || node.config.accessModel === 'authorize') return null;
  if (reader && node.config.accessModel !== 'open') return null;
  const last = nodes.items.last(node);
  return last ? (pictureIn(last)?.id ?? '') : '';
}

const pictures = new WeakMap<Item, { id: string; type: string } | null>();

/** The picture that metadata tells of and that is kept here, not elsewhere (XEP-0084 §4.2). */
function pictureIn(metadata: Item): { id: string; type: string } | null {
  const known = pictures.get(metadata);
  if (known !== undefined) return known;
  const infos = parseElement(metadata.payload).all('info', ns.avatarMetadata);
  const info = infos.find(({ attrs }) => attrs.url === undefined && /^[0-9a-f]{40}$/.test(attrs.id ?? ''));
  const picture = info ? { id: info.attrs.id, type: info.attrs.type ?? 'image/png' } : null;
  pictures.set(metadata, picture);
  return picture;
}

/** The vCard as `reader` sees it: with the picture of personal eventing, where there is one and they may see it. */
export function withAvatar(hub: Hub, user: Jid, reader: Jid, vcard: Element | null): Element | null {
  const host = personalOf(hub).host(user);
  const [metadata, data] = [ns.avatarMetadata, ns.avatarData].map(name => host.nodes.get(host.address, name));
  if (!metadata || !data) return vcard;
  const readable = [metadata, data].every(node => refuseReader(factsOf(host, node, reader)) === null);
  const last = readable ? host.nodes.items.last(metadata) : null;
  const picture = last && pictureIn(last);
  const item = picture && host.nodes.items.get(data, picture.id);
  const text = item ? parseElement(item.payload).text.replace(/\s+/g, '') : '';
  if (!picture || sha1(Buffer.from(text, 'base64')) !== picture.id) return vcard;
  const photo = v('PHOTO', v('TYPE', picture.type), v('BINVAL', text));
  const others = vcard?.children.filter(child => typeof child === 'string' || child.name !== 'PHOTO') ?? [];
  return new Element('vCard', ns.vcard, vcard?.attrs ?? {}, [...others, photo]);
}

const v = (name: string, ...children: (Element | string)[]) => el(name, ns.vcard, {}, ...children);

/**
 * Takes the picture out of a vCard that a user sets, and publishes it; a vCard without one takes the picture away. Gives
 * what is to be kept as the vCard. What is no picture, or too large for one, stays in it.
 */
export async function takeAvatar(hub: Hub, user: Jid, vcard: Element): Promise<Element> {
  const photo = vcard.child('PHOTO');
  const text = photo?.childText('BINVAL').replace(/\s+/g, '') ?? '';
  const bytes = Buffer.from(text, 'base64');
  const start = bytes.toString('latin1', 0, 16);
  const kind = kinds.find(([, magic, at]) => start.startsWith(magic, at));
  const current = hashOf(hub, user, null);
  if (!photo || text === '') {
    if (current) await publishMetadata(hub, user, sha1(Buffer.alloc(0)), null);
  } else if (!kind || bytes.length > largest) {
    return vcard;
  } else {
    const id = sha1(bytes);
    if (id !== current) {
      const data = el('data', ns.avatarData, {}, bytes.toString('base64'));
      await personalOf(hub).publish(user, ns.avatarData, el('item', ns.pubsub, { id }, data), publicly);
      const info = { id, type: kind[0], bytes: String(bytes.length) };
      await publishMetadata(hub, user, id, el('info', ns.avatarMetadata, info));
    }
  }
  return new Element(
    vcard.name,
    vcard.ns,
    vcard.attrs,
    vcard.children.filter(child => child !== photo),
  );
}

async function publishMetadata(hub: Hub, user: Jid, id: string, info: Element | null): Promise<void> {
  const item = el('item', ns.pubsub, { id }, el('metadata', ns.avatarMetadata, {}, info));
  await personalOf(hub).publish(user, ns.avatarMetadata, item, publicly);
}

function sha1(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('hex');
}
