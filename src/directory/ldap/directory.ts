// The people of one hosted domain, as an LDAP directory knows them.
import type { Directory, Groups, Person, PersonQuery, Photo, WritableDirectory } from '../../hub/directory.ts';
import type { Log } from '../../hub/log.ts';
import { Jid } from '../../xmpp/jid.ts';
import type { ScramHash, ScramKeys } from '../../xmpp/sasl/scram.ts';
import { Cache } from './cache.ts';
import type { LdapConfig } from './config.ts';
import { type Entry, patience } from './connection.ts';
import { DomainPlace } from './domain.ts';
import { LdapGroups } from './groups.ts';
import { isWithin } from './name.ts';
import { type Known, People } from './people.ts';
import type { Pool } from './pool.ts';
import { Registration } from './registration.ts';
import { keysOf } from './stored-keys.ts';

/** People kept in the cache, and photos, which are large. */
const mostKnown = 20_000;
const mostPhotos = 200;
/** How long somebody who was not found is not looked for again, in ms (at most; `cache` may be shorter). */
const absence = 60_000;
/** A login wants to know a person no longer ago than this: who may log in shall not be decided by an old answer. */
const loginAge = 30_000;
/** Photos larger than this do not fit into the stanzas that carry them. */
const largestPhoto = 128 * 1024;
const longestName = 256;
/** Of the 5 s that a login waits at most, in ms: for finding out who that is, and for the password. */
const nameTime = 2_000;
const passwordTime = 2_500;

export class LdapDirectory implements Directory {
  readonly name: string;
  readonly groups: Groups | undefined;
  readonly writable: WritableDirectory | undefined;
  readonly #config: LdapConfig;
  readonly #domain: string;
  readonly #pool: Pool;
  readonly #log: Log;
  readonly #place: DomainPlace;
  readonly #people: People;
  readonly #known: Cache<Known | null>;
  readonly #logins: Cache<string | null>;
  readonly #photos: Cache<Photo | null>;

