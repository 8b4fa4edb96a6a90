// The two small documents that go with messages: is-composing (RFC 3994) and disposition notifications (RFC 5438).
import { Buffer } from 'node:buffer';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { readDocument } from './documents.ts';

export const composingType = 'application/im-iscomposing+xml';
export const imdnType = 'message/imdn+xml';
const composingNs = 'urn:ietf:params:xml:ns:im-iscomposing';
const imdnNs = 'urn:ietf:params:xml:ns:imdn';

/** How long somebody counts as composing without news (RFC 3994 §3.4), in seconds. */
export const composingLasts = 120;

const header = '<?xml version="1.0" encoding="UTF-8"?>\n';

export function writeDocument(root: Element): Uint8Array {
  return Buffer.from(header + root.toString());
}

/** RFC 3994 §3.1: `active` while somebody writes, `idle` when not. */
export function writeComposing(active: boolean): Uint8Array {
  return writeDocument(
    el(
      'isComposing',
      composingNs,
      {},
      el('state', composingNs, {}, active ? 'active' : 'idle'),
      el('contenttype', composingNs, {}, 'text/plain'),
      active ? el('refresh', composingNs, {}, String(composingLasts)) : null,
    ),
  );
}

export interface Composing {
  active: boolean;
  /** Seconds for which `active` holds without news. */
  lasts: number;
}

/** Throws a StanzaError `bad-request`. */
export function readComposing(bytes: Uint8Array): Composing {
  const root = readDocument(bytes);
  if (root.name !== 'isComposing') throw new StanzaError('bad-request', 'that is no isComposing document');
  const refresh = Number(root.childText('refresh').trim() || Number.NaN);
  // Values below a minute are to be read as a minute (§3.3).
  const lasts = Number.isFinite(refresh) ? Math.min(Math.max(refresh, 60), 3600) : composingLasts;
  return { active: root.childText('state').trim().toLowerCase() === 'active', lasts };
}

/** What became of a message. `processed`, `stored` and unknown ones are no news for anybody. */
export type Disposition = 'delivered' | 'displayed' | 'failed' | 'forbidden' | 'error' | 'other';

export interface Imdn {
  messageId: string;
  disposition: Disposition;
}

const notifications: Readonly<Record<string, readonly Disposition[]>> = {
  'delivery-notification': ['delivered', 'failed', 'forbidden', 'error'],
  'display-notification': ['displayed', 'forbidden', 'error'],
};

/** Throws a StanzaError `bad-request`. */
export function readImdn(bytes: Uint8Array): Imdn {
  const root = readDocument(bytes);
  const messageId = root.childText('message-id').trim();
  if (root.name !== 'imdn' || messageId === '') throw new StanzaError('bad-request', 'that is no imdn document');
  for (const [name, known] of Object.entries(notifications)) {
    const status = root.child(name)?.child('status');
    const said = status?.all()[0]?.name as Disposition | undefined;
    if (status) return { messageId, disposition: said && known.includes(said) ? said : 'other' };
  }
  return { messageId, disposition: 'other' };
}

export interface ImdnParts {
  messageId: string;
  disposition: 'delivered' | 'displayed' | 'failed' | 'error' | 'forbidden';
  /** When the message was sent, as its sender said it; now where that is not known. */
  dateTime: string;
  /** The URI of who got it. */
  recipient: string;
}

export function writeImdn({ messageId, disposition, dateTime, recipient }: ImdnParts): Uint8Array {
  const kind = disposition === 'displayed' ? 'display-notification' : 'delivery-notification';
  return writeDocument(
    el(
      'imdn',
      imdnNs,
      {},
      el('message-id', imdnNs, {}, messageId),
      el('datetime', imdnNs, {}, dateTime),
      el('recipient-uri', imdnNs, {}, recipient),
      el('original-recipient-uri', imdnNs, {}, recipient),
      el(kind, imdnNs, {}, el('status', imdnNs, {}, el(disposition, imdnNs))),
    ),
  );
}
