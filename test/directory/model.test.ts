// Directories against a simple model: whatever becomes of the servers, nobody gets in who may not, what cannot be known is said to be so, and every question has an answer in time.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Directories } from '../../src/directory/directories.ts';
import { GroupRoute } from '../../src/directory/group-route.ts';
import type { Directory } from '../../src/hub/directory.ts';
import type { Hub } from '../../src/hub/module.ts';
import { Router } from '../../src/hub/router.ts';
import { el } from '../../src/xmpp/element.ts';
import { StanzaError } from '../../src/xmpp/errors.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { PlainServer, plainMessage } from '../../src/xmpp/sasl/plain.ts';
import { SaslError } from '../../src/xmpp/sasl/sasl.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';
import { Random } from '../fuzz/random.ts';
import { type Behaviour, keyOf, parseLdif, type StandInEntry, serveLdap } from '../support/ldap.ts';
import { type Condition, Host, useHosts } from '../support/lossy-network.ts';
import { openDirectories } from '../support/open-directories.ts';
import { VirtualTime } from '../support/virtual-time.ts';

const base = 'dc=hub,dc=test';
const reader = `cn=reader,${base}`;
const tree = `dn: ${base}\nobjectClass: domain

dn: ${reader}\nobjectClass: applicationProcess\nuserPassword: reader secret

dn: ou=people,${base}\nobjectClass: organizationalUnit

dn: ou=others,${base}\nobjectClass: organizationalUnit

dn: ou=groups,${base}\nobjectClass: organizationalUnit

dn: o=internet\nobjectClass: organization

dn: dc=hub,dc=test,o=internet\nobjectClass: inetDomain\ninetDomainBaseDN: ${base}`;

const users = ['romeo', 'juliet', 'nurse', 'tybalt', 'päris'];
const houses = ['montague', 'capulet'];
/** Whoever comes by these names is nobody. */
const hostile = [
  '*',
  'romeo)(uid=*',
  'x)(|(uid=*',
  '\\2a',
  'romeo,ou=people',
  'a\u0001b',
  '(',
  'r'.repeat(2000),
  ' ',
  '@',
  'æ*',
];
const groups = ['flat', 'house', 'nested', 'loop', 'pool'];

/** So small that everything happens often; times are ms. */
const sizes = { servers: [1, 2, 2, 3], connections: [1, 2, 3], cache: [0, 2_000, 20_000, 720_000], steps: 250 };
const layouts = ['flat', 'dc-tree, domain-root: "o=internet"', 'organisations'];
/** A login is answered in this time, and so is everything else but groups, which take many searches. */
const bound = 5_000;
const groupBound = 15_000;
/** Whoever asks for what is being looked up already gets that: it may have been read so long ago. */
const shared = 5_000;
/** How long it counts whom a login name means, and that it means nobody. */
const nameAge = 60_000;
const nobodyAge = 1_000;
/** An answer that is this many times too old still counts while nobody answers. */
const old = 20;

interface Person {
  password: string;
  keys: string;
  mail: string;
  house: string;
  unit: string;
}

/** What a directory holds at one time. */
interface State {
  people: Record<string, Person>;
  /** Names of people, and of groups behind an `=`. */
  groups: Record<string, string[]>;
  aliases: string[];
}

const dnOf = (user: string, { unit }: Person) => `uid=${user},ou=${unit},${base}`;

function membersOf(state: State, name: string, seen = new Set<string>()): Set<string> {
  const members = new Set<string>();
  if (name === 'house') {
    for (const [user, { house }] of Object.entries(state.people)) if (house === 'capulet') members.add(user);
    return members;
  }
  for (const member of state.groups[name] ?? []) {
    if (!member.startsWith('=')) {
      if (state.people[member]) members.add(member);
    } else if (!seen.has(member)) {
      for (const one of membersOf(state, member.slice(1), seen.add(member))) members.add(one);
    }
  }
  return members;
}

class Server {
  readonly host: Host;
  behaviour: Behaviour = {};
  /** Times at which it began or ceased to be well. */
  readonly #history: [number, boolean][] = [[0, true]];

  constructor(entries: Map<string, StandInEntry>) {
    const options = { reader };
    this.host = new Host((socket: Socket) =>
      serveLdap(socket, { entries, operations: [], options, behaviour: () => this.behaviour }),
    );
  }

