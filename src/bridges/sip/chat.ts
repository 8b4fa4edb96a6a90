// Chat both ways: what a stanza says and what a MESSAGE says, as one kind of value in the middle (RFC 7572).
import { Buffer } from 'node:buffer';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { type CpimMessage, imdnHeaders, parseCpim, writeCpim } from './cpim.ts';
import {
  composingType,
  type Disposition,
  imdnType,
  readComposing,
  readImdn,
  writeComposing,
  writeImdn,
} from './notices.ts';
import { decodeText, languageTag, mediaType, oneLine, textOfXhtml } from './text.ts';

const xhtmlBodyNs = 'http://www.w3.org/1999/xhtml';

/** Words for somebody. */
export interface Words {
  kind: 'words';
  text: string;
  subject: string;
  /** A language tag, or ''. */
  lang: string;
  /** Names the message among those of its sender; '' where it has no name. */
  id: string;
  /** Ties messages to one conversation, or ''. */
  thread: string;
  /** The sender wants to know when it has arrived (XEP-0184, `positive-delivery`). */
  wantsReceipt: boolean;
  /** The sender wants to know when it was seen (XEP-0333, `display`). */
  wantsMarker: boolean;
  /** When it was sent, in ms, where it says so. */
  sent?: number;
}

/** Somebody writes, or has stopped (XEP-0085, RFC 3994). */
export interface Writing {
  kind: 'writing';
  active: boolean;
  /** Seconds for which `active` holds without news. */
  lasts: number;
}

/** What became of a message of the other's (XEP-0184, XEP-0333, RFC 5438). */
export interface Notice {
  kind: 'notice';
  id: string;
  disposition: Disposition;
}

export type Saying = Words | Writing | Notice;

/** What accepts messages from XMPP: the media types of Accept (RFC 3428 §7). */
export const acceptedTypes: readonly string[] = ['text/plain', 'message/cpim', composingType, imdnType];

const chatStates = ['active', 'composing', 'paused', 'inactive', 'gone'] as const;

/** All that a message stanza says, in the order in which it is to be told. Words come without their XHTML. */
export function sayingsOf(stanza: Stanza): Saying[] {
  const sayings: Saying[] = [];
  const text = bodyOf(stanza);
  if (text !== null) {
    const marked = stanza.has('markable', ns.markers);
    sayings.push({
      kind: 'words',
      text: text.text,
      subject: oneLine(stanza.text('subject')),
      lang: languageTag(text.lang || stanza.lang),
      id: stanza.id,
      thread: stanza.text('thread').trim().slice(0, 256),
      wantsReceipt: stanza.id !== '' && (stanza.has('request', ns.receipts) || marked),
      wantsMarker: stanza.id !== '' && marked,
    });
  } else {
    const state = chatStates.find(name => stanza.has(name, ns.chatStates));
    if (state) sayings.push({ kind: 'writing', active: state === 'composing', lasts: 0 });
  }
  const received = stanza.child('received', ns.receipts)?.attrs.id;
  if (received) sayings.push({ kind: 'notice', id: received, disposition: 'delivered' });
  const marker = stanza.child('received', ns.markers)?.attrs.id;
  if (marker && marker !== received) sayings.push({ kind: 'notice', id: marker, disposition: 'delivered' });
  const seen = stanza.child('displayed', ns.markers)?.attrs.id ?? stanza.child('acknowledged', ns.markers)?.attrs.id;
  if (seen) sayings.push({ kind: 'notice', id: seen, disposition: 'displayed' });
  return sayings;
}

/** The body in the stanza's own language, else the first, else what XHTML-IM says; null where nothing is said. */
function bodyOf(stanza: Stanza): { text: string; lang: string } | null {
  if (stanza.has('body', ns.client)) {
    const bodies = stanza.children.filter(child => child.is('body', ns.client));
    const lang = (body: Element) => body.attrs['xml:lang'] ?? '';
    const own = bodies.find(body => lang(body) === '' || lang(body) === stanza.lang) ?? bodies[0];
    if (own.text !== '') return { text: own.text, lang: lang(own) };
  }
  const xhtml = stanza.child('html', ns.xhtml)?.child('body', xhtmlBodyNs);
  const text = xhtml ? textOfXhtml(xhtml) : '';
  if (text !== '') return { text, lang: xhtml?.attrs['xml:lang'] ?? '' };
  const subject = stanza.text('subject');
  return subject === '' ? null : { text: '', lang: stanza.lang };
}

