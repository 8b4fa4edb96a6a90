// What people do at random with rosters, subscriptions, presence and blocking, and what they are to see of each other then.
import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { rostersOf } from '../../../src/modules/rosters.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { ns } from '../../../src/xmpp/namespaces.ts';
import type { Random } from '../../fuzz/random.ts';
import type { TestHub } from '../../support/hubs.ts';
import { Device, type Kept } from './device.ts';
import { People, textOf, type Verb } from './people.ts';
import { domains, hosted, type Places } from './places.ts';

const verbs: readonly Verb[] = ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed'];
/** Contacts that nothing happens to, so that changes are few beside the whole. */
const still = 24;

/** What a device shows of itself. */
interface Shown {
  device: Device;
  /** Null: it is not available. */
  presence: string | null;
}

export class Life {
  readonly #random: Random;
  readonly #places: Places;
  readonly #people: People;
  readonly #shown: Shown[] = [];
  readonly #kept = new Map<string, Kept>();
  /** What was sent to a device that it would not see otherwise: by its JID and that of the sender. */
  readonly #directed = new Map<string, Map<string, string>>();
  readonly story: string[] = [];
  #serial = 0;
  /** Errors that the actions since the last look bring, by device. */
  #refused = new Map<Device, number>();

  constructor(random: Random, places: Places, name: string) {
    this.#random = random;
    this.#places = places;
    this.#people = new People(['a@north', 'b@north', 'c@south', 'd@far', 'e@far'].map(jid => `${name}${jid}.test`));
    this.#people.turned = (from, to) => this.#turns(from, to);
  }

