// A client's way from connection to bound session: TLS, SASL, resource binding or resumption (RFC 6120 §5–§7).
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { toldOf } from '../hub/failure.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StreamError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { channelBindings } from '../xmpp/sasl/channel-binding.ts';
import { type Offer, offer } from '../xmpp/sasl/mechanisms.ts';
import { SaslError } from '../xmpp/sasl/sasl.ts';
import type { Bindings } from '../xmpp/sasl/scram.ts';
import type { StreamHeader } from '../xmpp/scanner.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import { speaksXmpp } from '../xmpp/start-tag.ts';
import { type Ending, Stream } from '../xmpp/stream.ts';
import { bareLimits, limitsElement, patience } from './limits.ts';
import { failed } from './resumption.ts';
import { Sasl, saslFailure } from './sasl.ts';
import { type Connection, Sasl2 } from './sasl2.ts';
import type { ClientServer } from './server.ts';
import { ClientSession } from './session.ts';

/** How often a client may try to authenticate. */
const mostAttempts = 5;

export class Negotiation {
  readonly stream: Stream;
  /** Called once, when the negotiation ended either way. */
  done: () => void = () => {};
  readonly #server: ClientServer;
  #timer: NodeJS.Timeout | undefined;
  #over = false;
  #domain = '';
  #lang = '';
  #secured = false;
  #bindings: Bindings = new Map();
  #user: Jid | null = null;
  #from: Jid | null = null;
  #sasl: Sasl | null = null;
  #sasl2: Sasl2 | null = null;
  #attempts = 0;

