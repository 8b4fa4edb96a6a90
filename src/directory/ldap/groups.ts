// Groups of the directory: static, dynamic and nested ones, each as the list of the people who are in it in the end.
import type { Group, Groups, Member } from '../../hub/directory.ts';
import type { Log } from '../../hub/log.ts';
import { Jid } from '../../xmpp/jid.ts';
import { Cache } from './cache.ts';
import type { GroupsConfig, LdapConfig } from './config.ts';
import type { Entry } from './connection.ts';
import type { DomainPlace } from './domain.ts';
import { all, any, equal } from './filter.ts';
import { fromLocal, toLocal } from './localpart.ts';
import { parseMemberUrl } from './member-url.ts';
import { isWithin, normalName, parseName } from './name.ts';
import type { People } from './people.ts';
import type { Pool } from './pool.ts';

export interface GroupsParts {
  config: LdapConfig;
  groups: GroupsConfig;
  domain: string;
  pool: Pool;
  log: Log;
  place: DomainPlace;
  people: People;
}

/** Groups kept, listed, and looked into for the sake of one. */
const mostGroups = 1_000;
const mostNested = 200;
const mostUrls = 20;
/** Entries that one search asks for by name. */
const portion = 40;
/** How long all the searches for one group may take together, in ms. */
const groupTime = 15_000;

/** What is being put together for one group. */
interface Gathering {
  base: string;
  members: Map<string, Member>;
  /** Entries that were looked at, by normal name: a group that comes again is in a loop. */
  seen: Set<string>;
  nested: number;
  deadline: number;
}

export class LdapGroups implements Groups {
  readonly domain: string;
  readonly senders: Groups['senders'];
  readonly #parts: GroupsParts;
  readonly #found: Cache<Group | null>;
  readonly #listed: Cache<{ name: string; title: string }[]>;

  constructor(parts: GroupsParts) {
    const { config, groups, domain } = parts;
    this.#parts = parts;
    this.domain = `${groups.host}.${domain}`;
    this.senders = groups.senders;
    const absent = Math.min(config.cache, 60_000);
    this.#found = new Cache({ age: group => (group ? config.cache : absent), most: mostGroups });
    this.#listed = new Cache({ age: () => config.cache, most: 1 });
  }

  async find(name: string): Promise<Group | null> {
    if (name === '' || name.length > 256) return null;
    return this.#found.find(name, deadline => this.#load(name, deadline), performance.now() + groupTime);
  }

  async list(): Promise<{ name: string; title: string }[]> {
    return this.#listed.find('', async deadline => {
      const base = await this.#base(deadline);
      if (base === null) return [];
      const entries = await this.#search(base, this.#parts.groups.filter, mostGroups, deadline);
      return entries.flatMap(entry => {
        const name = toLocal(entry.text(this.#parts.groups.name));
        return name === null ? [] : [{ name, title: this.#titleOf(entry) }];
      });
    });
  }

  async shared(): Promise<readonly Group[]> {
    const { roster } = this.#parts.groups;
    if (roster.length === 0) return [];
    const names = roster.includes('*')
      ? (await this.list()).map(({ name }) => name)
      : roster.map(toLocal).filter(name => name !== null);
    const shared: Group[] = [];
    for (const name of new Set(names)) {
      const group = await this.find(name);
      if (group) shared.push(group);
    }
    return shared;
  }

  #titleOf(entry: Entry): string {
    const { name, title } = this.#parts.groups;
    return entry.text(title).trim() || entry.text(name).trim();
  }

  async #base(deadline: number): Promise<string | null> {
    return this.#parts.groups.base || ((await this.#parts.place.find(deadline))?.base ?? null);
  }

