// One account as an element of an export file, out of the store and back into it, portion by portion (XEP-0227).
import type { Directory } from '../hub/directory.ts';
import type { Module, Portable } from '../hub/module.ts';
import type { Store } from '../hub/store.ts';
import { type Element, el, escapeAttribute } from '../xmpp/element.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { ScramKeys } from '../xmpp/sasl/scram.ts';
import { pie } from './portable.ts';
import { isRemoved } from './removal.ts';

const scram = `${pie}#scram`;
const hashes = ['SHA-1', 'SHA-256'] as const;

/** A portion of an account's element; all of them, one behind the other, are the element. */
export interface Portion {
  readonly xml: string;
  /** What to ask for the next portion with; null: this is the last. */
  readonly next: string | null;
}

export interface Imported {
  /** Whether the account was new. */
  readonly made: boolean;
  /** What the operator should know. */
  readonly notes: string[];
}

function portables(modules: readonly Module[]): Portable[] {
  return modules.map(({ portable }) => portable).filter(portable => portable !== undefined);
}

function listsOf(modules: readonly Module[]) {
  return portables(modules).flatMap(({ list }) => list ?? []);
}

/** A user with credentials, where the directory holds some, and everything that modules keep. `from` is '' at first. */
export async function exportUser(
  store: Store,
  directory: Directory,
  modules: readonly Module[],
  user: Jid,
  from: string,
): Promise<Portion> {
  const lists = listsOf(modules);
  const following = (index: number, xml: string): Portion =>
    index < lists.length ? { xml, next: `${index}:` } : { xml: `${xml}</user>`, next: null };
  if (from === '') {
    const keys = await Promise.all(hashes.map(hash => directory.scram(user.local, hash)));
    const children = [
      ...keys.filter(key => key !== null).map(keysElement),
      ...portables(modules).flatMap(portable => portable.export?.(store, user.bare) ?? []),
    ];
    const start = `<user xmlns='${pie}' name='${escapeAttribute(user.local)}'>`;
    return following(0, start + children.map(child => child.toString(pie)).join(''));
  }
  const [, number, place] = /^(\d{1,3}):(.*)$/s.exec(from) ?? [];
  const list = lists[Number(number)];
  if (!list) throw new Error('there is no such portion');
  const { entries, next } = list.read(store, user.bare, place);
  let xml = entries.map(entry => entry.toString(list.ns)).join('');
  if (place === '' && (xml !== '' || next !== null)) {
    const declared = list.ns === pie ? '' : ` xmlns='${escapeAttribute(list.ns)}'`;
    xml = `<${list.name}${declared}>${xml}`;
  }
  if (next !== null) return { xml, next: `${number}:${next}` };
  if (place !== '' || xml !== '') xml += `</${list.name}>`;
  return following(Number(number) + 1, xml);
}

/**
 * Makes the account where it is new, and keeps what came with it; a portion that is not the `first` is kept for the
 * account that is there. Rejects where the account is new and brings nothing that somebody could log in with. Where it
 * rejects, nothing of the portion was kept.
 */
export async function importUser(
  store: Store,
  directory: Directory,
  modules: readonly Module[],
  user: Jid,
  element: Element,
  first: boolean,
): Promise<Imported> {
  if (isRemoved(store, user)) {
    throw new Error('an account of that name was removed while the hub did not run; start the hub once before');
  }
  const notes = new Set<string>();
  const exists = (await directory.find(user.local)) !== null;
  if (!first && !exists) throw new Error('the account is gone');
  const made = !exists;
  if (made) await make(directory, user, element, notes);
  else if (first) notes.add('exists already: its password stays');
  const known = portables(modules);
  const reread = () => {
    for (const portable of known) portable.reread?.(store, user.bare);
  };
  reread();
  try {
    store.atomic(() => {
      for (const child of inOrder(element)) keep(store, known, user.bare, child, notes);
    });
  } catch (error) {
    reread();
    if (made) await directory.writable?.remove(user.local);
    throw error;
  }
  reread();
  await Promise.all([store.durable(), ...known.map(portable => portable.durable?.(store))]);
  return { made, notes: [...notes] };
}

/** Nodes are configured before they are filled. */
function inOrder(element: Element): Element[] {
  const isConfiguration = ({ ns: space }: Element) => space.endsWith('#owner');
  return element.all().sort((a, b) => Number(isConfiguration(b)) - Number(isConfiguration(a)));
}

const mostNotes = 20;

function keep(store: Store, known: readonly Portable[], user: Jid, child: Element, notes: Set<string>): void {
  const note = (text: string) => {
    if (notes.size < mostNotes) notes.add(text);
  };
  if (child.is('scram-credentials', scram)) return;
  const list = known.find(({ list }) => list && child.is(list.name, list.ns))?.list;
  if (list) {
    const wrong = list.keep(store, user, child.all());
    if (wrong > 0) note(`in ${list.name}, something that is no message was left out`);
    return;
  }
  if (known.some(portable => portable.import?.(store, user, child, note))) return;
  note(`${child.name} in ${child.ns} is not kept here`);
}

async function make(directory: Directory, user: Jid, element: Element, notes: Set<string>): Promise<void> {
  const accounts = directory.writable;
  if (!accounts)
    throw new Error('the users of this domain live in a directory of their own, and this one is not there');
  const { password } = element.attrs;
  const keys = element
    .all('scram-credentials', scram)
    .map(readKeys)
    .concat(readPackedKeys(password))
    .filter(key => key !== null);
  if (password && !readPackedKeys(password)) return accounts.add(user.local, password);
  if (keys.length === 0 || !accounts.addKeys)
    throw new Error('there is neither a password nor a key that is known here');
  await accounts.addKeys(user.local, keys);
  const missing = hashes.filter(hash => !keys.some(key => key.hash === hash));
  for (const hash of missing) notes.add(`has no SCRAM-${hash} keys: it logs in by other mechanisms`);
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
  const [salt, serverKey, storedKey, count] = ['salt', 'server-key', 'stored-key', 'iter-count'].map(name =>
    element.childText(name).trim(),
  );
  return hash ? checkedKeys(hash, salt, serverKey, storedKey, count) : null;
}

/** COMPAT(ejabberd): keys stand in the place of the password, as `scram:STORED,SERVER,SALT,COUNT` of SCRAM-SHA-1. */
function readPackedKeys(password: string | undefined): ScramKeys | null {
  const [, hash = '', storedKey, serverKey, salt, count] =
    /^scram:(?:(sha1?|sha256),)?([^,]+),([^,]+),([^,]+),(\d+)$/.exec(password ?? '') ?? [];
  return count ? checkedKeys(hash === 'sha256' ? 'SHA-256' : 'SHA-1', salt, serverKey, storedKey, count) : null;
}

function checkedKeys(hash: ScramKeys['hash'], ...texts: [string, string, string, string]): ScramKeys | null {
  const count = texts[3];
  const length = hash === 'SHA-1' ? 20 : 32;
  let [salt, serverKey, storedKey] = texts.slice(0, 3).map(text => Buffer.from(text, 'base64'));
  if (storedKey.length > length) {
    // COMPAT(ejabberd): in XEP-0227's own element it encodes them twice.
    [salt, serverKey, storedKey] = [salt, serverKey, storedKey].map(text => Buffer.from(text.toString(), 'base64'));
  }
  const right = storedKey.length === length && serverKey.length === length && salt.length > 0 && salt.length < 256;
  if (!right || !/^[1-9]\d{0,6}$/.test(count)) return null;
  return { hash, iterations: Number(count), salt, serverKey, storedKey };
}
