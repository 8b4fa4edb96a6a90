// What the bridge remembers over a restart: who watches whom across it, and what SIP users have published.
import type { Row, Store } from '../../hub/store.ts';
import { Jid } from '../../xmpp/jid.ts';

const schema = [
  `CREATE TABLE sip_watches (
     domain TEXT NOT NULL, user TEXT NOT NULL, contact TEXT NOT NULL, granted INTEGER NOT NULL, since INTEGER NOT NULL,
     PRIMARY KEY (domain, user, contact)) WITHOUT ROWID;
   CREATE TABLE sip_watchers (
     domain TEXT NOT NULL, user TEXT NOT NULL, watcher TEXT NOT NULL, granted INTEGER NOT NULL, since INTEGER NOT NULL,
     PRIMARY KEY (domain, user, watcher)) WITHOUT ROWID;
   CREATE TABLE sip_publications (
     domain TEXT NOT NULL, presentity TEXT NOT NULL, tag TEXT NOT NULL, expires INTEGER NOT NULL,
     document BLOB NOT NULL, PRIMARY KEY (domain, presentity, tag)) WITHOUT ROWID;
   CREATE TABLE sip_bindings (
     domain TEXT NOT NULL, address TEXT NOT NULL, contact TEXT NOT NULL, call TEXT NOT NULL, sequence INTEGER NOT NULL,
     expires INTEGER NOT NULL, PRIMARY KEY (domain, address, contact)) WITHOUT ROWID`,
];

/** A user of XMPP who watches one of SIP; `granted` once the SIP side has said yes. */
export interface KeptWatch {
  user: Jid;
  contact: Jid;
  granted: boolean;
}

/** A state that a SIP user agent has published (RFC 3903). */
export interface KeptPublication {
  presentity: Jid;
  tag: string;
  /** When it runs out, in ms. */
  expires: number;
  document: Uint8Array;
}

/** Where a SIP user can be reached (RFC 3261 §10). */
export interface KeptBinding {
  address: Jid;
  contact: string;
  callId: string;
  sequence: number;
  /** When it runs out, in ms. */
  expires: number;
}

/** Rows belong to the SIP domain of their SIP user, so several bridges share the tables without seeing each other's. */
export class Ledger {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
    store.migrate('sip', schema);
  }

  durable(): Promise<void> {
    return this.#store.durable();
  }

  *watches(domains: readonly string[]): IterableIterator<KeptWatch> {
    const statement = this.#store.prepare('SELECT user, contact, granted FROM sip_watches WHERE domain = ?');
    for (const domain of domains) {
      for (const row of statement.all(domain)) {
        yield { user: jid(row.user), contact: jid(row.contact), granted: row.granted === 1 };
      }
    }
  }

  keepWatch({ user, contact, granted }: KeptWatch): void {
    this.#store
      .prepare('INSERT OR REPLACE INTO sip_watches VALUES (?, ?, ?, ?, ?)')
      .run(contact.domain, user.toString(), contact.toString(), granted ? 1 : 0, Date.now());
  }

  dropWatch(user: Jid, contact: Jid): void {
    this.#store
      .prepare('DELETE FROM sip_watches WHERE domain = ? AND user = ? AND contact = ?')
      .run(contact.domain, user.toString(), contact.toString());
  }

  /** Whether a user of XMPP lets a SIP user watch: `none` where that was never asked, or was refused. */
  consent(user: Jid, watcher: Jid): 'none' | 'asked' | 'granted' {
    const row = this.#store
      .prepare('SELECT granted FROM sip_watchers WHERE domain = ? AND user = ? AND watcher = ?')
      .get(watcher.domain, user.toString(), watcher.toString());
    return row === undefined ? 'none' : row.granted === 1 ? 'granted' : 'asked';
  }

  keepConsent(user: Jid, watcher: Jid, granted: boolean): void {
    this.#store
      .prepare('INSERT OR REPLACE INTO sip_watchers VALUES (?, ?, ?, ?, ?)')
      .run(watcher.domain, user.toString(), watcher.toString(), granted ? 1 : 0, Date.now());
  }

  dropConsent(user: Jid, watcher: Jid): void {
    this.#store
      .prepare('DELETE FROM sip_watchers WHERE domain = ? AND user = ? AND watcher = ?')
      .run(watcher.domain, user.toString(), watcher.toString());
  }

  /** How many SIP users have been let, and how many wait for an answer. */
  countConsents(domains: readonly string[]): { granted: number; asked: number } {
    const count = { granted: 0, asked: 0 };
    const statement = this.#store.prepare(
      'SELECT granted, count(*) AS n FROM sip_watchers WHERE domain = ? GROUP BY granted',
    );
    for (const domain of domains) {
      for (const row of statement.all(domain)) count[row.granted === 1 ? 'granted' : 'asked'] += Number(row.n);
    }
    return count;
  }

  *publications(domains: readonly string[]): IterableIterator<KeptPublication> {
    const statement = this.#store.prepare('SELECT * FROM sip_publications WHERE domain = ?');
    for (const domain of domains) {
      for (const row of statement.all(domain)) {
        yield {
          presentity: jid(row.presentity),
          tag: String(row.tag),
          expires: Number(row.expires),
          document: row.document as Uint8Array,
        };
      }
    }
  }

  keepPublication({ presentity, tag, expires, document }: KeptPublication): void {
    this.#store
      .prepare('INSERT OR REPLACE INTO sip_publications VALUES (?, ?, ?, ?, ?)')
      .run(presentity.domain, presentity.toString(), tag, expires, document);
  }

  dropPublication(presentity: Jid, tag: string): void {
    this.#store
      .prepare('DELETE FROM sip_publications WHERE domain = ? AND presentity = ? AND tag = ?')
      .run(presentity.domain, presentity.toString(), tag);
  }

  *bindings(domains: readonly string[]): IterableIterator<KeptBinding> {
    const statement = this.#store.prepare('SELECT * FROM sip_bindings WHERE domain = ?');
    for (const domain of domains) {
      for (const row of statement.all(domain)) yield bindingOf(row);
    }
  }

  keepBinding({ address, contact, callId, sequence, expires }: KeptBinding): void {
    this.#store
      .prepare('INSERT OR REPLACE INTO sip_bindings VALUES (?, ?, ?, ?, ?, ?)')
      .run(address.domain, address.toString(), contact, callId, sequence, expires);
  }

  dropBinding({ address, contact }: KeptBinding): void {
    this.#store
      .prepare('DELETE FROM sip_bindings WHERE domain = ? AND address = ? AND contact = ?')
      .run(address.domain, address.toString(), contact);
  }
}

function bindingOf(row: Row): KeptBinding {
  return {
    address: jid(row.address),
    contact: String(row.contact),
    callId: String(row.call),
    sequence: Number(row.sequence),
    expires: Number(row.expires),
  };
}

function jid(value: unknown): Jid {
  return Jid.parse(String(value));
}
