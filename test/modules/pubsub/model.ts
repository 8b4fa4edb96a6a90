// A simple model of publish-subscribe: what a service answers, what it keeps, and whom it tells of what (XEP-0060, XEP-0163).

export type Config = Readonly<Record<string, string>>;

interface Item {
  readonly id: string;
  readonly publisher: string;
  readonly at: number;
  readonly text: string;
}

interface Subscription {
  state: 'pending' | 'subscribed';
  deliver: boolean;
}

export interface Node {
  readonly service: string;
  readonly name: string;
  config: Config;
  readonly affiliations: Map<string, string>;
  readonly subscriptions: Map<string, Subscription>;
  /** The newest last. */
  items: Item[];
}

/** What is asked for of a page (XEP-0059), and by `max_items`. */
export interface Wanted {
  recent?: number;
  max?: number;
  after?: string;
  before?: string;
  index?: number;
}

const serviceDefaults: Config = {
  access_model: 'open',
  roster_groups_allowed: '',
  publish_model: 'publishers',
  persist_items: '1',
  max_items: '20',
  publish_node_full: 'retract-oldest',
  item_expire: 'max',
  deliver_notifications: '1',
  deliver_payloads: '1',
  itemreply: 'none',
  notify_config: '0',
  notify_delete: '1',
  notify_retract: '1',
  notify_sub: '0',
  send_last_published_item: 'on_sub',
  subscribe: '1',
};

const personalDefaults: Config = {
  ...serviceDefaults,
  access_model: 'presence',
  max_items: '1',
  send_last_published_item: 'on_sub_and_presence',
};

const noPersistence = 'feature-not-implemented/unsupported:persistent-items';

export const bareOf = (jid: string): string => jid.split('/')[0];
const isOn = (node: Node, field: string): boolean => node.config[field] === '1';

/** The most items that a node holds: where it keeps none, it remembers the last if that is ever sent. */
function mostOf({ config }: Node): number {
  if (config.persist_items === '1') return config.max_items === 'max' ? 1_000 : Number(config.max_items);
  return config.deliver_payloads === '1' && config.send_last_published_item !== 'never' ? 1 : 0;
}

/** Each request gives its result or the condition of its error; whom it tells of what gathers in `told`. */
export class Model {
  readonly nodes = new Map<string, Node>();
  /** The nodes that each session of a local user wants to hear of. */
  readonly sessions = new Map<string, ReadonlySet<string>>();
  /** The same of users elsewhere, for each account that their presence goes to: `account watcher`. */
  readonly watchers = new Map<string, ReadonlySet<string>>();
  /** Who sees whose presence, and in which group of the roster: `account contact`. */
  readonly seers = new Map<string, string>();
  /** What each session was told since somebody looked; all of elsewhere is one. */
  readonly told = new Map<string, string[]>();
  /** Questions for those who are away. */
  readonly #kept = new Map<string, string[]>();
  readonly #domain: string;

  constructor(domain: string) {
    this.#domain = domain;
  }

  // Who and what there is.

  node(service: string, name: string): Node | undefined {
    return this.nodes.get(`${service} ${name}`);
  }

  sessionsOf(bare: string): string[] {
    return [...this.sessions.keys()].filter(jid => bareOf(jid) === bare);
  }

