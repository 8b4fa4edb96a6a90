// Nodes as they are kept: their configuration, affiliations and subscriptions, with a cache for services in use.
import type { Hub } from '../../hub/module.ts';
import type { Row, Store } from '../../hub/store.ts';
import { Items } from './items.ts';
import { type Affiliation, type Node, type NodeConfig, type Subscription, serviceDefaults } from './node.ts';

const schema = [
  `CREATE TABLE pubsub_nodes (
     id INTEGER PRIMARY KEY, service TEXT NOT NULL, name TEXT NOT NULL, creator TEXT NOT NULL, created INTEGER NOT NULL,
     config TEXT NOT NULL, UNIQUE (service, name));
   CREATE TABLE pubsub_items (
     seq INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL, item TEXT NOT NULL, publisher TEXT NOT NULL,
     at INTEGER NOT NULL, size INTEGER NOT NULL, payload TEXT NOT NULL, UNIQUE (node, item));
   CREATE INDEX pubsub_items_order ON pubsub_items (node, seq);
   CREATE TABLE pubsub_affiliations (
     node INTEGER NOT NULL, jid TEXT NOT NULL, affiliation TEXT NOT NULL, PRIMARY KEY (node, jid)) WITHOUT ROWID;
   CREATE INDEX pubsub_affiliations_jid ON pubsub_affiliations (jid);
   CREATE TABLE pubsub_subscriptions (
     node INTEGER NOT NULL, jid TEXT NOT NULL, bare TEXT NOT NULL, state TEXT NOT NULL, deliver INTEGER NOT NULL,
     PRIMARY KEY (node, jid)) WITHOUT ROWID;
   CREATE INDEX pubsub_subscriptions_bare ON pubsub_subscriptions (bare)`,
];

const mostCached = 5_000;

interface Members {
  readonly affiliations: Map<string, Affiliation>;
  readonly subscriptions: Map<string, Subscription>;
}

const none: ReadonlyMap<string, Node> = new Map();

export class Nodes {
  readonly items: Items;
  readonly #store: Store;
  readonly #most: number;
  /** The services that have any nodes, so that most accounts cost one look-up. */
  readonly #used: Set<string>;
  readonly #cache = new Map<string, Map<string, Node>>();
  readonly #members = new WeakMap<Node, Members>();