  note(now: number, well: boolean): void {
    this.#history.push([now, well]);
  }

  wellThroughout(from: number, to: number): boolean {
    return this.#history.every(([at, well], i) => {
      const until = this.#history[i + 1]?.[0] ?? Number.POSITIVE_INFINITY;
      return well || at > to || until < from;
    });
  }
}

class Model {
  readonly #random: Random;
  readonly #time: VirtualTime;
  readonly #entries = new Map(parseLdif(tree).map(entry => [keyOf(entry.dn), entry]));
  readonly #history: { at: number; state: State }[] = [];
  readonly #servers: Server[];
  readonly #connections: number;
  readonly #cache: number;
  readonly #release: () => void;
  readonly #directories: Directories;
  readonly #directory: Directory;
  readonly #router: Router;
  /** Bodies by who was sent them: the recipient, or the sender of an error. */
  readonly #arrived = new Map<string, { to: string; from: string; error: string | null }[]>();
  readonly #failures: Error[] = [];
  #underWay = 0;
  #closed = false;
  #serial = 0;

  constructor(random: Random, time: VirtualTime) {
    this.#random = random;
    this.#time = time;
    const state: State = { people: {}, groups: {}, aliases: [] };
    for (const user of users) state.people[user] = this.#person(user);
    state.groups = {
      flat: ['romeo', 'juliet'],
      house: [],
      nested: ['=flat', '=house', 'nurse'],
      loop: ['=pool', 'romeo'],
      pool: ['=loop', '=pool', 'juliet'],
    };
    this.#commit(state);
    const names = Array.from({ length: random.pick(sizes.servers) }, (_, i) => `server${i}`);
    this.#servers = names.map(() => new Server(this.#entries));
    this.#connections = random.pick(sizes.connections);
    this.#cache = random.pick(sizes.cache);
    this.#release = useHosts(new Map(names.map((name, i) => [name, this.#servers[i].host])));
    this.#directories = openDirectories(`url: [${names.map(name => `"ldap://${name}"`)}], base: "${base}",
      layout: ${random.pick(layouts)}, passwords: stored, groups: { roster: ["*"] },
      bind: { dn: "${reader}", password: reader secret },
      login-filter: "(&(objectClass=inetOrgPerson)(|(uid={0})(mail={0})))", wildcards: [name, mail],
      cache: ${this.#cache}ms, connections: ${this.#connections}`);
    this.#directory = this.#directories.get('hub.test')!;
    const groupRoute = new GroupRoute(this.#directories);
    this.#router = new Router([
      groupRoute,
      {
        name: 'people',
        owns: to => to.domain === 'hub.test',
        // As for people who are away.
        deliver: async stanza => {
          if (!stanza.isError && !(await this.#directory.find(stanza.to!.local))) {
            throw new StanzaError('service-unavailable');
          }
          const error = stanza.element.child('error')?.all()[0]?.name ?? null;
          const [to, from] = [stanza.to!.local, stanza.from!.toString()];
          this.#arrived.get(stanza.id ?? '')?.push({ to, from, error: stanza.isError ? error : null });
        },
      },
    ]);
    groupRoute.attach({ router: this.#router, itemsFrom: () => {} } as unknown as Hub);
  }

  get #now(): number {
    return this.#time.now;
  }

  get #state(): State {
    return this.#history.at(-1)!.state;
  }

  #person(user: string): Person {
    const random = this.#random;
    const keys = [16, 32, 32].map(length => randomBytes(length).toString('base64'));
    return {
      password: `secret ${++this.#serial}`,
      keys: `SCRAM-SHA-256$4096:${keys[0]}$${keys[1]}:${keys[2]}`,
      mail: `${user}${random.below(3)}@mail.test`,
      house: random.pick(houses),
      unit: random.pick(['people', 'others']),
    };
  }

