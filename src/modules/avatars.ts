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
import { type Item, personalDefaults } from './pubsub/node.ts';
import type { Nodes } from './pubsub/nodes.ts';
import { personalOf } from './pubsub/personal.ts';

/** The first bytes of the kinds of pictures that are taken, whatever a vCard says of them (XEP-0153 §5.2). */
const kinds: readonly (readonly [type: string, start: string, at: number])[] = [
  ['image/png', '\x89PNG\r\n\x1a\n', 0],
  ['image/jpeg', '\xff\xd8\xff', 0],
  ['image/gif', 'GIF8', 0],
  ['image/webp', 'WEBP', 8],
];
const largest = 90 * 1024;
/** The id of the metadata that says: the picture is one that only the vCard can hold. */
const inVcard = 'vcard';
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
  const photo = photoIn(presence);
  // Contacts who were told of a picture learn that it is not for them any more, unless the client tells of another.
  const another = photo?.text && photo.text !== notes.get(told);
  const hash = known === null && presence.to === null && notes.has(told) && !another ? '' : known;
  // An empty photo is the client's wish, unless the hub has put it there.
  if (hash === null || photo?.text === hash || (showsNone(presence) && presence !== session.presence)) return presence;
  const annotated = presence
    .without((name, space) => name === 'x' && space === ns.vcardUpdate)
    .with(el('x', ns.vcardUpdate, {}, el('photo', ns.vcardUpdate, {}, hash)));
  injected.add(annotated);
  if (presence.to === null) notes.set(told, hash);
  return annotated;
}

/** Presence whose photo is the hub's doing. */
const injected = new WeakSet<Stanza>();
/** The picture's hash that the hub put into a session's broadcasts last. */
const told = Symbol('avatar in presence');
/** Whether a session says in its presence that it shows no picture. */
const shy = Symbol('no avatar in presence');

function photoIn(presence: Stanza): Element | null | undefined {
  return presence.child('x', ns.vcardUpdate)?.child('photo');
}

function showsNone(presence: Stanza): boolean {
  return photoIn(presence)?.text === '';
}

/**
 * The hash of a user's picture, '' where it was taken away, null where there never was one, it is not for `reader`, or
 * only the vCard holds it.
 */
function hashOf(hub: Hub, user: Jid, reader: Jid | null): string | null {
  const { nodes } = personalOf(hub);
  if (!nodes.has(user.toString())) return null;
  const node = nodes.get(user.toString(), ns.avatarMetadata);
  if (!node || node.config.accessModel === 'whitelist' || node.config.accessModel === 'authorize') return null;
  if (reader && node.config.accessModel !== 'open') return null;
  const last = nodes.items.last(node);
  return last?.id === inVcard ? null : ((last && pictureIn(last)?.id) ?? '');
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
  const nodes = [ns.avatarMetadata, ns.avatarData].map(name => host.nodes.get(host.address, name));
  const readable = nodes.every(node => node && refuseReader(factsOf(host, node, reader)) === null);
  return readable ? withKeptAvatar(host.nodes, user, vcard) : vcard;
}

/** The same, whoever reads it. */
export function withKeptAvatar(nodes: Nodes, user: Jid, vcard: Element | null): Element | null {
  const [metadata, data] = [ns.avatarMetadata, ns.avatarData].map(name => nodes.get(user.bare.toString(), name));
  const last = metadata && data ? nodes.items.last(metadata) : null;
  const picture = last && pictureIn(last);
  const item = data && picture && nodes.items.get(data, picture.id);
  const text = item ? parseElement(item.payload).text.replace(/\s+/g, '') : '';
  if (!picture || sha1(Buffer.from(text, 'base64')) !== picture.id) return vcard;
  const photo = v('PHOTO', v('TYPE', picture.type), v('BINVAL', text));
  const others = vcard?.children.filter(child => typeof child === 'string' || child.name !== 'PHOTO') ?? [];
  return new Element('vCard', ns.vcard, vcard?.attrs ?? {}, [...others, photo]);
}

const v = (name: string, ...children: (Element | string)[]) => el(name, ns.vcard, {}, ...children);

/**
 * Takes the picture out of a vCard that a user sets, and publishes it; a vCard without one takes the picture away. Gives
 * what is to be kept as the vCard. What is no picture, or too large for one, stays in it, and stands for an earlier one.
 */
export async function takeAvatar(hub: Hub, user: Jid, vcard: Element): Promise<Element> {
  const picture = pictureOf(vcard);
  const current = hashOf(hub, user, null);
  if (picture === 'none') {
    if (current) await publishMetadata(hub, user, sha1(Buffer.alloc(0)), null);
  } else if (picture === null) {
    if (current !== null) await publishMetadata(hub, user, inVcard, null);
    return vcard;
  } else if (picture.id !== current) {
    const { id } = picture;
    await personalOf(hub).publish(user, ns.avatarData, el('item', ns.pubsub, { id }, dataOf(picture)), publicly);
    await publishMetadata(hub, user, id, infoOf(picture));
  }
  return withoutPhoto(vcard);
}

/** As `takeAvatar` where nobody is told: the picture of a vCard that is imported, unless there is one already. */
export function adoptAvatar(nodes: Nodes, user: Jid, vcard: Element): Element {
  const picture = pictureOf(vcard);
  if (picture === null) return vcard;
  const service = user.bare.toString();
  const node = (name: string) =>
    nodes.get(service, name) ?? nodes.create(service, name, service, { ...personalDefaults, ...publicly });
  if (picture !== 'none' && nodes.items.last(node(ns.avatarMetadata)) === null) {
    const item = { id: picture.id, publisher: service, at: Date.now() };
    nodes.items.put(node(ns.avatarData), { ...item, payload: dataOf(picture).toString() });
    const metadata = el('metadata', ns.avatarMetadata, {}, infoOf(picture));
    nodes.items.put(node(ns.avatarMetadata), { ...item, payload: metadata.toString() });
  }
  return withoutPhoto(vcard);
}

interface Picture {
  readonly id: string;
  readonly type: string;
  readonly bytes: Buffer;
}

/** The picture in a vCard; null where something stands there that is none, or too large for one. */
function pictureOf(vcard: Element): Picture | 'none' | null {
  const text = vcard.child('PHOTO')?.childText('BINVAL').replace(/\s+/g, '') ?? '';
  if (text === '') return vcard.child('PHOTO')?.child('EXTVAL') ? null : 'none';
  const bytes = Buffer.from(text, 'base64');
  const start = bytes.toString('latin1', 0, 16);
  const kind = kinds.find(([, magic, at]) => start.startsWith(magic, at));
  return kind && bytes.length <= largest ? { id: sha1(bytes), type: kind[0], bytes } : null;
}

function dataOf({ bytes }: Picture): Element {
  return el('data', ns.avatarData, {}, bytes.toString('base64'));
}

function infoOf({ id, type, bytes }: Picture): Element {
  return el('info', ns.avatarMetadata, { id, type, bytes: String(bytes.length) });
}

function withoutPhoto(vcard: Element): Element {
  const photo = vcard.child('PHOTO');
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
