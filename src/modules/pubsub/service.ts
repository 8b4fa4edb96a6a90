// The pubsub service of a domain, at pubsub.DOMAIN: nodes that its users make, for anybody (XEP-0060).
import { AdHocCommands } from '../../hub/ad-hoc.ts';
import { checkCrossing } from '../../hub/crossing.ts';
import type { Hub, Module, Session } from '../../hub/module.ts';
import { hubOrigin, type Origin } from '../../hub/router.ts';
import type { Element } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import { infoElement, itemsElement } from '../disco.ts';
import { refuseReader, refuseSubscriber } from './access.ts';
import { answerRequest } from './answers.ts';
import { takeAnswer } from './approval.ts';
import { dropGone } from './bounces.ts';
import { itemsOf, nodeInfo } from './discovery.ts';
import { sendLast } from './events.ts';
import { personalFeatures } from './features.ts';
import { factsOf, type Host } from './host.ts';
import { type Node, serviceDefaults } from './node.ts';
import { nodesOf } from './nodes.ts';
import { offlineNode, tellKept } from './offline-notices.ts';
import { removeNode } from './owner.ts';
import { pendingCommand } from './pending.ts';

const prefix = 'pubsub.';

export const pubsub: Module = {
  name: 'pubsub',
  implements: ['XEP-0060', 'XEP-0059'],
  start(hub) {
    const services = new Map<string, PubsubService>();
    const of = (domain: string) => {
      let service = services.get(domain);
      if (!service) services.set(domain, (service = new PubsubService(hub, domain)));
      return service;
    };
    hub.serve({
      name: 'pubsub',
      domains: config =>
        [...config.domains.keys()].filter(domain => hub.enabled('pubsub', domain)).map(domain => prefix + domain),
      deliver: (stanza, origin) => of(stanza.to!.domain.slice(prefix.length)).deliver(stanza, origin),
    });
    hub.itemsFrom(domain => {
      const service = of(domain);
      return hub.router.find(service.host.jid)?.name === 'services' ? [service.item] : [];
    });
    hub.on('session-available', session => {
      for (const service of nodesOf(hub).servicesOf(session.jid.bare.toString())) {
        const domain = service.slice(prefix.length);
        if (service === prefix + domain && hub.enabled('pubsub', domain)) of(domain).userCame(session);
      }
    });
    hub.on('message-kept', (message, waiting) => tellKept(of(message.to!.domain).host, message, waiting));
    hub.on('account-removed', async user => {
      const nodes = nodesOf(hub);
      const bare = user.bare.toString();
      // An account's nodes go without this; the services of domains know no owner but those that are kept.
      const orphans = nodes.ownedOnlyBy(bare).filter(({ service }) => service.startsWith(prefix));
      for (const node of orphans) await removeNode(of(node.service.slice(prefix.length)).host, node);
      nodes.forget(bare);
    });
  },
};

class PubsubService {
  readonly host: Host;
  readonly #hub: Hub;
  readonly #domain: string;
  readonly #commands = new AdHocCommands();

  constructor(hub: Hub, domain: string) {
    this.#hub = hub;
    this.#domain = domain;
    this.host = hostOf(hub, domain);
    this.#commands.add(pendingCommand(this.host));
  }

  get item(): { jid: string; name: string } {
    return { jid: this.host.address, name: 'Publish-subscribe' };
  }

  /** Takes a stanza for the service. Throws or rejects with the StanzaError that goes back. */
  async deliver(stanza: Stanza, origin: Origin): Promise<void> {
    if (origin.kind === 'session') checkCrossing(this.#hub.config, stanza, this.#domain);
    if (stanza.name === 'message') return this.#message(stanza);
    if (stanza.name !== 'iq' || !stanza.isRequest) return;
    if (stanza.to!.local !== '') throw new StanzaError('item-not-found', 'there are nodes here, and no users');
    const answer = await this.#answer(stanza);
    await this.#hub.router.route(isElement(answer) ? stanza.result(answer) : answer, hubOrigin);
  }

  async #answer(stanza: Stanza): Promise<Element | Stanza | null> {
    const first = stanza.firstChild;
    if (!first || !stanza.id) throw new StanzaError('bad-request', 'a request has an id and one child element');
    const query = stanza.child(first.name, first.ns)!;
    switch (`${first.name} ${first.ns}`) {
      case `pubsub ${ns.pubsub}`:
      case `pubsub ${ns.pubsubOwner}`: {
        offlineNode(this.host);
        return answerRequest(this.host, { stanza, query, from: stanza.from! });
      }
      case `query ${ns.discoInfo}`:
        return this.#info(stanza, query);
      case `query ${ns.discoItems}`:
        return this.#items(stanza, query);
      case `command ${ns.commands}`:
        return this.#commands.execute(stanza);
      case `ping ${ns.ping}`:
        return null;
      default:
        throw new StanzaError('service-unavailable');
    }
  }

