// All server links: the last route, the accepting side, and what an operator sees and does with them.
import type { Socket } from 'node:net';
import type { Config } from '../hub/config.ts';
import type { Kernel } from '../hub/hub.ts';
import type { Log } from '../hub/log.ts';
import { hubOrigin, type Origin, type Route, type Router } from '../hub/router.ts';
import { StanzaError, StreamError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Ending } from '../xmpp/stream.ts';
import { dialbackElement } from './dialback.ts';
import { Dialer } from './dialer.ts';
import type { FederationEdge } from './edge.ts';
import { InboundLink, notServed } from './inbound.ts';
import { FederationMetrics } from './metrics.ts';
import { OutboundLink } from './outbound.ts';
import { Policy } from './policy.ts';
import { LinkError, steps, verifySteps } from './steps.ts';
import { Story } from './story.ts';

const idleSweep = 30_000;
/** How many remote domains are remembered after their last link has closed. */
const mostRemembered = 1_000;

/** What remains of a link that is no more. */
interface Past {
  direction: 'in' | 'out';
  local: string;
  remote: string;
  lines: string[];
}

export class Links implements Route {
  readonly name = 'links';
  readonly #outbound = new Map<string, OutboundLink>();
  readonly #inbound = new Set<InboundLink>();
  readonly #past = new Map<string, Past>();
  #hub!: Kernel;
  #dialer!: Dialer;
  #metrics!: FederationMetrics;
  #sweep: NodeJS.Timeout | undefined;
  log!: Log;
  policy!: Policy;
  edge!: FederationEdge;

  /** The kernel holds the router that holds this route, so it comes second. */
  attach(hub: Kernel, edge: FederationEdge): void {
    this.#hub = hub;
    this.edge = edge;
    this.log = hub.log.child({ room: 'federation' });
    this.policy = new Policy(() => hub.config.federation, hub.store);
    this.#dialer = new Dialer(() => hub.config, this.policy, edge);
    this.#metrics = new FederationMetrics(hub.metrics, () => ({ outbound: this.outbound, inbound: this.inbound }));
    this.#sweep = setInterval(() => this.#closeIdle(), idleSweep);
    this.#sweep.unref();
  }

  get config(): Config {
    return this.#hub.config;
  }

  get router(): Router {
    return this.#hub.router;
  }

