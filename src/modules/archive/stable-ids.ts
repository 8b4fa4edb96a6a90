// The ids of archived messages, which say nothing and cannot be guessed (XEP-0359 §3, §6), and those that others forge.
import { type Cipheriv, createCipheriv, randomBytes } from 'node:crypto';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';

/** Salts that are made at once: one by one, each would cost as much as a hundred do together. */
const atOnce = 512;

/**
 * Makes ids of 18 characters: a random salt of 48 bits, and the place behind a mask that only the key makes of the
 * salt. The salt is kept with the message; an id opens without a look into the store.
 */
export class StableIds {
  readonly #cipher: Cipheriv;
  #salts: Buffer = Buffer.alloc(0);
  #masks: Buffer = Buffer.alloc(0);
  #next = 0;
  readonly #id = Buffer.alloc(13);

  /** `key` is of 16 bytes. */
  constructor(key: Uint8Array) {
    // Each block stands for itself: one cipher does for all of them.
    this.#cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  }

  /** A salt for a new message. */
  salt(): number {
    if (this.#next * 6 >= this.#salts.length) this.#refill();
    return this.#salts.readUIntBE(6 * this.#next++, 6);
  }

  /** The id of a place; quickest for the salt that was made last. */
  seal(salt: number, place: number): string {
    const last = this.#next - 1;
    const known = last >= 0 && this.#salts.readUIntBE(6 * last, 6) === salt;
    this.#id.writeUInt16BE(Math.floor(salt / 2 ** 32), 0);
    this.#id.writeUInt32BE(salt % 2 ** 32, 2);
    const mask = known ? this.#masks : this.#masksOf(this.#id.subarray(0, 6));
    const from = known ? 16 * last : 0;
    this.#id.writeUIntBE(Math.floor(place / 0x100_0000), 6, 4);
    this.#id.writeUIntBE(place % 0x100_0000, 10, 3);
    for (let n = 0; n < 7; n++) this.#id[6 + n] ^= mask[from + n];
    return this.#id.toString('base64url');
  }

  /** The salt and the place in an id, or null where it cannot be one. */
  open(id: string): { salt: number; place: number } | null {
    if (!/^[\w-]{18}$/.test(id)) return null;
    const bytes = Buffer.from(id, 'base64url');
    if (bytes.length !== 13 || bytes.toString('base64url') !== id) return null;
    const salt = bytes.readUIntBE(0, 6);
    const mask = this.#masksOf(bytes.subarray(0, 6));
    for (let n = 0; n < 7; n++) bytes[6 + n] ^= mask[n];
    const place = bytes.readUIntBE(6, 4) * 0x100_0000 + bytes.readUIntBE(10, 3);
    return Number.isSafeInteger(place) ? { salt, place } : null;
  }

  #refill(): void {
    const salts = randomBytes(6 * atOnce);
    this.#salts = salts;
    this.#masks = this.#masksOf(salts);
    this.#next = 0;
  }

  /** One block of AES for each salt, which is of six bytes. */
  #masksOf(salts: Uint8Array): Buffer {
    const blocks = Buffer.alloc((16 * salts.length) / 6);
    for (let n = 0; 6 * n < salts.length; n++) blocks.set(salts.subarray(6 * n, 6 * n + 6), 16 * n);
    return this.#cipher.update(blocks);
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
