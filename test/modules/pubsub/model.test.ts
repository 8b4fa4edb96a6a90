// Publish-subscribe against a simple model: whatever is asked of it, it answers alike and tells the same, each once.
import assert from 'node:assert/strict';
import { offlineNotices } from '../../../src/modules/pubsub/offline-notices.ts';
import { type Element, el } from '../../../src/xmpp/element.ts';
import { ns } from '../../../src/xmpp/namespaces.ts';
import { Random } from '../../fuzz/random.ts';
import { conditionOf, eventOf, form, infoOf, tagFor } from '../../support/capable.ts';
import type { Client } from '../../support/client.ts';
import { Component } from '../../support/component.ts';
import { startTestHub, type TestHub } from '../../support/hubs.ts';
import { bareOf, type Config, Model, type Node, type Wanted } from './model.ts';

const domain = 'hub.test';
const service = `pubsub.${domain}`;
const users = ['ann', 'bob', 'cat'].map(name => `${name}@${domain}`);
const secret = 'a secret of components';
/** A user elsewhere, for whom a component speaks. */
const watcher = 'dan@far.test/one';
const everybody = [...users, bareOf(watcher)];
/** Few enough that much comes together at each. */
const services = [service, ...users.slice(0, 2)];
const names = ['red', 'green'];
const ids = ['a', 'b', 'c', 'd'];
const group = 'friends';
/** What clients want to hear of, by what they say in their presence. */
const wishes = [[], ['red'], ['red', 'green']];

const rarely = ['1', '1', '1', '0'];
const choices: Readonly<Record<string, readonly string[]>> = {
  access_model: ['open', 'presence', 'roster', 'authorize', 'authorize', 'whitelist'],
  roster_groups_allowed: ['', group],
  publish_model: ['publishers', 'subscribers', 'open'],
  persist_items: rarely,
  max_items: ['1', '2', '3', 'max'],
  publish_node_full: ['retract-oldest', 'discard-oldest', 'reject'],
  item_expire: ['max', 'max', '60'],
  deliver_notifications: rarely,
  deliver_payloads: rarely,
  itemreply: ['publisher', 'none'],
  notify_config: ['0', '1'],
  notify_delete: rarely,
  notify_retract: rarely,
  notify_sub: ['0', '1'],
  send_last_published_item: ['never', 'on_sub', 'on_sub_and_presence'],
  subscribe: rarely,
};

/** Who may read, how much is kept and what is sent last matter at most nodes. */
const fields = [
  ...Object.keys(choices),
  ...['access_model', 'access_model', 'max_items', 'max_items', 'send_last_published_item', 'send_last_published_item'],
];

const asked = (inside: string) => `<pubsub xmlns='${ns.pubsub}'>${inside}</pubsub>`;
const owned = (inside: string) => `<pubsub xmlns='${ns.pubsubOwner}'>${inside}</pubsub>`;
const submitted = (type: string, fields: Config) =>
  form(
    `${ns.pubsub}#${type}`,
    Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, value === '' ? [] : value])),
  );

function itemText(item: Element): string {
  const { id, publisher } = item.attrs;
  return `${id}=${item.childText('entry', 'urn:entry')}${publisher ? ` by ${publisher}` : ''}`;
}

/** What a message tells, in the words of the model; null: it is about something else. */
function toldBy(message: Element): string | null {
  const { from, to } = message.attrs;
  const says = (what: string) => `${from} to ${to}: ${what}`;
  const question = message.child('x', ns.data);
  if (question) {
    const value = (name: string) =>
      question
        .all('field')
        .find(({ attrs }) => attrs.var === name)
        ?.childText('value');
    return says(`may ${value('pubsub#subscriber_jid')} hear of ${value('pubsub#node')}?`);
  }
  const affiliations = message.child('pubsub', ns.pubsub)?.child('affiliations');
  if (affiliations) {
    const [{ attrs }] = affiliations.all();
    return says(`${affiliations.attrs.node} takes ${attrs.jid} for ${attrs.affiliation}`);
  }
  const event = eventOf(message);
  if (!event) return null;
  const { node, jid, subscription } = event.attrs;
  const gone = event.all('retract').map(({ attrs }) => attrs.id);
  const [item] = event.all('item');
  switch (event.name) {
    case 'items':
      if (gone.length > 0) return says(`${node} retracts ${gone.join()}`);
      if (!item) return says(node);
      return says(`${node} ${message.child('delay', ns.delay) ? 'was last' : 'says'} ${itemText(item)}`);
    case 'subscription':
      return says(`${node} has ${jid} ${subscription}`);
    case 'configuration':
      return says(`${node} configured`);
    default:
      return says(`${node} ${event.name}d`);
  }
}

