// An XMPP client for tests and the demo: logs in over real sockets, sends XML, and waits for what it expects.
import { EventEmitter } from 'node:events';
import { createConnection } from 'node:net';
import { type Element, el } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { channelBindings } from '../../src/xmpp/sasl/channel-binding.ts';
import { plainMessage } from '../../src/xmpp/sasl/plain.ts';
import { ScramClient, type ScramHash } from '../../src/xmpp/sasl/scram.ts';
import type { StreamHeader } from '../../src/xmpp/scanner.ts';
import { type Ending, Stream } from '../../src/xmpp/stream.ts';

export interface ClientOptions {
  jid: string;
  password: string;
  port: number;
  host?: string;
  /** `starttls` where nothing is said; `plain` stays in the clear. */
  security?: 'starttls' | 'direct' | 'plain';
  /** The mechanism to use; the best that is offered where none is named. */
  mechanism?: string;
  /** PEM of an authority: the server's certificate is checked by it. */
  ca?: string;
  resource?: string;
  /** Sends no initial presence. */
  quiet?: boolean;
  /** The address it claims in its stream headers. */
  from?: string;
  /** Stops once the stream is open, before TLS and authentication. */
  bare?: boolean;
  /** What to bind after authentication; nothing to stop there. */
  bind?: boolean;
}

const patience = 5_000;

/** What was received and not yet asked for. */
export class Client {
  readonly options: ClientOptions;
  stream!: Stream;
  /** The full JID, once bound. */
  jid = '';
  features: Element = el('features', ns.streams);
  header: StreamHeader | null = null;
  /** What the server said of how it ended. */
  ending: Ending | null = null;
  readonly inbox: Element[] = [];
  readonly #events = new EventEmitter().setMaxListeners(0);
  #headers = 0;

  constructor(options: ClientOptions) {
    this.options = options;
  }

  /** Connects and goes as far as the options say. */
  async open(): Promise<this> {
    const { host = '127.0.0.1', port, security = 'starttls', jid } = this.options;
    const domain = jid.slice(jid.indexOf('@') + 1);
    const socket = createConnection({ host, port });
    this.stream = new Stream(
      socket,
      { contentNs: ns.client, limits: { stanzaSize: 1024 * 1024 }, rate: 0 },
      {
        opened: header => {
          this.header = header;
          this.#headers++;
          this.#events.emit('change');
        },
        stanza: stanza => {
          this.inbox.push(stanza.element);
          this.#events.emit('change');
        },
        closed: ending => {
          this.ending = ending;
          this.#events.emit('change');
        },
      },
    );
    if (security === 'direct') await this.#secure(domain);
    await this.#restart(domain);
    if (this.options.bare) return this;
    if (security === 'starttls') {
      this.stream.sendElement(el('starttls', ns.tls));
      await this.receives(e => e.is('proceed', ns.tls));
      await this.#secure(domain);
      await this.#restart(domain);
    }
    await this.authenticate();
    if (this.options.bind === false) return this;
    await this.bind();
    if (!this.options.quiet) {
      await this.sends('<presence/>');
      await this.receives(e => e.name === 'presence' && e.attrs.from === this.jid);
    }
    return this;
  }

