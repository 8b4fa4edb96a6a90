// Stream management for clients: enabling it, waiting for a client that was lost, and going on with it (XEP-0198 §3, §5).
import { randomBytes } from 'node:crypto';
import type { Config } from '../hub/config.ts';
import { Acknowledgements } from '../xmpp/acknowledgements.ts';
import { type Element, el } from '../xmpp/element.ts';
import { type StanzaCondition, StreamError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stream } from '../xmpp/stream.ts';
import type { ClientSession } from './session.ts';

/** The most unacknowledged stanzas of one session. */
const mostUnacknowledged = 1_000;
/** Sessions that are over and whose last count can still be asked for (XEP-0198 §5). */
const mostRemembered = 10_000;

/** Who owns the sessions. */
export interface SessionOwner {
  readonly config: Config;
  /** Makes the stream the session's. */
  attach(session: ClientSession, stream: Stream): void;
  /** The session is over. */
  gone(session: ClientSession): void;
}

interface Resumable {
  session: ClientSession;
  /** How long it waits for its client, in ms. */
  time: number;
  timer: NodeJS.Timeout | null;
}

export class Resumption {
  readonly #owner: SessionOwner;
  readonly #resumable = new Map<string, Resumable>();
  readonly #over = new Map<string, { user: Jid; received: number }>();

  constructor(owner: SessionOwner) {
    this.#owner = owner;
  }

  /** Answers `<enable/>` with `<enabled/>`. Throws a StreamError where it is enabled already (XEP-0198 §3). */
  enable(session: ClientSession, request: Element): Element {
    if (session.management) throw new StreamError('policy-violation', 'stream management is enabled already');
    const { time: most, location } = this.#owner.config.clients.resumption;
    const wanted = /^\d{1,9}$/.test(request.attrs.max ?? '') ? Number(request.attrs.max) * 1000 : most;
    const time = Math.min(wanted, most);
    const resumable = (request.attrs.resume === 'true' || request.attrs.resume === '1') && time > 0;
    const id = resumable ? randomBytes(18).toString('base64url') : '';
    session.management = new Acknowledgements(id, mostUnacknowledged);
    if (!resumable) return el('enabled', ns.streamManagement);
    this.#resumable.set(id, { session, time, timer: null });
    const max = String(Math.floor(time / 1000));
    return el('enabled', ns.streamManagement, { id, resume: 'true', max, location: location || undefined });
  }

  /**
   * Goes on with a session of the user on a new stream: `announce` tells the client (it is given `<resumed/>` and the
   * session) before anything else is sent. Returns the session, or `<failed/>` where there is none to go on with or the
   * client's count cannot be; the session waits on then.
   */
  resume(
    stream: Stream,
    user: Jid,
    request: Element,
    announce: (resumed: Element, session: ClientSession) => void,
  ): ClientSession | Element {
    if (this.#owner.config.clients.resumption.time === 0) return failed('feature-not-implemented');
    const previd = request.attrs.previd ?? '';
    const known = this.#resumable.get(previd);
    if (!known?.session.jid.bare.equals(user)) {
      const over = this.#over.get(previd);
      return failed('item-not-found', over?.user.equals(user) ? over.received : undefined);
    }
    const { session } = known;
    const management = session.management!;
    // A client that has lost count can only begin anew (§6); it would come back with that count for as long as this waits.
    if (management.advance(request.attrs.h) === null) return failed('bad-request', management.received);
    const old = session.stream;
    session.stream = null;
    old?.close(new StreamError('conflict', 'the session was resumed elsewhere'));
    if (known.timer) clearTimeout(known.timer);
    known.timer = null;
    management.detach();
    management.acknowledge(request.attrs.h);
    this.#owner.attach(session, stream);
    announce(el('resumed', ns.streamManagement, { previd, h: String(management.received) }), session);
    for (const stanza of management.unacknowledged) stream.send(stanza);
    // Every stream begins active (XEP-0352 §5.2): what waited for that follows.
    session.active = true;
    if (management.unacknowledged.length > 0) management.request(stream);
    return session;
  }

  /** The client is lost: it has time to come back. False: the session cannot be resumed. */
  wait(session: ClientSession): boolean {
    const known = this.#resumable.get(session.management?.id ?? '');
    if (!known) return false;
    known.timer = setTimeout(() => this.#owner.gone(session), known.time);
    known.timer.unref();
    return true;
  }

  /** The session is over. */
  forget({ jid, management }: ClientSession): void {
    const known = management && this.#resumable.get(management.id);
    if (!known) return;
    if (known.timer) clearTimeout(known.timer);
    this.#resumable.delete(management.id);
    if (this.#over.size >= mostRemembered) this.#over.delete(this.#over.keys().next().value!);
    this.#over.set(management.id, { user: jid.bare, received: management.received });
  }
}

/** `<failed/>`, with the number of stanzas that were taken where that is known. */
export function failed(condition: StanzaCondition, received?: number): Element {
  const h = received === undefined ? undefined : String(received);
  return el('failed', ns.streamManagement, { h }, el(condition, ns.stanzaErrors));
}
