// The ids of archived messages, which say nothing and cannot be guessed (XEP-0359 §3, §6), and those that others forge.
import { type Cipheriv, createCipheriv, createDecipheriv } from 'node:crypto';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';

/** Seals a user's number and a place into an id: one block of AES, 22 characters. Nothing need be kept to open it. */
export class StableIds {
  readonly #key: Uint8Array;
  readonly #cipher: Cipheriv;
  readonly #block = Buffer.alloc(16);

  /** `key` is of 16 bytes. */
  constructor(key: Uint8Array) {
    this.#key = key;
    // Each block stands alone, so one cipher does for all of them.
    this.#cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  }

  seal(user: number, place: number): string {
    this.#block.writeUIntBE(user, 2, 6);
    this.#block.writeUIntBE(Math.floor(place / 0x10000), 8, 6);
    this.#block.writeUInt16BE(place % 0x10000, 14);
    return this.#cipher.update(this.#block).toString('base64url');
  }

  /** The place in an id of that user, or null where it is none of ours. */
  open(user: number, id: string): number | null {
    if (!/^[\w-]{22}$/.test(id)) return null;
    const cipher = createDecipheriv('aes-128-ecb', this.#key, null).setAutoPadding(false);
    const block = cipher.update(Buffer.from(id, 'base64url'));
    if (block.readUInt16BE(0) !== 0 || block.readUIntBE(2, 6) !== user) return null;
    const place = block.readUIntBE(8, 6) * 0x10000 + block.readUInt16BE(14);
    return Number.isSafeInteger(place) ? place : null;
  }
}

/** The id that a message carries in the name of an account, or null (XEP-0359 §3). */
export function stableId(stanza: Stanza, account: Jid): string | null {
  if (!stanza.has('stanza-id', ns.stableIds)) return null;
  const own = stanza.children.find(child => child.is('stanza-id', ns.stableIds) && isBy(child.attrs.by, account));
  return own?.attrs.id ?? null;
}

/** The message without the ids that somebody else put there in the name of an account (XEP-0359 §4, second rule). */
export function withoutForgedIds(stanza: Stanza, account: Jid): Stanza {
  if (!stanza.has('stanza-id', ns.stableIds)) return stanza;
  return stanza.without(
    (name, space, element) => name === 'stanza-id' && space === ns.stableIds && isBy(element().attrs.by, account),
  );
}

function isBy(by: string | undefined, account: Jid): boolean {
  return Jid.tryParse(by ?? '')?.bare.equals(account.bare) ?? false;
}