  async #secure(domain: string): Promise<void> {
    const { ca } = this.options;
    await this.stream.secure({
      client: { servername: domain, ca, rejectUnauthorized: ca !== undefined, ALPNProtocols: ['xmpp-client'] },
    });
  }

  async #restart(domain: string): Promise<void> {
    const before = this.#headers;
    this.stream.open({ to: domain, from: this.options.from, version: '1.0', lang: 'en' });
    await this.waits(() => this.#headers > before, 'a stream header');
    this.features = await this.receives(e => e.is('features', ns.streams));
  }

  /** SASL with the mechanism of the options, or the best that is offered. Rejects with the failure's condition. */
  async authenticate(): Promise<void> {
    const { jid, password } = this.options;
    const [user, domain] = jid.split('@');
    const offered = this.mechanisms;
    const name = this.options.mechanism ?? offered[0];
    const encode = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
    let scram: ScramClient | null = null;
    let first: Uint8Array;
    if (name === 'PLAIN') first = plainMessage(user, password);
    else {
      const hash: ScramHash = name.includes('SHA-256') ? 'SHA-256' : 'SHA-1';
      const bindings = this.stream.tls ? channelBindings(this.stream.tls) : new Map<string, Uint8Array>();
      const [best] = [...bindings].filter(([type]) => this.bindingTypes.includes(type));
      const binding = name.endsWith('-PLUS') ? { type: best[0], data: best[1] } : null;
      scram = new ScramClient({ hash, user, password, binding });
      first = scram.first();
    }
    this.stream.sendElement(el('auth', ns.sasl, { mechanism: name }, encode(first)));
    for (;;) {
      const answer = await this.receives(e => e.ns === ns.sasl);
      const data = Buffer.from(answer.text, 'base64');
      if (answer.name === 'challenge' && scram) {
        this.stream.sendElement(el('response', ns.sasl, {}, encode(await scram.final(data))));
      } else if (answer.name === 'success') {
        scram?.verify(data);
        this.stream.restart();
        return this.#restart(domain);
      } else throw new Error(answer.all()[0]?.name ?? answer.name);
    }
  }

  get mechanisms(): string[] {
    return (this.features.child('mechanisms', ns.sasl)?.all('mechanism') ?? []).map(one => one.text);
  }

  get bindingTypes(): string[] {
    const offered = this.features.child('sasl-channel-binding', ns.channelBinding);
    return (offered?.all('channel-binding') ?? []).map(one => one.attrs.type);
  }

  async bind(resource = this.options.resource): Promise<void> {
    const answer = await this.asks(
      'set',
      el('bind', ns.bind, {}, resource ? el('resource', ns.bind, {}, resource) : null),
    );
    this.jid = answer.child('bind', ns.bind)?.childText('jid') ?? '';
    if (!this.jid) throw new Error(`not bound: ${answer}`);
  }

  /** Sends XML as it is; resolves when it was handed to the operating system. */
  async sends(xml: string): Promise<void> {
    this.stream.sendText(xml);
    this.stream.flush();
  }

  /** Sends a request and resolves with its answer, result or error. */
  async asks(type: 'get' | 'set', payload: Element | string, to?: string): Promise<Element> {
    const id = `ask-${Math.random().toString(36).slice(2)}`;
    const body = typeof payload === 'string' ? payload : payload.toString(ns.client);
    await this.sends(`<iq type='${type}' id='${id}'${to ? ` to='${to}'` : ''}>${body}</iq>`);
    return this.receives(e => e.name === 'iq' && e.attrs.id === id);
  }

  /** Resolves with the first element for which `test` holds, taking it out of the inbox. */
  async receives(test: (element: Element) => boolean, deadline = patience): Promise<Element> {
    let found: Element | undefined;
    await this.waits(
      () => {
        const at = this.inbox.findIndex(test);
        if (at >= 0) [found] = this.inbox.splice(at, 1);
        return at >= 0;
      },
      `an element for which ${test}`,
      deadline,
    );
    return found!;
  }

  /** The message that says this. */
  hears(body: string, deadline = patience): Promise<Element> {
    return this.receives(e => e.name === 'message' && e.childText('body') === body, deadline);
  }

  /** Resolves when nothing for which `test` holds has come, though an answer that was asked for later has. */
  async hasNot(test: (element: Element) => boolean): Promise<void> {
    await this.asks('get', el('ping', ns.ping), this.options.jid.slice(this.options.jid.indexOf('@') + 1));
    const wrong = this.inbox.find(test);
    if (wrong) throw new Error(`${this.jid} was not to get ${wrong}`);
  }

  /** Resolves when the stream has ended. */
  async ends(deadline = patience): Promise<Ending> {
    await this.waits(() => this.ending !== null, 'the end of the stream', deadline);
    return this.ending!;
  }

  /** Resolves when `condition` holds; it is looked at with each thing that comes. Rejects after the deadline. */
  async waits(condition: () => boolean, what: string, deadline = patience): Promise<void> {
    const end = Date.now() + deadline;
    while (!condition()) {
      const left = end - Date.now();
      const over = this.ending !== null && !condition();
      if (left <= 0 || over) {
        const seen = this.inbox.map(String).join('\n  ');
        const ended = this.ending ? `; the stream ended: ${this.ending.reason}` : '';
        throw new Error(`${this.jid || this.options.jid} waited in vain for ${what}${ended}; it has\n  ${seen}`);
      }
      await new Promise<void>(resolve => {
        const timer = setTimeout(done, left);
        const events = this.#events;
        function done(): void {
          clearTimeout(timer);
          events.off('change', done);
          resolve();
        }
        events.once('change', done);
      });
    }
  }

  /** Closes the stream properly. */
  async close(): Promise<void> {
    this.stream.close();
    await this.ends();
  }

  /** Loses the connection. */
  drop(): void {
    this.stream.destroy('dropped by the test');
  }
}

/** A client that is logged in, bound and available, or as far as the options say. */
export async function connectClient(options: ClientOptions): Promise<Client> {
  const client = new Client(options);
  try {
    return await client.open();
  } catch (error) {
    client.drop();
    throw error;
  }
}