  /** What the directory holds from now on. */
  #commit(state: State): void {
    this.#history.push({ at: this.#now, state });
    const put = (dn: string, attributes: Record<string, string[]>) => {
      const values = Object.entries(attributes).map(
        ([name, texts]) => [name.toLowerCase(), { name, values: texts.map(text => Buffer.from(text)) }] as const,
      );
      this.#entries.set(keyOf(dn), { dn, attributes: new Map(values) });
    };
    for (const dn of this.#entries.keys()) if (/^(uid|cn=(?!reader))/.test(dn)) this.#entries.delete(dn);
    for (const [user, person] of Object.entries(state.people)) {
      put(dnOf(user, person), {
        objectClass: ['inetOrgPerson'],
        uid: [user],
        cn: [`${user} of ${person.house}`],
        mail: [person.mail],
        departmentNumber: [person.house],
        userPassword: [person.password],
        authPassword: [person.keys],
      });
    }
    for (const [name, members] of Object.entries(state.groups)) {
      const dns = members.map(member => {
        if (member.startsWith('=')) return `cn=${member.slice(1)},ou=groups,${base}`;
        const person = state.people[member];
        return person ? dnOf(member, person) : `uid=${member},ou=people,${base}`;
      });
      const url = `ldap:///${base}??sub?(departmentNumber=capulet)`;
      if (name === 'house')
        put(`cn=house,ou=groups,${base}`, { objectClass: ['groupOfURLs'], cn: [name], memberURL: [url] });
      else put(`cn=${name},ou=groups,${base}`, { objectClass: ['groupOfNames'], cn: [name], member: dns });
    }
    const values = ['hub.test', ...state.aliases].map(name => Buffer.from(name));
    for (const dn of [base, 'dc=hub,dc=test,o=internet']) {
      this.#entries.get(dn)!.attributes.set('associateddomain', { name: 'associatedDomain', values });
    }
  }

  /** All that the directory held at some time between these. */
  #between(from: number, to: number): State[] {
    return this.#history
      .filter(({ at }, i) => at <= to && (this.#history[i + 1]?.at ?? Number.POSITIVE_INFINITY) >= from)
      .map(({ state }) => state);
  }

  #answering(from: number, to: number): boolean {
    return !this.#closed && this.#servers.some(server => server.wellThroughout(from, to));
  }

  async step(): Promise<void> {
    const random = this.#random;
    const kind = random.below(100);
    if (kind < 5) for (let n = 0; n < 10; n++) this.#ask();
    else if (kind < 70) this.#ask();
    else if (kind < 84) this.#change();
    else this.#trouble();
    if (random.chance(70)) await this.#time.pass(random.pick([0, 1, 5, 50, 300, 1_000, 3_000, 15_000]));
    this.#check();
  }

