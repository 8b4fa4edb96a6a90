// What a pubsub node is: its configuration, who has which part in it, and what is published there (XEP-0060 §4).

export const accessModels = ['open', 'presence', 'roster', 'authorize', 'whitelist'] as const;
export type AccessModel = (typeof accessModels)[number];

export const publishModels = ['publishers', 'subscribers', 'open'] as const;
export type PublishModel = (typeof publishModels)[number];

export const affiliations = ['owner', 'publisher', 'publish-only', 'member', 'none', 'outcast'] as const;
export type Affiliation = (typeof affiliations)[number];

/** The fields of `pubsub#node_config` that are supported (XEP-0060 §16.4.4). */
export interface NodeConfig {
  title: string;
  description: string;
  type: string;
  language: string;
  contact: readonly string[];
  accessModel: AccessModel;
  rosterGroups: readonly string[];
  publishModel: PublishModel;
  persistItems: boolean;
  /** At most `limits.items`, which is what `max` means. */
  maxItems: number;
  whenFull: 'retract-oldest' | 'discard-oldest' | 'reject';
  /** Seconds after which an item goes; 0: it stays. */
  itemExpire: number;
  maxPayloadSize: number;
  deliverNotifications: boolean;
  deliverPayloads: boolean;
  notificationType: 'normal' | 'headline';
  /** Whether items say who published them; where others than publishers may publish, they always do. */
  itemReply: 'publisher' | 'none';
  notifyConfig: boolean;
  notifyDelete: boolean;
  notifyRetract: boolean;
  notifySubscriptions: boolean;
  sendLast: 'never' | 'on_sub' | 'on_sub_and_presence';
  /** Whether there can be subscriptions. */
  subscribe: boolean;
}

/** What bounds a service; sizes in characters of XML. */
export const limits = {
  /** The most items of a node. */
  items: 1_000,
  payload: 128 * 1024,
  /** All payloads of a node together. */
  nodeSize: 8 * 1024 * 1024,
  /** All payloads of an account's nodes, or at a domain's service of one creator's nodes, together. */
  accountSize: 16 * 1024 * 1024,
  /** Nodes of an account, or at a domain's service those of one creator. */
  nodes: 200,
  /** Nodes of a domain's service in all. */
  serviceNodes: 10_000,
  subscriptions: 5_000,
  /** Subscriptions to one node under one bare JID. */
  subscriptionsOfOne: 20,
  /** Subscriptions to all nodes of a service under one bare JID. */
  subscriptionsThere: 1_000,
  affiliations: 2_000,
  /** What one answer holds at most. */
  page: 200,
  /** How many nodes are looked at for one list of nodes. */
  scanned: 1_000,
  pageSize: 256 * 1024,
  /** Bytes of a node's or an item's id. */
  idLength: 512,
} as const;

const common: NodeConfig = {
  title: '',
  description: '',
  type: '',
  language: '',
  contact: [],
  accessModel: 'open',
  rosterGroups: [],
  publishModel: 'publishers',
  persistItems: true,
  maxItems: 20,
  whenFull: 'retract-oldest',
  itemExpire: 0,
  maxPayloadSize: limits.payload,
  deliverNotifications: true,
  deliverPayloads: true,
  notificationType: 'headline',
  itemReply: 'none',
  notifyConfig: false,
  notifyDelete: true,
  notifyRetract: true,
  notifySubscriptions: false,
  sendLast: 'on_sub',
  subscribe: true,
};

/** The default configuration of nodes at a domain's service. */
export const serviceDefaults: NodeConfig = common;

/** The default configuration of an account's nodes (XEP-0163 §5). */
export const personalDefaults: NodeConfig = {
  ...common,
  accessModel: 'presence',
  maxItems: 1,
  sendLast: 'on_sub_and_presence',
};

/** The most items that a node holds: where it keeps none, it remembers the last if that is ever sent. */
export function mostItems({ persistItems, maxItems, deliverPayloads, sendLast }: NodeConfig): number {
  if (persistItems) return maxItems;
  return deliverPayloads && sendLast !== 'never' ? 1 : 0;
}

export interface Subscription {
  /** The subscribed JID as it was given, bare or full. */
  readonly jid: string;
  state: 'pending' | 'subscribed';
  /** Whether events are delivered (`pubsub#deliver`). */
  deliver: boolean;
}

export interface Node {
  readonly id: number;
  /** The address of the service, as text. */
  readonly service: string;
  readonly name: string;
  readonly creator: string;
  /** Milliseconds. */
  readonly created: number;
  config: NodeConfig;
}

export interface Item {
  readonly id: string;
  /** The publisher's bare JID. */
  readonly publisher: string;
  /** Milliseconds. */
  readonly at: number;
  /** The payload as XML, '' for none. */
  readonly payload: string;
}
