// Personal eventing: every account is a pubsub service of its own, and presence subscribes to it (XEP-0163).
import type { ContactBefore, Hub, Module, Session } from '../../hub/module.ts';
import type { Element } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import { rostersOf } from '../rosters.ts';
import { type Facts, refuseReader, refuseSubscriber } from './access.ts';
import { answerRequest } from './answers.ts';
import { takeAnswer } from './approval.ts';
import { bouncedNode, dropGone } from './bounces.ts';
import { itemsOf, nodeInfo } from './discovery.ts';
import { sendLast, tellSubscription } from './events.ts';
import { personalFeatures } from './features.ts';
import { factsOf, type Host, type View } from './host.ts';
import { Interests, type Wanted } from './interest.ts';
import { type Item, type Node, type NodeConfig, personalDefaults } from './node.ts';
import { bareOf, nodesOf } from './nodes.ts';
import { portablePersonal } from './portable.ts';
import { defaultsFor, publishItem } from './publisher.ts';

/** Told of what changes at a node of an account: avatars and bookmarks are kept in step elsewhere. */
export type PersonalListener = (owner: Jid, node: Node, ids: readonly string[], item: Item | null) => void;

export const pep: Module = {
  name: 'pep',
  implements: ['XEP-0060', 'XEP-0163', 'XEP-0223', 'XEP-0222', 'XEP-0059'],
  portable: portablePersonal,
  start(hub) {
    const personal = personalOf(hub);
    personal.interests.start();
    hub.identity('account', { category: 'pubsub', type: 'pep' });
    hub.feature('account', ns.pubsub, `${ns.pubsub}#pubsub-on-a-jid`, ...personalFeatures, ns.vcard4);
    hub.discoNodes({
      info: (node, { from, to }) => (to.isDomain ? null : nodeInfo(personal.host(to), from, node)),
      items: (_node, { from, to, query }) => (to.isDomain ? null : itemsOf(personal.host(to), from, query)),
    });
    for (const space of [ns.pubsub, ns.pubsubOwner]) {
      hub.iq(space, 'pubsub', 'account', request => answerRequest(personal.host(request.to), request));
    }
    hub.on('session-sent', (session, stanza) => {
      const answers = stanza.name === 'message' && stanza.to?.isBare && stanza.to.equals(session.jid.bare);
      return answers && stanza.has('x', ns.data) ? takeAnswer(personal.host(stanza.to!), stanza) : false;
    });
    hub.on('roster-changed', (user, contact, before) => personal.contactChanged(user.bare, contact.bare, before));
    hub.filter(stanza => {
      if (stanza.name === 'message' && stanza.isError && stanza.to!.local !== '' && stanza.to!.resource === '') {
        personal.bounced(stanza);
      }
      return stanza;
    });
    hub.on('account-removed', user => personal.nodes.removeAll(user.bare.toString()));
  },
};

/** The personal eventing of all accounts of a hub; modules that publish for users share it. */
export class Personal {
  readonly hub: Hub;
  readonly nodes;
  readonly interests: Interests;
  readonly #listeners: PersonalListener[] = [];
  /** How nodes of that name are shown where that is not how they are kept. */
  readonly views = new Map<string, View>();

  constructor(hub: Hub) {
    this.hub = hub;
    this.nodes = nodesOf(hub);
    this.interests = new Interests(hub, {
      hasNodes: owner => this.nodes.has(owner.toString()),
      sessionWants: (session, fresh) => this.#sessionWants(session, fresh),
      watcherWants: (owner, watcher, fresh) => this.#offer(owner, watcher, fresh),
    });
  }

  /** Calls `listener` with whatever is published or goes at accounts' nodes. */
  listen(listener: PersonalListener): void {
    this.#listeners.push(listener);
  }

