// The nodes of an account as they move from server to server: configurations, members and items (XEP-0227 §4.10).
import type { Portable } from '../../hub/module.ts';
import type { Store } from '../../hub/store.ts';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { type FormValues, formValues } from '../../xmpp/form.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { parseElement } from '../../xmpp/payload.ts';
import { configForm, configured } from './config.ts';
import { type Affiliation, affiliations, limits, type Node, type NodeConfig, personalDefaults } from './node.ts';
import { type Nodes, nodesOf } from './nodes.ts';
import { defaultsFor } from './publisher.ts';

type Note = (text: string) => void;

export const portablePersonal: Portable = {
  export(store, user) {
    const nodes = nodesOf({ store });
    const all = [...nodes.of(user.toString()).values()];
    if (all.length === 0) return [];
    const described = all.flatMap(node => [configuration(node), ...members(nodes, node)]);
    const filled = all.map(node => el('items', ns.pubsub, { node: node.name }, ...items(nodes, node, user)));
    return [el('pubsub', ns.pubsubOwner, {}, ...described), el('pubsub', ns.pubsub, {}, ...filled)];
  },
  import(store, user, element, note) {
    if (element.is('pubsub', ns.pubsubOwner)) describe(store, user, element, note);
    else if (element.is('pubsub', ns.pubsub)) fill(store, user, element, note);
    else return false;
    return true;
  },
  reread: (store, user) => nodesOf({ store }).reread(user.toString()),
};

/** The form without the words for people, and without fields that have no value (XEP-0060 §8.2). */
function configuration(node: Node): Element {
  const fields = configForm(node.config).fields.flatMap(({ var: name, type, value }) => {
    const values = (typeof value === 'string' ? [value] : (value ?? [])).filter(text => text !== '');
    if (values.length === 0) return [];
    return el('field', ns.data, { var: name, type }, ...values.map(text => el('value', ns.data, {}, text)));
  });
  const form = el('x', ns.data, { type: 'form' }, ...fields);
  return el('configure', ns.pubsubOwner, { node: node.name }, form);
}

/** Affiliations and subscriptions, where there are any. */
function members(nodes: Nodes, node: Node): Element[] {
  const affiliated = [...nodes.affiliations(node)].map(([jid, affiliation]) =>
    el('affiliation', ns.pubsubOwner, { jid, affiliation }),
  );
  const subscribed = [...nodes.subscriptions(node).values()].map(({ jid, state, deliver }) =>
    el('subscription', ns.pubsubOwner, { jid, subscription: state }, deliver ? null : undelivered()),
  );
  return [
    affiliated.length > 0 ? el('affiliations', ns.pubsubOwner, { node: node.name }, ...affiliated) : null,
    subscribed.length > 0 ? el('subscriptions', ns.pubsubOwner, { node: node.name }, ...subscribed) : null,
  ].filter(list => list !== null);
}

function undelivered(): Element {
  const field = (name: string, value: string) => el('field', ns.data, { var: name }, el('value', ns.data, {}, value));
  const fields = [field('FORM_TYPE', `${ns.pubsub}#subscribe_options`), field('pubsub#deliver', '0')];
  return el('options', ns.pubsubOwner, {}, el('x', ns.data, { type: 'submit' }, ...fields));
}

/** The oldest first; who published one is told where it was not the user. */
function* items(nodes: Nodes, node: Node, user: Jid): Generator<Element> {
  for (const { id, publisher, payload } of nodes.items.all(node)) {
    const by = publisher === user.toString() ? undefined : publisher;
    yield el('item', ns.pubsub, { id, publisher: by }, payload === '' ? null : parseElement(payload));
  }
}

function describe(store: Store, user: Jid, element: Element, note: Note): void {
  const nodes = nodesOf({ store });
  for (const part of element.all()) {
    const name = part.attrs.node ?? '';
    if (part.name === 'configure') {
      const config = readConfig(name, part.child('x', ns.data), note);
      const node = nodeNamed(nodes, user, name, config, note);
      if (!node) continue;
      nodes.configure(node, config);
      nodes.items.trim(node, config.persistItems ? config.maxItems : 1);
      continue;
    }
    const node = nodeNamed(nodes, user, name, defaultsFor(account, name), note);
    if (!node) continue;
    if (part.name === 'affiliations') affiliate(nodes, node, user, part.all('affiliation'), note);
    else if (part.name === 'subscriptions') subscribe(nodes, node, part.all('subscription'), note);
    else note(`${part.name.slice(0, 80)} of personal nodes is not kept here`);
  }
}

