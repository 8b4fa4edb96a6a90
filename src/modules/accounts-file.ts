// One account as an element of an export file, out of the store and back into it (XEP-0227).
import type { Directory } from '../hub/directory.ts';
import type { Module, Portable } from '../hub/module.ts';
import type { Store } from '../hub/store.ts';
import { type Element, el } from '../xmpp/element.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { ScramKeys } from '../xmpp/sasl/scram.ts';
import { pie } from './portable.ts';

const scram = `${pie}#scram`;
const hashes = ['SHA-1', 'SHA-256'] as const;

function portables(modules: readonly Module[]): Portable[] {
  return modules.map(({ portable }) => portable).filter(portable => portable !== undefined);
}

/** A user with credentials, where the directory holds some, and everything that modules keep. */
export async function exportUser(
  store: Store,
  directory: Directory,
  modules: readonly Module[],
  user: Jid,
): Promise<Element> {
  const keys = await Promise.all(hashes.map(hash => directory.scram(user.local, hash)));
  return el(
    'user',
    pie,
    { name: user.local },
    ...keys.filter(key => key !== null).map(keysElement),
    ...portables(modules).flatMap(portable => portable.export(store, user.bare)),
  );
}

/**
 * Makes the account where it is new, and keeps what came with it. Resolves with what the operator should know.
 * Rejects where the account is new and the file brings nothing that somebody could log in with.
 */
export async function importUser(
  store: Store,
  directory: Directory,
  modules: readonly Module[],
  user: Jid,
  element: Element,
): Promise<string[]> {
  const notes: string[] = [];
  if (await directory.find(user.local)) notes.push('exists already: its password stays');
  else await make(directory, user, element, notes);
  const known = portables(modules);
  store.atomic(() => {
    for (const child of element.all()) {
      if (child.is('scram-credentials', scram) || known.some(portable => portable.import(store, user, child))) continue;
      notes.push(`${child.name} in ${child.ns} is not kept here`);
    }
  });
  await store.durable();
  return notes;
}

async function make(directory: Directory, user: Jid, element: Element, notes: string[]): Promise<void> {
  const accounts = directory.writable;
  if (!accounts)
    throw new Error('the users of this domain live in a directory of their own, and this one is not there');
  const { password } = element.attrs;
  if (password) return accounts.add(user.local, password);
  const keys = element
    .all('scram-credentials', scram)
    .map(readKeys)
    .filter(key => key !== null);
  if (keys.length === 0 || !accounts.addKeys)
    throw new Error('there is neither a password nor a key that is known here');
  await accounts.addKeys(user.local, keys);
  const missing = hashes.filter(hash => !keys.some(key => key.hash === hash));
  for (const hash of missing) notes.push(`has no SCRAM-${hash} keys: it logs in by other mechanisms`);
}

function keysElement(keys: ScramKeys): Element {
  const base64 = (name: string, bytes: Uint8Array) => el(name, scram, {}, Buffer.from(bytes).toString('base64'));
  return el(
    'scram-credentials',
    scram,
    { mechanism: `SCRAM-${keys.hash}` },
    el('iter-count', scram, {}, String(keys.iterations)),
    base64('salt', keys.salt),
    base64('server-key', keys.serverKey),
    base64('stored-key', keys.storedKey),
  );
}

/** Null for a mechanism that is not known here, or keys that cannot be right. */
function readKeys(element: Element): ScramKeys | null {
  const hash = hashes.find(one => element.attrs.mechanism === `SCRAM-${one}`);
  const bytes = (name: string) => Buffer.from(element.childText(name), 'base64');
  const [salt, serverKey, storedKey] = ['salt', 'server-key', 'stored-key'].map(bytes);
  const count = element.childText('iter-count');
  const length = hash === 'SHA-1' ? 20 : 32;
  const right = storedKey.length === length && serverKey.length === length && salt.length > 0 && salt.length < 256;
  if (!hash || !right || !/^[1-9]\d{0,6}$/.test(count)) return null;
  return { hash, iterations: Number(count), salt, serverKey, storedKey };
}