  #isLocal(jid: string): boolean {
    return bareOf(jid).endsWith(`@${this.#domain}`);
  }

  #isPersonal(service: string): boolean {
    return service.includes('@');
  }

  affiliation({ service, affiliations }: Node, who: string): string {
    if (this.#isPersonal(service) && bareOf(who) === service) return 'owner';
    return affiliations.get(bareOf(who)) ?? 'none';
  }

  ownersOf(node: Node): string[] {
    if (this.#isPersonal(node.service)) return [node.service];
    return [...node.affiliations].filter(([, what]) => what === 'owner').map(([jid]) => jid);
  }

  #subscriptionsOf(node: Node, who: string): Subscription[] {
    return [...node.subscriptions].filter(([jid]) => bareOf(jid) === bareOf(who)).map(([, one]) => one);
  }

  #isSubscribed(node: Node, who: string): boolean {
    return this.#subscriptionsOf(node, who).some(({ state }) => state === 'subscribed');
  }

  /** Why somebody may not subscribe; null: may. */
  refusesSubscriber(node: Node, who: string): string | null {
    const affiliation = this.affiliation(node, who);
    if (affiliation === 'outcast' || affiliation === 'publish-only') return 'forbidden';
    if (affiliation !== 'none') return null;
    const groups = this.ownersOf(node).map(owner => this.seers.get(`${owner} ${bareOf(who)}`));
    const allowed = node.config.roster_groups_allowed;
    switch (node.config.access_model) {
      case 'presence':
        return groups.some(group => group !== undefined) ? null : 'not-authorized/presence-subscription-required';
      case 'roster':
        return allowed !== '' && groups.includes(allowed) ? null : 'not-authorized/not-in-roster-group';
      case 'whitelist':
        return 'not-allowed/closed-node';
      default:
        return null;
    }
  }

  #refusesReader(node: Node, who: string): string | null {
    const refused = this.refusesSubscriber(node, who);
    if (refused || node.config.access_model !== 'authorize') return refused;
    if (['owner', 'publisher'].includes(this.affiliation(node, who)) || this.#isSubscribed(node, who)) return null;
    return 'not-authorized/not-subscribed';
  }

  #mayPublish(node: Node, who: string): boolean {
    const affiliation = this.affiliation(node, who);
    if (['owner', 'publisher', 'publish-only'].includes(affiliation)) return true;
    const { publish_model: model } = node.config;
    if (affiliation === 'outcast' || model === 'publishers') return false;
    return model === 'open' || this.#isSubscribed(node, who);
  }

  #expire(node: Node): void {
    const { item_expire: seconds } = node.config;
    if (seconds !== 'max') node.items = node.items.filter(({ at }) => at >= Date.now() - Number(seconds) * 1_000);
  }

  // Telling.

  #tell(service: string, to: string, what: string, keeps = false): void {
    const text = `${service} to ${to}: ${what}`;
    const takers = !this.#isLocal(to)
      ? ['elsewhere']
      : to.includes('/')
        ? [to].filter(jid => this.sessions.has(jid))
        : this.sessionsOf(to);
    for (const taker of takers) this.#hears(taker, text);
    if (keeps && takers.length === 0) this.#kept.set(to, [...(this.#kept.get(to) ?? []), text]);
  }

  #hears(taker: string, text: string): void {
    this.told.set(taker, [...(this.told.get(taker) ?? []), text]);
  }

  #recipients(node: Node): string[] {
    const { service } = node;
    const subscribers = [...node.subscriptions]
      .filter(([, { state, deliver }]) => state === 'subscribed' && deliver)
      .map(([jid]) => jid)
      .filter(jid => this.refusesSubscriber(node, jid) === null);
    if (!this.#isPersonal(service)) return subscribers;
    const sees = (jid: string) => bareOf(jid) === service || this.seers.has(`${service} ${bareOf(jid)}`);
    const filtered = [
      ...[...this.sessions].filter(([jid, wanted]) => wanted.has(node.name) && sees(jid)).map(([jid]) => jid),
      ...[...this.watchers]
        .filter(([key, wanted]) => key.startsWith(`${service} `) && wanted.has(node.name))
        .map(([key]) => key.split(' ')[1]),
    ].filter(jid => this.#refusesReader(node, jid) === null);
    // Who hears of it by presence does not by a subscription as well.
    const reached = new Set(filtered.flatMap(jid => [jid, bareOf(jid)]));
    return [...filtered, ...subscribers.filter(jid => !reached.has(jid))];
  }

  #tellAll(node: Node, what: string, recipients = this.#recipients(node)): void {
    if (!isOn(node, 'deliver_notifications')) return;
    for (const to of recipients) this.#tell(node.service, to, `${what}`);
  }

  /** An item as it stands in an answer, or in an event. */
  shown(node: Node, { id, publisher, text }: Item, event = false): string {
    const payload = event && !isOn(node, 'deliver_payloads') ? '' : text;
    const signed = node.config.itemreply === 'publisher' || node.config.publish_model !== 'publishers';
    return `${id}=${payload}${signed ? ` by ${publisher}` : ''}`;
  }

  #sendLast(node: Node, to: string): void {
    this.#expire(node);
    const last = node.items.at(-1);
    if (!last || !isOn(node, 'deliver_notifications')) return;
    this.#tell(node.service, to, `${node.name} was last ${this.shown(node, last, true)}`);
  }

  #tellOwners(node: Node, jid: string, state: string): void {
    if (!isOn(node, 'notify_sub')) return;
    for (const owner of this.ownersOf(node)) this.#tell(node.service, owner, `${node.name} has ${jid} ${state}`);
  }

  #tellSubscription(node: Node, jid: string, state: string): void {
    this.#tell(node.service, jid, `${node.name} has ${jid} ${state}`);
  }

  // Presence.

  /** A session comes, or says something else of what it wants to hear of. */
  shows(jid: string, wanted: ReadonlySet<string>): void {
    const before = this.sessions.get(jid);
    this.sessions.set(jid, wanted);
    const bare = bareOf(jid);
    if (!before) {
      for (const text of this.#kept.get(bare) ?? []) this.#hears(jid, text);
      this.#kept.delete(bare);
      this.#comes(jid);
    }
    const fresh = new Set([...wanted].filter(name => !before?.has(name)));
    for (const node of this.nodes.values()) {
      if (node.service === bare || this.seers.has(`${node.service} ${bare}`)) this.#offer(node, jid, fresh);
    }
  }

  /** The service of the domain knows who is online here. */
  #comes(jid: string): void {
    for (const node of this.nodes.values()) {
      if (this.#isPersonal(node.service) || node.config.send_last_published_item !== 'on_sub_and_presence') continue;
      for (const [subscribed, { state, deliver }] of node.subscriptions) {
        const concerned = subscribed === jid || subscribed === bareOf(jid);
        if (concerned && state === 'subscribed' && deliver && !this.#refusesReader(node, jid))
          this.#sendLast(node, jid);
      }
    }
  }

  /** Somebody elsewhere shows presence to an account. */
  showsTo(account: string, watcher: string, wanted: ReadonlySet<string>): void {
    const before = this.watchers.get(`${account} ${watcher}`);
    this.watchers.set(`${account} ${watcher}`, wanted);
    const fresh = new Set([...wanted].filter(name => !before?.has(name)));
    for (const node of this.nodes.values()) if (node.service === account) this.#offer(node, watcher, fresh);
  }

  #offer(node: Node, jid: string, wanted: ReadonlySet<string>): void {
    if (!wanted.has(node.name) || node.config.send_last_published_item !== 'on_sub_and_presence') return;
    if (this.#refusesReader(node, jid) === null) this.#sendLast(node, jid);
  }

  /** A contact sees an account's presence, by being in that group of its roster; null: not any more. */
  lets(account: string, contact: string, group: string | null): void {
    const own = [...this.nodes.values()].filter(node => node.service === account);
    const key = `${account} ${contact}`;
    const reads = (node: Node) => this.seers.has(key) && this.#refusesReader(node, contact) === null;
    const before = own.map(node => ({ read: reads(node), refused: this.refusesSubscriber(node, contact) !== null }));
    if (group === null) this.seers.delete(key);
    else this.seers.set(key, group);
    for (const [n, node] of own.entries()) {
      if (!before[n].read && reads(node)) this.#offerTo(node, contact);
      if (before[n].refused || this.refusesSubscriber(node, contact) === null) continue;
      for (const jid of [...node.subscriptions.keys()].filter(one => bareOf(one) === contact)) {
        node.subscriptions.delete(jid);
        this.#tellSubscription(node, jid, 'none');
      }
    }
  }

  /** The last item goes to all that somebody has, where they want it. */
  #offerTo(node: Node, contact: string): void {
    for (const [jid, wanted] of this.sessions) if (bareOf(jid) === contact) this.#offer(node, jid, wanted);
    for (const [watcher, wanted] of this.watchers) {
      const [watched, jid] = watcher.split(' ');
      if (watched === node.service && bareOf(jid) === contact) this.#offer(node, jid, wanted);
    }
  }

  /** An account is gone with all that it had. */
  removes(account: string): void {
    for (const jid of this.sessionsOf(account)) this.sessions.delete(jid);
    this.#kept.delete(account);
    for (const key of [...this.seers.keys()]) {
      const [owner, contact] = key.split(' ');
      if (contact === account) this.lets(owner, contact, null);
      else if (owner === account) this.seers.delete(key);
    }
    for (const key of [...this.watchers.keys()]) if (key.startsWith(`${account} `)) this.watchers.delete(key);
    for (const [key, node] of [...this.nodes]) {
      if (node.service === account) {
        this.nodes.delete(key);
        continue;
      }
      const owners = this.ownersOf(node);
      if (owners.length === 1 && owners[0] === account) this.#remove(node);
      node.affiliations.delete(account);
      for (const jid of [...node.subscriptions.keys()]) if (bareOf(jid) === account) node.subscriptions.delete(jid);
    }
  }

  // Requests.

  create(from: string, service: string, name: string, fields: Config): string {
    const bare = bareOf(from);
    const may = this.#isPersonal(service) ? bare === service : this.#isLocal(from);
    if (!may) return 'forbidden';
    if (this.node(service, name)) return 'conflict';
    const defaults = this.#isPersonal(service) ? personalDefaults : serviceDefaults;
    const affiliations = new Map(this.#isPersonal(service) ? [] : [[bare, 'owner']]);
    const node: Node = {
      service,
      name,
      config: { ...defaults, ...fields },
      affiliations,
      subscriptions: new Map(),
      items: [],
    };
    this.nodes.set(`${service} ${name}`, node);
    return 'result';
  }

  configure(from: string, service: string, name: string, fields: Config): string {
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    if (this.affiliation(node, from) !== 'owner') return 'forbidden';
    this.#expire(node);
    const before = node.config;
    const reached = new Set(this.#recipients(node));
    const persisted = isOn(node, 'persist_items');
    node.config = { ...before, ...fields };
    this.#expire(node);
    // What was kept is not what is remembered.
    const most = persisted && !isOn(node, 'persist_items') ? 0 : mostOf(node);
    node.items = most === 0 ? [] : node.items.slice(-most);
    if (isOn(node, 'notify_config')) this.#tellAll(node, `${name} configured`);
    const opens = ['access_model', 'roster_groups_allowed'].some(field => before[field] !== node.config[field]);
    if (opens && node.config.send_last_published_item !== 'never') {
      for (const to of this.#recipients(node)) if (!reached.has(to)) this.#sendLast(node, to);
    }
    return 'result';
  }

  publish(
    from: string,
    service: string,
    name: string,
    item: Pick<Item, 'id' | 'text'> | null,
    options?: Config,
  ): string {
    const existing = this.node(service, name);
    if (!existing) {
      if (!this.#isPersonal(service)) return 'item-not-found';
      const made = this.create(from, service, name, options ?? {});
      if (made !== 'result') return made;
    } else {
      if (!this.#mayPublish(existing, from)) return 'forbidden';
      const met = Object.entries(options ?? {}).every(([field, value]) => existing.config[field] === value);
      if (!met) return 'conflict/precondition-not-met';
    }
    const node = this.node(service, name)!;
    const answer = this.#publish(node, from, item);
    if (answer !== 'result' && !existing) this.nodes.delete(`${service} ${name}`);
    return answer;
  }

  #publish(node: Node, from: string, item: Pick<Item, 'id' | 'text'> | null): string {
    const persists = isOn(node, 'persist_items');
    if (!persists && !isOn(node, 'deliver_payloads')) {
      if (item) return 'bad-request/item-forbidden';
      this.#tellAll(node, node.name);
      return 'result';
    }
    if (!item) return 'bad-request/item-required';
    if (item.text === '' && isOn(node, 'deliver_payloads')) return 'bad-request/payload-required';
    this.#expire(node);
    const most = mostOf(node);
    const others = node.items.filter(({ id }) => id !== item.id);
    const isNew = others.length === node.items.length;
    const policy = node.config.publish_node_full;
    if (persists && isNew && policy === 'reject' && others.length >= most) return 'conflict/node-full';
    const published = { ...item, publisher: bareOf(from), at: Date.now() };
    const all = [...others, published];
    node.items = most === 0 ? [] : all.slice(-most);
    this.#tellAll(node, `${node.name} says ${this.shown(node, published, true)}`);
    const gone = all.slice(0, -most).map(({ id }) => id);
    if (persists && gone.length > 0 && policy === 'retract-oldest' && isOn(node, 'notify_retract') && most > 1) {
      this.#tellAll(node, `${node.name} retracts ${gone.join()}`);
    }
    return 'result';
  }

  retract(from: string, service: string, name: string, ids: readonly string[], notify: boolean): string {
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    this.#expire(node);
    const affiliation = this.affiliation(node, from);
    for (const wanted of ids) {
      const item = node.items.find(({ id }) => id === wanted);
      const own = item?.publisher === bareOf(from) && this.#mayPublish(node, from);
      if (!own && affiliation !== 'owner' && affiliation !== 'publisher') return 'forbidden';
      if (!isOn(node, 'persist_items')) return noPersistence;
      if (!item) return 'item-not-found';
    }
    node.items = node.items.filter(({ id }) => !ids.includes(id));
    if (notify || isOn(node, 'notify_retract')) this.#tellAll(node, `${name} retracts ${ids.join()}`);
    return 'result';
  }

  purge(from: string, service: string, name: string): string {
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    if (this.affiliation(node, from) !== 'owner') return 'forbidden';
    if (!isOn(node, 'persist_items')) return noPersistence;
    node.items = [];
    if (isOn(node, 'notify_retract')) this.#tellAll(node, `${name} purged`);
    return 'result';
  }

  delete(from: string, service: string, name: string): string {
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    if (this.affiliation(node, from) !== 'owner') return 'forbidden';
    this.#remove(node);
    return 'result';
  }

  #remove(node: Node): void {
    const pending = [...node.subscriptions].filter(([, { state }]) => state === 'pending').map(([jid]) => jid);
    const told = [...this.#recipients(node), ...pending];
    if (isOn(node, 'notify_delete')) this.#tellAll(node, `${node.name} deleted`, told);
    this.nodes.delete(`${node.service} ${node.name}`);
  }

  subscribe(from: string, service: string, name: string, jid: string, deliver?: boolean): string {
    if (bareOf(jid) !== bareOf(from)) return 'bad-request/invalid-jid';
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    const refused = this.refusesSubscriber(node, from);
    if (refused) return refused;
    if (!isOn(node, 'subscribe')) return 'feature-not-implemented/unsupported:subscribe';
    const existing = node.subscriptions.get(jid);
    if (existing?.state === 'pending') return 'not-authorized/pending-subscription';
    if (existing) {
      existing.deliver = deliver ?? existing.deliver;
      return 'subscribed';
    }
    const atOnce = node.config.access_model !== 'authorize' || this.affiliation(node, from) !== 'none';
    const state = atOnce ? 'subscribed' : 'pending';
    node.subscriptions.set(jid, { state, deliver: deliver ?? true });
    if (state === 'pending') {
      for (const owner of this.ownersOf(node)) this.#tell(service, owner, `may ${jid} hear of ${name}?`, true);
    } else {
      this.#tellOwners(node, jid, state);
      if (deliver !== false && node.config.send_last_published_item !== 'never') this.#sendLast(node, jid);
    }
    return state;
  }

  unsubscribe(from: string, service: string, name: string, jid: string): string {
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    if (bareOf(jid) !== bareOf(from)) return 'forbidden';
    if (!node.subscriptions.delete(jid)) return 'unexpected-request/not-subscribed';
    this.#tellOwners(node, jid, 'none');
    return 'result';
  }

  options(from: string, service: string, name: string, jid: string, deliver: boolean): string {
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    if (bareOf(jid) !== bareOf(from)) return 'forbidden';
    const subscription = node.subscriptions.get(jid);
    if (!subscription) return 'unexpected-request/not-subscribed';
    subscription.deliver = deliver;
    return 'result';
  }

  /** An owner's word on a subscription that waits. */
  decides(from: string, service: string, name: string, jid: string, allow: boolean): void {
    const node = this.node(service, name);
    if (node && this.affiliation(node, from) === 'owner') this.#decide(node, jid, allow);
  }

  #decide(node: Node, jid: string, allow: boolean): void {
    const pending = node.subscriptions.get(jid);
    if (pending?.state !== 'pending') return;
    if (allow) pending.state = 'subscribed';
    else node.subscriptions.delete(jid);
    this.#tellSubscription(node, jid, allow ? 'subscribed' : 'none');
    if (!allow) return;
    this.#tellOwners(node, jid, 'subscribed');
    if (pending.deliver && node.config.send_last_published_item !== 'never') this.#sendLast(node, jid);
  }

  setSubscription(from: string, service: string, name: string, jid: string, wanted: 'none' | 'subscribed'): string {
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    if (this.affiliation(node, from) !== 'owner') return 'forbidden';
    const existing = node.subscriptions.get(jid);
    if (wanted === 'none') {
      if (node.subscriptions.delete(jid)) this.#tellSubscription(node, jid, 'none');
      return 'result';
    }
    if (existing) {
      this.#decide(node, jid, true);
      return 'result';
    }
    // Nobody is subscribed whom the node keeps out.
    if (['outcast', 'publish-only'].includes(this.affiliation(node, jid))) return 'not-acceptable';
    node.subscriptions.set(jid, { state: 'subscribed', deliver: true });
    this.#tellSubscription(node, jid, 'subscribed');
    return 'result';
  }

  affiliate(from: string, service: string, name: string, who: string, wanted: string): string {
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    if (this.affiliation(node, from) !== 'owner') return 'forbidden';
    const current = this.affiliation(node, who);
    if (current === wanted) return 'result';
    if (current === 'owner' && this.ownersOf(node).length === 1) return 'not-acceptable';
    if (wanted === 'none') node.affiliations.delete(who);
    else node.affiliations.set(who, wanted);
    for (const jid of [...node.subscriptions.keys()].filter(one => bareOf(one) === who)) {
      if (wanted === 'outcast' || wanted === 'publish-only') {
        node.subscriptions.delete(jid);
        this.#tellSubscription(node, jid, 'none');
      } else if (wanted !== 'none') this.#decide(node, jid, true);
    }
    this.#tell(service, who, `${name} takes ${who} for ${wanted}`);
    return 'result';
  }

  /** A page of items, or why there is none. */
  items(from: string, service: string, name: string, wanted: Wanted): string {
    const node = this.node(service, name);
    if (!node) return 'item-not-found';
    const refused = this.#refusesReader(node, from);
    if (refused) return refused;
    if (!isOn(node, 'persist_items') && node.config.send_last_published_item === 'never') return noPersistence;
    this.#expire(node);
    const { recent, max, after, before, index } = wanted;
    const all = node.items.toReversed();
    const placeOf = (id: string) => all.findIndex(item => item.id === id);
    const most = Math.min(max ?? 200, recent ?? 200);
    const paged = [max, after, before, index].some(value => value !== undefined);
    let start = index ?? 0;
    let end = all.length;
    if (most > 0) {
      if (after && placeOf(after) < 0) return 'item-not-found';
      if (before && placeOf(before) < 0) return 'item-not-found';
    }
    if (after) start = placeOf(after) + 1;
    if (before !== undefined) {
      if (before) end = placeOf(before);
      start = Math.max(0, end - most);
    }
    const page = most === 0 ? [] : all.slice(start, Math.min(end, start + most));
    const ends = page.length > 0 ? ` ${start}:${page[0].id}-${page.at(-1)!.id}` : '';
    return `${page.map(item => this.shown(node, item)).join('; ')}${paged ? `${ends} of ${all.length}` : ''}`;
  }
}
