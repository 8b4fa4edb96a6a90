// Events that come back as errors: whose node they were of, and who hears of it no more (XEP-0060 §12.4).
import type { Element } from '../../xmpp/element.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import type { Host } from './host.ts';
import type { Node } from './node.ts';

/** The node whose event an error answers: what came back of the event tells it, or its id. */
export function bouncedNode(host: Host, error: Stanza): Node | undefined {
  const name = error.child('event', ns.pubsubEvent)?.all()[0]?.attrs.node;
  if (name !== undefined) return host.nodes.get(host.address, name);
  const [, number] = /^(\d{1,15})\.[\w-]{12}$/.exec(error.id) ?? [];
  if (!number) return undefined;
  for (const node of host.nodes.of(host.address).values()) if (node.id === Number(number)) return node;
  return undefined;
}

/** Ends the subscription of an address that is gone for good; what may come back stays subscribed. */
export function dropGone(host: Host, error: Stanza): void {
  const node = bouncedNode(host, error);
  const condition = error.child('error', ns.client);
  if (!node || !error.from || !condition) return;
  const says = (name: string) => condition.child(name, ns.stanzaErrors) !== null;
  if (says('gone') || says('item-not-found') || noSuchUser(node, error, condition)) {
    host.nodes.unsubscribe(node, error.from.toString());
  }
}

/** Headlines to users who are away are dropped in silence: only those come back that nobody can take (RFC 6121 §8.5). */
function noSuchUser({ config }: Node, { from }: Stanza, condition: Element): boolean {
  return (
    config.notificationType === 'headline' &&
    from!.isBare &&
    condition.attrs.type === 'cancel' &&
    condition.child('service-unavailable', ns.stanzaErrors) !== null
  );
}