  async #info({ type, from, to }: Stanza, query: Element): Promise<Element> {
    if (type !== 'get') throw new StanzaError('not-allowed', 'discovery only asks');
    const { node = '' } = query.attrs;
    offlineNode(this.host);
    if (node === '') {
      const features = [ns.discoInfo, ns.discoItems, ns.ping, ns.commands, ns.pubsub, ...serviceFeatures];
      return infoElement('', [{ category: 'pubsub', type: 'service', name: this.item.name }], features);
    }
    const command = await this.#commands.nameOf(node, from!, to!);
    if (command) {
      const identity = { category: 'automation', type: 'command-node', name: command };
      return infoElement(node, [identity], [ns.commands, ns.data]);
    }
    if (node === ns.commands)
      return infoElement(node, [{ category: 'automation', type: 'command-list' }], [ns.commands]);
    return nodeInfo(this.host, from!, node) ?? missing();
  }

  async #items({ type, from, to }: Stanza, query: Element): Promise<Element> {
    if (type !== 'get') throw new StanzaError('not-allowed', 'discovery only asks');
    const { node = '' } = query.attrs;
    offlineNode(this.host);
    if (node === ns.commands) {
      const listed = await this.#commands.list(from!, to!);
      return itemsElement(
        node,
        listed.map(command => ({ jid: this.host.address, ...command })),
      );
    }
    return itemsOf(this.host, from!, query) ?? missing();
  }

  async #message(message: Stanza): Promise<void> {
    if (message.isError) return dropGone(this.host, message);
    if (await takeAnswer(this.host, message)) return;
    if (message.type !== 'headline') throw new StanzaError('service-unavailable', 'nobody reads messages here');
  }

  /** Sends a user who has come the last items of nodes that are to be sent then (`on_sub_and_presence`). */
  userCame(session: Session): void {
    const { nodes, address } = this.host;
    for (const { node: name, subscription } of nodes.subscriptionsOf(address, session.jid.bare.toString())) {
      const node = nodes.get(address, name);
      const { jid, state, deliver } = subscription;
      if (node?.config.sendLast !== 'on_sub_and_presence' || state !== 'subscribed' || !deliver) continue;
      const concerned = jid === session.jid.toString() || jid === session.jid.bare.toString();
      if (concerned && !refuseReader(factsOf(this.host, node, session.jid))) sendLast(this.host, node, session.jid);
    }
  }
}

function missing(): never {
  throw new StanzaError('item-not-found', 'there is no such node');
}

function isElement(answer: Element | Stanza | null): answer is Element | null {
  return answer === null || !('payload' in answer);
}

/** What the service of a domain can do: as an account's, but for what presence does there. */
const serviceFeatures = [
  ...personalFeatures.filter(
    feature => !/#(auto-create|auto-subscribe|filtered-notifications|last-published|presence-subscribe)$/.test(feature),
  ),
  `${ns.pubsub}#get-pending`,
];

function hostOf(hub: Hub, domain: string): Host {
  const nodes = nodesOf(hub);
  const jid = Jid.of('', prefix + domain, '');
  const host: Host = {
    hub,
    nodes,
    jid,
    address: jid.toString(),
    personal: false,
    defaults: serviceDefaults,
    // Components are let in to the notices of offline messages, and nobody else is.
    implied: (node, who) =>
      node.creator === host.address ? (hub.config.components.has(who.domain) ? 'member' : 'none') : null,
    owners: node =>
      [...nodes.affiliations(node)].filter(([, what]) => what === 'owner').map(([owner]) => Jid.parse(owner)),
    refuseCreator: who =>
      who.local !== '' && who.domain === domain
        ? null
        : new StanzaError('forbidden', `nodes are made by the users of ${domain}`),
    recipients: node => recipients(host, node),
  };
  return host;
}

function* recipients(host: Host, node: Node): Iterable<Jid> {
  const closed = node.config.accessModel !== 'open' && node.config.accessModel !== 'authorize';
  for (const { jid, state, deliver } of host.nodes.subscriptions(node).values()) {
    if (state !== 'subscribed' || !deliver) continue;
    const subscriber = Jid.parse(jid);
    if (closed && refuseSubscriber(factsOf(host, node, subscriber))) continue;
    yield subscriber;
  }
}
