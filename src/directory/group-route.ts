// The addresses of groups: a message to `group@groups.DOMAIN` goes to every member.
import type { Directory, Group, Groups } from '../hub/directory.ts';
import type { Hub } from '../hub/module.ts';
import type { Origin, Route } from '../hub/router.ts';
import { softwareVersion } from '../hub/version.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';

const groupsOrigin: Origin = { kind: 'hub', name: 'groups' };

interface Served {
  /** The hosted domain whose groups they are. */
  domain: string;
  groups: Groups;
}

export class GroupRoute implements Route {
  readonly name = 'groups';
  readonly #directories: ReadonlyMap<string, Directory>;
  #hub!: Hub;

  constructor(directories: ReadonlyMap<string, Directory>) {
    this.#directories = directories;
  }

  /** The kernel holds the router that holds this route, so it comes second. */
  attach(hub: Hub): void {
    this.#hub = hub;
    hub.itemsFrom(() => [...this.#all()].map(({ groups }) => ({ jid: groups.domain, name: 'Groups' })));
  }

  describe(): string[] {
    return [...this.#all()].map(({ domain, groups }) => `${groups.domain} (groups of ${domain})`);
  }

  owns(to: Jid): boolean {
    return this.#served(to.domain) !== null;
  }

  deliver(stanza: Stanza): void | Promise<void> {
    const served = this.#served(stanza.to!.domain)!;
    switch (stanza.name) {
      case 'message':
        return this.#message(stanza, served);
      case 'presence':
        return this.#presence(stanza);
      default:
        return this.#iq(stanza, served);
    }
  }

  *#all(): Iterable<Served> {
    for (const [domain, { groups }] of this.#directories) if (groups) yield { domain, groups };
  }

  #served(address: string): Served | null {
    const groups = this.#directories.get(address.slice(address.indexOf('.') + 1))?.groups;
    return groups?.domain === address ? { domain: address.slice(address.indexOf('.') + 1), groups } : null;
  }

  /** Every member but the sender gets a copy that says which way it came (XEP-0033 §4). */
  async #message(stanza: Stanza, served: Served): Promise<void> {
    const { from, to } = stanza;
    if (stanza.isError) return;
    if (!to?.local || !from || stanza.type === 'groupchat') throw new StanzaError('service-unavailable');
    const group = await this.#groupFor(from, to.local, served);
    const address = el('address', ns.addresses, {
      type: 'to',
      jid: to.bare.toString(),
      desc: group.title,
      delivered: 'true',
    });
    const copy = stanza
      .without((name, childNs) => name === 'addresses' && childNs === ns.addresses)
      .with(el('addresses', ns.addresses, {}, address));
    const others = group.members.filter(({ jid }) => !jid.equals(from.bare));
    await Promise.all(others.map(({ jid }) => this.#hub.router.route(copy.withTo(jid), groupsOrigin)));
  }

  /** The group, where the sender may write to it. Who may not learns nothing of which groups there are. */
  async #groupFor(from: Jid, name: string, { domain, groups }: Served): Promise<Group> {
    const forbidden = new StanzaError('forbidden', 'you may not write to this group');
    if (groups.senders === 'domain' && from.domain !== domain) throw forbidden;
    if (groups.senders === 'anyone') this.#checkCrossing(from.domain, domain);
    const group = await groups.find(name);
    const isMember = group?.members.some(({ jid }) => jid.equals(from.bare)) === true;
    if (groups.senders === 'members' && !isMember) throw forbidden;
    if (!group) throw new StanzaError('item-not-found', 'there is no such group');
    return group;
  }

  /** `cross-domain`, as for messages to a person. */
  #checkCrossing(from: string, to: string): void {
    if (from === to || !this.#hub.hosts(from)) return;
    const { policy, exceptions } = this.#hub.config.crossDomain;
    if ((policy === 'open') === (exceptions.includes(from) || exceptions.includes(to))) {
      throw new StanzaError('not-allowed', `${from} and ${to} do not exchange stanzas here (cross-domain)`);
    }
  }

  /** Groups have no presence; who asks for it is told so (RFC 6121 §3.1.3). */
  #presence(stanza: Stanza): void | Promise<void> {
    if (stanza.type !== 'subscribe' && stanza.type !== 'probe') return;
    const answer = Stanza.of('presence', { from: stanza.to!.bare, to: stanza.from!.bare, type: 'unsubscribed' });
    return this.#hub.router.route(answer, groupsOrigin);
  }

  async #iq(stanza: Stanza, served: Served): Promise<void> {
    if (!stanza.isRequest) return;
    const answer = await this.#answer(stanza, served);
    await this.#hub.router.route(stanza.result(answer), groupsOrigin);
  }

  async #answer(stanza: Stanza, served: Served): Promise<Element | null> {
    const first = stanza.firstChild;
    const request = `${first?.name} ${first?.ns}`;
    if (request === `ping ${ns.ping}`) return null;
    if (request === `query ${ns.version}`) return softwareVersion();
    if (stanza.type !== 'get') throw new StanzaError('service-unavailable');
    if (stanza.child('query', first?.ns ?? '')?.attrs.node) throw new StanzaError('item-not-found');
    if (request === `query ${ns.discoInfo}`) return this.#info(stanza, served);
    if (request === `query ${ns.discoItems}`) return this.#items(stanza, served);
    throw new StanzaError('service-unavailable');
  }

  async #info(stanza: Stanza, served: Served): Promise<Element> {
    const { from, to } = stanza;
    const name = to!.local === '' ? 'Groups' : (await this.#groupFor(from!, to!.local, served)).title;
    const features = [ns.addresses, ns.discoInfo, ns.discoItems, ns.ping, ns.version];
    return el(
      'query',
      ns.discoInfo,
      {},
      el('identity', ns.discoInfo, { category: 'collaboration', type: 'group', name }),
      ...features.sort().map(feature => el('feature', ns.discoInfo, { var: feature })),
    );
  }

  /** The groups, for those who belong here; who is in a group is not told. */
  async #items({ from, to }: Stanza, { domain, groups }: Served): Promise<Element> {
    const listed = to!.local === '' && from!.domain === domain ? await groups.list() : [];
    const items = listed.map(({ name, title }) =>
      el('item', ns.discoItems, { jid: `${name}@${groups.domain}`, name: title }),
    );
    return el('query', ns.discoItems, {}, ...items);
  }
}
