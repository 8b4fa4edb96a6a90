// A client's bound session: its stream (if one is attached), its presence, and what it has not acknowledged (XEP-0198).
import type { Session } from '../hub/module.ts';
import type { Origin } from '../hub/router.ts';
import type { Acknowledgements } from '../xmpp/acknowledgements.ts';
import type { StreamError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Stream } from '../xmpp/stream.ts';
import { Deferred } from './inactivity.ts';

/** Who ends sessions. */
export interface SessionKeeper {
  finish(session: ClientSession, error: StreamError | null): void;
  /** The session cannot take these stanzas: too many are not acknowledged. */
  overflowed(session: ClientSession, excess: readonly Stanza[]): void;
  /** The stanza waits for a client that was lost and may come back. */
  waits(session: ClientSession, stanza: Stanza): void;
}

export class ClientSession implements Session {
  readonly jid: Jid;
  readonly origin: Origin;
  presence: Stanza | null = null;
  priority = 0;
  interested = false;
  silenced = false;
  /** The language of the client's stream header, '' for none. */
  lang = '';
  /** The stream, or null while the session waits to be resumed. */
  stream: Stream | null;
  /** What identifies the client's installation, where it has said so (XEP-0388 §2.3); '' else. */
  client = '';
  /** Stream management, once enabled. */
  management: Acknowledgements | null = null;
  readonly since = Date.now();
  /** When something last came from the client, and when it was last pinged, in ms since 1970; 0: never. */
  heardAt = Date.now();
  pinged = 0;
  /** Whether it has said something after a ping: only of such a client silence tells anything. */
  answers = false;
  /** What waits for an inactive client; null while it is active. */
  #deferred: Deferred | null = null;
  #notes: Map<symbol, unknown> | null = null;
  /** Who waits for the client to go on talking. */
  #written: (() => void)[] | null = null;
  /** What there was no room for. */
  #excess: Stanza[] | null = null;
  readonly #keeper: SessionKeeper;

  constructor(jid: Jid, stream: Stream, keeper: SessionKeeper) {
    this.jid = jid;
    this.origin = { kind: 'session', name: jid.toString() };
    this.stream = stream;
    this.#keeper = keeper;
  }

  get notes(): Map<symbol, unknown> {
    return (this.#notes ??= new Map());
  }

  get acknowledges(): boolean {
    return this.management !== null;
  }

  get active(): boolean {
    return this.#deferred === null;
  }

  set active(active: boolean) {
    if (active === this.active) return;
    const deferred = this.#deferred;
    this.#deferred = active ? null : new Deferred();
    if (deferred) for (const stanza of deferred.empty()) this.#write(stanza);
  }

  send(stanza: Stanza): void {
    if (this.#deferred !== null) {
      if (this.#deferred.take(stanza)) return;
      for (const earlier of this.#deferred.empty()) this.#write(earlier);
    }
    this.#write(stanza);
  }

  #write(stanza: Stanza): void {
    if (this.management === null) {
      this.stream?.send(stanza);
      return;
    }
    if (!this.management.keep(stanza, this.stream !== null)) return this.#overflow(stanza);
    if (this.stream === null) return this.#keeper.waits(this, stanza);
    this.stream.send(stanza);
    this.management.request(this.stream);
  }

  /** The session ends, but not before everybody else was given the stanza that is being delivered. */
  #overflow(stanza: Stanza): void {
    if (this.#excess !== null) {
      this.#excess.push(stanza);
      return;
    }
    const excess = (this.#excess = [stanza]);
    queueMicrotask(() => this.#keeper.overflowed(this, excess));
  }

  taken(then: () => void): void {
    if (this.management !== null) return this.management.whenAcknowledged(then);
    // What is written in this turn cannot have been read before the next one.
    const written = (this.#written ??= []);
    setImmediate(() => written.push(then));
  }

  /** The client is there: without stream management that is all that shows that it has what was written to it. */
  heard(): void {
    this.heardAt = Date.now();
    if (this.pinged > 0) this.answers = true;
    if (this.#written === null || this.#written.length === 0) return;
    for (const then of this.#written.splice(0)) then();
  }

  end(error: StreamError | null): void {
    this.#keeper.finish(this, error);
  }
}
