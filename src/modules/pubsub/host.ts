// One pubsub service: an account's own (XEP-0163) or that of a domain. What the use cases need to know of it.
import type { Hub } from '../../hub/module.ts';
import type { Element } from '../../xmpp/element.ts';
import type { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { rostersOf } from '../rosters.ts';
import type { Facts } from './access.ts';
import type { Affiliation, Item, Node, NodeConfig } from './node.ts';
import { bareOf, type Nodes } from './nodes.ts';

/** What a reader sees of a node with one item, which is `kept`; null: nothing. They are asked before whether they may. */
export type View = (owner: Jid, reader: Jid, kept: Item | null) => Promise<Element | null>;

export interface Host {
  readonly hub: Hub;
  readonly nodes: Nodes;
  readonly jid: Jid;
  /** `jid` as text: the key of its nodes. */
  readonly address: string;
  /** Whether it is an account's: nodes come into being as they are published to, and presence subscribes. */
  readonly personal: boolean;
  readonly defaults: NodeConfig;
  /** The affiliation that somebody has without its being kept: an account owns its own nodes. */
  implied(node: Node, who: Jid): Affiliation | null;
  /** The bare JIDs of those who own a node. */
  owners(node: Node): Jid[];
  /** Null: may make a node; else why not. */
  refuseCreator(who: Jid, name: string): StanzaError | null;
  /** Whom an event at a node is sent to, each once. */
  recipients(node: Node): Iterable<Jid>;
  /** Of a node that is shown otherwise than it is kept: what a reader sees in the place of its item, if anything. */
  view?(name: string): View | undefined;
  /** Something was published, retracted or purged, or others may see it now; `item` is null where none was published. */
  changed?(node: Node, ids: readonly string[], item: Item | null): void;
}

/** What somebody is at a node. */
export function affiliationOf(host: Host, node: Node, who: Jid): Affiliation {
  return host.implied(node, who) ?? host.nodes.affiliation(node, who.bare.toString());
}

/** What access to a node is decided by. */
export function factsOf(host: Host, node: Node, who: Jid): Facts {
  const { accessModel: model, rosterGroups } = node.config;
  const affiliation = affiliationOf(host, node, who);
  const facts = {
    model,
    affiliation,
    // Few decisions ask for it, and it can take a walk through all of them.
    get subscription() {
      return subscriptionOf(host, node, who);
    },
    seesPresence: false,
    inGroup: false,
  };
  if (model !== 'presence' && model !== 'roster') return facts;
  for (const owner of host.owners(node)) {
    const item = host.hub.hosts(owner.domain) ? rostersOf(host.hub).item(owner, who) : undefined;
    if (!item?.from) continue;
    facts.seesPresence = true;
    facts.inGroup ||= item.groups.some(group => rosterGroups.includes(group));
  }
  return facts;
}

function subscriptionOf(host: Host, node: Node, who: Jid): Facts['subscription'] {
  const subscriptions = host.nodes.subscriptions(node);
  if (subscriptions.size === 0) return 'none';
  const bare = who.bare.toString();
  if (subscriptions.get(bare)?.state === 'subscribed') return 'subscribed';
  let found: Facts['subscription'] = 'none';
  for (const [jid, { state }] of subscriptions) {
    // What one resource was granted holds while another waits.
    if (bareOf(jid) === bare && found !== 'subscribed') found = state;
  }
  return found;
}
