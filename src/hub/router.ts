// The ordered list of routes a stanza is offered to, and the filters it passes before.
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import { toldOf } from './failure.ts';

/** The edge a stanza came in by. Every edge has vouched for `from` before it routes (house.md). */
export interface Origin {
  readonly kind: 'session' | 'link' | 'component' | 'bridge' | 'hub';
  /** Who that is, for the log and for metrics: a full JID, a remote domain, a component's or bridge's name. */
  readonly name: string;
}

/** What the hub itself says comes from here. */
export const hubOrigin: Origin = { kind: 'hub', name: 'hub' };

/** One way on. The first route that owns the address takes the stanza. */
export interface Route {
  readonly name: string;
  /** One line for `isthmus routes`. */
  readonly describe?: () => string[];
  owns(to: Jid): boolean;
  /**
   * Takes the stanza. Resolves (or returns) once a bounded queue or the store has it, never on the far end's
   * answer. Throws or rejects with a StanzaError when it cannot be taken: the router returns that to the sender.
   */
  deliver(stanza: Stanza, origin: Origin): void | Promise<void>;
}

/** Sees every stanza before the routes do; null means that the filter has consumed it. May throw a StanzaError. */
export type Filter = (stanza: Stanza, origin: Origin) => Stanza | null;

export interface RouterEvents {
  /** A stanza entered. */
  routed?(stanza: Stanza, origin: Origin): void;
  /** Before filters and routes: what the stanza is to be taken for. */
  entering?(stanza: Stanza): Stanza;
  /** A route failed with something that is no StanzaError: a bug, to be logged. */
  failed?(error: unknown, stanza: Stanza, origin: Origin): void;
}

export class Router {
  readonly routes: readonly Route[];
  readonly filters: Filter[] = [];
  readonly #events: RouterEvents;

  /** The order of `routes` is the order in which they are asked. */
  constructor(routes: readonly Route[], events: RouterEvents = {}) {
    this.routes = routes;
    this.#events = events;
  }

  /**
   * Routes a stanza that has `to` (and, but for the hub's own, `from`). Never throws: what cannot be delivered
   * comes back to its sender as an error stanza (RFC 6120 §8.3), except errors and results themselves (§8.3.1).
   * Resolves when the stanza has been taken or refused.
   */
  route(stanza: Stanza, origin: Origin): void | Promise<void> {
    try {
      this.#events.routed?.(stanza, origin);
      if (!stanza.isProper) throw new StanzaError('bad-request', 'an IQ has an id and a type, and a request one child');
      let current: Stanza = this.#events.entering?.(stanza) ?? stanza;
      for (const filter of this.filters) {
        const next = filter(current, origin);
        if (next === null) return;
        current = next;
      }
      const taken = this.find(current.to!)?.deliver(current, origin);
      if (taken === undefined) {
        if (!this.find(current.to!)) this.#refuse(new StanzaError('remote-server-not-found'), current, origin);
        return;
      }
      return taken.catch(error => this.#refuse(error, current, origin));
    } catch (error) {
      this.#refuse(error, stanza, origin);
    }
  }

  /** The route that takes stanzas for this address, or undefined. */
  find(to: Jid): Route | undefined {
    for (const route of this.routes) if (route.owns(to)) return route;
    return undefined;
  }

  /** Sends an error (or nothing, where RFC 6120 §8.3.1 forbids one) back to the sender of a stanza. */
  #refuse(error: unknown, stanza: Stanza, origin: Origin): void {
    if (!(error instanceof StanzaError)) this.#events.failed?.(error, stanza, origin);
    if (stanza.isError || stanza.type === 'result' || stanza.from === null || stanza.to === null) return;
    // A presence is answered with an error only where it asks for something (RFC 6121 §8.5, §11).
    if (stanza.name === 'presence' && stanza.type === 'unavailable') return;
    const answer = stanza.refuse(toldOf(error));
    const back = this.find(answer.to!);
    if (!back) return;
    try {
      const taken = back.deliver(answer, hubOrigin);
      if (taken) taken.catch(() => {});
    } catch {
      // An error that cannot be delivered is dropped (RFC 6120 §8.3.1): there must be no loop of errors.
    }
  }
}