  /** The service that an account is. */
  host(account: Jid): Host {
    const { hub, nodes } = this;
    const jid = account.bare;
    return {
      hub,
      nodes,
      jid,
      address: jid.toString(),
      personal: true,
      defaults: personalDefaults,
      implied: (_node, who) => (who.bare.equals(jid) ? 'owner' : null),
      owners: () => [jid],
      refuseCreator: who => (who.bare.equals(jid) ? null : new StanzaError('forbidden', 'these nodes are not yours')),
      recipients: node => this.#recipients(jid, node),
      view: name => this.views.get(name),
      changed: (node, ids, item) => {
        for (const listener of this.#listeners) listener(jid, node, ids, item);
      },
    };
  }

  /** Publishes in an account's name, and makes the node where there is none, with `config` besides its defaults. */
  async publish(account: Jid, name: string, item: Element, config: Partial<NodeConfig> = {}): Promise<void> {
    const host = this.host(account);
    const made = { ...defaultsFor(host, name), ...config };
    const node = this.nodes.get(host.address, name) ?? this.nodes.create(host.address, name, host.address, made);
    await publishItem(host, node, item, host.jid);
  }

  /** XEP-0163 §4.3: the account's own resources, contacts that may see the node, and who subscribed to it. */
  #recipients(owner: Jid, node: Node): Jid[] {
    const { hub, interests } = this;
    const host = this.host(owner);
    const found = new Map<string, Jid>();
    const reached = new Set<string>();
    const wants = (wanted: Wanted, jid: Jid) => {
      if (!wanted.has(node.name)) return;
      found.set(jid.toString(), jid);
      reached.add(jid.bare.toString());
    };
    for (const session of hub.sessions.of(owner)) wants(interests.ofSession(session), session.jid);
    for (const { contact, from } of rostersOf(hub).of(owner).items.values()) {
      const sessions = from ? hub.sessions.of(contact) : [];
      if (sessions.length === 0 || refuseReader(factsOf(host, node, contact))) continue;
      for (const session of sessions) wants(interests.ofSession(session), session.jid);
    }
    for (const { jid, wanted } of interests.watchers(owner).values()) {
      if (wanted.has(node.name) && !refuseReader(factsOf(host, node, jid))) wants(wanted, jid);
    }
    for (const { jid, state, deliver } of this.nodes.subscriptions(node).values()) {
      if (state !== 'subscribed' || !deliver || reached.has(jid) || found.has(jid)) continue;
      const subscriber = Jid.parse(jid);
      if (!refuseSubscriber(factsOf(host, node, subscriber))) found.set(jid, subscriber);
    }
    return [...found.values()];
  }

  /** A local session has come, or wants more than before: its own nodes, and those of local contacts it sees. */
  #sessionWants(session: Session, fresh: Wanted): void {
    this.#offer(session.jid.bare, session.jid, fresh);
    for (const { contact, to } of rostersOf(this.hub).of(session.jid).items.values()) {
      if (to && this.nodes.has(contact.toString()) && this.hub.hosts(contact.domain)) {
        this.#offer(contact, session.jid, fresh);
      }
    }
  }

  /** Sends the last items of an account's nodes to a resource that wants them and may have them (XEP-0163 §4.3.4). */
  #offer(owner: Jid, to: Jid, fresh: Wanted, concerned: (node: Node) => boolean = () => true): void {
    const host = this.host(owner);
    for (const node of this.nodes.of(host.address).values()) {
      if (!fresh.has(node.name) || node.config.sendLast !== 'on_sub_and_presence' || !concerned(node)) continue;
      if (!refuseReader(factsOf(host, node, to))) sendLast(host, node, to);
    }
  }

  /**
   * Access follows the roster (XEP-0163 §7): who gains it gets the last items, who loses it loses subscriptions. Where
   * nobody knows how it was before, everything may have changed.
   */
  contactChanged(owner: Jid, contact: Jid, before?: ContactBefore): void {
    const host = this.host(owner);
    const nodes = this.nodes.of(host.address);
    if (nodes.size === 0) return;
    const was = (node: Node): Facts | null =>
      before ? { ...factsOf(host, node, contact), ...seenBy(node, before) } : null;
    if (rostersOf(this.hub).item(owner, contact)?.from) {
      const gained = (node: Node) => {
        const facts = was(node);
        return !facts?.seesPresence || refuseReader(facts) !== null;
      };
      for (const session of this.hub.sessions.of(contact)) {
        this.#offer(owner, session.jid, this.interests.ofSession(session), gained);
      }
      for (const { jid, wanted } of this.interests.watchers(owner).values()) {
        if (jid.bare.equals(contact)) this.#offer(owner, jid, wanted, gained);
      }
    }
    for (const node of nodes.values()) {
      const facts = was(node);
      if (facts && refuseSubscriber(facts)) continue;
      for (const { jid } of [...this.nodes.subscriptions(node).values()]) {
        if (bareOf(jid) !== contact.toString()) continue;
        const subscriber = Jid.parse(jid);
        if (!refuseSubscriber(factsOf(host, node, subscriber))) continue;
        this.nodes.unsubscribe(node, jid);
        tellSubscription(host, node, subscriber, 'none');
      }
    }
  }

  /** An event came back: that resource is gone, though nobody said so. */
  bounced(error: Stanza): void {
    const host = this.host(error.to!);
    if (!error.from || !bouncedNode(host, error)) return;
    this.interests.forget(host.jid, error.from);
    dropGone(host, error);
  }
}

/** What a roster item says of access to a node. */
function seenBy({ config }: Node, { from, groups }: ContactBefore): Pick<Facts, 'seesPresence' | 'inGroup'> {
  return { seesPresence: from, inGroup: from && groups.some(group => config.rosterGroups.includes(group)) };
}

const ofHub = new WeakMap<object, Personal>();

export function personalOf(hub: Hub): Personal {
  let personal = ofHub.get(hub.store);
  if (!personal) ofHub.set(hub.store, (personal = new Personal(hub)));
  return personal;
}
