// The contract of a directory: who the users of a hosted domain are.
import type { Jid } from '../xmpp/jid.ts';
import type { ScramHash, ScramKeys } from '../xmpp/sasl/scram.ts';

/** A user. `user` is the localpart of the address; the rest is whatever the directory knows. */
export interface Person {
  readonly user: string;
  readonly name?: string;
  readonly mail?: string;
  readonly mobile?: string;
}

/** What somebody is looked for by: all of it matches. `*` stands for anything where the directory allows that. */
export interface PersonQuery {
  readonly user?: string;
  readonly name?: string;
  readonly mail?: string;
  readonly mobile?: string;
}

export interface Photo {
  /** `image/jpeg`, `image/png` or `image/gif`. */
  readonly type: string;
  readonly data: Uint8Array;
}

export interface Member {
  readonly jid: Jid;
  readonly name: string;
}

export interface Group {
  /** The localpart of its address. */
  readonly name: string;
  readonly title: string;
  readonly members: readonly Member[];
}

/** The groups of a domain: they have addresses of their own, and may stand in their members' rosters. */
export interface Groups {
  /** Where their addresses are: `groups.hub.test`. */
  readonly domain: string;
  /** Who may write to a group. */
  readonly senders: 'members' | 'domain' | 'anyone';
  /** Null: there is no such group. Members of nested groups are among the members. */
  find(name: string): Promise<Group | null>;
  /** Names and titles; bounded. */
  list(): Promise<{ name: string; title: string }[]>;
  /** The groups whose members see each other in their rosters. */
  shared(): Promise<readonly Group[]>;
}

export interface Directory {
  readonly name: string;
  /** Null: there is no such user. Answers from a cache wherever it can: routing asks this. */
  find(user: string): Person | null | Promise<Person | null>;
  /** Whether that is the user's password. Rejects when it cannot be known now. */
  verify(user: string, password: string): Promise<boolean>;
  /** The user's SCRAM keys, or null where the directory holds none (then only PLAIN works). */
  scram(user: string, hash: ScramHash): Promise<ScramKeys | null>;
  /** Whether any user can have SCRAM keys: decides which mechanisms are offered. */
  readonly offersScram: boolean;
  /** People that match free text or a query; bounded by the directory's search limit. */
  search(query: string | PersonQuery): AsyncIterable<Person>;
  /** The user (a localpart) whom a login name means, where that may be something else: a mail address, say. */
  userOf?(login: string): Promise<string | null>;
  photo?(user: string): Promise<Photo | null>;
  /** Further names of the domain that the directory knows of. */
  aliases?(): Promise<readonly string[]>;
  readonly groups?: Groups;
  /** Whom a mail address belongs to. */
  findByMail?(mail: string): Promise<Person | null>;
  /** Sets or, given '', clears what is known of a user. Resolves to false where there is no such user. */
  setAttribute?(user: string, attribute: 'name' | 'mail' | 'mobile', value: string): Promise<boolean>;
  /** Accounts that can be made and changed here; absent where the directory is read-only. */
  readonly writable?: WritableDirectory;
  close?(): Promise<void>;
}

export interface WritableDirectory {
  /** Rejects with a StanzaError `conflict` when the user exists. The password is prepared by SASLprep and never kept. */
  add(user: string, password: string): Promise<void>;
  /** Resolves to false when there is no such user. */
  setPassword(user: string, password: string): Promise<boolean>;
  remove(user: string): Promise<boolean>;
  /** Like `add`, with SCRAM keys from elsewhere instead of a password. */
  addKeys?(user: string, keys: readonly ScramKeys[]): Promise<void>;
  list(): Iterable<string> | AsyncIterable<string>;
}
