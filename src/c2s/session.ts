// A client's bound session: its stream (if one is attached), its presence, and what it has not acknowledged (XEP-0198).

import type { Session } from '../hub/module.ts';
import type { Origin } from '../hub/router.ts';
import type { Acknowledgements } from '../xmpp/acknowledgements.ts';
import type { Element } from '../xmpp/element.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Stream } from '../xmpp/stream.ts';

export class ClientSession implements Session {
  readonly jid: Jid;
  readonly origin: Origin;
  presence: Stanza | null = null;
  priority = 0;
  interested = false;
  /** The language of the client's stream header, '' for none. */
  lang = '';
  /** The stream, or null while the session waits to be resumed. */
  stream: Stream | null;
  /** Stream management, once enabled. */
  management: Acknowledgements | null = null;
  readonly since = Date.now();
  #notes: Map<symbol, unknown> | null = null;
  #lost: (session: ClientSession, stanza: Stanza) => void;

  /** `lost` is called with a stanza that the session cannot take (its queue of unacknowledged ones is full). */
  constructor(jid: Jid, stream: Stream, lost: (session: ClientSession, stanza: Stanza) => void) {
    this.jid = jid;
    this.origin = { kind: 'session', name: jid.toString() };
    this.stream = stream;
    this.#lost = lost;
  }

  get notes(): Map<symbol, unknown> {
    return (this.#notes ??= new Map());
  }

  send(stanza: Stanza): void {
    if (this.management === null) {
      this.stream?.send(stanza);
      return;
    }
    if (!this.management.keep(stanza)) return this.#lost(this, stanza);
    if (this.stream === null) return;
    this.stream.send(stanza);
    this.management.request(this.stream);
  }

  /** Writes what is no stanza and is not counted. */
  sendElement(element: Element): void {
    this.stream?.sendElement(element);
  }
}