  constructor(server: ClientServer, socket: Socket, direct: boolean) {
    this.#server = server;
    const { limits } = server.config;
    this.stream = new Stream(
      socket,
      { contentNs: ns.client, limits: bareLimits, rate: limits.rate.c2s },
      { opened: h => this.#opened(h), stanza: s => this.#stanza(s), closed: e => this.#closed(e) },
    );
    this.#endAfter(patience.negotiation);
    if (direct) void this.#startTls();
  }

  #endAfter(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#over) return;
    this.#timer = setTimeout(() => {
      this.stream.close(new StreamError('connection-timeout', 'the client took too long to authenticate'));
    }, ms);
  }

  /** Answers a stream header (RFC 6120 §4.7) with ours and the features of this phase. */
  #opened(header: StreamHeader): void {
    const { config } = this.#server;
    const to = Jid.tryParse(header.attrs.to ?? '')?.domain ?? '';
    const domain = config.aliases.get(to) ?? to;
    this.#lang = header.attrs['xml:lang'] ?? '';
    this.#from = Jid.tryParse(header.attrs.from ?? '');
    this.stream.open({
      from: config.domains.has(domain) ? domain : (config.domains.keys().next().value ?? ''),
      to: this.#from?.toString(),
      id: randomBytes(12).toString('base64url'),
      version: '1.0',
      lang: 'en',
    });
    if (header.name !== 'stream' || header.ns !== ns.streams || header.contentNs !== ns.client) {
      return this.stream.close(new StreamError('invalid-namespace', `expected a stream of ${ns.client}`));
    }
    if (!config.domains.has(domain)) {
      return this.stream.close(
        new StreamError('host-unknown', to ? `${to} is not served here` : 'no domain was named'),
      );
    }
    if (this.#user !== null && domain !== this.#domain) {
      return this.stream.close(new StreamError('host-unknown', 'the domain changed within the stream'));
    }
    if (!speaksXmpp(header)) return this.stream.close(new StreamError('unsupported-version'));
    this.#domain = domain;
    this.stream.sendFeatures(this.#features());
  }

  /** What an authenticated stream offers. */
  #featuresWithin(bound: boolean): (Element | null)[] {
    const { config, hub } = this.#server;
    return [
      bound ? null : el('bind', ns.bind),
      bound ? null : el('session', ns.session, {}, el('optional', ns.session)),
      el('sm', ns.streamManagement),
      limitsElement(config.limits.stanzaSize.c2s),
      ...hub.streamFeatures(this.#domain),
    ];
  }

  #features(): (Element | null)[] {
    const { config, hub, edge } = this.#server;
    if (this.#user !== null) return this.#featuresWithin(false);
    const features: (Element | null)[] = [];
    const canSecure = !this.#secured && edge.contextFor(this.#domain) !== null;
    if (canSecure) {
      features.push(el('starttls', ns.tls, {}, config.clients.requireTls ? el('required', ns.tls) : null));
    }
    if (!config.clients.requireTls || this.#secured) {
      const offered = this.#mechanisms();
      const connection = this.#connection(offered);
      this.#sasl = new Sasl(connection);
      if (offered.names.length > 0) {
        features.push(el('mechanisms', ns.sasl, {}, ...offered.names.map(name => el('mechanism', ns.sasl, {}, name))));
        // Tokens and what is asked for in one breath are for connections that nobody reads (XEP-0388 §3).
        this.#sasl2 = this.#secured ? new Sasl2(connection) : null;
        if (this.#sasl2) features.push(this.#sasl2.feature());
        if (offered.bindingTypes.length > 0) {
          const types = offered.bindingTypes.map(type => el('channel-binding', ns.channelBinding, { type }));
          features.push(el('sasl-channel-binding', ns.channelBinding, {}, ...types));
        }
      }
      if (config.clients.registration && hub.registrarOf(this.#domain))
        features.push(el('register', ns.registerFeature));
    }
    features.push(limitsElement(bareLimits.stanzaSize));
    return features;
  }

  #mechanisms(): Offer {
    const { config, hub, edge } = this.#server;
    const directory = hub.directory(this.#domain)!;
    return offer({
      configured: config.clients.mechanisms,
      verifier: directory,
      secure: this.#secured,
      requireTls: config.clients.requireTls,
      bindings: this.#bindings,
      secret: edge.scramSecret,
      prepare: user => directory.userOf?.(user) ?? (Jid.tryParse(`${user}@${this.#domain}`)?.local || null),
    });
  }

  #connection(offer: Offer): Connection {
    return {
      server: this.#server,
      stream: this.stream,
      domain: this.#domain,
      lang: this.#lang,
      from: this.#from,
      offer,
      bindings: this.#bindings,
      features: bound => this.#featuresWithin(bound),
      authenticated: user => this.#authenticated(user),
      finished: () => this.#finished(),
      failed: (error, answer) => this.#failed(error, answer),
    };
  }

  #authenticated(user: Jid): void {
    const { limits } = this.#server.config;
    this.#user = user;
    this.stream.setLimits({ stanzaSize: limits.stanzaSize.c2s }, limits.rate.c2s);
  }

  #stanza(stanza: Stanza): void {
    if (stanza.ns === ns.sasl2 && this.#sasl2 && this.#user === null && !this.#sasl?.isUnderWay)
      return this.#sasl2.take(stanza);
    if (this.#sasl2?.isUnderWay) {
      return this.stream.close(new StreamError('policy-violation', 'an authentication is under way'));
    }
    if (stanza.ns === ns.tls && stanza.name === 'starttls') return this.#proceed();
    if (stanza.ns === ns.sasl) return this.#authenticate(stanza);
    if (stanza.ns === ns.client && stanza.name === 'iq' && this.#user === null) return this.#register(stanza);
    if (stanza.ns === ns.streamManagement && stanza.name === 'enable') {
      return this.stream.sendElement(failed('unexpected-request'));
    }
    if (this.#user === null) return this.stream.close(new StreamError('not-authorized', 'authenticate first'));
    if (stanza.ns === ns.streamManagement && stanza.name === 'resume') return this.#resume(stanza, this.#user);
    const { to } = stanza;
    // Before there is a resource, a client talks to the server and to its own account at most (RFC 6120 §7.1).
    const own =
      to === null || (this.#server.domainOf(to.domain) === this.#domain && ['', this.#user.local].includes(to.local));
    if (stanza.ns === ns.client && stanza.name === 'iq' && own) return this.#bind(stanza, this.#user);
    this.stream.close(new StreamError('not-authorized', 'bind a resource first'));
  }

  #proceed(): void {
    if (this.#secured || !this.#server.edge.contextFor(this.#domain)) {
      this.stream.sendText(`<failure xmlns='${ns.tls}'/>`);
      return this.stream.close();
    }
    this.stream.sendText(`<proceed xmlns='${ns.tls}'/>`);
    void this.#startTls();
  }

  async #startTls(): Promise<void> {
    const { edge, config } = this.#server;
    const fallback = this.#domain || config.domains.keys().next().value!;
    try {
      const socket = await this.stream.secure({
        server: {
          secureContext: edge.contextFor(fallback) ?? undefined,
          SNICallback: (name, answer) => {
            const wanted = config.aliases.get(name) ?? name;
            answer(null, edge.contextFor(wanted) ?? edge.contextFor(fallback) ?? undefined);
          },
          ALPNCallback: ({ protocols }) => (protocols.includes('xmpp-client') ? 'xmpp-client' : undefined),
        },
      });
      this.#secured = true;
      this.#bindings = channelBindings(socket, edge.certificateOf(socket.servername || fallback) ?? undefined);
    } catch (error) {
      this.#server.log.info({ remote: this.stream.remote, reason: (error as Error).message }, 'client TLS failed');
    }
  }

  /** Takes an element of SASL, the older way (RFC 6120 §6). */
  #authenticate(stanza: Stanza): void {
    if (this.#user !== null) {
      return this.stream.close(new StreamError('policy-violation', 'the client has authenticated already'));
    }
    if (!this.#sasl) return this.#failed(new SaslError('encryption-required'), saslFailure);
    this.#sasl.take(stanza);
  }

  #failed(thrown: unknown, answer: (error: SaslError) => Element): void {
    const { log } = this.#server;
    if (!(thrown instanceof SaslError)) log.error({ err: thrown }, 'authentication could not be checked');
    const error = thrown instanceof SaslError ? thrown : new SaslError('temporary-auth-failure');
    log.info({ remote: this.stream.remote, domain: this.#domain, condition: error.condition }, 'login failed');
    this.stream.sendElement(answer(error));
    if (++this.#attempts >= mostAttempts) {
      this.stream.close(new StreamError('policy-violation', 'too many attempts to authenticate'));
    }
  }

  /** In-band registration before authentication (XEP-0077 §3.1), where it is permitted. */
  #register(stanza: Stanza): void {
    const { config, hub } = this.#server;
    const allowed = config.clients.registration && (this.#secured || !config.clients.requireTls);
    const query = stanza.child('query', ns.register);
    const registrar = hub.registrarOf(this.#domain);
    if (!allowed || !registrar || !query || !stanza.isRequest) {
      return this.stream.close(new StreamError('not-authorized', 'authenticate first'));
    }
    this.stream.hold();
    void registrar(this.#domain, stanza, query, this.stream.remote)
      .catch(error => stanza.refuse(toldOf(error)))
      .then(answer => {
        this.stream.send(answer);
        this.stream.release();
        this.#endAfter(patience.registration);
      });
  }

  #resume(stanza: Stanza, user: Jid): void {
    const resumed = this.#server.resumption.resume(this.stream, user, stanza.element, answer =>
      this.stream.sendElement(answer),
    );
    if (resumed instanceof ClientSession) this.#finished();
    else this.stream.sendElement(resumed);
  }

  /** RFC 6120 §7.6, §7.7. */
  #bind(stanza: Stanza, user: Jid): void {
    const request = stanza.child('bind', ns.bind);
    if (!request || stanza.type !== 'set') {
      return this.stream.send(stanza.withAddresses(null, null).error('not-authorized', 'bind a resource first'));
    }
    const wanted = request.childText('resource');
    try {
      if (wanted) user.withResource(wanted);
    } catch {
      return this.stream.send(stanza.withAddresses(null, null).error('bad-request', 'that resource cannot be used'));
    }
    this.#finished();
    // The answer is queued before anything else that the new session is sent.
    const session = this.#server.bind(this.stream, user, wanted, this.#lang, ({ jid }) =>
      this.stream.send(
        stanza.withAddresses(null, null).result(el('bind', ns.bind, {}, el('jid', ns.bind, {}, jid.toString()))),
      ),
    );
    this.#server.log.debug({ jid: session.jid.toString(), remote: this.stream.remote }, 'session opened');
  }

  #finished(): void {
    this.#over = true;
    clearTimeout(this.#timer);
    this.done();
  }

  #closed(ending: Ending): void {
    this.#finished();
    this.#server.ended(
      { remote: this.stream.remote, domain: this.#domain },
      ending,
      'connection ended before a session',
    );
  }
}
