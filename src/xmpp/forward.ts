// Stanzas inside stanzas: a message that carries another one, whose bytes it takes over unread (XEP-0297).
import { Buffer } from 'node:buffer';
import { type Element, escapeAttribute } from './element.ts';
import { ns } from './namespaces.ts';
import { Stanza, type StanzaFields } from './stanza.ts';

/**
 * A message whose one child is `wrapper` (name, namespace and attributes of it count) around `<forwarded/>` around
 * the given message, with a `<delay/>` in front of that where one is given.
 */
export function forward(
  envelope: Pick<StanzaFields, 'from' | 'to' | 'type' | 'id'>,
  wrapper: Element,
  message: Stanza,
  delay: Element | null = null,
): Stanza {
  const { name } = wrapper;
  const space = escapeAttribute(wrapper.ns);
  let open = `<${name} xmlns='${space}'`;
  for (const key in wrapper.attrs) open += ` ${key}='${escapeAttribute(wrapper.attrs[key])}'`;
  open += `><forwarded xmlns='${ns.forward}'>${delay?.toString(ns.forward) ?? ''}`;
  open += `<${message.name} xmlns='${ns.client}'${message.head.slice(message.name.length + 1)}`;
  const payload = Buffer.concat([
    Buffer.from(open),
    message.payload,
    Buffer.from(`${message.tail}</forwarded></${name}>`),
  ]);
  const spaceFrom = name.length + " xmlns='".length + 1;
  return new Stanza({
    name: 'message',
    ...envelope,
    payload,
    index: [1, 1 + name.length, spaceFrom, spaceFrom + Buffer.byteLength(space), 0, payload.length],
  });
}
