// External components that connect to the hub (XEP-0114, the accepting side).
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Kernel } from '../hub/hub.ts';
import type { Log } from '../hub/log.ts';
import type { Origin, Route } from '../hub/router.ts';
import { StanzaError, StreamError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { StreamHeader } from '../xmpp/scanner.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { Stream } from '../xmpp/stream.ts';

const handshakeDeadline = 30_000;

interface Link {
  stream: Stream;
  origin: Origin;
}

/** The components that are connected; a route for the domains in `components`. */
export class ComponentServer implements Route {
  readonly name = 'components';
  readonly #links = new Map<string, Link>();
  #hub!: Kernel;
  #log!: Log;

  attach(hub: Kernel): void {
    this.#hub = hub;
    this.#log = hub.log.child({ room: 'components' });
    hub.on('session-sent', (session, stanza) => {
      if (stanza.name === 'presence' && stanza.to === null) this.#broadcast(stanza.withFrom(session.jid));
      return false;
    });
    hub.on('session-closed', session => {
      if (session.presence) this.#broadcast(Stanza.of('presence', { from: session.jid, type: 'unavailable' }));
    });
    hub.itemsFrom(() => [...this.#links.keys()].map(jid => ({ jid })));
  }

  /** The domains that are connected now. */
  get connected(): string[] {
    return [...this.#links.keys()];
  }

  describe(): string[] {
    return [...this.#hub.config.components.keys()].map(
      domain => `${domain} (${this.#links.has(domain) ? 'connected' : 'not connected'})`,
    );
  }

  owns(to: Jid): boolean {
    return this.#hub.config.components.has(to.domain);
  }

  deliver(stanza: Stanza): void {
    const link = this.#links.get(stanza.to!.domain);
    if (!link) {
      throw new StanzaError('remote-server-timeout', `the component ${stanza.to!.domain} is not connected`);
    }
    link.stream.send(stanza);
  }

  /** Takes a connection and its handshake (XEP-0114 §3). */
  accept(socket: Socket): void {
    const { limits } = this.#hub.config;
    const id = randomBytes(12).toString('base64url');
    let domain = '';
    const timer = setTimeout(() => stream.close(new StreamError('connection-timeout')), handshakeDeadline);
    const stream: Stream = new Stream(
      socket,
      { contentNs: ns.component, limits: { stanzaSize: limits.stanzaSize.s2s }, rate: 0, backlog: 64 * 1024 * 1024 },
      {
        opened: (header: StreamHeader) => {
          domain = Jid.tryParse(header.attrs.to ?? '')?.domain ?? '';
          stream.open({ from: domain, id });
          if (header.contentNs !== ns.component) stream.close(new StreamError('invalid-namespace'));
          else if (!this.#hub.config.components.has(domain)) {
            stream.close(new StreamError('host-unknown', `${domain || 'that domain'} is not under \`components\``));
          }
        },
        stanza: stanza => {
          clearTimeout(timer);
          this.#handshake(stream, domain, id, stanza);
        },
        closed: () => clearTimeout(timer),
      },
    );
  }

  /** Says good-bye to every component. */
  stop(): void {
    for (const { stream } of this.#links.values()) stream.close(new StreamError('system-shutdown'));
  }

  /** Presence that a local user broadcasts also goes to the components that ask for it (`presence: true`). */
  #broadcast(presence: Stanza): void {
    if (presence.type !== '' && presence.type !== 'unavailable') return;
    for (const [domain, { stream }] of this.#links) {
      if (this.#hub.config.components.get(domain)?.presence) stream.send(presence.withTo(Jid.of('', domain, '')));
    }
  }

  #handshake(stream: Stream, domain: string, id: string, stanza: Stanza): void {
    const secret = this.#hub.config.components.get(domain)?.secret ?? '';
    const wanted = createHash('sha1')
      .update(id + secret)
      .digest('hex');
    const given = stanza.name === 'handshake' ? stanza.element.text.trim().toLowerCase() : '';
    if (given.length !== wanted.length || !timingSafeEqual(Buffer.from(given), Buffer.from(wanted))) {
      this.#log.warn({ domain, remote: stream.socket.remoteAddress }, 'component refused: wrong secret');
      return stream.close(new StreamError('not-authorized', 'the secrets differ'));
    }
    if (this.#links.has(domain)) {
      return stream.close(new StreamError('conflict', `${domain} is connected already`));
    }
    stream.sendText('<handshake/>');
    const origin: Origin = { kind: 'component', name: domain };
    const link: Link = { stream, origin };
    this.#links.set(domain, link);
    this.#log.info({ domain, remote: stream.socket.remoteAddress }, 'component connected');
    stream.handler = {
      opened: () => stream.close(new StreamError('not-well-formed')),
      stanza: received => this.#received(stream, origin, received),
      closed: ending => {
        if (this.#links.get(domain) === link) this.#links.delete(domain);
        this.#log.info({ domain, reason: ending.reason }, 'component disconnected');
      },
    };
  }

  /** A component speaks for its own domain only. */
  #received(stream: Stream, origin: Origin, stanza: Stanza): void {
    const { from, to } = stanza;
    if (stanza.malformed === 'to') {
      if (!stanza.isError && stanza.type !== 'result') stream.send(stanza.error('jid-malformed'));
    } else if (!from || !to) {
      stream.close(new StreamError('improper-addressing', 'a stanza has `from` and `to`'));
    } else if (from.domain !== origin.name) {
      stream.close(new StreamError('invalid-from', `${from.domain} is not ${origin.name}`));
    } else {
      const taken = this.#hub.router.route(stanza, origin);
      if (taken) stream.pace(taken);
    }
  }
}
