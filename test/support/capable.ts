// Clients that say what they can do, and answer when they are asked for it (XEP-0115).
import { verification } from '../../src/modules/caps.ts';
import { type Element, el } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from './client.ts';

/** What a client that wants to hear of these nodes answers to disco#info. */
export function infoOf(nodes: readonly string[], name = 'Tester'): Element {
  return el(
    'query',
    ns.discoInfo,
    {},
    el('identity', ns.discoInfo, { category: 'client', type: 'pc', name }),
    ...[ns.discoInfo, ns.caps, ...nodes.map(node => `${node}+notify`)].map(feature =>
      el('feature', ns.discoInfo, { var: feature }),
    ),
  );
}

export function tagFor(info: Element): Element {
  return el('c', ns.caps, { hash: 'sha-1', node: 'https://tester.test', ver: verification(info, 'sha-1')! });
}

/** Sends a presence with capabilities, and answers the hub's question once where it has one. */
export async function wants(client: Client, nodes: readonly string[], asked = true, to?: string): Promise<void> {
  const info = infoOf(nodes);
  await client.sends(`<presence${to ? ` to='${to}'` : ''}>${tagFor(info)}</presence>`);
  if (asked) await answersInfo(client, info);
  // What was sent has been dealt with.
  await client.hasNot(() => false);
}

export async function answersInfo(client: Client, info: Element): Promise<Element> {
  const request = await client.receives(
    e => e.name === 'iq' && e.attrs.type === 'get' && e.child('query', ns.discoInfo) !== null,
  );
  const { id, from } = request.attrs;
  await client.sends(`<iq type='result' id='${id}' to='${from}'>${info}</iq>`);
  return request;
}

/** The next event of a node. */
export function hearsOf(client: Client, node: string): Promise<Element> {
  return client.receives(e => eventOf(e)?.attrs.node === node);
}

/** What an event message says of its node: `<items/>`, `<delete/>` and so on. */
export function eventOf(message: Element): Element | undefined {
  return message.name === 'message' ? message.child('event', ns.pubsubEvent)?.all()[0] : undefined;
}

/** The condition of an error answer, with pubsub's own behind it: `bad-request/jid-required`. */
export function conditionOf(answer: Element): string {
  if (answer.attrs.type !== 'error') return answer.attrs.type;
  const children = answer.child('error')?.all() ?? [];
  const known = [ns.stanzaErrors, ns.pubsubErrors] as string[];
  return children
    .filter(one => known.includes(one.ns) && one.name !== 'text')
    .map(one => (one.attrs.feature ? `${one.name}:${one.attrs.feature}` : one.name))
    .join('/');
}

/** A submitted form. */
export function form(formType: string, fields: Record<string, string | readonly string[]>): string {
  const field = (name: string, values: readonly string[]) =>
    el('field', ns.data, { var: name }, ...values.map(value => el('value', ns.data, {}, value)));
  return el(
    'x',
    ns.data,
    { type: 'submit' },
    field('FORM_TYPE', [formType]),
    ...Object.entries(fields).map(([name, value]) =>
      field(name.startsWith('pubsub#') ? name : `pubsub#${name}`, typeof value === 'string' ? [value] : value),
    ),
  ).toString();
}
