// Chat states: what somebody is doing just now, which is of no worth later (XEP-0085).
import type { Element } from './element.ts';
import { ns } from './namespaces.ts';

const aside: ReadonlySet<string> = new Set([ns.hints, ns.stableIds, ns.delay]);

/** Whether a child of a message says how it is to be handled, or when it came, and not what it says. */
export function isAside({ ns: space }: Element): boolean {
  return aside.has(space);
}

/** Whether a message with these children says anything but what its sender is doing. */
export function saysMoreThanState(children: readonly Element[]): boolean {
  return children.some(child => child.name !== 'thread' && child.ns !== ns.chatStates && !isAside(child));
}