  constructor(config: LdapConfig, domain: string, pool: Pool, log: Log) {
    this.name = config.name;
    this.#config = config;
    this.#domain = domain;
    this.#pool = pool;
    this.#log = log;
    this.#place = new DomainPlace(config, domain, pool, log);
    this.#people = new People(config, domain);
    const absent = Math.min(config.cache, absence);
    const age = (value: object | null) => (value === null ? absent : config.cache);
    this.#known = new Cache<Known | null>({ age, most: mostKnown });
    // Somebody who was refused may have been made or let in meanwhile.
    this.#logins = new Cache<string | null>({ age: login => (login === null ? 1_000 : absent), most: mostKnown });
    this.#photos = new Cache<Photo | null>({ age, most: mostPhotos });
    const { groups, registration } = config;
    if (groups)
      this.groups = new LdapGroups({ config, groups, domain, pool, log, place: this.#place, people: this.#people });
    if (registration) {
      this.writable = new Registration({
        config,
        registration,
        domain,
        pool,
        place: this.#place,
        people: this.#people,
        find: user => this.#refresh(user),
        changed: user => this.#forget(user),
      });
    }
  }

  get offersScram(): boolean {
    return this.#config.passwords === 'stored';
  }

  find(user: string): Person | null | Promise<Person | null> {
    const known = this.#known.find(user, until => this.#load(user, until));
    return known instanceof Promise ? known.then(one => one?.person ?? null) : (known?.person ?? null);
  }

  async verify(user: string, password: string): Promise<boolean> {
    if (password === '') return false;
    const deadline = performance.now() + passwordTime;
    const recent = this.#known.get(user, loginAge) ?? null;
    const known = recent ?? (await this.#refresh(user, deadline));
    if (!known) return false;
    if (await this.#pool.authenticates(known.dn, password, deadline)) return true;
    if (!recent) return false;
    // The entry may have moved since it was looked up.
    const now = await this.#refresh(user, deadline);
    return now !== null && now.dn !== known.dn && this.#pool.authenticates(now.dn, password, deadline);
  }

  async scram(user: string, hash: ScramHash): Promise<ScramKeys | null> {
    if (!this.offersScram) return null;
    const deadline = performance.now() + passwordTime;
    const { password } = this.#config.attributes;
    const read = (known: Known | null) => known && this.#entry(known.dn, [password, 'authPassword'], [], deadline);
    const recent = this.#known.get(user, loginAge) ?? null;
    // The entry may have moved since it was looked up.
    const entry = (await read(recent)) ?? (await read(await this.#refresh(user, deadline)));
    return entry && keysOf([...entry.texts('authPassword'), ...entry.texts(password)], hash, user);
  }

  /** The localpart itself where there is such a user; else whoever the login filter finds, if it is one. */
  async userOf(login: string): Promise<string | null> {
    const name = login.trim();
    if (name === '' || name.length > longestName) return null;
    const deadline = performance.now() + nameTime;
    const bare = name.endsWith(`@${this.#domain}`) ? name.slice(0, -this.#domain.length - 1) : name;
    const local = bare.includes('@') ? null : (Jid.tryParse(`${bare}@${this.#domain}`)?.local ?? null);
    if (local && (await this.#look(local, loginAge, deadline))) return local;
    const known = this.#logins.get(name);
    if (known !== undefined) return known;
    // Not `find`: an old answer would refuse somebody whom only the directory can.
    const load = async (until: number) =>
      (await this.#one(this.#people.byLogin(name), undefined, until))?.person.user ?? null;
    return this.#logins.refresh(name, load, deadline);
  }

  async *search(query: string | PersonQuery): AsyncGenerator<Person> {
    const filter = this.#people.byQuery(query);
    const deadline = performance.now() + patience;
    const place = filter === null ? null : await this.#place.find(deadline);
    if (filter === null || !place) return;
    const { searchLimit } = this.#config;
    for (const entry of await this.#entries(place.base, filter, searchLimit, deadline)) {
      const known = this.#people.read(entry);
      if (known) yield known.person;
    }
  }

  async findByMail(mail: string): Promise<Person | null> {
    const filter = this.#people.byMail(mail);
    return filter === null
      ? null
      : ((await this.#one(filter, undefined, performance.now() + patience))?.person ?? null);
  }

  async photo(user: string): Promise<Photo | null> {
    const { photo } = this.#config.attributes;
    if (photo === '') return null;
    return this.#photos.find(user, async deadline => {
      const known = await this.#look(user, Number.POSITIVE_INFINITY, deadline);
      const entry = known && (await this.#entry(known.dn, [photo], [photo], deadline));
      for (const value of entry?.bytes(photo) ?? []) {
        const data = Buffer.from(value as Buffer);
        const type = imageType(data);
        if (type && data.length <= largestPhoto) return { type, data };
      }
      return null;
    });
  }

  async aliases(): Promise<readonly string[]> {
    return (await this.#place.find())?.aliases ?? [];
  }

  #forget(user: string): void {
    this.#known.delete(user);
    this.#photos.delete(user);
  }

  /** A person as known, looked up anew where that is older than `youngest` ms or nobody was found. */
  async #look(user: string, youngest: number, deadline: number): Promise<Known | null> {
    return this.#known.get(user, youngest) ?? this.#refresh(user, deadline);
  }

  #refresh(user: string, deadline?: number): Promise<Known | null> {
    return this.#known.refresh(user, until => this.#load(user, until), deadline);
  }

  #load(user: string, deadline: number): Promise<Known | null> {
    if (user === '' || user.length > longestName) return Promise.resolve(null);
    return this.#one(this.#people.byUser(user), user, deadline);
  }

  /** The one person that a filter finds; null where there is none, or more than one. */
  async #one(filter: string, user: string | undefined, deadline: number): Promise<Known | null> {
    const place = await this.#place.find(deadline);
    if (!place) return null;
    const entries = await this.#entries(place.base, filter, 3, deadline);
    // Matching in the directory is laxer than the comparison of localparts.
    const found = entries
      .map(entry => this.#people.read(entry))
      .filter(known => known !== null && (user === undefined || known.person.user === user));
    if (found.length > 1) {
      this.#log.warn({ domain: this.#domain, entries: found.map(one => one?.dn) }, 'several entries for one user');
      return null;
    }
    return found[0] ?? null;
  }

  async #entries(base: string, filter: string, limit: number, deadline: number): Promise<Entry[]> {
    const search = { base, filter, limit, attributes: this.#people.attributes };
    const entries = await this.#pool.search(search, deadline);
    return entries.filter(({ dn }) => isWithin(dn, base));
  }

  async #entry(dn: string, attributes: string[], binary: string[], deadline: number): Promise<Entry | null> {
    const search = { base: dn, scope: 'base' as const, filter: '(objectClass=*)', attributes, binary, limit: 1 };
    return (await this.#pool.search(search, deadline))[0] ?? null;
  }
}

/** By the first bytes. */
function imageType(data: Buffer): string | null {
  if (data.length < 8) return null;
  if (data[0] === 0xff && data[1] === 0xd8) return 'image/jpeg';
  if (data.toString('latin1', 0, 4) === '\x89PNG') return 'image/png';
  return data.toString('latin1', 0, 4) === 'GIF8' ? 'image/gif' : null;
}