  /** Keeps the nodes of `most` services at hand. */
  constructor(store: Store, most = mostCached) {
    store.migrate('pubsub', schema);
    this.#store = store;
    this.#most = most;
    this.items = new Items(store);
    this.#used = new Set(
      store
        .prepare('SELECT DISTINCT service FROM pubsub_nodes')
        .all()
        .map(row => String(row.service)),
    );
  }

  /** Whether a service has any nodes. */
  has(service: string): boolean {
    return this.#used.has(service);
  }

  /** The nodes of a service, by name. */
  of(service: string): ReadonlyMap<string, Node> {
    if (!this.#used.has(service)) return none;
    const known = this.#cache.get(service);
    if (known) {
      // What was used last is forgotten last.
      this.#cache.delete(service);
      this.#cache.set(service, known);
      return known;
    }
    const nodes = new Map<string, Node>();
    for (const row of this.#store
      .prepare('SELECT * FROM pubsub_nodes WHERE service = ? ORDER BY id')
      .iterate(service)) {
      const node = nodeOf(row);
      nodes.set(node.name, node);
    }
    if (this.#cache.size >= this.#most) this.#cache.delete(this.#cache.keys().next().value!);
    this.#cache.set(service, nodes);
    return nodes;
  }

  get(service: string, name: string): Node | undefined {
    return this.of(service).get(name);
  }

  create(service: string, name: string, creator: string, config: NodeConfig): Node {
    const created = Date.now();
    const { lastId } = this.#store
      .prepare('INSERT INTO pubsub_nodes (service, name, creator, created, config) VALUES (?, ?, ?, ?, ?)')
      .run(service, name, creator, created, JSON.stringify(config));
    const node: Node = { id: lastId, service, name, creator, created, config };
    this.#used.add(service);
    (this.of(service) as Map<string, Node>).set(name, node);
    return this.get(service, name)!;
  }

  configure(node: Node, config: NodeConfig): void {
    node.config = config;
    this.#store.prepare('UPDATE pubsub_nodes SET config = ? WHERE id = ?').run(JSON.stringify(config), node.id);
  }

  remove(node: Node): void {
    this.#store.atomic(() => {
      this.items.purge(node);
      for (const table of ['pubsub_affiliations', 'pubsub_subscriptions']) {
        this.#store.prepare(`DELETE FROM ${table} WHERE node = ?`).run(node.id);
      }
      this.#store.prepare('DELETE FROM pubsub_nodes WHERE id = ?').run(node.id);
    });
    (this.of(node.service) as Map<string, Node>).delete(node.name);
    if (this.of(node.service).size === 0) {
      this.#used.delete(node.service);
      this.#cache.delete(node.service);
    }
  }

  /** The nodes of a service that somebody made. */
  countOf(service: string, creator: string): number {
    const count = this.#store.prepare('SELECT count(*) AS n FROM pubsub_nodes WHERE service = ? AND creator = ?');
    return Number(count.get(service, creator)?.n);
  }

  affiliations(node: Node): ReadonlyMap<string, Affiliation> {
    return this.#membersOf(node).affiliations;
  }

  /** What is kept for a bare JID; implied affiliations are not. */
  affiliation(node: Node, bare: string): Affiliation {
    return this.#membersOf(node).affiliations.get(bare) ?? 'none';
  }

  affiliate(node: Node, bare: string, affiliation: Affiliation): void {
    const { affiliations } = this.#membersOf(node);
    if (affiliation === 'none') {
      affiliations.delete(bare);
      this.#store.prepare('DELETE FROM pubsub_affiliations WHERE node = ? AND jid = ?').run(node.id, bare);
    } else {
      affiliations.set(bare, affiliation);
      this.#store
        .prepare('INSERT OR REPLACE INTO pubsub_affiliations VALUES (?, ?, ?)')
        .run(node.id, bare, affiliation);
    }
  }

  /** The affiliations of a bare JID with the nodes of a service, its own nodes first; not more than a thousand. */
  affiliationsOf(service: string, bare: string): { node: string; affiliation: Affiliation }[] {
    const rows = this.#store.prepare(
      `SELECT name, affiliation FROM pubsub_affiliations JOIN pubsub_nodes ON id = node
       WHERE jid = ? AND service = ? ORDER BY affiliation <> 'owner', node LIMIT 1000`,
    );
    return rows
      .all(bare, service)
      .map(row => ({ node: String(row.name), affiliation: String(row.affiliation) as Affiliation }));
  }

  /** All subscriptions of a node, by the JID that was subscribed. */
  subscriptions(node: Node): ReadonlyMap<string, Subscription> {
    return this.#membersOf(node).subscriptions;
  }

  subscribe(node: Node, subscription: Subscription): void {
    const { jid, state, deliver } = subscription;
    this.#membersOf(node).subscriptions.set(jid, subscription);
    this.#store
      .prepare('INSERT OR REPLACE INTO pubsub_subscriptions VALUES (?, ?, ?, ?, ?)')
      .run(node.id, jid, bareOf(jid), state, deliver ? 1 : 0);
  }

  unsubscribe(node: Node, jid: string): void {
    this.#membersOf(node).subscriptions.delete(jid);
    this.#store.prepare('DELETE FROM pubsub_subscriptions WHERE node = ? AND jid = ?').run(node.id, jid);
  }

  /** The services at which a bare JID has subscriptions. */
  servicesOf(bare: string): string[] {
    return this.#store
      .prepare(
        'SELECT DISTINCT service FROM pubsub_subscriptions JOIN pubsub_nodes ON id = node WHERE bare = ? LIMIT 1000',
      )
      .all(bare)
      .map(row => String(row.service));
  }

  countSubscriptionsOf(service: string, bare: string): number {
    const count = this.#store.prepare(
      'SELECT count(*) AS n FROM pubsub_subscriptions JOIN pubsub_nodes ON id = node WHERE bare = ? AND service = ?',
    );
    return Number(count.get(bare, service)?.n);
  }

  /** The subscriptions of a bare JID, under any of its resources, to the nodes of a service. */
  subscriptionsOf(service: string, bare: string): { node: string; subscription: Subscription }[] {
    const rows = this.#store.prepare(
      `SELECT name, jid, state, deliver FROM pubsub_subscriptions JOIN pubsub_nodes ON id = node
       WHERE bare = ? AND service = ? ORDER BY node LIMIT 1000`,
    );
    return rows.all(bare, service).map(row => ({ node: String(row.name), subscription: subscriptionOf(row) }));
  }

  /** The nodes that nobody else owns; those that an account has by being one are not among them. */
  ownedOnlyBy(bare: string): Node[] {
    const rows = this.#store.prepare(
      `SELECT service, name FROM pubsub_affiliations AS own JOIN pubsub_nodes ON id = node
       WHERE jid = ? AND affiliation = 'owner' AND NOT EXISTS (SELECT 1 FROM pubsub_affiliations AS others
         WHERE others.node = own.node AND others.affiliation = 'owner' AND others.jid <> own.jid)`,
    );
    return rows.all(bare).flatMap(row => this.get(String(row.service), String(row.name)) ?? []);
  }

  /** Removes all nodes of a service. */
  removeAll(service: string): void {
    for (const node of [...this.of(service).values()]) this.remove(node);
  }

  /** Forgets the part that somebody has in the nodes of others. */
  forget(bare: string): void {
    const others = this.#store.prepare(
      `SELECT DISTINCT service, name FROM pubsub_nodes WHERE id IN (
         SELECT node FROM pubsub_subscriptions WHERE bare = ?1 UNION SELECT node FROM pubsub_affiliations WHERE jid = ?1)`,
    );
    for (const row of others.all(bare)) {
      const node = this.get(String(row.service), String(row.name));
      if (!node) continue;
      this.affiliate(node, bare, 'none');
      for (const jid of [...this.subscriptions(node).keys()]) if (bareOf(jid) === bare) this.unsubscribe(node, jid);
    }
  }

  #membersOf(node: Node): Members {
    let members = this.#members.get(node);
    if (members) return members;
    members = { affiliations: new Map(), subscriptions: new Map() };
    for (const row of this.#store.prepare('SELECT * FROM pubsub_affiliations WHERE node = ?').iterate(node.id)) {
      members.affiliations.set(String(row.jid), String(row.affiliation) as Affiliation);
    }
    for (const row of this.#store.prepare('SELECT * FROM pubsub_subscriptions WHERE node = ?').iterate(node.id)) {
      members.subscriptions.set(String(row.jid), subscriptionOf(row));
    }
    this.#members.set(node, members);
    return members;
  }
}

const ofStore = new WeakMap<Store, Nodes>();

/** The nodes of all services of a hub. */
export function nodesOf({ store }: Pick<Hub, 'store'>): Nodes {
  let nodes = ofStore.get(store);
  if (!nodes) ofStore.set(store, (nodes = new Nodes(store)));
  return nodes;
}

/** The JID without its resource; only for JIDs that were prepared before. */
export function bareOf(jid: string): string {
  const slash = jid.indexOf('/');
  return slash < 0 ? jid : jid.slice(0, slash);
}

function nodeOf(row: Row): Node {
  return {
    id: Number(row.id),
    service: String(row.service),
    name: String(row.name),
    creator: String(row.creator),
    created: Number(row.created),
    // What a version before this one kept lacks the options that came since.
    config: { ...serviceDefaults, ...(JSON.parse(String(row.config)) as NodeConfig) },
  };
}

function subscriptionOf(row: Row): Subscription {
  return {
    jid: String(row.jid),
    state: String(row.state) as Subscription['state'],
    deliver: row.deliver === 1,
  };
}