/** The body and headers of a MESSAGE. */
export interface Content {
  contentType: string;
  body: Uint8Array;
  headers: [string, string][];
}

export interface Ends {
  /** `im:` addresses of sender and recipient, for CPIM. */
  from: string;
  to: string;
}

/**
 * What to send for a saying. With `cpim` words go in message/cpim and can ask for notifications, which plain text
 * cannot (RFC 5438 §7.1); a notice always does. `dateTime` is when its message was sent, or now.
 */
export function contentOf(saying: Saying, ends: Ends, cpim: boolean, dateTime = new Date().toISOString()): Content {
  switch (saying.kind) {
    case 'writing':
      return { contentType: composingType, body: writeComposing(saying.active), headers: [] };
    case 'notice': {
      const disposition = saying.disposition === 'other' ? 'error' : saying.disposition;
      const messageId = tokenOf(saying.id);
      const imdn = writeImdn({ messageId, disposition, dateTime, recipient: ends.from });
      return wrapped(ends, dateTime, imdnType, imdn, [], [['Content-Disposition', 'notification']]);
    }
    case 'words': {
      const headers: [string, string][] = [];
      if (saying.subject) headers.push(['Subject', saying.subject]);
      if (saying.lang) headers.push(['Content-Language', saying.lang]);
      const type = 'text/plain;charset=UTF-8';
      const body = Buffer.from(saying.text.toWellFormed());
      if (!cpim) return { contentType: type, body, headers };
      const wanted = [
        saying.wantsReceipt ? 'positive-delivery, negative-delivery' : 'negative-delivery',
        ...(saying.wantsMarker ? ['display'] : []),
      ];
      const about: [string, string][] = saying.subject ? [['Subject', saying.subject]] : [];
      if (saying.id) {
        about.push(
          ['NS', `imdn <${imdnHeaders}>`],
          ['imdn.Message-ID', tokenOf(saying.id)],
          ['imdn.Disposition-Notification', wanted.join(', ')],
        );
      }
      return { ...wrapped(ends, dateTime, type, body, about), headers };
    }
  }
}

function wrapped(
  ends: Ends,
  dateTime: string,
  contentType: string,
  body: Uint8Array,
  about: [string, string][],
  bodyHeaders: [string, string][] = [],
): Content {
  const headers: [string, string][] = [
    ['From', `<${ends.from}>`],
    ['To', `<${ends.to}>`],
    ['DateTime', dateTime],
    ...about,
  ];
  const written = writeCpim({ headers, contentType, body, bodyHeaders });
  return { contentType: 'message/cpim', body: written, headers: [] };
}

/** What of a MESSAGE its translation needs. */
export interface MessageParts {
  contentType: string;
  body: Uint8Array;
  callId: string;
  header(name: string): string | undefined;
}

/**
 * What a MESSAGE says; null where it says nothing (an empty one keeps a connection alive). Throws a StanzaError:
 * `not-acceptable` for a media type or character set that is not known (415), `bad-request` for what is broken.
 */
export function sayingOf(message: MessageParts): Saying | null {
  if (message.body.length === 0) return null;
  const { type } = mediaType(message.contentType);
  if (type !== 'message/cpim') return inner(message.contentType, message.body, message, null);
  const cpim = parseCpim(message.body);
  if (cpim.body.length === 0) return null;
  if (mediaType(cpim.contentType).type === 'message/cpim') throw unsupported('message/cpim in message/cpim');
  return inner(cpim.contentType, cpim.body, message, cpim);
}

function unsupported(type: string): StanzaError {
  return new StanzaError('not-acceptable', `${type.slice(0, 60) || 'no media type'} is not known here`);
}