  async begin(): Promise<void> {
    for (const user of this.#people.users) await this.#login(user);
    for (let n = 0; n < 5; n++) await this.#befriend();
  }

  async end(): Promise<void> {
    for (const { device } of this.#shown.splice(0)) await device.client.close();
  }

  async step(): Promise<void> {
    const kind = this.#random.below(100);
    if (kind < 50) await this.#burst();
    else if (kind < 58) await this.#befriend();
    else if (kind < 70) await this.#login(this.#random.pick(this.#people.users));
    else if (kind < 77) await this.#leave();
    else if (kind < 87) await this.#block();
    else if (kind < 92) await this.#fetch();
    else if (kind < 94) await this.#removeAccount();
    else if (kind < 96) await this.#restart();
    else if (kind < 97) this.#cutLinks();
    else await this.#race();
    await this.#places.settle();
    await this.#check();
  }

  // What is done.

  async #login(user: string): Promise<void> {
    const resource = this.#random.pick(['x', 'y', 'z']);
    this.story.push(`${user} logs in as ${resource}`);
    // The newer session wins.
    const older = this.#shown.find(({ device }) => device.jid === `${user}/${resource}`);
    if (older) this.#forget(older);
    const fresh = !this.#people.accounts.has(user);
    this.#people.accounts.add(user);
    const client = await this.#places.login(user, resource);
    if (fresh) this.#furnish(user);
    const key = client.jid;
    if (!this.#kept.has(key)) this.#kept.set(key, { cache: new Map(), ver: '' });
    const device = new Device(client, this.#kept.get(key)!, this.#random.below(5) > 0);
    const shown: Shown = { device, presence: null };
    this.#shown.push(shown);
    if (device.interested) await device.fetch();
    if (this.#random.below(3) > 0) await this.#present(shown);
  }

  #furnish(user: string): void {
    const rosters = rostersOf(this.#hubOf(user));
    for (let n = 0; n < still; n++) {
      const item = rosters.itemOrNew(Jid.parse(user), Jid.parse(`still-${n}@nowhere.test`));
      item.listed = true;
      rosters.save(Jid.parse(user), item);
    }
  }

  /** Two people let each other see their presence. */
  async #befriend(): Promise<void> {
    const [one, other] = [this.#random.pick(this.#shown), this.#random.pick(this.#shown)];
    if (!one || one.device.user === other.device.user) return;
    this.story.push(`${one.device.jid} and ${other.device.jid} become friends`);
    const pair = [one.device, other.device];
    for (const verb of ['subscribe', 'subscribed'] as const) {
      for (const [from, to] of [pair, pair.toReversed()]) {
        if (!this.#people.say(from.user, to.user, verb)) this.#refuses(from);
        await from.client.sends(`<presence type='${verb}' to='${to.user}'/>`);
        await this.#heard(from);
      }
      await this.#places.settle();
    }
  }

  /** One device does several things at once. */
  async #burst(): Promise<void> {
    const shown = this.#random.pick(this.#shown);
    if (!shown) return;
    const stanzas: string[] = [];
    const count = this.#random.below(4) ? 1 : 2 + this.#random.below(3);
    for (let n = 0; n < count; n++) stanzas.push(this.#act(shown, count === 1));
    await shown.device.client.sends(stanzas.join(''));
    await this.#heard(shown.device);
  }

  /** What a device does, as XML; the model has done it then. */
  #act(shown: Shown, alone: boolean): string {
    const random = this.#random;
    const { device } = shown;
    const { user } = device;
    const contact = random.pick(this.#people.users.filter(other => other !== user));
    const kind = random.below(alone ? 100 : 78);
    const tell = (what: string, xml: string) => {
      this.story.push(`${device.jid} ${what}`);
      return xml;
    };
    if (kind < 45) {
      const { pending } = this.#people.side(user, contact);
      const verb = pending && random.below(3) ? 'subscribed' : random.pick(verbs);
      if (!this.#people.say(user, contact, verb)) this.#refuses(device);
      return tell(`${verb} ${contact}`, `<presence type='${verb}' to='${contact}'/>`);
    }
    if (kind < 52) {
      const name = random.pick(['', 'one', 'other']);
      const groups = ['g1', 'g2'].filter(() => random.below(2));
      this.#people.set(user, contact, name, groups);
      const inner = groups.map(group => `<group>${group}</group>`).join('');
      return tell(`sets ${contact} ${name} ${groups}`, this.#roster(`jid='${contact}' name='${name}'`, inner));
    }
    if (kind < 56) {
      if (!this.#people.remove(user, contact)) this.#refuses(device);
      return tell(`removes ${contact}`, this.#roster(`jid='${contact}' subscription='remove'`));
    }
    if (kind < 72) return this.#presenceOf(shown);
    if (kind < 78) return this.#unavailable(shown);
    if (this.#people.blocks(user, contact)) this.#refuses(device);
    const full = this.#shown.filter(other => other.presence !== null && other.device.user === contact);
    const to = random.below(2) ? (random.pick(full)?.device.jid ?? contact) : contact;
    if (kind < 94) {
      const text = `directed${++this.#serial}`;
      for (const taker of this.#takers(user, to)) this.#direct(taker.device.jid, device.jid, ` ${text} `);
      return tell(`shows ${to} ${text}`, `<presence to='${to}'><status>${text}</status></presence>`);
    }
    for (const taker of this.#takers(user, to)) this.#direct(taker.device.jid, device.jid, '');
    return tell(`hides from ${to}`, `<presence to='${to}' type='unavailable'/>`);
  }

  #refuses(device: Device): void {
    this.#refused.set(device, (this.#refused.get(device) ?? 0) + 1);
  }

  #roster(attributes: string, inner = ''): string {
    return `<iq type='set' id='r${++this.#serial}'><query xmlns='${ns.roster}'><item ${attributes}>${inner}</item></query></iq>`;
  }

  #presenceOf(shown: Shown): string {
    const { device } = shown;
    const [show, status] = [this.#random.pick(['away', 'dnd', '']), `said${++this.#serial}`];
    const priority = this.#random.below(20) - 5;
    const first = shown.presence === null;
    shown.presence = `${show} ${status} ${priority}`;
    this.story.push(`${device.jid} says ${shown.presence}`);
    this.#undirect(taker => this.#seenBy(device.user, taker.device.user), device.jid);
    if (first) {
      this.#directed.delete(device.jid);
      for (const contact of this.#people.users) if (contact !== device.user) this.#people.probe(device.user, contact);
    }
    return `<presence>${show ? `<show>${show}</show>` : ''}<status>${status}</status><priority>${priority}</priority></presence>`;
  }

  async #present(shown: Shown): Promise<void> {
    await shown.device.client.sends(this.#presenceOf(shown));
    await this.#heard(shown.device);
  }

  #unavailable(shown: Shown): string {
    this.story.push(`${shown.device.jid} becomes unavailable`);
    this.#gone(shown);
    return `<presence type='unavailable'/>`;
  }

  #gone(shown: Shown): void {
    shown.presence = null;
    this.#directed.delete(shown.device.jid);
    this.#undirect(() => true, shown.device.jid);
  }

  async #leave(): Promise<void> {
    const shown = this.#random.pick(this.#shown);
    if (!shown) return;
    const { client } = shown.device;
    const ended = this.#ends(client.jid);
    const torn = this.#random.below(2) === 0;
    // Last words are heard.
    if (!torn) {
      const words = Array.from({ length: this.#random.below(3) }, () => this.#act(shown, false));
      await client.sends(words.join(''));
    }
    this.story.push(`${shown.device.jid} ${torn ? 'is torn away' : 'leaves'}`);
    this.#forget(shown);
    if (torn) client.drop();
    else await client.close();
    await ended;
  }

  #forget(shown: Shown): void {
    shown.device.read();
    this.#gone(shown);
    this.#shown.splice(this.#shown.indexOf(shown), 1);
  }

  /** Resolves when the hub knows of the end of the session that has this address now. */
  async #ends(jid: string): Promise<void> {
    const { sessions } = this.#hubOf(jid);
    const session = sessions.get(Jid.parse(jid));
    while (session && sessions.get(Jid.parse(jid)) === session) await nextTurn();
  }

  async #block(): Promise<void> {
    const shown = this.#random.pick(this.#shown);
    if (!shown) return;
    const { device } = shown;
    const { user } = device;
    const people = this.#people;
    const before = people.users.filter(other => people.blocks(user, other));
    const blocked = people.blockedBy(user);
    if (this.#random.below(3) === 0) {
      const choices = [
        ...people.users.filter(other => other !== user),
        ...domains.filter(name => name !== device.domain),
      ];
      const jid = this.#random.pick(choices);
      this.story.push(`${device.jid} blocks ${jid}`);
      blocked.add(jid);
      await device.client.asks('set', `<block xmlns='${ns.blocking}'><item jid='${jid}'/></block>`);
      for (const other of people.users) {
        if (before.includes(other) || !people.blocks(user, other)) continue;
        this.#turns(user, other);
        this.#turns(other, user);
        this.#directedApart(user, other);
      }
    } else {
      const jid = this.#random.pick([...blocked, undefined]);
      this.story.push(`${device.jid} unblocks ${jid ?? 'all'}`);
      if (jid) blocked.delete(jid);
      else blocked.clear();
      for (const other of before) {
        if (people.blocks(user, other)) continue;
        if (this.#shown.some(own => own.device.user === user && own.presence !== null)) people.probe(user, other);
      }
      const item = jid ? `<item jid='${jid}'/>` : '';
      await device.client.asks('set', `<unblock xmlns='${ns.blocking}'>${item}</unblock>`);
    }
  }

  /** A user who blocks somebody does not look at their presence any more. */
  #directedApart(user: string, other: string): void {
    for (const { device } of this.#shown) {
      if (device.user === user) device.read();
      if (device.user === user) device.forget(`${other}/`);
      for (const from of [...(this.#directed.get(device.jid)?.keys() ?? [])]) {
        const between = [device.user, from.split('/')[0]];
        if (between.includes(user) && between.includes(other)) this.#directed.get(device.jid)!.delete(from);
      }
    }
  }

  /** A client looks whether it knows its roster. */
  async #fetch(): Promise<void> {
    const shown = this.#random.pick(this.#shown);
    if (!shown?.device.interested) return;
    shown.device.read();
    await shown.device.fetch(this.#random.below(3) === 0);
  }

  async #removeAccount(): Promise<void> {
    const user = this.#random.pick([...this.#people.accounts]);
    if (!user) return;
    this.story.push(`${user} is removed`);
    const own = this.#shown.filter(({ device }) => device.user === user);
    this.#people.removeAccount(user);
    for (const shown of own) this.#forget(shown);
    await this.#places.hub(user.slice(user.indexOf('@') + 1)).accounts.remove(user);
    for (const { device } of own) await device.client.ends();
    for (const key of this.#kept.keys()) if (key.startsWith(`${user}/`)) this.#kept.delete(key);
  }

  async #restart(): Promise<void> {
    const at = this.#random.below(2);
    this.story.push(`hub ${at} restarts`);
    for (const shown of [...this.#shown]) {
      if (hosted[at].includes(shown.device.domain)) this.#forget(shown);
    }
    await this.#places.restart(at);
  }

  #cutLinks(): void {
    this.story.push('the links are closed');
    for (const domain of hosted[0]) this.#places.hubs[1].links.close(domain);
  }

  /** Several people act at once: nobody can say what comes first, but in the end it fits together. */
  async #race(): Promise<void> {
    const actors = new Set(Array.from({ length: 4 }, () => this.#random.pick(this.#shown)).filter(Boolean));
    this.story.push('at once:');
    const ended: Promise<void>[] = [];
    const sent = [...actors].map(async shown => {
      const stanzas = Array.from({ length: 1 + this.#random.below(3) }, () => this.#act(shown, false));
      const end = this.#random.below(6);
      if (end < 2) {
        this.story.push(`${shown.device.jid} ${end ? 'leaves' : 'is torn away'}`);
        this.#forget(shown);
        ended.push(this.#ends(shown.device.jid));
      }
      await shown.device.client.sends(stanzas.join(''));
      if (end === 0) shown.device.client.drop();
      else if (end === 1) await shown.device.client.close();
    });
    const more = this.#random.below(6);
    if (more === 0) sent.push(this.#removeAccount());
    else if (more < 4) sent.push(this.#login(this.#random.pick(this.#people.users)));
    if (more > 2) sent.push(this.#block());
    await Promise.all(sent);
    await Promise.all(ended);
    for (const shown of actors) if (this.#shown.includes(shown)) await this.#heard(shown.device);
    await this.#places.settle();
    for (const shown of this.#shown) await this.#heard(shown.device);
    this.#adopt();
  }

  /** Takes over what has become of the rosters, and of presence that was sent to somebody. */
  #adopt(): void {
    for (const user of this.#people.accounts) {
      for (const contact of this.#people.users) {
        const item = rostersOf(this.#hubOf(user)).item(Jid.parse(user), Jid.parse(contact));
        const side = this.#people.side(user, contact);
        const {
          listed = false,
          name = '',
          groups = [],
          to = false,
          from = false,
          ask = false,
          approved = false,
        } = item ?? {};
        Object.assign(side, {
          listed,
          name,
          groups: [...groups],
          to,
          from,
          ask,
          approved,
          pending: item?.pending != null,
        });
      }
    }
    for (const { device } of this.#shown) {
      device.errors = [];
      for (const user of this.#people.users) if (this.#people.blocks(device.user, user)) device.forget(`${user}/`);
      for (const [from, text] of [...(this.#directed.get(device.jid) ?? [])]) {
        if ((device.view.get(from) ?? '') !== text) this.#directed.get(device.jid)!.delete(from);
      }
    }
    this.#refused.clear();
  }

  // What follows for presence.

  /** Whether broadcasts of a user go to another. */
  #seenBy(user: string, other: string): boolean {
    return user === other || (this.#people.side(user, other).from && !this.#people.apart(user, other));
  }

  #takers(user: string, to: string): Shown[] {
    const contact = to.split('/')[0];
    if (this.#people.apart(user, contact)) return [];
    return this.#shown.filter(
      ({ device, presence }) => device.user === contact && (to === contact ? presence !== null : device.jid === to),
    );
  }

  #direct(taker: string, from: string, text: string): void {
    if (!this.#directed.has(taker)) this.#directed.set(taker, new Map());
    this.#directed.get(taker)!.set(from, text);
  }

  #undirect(covers: (taker: Shown) => boolean, from: string): void {
    for (const taker of this.#shown) if (covers(taker)) this.#directed.get(taker.device.jid)?.delete(from);
  }

  /** The devices of a user that are available begin or cease to be shown to another's. */
  #turns(from: string, to: string): void {
    if (this.#people.apart(from, to)) return;
    for (const { device, presence } of this.#shown) {
      if (device.user === from && presence !== null) this.#undirect(taker => taker.device.user === to, device.jid);
    }
  }

  /** What a device is to see of another; undefined: that follows from nothing that both sides agree on. */
  #sees(watcher: Shown, other: Shown): string | null | undefined {
    const people = this.#people;
    const [user, contact] = [watcher.device.user, other.device.user];
    const directed = this.#directed.get(watcher.device.jid)?.get(other.device.jid);
    if (directed !== undefined) return directed || null;
    if (user !== contact && people.apart(user, contact)) return null;
    if (watcher.presence === null || other.presence === null) return null;
    if (user === contact) return other.presence;
    const [from, to] = [people.side(contact, user).from, people.side(user, contact).to];
    return from && to ? other.presence : from ? undefined : null;
  }

  // What is looked at.

  /** Resolves when a device has what the hub wrote to it. */
  async #heard(device: Device): Promise<void> {
    await device.client.asks('get', `<ping xmlns='urn:xmpp:ping'/>`, device.domain);
    device.read();
  }

  async #check(): Promise<void> {
    await Promise.all(this.#shown.map(({ device }) => this.#heard(device)));
    for (const user of this.#people.users) this.#checkRoster(user);
    for (const shown of this.#shown) {
      this.#checkDevice(shown);
      this.#checkVersions(shown.device);
      this.#checkView(shown);
    }
    this.#refused.clear();
    assert.deepEqual(this.#places.faults, []);
  }

  #checkRoster(user: string): void {
    assert.deepEqual(sorted(this.#kernelRoster(user)), sorted(this.#people.roster(user)), `the roster of ${user}`);
    for (const contact of this.#people.users) {
      const item = rostersOf(this.#hubOf(user)).item(Jid.parse(user), Jid.parse(contact));
      assert.equal(item?.pending != null, this.#people.side(user, contact).pending, `${contact} asked ${user}`);
    }
  }

  /** What the hub has in a user's roster, or what of it changed since a version. */
  #kernelRoster(user: string, since = -1): Map<string, string> {
    const { items } = rostersOf(this.#hubOf(user)).of(Jid.parse(user));
    const roster = new Map<string, string>();
    for (const [contact, { listed, to, from, ask, approved, name, groups, version }] of items) {
      if (contact.startsWith('still') || version <= since) continue;
      if (listed) roster.set(contact, textOf({ to, from, ask, approved, name, groups }));
      else if (since >= 0) roster.set(contact, 'removed');
    }
    return roster;
  }

  #checkDevice({ device, presence }: Shown): void {
    const { user, jid, errors } = device;
    const refused = this.#refused.get(device) ?? 0;
    assert.equal(errors.length, refused, `${jid} was told of ${refused} errors, not ${errors.join('\n')}`);
    device.errors = [];
    if (device.interested) {
      const cached = [...device.kept.cache].filter(([contact]) => !contact.startsWith('still'));
      assert.deepEqual(sorted(new Map(cached)), sorted(this.#people.roster(user)), `the roster at ${jid}`);
    }
    const asking = this.#people.users.filter(contact => this.#people.side(user, contact).pending);
    for (const contact of device.requests) if (!asking.includes(contact)) device.requests.delete(contact);
    if (presence !== null) assert.deepEqual([...device.requests].sort(), asking, `requests at ${jid}`);
  }

  /** Each version that the device has had: with what changed since it makes the roster. */
  #checkVersions(device: Device): void {
    for (const { ver, cache } of device.versions.splice(0)) {
      for (const [contact, text] of this.#kernelRoster(device.user, Number(ver))) {
        if (text === 'removed') cache.delete(contact);
        else cache.set(contact, text);
      }
      for (const contact of [...cache.keys()]) if (contact.startsWith('still')) cache.delete(contact);
      assert.deepEqual(sorted(cache), sorted(this.#people.roster(device.user)), `${device.jid} from version ${ver} on`);
    }
  }

  #checkView(watcher: Shown): void {
    const { device } = watcher;
    if (watcher.presence === null) return;
    const expected = new Map<string, string>();
    for (const other of this.#shown) {
      const { jid } = other.device;
      const sees = this.#sees(watcher, other);
      const seen = device.view.get(jid);
      if (sees ?? (sees === undefined && seen)) expected.set(jid, sees ?? seen!);
    }
    assert.deepEqual(sorted(device.view), sorted(expected), `whom ${device.jid} sees`);
  }

  #hubOf(user: string): TestHub['hub'] {
    return this.#places.hub(user.split('/')[0].slice(user.indexOf('@') + 1)).hub;
  }
}

function sorted(map: Map<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}
