// SCRAM keys from what a directory holds: keys as RFC 5803 and others write them, or a password in the clear.
import { createHmac, randomBytes } from 'node:crypto';
import { defaultIterations, makeScramKeys, type ScramHash, type ScramKeys } from '../../xmpp/sasl/scram.ts';

const base64 = '[A-Za-z0-9+/]+={0,2}';
/** `SCRAM-SHA-1$4096:salt$stored:server` (RFC 5803), also as `{SCRAM-SHA-1}4096:…` and with commas throughout (Dovecot). */
const keysForm = new RegExp(
  `^(?:\\{(SCRAM-SHA-(?:1|256))\\}|(SCRAM-SHA-(?:1|256))\\$)(\\d{1,8})[:,](${base64})[$,](${base64})[:,](${base64})$`,
);
const clearForm = /^\{(?:CLEAR|CLEARTEXT|PLAIN)\}(.+)$/is;
/** Any other scheme: a hash of which no keys can be made. */
const schemeForm = /^\{[^{}]+\}/;
const lengths = { 'SHA-1': 20, 'SHA-256': 32 } as const;
/** Clients refuse to count further. */
const mostIterations = 1_000_000;

/** Makes the salts of clear passwords: the same ones as long as the process lives. */
const saltSecret = randomBytes(32);

/** The keys that one of the values holds or gives, or null. `user` makes the salt where there is none. */
export async function keysOf(values: readonly string[], hash: ScramHash, user: string): Promise<ScramKeys | null> {
  for (const value of values) {
    const keys = readKeys(value.trim(), hash);
    if (keys) return keys;
  }
  const clear = values.map(clearOf).find(text => text !== null);
  if (clear === undefined || clear === null) return null;
  const salt = createHmac('sha256', saltSecret).update(`${hash} ${user}`).digest().subarray(0, 16);
  return makeScramKeys(clear, hash, salt, defaultIterations).catch(() => null);
}

function readKeys(value: string, hash: ScramHash): ScramKeys | null {
  const match = keysForm.exec(value);
  if (!match || (match[1] ?? match[2]) !== `SCRAM-${hash}`) return null;
  const iterations = Number(match[3]);
  const [salt, storedKey, serverKey] = match.slice(4).map(text => Buffer.from(text, 'base64'));
  const usable = iterations >= 1 && iterations <= mostIterations;
  if (!usable || storedKey.length !== lengths[hash] || serverKey.length !== lengths[hash]) return null;
  return { hash, iterations, salt, storedKey, serverKey };
}

/** A password in the clear, or null. */
function clearOf(value: string): string | null {
  const marked = clearForm.exec(value);
  if (marked) return marked[1];
  return value === '' || schemeForm.test(value) || /^SCRAM-SHA-/.test(value) ? null : value;
}
