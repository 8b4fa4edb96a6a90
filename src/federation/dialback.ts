// Dialback keys (XEP-0185) and the elements that carry them (XEP-0220).
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { escapeAttribute } from '../xmpp/element.ts';
import { type StanzaCondition, stanzaConditions } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';

/** Declared on every server stream header: some servers look at the prefix (XEP-0220 §2.1.1). */
export const dialbackPrefix = { db: ns.dialback };

/**
 * The key by which `originating` proves to `receiving` that it sent it on the stream with this id (XEP-0185 §3).
 * Hexadecimal text.
 */
export function dialbackKey(secret: string, receiving: string, originating: string, streamId: string): string {
  const key = createHash('sha256').update(secret).digest('hex');
  return createHmac('sha256', key).update(`${receiving} ${originating} ${streamId}`).digest('hex');
}

/** Compares keys in constant time. */
export function sameKey(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}

/** `<db:result/>` or `<db:verify/>` as XML text. */
export function dialbackElement(
  name: 'result' | 'verify',
  from: string,
  to: string,
  more: { type?: 'valid' | 'invalid'; id?: string; key?: string; error?: StanzaCondition; text?: string },
): string {
  const attribute = (key: string, value: string | undefined) =>
    value === undefined ? '' : ` ${key}='${escapeAttribute(value)}'`;
  const type = more.error ? 'error' : more.type;
  const head = `<db:${name}${attribute('from', from)}${attribute('to', to)}${attribute('id', more.id)}${attribute('type', type)}`;
  if (more.error) {
    const text = more.text ? `<text xmlns='${ns.stanzaErrors}'>${escapeAttribute(more.text)}</text>` : '';
    const error = `<error type='${stanzaConditions[more.error]}'><${more.error} xmlns='${ns.stanzaErrors}'/>${text}</error>`;
    return `${head}>${error}</db:${name}>`;
  }
  return more.key === undefined ? `${head}/>` : `${head}>${more.key}</db:${name}>`;
}
