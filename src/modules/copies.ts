// Which devices of a user were given the same message, so that none gets it again when another one is lost (XEP-0198 §4).
import type { Hub, Session } from '../hub/module.ts';
import { hubOrigin } from '../hub/router.ts';
import { el } from '../xmpp/element.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';

interface Shared {
  readonly message: Stanza;
  /** In ms since 1970. */
  readonly at: number;
  /** Who has it, or has it coming: a session that is lost before it has taken it leaves. */
  readonly holders: Set<Session>;
}

export class Copies {
  readonly #hub: Hub;
  /** By the message and by each of its carbons. */
  readonly #shared = new WeakMap<Stanza, Shared>();

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** The message went to these sessions, and to others as carbons. */
  note(message: Stanza, to: readonly Session[], carbons: ReadonlyMap<Session, Stanza>): void {
    // To a device that takes no messages a copy is a courtesy: that it is there does not count.
    const holders = new Set([...to, ...[...carbons.keys()].filter(isReceptive)]);
    if (holders.size < 2) return;
    const shared: Shared = { message, at: Date.now(), holders };
    this.#shared.set(message, shared);
    for (const carbon of carbons.values()) this.#shared.set(carbon, shared);
  }

  /** A session was lost that has not taken this one. True: nothing is to be done about it. */
  returned(session: Session, stanza: Stanza): boolean {
    const shared = this.#shared.get(stanza);
    if (!shared?.holders.delete(session)) return false;
    const { message, holders, at } = shared;
    if (holders.size > 0) return true;
    if (stanza === message) return false;
    // The last one had a carbon only: the message itself goes to the account.
    const { bare } = session.jid;
    const delay = el('delay', ns.delay, { from: bare.domain, stamp: new Date(at).toISOString() });
    const late = message.has('delay', ns.delay) ? message : message.with(delay);
    void this.#hub.router.route(late.withTo(bare), hubOrigin);
    return true;
  }
}

function isReceptive({ presence, priority }: Session): boolean {
  return presence !== null && priority >= 0;
}
