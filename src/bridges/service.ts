// What every bridge answers at its own domain: discovery, version, ping and ad-hoc commands.
import type { AdHocCommands } from '../hub/ad-hoc.ts';
import type { DiscoIdentity } from '../hub/module.ts';
import { softwareVersion } from '../hub/version.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { BridgePort } from './bridge.ts';

export interface ServiceParts {
  /** What the domain is: for instance `{ category: 'gateway', type: 'sms', name: 'SMS' }` (XEP-0030 §3.1). */
  identity: DiscoIdentity;
  /** What the domain can do besides the below. */
  features?: readonly string[];
  /** What an address `user@domain` can do; its identity is a registered account. */
  userFeatures?: readonly string[];
  commands?: AdHocCommands;
}

export class Service {
  readonly #port: BridgePort;
  readonly #parts: ServiceParts;

  constructor(port: BridgePort, parts: ServiceParts) {
    this.#port = port;
    this.#parts = parts;
  }

  /**
   * Answers an IQ request to one of the bridge's addresses and resolves when the answer is routed. False: it is none
   * of the service's, and the bridge has to answer it or refuse it.
   */
  async handle(stanza: Stanza): Promise<boolean> {
    if (!stanza.isRequest) return false;
    const first = stanza.firstChild;
    if (!first) throw new StanzaError('bad-request');
    let answer: Element | null;
    switch (`${first.name} ${first.ns}`) {
      case `query ${ns.discoInfo}`:
        answer = await this.#info(stanza);
        break;
      case `query ${ns.discoItems}`:
        answer = await this.#items(stanza);
        break;
      case `query ${ns.version}`:
        answer = softwareVersion();
        break;
      case `ping ${ns.ping}`:
        answer = null;
        break;
      case `command ${ns.commands}`:
        if (!this.#parts.commands || !stanza.to!.isDomain) return false;
        answer = await this.#parts.commands.execute(stanza);
        break;
      default:
        return false;
    }
    await this.#port.receive(stanza.result(answer));
    return true;
  }

  async #info(stanza: Stanza): Promise<Element> {
    const node = stanza.child('query', ns.discoInfo)!.attrs.node;
    const to = stanza.to!;
    const { identity, features = [], userFeatures = [], commands } = this.#parts;
    if (node && node !== ns.commands) {
      const name = to.isDomain ? await commands?.nameOf(node, stanza.from!, to) : null;
      if (!name) throw new StanzaError('item-not-found');
      return info({ category: 'automation', type: 'command-node', name }, [ns.commands, ns.data], node);
    }
    if (node) return info({ category: 'automation', type: 'command-list', name: 'Commands' }, [ns.commands], node);
    if (!to.isDomain) {
      return info({ category: 'account', type: 'registered' }, [ns.discoInfo, ns.ping, ns.version, ...userFeatures]);
    }
    const own = [ns.discoInfo, ns.discoItems, ns.ping, ns.version, ...(commands ? [ns.commands] : [])];
    return info(identity, [...own, ...features]);
  }

  async #items(stanza: Stanza): Promise<Element> {
    const { from, to } = stanza;
    const node = stanza.child('query', ns.discoItems)!.attrs.node;
    if (!node) return el('query', ns.discoItems);
    if (node !== ns.commands || !to!.isDomain || !this.#parts.commands) throw new StanzaError('item-not-found');
    const listed = await this.#parts.commands.list(from!, to!);
    return el(
      'query',
      ns.discoItems,
      { node },
      ...listed.map(command => el('item', ns.discoItems, { jid: to!.domain, node: command.node, name: command.name })),
    );
  }
}

function info({ category, type, name }: DiscoIdentity, features: readonly string[], node?: string): Element {
  return el(
    'query',
    ns.discoInfo,
    { node },
    el('identity', ns.discoInfo, { category, type, name }),
    ...[...new Set(features)].sort().map(feature => el('feature', ns.discoInfo, { var: feature })),
  );
}