  get outbound(): OutboundLink[] {
    return [...this.#outbound.values()];
  }

  get inbound(): InboundLink[] {
    return [...this.#inbound];
  }

  describe(): string[] {
    const { policy, exceptions } = this.config.federation;
    return [
      `every other domain (federation.policy ${policy}${exceptions.length ? `, but ${exceptions.join(' ')}` : ''})`,
    ];
  }

  /** The last route: whatever nobody else owns is somebody else's. */
  owns(): boolean {
    return true;
  }

  /** Whether a domain is ours to speak for on server links: hosted, a component's or a bridge's. */
  serves(domain: string): boolean {
    if (this.#hub.hosts(domain) || this.config.aliases.has(domain)) return true;
    for (const route of this.router.routes) if (route !== this && route.owns(Jid.of('', domain, ''))) return true;
    return false;
  }

  deliver(stanza: Stanza, origin: Origin): void {
    const remote = stanza.to!.domain;
    if (origin.kind === 'link') throw notServed(remote);
    const refusal = this.policy.refusal(remote);
    if (refusal) throw new StanzaError('not-allowed', refusal);
    this.link(stanza.from?.domain ?? '', remote).send(stanza);
    this.#metrics.out(remote, stanza);
  }

  /** The outgoing link of a pair; made (but not opened) where there is none. */
  link(local: string, remote: string): OutboundLink {
    const key = `${local} ${remote}`;
    const known = this.#outbound.get(key);
    if (known) return known;
    const link = new OutboundLink(local, remote, () => this.config.federation, this.#dialer, {
      bounce: (stanza, error) => this.#bounce(remote, stanza, error),
      changed: changed => this.#changed(changed),
      element: (from, stanza) => this.#strayElement(from, stanza),
    });
    this.#outbound.set(key, link);
    return link;
  }

  /** Takes a connection of another server; `direct` where TLS comes first (XEP-0368). */
  accept(socket: Socket, direct: boolean): void {
    this.#inbound.add(new InboundLink(this, socket, direct));
  }

  /** A stanza of a proved pair came in. */
  received(stanza: Stanza, origin: Origin): void | Promise<void> {
    this.#metrics.in(origin.name, stanza);
    return this.router.route(stanza, origin);
  }

  /** A domain has proved itself on an incoming stream. */
  opened(link: InboundLink, domain: string): void {
    this.log.info({ remote: domain, local: link.local, security: link.security, proof: link.proof }, 'link in open');
  }

  ended(link: InboundLink, ending: Ending): void {
    this.#inbound.delete(link);
    this.#remember({ direction: 'in', local: link.local, remote: link.remote, lines: link.story.lines });
    this.log.info({ remote: link.remote, local: link.local, reason: ending.reason }, 'link in closed');
  }

  /**
   * Asks the authoritative server of `remote` whether it sent us (`local`) this key on the stream `id`
   * (XEP-0220 §2.2). Rejects with a LinkError when it cannot be asked.
   */
  async verify(remote: string, local: string, id: string, key: string, story: Story): Promise<boolean> {
    const making = await this.#dialer.dial({ local, remote, steps: verifySteps, story });
    try {
      making.stream.sendText(dialbackElement('verify', local, remote, { id, key }));
      for (;;) {
        const answer = await making.talk.next('the answer to db:verify');
        if (answer.ns !== ns.dialback || answer.name !== 'verify' || answer.id !== id) continue;
        if (answer.type === 'valid' || answer.type === 'invalid') return answer.type === 'valid';
        throw new LinkError('remote-server-timeout', `${remote} could not verify the key`);
      }
    } finally {
      making.stream.close();
    }
  }

  /** Allows or denies a domain at run time; what is open with a denied one is closed. */
  async setAllowed(domain: string, allowed: boolean): Promise<void> {
    await this.policy.set(domain, allowed);
    this.applyPolicy();
  }

  /** Closes links that the policy does not permit (any more). */
  applyPolicy(): void {
    for (const link of this.outbound) {
      const refusal = this.policy.refusal(link.remote);
      if (refusal) link.close(new StanzaError('not-allowed', refusal));
    }
    for (const link of this.inbound) {
      for (const domain of new Set([link.remote, ...[...link.proved.values()].map(origin => origin.name)])) {
        const refusal = domain && this.policy.refusal(domain);
        if (refusal) link.deny(domain, new StreamError('policy-violation', refusal));
      }
    }
  }

  /** Closes all links with a domain; they are made anew when something is to be sent. Returns how many. */
  close(domain: string): number {
    const links = [
      ...this.outbound.filter(link => link.remote === domain),
      ...this.inbound.filter(link => link.remote === domain),
    ];
    for (const link of links) {
      if (link instanceof OutboundLink) link.close(null);
      else link.stream.close();
    }
    return links.length;
  }

  /** A line for each link. */
  list(): Record<string, unknown>[] {
    return [
      ...this.outbound.map(link => ({
        domain: link.remote,
        direction: 'out',
        local: link.local,
        state: link.state,
        security: link.security,
        proof: link.proof,
        stanzas: link.stanzasOut,
        queued: link.queued,
        problem: link.lastError,
      })),
      ...this.inbound.map(link => ({
        domain: link.remote,
        direction: 'in',
        local: link.local,
        state: link.proved.size > 0 ? 'open' : 'connecting',
        security: link.security,
        proof: link.proof,
        stanzas: link.stanzasIn,
        queued: 0,
        problem: '',
      })),
    ].sort((a, b) => a.domain.localeCompare(b.domain));
  }

  /** All that is known of a remote domain: policy, links, and the stories of their making. */
  show(domain: string): Record<string, unknown> {
    const stories: Record<string, string[]> = {};
    for (const link of this.outbound) if (link.remote === domain) stories[`out from ${link.local}`] = link.story.lines;
    let incoming = 0;
    for (const link of this.inbound)
      if (link.remote === domain) stories[`in ${++incoming} to ${link.local}`] = link.story.lines;
    for (const past of this.#past.values()) {
      if (past.remote === domain) stories[`${past.direction} (closed) ${past.local}`] ??= past.lines;
    }
    const override = this.policy.overrides.find(one => one.domain === domain);
    return {
      domain,
      policy: this.policy.refusal(domain) ?? 'allowed',
      changed: override
        ? `${override.allowed ? 'allowed' : 'denied'} at run time ${new Date(override.since).toISOString()}`
        : '',
      security: this.policy.security(domain),
      address: this.policy.address(domain),
      links: this.list().filter(link => link.domain === domain),
      stories,
    };
  }

  /** Goes through the making of a link to a domain, sends no stanza, and tells the story. */
  async probe(local: string, remote: string): Promise<{ ok: boolean; story: string[] }> {
    const story = new Story();
    const refusal = this.policy.refusal(remote);
    if (refusal) return { ok: false, story: [refusal] };
    try {
      const making = await this.#dialer.dial({ local, remote, steps, story });
      making.stream.close();
      return { ok: true, story: story.lines };
    } catch {
      return { ok: false, story: story.lines };
    }
  }

  /** Closes all links properly; what still waits for one goes back to its sender. */
  async stop(): Promise<void> {
    clearInterval(this.#sweep);
    for (const link of this.outbound) link.close(new StanzaError('remote-server-timeout', 'the hub shuts down'));
    for (const link of this.inbound) link.stream.close(new StreamError('system-shutdown'));
  }

  #bounce(remote: string, stanza: Stanza, error: StanzaError): void {
    this.#metrics.bounced(remote, error.condition);
    if (stanza.isError || stanza.type === 'result' || !stanza.from) return;
    if (stanza.name === 'presence' && stanza.type === 'unavailable') return;
    void this.router.route(stanza.refuse(error), hubOrigin);
  }

  #changed(link: OutboundLink): void {
    const about = { remote: link.remote, local: link.local };
    if (link.state === 'open') {
      this.log.info({ ...about, security: link.security, proof: link.proof, ms: link.timeToConnect }, 'link out open');
      this.#metrics.connected(link.remote, link.timeToConnect);
    } else if (link.state === 'waiting' && link.lastError) {
      this.log.warn(
        { ...about, queued: link.queued, reason: link.lastError, story: link.story.lines },
        'link out failed',
      );
    } else if (link.state === 'closed') {
      this.log.info({ ...about, reason: link.story.last }, 'link out closed');
      if (this.#outbound.get(`${link.local} ${link.remote}`) === link)
        this.#outbound.delete(`${link.local} ${link.remote}`);
      this.#remember({ direction: 'out', ...about, lines: link.story.lines });
    }
  }

  #strayElement(link: OutboundLink, stanza: Stanza): void {
    // Nothing is expected on an outgoing stream once it is open: stanzas come on the peer's own (RFC 6120 §4.1).
    link.story.add(`unexpected <${stanza.name}/> on an outgoing stream`);
    link.stream?.close(new StreamError('not-authorized', 'stanzas do not come this way on this stream'));
  }

  #remember(past: Past): void {
    const key = `${past.direction} ${past.local} ${past.remote}`;
    this.#past.delete(key);
    this.#past.set(key, past);
    if (this.#past.size > mostRemembered) this.#past.delete(this.#past.keys().next().value!);
  }

  #closeIdle(): void {
    const limit = Date.now() - this.config.federation.idleTimeout;
    for (const link of this.outbound) {
      if (link.lastUsed >= limit || link.queued > 0 || link.state === 'connecting') continue;
      link.close(null);
    }
    for (const link of this.inbound) if (link.lastUsed < limit) link.stream.close();
  }
}