/** A hub with its users, and the model of them. */
class World {
  readonly #random: Random;
  readonly #clients = new Map<string, Client>();
  readonly #told = new Map<string, string[]>();
  #hub!: TestHub;
  #elsewhere!: Component;
  #model = new Model(domain);
  #serial = 0;
  /** Who sends a burst of requests, and where to. */
  #speaker: string | null = null;
  #target: [at: string, name: string] | null = null;
  /** What was done last, for who reads a failure. */
  readonly log: string[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  async start(): Promise<void> {
    this.#hub = await startTestHub([domain], {
      listen: { component: '127.0.0.1:0' },
      yaml: `components: { far.test: { secret: ${secret} } }\nclients: { require-tls: false }`,
    });
    await this.#begin();
    for (const user of users) await this.#comes(`${user}/one`);
    await this.#settle();
  }

  async #begin(): Promise<void> {
    this.#elsewhere = await new Component('far.test').open(this.#hub.listening.component[0].port, secret);
  }

  async close(): Promise<void> {
    this.#elsewhere.close();
    await this.#hub.close();
  }

  // What happens.

  async step(): Promise<void> {
    const random = this.#random;
    const kind = random.below(210);
    if (kind < 10) await this.#create();
    else if (kind < 24) await this.#configure();
    else if (kind < 66) await this.#publish();
    else if (kind < 72) await this.#retract();
    else if (kind < 75) await this.#ownersWish('purge');
    else if (kind < 77) await this.#ownersWish('delete');
    else if (kind < 105) await this.#subscribe();
    else if (kind < 111) await this.#unsubscribe();
    else if (kind < 114) await this.#setOptions();
    else if (kind < 124) await this.#decide();
    else if (kind < 130) await this.#setSubscription();
    else if (kind < 138) await this.#affiliate();
    else if (kind < 148) await this.#presence();
    else if (kind < 160) await this.#roster();
    else if (kind < 163) this.#later();
    else if (kind < 164) await this.#remove();
    else if (kind < 165) await this.#restart();
    else if (kind < 169) await this.#burst();
    else await this.#read();
    await this.#settle();
    if (random.chance(5)) await this.#audit();
  }

  /** One session sends several requests, and waits for no answer between them. */
  async #burst(): Promise<void> {
    this.#speaker = this.#anybody();
    const [at, name] = this.#place();
    // Nodes come into being by being published to at one's own account.
    const own = this.#speaker !== watcher && this.#random.chance(50);
    this.#target = own ? [bareOf(this.#speaker), name] : [at, name];
    const requests = [this.#publish(), this.#publish(), this.#retract(), this.#publish()];
    if (this.#random.chance(20)) requests.push(this.#ownersWish('delete'), this.#publish());
    this.#speaker = this.#target = null;
    await Promise.all(requests);
  }

  get #online(): string[] {
    return [...this.#clients.keys()];
  }

  /** Somebody who asks: one of the sessions, or the user elsewhere. */
  #anybody(): string {
    return this.#speaker ?? this.#random.pick([...this.#online, ...this.#online, watcher]);
  }

  /** A place for a node, where there is one most of the time. */
  #place(): [at: string, name: string] {
    const random = this.#random;
    if (this.#target) return this.#target;
    const all = [...this.#model.nodes.values()];
    if (all.length > 0 && random.chance(90)) {
      const node = random.pick(all);
      return [node.service, node.name];
    }
    return [random.pick(services), random.pick(names)];
  }

  /** Somebody who owns the node most of the time. */
  #ownerOf(at: string, name: string): string {
    if (this.#speaker) return this.#speaker;
    const node = this.#model.node(at, name);
    const owners = node ? this.#model.ownersOf(node) : users;
    const theirs = [...this.#online, watcher].filter(jid => owners.includes(bareOf(jid)));
    return theirs.length > 0 && this.#random.chance(85) ? this.#random.pick(theirs) : this.#anybody();
  }

  #addressOf(jid: string): string {
    return this.#random.chance(60) ? bareOf(jid) : jid;
  }

  #fields(most: number): Config {
    const count = this.#random.below(most + 1);
    const some = Array.from({ length: count }, () => this.#random.pick(fields));
    return Object.fromEntries(some.map(field => [field, this.#random.pick(choices[field])]));
  }

  async #asks(from: string, type: 'get' | 'set', payload: string, to: string): Promise<Element> {
    if (type === 'set') this.#noted(`${from} to ${to} ${payload}`);
    const client = this.#clients.get(from);
    if (client) return client.asks(type, payload, to);
    const id = `far-${++this.#serial}`;
    this.#elsewhere.sends(`<iq type='${type}' id='${id}' from='${from}' to='${to}'>${payload}</iq>`);
    return this.#elsewhere.receives(e => e.name === 'iq' && e.attrs.id === id);
  }

  #noted(what: string): void {
    this.log.push(what.replaceAll(/ (xmlns|type)='[^']*'|http:\/\/jabber.org\/protocol\//g, ''));
  }

  /** Sends what is answered by nothing but what comes of it. */
  async #says(from: string, xml: string): Promise<void> {
    this.#noted(`${from} ${xml}`);
    const client = this.#clients.get(from);
    if (client) await client.sends(xml);
    else this.#elsewhere.sends(xml);
  }

  async #set(from: string, to: string, payload: string, predicted: string): Promise<void> {
    const answer = await this.#asks(from, 'set', payload, to);
    assert.equal(conditionOf(answer), predicted);
  }

  async #create(): Promise<void> {
    const [at, name] = [this.#random.pick(services), this.#random.pick(names)];
    const fields = this.#fields(6);
    const from = at === service || this.#random.chance(10) ? this.#anybody() : this.#ownerOf(at, name);
    const predicted = this.#model.create(from, at, name, fields);
    const configure = `<configure>${submitted('node_config', fields)}</configure>`;
    await this.#set(from, at, asked(`<create node='${name}'/>${configure}`), predicted);
  }

  async #configure(): Promise<void> {
    const [at, name] = this.#place();
    const from = this.#ownerOf(at, name);
    const fields = this.#fields(3);
    const predicted = this.#model.configure(from, at, name, fields);
    await this.#set(
      from,
      at,
      owned(`<configure node='${name}'>${submitted('node_config', fields)}</configure>`),
      predicted,
    );
  }

  async #publish(): Promise<void> {
    const random = this.#random;
    const [at, name] = this.#place();
    const from = random.chance(85) ? this.#ownerOf(at, name) : this.#anybody();
    const node = this.#model.node(at, name);
    const bare = node?.config.persist_items === '0' && node.config.deliver_payloads === '0';
    const item = random.chance(bare ? 20 : 96)
      ? { id: random.pick(ids), text: random.chance(4) ? '' : `${++this.#serial}` }
      : null;
    const options = random.chance(20) ? this.#options(node) : undefined;
    const predicted = this.#model.publish(from, at, name, item, options);
    const entry = item?.text ? `<entry xmlns='urn:entry'>${item.text}</entry>` : '';
    const inside = item ? `<item id='${item.id}'>${entry}</item>` : '';
    const beside = options ? `<publish-options>${submitted('publish-options', options)}</publish-options>` : '';
    await this.#set(from, at, asked(`<publish node='${name}'>${inside}</publish>${beside}`), predicted);
  }

  /** Options that a node meets half of the time. */
  #options(node: Node | undefined): Config {
    const wanted = this.#fields(2);
    if (!node || this.#random.chance(50)) return wanted;
    return Object.fromEntries(Object.keys(wanted).map(field => [field, node.config[field]]));
  }

  async #retract(): Promise<void> {
    const random = this.#random;
    const [at, name] = this.#place();
    const from = random.chance(60) ? this.#ownerOf(at, name) : this.#anybody();
    const known = this.#model.node(at, name)?.items.map(({ id }) => id) ?? [];
    const one = known.length > 0 && random.chance(80) ? random.pick(known) : random.pick(ids);
    const wanted = random.chance(15) ? [...new Set([one, random.pick(ids)])] : [one];
    const notify = random.chance(30);
    const predicted = this.#model.retract(from, at, name, wanted, notify);
    const list = wanted.map(id => `<item id='${id}'/>`).join('');
    await this.#set(from, at, asked(`<retract node='${name}' notify='${notify}'>${list}</retract>`), predicted);
  }

  async #ownersWish(wish: 'purge' | 'delete'): Promise<void> {
    const [at, name] = this.#place();
    const from = this.#ownerOf(at, name);
    await this.#set(from, at, owned(`<${wish} node='${name}'/>`), this.#model[wish](from, at, name));
  }

  async #subscribe(): Promise<void> {
    const random = this.#random;
    const [at, name] = this.#place();
    const from = this.#anybody();
    const jid = random.chance(4) ? random.pick(everybody) : this.#addressOf(from);
    const deliver = random.chance(30) ? random.chance(30) : undefined;
    const predicted = this.#model.subscribe(from, at, name, jid, deliver);
    const beside =
      deliver === undefined
        ? ''
        : `<options>${submitted('subscribe_options', { deliver: deliver ? '1' : '0' })}</options>`;
    const answer = await this.#asks(from, 'set', asked(`<subscribe node='${name}' jid='${jid}'/>${beside}`), at);
    const state = answer.child('pubsub', ns.pubsub)?.child('subscription')?.attrs.subscription;
    assert.equal(answer.attrs.type === 'result' ? state : conditionOf(answer), predicted);
  }

  /** A subscription that there is most of the time, and somebody of its user. */
  #subscription(at: string, name: string): [from: string, jid: string] {
    const all = [...(this.#model.node(at, name)?.subscriptions.keys() ?? [])];
    const jid = all.length > 0 && this.#random.chance(85) ? this.#random.pick(all) : this.#addressOf(this.#anybody());
    const theirs = [...this.#online, watcher].filter(one => bareOf(one) === bareOf(jid));
    return [theirs.length > 0 && this.#random.chance(90) ? this.#random.pick(theirs) : this.#anybody(), jid];
  }

  async #unsubscribe(): Promise<void> {
    const [at, name] = this.#place();
    const [from, jid] = this.#subscription(at, name);
    const predicted = this.#model.unsubscribe(from, at, name, jid);
    await this.#set(from, at, asked(`<unsubscribe node='${name}' jid='${jid}'/>`), predicted);
  }

  async #setOptions(): Promise<void> {
    const [at, name] = this.#place();
    const [from, jid] = this.#subscription(at, name);
    const deliver = this.#random.chance(50);
    const predicted = this.#model.options(from, at, name, jid, deliver);
    const options = submitted('subscribe_options', { deliver: deliver ? '1' : '0' });
    await this.#set(from, at, asked(`<options node='${name}' jid='${jid}'>${options}</options>`), predicted);
  }

  async #decide(): Promise<void> {
    const waiting = [...this.#model.nodes.values()].flatMap(node =>
      [...node.subscriptions].filter(([, { state }]) => state === 'pending').map(([jid]) => ({ node, jid })),
    );
    if (waiting.length === 0) return;
    const { node, jid } = this.#random.pick(waiting);
    const from = this.#ownerOf(node.service, node.name);
    // To others than the service of a domain it would be a message like any other.
    if (node.service !== service && bareOf(from) !== node.service) return;
    const allow = this.#random.chance(70);
    this.#model.decides(from, node.service, node.name, jid, allow);
    const fields = { node: node.name, subscriber_jid: jid, allow: String(allow) };
    const answer = submitted('subscribe_authorization', fields);
    await this.#says(from, `<message from='${from}' to='${node.service}'>${answer}</message>`);
  }

  async #setSubscription(): Promise<void> {
    const [at, name] = this.#place();
    const from = this.#ownerOf(at, name);
    const [, jid] = this.#subscription(at, name);
    const wanted = this.#random.pick(['none', 'subscribed'] as const);
    const predicted = this.#model.setSubscription(from, at, name, jid, wanted);
    const list = `<subscription jid='${jid}' subscription='${wanted}'/>`;
    await this.#set(from, at, owned(`<subscriptions node='${name}'>${list}</subscriptions>`), predicted);
  }

  async #affiliate(): Promise<void> {
    const [at, name] = this.#place();
    const from = this.#ownerOf(at, name);
    const who = this.#random.pick(everybody);
    const wanted = this.#random.pick(['owner', 'publisher', 'publish-only', 'member', 'none', 'outcast']);
    const predicted = this.#model.affiliate(from, at, name, who, wanted);
    const list = `<affiliation jid='${who}' affiliation='${wanted}'/>`;
    await this.#set(from, at, owned(`<affiliations node='${name}'>${list}</affiliations>`), predicted);
  }

  // Who is there, and who sees whom.

  async #comes(jid: string): Promise<void> {
    const client = await this.#hub.client(bareOf(jid), {
      resource: jid.split('/')[1],
      security: 'plain',
      mechanism: 'PLAIN',
      quiet: true,
    });
    this.#clients.set(jid, client);
    // Who has asked for the roster learns of subscriptions.
    await client.asks('get', `<query xmlns='jabber:iq:roster'/>`);
    await this.#shows(jid);
  }

  async #shows(jid: string): Promise<void> {
    const wanted = this.#random.pick(wishes);
    this.#model.shows(jid, new Set(wanted));
    await this.#says(jid, `<presence>${tagFor(infoOf(wanted))}</presence>`);
  }

  async #showsElsewhere(account: string, wanted: readonly string[]): Promise<void> {
    if (!this.#model.seers.has(`${account} ${bareOf(watcher)}`)) return;
    this.#model.showsTo(account, watcher, new Set(wanted));
    await this.#says(watcher, `<presence from='${watcher}' to='${account}'>${tagFor(infoOf(wanted))}</presence>`);
  }

  async #presence(): Promise<void> {
    const random = this.#random;
    const jid = random.pick([...users.flatMap(user => [`${user}/one`, `${user}/two`]), watcher]);
    if (jid === watcher) {
      const account = random.pick(users);
      if (random.chance(70)) return this.#showsElsewhere(account, random.pick(wishes));
      this.#model.watchers.delete(`${account} ${watcher}`);
      return this.#says(watcher, `<presence from='${watcher}' to='${account}' type='unavailable'/>`);
    }
    const client = this.#clients.get(jid);
    if (!client) return this.#comes(jid);
    if (random.chance(50)) return this.#shows(jid);
    this.log.push(`${jid} goes`);
    this.#clients.delete(jid);
    this.#model.sessions.delete(jid);
    this.#told.delete(jid);
    await client.close();
  }

  /** A contact gains or loses the sight of a user's presence, or changes its group in the roster. */
  async #roster(): Promise<void> {
    const random = this.#random;
    const user = random.pick(users);
    const contact = random.pick(everybody.filter(one => one !== user));
    const [session] = this.#model.sessionsOf(user);
    const [other] = contact === bareOf(watcher) ? [watcher] : this.#model.sessionsOf(contact);
    if (!session || !other) return;
    const key = `${user} ${contact}`;
    const says = async (from: string, to: string, type: string) => {
      const sender = from === watcher ? bareOf(watcher) : from;
      await this.#says(from, `<presence from='${sender}' to='${to}' type='${type}'/>`);
      await this.#gets(to === user ? session : other, e => e.name === 'presence' && e.attrs.type === type);
    };
    if (!this.#model.seers.has(key)) {
      await says(other, user, 'subscribe');
      this.#model.lets(user, contact, this.#groups.get(key) ?? '');
      await says(session, contact, 'subscribed');
      if (other === watcher) await this.#showsElsewhere(user, random.pick(wishes));
    } else if (random.chance(40)) {
      this.#model.lets(user, contact, null);
      await says(session, contact, 'unsubscribed');
    } else {
      const now = random.pick(['', group]);
      this.#groups.set(key, now);
      this.#model.lets(user, contact, now);
      const inside = now ? `<group>${now}</group>` : '';
      const item = `<query xmlns='jabber:iq:roster'><item jid='${contact}'>${inside}</item></query>`;
      await this.#set(session, user, item, 'result');
    }
  }

  /** The groups that contacts stay in when they lose the sight of a user. */
  readonly #groups = new Map<string, string>();

  #gets(who: string, test: (element: Element) => boolean): Promise<Element> {
    return this.#clients.get(who)?.receives(test) ?? this.#elsewhere.receives(test);
  }

  #later(): void {
    this.log.push('time goes by');
    passed += 40_000;
  }

  async #remove(): Promise<void> {
    if (this.#online.length === 0) return;
    const jid = this.#random.pick(this.#online);
    const user = bareOf(jid);
    const gone = this.#model.sessionsOf(user);
    this.#model.removes(user);
    for (const key of [...this.#groups.keys()]) if (key.split(' ').includes(user)) this.#groups.delete(key);
    await this.#set(jid, domain, `<query xmlns='${ns.register}'><remove/></query>`, 'result');
    for (const one of gone) {
      await this.#clients.get(one)!.ends();
      this.#clients.delete(one);
      this.#told.delete(one);
    }
    await this.#comes(`${user}/one`);
  }

  async #restart(): Promise<void> {
    this.log.push('the hub restarts');
    this.#elsewhere.close();
    this.#hub = await this.#hub.restart(true);
    this.#model.watchers.clear();
    const were = this.#online;
    this.#clients.clear();
    this.#model.sessions.clear();
    this.#told.clear();
    await this.#begin();
    for (const jid of were) await this.#comes(jid);
  }

  // What is read.

  async #read(): Promise<void> {
    const random = this.#random;
    const [at, name] = this.#place();
    const known = this.#model.node(at, name)?.items.map(({ id }) => id) ?? [];
    const id = () => (known.length > 0 && random.chance(90) ? random.pick(known) : random.pick(ids));
    const wanted: Wanted = {};
    if (random.chance(40)) wanted.recent = 1 + random.below(3);
    if (random.chance(50)) wanted.max = random.below(4);
    const from = random.below(8);
    if (from === 0) wanted.after = id();
    else if (from === 1) wanted.before = id();
    else if (from === 2) wanted.before = '';
    else if (from === 3) wanted.index = random.below(4);
    await this.#reads(this.#anybody(), at, name, wanted);
  }

  async #reads(who: string, at: string, name: string, wanted: Wanted): Promise<void> {
    const { recent, ...page } = wanted;
    const predicted = this.#model.items(who, at, name, wanted);
    const children = Object.entries(page).map(([what, value]) => `<${what}>${value}</${what}>`);
    const set = children.length > 0 ? `<set xmlns='${ns.resultSet}'>${children.join('')}</set>` : '';
    const few = recent === undefined ? '' : ` max_items='${recent}'`;
    const answer = await this.#asks(who, 'get', asked(`<items node='${name}'${few}/>${set}`), at);
    assert.equal(itemsIn(answer), predicted);
  }

  /** Everything that there is, as each may see it. */
  async #audit(): Promise<void> {
    const model = this.#model;
    for (const node of model.nodes.values()) {
      const { service: at, name } = node;
      for (const who of [...this.#online, watcher]) await this.#reads(who, at, name, {});
      const owner = [...this.#online, watcher].find(jid => model.ownersOf(node).includes(bareOf(jid)));
      if (!owner) continue;
      const list = async (what: string) => {
        const answer = await this.#asks(owner, 'get', owned(`<${what} node='${name}'/>`), at);
        const entries = answer.child('pubsub', ns.pubsubOwner)!.child(what)!.all();
        return entries.map(({ attrs }) => `${attrs.jid} ${attrs.subscription ?? attrs.affiliation}`).sort();
      };
      const subscribed = [...node.subscriptions].filter(([, { state }]) => state === 'subscribed');
      assert.deepEqual(await list('subscriptions'), subscribed.map(([jid]) => `${jid} subscribed`).sort());
      const affiliated = new Map(node.affiliations);
      for (const jid of model.ownersOf(node)) affiliated.set(jid, 'owner');
      assert.deepEqual(await list('affiliations'), [...affiliated].map(entry => entry.join(' ')).sort());
    }
    for (const who of [...this.#online, watcher]) await this.#auditOf(who);
  }

  /** The part that somebody has in the nodes of the domain's service. */
  async #auditOf(who: string): Promise<void> {
    const nodes = [...this.#model.nodes.values()].filter(node => node.service === service);
    const list = async (what: string) => {
      const answer = await this.#asks(who, 'get', asked(`<${what}/>`), service);
      return answer
        .child('pubsub', ns.pubsub)!
        .child(what)!
        .all()
        .map(({ attrs }) => Object.values(attrs).join(' '))
        .sort();
    };
    const subscriptions = nodes.flatMap(({ name, subscriptions: all }) =>
      [...all].filter(([jid]) => bareOf(jid) === bareOf(who)).map(([jid, { state }]) => `${name} ${jid} ${state}`),
    );
    assert.deepEqual(await list('subscriptions'), subscriptions.sort());
    const affiliations = nodes.flatMap(({ name, affiliations: all }) =>
      [...all].filter(([jid]) => jid === bareOf(who)).map(([, what]) => `${name} ${what}`),
    );
    assert.deepEqual(await list('affiliations'), affiliations.sort());
    const disco = await this.#asks(who, 'get', `<query xmlns='${ns.discoItems}'/>`, service);
    // Components may hear of the messages that are kept, and nobody else.
    const theirs = who === watcher ? [offlineNotices] : [];
    const seen = disco.child('query', ns.discoItems)!.all('item');
    const visible = nodes.filter(node => this.#model.refusesSubscriber(node, who) === null).map(({ name }) => name);
    assert.deepEqual(seen.map(({ attrs }) => attrs.node).sort(), [...visible, ...theirs].sort());
  }

  // What everybody was told.

  /** Waits for all that was to come, and for what is behind it: then nothing more has come. */
  async #settle(): Promise<void> {
    const wanted = this.#model.told;
    for (const who of new Set([...this.#online, 'elsewhere'])) {
      const count = wanted.get(who)?.length ?? 0;
      do await this.#collect(who);
      while ((this.#told.get(who)?.length ?? 0) < count);
    }
    for (const who of [...this.#online, 'elsewhere']) await this.#collect(who);
    for (const who of [...this.#online, 'elsewhere']) {
      const [heard, predicted] = [this.#told, wanted].map(told => [...(told.get(who) ?? [])].sort());
      assert.deepEqual(heard, predicted, who);
    }
    this.#told.clear();
    wanted.clear();
  }

  /** Takes what somebody has got by the answer to a ping, and answers what the hub wants to know. */
  async #collect(who: string): Promise<void> {
    const client = this.#clients.get(who);
    const inbox = client?.inbox ?? this.#elsewhere.inbox;
    for (let answered = true; answered; ) {
      await this.#ping(client);
      answered = false;
      for (const element of inbox.splice(0)) {
        const { id, from, to, type } = element.attrs;
        const query = element.name === 'iq' && type === 'get' ? element.child('query', ns.discoInfo) : null;
        if (query) {
          const info = wishes
            .map(nodes => infoOf(nodes))
            .find(one => query.attrs.node?.endsWith(tagFor(one).attrs.ver));
          await this.#says(to, `<iq type='result' id='${id}' from='${to}' to='${from}'>${info}</iq>`);
          answered = true;
        }
        const told = element.name === 'message' ? toldBy(element) : null;
        if (told) this.#told.set(who, [...(this.#told.get(who) ?? []), told]);
      }
    }
  }

  async #ping(client: Client | undefined): Promise<void> {
    const ping = el('ping', ns.ping).toString();
    if (client) await client.asks('get', ping, domain);
    else await this.#elsewhere.asks('get', ping, domain);
  }
}

/** Items in an answer and their place among all, or the condition of an error. */
function itemsIn(answer: Element): string {
  if (answer.attrs.type === 'error') return conditionOf(answer);
  const pubsub = answer.child('pubsub', ns.pubsub)!;
  const shown = pubsub.child('items')!.all('item').map(itemText).join('; ');
  const set = pubsub.child('set', ns.resultSet);
  if (!set) return shown;
  const first = set.child('first');
  const ends = first ? ` ${first.attrs.index}:${first.text}-${set.childText('last')}` : '';
  return `${shown}${ends} of ${set.childText('count')}`;
}

/** Time goes by as the seed has it, besides what it takes; in strides, so that much happens at the same time. */
let passed = 0;

describe('publish-subscribe and a model of it', () => {
  const { now } = Date;
  before(() => {
    Date.now = () => Math.floor(now.call(Date) / 1_000) * 1_000 + passed;
  });
  after(() => {
    Date.now = now;
  });

  const first = now.call(Date);
  for (let seed = first; seed < first + 5; seed++) {
    it(`tell alike (seed ${seed})`, async () => {
      const world = new World(new Random(seed));
      await world.start();
      try {
        for (let n = 0; n < 300; n++) await world.step();
      } catch (error) {
        throw new Error(`${error}\nafter\n  ${world.log.slice(-12).join('\n  ')}`);
      } finally {
        await world.close();
      }
    }).timeout(60_000);
  }
});
