// Client connections: from accepted socket to bound session, and what a session's client may send.
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { Config } from '../hub/config.ts';
import { toldOf } from '../hub/failure.ts';
import type { Kernel } from '../hub/hub.ts';
import type { Log } from '../hub/log.ts';
import { hubOrigin } from '../hub/router.ts';
import { el } from '../xmpp/element.ts';
import { StanzaError, StreamError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Ending, Stream } from '../xmpp/stream.ts';
import { noteAnswer } from './forks.ts';
import { checkLiveness } from './liveness.ts';
import { Negotiation } from './negotiation.ts';
import { failed, Resumption } from './resumption.ts';
import { ClientSession } from './session.ts';
import type { SessionTable } from './sessions.ts';
import { LoginTokens } from './tokens.ts';

/** What a client edge needs besides the hub. */
export interface ClientEdge {
  /** The TLS context of a hosted domain. */
  contextFor(domain: string): SecureContext | null;
  /** The certificate (DER) that a client sees who asked for this name. */
  certificateOf(name: string): Uint8Array | null;
  /** Keeps made-up SCRAM salts of unknown users stable. */
  readonly scramSecret: Uint8Array;
}

/** How often sessions are looked at, in ms. */
const watchInterval = 10_000;

export class ClientServer {
  readonly hub: Kernel;
  readonly edge: ClientEdge;
  readonly table: SessionTable;
  readonly log: Log;
  readonly resumption = new Resumption(this);
  readonly tokens: LoginTokens;
  readonly #negotiating = new Set<Negotiation>();
  readonly #watch: NodeJS.Timeout;
  #stopping = false;

  constructor(hub: Kernel, table: SessionTable, edge: ClientEdge) {
    this.hub = hub;
    this.table = table;
    this.edge = edge;
    this.log = hub.log.child({ room: 'c2s' });
    this.tokens = new LoginTokens(hub);
    for (const scope of ['domain', 'own-account'] as const) {
      hub.iq(ns.bind, 'bind', scope, () => {
        throw new StanzaError('not-allowed', 'a stream has one resource');
      });
      // Clients of RFC 3921 begin a session besides: there is nothing to do for that.
      hub.iq(ns.session, 'session', scope, ({ stanza, origin }) => {
        if (stanza.type !== 'set' || origin.kind !== 'session') throw new StanzaError('service-unavailable');
        return null;
      });
    }
    this.#watch = setInterval(() => checkLiveness(table.all(), this.config.clients, Date.now()), watchInterval);
    this.#watch.unref();
  }

  get config(): Config {
    return this.hub.config;
  }

  /** Takes a connection; `direct` where TLS comes first (XEP-0368). */
  accept(socket: Socket, direct: boolean): void {
    const negotiation = new Negotiation(this, socket, direct);
    this.#negotiating.add(negotiation);
    negotiation.done = () => this.#negotiating.delete(negotiation);
  }

  /**
   * Binds a resource; one that the server makes is unguessable (RFC 6120 §7.6). `announce` tells the client its
   * JID before the session is sent anything else.
   */
  bind(
    stream: Stream,
    user: Jid,
    wanted: string,
    lang: string,
    announce: (session: ClientSession) => void,
  ): ClientSession {
    const resource = wanted === '' ? randomBytes(9).toString('base64url') : wanted;
    const jid = user.withResource(resource);
    const other = this.table.get(jid);
    // The newer session wins (RFC 6120 §7.7.2.2, third case): a client that lost its link gets its resource back.
    if (other) this.finish(other, new StreamError('conflict', 'the same resource was bound by a newer session'));
    const session = new ClientSession(jid, stream, this);
    session.lang = lang;
    announce(session);
    this.table.add(session);
    this.attach(session, stream);
    this.hub.emit('session-opened', session);
    return session;
  }

  /** Ends the earlier sessions of the same installation of a client (XEP-0386 §3.2). */
  replace(session: ClientSession, client: string): void {
    for (const other of this.table.of(session.jid)) {
      if (other.client === client && other !== session) {
        this.finish(other, new StreamError('conflict', 'the client has bound another resource'));
      }
    }
    session.client = client;
  }