  #ask(): void {
    const kind = this.#random.below(70);
    if (kind < 30) this.#login();
    else if (kind < 38) this.#scram();
    else if (kind < 46) this.#find();
    else if (kind < 50) this.#search();
    else if (kind < 52) this.#owner();
    else if (kind < 62) this.#message();
    else if (kind < 66) this.#group();
    else if (kind < 68) this.#shared();
    else this.#aliases();
  }

  /** What holds at every time. */
  #check(): void {
    if (this.#failures.length > 0) throw this.#failures[0];
    for (const { host } of this.#servers) assert.ok(host.peak <= this.#connections, `${host.peak} connections`);
  }

  /** All is well in the end, without anybody's doing. */
  async close(): Promise<void> {
    for (const server of this.#servers) this.#heal(server);
    await this.#time.pass(60_000);
    this.#check();
    assert.equal(this.#underWay, 0, 'something never ended');
    for (const user of users) {
      const person = this.#state.people[user];
      if (person) this.#login(user, person.password);
      this.#find(user);
      this.#scram(user);
    }
    for (const name of groups) {
      this.#group(name);
      this.#message(name);
    }
    await this.#time.pass(60_000);
    this.#check();
    assert.ok(this.#directories.servers.every(({ down }) => !down));
    await this.#time.pass(180_000);
    assert.ok(
      this.#directories.servers.every(({ open }) => open === 0),
      'connections leaked',
    );
    assert.ok(
      this.#servers.every(({ host }) => host.open === 0),
      'connections stay open',
    );
    for (let n = 0; n < 10; n++) this.#ask();
    await this.#time.pass(this.#random.below(10));
    this.#closed = true;
    this.#directories.close();
    await this.#time.pass(20_000);
    this.#check();
    assert.equal(this.#underWay, 0, 'something outlived the directory');
    assert.ok(
      this.#servers.every(({ host }) => host.open === 0),
      'connections outlived the directory',
    );
  }

  release(): void {
    this.#release();
  }

  /** Begins an operation, and judges it when it ends. */
  #begin<T>(
    what: string,
    longest: number,
    work: () => T | Promise<T>,
    judge: (outcome: T | Error, from: number) => void,
  ): void {
    const from = this.#now;
    this.#underWay++;
    const ended = (outcome: T | Error) => {
      this.#underWay--;
      try {
        assert.ok(this.#now - from <= longest, `it took ${this.#now - from} ms`);
        judge(outcome, from);
      } catch (error) {
        this.#failures.push(new Error(`${what}, ${from} to ${this.#now} ms`, { cause: error }));
      }
    };
    Promise.resolve().then(work).then(ended, ended);
  }

  /** Nothing could be known: that is only so where no server was well. */
  #unknown(error: Error, from: number): void {
    assert.ok(error instanceof StanzaError && error.condition === 'resource-constraint', String(error.stack));
    assert.ok(!this.#answering(from - shared, this.#now), `a server was well: ${error.message}`);
  }

  /** Since when an answer may have been true. */
  #oldest(from: number): number {
    return from - this.#cache * (this.#answering(from - shared, this.#now) ? 1 : old);
  }

  #login(user?: string, right?: string): void {
    const random = this.#random;
    const { people } = this.#state;
    const names = [
      ...users,
      ...users.map(name => name.toUpperCase()),
      ...hostile,
      ...Object.values(people).map(({ mail }) => mail),
    ];
    const name = user ?? random.pick(names);
    const passwords = this.#history.flatMap(({ state }) => Object.values(state.people).map(({ password }) => password));
    const of = (state: State) => {
      const local = name.toLowerCase();
      return state.people[local] ? local : Object.keys(state.people).filter(one => state.people[one].mail === name);
    };
    const current = [of(this.#state)].flat()[0];
    const password =
      right ?? (current && random.chance(70) ? people[current].password : random.pick(['*', ...passwords.slice(-8)]));
    const server = new PlainServer(
      (one, secret) => this.#directory.verify(one, secret),
      one => this.#directory.userOf!(one),
    );
    this.#begin(
      `login of ${name.slice(0, 20)} with ${password}`,
      bound,
      () => server.step(plainMessage(name, password)),
      (outcome, from) => {
        const during = this.#between(from, this.#now);
        const meant = (ago: number) =>
          this.#between(from - shared - Math.min(ago, this.#cache), this.#now).map(state => [of(state)].flat());
        const fits = (one: string) => during.some(({ people: at }) => at[one]?.password === password);
        const differs = (one: string) => during.some(({ people: at }) => at[one]?.password !== password);
        if (!(outcome instanceof Error)) {
          const { user: who } = outcome as { user: string };
          assert.ok(fits(who), `${who} got in with a wrong password`);
          assert.ok(meant(nameAge).flat().includes(who), `${who} was never meant`);
        } else if (outcome instanceof SaslError) {
          assert.equal(outcome.condition, 'not-authorized');
          const nobody = meant(nobodyAge).some(ones => ones.length !== 1);
          assert.ok(nobody || meant(nameAge).flat().some(differs), 'a right password was refused');
        } else {
          this.#unknown(outcome, from);
        }
      },
    );
  }

  #scram(name = this.#random.pick([...users, ...hostile])): void {
    this.#begin(
      `keys of ${name.slice(0, 20)}`,
      bound,
      async () => {
        const user = await this.#directory.userOf!(name);
        return user === null ? null : this.#directory.scram(user, 'SHA-256');
      },
      (outcome, from) => {
        if (outcome instanceof Error) return this.#unknown(outcome, from);
        const during = this.#between(from, this.#now);
        if (outcome === null) {
          const there = this.#between(from - shared, this.#now).every(({ people }) => people[name]);
          return assert.ok(!there, 'there were keys');
        }
        const stored = Buffer.from(outcome.storedKey).toString('base64');
        assert.ok(
          during.some(({ people }) => people[name]?.keys.includes(`$${stored}:`)),
          'the keys are not those of the directory',
        );
      },
    );
  }

  #find(user = this.#random.pick([...users, ...hostile])): void {
    this.#begin(
      `lookup of ${user.slice(0, 20)}`,
      bound,
      () => this.#directory.find(user),
      (outcome, from) => {
        if (outcome instanceof Error) return this.#unknown(outcome, from);
        const mail = outcome?.mail ?? null;
        assert.ok(outcome === null || outcome.user === user);
        const known = this.#between(this.#oldest(from), this.#now).map<string | null>(
          ({ people }) => people[user]?.mail ?? null,
        );
        assert.ok(known.includes(mail), `${mail} is not among ${known}`);
      },
    );
  }

  #search(): void {
    const random = this.#random;
    const text = random.pick(['*', 'romeo*', '*capulet', ...hostile]);
    const matches = new RegExp(
      `^${text
        .split('*')
        .map(part => part.replace(/[\\()]/g, '\\$&'))
        .join('.*')}$`,
      'iu',
    );
    const nameOf = (state: State, user: string) => `${user} of ${state.people[user]?.house}`;
    this.#begin(
      `search for ${text.slice(0, 20)}`,
      bound,
      async () => {
        const found: string[] = [];
        for await (const { user } of this.#directory.search({ name: text })) found.push(user);
        return found;
      },
      (outcome, from) => {
        if (outcome instanceof Error) return this.#unknown(outcome, from);
        const during = this.#between(from, this.#now);
        for (const user of users) {
          const shown = during.map(
            state => state.people[user] !== undefined && /[^*\s]/.test(text) && matches.test(nameOf(state, user)),
          );
          if (text !== '*') assert.ok(shown.includes(outcome.includes(user)), user);
        }
      },
    );
  }

  /** Whom a mail address belongs to. */
  #owner(): void {
    const mail = `${this.#random.pick(users)}${this.#random.below(3)}@mail.test`;
    this.#begin(
      `owner of ${mail}`,
      bound,
      () => this.#directory.findByMail!(mail),
      (outcome, from) => {
        if (outcome instanceof Error) return this.#unknown(outcome, from);
        const owners = this.#between(from, this.#now).map(({ people }) => {
          const found = Object.keys(people).filter(user => people[user].mail === mail);
          return found.length === 1 ? found[0] : null;
        });
        assert.ok(owners.includes(outcome?.user ?? null), `${outcome?.user} is not among ${owners}`);
      },
    );
  }

  #shared(): void {
    this.#begin(
      'shared groups',
      bound + groups.length * groupBound,
      () => this.#directory.groups!.shared(),
      (outcome, from) => {
        if (outcome instanceof Error) return this.#unknown(outcome, from);
        assert.deepEqual(outcome.map(({ name }) => name).sort(), [...groups].sort());
        for (const { name, members } of outcome)
          this.#checkMembers(
            name,
            members.map(({ jid }) => jid.local),
            from,
          );
      },
    );
  }

  #aliases(): void {
    this.#begin(
      'aliases',
      bound,
      () => this.#directory.aliases!(),
      (outcome, from) => {
        if (outcome instanceof Error) return this.#unknown(outcome, from);
        const known = this.#between(this.#oldest(from), this.#now).map(({ aliases }) => String(aliases));
        assert.ok(outcome.length === 0 || known.includes(String(outcome)));
      },
    );
  }

  /** The members are those that the directory gave, each by itself: a group is not read all at one time. */
  #checkMembers(name: string, members: readonly string[], from: number): void {
    const states = this.#between(this.#oldest(from), this.#now);
    assert.equal(new Set(members).size, members.length, 'somebody is in it twice');
    for (const user of users) {
      const known = states.map(state => membersOf(state, name).has(user));
      assert.ok(
        known.includes(members.includes(user)),
        `${user} ${members.includes(user) ? 'is' : 'is not'} in ${name}`,
      );
    }
  }

  #group(name = this.#random.pick([...groups, ...hostile])): void {
    this.#begin(
      `group ${name.slice(0, 20)}`,
      groupBound,
      () => this.#directory.groups!.find(name),
      (outcome, from) => {
        if (outcome instanceof Error) return this.#unknown(outcome, from);
        if (!outcome)
          return assert.ok(
            this.#between(this.#oldest(from), this.#now).some(state => !state.groups[name]),
            'there is such a group',
          );
        this.#checkMembers(
          name,
          outcome.members.map(({ jid }) => jid.local),
          from,
        );
      },
    );
  }

  #message(name = this.#random.pick([...groups, 'nothing'])): void {
    const sender = this.#random.pick(users);
    const id = `message ${++this.#serial}`;
    const arrived: { to: string; from: string; error: string | null }[] = [];
    this.#arrived.set(id, arrived);
    const [from, to] = [Jid.parse(`${sender}@hub.test/balcony`), Jid.parse(`${name}@groups.hub.test`)];
    const stanza = Stanza.of('message', { from, to, type: 'chat', id }, el('body', ns.client, {}, id));
    this.#begin(
      `${id} to ${name}`,
      groupBound + bound,
      () => this.#router.route(stanza, { kind: 'session', name: sender }),
      (_outcome, since) => {
        const whole = arrived.find(one => one.from === to.toString());
        if (whole) {
          assert.equal(arrived.length, 1, 'sent back, and yet delivered');
          if (whole.error === 'resource-constraint')
            return assert.ok(!this.#answering(since - shared, this.#now), 'a server was well');
          assert.equal(whole.error, 'item-not-found');
          return assert.ok(!this.#state.groups[name]);
        }
        const members = arrived.map(one => (one.error ? Jid.parse(one.from).local : one.to));
        for (const { error } of arrived)
          assert.ok([null, 'service-unavailable', 'resource-constraint'].includes(error), String(error));
        assert.ok(!members.includes(sender));
        const self = this.#between(this.#oldest(since), this.#now).some(state => membersOf(state, name).has(sender));
        this.#checkMembers(name, self ? [...members, sender] : members, since);
      },
    );
  }

  #change(): void {
    const random = this.#random;
    const state = structuredClone(this.#state);
    const user = random.pick(users);
    const person = state.people[user];
    const kind = random.below(8);
    if (!person) state.people[user] = this.#person(user);
    else if (kind === 0) delete state.people[user];
    else if (kind === 1) Object.assign(person, { password: `secret ${++this.#serial}`, keys: this.#person(user).keys });
    else if (kind === 2) person.mail = this.#person(random.pick(users)).mail;
    else if (kind === 3) person.house = random.pick(houses);
    else if (kind === 4) {
      person.unit = random.pick(['people', 'others']);
      // The name that a group was read with a moment ago finds nobody any more.
      const without = structuredClone(state);
      for (const members of Object.values(without.groups))
        if (members.includes(user)) members.splice(members.indexOf(user), 1);
      this.#commit(without);
    } else if (kind === 5) state.aliases = ['one.test', 'two.test'].filter(() => random.chance(50));
    else {
      const members = state.groups[random.pick(['flat', 'nested', 'loop', 'pool'])];
      if (members.includes(user)) members.splice(members.indexOf(user), 1);
      else members.push(user);
    }
    this.#commit(state);
  }

  #heal(server: Server): void {
    const { host } = server;
    host.condition = 'well';
    host.latency = 1;
    host.cut = null;
    server.behaviour = {};
    server.note(this.#now, true);
  }

  #trouble(): void {
    const random = this.#random;
    const server = random.pick(this.#servers);
    const { host } = server;
    const kind = random.below(10);
    if (kind < 4) return this.#heal(server);
    server.note(this.#now, false);
    if (kind < 7) host.condition = random.pick<Condition>(['refusing', 'dark', 'stalled']);
    else if (kind === 7) host.latency = random.pick([20, 100, 400, 1_500]);
    else if (kind === 8) host.cut = { after: random.below(60), reset: random.chance(50) };
    else if (random.chance(50)) server.behaviour = { code: random.pick([1, 3, 10, 11, 51, 52, 80]) };
    else {
      host.drop();
      server.note(this.#now, host.condition === 'well' && host.latency === 1 && !host.cut && !server.behaviour.code);
    }
  }
}

describe('directories and a model of them', () => {
  const first = Date.now();
  for (let seed = first; seed < first + 5; seed++) {
    it(`answer alike (seed ${seed})`, async () => {
      const time = new VirtualTime();
      time.install();
      const model = new Model(new Random(seed), time);
      try {
        for (let n = 0; n < sizes.steps; n++) await model.step();
        await model.close();
      } finally {
        model.release();
        time.uninstall();
      }
    });
  }
});
