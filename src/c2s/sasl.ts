// Authentication as RFC 6120 §6 has it: one exchange at a time, in elements of their own, with a new stream behind it.
import { type Element, el } from '../xmpp/element.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { decodeBase64, SaslError, type ServerMechanism } from '../xmpp/sasl/sasl.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Connection } from './sasl2.ts';

export class Sasl {
  readonly #connection: Connection;
  #mechanism: ServerMechanism | null = null;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get isUnderWay(): boolean {
    return this.#mechanism !== null;
  }

  /** Takes an element of the exchange. */
  take(stanza: Stanza): void {
    const { name, element } = stanza;
    if (name === 'abort') return this.#fail(new SaslError('aborted'));
    if (name === 'auth') {
      if (this.#mechanism) return this.#fail(new SaslError('malformed-request'));
      this.#mechanism = this.#connection.offer.start(element.attrs.mechanism ?? '');
      if (!this.#mechanism) return this.#fail(new SaslError('invalid-mechanism'));
    } else if (name !== 'response' || !this.#mechanism) {
      return this.#fail(new SaslError('malformed-request'));
    }
    void this.#step(this.#mechanism, element.text, name === 'auth');
  }

  /** One step of the exchange; nothing more is read until it is answered. */
  async #step(mechanism: ServerMechanism, text: string, initial: boolean): Promise<void> {
    const { stream, server, domain } = this.#connection;
    stream.hold();
    try {
      // Without an initial response, an empty challenge asks for it (RFC 6120 §6.4.2).
      if (initial && text === '') return stream.sendElement(el('challenge', ns.sasl));
      const outcome = await mechanism.step(decodeBase64(text));
      if (!outcome.done) return stream.sendElement(el('challenge', ns.sasl, {}, base64(outcome.challenge)));
      const user = Jid.of(outcome.user, domain, '');
      if (await server.hub.emit('login', user)) throw new SaslError('account-disabled');
      this.#connection.authenticated(user);
      stream.sendElement(el('success', ns.sasl, {}, outcome.data?.length ? base64(outcome.data) : null));
      stream.restart();
    } catch (error) {
      this.#fail(error);
    } finally {
      stream.release();
    }
  }

  #fail(error: unknown): void {
    this.#mechanism = null;
    this.#connection.failed(error, saslFailure);
  }
}

/** `<failure/>` (RFC 6120 §6.5). */
export function saslFailure(error: SaslError): Element {
  const text = error.text ? el('text', ns.sasl, { 'xml:lang': 'en' }, error.text) : null;
  return el('failure', ns.sasl, {}, el(error.condition, ns.sasl), text);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}
