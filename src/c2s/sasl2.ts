// Authentication in one round trip: SASL2 with a token (FAST), a resumed session or a bound resource in the same breath (XEP-0388, 0484, 0386).
import { Buffer } from 'node:buffer';
import { createHmac, randomBytes } from 'node:crypto';
import { type Element, el } from '../xmpp/element.ts';
import { StreamError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { readTokenMessage, tokenAnswer, tokenMechanisms } from '../xmpp/sasl/hashed-token.ts';
import type { Offer } from '../xmpp/sasl/mechanisms.ts';
import { decodeBase64, SaslError, type ServerMechanism } from '../xmpp/sasl/sasl.ts';
import type { Bindings } from '../xmpp/sasl/scram.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Stream } from '../xmpp/stream.ts';
import type { ClientServer } from './server.ts';
import { ClientSession } from './session.ts';
import type { ProvedToken } from './tokens.ts';

/** What of a connection's negotiation this needs. */
export interface Connection {
  readonly server: ClientServer;
  readonly stream: Stream;
  readonly domain: string;
  readonly lang: string;
  /** The address the client gave in its stream header, or null. */
  readonly from: Jid | null;
  readonly offer: Offer;
  readonly bindings: Bindings;
  /** The features of an authenticated stream. */
  features(bound: boolean): (Element | null)[];
  /** The client is `user` now. Not bound: it goes on with the negotiation. */
  authenticated(user: Jid): void;
  /** The stream belongs to a session now. */
  finished(): void;
  /** An attempt failed; too many of them close the stream. */
  failed(error: unknown, answer: (error: SaslError) => Element): void;
}

/** A tag that a client puts in front of its resource is cut to this. */
const longestTag = 64;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

export class Sasl2 {
  readonly #connection: Connection;
  #mechanism: ServerMechanism | null = null;
  /** The `<authenticate/>` that is under way. */
  #request: Element | null = null;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Whether an exchange is under way, in which nothing else may come (XEP-0388 §2.4). */
  get isUnderWay(): boolean {
    return this.#request !== null;
  }

  /** The stream feature (XEP-0388 §2.1). */
  feature(): Element {
    const { server, offer, bindings, domain } = this.#connection;
    const mechanism = (space: string) => (name: string) => el('mechanism', space, {}, name);
    const inline = server.hub.bindFeatures(domain).concat(ns.streamManagement);
    return el(
      'authentication',
      ns.sasl2,
      {},
      ...offer.names.map(mechanism(ns.sasl2)),
      el(
        'inline',
        ns.sasl2,
        {},
        el('sm', ns.streamManagement),
        el(
          'bind',
          ns.bind2,
          {},
          el('inline', ns.bind2, {}, ...inline.map(name => el('feature', ns.bind2, { var: name }))),
        ),
        this.#givesTokens ? el('fast', ns.fast, {}, ...tokenMechanisms(bindings).map(mechanism(ns.fast))) : null,
      ),
    );
  }

  get #givesTokens(): boolean {
    return this.#connection.server.config.clients.tokenLifetime > 0;
  }

  /** Takes an element of the exchange. Throws a StreamError where it cannot stand here. */
  take(stanza: Stanza): void {
    const element = stanza.element;
    switch (stanza.name) {
      case 'authenticate': {
        if (this.#request) throw new StreamError('policy-violation', 'an authentication is under way already');
        this.#request = element;
        const initial = element.child('initial-response');
        return this.#run(() => this.#begin(element, initial?.text ?? null));
      }
      case 'response':
        if (!this.#mechanism) break;
        return this.#run(() => this.#step(this.#mechanism!, element.text));
      case 'abort':
        if (!this.#request) break;
        return this.#run(() => Promise.reject(new SaslError('aborted')));
    }
    throw new StreamError('policy-violation', `<${stanza.name}/> is not expected here`);
  }

  /** Runs a step; nothing more is read until it is answered. */
  #run(step: () => Promise<void>): void {
    const { stream } = this.#connection;
    stream.hold();
    void step()
      .catch(error => {
        this.#request = this.#mechanism = null;
        if (error instanceof StreamError) stream.close(error);
        else this.#connection.failed(error, failure);
      })
      .finally(() => stream.release());
  }

  async #begin(request: Element, initial: string | null): Promise<void> {
    const name = request.attrs.mechanism ?? '';
    const fast = request.child('fast', ns.fast);
    if (fast) return this.#token(request, fast, name, initial);
    this.#mechanism = this.#connection.offer.start(name);
    if (!this.#mechanism) throw new SaslError('invalid-mechanism');
    // Without an initial response, an empty challenge asks for it.
    if (initial === null) this.#connection.stream.sendElement(el('challenge', ns.sasl2));
    else await this.#step(this.#mechanism, initial);
  }

  async #step(mechanism: ServerMechanism, text: string): Promise<void> {
    const outcome = await mechanism.step(decodeBase64(text));
    if (outcome.done) return this.#succeed(outcome.user, outcome.data, null);
    this.#connection.stream.sendElement(el('challenge', ns.sasl2, {}, encode(outcome.challenge)));
  }

  /** Authentication by a token, in one step (XEP-0484 §3.4). */
  async #token(request: Element, fast: Element, mechanism: string, initial: string | null): Promise<void> {
    const { server, bindings, domain } = this.#connection;
    const client = clientOf(request);
    if (!this.#givesTokens || !tokenMechanisms(bindings).includes(mechanism)) throw new SaslError('invalid-mechanism');
    if (client === null || initial === null) throw new SaslError('malformed-request');
    const count = fast.attrs.count;
    if (count !== undefined && !/^\d{1,15}$/.test(count)) throw new SaslError('malformed-request');
    const proof = readTokenMessage(mechanism, decodeBase64(initial), bindings);
    const user = Jid.tryParse(`${proof.user}@${domain}`);
    if (!user?.local) throw new SaslError('not-authorized');
    const known = await server.tokens.prove(user, client, mechanism, proof, count === undefined ? null : Number(count));
    const invalidate = fast.attrs.invalidate === 'true' || fast.attrs.invalidate === '1';
    if (invalidate) await server.tokens.revoke(user, known.token);
    const used = invalidate ? { ...known, due: false } : known;
    await this.#succeed(user.local, tokenAnswer(mechanism, known.token, bindings), used);
  }

  /** Does what was asked for besides, and says so (XEP-0388 §2.6.1, XEP-0386 §3.2, XEP-0198 §9). */
  async #succeed(name: string, data: Uint8Array | undefined, used: ProvedToken | null): Promise<void> {
    const { server, stream, domain, from } = this.#connection;
    const request = this.#request!;
    const user = Jid.of(name, domain, '');
    if (from?.local && !(from.local === name && this.#connection.server.domainOf(from.domain) === domain)) {
      throw new SaslError('invalid-authzid', 'the stream was opened for somebody else');
    }
    if (await server.hub.emit('login', user)) throw new SaslError('account-disabled');
    const token = await this.#nextToken(user, request, used);
    this.#request = this.#mechanism = null;
    const success = (who: Jid, ...children: (Element | null)[]) => {
      const additional = data?.length ? el('additional-data', ns.sasl2, {}, encode(data)) : null;
      const identifier = el('authorization-identifier', ns.sasl2, {}, who.toString());
      stream.sendElement(el('success', ns.sasl2, {}, additional, identifier, ...children, token));
    };
    const resume = request.child('resume', ns.streamManagement);
    let failed: Element | null = null;
    this.#connection.authenticated(user);
    if (resume) {
      const resumed = server.resumption.resume(stream, user, resume, (answer, { jid }) => success(jid, answer));
      if (resumed instanceof ClientSession) return this.#connection.finished();
      failed = resumed;
    }
    const bind = request.child('bind', ns.bind2);
    if (bind) {
      this.#bind(user, bind, clientOf(request), (session, bound) => success(session.jid, failed, bound));
      return;
    }
    success(user, failed);
    stream.sendFeatures(this.#connection.features(false));
  }

  #bind(
    user: Jid,
    bind: Element,
    client: string | null,
    announce: (session: ClientSession, bound: Element) => void,
  ): void {
    const { server, stream, lang, domain } = this.#connection;
    this.#connection.finished();
    server.bind(
      stream,
      user,
      resourceOf(user, bind.childText('tag'), client, server.edge.scramSecret),
      lang,
      session => {
        if (client !== null) server.replace(session, client);
        const enable = bind.child('enable', ns.streamManagement);
        const answers = server.hub.bound(domain, session, bind);
        const managed = enable ? server.resumption.enable(session, enable) : null;
        announce(session, el('bound', ns.bind2, {}, ...answers, managed));
        stream.sendFeatures(this.#connection.features(true));
      },
    );
  }

  /** The token that goes with the success: one that is asked for, or one in place of a token that grows old. */
  async #nextToken(user: Jid, request: Element, used: ProvedToken | null): Promise<Element | null> {
    const { server, bindings } = this.#connection;
    const wanted = request.child('request-token', ns.fast)?.attrs.mechanism;
    const client = clientOf(request);
    const mechanism = wanted ?? (used?.due ? used.mechanism : undefined);
    if (!this.#givesTokens || client === null || mechanism === undefined) return null;
    if (!tokenMechanisms(bindings).includes(mechanism)) return null;
    return server.tokens.issue(user, client, mechanism);
  }
}

/** What identifies the client's installation: a UUID, or null (XEP-0388 §2.3). */
function clientOf(request: Element): string | null {
  const id = request.child('user-agent')?.attrs.id ?? '';
  return uuid.test(id) ? id.toLowerCase() : null;
}

/** The resource: the client's tag, and what is random or, for a client that names itself, always the same (XEP-0386 §3.2.1). */
function resourceOf(user: Jid, tag: string, client: string | null, secret: Uint8Array): string {
  const cut = tag.trim().slice(0, longestTag).toWellFormed();
  const own =
    client === null
      ? null
      : createHmac('sha256', secret).update(`${user} ${client} ${cut}`).digest('base64url').slice(0, 14);
  const prefix = cut !== '' && Jid.tryParse(`${user}/${cut}`) ? `${cut}/` : '';
  return own === null && prefix === '' ? '' : prefix + (own ?? randomBytes(9).toString('base64url'));
}

function failure(error: SaslError): Element {
  const text = error.text ? el('text', ns.sasl2, {}, error.text) : null;
  return el('failure', ns.sasl2, {}, el(error.condition, ns.sasl), text);
}

function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}
