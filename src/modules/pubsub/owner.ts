// What owners do with nodes: make, configure, purge and delete them (XEP-0060 §8.1–§8.5).
import { randomBytes } from 'node:crypto';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { rostersOf } from '../rosters.ts';
import { pendingAt } from './approval.ts';
import { configFormElement, configured } from './config.ts';
import { refusal, unsupported } from './errors.ts';
import { forgetLast, sendLast, tellConfigured, tellDeleted, tellPurged } from './events.ts';
import type { Host } from './host.ts';
import { limits, mostItems, type Node, type NodeConfig } from './node.ts';
import { type Call, nameOf, ownedNode, submitted, type UseCases } from './requests.ts';

/** Groups that a form offers. */
const mostGroups = 100;

export const creatorCases: UseCases = { 'set create': create };

export const ownerCases: UseCases = {
  'get default': ({ host, from, action }) => {
    const { type = 'leaf' } = action.attrs;
    if (type !== 'leaf') throw unsupported('collections');
    return owner(el('default', ns.pubsubOwner, {}, configFormElement(host.defaults, groupsOf(host, from))));
  },
  'get configure': call => {
    const node = ownedNode(call);
    const form = configFormElement(node.config, groupsOf(call.host, call.from));
    return owner(el('configure', ns.pubsubOwner, { node: node.name }, form));
  },
  'set configure': configure,
  'set delete': remove,
  'set purge': purge,
};

/** The answer to an owner. */
export function owner(...children: Element[]): Element {
  return el('pubsub', ns.pubsubOwner, {}, ...children);
}

/** The groups of an owner's roster, as far as it is kept here. */
function groupsOf({ hub }: Host, owner: Jid): string[] {
  if (!hub.hosts(owner.domain)) return [];
  const groups = new Set([...rostersOf(hub).of(owner).items.values()].flatMap(item => item.groups));
  return [...groups].slice(0, mostGroups).sort();
}

/** Throws the StanzaError that forbids somebody to make another node there. */
export function checkNewNode(host: Host, who: Jid, name: string): void {
  checkCreator(host, who, name);
  checkNodeCount(host, who);
}

function checkCreator(host: Host, who: Jid, name: string): void {
  const refused = host.refuseCreator(who, name);
  if (refused) throw refused;
}

function checkNodeCount(host: Host, who: Jid): void {
  const creator = who.bare.toString();
  if (
    host.nodes.of(host.address).size >= limits.serviceNodes ||
    host.nodes.countOf(host.address, creator) >= limits.nodes
  ) {
    throw refusal('policy-violation', 'max-nodes-exceeded', `you have ${limits.nodes} nodes`, 'wait');
  }
}

async function create({ host, from, pubsub, action }: Call): Promise<Element | null> {
  const wanted = nameOf(action);
  const name = wanted || randomBytes(12).toString('base64url');
  checkCreator(host, from, name);
  if (host.nodes.get(host.address, name)) throw new StanzaError('conflict', 'there is such a node already');
  const { type = 'leaf' } = action.attrs;
  if (type !== 'leaf') throw unsupported('collections');
  checkNodeCount(host, from);
  const node = host.nodes.create(host.address, name, from.bare.toString(), newConfig(host.defaults, pubsub, action));
  if (!host.implied(node, from)) host.nodes.affiliate(node, from.bare.toString(), 'owner');
  await host.hub.store.durable();
  return wanted ? null : el('pubsub', ns.pubsub, {}, el('create', ns.pubsub, { node: name }));
}

/** What `<configure/>` says of a node that is being made (XEP-0060 §8.1.3). */
function newConfig(defaults: NodeConfig, pubsub: Element, action: Element): NodeConfig {
  const configure = pubsub.child('configure');
  if (!configure) return defaults;
  const all = pubsub.all();
  if (configure.attrs.node !== undefined || all.indexOf(configure) < all.indexOf(action)) {
    throw new StanzaError('bad-request', '<configure/> follows <create/> and names no node');
  }
  const values = submitted(configure);
  return values ? configured(defaults, values) : defaults;
}

async function configure(call: Call): Promise<null> {
  const { host, action } = call;
  const node = ownedNode(call);
  const x = action.child('x', ns.data);
  if (!x) throw new StanzaError('bad-request', 'a form is expected');
  const values = submitted(action);
  if (!values) return null;
  const before = node.config;
  const next = configured(before, values);
  const opens = before.accessModel !== next.accessModel || String(before.rosterGroups) !== String(next.rosterGroups);
  const reached = opens ? addresses(host.recipients(node)) : null;
  host.nodes.configure(node, next);
  forgetLast(node);
  // What was kept is not what is remembered.
  const gone = host.nodes.items.trim(node, before.persistItems && !next.persistItems ? 0 : mostItems(next));
  if (opens || gone.length > 0) host.changed?.(node, gone, null);
  await host.hub.store.durable();
  if (node.config.notifyConfig) tellConfigured(host, node);
  // Those who gain access get what they missed (XEP-0060 §12.2).
  if (reached && next.sendLast !== 'never') {
    for (const to of host.recipients(node)) if (!reached.has(to.toString())) sendLast(host, node, to);
  }
  return null;
}

function addresses(jids: Iterable<Jid>): Set<string> {
  return new Set(Array.from(jids, String));
}

async function purge(call: Call): Promise<null> {
  const { host } = call;
  const node = ownedNode(call);
  if (!node.config.persistItems) throw unsupported('persistent-items');
  const ids = host.nodes.items.ids(node, limits.items);
  host.nodes.items.purge(node);
  host.changed?.(node, ids, null);
  await host.hub.store.durable();
  if (node.config.notifyRetract) tellPurged(host, node);
  return null;
}

async function remove(call: Call): Promise<null> {
  const node = ownedNode(call);
  await removeNode(call.host, node, call.action.child('redirect')?.attrs.uri ?? '');
  return null;
}

/** Deletes a node; its subscribers learn of it, and of the node that takes its place where a URI is given. */
export async function removeNode(host: Host, node: Node, redirect = ''): Promise<void> {
  if (redirect.length > 1_024) throw new StanzaError('not-acceptable', 'the URI is too long');
  // Those who wait for approval learn of it as well (XEP-0060 §8.4.2).
  const told = node.config.notifyDelete ? [...host.recipients(node), ...pendingAt(host, node)] : [];
  const ids = host.nodes.items.ids(node, limits.items);
  host.nodes.remove(node);
  host.changed?.(node, ids, null);
  await host.hub.store.durable();
  tellDeleted(host, node, redirect, told);
}