  /** The hosted domain that a name stands for: itself, or what it is an alias of. */
  domainOf(name: string): string {
    return this.config.aliases.get(name) ?? name;
  }

  /** Makes a stream the session's: its input is the session's from here on. */
  attach(session: ClientSession, stream: Stream): void {
    session.stream = stream;
    stream.handler = {
      opened: () => stream.close(new StreamError('not-well-formed')),
      stanza: stanza => this.#received(session, stream, stanza),
      closed: ending => {
        this.ended({ remote: stream.remote, jid: session.jid.toString() }, ending, 'stream ended');
        if (session.stream !== stream) return;
        session.stream = null;
        session.management?.detach();
        if (ending.by === 'peer' && ending.error === null) session.heard();
        const waits = ending.by === 'lost' && !this.#stopping && this.resumption.wait(session);
        if (!waits) return this.gone(session);
        for (const stanza of session.management?.unacknowledged ?? []) this.waits(session, stanza);
      },
    };
  }

  /** Writes down how a stream ended: what we found at fault is for the operator to see. */
  ended(who: { remote: string; domain?: string; jid?: string }, ending: Ending, otherwise: string): void {
    const { by, error } = ending;
    const fault = by !== 'peer' && (by === 'us' || error !== null) && error?.condition !== 'system-shutdown';
    if (fault) this.log.info({ ...who, reason: ending.reason }, error ? 'stream error' : 'stream ended by us');
    else this.log.debug({ ...who, reason: ending.reason }, otherwise);
  }

  /** Ends a session, with a stream error where one is given. */
  finish(session: ClientSession, error: StreamError | null): void {
    this.#cut(session, error);
    this.gone(session);
  }

