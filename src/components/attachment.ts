// The bridges attached to another XMPP server: one component link for each of their domains (XEP-0114, the connecting side).
import { createHash } from 'node:crypto';
import type { Endpoint } from '../hub/config.ts';
import { connectRaced } from '../hub/connect.ts';
import type { Resolver } from '../hub/dns.ts';
import type { Kernel } from '../hub/hub.ts';
import { formatEndpoint } from '../hub/listener.ts';
import type { Log } from '../hub/log.ts';
import { hubOrigin, type Origin, type Route } from '../hub/router.ts';
import { StanzaError, StreamError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import { type Ending, Stream } from '../xmpp/stream.ts';

const connectTimeout = 10_000;
const handshakeTimeout = 10_000;
const firstBackoff = 500;
const lastBackoff = 30_000;
/** How many stanzas wait for a link that is down, and for how long (ms). */
const mostWaiting = 1_000;
const longestWait = 60_000;

export interface AttachmentParts {
  address: Endpoint;
  /** Each bridge domain with its secret. */
  secrets: ReadonlyMap<string, string>;
  resolver: Resolver;
}

/** The route for everything that bridges send, when users live on another server. */
export class Attachment implements Route {
  readonly name = 'attachment';
  readonly #links = new Map<string, AttachedLink>();
  readonly #address: Endpoint;

  /** Connects nothing yet: `start` does. */
  constructor({ address, secrets, resolver }: AttachmentParts, hub: () => Kernel) {
    this.#address = address;
    for (const [domain, secret] of secrets) {
      this.#links.set(domain, new AttachedLink(domain, secret, address, resolver, hub));
    }
  }

  start(): void {
    for (const link of this.#links.values()) link.start();
  }

  stop(): void {
    for (const link of this.#links.values()) link.stop();
  }

  /** A line for each link, for `isthmus status`. */
  list(): { domain: string; state: string; problem: string }[] {
    return [...this.#links.values()].map(({ domain, state, problem }) => ({ domain, state, problem }));
  }

  describe(): string[] {
    return [`everything bridges send, by ${[...this.#links.keys()].join(' ')} at ${formatEndpoint(this.#address)}`];
  }

  owns(): boolean {
    return true;
  }

  deliver(stanza: Stanza): void {
    const domain = stanza.from?.domain ?? '';
    const link = this.#links.get(domain);
    if (!link) throw new StanzaError('remote-server-not-found', `${domain} has no secret under attach.secrets`);
    link.send(stanza);
  }
}

class AttachedLink {
  readonly domain: string;
  state: 'connecting' | 'open' | 'waiting' | 'stopped' = 'waiting';
  problem = '';
  readonly #secret: string;
  readonly #address: Endpoint;
  readonly #resolver: Resolver;
  readonly #hub: () => Kernel;
  readonly #origin: Origin;
  #stream: Stream | null = null;
  #queue: { stanza: Stanza; since: number }[] = [];
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #expiry: NodeJS.Timeout | undefined;

  constructor(domain: string, secret: string, address: Endpoint, resolver: Resolver, hub: () => Kernel) {
    this.domain = domain;
    this.#secret = secret;
    this.#address = address;
    this.#resolver = resolver;
    this.#hub = hub;
    this.#origin = { kind: 'component', name: domain };
  }

  get #log(): Log {
    return this.#hub().log;
  }

  /** Sends, or keeps until the link is there. Throws a StanzaError where too much waits already. */
  send(stanza: Stanza): void {
    if (this.#stream && this.state === 'open') return this.#stream.send(stanza);
    if (this.#queue.length >= mostWaiting) {
      throw new StanzaError('resource-constraint', `${this.domain} is not connected to its server: ${this.problem}`);
    }
    this.#queue.push({ stanza: stanza.detach(), since: Date.now() });
    this.#expiry ??= setTimeout(() => this.#expire(), longestWait);
  }

  start(): void {
    void this.#connect();
  }

  stop(): void {
    this.state = 'stopped';
    clearTimeout(this.#retry);
    clearTimeout(this.#expiry);
    this.#stream?.close();
  }

  async #connect(): Promise<void> {
    this.state = 'connecting';
    try {
      const addresses = await this.#resolver.addresses(this.#address.host);
      const socket = await connectRaced(addresses, this.#address.port, { timeout: connectTimeout });
      if (this.#stopped) return void socket.destroy();
      this.#shakeHands(socket);
    } catch (error) {
      this.#lost((error as Error).message);
    }
  }

  /** XEP-0114 §3: the digest of the stream's id and the secret proves us. */
  #shakeHands(socket: ConstructorParameters<typeof Stream>[0]): void {
    const { limits } = this.#hub().config;
    const stream = new Stream(
      socket,
      { contentNs: ns.component, limits: { stanzaSize: limits.stanzaSize.s2s }, rate: 0, backlog: 64 * 1024 * 1024 },
      {
        opened: header => {
          const digest = createHash('sha1')
            .update((header.attrs.id ?? '') + this.#secret)
            .digest('hex');
          stream.sendText(`<handshake>${digest}</handshake>`);
        },
        stanza: stanza => {
          if (stanza.name !== 'handshake') return stream.close(new StreamError('not-authorized'));
          clearTimeout(timer);
          this.#opened(stream);
        },
        closed: ending => {
          clearTimeout(timer);
          this.#lost(explain(ending));
        },
      },
    );
    this.#stream = stream;
    const timer = setTimeout(() => stream.destroy('the server did not answer the handshake'), handshakeTimeout);
    stream.open({ to: this.domain });
  }

  #opened(stream: Stream): void {
    this.state = 'open';
    this.problem = '';
    this.#failures = 0;
    this.#log.info({ domain: this.domain, server: formatEndpoint(this.#address) }, 'attached');
    stream.handler = {
      opened: () => stream.close(new StreamError('not-well-formed')),
      stanza: stanza => this.#received(stream, stanza),
      closed: ending => this.#lost(explain(ending)),
    };
    clearTimeout(this.#expiry);
    this.#expiry = undefined;
    for (const { stanza } of this.#queue.splice(0)) stream.send(stanza);
  }

  #received(stream: Stream, stanza: Stanza): void {
    const { from, to } = stanza;
    if (!from || to?.domain !== this.domain) {
      const answered = !stanza.isError && stanza.type !== 'result';
      if (stanza.malformed === 'to' && from && answered) stream.send(stanza.error('jid-malformed'));
      return;
    }
    const taken = this.#hub().router.route(stanza, this.#origin);
    if (taken) stream.pace(taken);
  }

  get #stopped(): boolean {
    return this.state === 'stopped';
  }

  #lost(reason: string): void {
    this.#stream = null;
    if (this.#stopped) return;
    const delay = Math.min(lastBackoff, firstBackoff * 2 ** this.#failures++) * (0.75 + Math.random() / 2);
    this.state = 'waiting';
    this.problem = reason;
    const retryIn = `${Math.round(delay / 1000)} s`;
    this.#log.warn({ domain: this.domain, server: formatEndpoint(this.#address), reason, retryIn }, 'not attached');
    this.#retry = setTimeout(() => void this.#connect(), delay);
  }

  /** Returns what has waited too long. */
  #expire(): void {
    this.#expiry = undefined;
    const limit = Date.now() - longestWait;
    const why = `${this.domain} is not connected to its server: ${this.problem}`;
    while (this.#queue.length > 0 && this.#queue[0].since <= limit) {
      const { stanza } = this.#queue.shift()!;
      if (stanza.isError || stanza.type === 'result') continue;
      void this.#hub().router.route(stanza.refuse(new StanzaError('remote-server-timeout', why, 'wait')), hubOrigin);
    }
    if (this.#queue.length > 0) {
      this.#expiry = setTimeout(() => this.#expire(), Math.max(50, this.#queue[0].since - limit));
    }
  }
}

function explain({ error, reason }: Ending): string {
  if (error?.condition === 'not-authorized') return 'the server refused the secret; compare it with attach.secrets';
  if (error?.condition === 'host-unknown') return 'the server knows no such component; add it there';
  if (error?.condition === 'conflict') return 'the component is connected there already';
  return reason;
}
