// The table of client sessions, and the route for the domains hosted here (RFC 6121 §8).
import { checkCrossing } from '../hub/crossing.ts';
import type { Kernel } from '../hub/hub.ts';
import type { Session, Sessions } from '../hub/module.ts';
import type { Origin, Route } from '../hub/router.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import { forked } from './forks.ts';
import type { ClientSession } from './session.ts';

const none: readonly ClientSession[] = [];

/** Sessions by account and resource. */
export class SessionTable implements Sessions {
  readonly #accounts = new Map<string, ClientSession[]>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  of(bare: Jid): readonly ClientSession[] {
    return this.#accounts.get(bare.isBare ? bare.toString() : bare.bare.toString()) ?? none;
  }

  get(full: Jid): ClientSession | undefined {
    const sessions = this.#accounts.get(full.bare.toString());
    if (sessions === undefined) return undefined;
    for (const session of sessions) if (session.jid.resource === full.resource) return session;
    return undefined;
  }

  *all(): IterableIterator<ClientSession> {
    for (const sessions of this.#accounts.values()) yield* sessions;
  }

  add(session: ClientSession): void {
    const bare = session.jid.bare.toString();
    this.#accounts.set(bare, [...(this.#accounts.get(bare) ?? none), session]);
    this.#count++;
  }

  /** False where the session was not listed (any more). */
  remove(session: ClientSession): boolean {
    const bare = session.jid.bare.toString();
    const sessions = this.#accounts.get(bare);
    if (!sessions?.includes(session)) return false;
    if (sessions.length === 1) this.#accounts.delete(bare);
    else
      this.#accounts.set(
        bare,
        sessions.filter(other => other !== session),
      );
    this.#count--;
    return true;
  }
}

/** Delivers to accounts and to the domains themselves. */
export class LocalRoute implements Route {
  readonly name = 'sessions';
  readonly #table: SessionTable;
  #hub!: Kernel;

  constructor(table: SessionTable) {
    this.#table = table;
  }

  /** The kernel holds the router that holds this route, so it comes second. */
  attach(hub: Kernel): void {
    this.#hub = hub;
  }

  describe(): string[] {
    const { domains, aliases } = this.#hub.config;
    return [...domains.keys(), ...[...aliases].map(([alias, domain]) => `${alias} (alias of ${domain})`)];
  }

  owns(to: Jid): boolean {
    return this.#hub.hosts(to.domain);
  }

  deliver(stanza: Stanza, origin: Origin): void | Promise<void> {
    if (origin.kind === 'session') checkCrossing(this.#hub.config, stanza, stanza.to!.domain);
    switch (stanza.name) {
      case 'message':
        return this.#message(stanza, origin);
      case 'presence':
        return this.#presence(stanza, origin);
      default:
        return this.#iq(stanza, origin);
    }
  }

  #iq(stanza: Stanza, origin: Origin): void | Promise<void> {
    const to = stanza.to!;
    if (to.resource === '' || to.local === '') return this.#hub.answer(stanza, origin);
    const session = this.#table.get(to);
    if (!session) {
      if (stanza.isRequest) throw new StanzaError('service-unavailable');
      return;
    }
    session.send(stanza);
  }

  #presence(stanza: Stanza, origin: Origin): void | Promise<void> {
    const consumed = this.#hub.emit('presence-received', stanza, origin);
    if (consumed === true) return;
    if (consumed instanceof Promise) return consumed.then(done => (done ? undefined : this.#presenceToSession(stanza)));
    this.#presenceToSession(stanza);
  }

  #presenceToSession(stanza: Stanza): void {
    if (stanza.to!.resource !== '') this.#table.get(stanza.to!)?.send(stanza);
  }

  /** RFC 6121 §8.5.2 and §8.5.3, by message type. */
  #message(stanza: Stanza, origin: Origin): void | Promise<void> {
    const to = stanza.to!;
    if (to.local === '') {
      if (stanza.isError) return;
      const consumed = this.#hub.emit('domain-message', stanza, origin);
      if (consumed === true) return;
      if (consumed instanceof Promise) return consumed.then(done => (done ? undefined : this.#unread()));
      return this.#unread();
    }
    if (to.resource !== '') {
      const session = this.#table.get(to);
      if (session) {
        const arrived = this.#hub.arrive(stanza, origin);
        session.send(arrived);
        this.#hub.emit('message-delivered', arrived, [session], origin);
        return;
      }
      // Only a chat goes on to the account (RFC 6121 §8.5.3.2.1).
      if (stanza.type === 'error' || stanza.type === 'headline') return;
      if (stanza.type !== 'chat') throw new StanzaError('service-unavailable', 'that resource is not connected');
    }
    if (stanza.type === 'error') return;
    if (stanza.type === 'groupchat') throw new StanzaError('service-unavailable', 'that is no room');
    const { fork } = this.#hub.config.clients;
    const able = recipients(this.#table.of(to), stanza.type === 'headline' || fork);
    const takers = fork && stanza.type !== 'headline' ? forked(able, stanza.from) : able;
    if (takers.length === 0) return this.#undelivered(stanza, origin);
    const arrived = this.#hub.arrive(stanza, origin);
    for (const session of takers) session.send(arrived);
    this.#hub.emit('message-delivered', arrived, takers, origin);
  }

  #unread(): never {
    throw new StanzaError('service-unavailable', 'the server itself reads no messages');
  }

  async #undelivered(stanza: Stanza, origin: Origin): Promise<void> {
    const directory = this.#hub.directory(stanza.to!.domain);
    const person = directory?.find(stanza.to!.local);
    if (!(person instanceof Promise ? await person : person)) throw new StanzaError('service-unavailable');
    const arrived = this.#hub.arrive(stanza, origin);
    this.#hub.emit('message-delivered', arrived, none, origin);
    const elsewhere = await this.#hub.emit('message-offline', arrived, origin);
    try {
      if (await this.#hub.emit('message-undelivered', arrived, origin)) {
        this.#hub.emit('message-missed', arrived);
        return;
      }
    } catch (error) {
      if (!elsewhere) throw error;
      return;
    }
    if (!elsewhere && stanza.type !== 'headline') throw new StanzaError('service-unavailable');
  }
}

/** Of an account's sessions, those that take a message to its bare JID (RFC 6121 §8.5.2.1). */
function recipients(sessions: readonly ClientSession[], everyone: boolean): readonly ClientSession[] {
  if (sessions.length === 1) return sessions[0].presence !== null && sessions[0].priority >= 0 ? sessions : none;
  const able = sessions.filter(session => session.presence !== null && session.priority >= 0);
  if (everyone || able.length < 2) return able;
  const highest = Math.max(...able.map((session: Session) => session.priority));
  return able.filter(session => session.priority === highest);
}