  #cut(session: ClientSession, error: StreamError | null): void {
    const stream = session.stream;
    session.stream = null;
    stream?.close(error);
  }

  overflowed(session: ClientSession, excess: readonly Stanza[]): void {
    this.finish(session, new StreamError('resource-constraint', 'too many stanzas were not acknowledged'));
    for (const stanza of excess) this.#readdress(session, stanza, Date.now());
  }

  waits(session: ClientSession, stanza: Stanza): void {
    if (stanza.name === 'message') this.hub.emit('message-waiting', session, stanza);
  }

  /** Closes every stream properly; sessions that can be resumed are not, since they would not outlive the process. */
  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#watch);
    const shutdown = new StreamError('system-shutdown');
    for (const negotiation of [...this.#negotiating]) negotiation.stream.close(shutdown);
    // All of them are off the list before the first is settled: nothing goes from one to another that ends as well.
    const sessions = [...this.table.all()];
    for (const session of sessions) {
      this.#cut(session, shutdown);
      this.table.remove(session);
    }
    for (const session of sessions) this.#settle(session);
  }

  #received(session: ClientSession, stream: Stream, stanza: Stanza): void {
    session.heard();
    switch (stanza.name) {
      case 'message':
      case 'presence':
      case 'iq':
        if (stanza.ns === ns.client) return this.#stanza(session, stream, stanza);
        break;
      case 'r':
        if (stanza.ns !== ns.streamManagement || !session.management) break;
        return session.management.answer(stream);
      case 'a':
        if (stanza.ns !== ns.streamManagement || !session.management) break;
        return this.#acknowledged(session, stream, stanza);
      case 'enable':
        if (stanza.ns !== ns.streamManagement) break;
        return stream.sendElement(this.resumption.enable(session, stanza.element));
      case 'active':
      case 'inactive':
        if (stanza.ns !== ns.clientState || !this.hub.enabled('client-state', session.jid.domain)) break;
        session.active = stanza.name === 'active';
        return;
      case 'resume':
        if (stanza.ns !== ns.streamManagement) break;
        return stream.sendElement(failed('unexpected-request'));
    }
    stream.close(new StreamError('unsupported-stanza-type', `<${stanza.name}/> in ${stanza.ns} is not expected here`));
  }

  /** Stamps `from` (RFC 6120 §8.1.2.1) and the stream's language (§4.7.4), and passes the stanza on. */
  #stanza(session: ClientSession, stream: Stream, received: Stanza): void {
    if (session.silenced) return;
    if (this.config.clients.fork && received.name === 'message') {
      noteAnswer(session, this.table.of(session.jid), received);
    }
    const from = received.withFrom(session.jid);
    const stanza = session.lang && !from.lang && from.name !== 'iq' ? from.withLang(session.lang) : from;
    const taken = this.#accept(session, stanza, received);
    session.management?.count(taken);
    if (taken) stream.pace(taken);
  }

  #accept(session: ClientSession, stanza: Stanza, received: Stanza): void | Promise<void> {
    const { malformed } = received;
    if (malformed === 'to') {
      // What answers something is not answered (RFC 6120 §8.3.1).
      if (stanza.isError || stanza.type === 'result') return;
      return session.send(stanza.error('jid-malformed', 'the address in `to` is not a JID'));
    }
    if (malformed === 'from' || !speaksFor(session, received.from)) {
      session.stream?.close(new StreamError('invalid-from', 'a client speaks for itself only'));
      return;
    }
    let consumed: boolean | Promise<boolean>;
    try {
      consumed = this.hub.emit('session-sent', session, stanza);
    } catch (error) {
      return this.#refuse(session, stanza, error);
    }
    if (consumed === true) return;
    if (consumed instanceof Promise) {
      return consumed.then(
        done => (done ? undefined : this.#route(session, stanza)),
        error => this.#refuse(session, stanza, error),
      );
    }
    return this.#route(session, stanza);
  }

  #route(session: ClientSession, stanza: Stanza): void | Promise<void> {
    if (stanza.to === null) {
      if (stanza.name === 'presence') return;
      stanza = stanza.withTo(session.jid.bare);
    }
    return this.hub.router.route(stanza, session.origin);
  }

  #refuse(session: ClientSession, stanza: Stanza, error: unknown): void {
    if (!(error instanceof StanzaError)) this.log.error({ err: error }, 'a module failed');
    if (stanza.isError || stanza.type === 'result') return;
    session.send(stanza.refuse(toldOf(error)));
  }

  #acknowledged(session: ClientSession, stream: Stream, stanza: Stanza): void {
    const management = session.management!;
    management.acknowledge(stanza.element.attrs.h);
    if (management.unacknowledged.length > 0) management.request(stream);
  }

  /** The session is over: what it did not acknowledge goes on to where it can (XEP-0198 §4, last part). */
  gone(session: ClientSession): void {
    if (this.table.remove(session)) this.#settle(session);
  }

  #settle(session: ClientSession): void {
    this.resumption.forget(session);
    this.hub.emit('session-closed', session);
    const { unacknowledged = [], sentAt = [] } = session.management ?? {};
    for (const [n, stanza] of unacknowledged.entries()) this.#readdress(session, stanza, sentAt[n]);
  }

  /** What a lost session did not take goes to the account, or back (RFC 6121 §8.5.3.2). `sentAt` in ms since 1970. */
  #readdress(session: ClientSession, stanza: Stanza, sentAt: number): void {
    if (stanza.name === 'presence' || stanza.isError || stanza.type === 'result' || !stanza.from) return;
    if (stanza.name === 'iq') {
      void this.hub.router.route(stanza.error('service-unavailable'), hubOrigin);
    } else if (!this.hub.emit('message-returned', session, stanza)) {
      const { domain } = session.jid;
      const delay = el('delay', ns.delay, { from: domain, stamp: new Date(sentAt).toISOString() });
      const late = stanza.has('delay', ns.delay) ? stanza : stanza.with(delay);
      void this.hub.router.route(late.withTo(session.jid.bare), hubOrigin);
    }
  }
}

/** RFC 6120 §8.1.2.1: without `from`, or with the session's own full or bare JID. */
function speaksFor(session: ClientSession, from: Jid | null): boolean {
  return from === null || from.equals(session.jid) || from.equals(session.jid.bare);
}
