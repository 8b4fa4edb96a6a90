// What a user wants archived: always, never, or only conversations with people of the roster (XEP-0441).
import type { Hub, IqHandler, Portable } from '../../hub/module.ts';
import type { Store } from '../../hub/store.ts';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { rostersOf } from '../rosters.ts';

const defaults = ['always', 'never', 'roster'] as const;
type Default = (typeof defaults)[number];

interface Preferences {
  readonly default: Default;
  readonly always: ReadonlySet<string>;
  readonly never: ReadonlySet<string>;
}

const schema = [
  `CREATE TABLE archive_preferences (
     user TEXT PRIMARY KEY, "default" TEXT NOT NULL, always TEXT NOT NULL, never TEXT NOT NULL) WITHOUT ROWID`,
];

const mostListed = 500;
const mostCached = 20_000;

/** The preferences of all users of a hub, as they are kept. */
class KeptPreferences {
  readonly #store: Store;
  /** Null: the user has said nothing. */
  readonly #cache = new Map<string, Preferences | null>();

  constructor(store: Store) {
    this.#store = store;
    store.migrate('archive preferences', schema);
  }

  of(user: Jid): Preferences | null {
    const key = user.bare.toString();
    const known = this.#cache.get(key);
    if (known !== undefined) return known;
    const row = this.#store.prepare('SELECT * FROM archive_preferences WHERE user = ?').get(key);
    const list = (text: unknown) => new Set(JSON.parse(String(text)) as string[]);
    const found: Preferences | null = row
      ? { default: row.default as Default, always: list(row.always), never: list(row.never) }
      : null;
    if (this.#cache.size >= mostCached) this.#cache.clear();
    this.#cache.set(key, found);
    return found;
  }

  save(user: Jid, wanted: Preferences): void {
    const { always, never } = wanted;
    this.#store
      .prepare('INSERT OR REPLACE INTO archive_preferences VALUES (?, ?, ?, ?)')
      .run(user.bare.toString(), wanted.default, JSON.stringify([...always]), JSON.stringify([...never]));
    this.reread(user);
  }

  forget(user: Jid): void {
    this.reread(user);
    this.#store.prepare('DELETE FROM archive_preferences WHERE user = ?').run(user.bare.toString());
  }

  reread(user: Jid): void {
    this.#cache.delete(user.bare.toString());
  }
}

const ofStore = new WeakMap<Store, KeptPreferences>();

function keptIn(store: Store): KeptPreferences {
  let kept = ofStore.get(store);
  if (!kept) ofStore.set(store, (kept = new KeptPreferences(store)));
  return kept;
}

/** What a user said: XEP-0227 has no place for it, so that it stands there as in XEP-0441. */
export const portablePreferences: Required<Pick<Portable, 'export' | 'import' | 'reread'>> = {
  export(store, user) {
    const own = keptIn(store).of(user);
    return own ? [write(own)] : [];
  },
  import(store, user, element, note) {
    if (!element.is('prefs', ns.archive)) return false;
    try {
      keptIn(store).save(user, read(element));
    } catch (error) {
      if (!(error instanceof StanzaError)) throw error;
      note(`the preferences of the archive were left out: ${error.text}`);
    }
    return true;
  },
  reread: (store, user) => keptIn(store).reread(user),
};

export class ArchivePreferences {
  readonly #hub: Hub;
  readonly #kept: KeptPreferences;

  constructor(hub: Hub) {
    this.#hub = hub;
    this.#kept = keptIn(hub.store);
  }

  /** Whether a message between a user and this address is to be archived (XEP-0441 §2.3). */
  wants(user: Jid, contact: Jid): boolean {
    const own = this.#kept.of(user);
    if (own?.always.size || own?.never.size) {
      // An entry with a resource is the more precise one.
      for (const entry of [contact.toString(), contact.bare.toString()]) {
        if (own.never.has(entry)) return false;
        if (own.always.has(entry)) return true;
      }
    }
    switch (own?.default ?? this.#hub.config.archive.default) {
      case 'always':
        return true;
      case 'never':
        return false;
      case 'roster':
        return rostersOf(this.#hub).item(user, contact)?.listed === true;
    }
  }

  /** Answers `<prefs/>`, get and set (XEP-0441 §2.1). */
  readonly answer: IqHandler = async ({ stanza, query, from }) => {
    if (stanza.type === 'set') {
      this.#kept.save(from, read(query));
      await this.#hub.store.durable();
    }
    return write(
      this.#kept.of(from) ?? { default: this.#hub.config.archive.default, always: new Set(), never: new Set() },
    );
  };

  forget(user: Jid): void {
    this.#kept.forget(user);
  }
}

function read(prefs: Element): Preferences {
  const wanted = defaults.find(one => one === prefs.attrs.default);
  if (!wanted) throw new StanzaError('bad-request', `the default is one of ${defaults.join(', ')}`);
  const always = addresses(prefs, 'always');
  const never = addresses(prefs, 'never');
  if ([...always].some(jid => never.has(jid))) throw new StanzaError('bad-request', 'an address stands in both lists');
  return { default: wanted, always, never };
}

function addresses(prefs: Element, list: string): Set<string> {
  const jids = prefs.child(list)?.all('jid') ?? [];
  if (jids.length > mostListed)
    throw new StanzaError('resource-constraint', `a list has at most ${mostListed} entries`);
  return new Set(
    jids.map(({ text }) => {
      const jid = Jid.tryParse(text.trim());
      if (!jid) throw new StanzaError('jid-malformed', 'an entry of the lists is no address');
      return jid.toString();
    }),
  );
}

function write(preferences: Preferences): Element {
  const list = (name: 'always' | 'never') =>
    el(name, ns.archive, {}, ...[...preferences[name]].map(jid => el('jid', ns.archive, {}, jid)));
  return el('prefs', ns.archive, { default: preferences.default }, list('always'), list('never'));
}
