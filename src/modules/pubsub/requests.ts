// A request to a pubsub service: which use case it is, and what all of them have in common (XEP-0060 §5–§8).
import type { Element } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { FormValues } from '../../xmpp/form.ts';
import { formValues, readForm } from '../../xmpp/form.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { refusal } from './errors.ts';
import { affiliationOf, type Host } from './host.ts';
import { limits, type Node } from './node.ts';

/** One use case asked for: the element inside `<pubsub/>` that names it, and what stands beside it. */
export interface Call {
  readonly host: Host;
  readonly from: Jid;
  readonly pubsub: Element;
  readonly action: Element;
}

export type UseCase = (call: Call) => Element | null | Promise<Element | null>;

/** Use cases by `type action`, such as `set publish`. */
export type UseCases = Readonly<Record<string, UseCase>>;

/**
 * Answers a request with the use case that its first element names. Throws a StanzaError: `bad-request` where there is
 * none, `feature-not-implemented` for one that is not known.
 */
export function answer(cases: UseCases, host: Host, type: string, from: Jid, pubsub: Element): ReturnType<UseCase> {
  const names = Object.keys(cases);
  const all = pubsub.all().filter(child => child.ns === pubsub.ns);
  const known = all.filter(({ name }) => names.includes(`${type} ${name}`));
  // Options can stand beside a subscription: then that is what is asked for.
  const action = known.find(({ name }) => name !== 'options') ?? known[0] ?? all[0];
  if (!action) throw new StanzaError('bad-request', 'a request says what is wanted');
  const useCase = cases[`${type} ${action.name}`];
  if (!useCase) throw new StanzaError('feature-not-implemented', `${action.name} is not for a request of type ${type}`);
  return useCase({ host, from, pubsub, action });
}

/** The node that a request names. Throws `bad-request`, or `item-not-found` where there is no such node. */
export function nodeOf({ host, action }: Call): Node {
  const name = nameOf(action);
  if (name === '') throw refusal('bad-request', 'nodeid-required');
  const node = host.nodes.get(host.address, name);
  if (!node) throw new StanzaError('item-not-found', 'there is no such node');
  return node;
}

/** The node of a request that only its owners may make. */
export function ownedNode(call: Call): Node {
  const node = nodeOf(call);
  if (affiliationOf(call.host, node, call.from) !== 'owner')
    throw new StanzaError('forbidden', 'you do not own the node');
  return node;
}

export function nameOf(action: Element): string {
  const name = action.attrs.node ?? '';
  if (Buffer.byteLength(name) > limits.idLength)
    throw new StanzaError('not-acceptable', 'the name of the node is too long');
  return name;
}

/** A submitted form; null where there is none or it was cancelled. Throws `bad-request` for a form of another type. */
export function submitted(element: Element | null): FormValues | null {
  const x = element?.child('x', ns.data);
  if (!x || x.attrs.type === 'cancel') return null;
  const values = readForm(x);
  if (values) return values;
  // COMPAT(clients): some leave the type out.
  if (x.attrs.type === undefined) return formValues(x);
  throw new StanzaError('bad-request', 'a form of type submit is expected');
}

export function jidIn(element: Element): Jid | null {
  const { jid } = element.attrs;
  return jid === undefined ? null : Jid.tryParse(jid);
}