  #search(base: string, filter: string, limit: number, deadline: number): Promise<Entry[]> {
    const { groups, pool } = this.#parts;
    const attributes = [groups.name, groups.title, 'member', 'uniqueMember', 'memberURL'].filter(Boolean);
    return pool.search({ base, filter, attributes, limit }, deadline);
  }

  async #load(name: string, deadline: number): Promise<Group | null> {
    const { groups, place, log, domain } = this.#parts;
    const base = await this.#base(deadline);
    const home = await place.find(deadline);
    if (base === null || !home) return null;
    const found = await this.#search(base, all(groups.filter, equal(groups.name, fromLocal(name))), 3, deadline);
    const entries = found.filter(entry => entry.texts(groups.name).some(text => toLocal(text) === name));
    if (entries.length > 1) {
      log.warn({ domain, entries: entries.map(({ dn }) => dn) }, 'several groups of one name');
      return null;
    }
    const [entry] = entries;
    if (!entry) return null;
    const gathering: Gathering = { base: home.base, members: new Map(), seen: new Set(), nested: 0, deadline };
    await this.#gather([entry], gathering);
    if (gathering.members.size >= groups.members) {
      log.warn({ domain, group: name, members: groups.members }, 'a group has more members than are looked at');
    }
    return { name, title: this.#titleOf(entry), members: [...gathering.members.values()] };
  }

  /** The members of these groups, then of the groups that are members of them, level by level. */
  async #gather(entries: readonly Entry[], gathering: Gathering): Promise<void> {
    const { groups } = this.#parts;
    let level = entries;
    for (let depth = 0; level.length > 0 && depth <= groups.nesting; depth++) {
      const names = new Map<string, string>();
      for (const group of level) {
        gathering.seen.add(normalName(group.dn) ?? group.dn);
        for (const url of group.texts('memberURL').slice(0, mostUrls)) await this.#addByUrl(url, gathering);
        // A uniqueMember may end in a bit string (RFC 4517 §3.3.21).
        for (const text of [...group.texts('member'), ...group.texts('uniqueMember')]) {
          const dn = text.replace(/#'[01]*'B$/, '');
          const normal = normalName(dn);
          if (normal && !gathering.seen.has(normal) && names.size < groups.members * 2) names.set(normal, dn);
        }
      }
      for (const name of names.keys()) gathering.seen.add(name);
      level = await this.#addByName(names, gathering);
    }
  }

  /** Adds the people among the entries of these names; gives the groups among them. */
  async #addByName(names: ReadonlyMap<string, string>, gathering: Gathering): Promise<Entry[]> {
    const { groups, people } = this.#parts;
    const { deadline } = gathering;
    const nested: Entry[] = [];
    const waiting = [...names];
    while (waiting.length > 0 && gathering.members.size < groups.members) {
      const asked = new Map(waiting.splice(0, portion));
      for (const entry of await this.#named(asked, gathering.base, people.everybody, people.attributes, deadline)) {
        this.#add(entry, gathering);
        asked.delete(normalName(entry.dn) ?? '');
      }
      if (asked.size === 0 || gathering.nested >= mostNested) continue;
      const base = (await this.#base(deadline)) ?? gathering.base;
      const attributes = ['member', 'uniqueMember', 'memberURL'];
      const found = await this.#named(asked, base, groups.filter, attributes, deadline);
      gathering.nested += found.length;
      nested.push(...found);
    }
    return nested;
  }

  /** The entries of these names that match a filter: one search for many, by the first components of the names. */
  async #named(
    names: ReadonlyMap<string, string>,
    base: string,
    filter: string,
    attributes: string[],
    deadline: number,
  ): Promise<Entry[]> {
    const firsts = new Set<string>();
    for (const dn of names.values()) {
      const first = parseName(dn)?.[0]?.[0];
      if (first && isWithin(dn, base)) firsts.add(equal(first.type, first.value));
    }
    if (firsts.size === 0) return [];
    // Others may have the same first component elsewhere in the tree.
    const limit = firsts.size * 10;
    const search = { base, filter: all(filter, any(...firsts)), attributes, limit };
    const found = await this.#parts.pool.search(search, deadline);
    return found.filter(({ dn }) => names.has(normalName(dn) ?? ''));
  }

  async #addByUrl(text: string, gathering: Gathering): Promise<void> {
    const { domain, groups, people, pool, log } = this.#parts;
    const url = parseMemberUrl(text);
    const left = groups.members - gathering.members.size;
    if (left <= 0) return;
    const base = url && (url.base === '' ? gathering.base : url.base);
    // Whoever is above the domain's base is in the whole of it; outside of it are other domains' people.
    const above = base !== null && url?.scope === 'sub' && isWithin(gathering.base, base);
    if (!url || base === null || !(above || isWithin(base, gathering.base))) {
      log.warn({ domain, url: text.slice(0, 200) }, 'a memberURL cannot be followed');
      return;
    }
    const filter = all(people.everybody, url.filter);
    const search = {
      base: above ? gathering.base : base,
      scope: url.scope,
      filter,
      attributes: people.attributes,
      limit: left,
    };
    for (const entry of await pool.search(search, gathering.deadline)) this.#add(entry, gathering);
  }

  #add(entry: Entry, { base, members }: Gathering): void {
    const { domain, groups, people } = this.#parts;
    const known = isWithin(entry.dn, base) ? people.read(entry) : null;
    if (!known || members.size >= groups.members) return;
    const { user, name } = known.person;
    members.set(user, { jid: Jid.of(user, domain, ''), name: name ?? '' });
  }
}
