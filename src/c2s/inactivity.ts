// What can wait while a user does not look at a client: presence, chat states, news of contacts (XEP-0352).
import { saysMoreThanState } from '../xmpp/chat-states.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';

/** So many stanzas wait at most; the next one takes all of them along. */
const mostWaiting = 500;

/** The stanzas that wait for a client to become active, in order; a newer presence of somebody replaces the older. */
export class Deferred {
  readonly #waiting = new Map<string, Stanza>();
  #events = 0;

  /** Whether the stanza waits, or is not worth sending at all. False: it is to be sent, behind what waits. */
  take(stanza: Stanza): boolean {
    if (this.#waiting.size >= mostWaiting) return false;
    if (stanza.name === 'presence') {
      if (stanza.type !== '' && stanza.type !== 'unavailable') return false;
      const key = `presence ${stanza.from}`;
      this.#waiting.delete(key);
      this.#waiting.set(key, stanza);
      return true;
    }
    if (stanza.name !== 'message' || stanza.isError || stanza.has('body', ns.client)) return false;
    if (isChatState(stanza)) return true;
    if (!stanza.has('event', ns.pubsubEvent)) return false;
    this.#waiting.set(`event ${this.#events++}`, stanza);
    return true;
  }

  /** Takes out all that waits. */
  empty(): Stanza[] {
    const stanzas = [...this.#waiting.values()];
    this.#waiting.clear();
    return stanzas;
  }
}

/** A message, or the carbon of one, that says nothing but what somebody is doing (XEP-0085 §5.1): of no worth later. */
function isChatState(stanza: Stanza): boolean {
  const carbon = stanza.child('received', ns.carbons) ?? stanza.child('sent', ns.carbons);
  const copied = carbon?.child('forwarded', ns.forward)?.child('message', ns.client);
  const children = copied?.all() ?? stanza.children;
  return children.some(child => child.ns === ns.chatStates) && !saysMoreThanState(children);
}
