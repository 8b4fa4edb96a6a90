// Chat states: what somebody is doing just now, which is of no worth later (XEP-0085).
import type { Element } from './element.ts';
import { ns } from './namespaces.ts';

/** What says how a message is to be handled, or was, and not what it says. */
const aside: ReadonlySet<string> = new Set([ns.hints, ns.stableIds, ns.delay]);

/** Whether a message with these children says anything but what its sender is doing. */
export function saysMoreThanState(children: readonly Element[]): boolean {
  return children.some(({ name, ns: space }) => name !== 'thread' && space !== ns.chatStates && !aside.has(space));
}