function inner(contentType: string, body: Uint8Array, message: MessageParts, cpim: CpimMessage | null): Saying | null {
  const { type, parameters } = mediaType(contentType);
  if (type === composingType) return { kind: 'writing', ...readComposing(body) };
  if (type === imdnType) {
    const { messageId, disposition } = readImdn(body);
    return { kind: 'notice', id: idOf(messageId), disposition };
  }
  // RFC 3261 §20.15 gives no default for a missing Content-Type; RFC 2045 does.
  if (type !== 'text/plain' && type !== '') throw unsupported(type);
  const text = decodeText(body, parameters.get('charset'));
  if (text.trim() === '') return null;
  const about = (name: string) => cpim?.headers.get(`{${imdnHeaders}}${name}`) ?? '';
  const wanted = about('disposition-notification')
    .toLowerCase()
    .split(/[\s,]+/);
  const id = about('message-id');
  const sent = Date.parse(cpim?.headers.get('datetime') ?? message.header('date') ?? '');
  return {
    kind: 'words',
    text,
    subject: oneLine(cpim?.headers.get('subject') ?? message.header('subject') ?? ''),
    lang: languageTag(cpim?.bodyHeaders.get('content-language') ?? message.header('content-language')),
    id: idOf(id),
    thread: message.callId,
    wantsReceipt: id !== '' && wanted.includes('positive-delivery'),
    wantsMarker: id !== '' && wanted.includes('display'),
    ...(Number.isNaN(sent) ? {} : { sent }),
  };
}

/** How old a message must be for its date to be worth telling, in ms: clocks differ. */
const old = 60_000;

/** The stanza for a saying; `id` names words that bring no name of their own. Null for what XMPP has no word for. */
export function stanzaOf(saying: Saying, from: Jid, to: Jid, id: string): Stanza | null {
  switch (saying.kind) {
    case 'writing': {
      const state = el(saying.active ? 'composing' : 'paused', ns.chatStates);
      return Stanza.of('message', { from, to, type: 'chat' }, state, el('no-store', ns.hints));
    }
    case 'notice':
      return noticeStanza(saying, from, to, id);
    case 'words': {
      const late = saying.sent !== undefined && Date.now() - saying.sent > old;
      return Stanza.of(
        'message',
        { from, to, type: 'chat', id: saying.id || id, lang: saying.lang },
        saying.subject ? el('subject', ns.client, {}, saying.subject) : null,
        el('body', ns.client, {}, saying.text),
        saying.thread ? el('thread', ns.client, {}, saying.thread) : null,
        el('active', ns.chatStates),
        saying.wantsReceipt ? el('request', ns.receipts) : null,
        saying.wantsMarker ? el('markable', ns.markers) : null,
        late ? el('delay', ns.delay, { from: from.domain, stamp: new Date(saying.sent!).toISOString() }) : null,
      );
    }
  }
}

function noticeStanza({ id: about, disposition }: Notice, from: Jid, to: Jid, id: string): Stanza | null {
  const named = { id: about };
  switch (disposition) {
    case 'delivered':
      return Stanza.of('message', { from, to, type: 'chat', id }, el('received', ns.receipts, named));
    case 'displayed':
      return Stanza.of(
        'message',
        { from, to, type: 'chat', id },
        el('received', ns.receipts, named),
        el('displayed', ns.markers, named),
      );
    case 'failed':
    case 'error':
    case 'forbidden': {
      const condition = disposition === 'forbidden' ? 'forbidden' : 'recipient-unavailable';
      const failed = Stanza.of('message', { from: to, to: from, type: 'chat', id: about });
      return failed.error(condition, `the recipient’s side said: ${disposition}`);
    }
    default:
      return null;
  }
}

/** A stanza's id as an IMDN Message-ID, which is a token (RFC 5438 §6.3); other characters go as base64url. */
export function tokenOf(id: string): string {
  if (/^[A-Za-z0-9\-.!%*_+`'~]{1,200}$/.test(id) && !id.startsWith('x64-')) return id;
  return `x64-${Buffer.from(id).toString('base64url')}`;
}

/** The reverse of `tokenOf`. */
export function idOf(token: string): string {
  return token.startsWith('x64-') ? Buffer.from(token.slice(4), 'base64url').toString() : token.slice(0, 1024);
}