const account = { personal: true, defaults: personalDefaults };

/** Field by field: what is not known here is passed over, but nothing becomes more open by that (XEP-0227 §4.10.1). */
function readConfig(name: string, form: Element | null, note: Note): NodeConfig {
  let config = defaultsFor(account, name);
  const values: FormValues = form ? formValues(form) : new Map();
  const read = (field: string, texts: readonly string[]) => {
    try {
      config = configured(config, new Map([[field, texts]]));
    } catch (error) {
      if (!(error instanceof StanzaError)) throw error;
      note(`${field} of ${name} is not taken over`);
      if (field === 'pubsub#access_model') config = { ...config, accessModel: 'whitelist' };
      if (field === 'pubsub#publish_model') config = { ...config, publishModel: 'publishers' };
    }
  };
  for (const [field, texts] of values) if (field !== 'FORM_TYPE' && texts.length > 0) read(field, texts);
  return config;
}

/** The node of that name, made where it is new; null where it cannot be. */
function nodeNamed(nodes: Nodes, user: Jid, name: string, config: NodeConfig, note: Note): Node | null {
  const service = user.toString();
  const known = nodes.get(service, name);
  if (known) return known;
  if (name === '' || Buffer.byteLength(name) > limits.idLength) {
    note('a node without a name, or with one that is too long, was left out');
    return null;
  }
  if (nodes.of(service).size >= limits.nodes) {
    note(`more than ${limits.nodes} nodes are not kept`);
    return null;
  }
  return nodes.create(service, name, service, config);
}

function affiliate(nodes: Nodes, node: Node, user: Jid, entries: readonly Element[], note: Note): void {
  for (const { attrs } of entries) {
    const jid = Jid.tryParse(attrs.jid ?? '')?.bare;
    const affiliation = affiliations.find(one => one === attrs.affiliation) as Affiliation | undefined;
    if (jid?.equals(user)) continue;
    const full = nodes.affiliations(node).size >= limits.affiliations;
    if (!jid || !affiliation || full) note(`an affiliation with ${node.name} was left out`);
    else nodes.affiliate(node, jid.toString(), affiliation);
  }
}

function subscribe(nodes: Nodes, node: Node, entries: readonly Element[], note: Note): void {
  for (const entry of entries) {
    const jid = Jid.tryParse(entry.attrs.jid ?? '')?.toString();
    // COMPAT(prosody): 0.12 writes the state as the attribute `subscribed`.
    const state = entry.attrs.subscription ?? entry.attrs.subscribed;
    const full = nodes.subscriptions(node).size >= limits.subscriptions;
    if (!jid || (state !== 'subscribed' && state !== 'pending') || full) {
      note(`a subscription to ${node.name} was left out`);
      continue;
    }
    const options = entry.all().find(child => child.name === 'options');
    const form = options?.child('x', ns.data);
    const deliver = form ? formValues(form).get('pubsub#deliver')?.[0] : undefined;
    nodes.subscribe(node, { jid, state, deliver: deliver !== '0' && deliver !== 'false' });
  }
}

function fill(store: Store, user: Jid, element: Element, note: Note): void {
  const nodes = nodesOf({ store });
  for (const list of element.all('items')) {
    const name = list.attrs.node ?? '';
    // Its configuration should stand in front of it; should it come later, nothing is lost or shown until then.
    const cautious = { ...defaultsFor(account, name), accessModel: 'whitelist' as const, maxItems: limits.items };
    const node = nodeNamed(nodes, user, name, cautious, note);
    if (!node) continue;
    for (const item of list.all('item')) put(nodes, node, user, item, note);
    nodes.items.trim(node, node.config.persistItems ? node.config.maxItems : 1);
  }
}

function put(nodes: Nodes, node: Node, user: Jid, item: Element, note: Note): void {
  const { id = '' } = item.attrs;
  const [payload] = item.all();
  const publisher = Jid.tryParse(item.attrs.publisher ?? '')?.bare ?? user;
  const text = payload?.toString() ?? '';
  let size = text.length;
  for (const one of nodes.of(user.toString()).values()) size += nodes.items.sizeOf(one);
  const fits = text.length <= limits.payload && size <= limits.accountSize;
  if (id === '' || Buffer.byteLength(id) > limits.idLength || !fits || item.all().length > 1) {
    note(`an item of ${node.name} was left out`);
    return;
  }
  nodes.items.put(node, { id, publisher: publisher.toString(), at: Date.now(), payload: text });
}
