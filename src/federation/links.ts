// All server links: the last route, the accepting side, and what an operator sees and does with them.
import type { Socket } from 'node:net';
import type { Config } from '../hub/config.ts';
import type { Kernel } from '../hub/hub.ts';
import type { Log } from '../hub/log.ts';
import { hubOrigin, type Origin, type Route, type Router } from '../hub/router.ts';
import type { Acknowledgements } from '../xmpp/acknowledgements.ts';
import { StanzaError, StreamError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Ending } from '../xmpp/stream.ts';
import { dialbackElement } from './dialback.ts';
import { Dialer } from './dialer.ts';
import type { FederationEdge } from './edge.ts';
import { InboundLink, notServed, resumableFor } from './inbound.ts';
import { FederationMetrics } from './metrics.ts';
import { OutboundLink } from './outbound.ts';
import { Policy, type Throttle } from './policy.ts';
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
  /** Stream management of incoming streams that were lost, by its id. */
  readonly #resumable = new Map<string, { remote: string; acks: Acknowledgements; timer: NodeJS.Timeout }>();
  #hub!: Kernel;
  #dialer!: Dialer;
  #metrics!: FederationMetrics;
  #stopped = false;
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
    hub.on('reported', (_user, reported, reason) => {
      if (!hub.hosts(reported.domain)) this.#metrics.reported(reported.domain, reason);
    });
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
    if (this.#stopped) throw new StanzaError('remote-server-timeout', 'the hub shuts down', 'wait');
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
      awaitsCarrier: () => this.inbound.some(one => one.willCarry(local, remote)),
      received: (from, stanza) => this.#receivedOut(from, stanza),
    });
    this.#outbound.set(key, link);
    return link;
  }

  /** Takes a connection of another server; `direct` where TLS comes first (XEP-0368). */
  accept(socket: Socket, direct: boolean): void {
    this.#inbound.add(new InboundLink(this, socket, direct));
  }

  /** A stanza of a proved pair came in; `local` is the domain of ours that it was sent to. */
  received(stanza: Stanza, origin: Origin, local: string): void | Promise<void> {
    this.#metrics.in(origin.name, stanza);
    if (stanza.to !== null) return this.router.route(stanza, origin);
    // Its `to` is no address; what answers something is not answered (RFC 6120 §8.1.1.1, §8.3.1).
    if (stanza.isError || stanza.type === 'result') return;
    return this.router.route(stanza.error('jid-malformed').withFrom(Jid.of('', local, '')), hubOrigin);
  }

  /** A domain has proved itself to one of ours on an incoming stream. */
  opened(link: InboundLink, domain: string, local: string): void {
    const { security, proof, bidi } = link;
    this.log.info({ remote: domain, local, security, proof, bidi }, 'link in open');
  }

  /** An incoming stream is ready to take our stanzas for this pair as well (XEP-0288). */
  offer(link: InboundLink, local: string, remote: string): void {
    if (!this.serves(local) || this.policy.refusal(remote)) return;
    const carried = this.link(local, remote);
    if (carried.adopt(link)) link.carried.add(carried);
  }

  /** An incoming stream that carries links of ours has room again, or is gone. */
  carrierChanged(carrier: InboundLink, gone: boolean): void {
    for (const link of carrier.carried) if (link.carriedBy(carrier.stream)) link.carrierChanged(gone);
  }

  /** The stream management of an incoming stream that `remote` has lost, to be gone on with; null where there is none. */
  resumable(id: string, remote: string): Acknowledgements | null {
    for (const link of this.#inbound) {
      // The peer knows of its loss before we do.
      if (link.acks?.id === id && link.remote === remote) link.stream.destroy('resumed on another stream');
    }
    const found = this.#resumable.get(id);
    if (found?.remote !== remote) return null;
    this.#resumable.delete(id);
    clearTimeout(found.timer);
    return found.acks;
  }

  ended(link: InboundLink, ending: Ending): void {
    this.#inbound.delete(link);
    this.carrierChanged(link, true);
    if (link.bidi) this.#openWaiting();
    if (link.acks) this.#keep(link, link.acks, ending);
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

  /** Sets the rate of a domain (null: as for all) in bytes per second, on open streams too. */
  async throttle(domain: string, rate: number | null): Promise<void> {
    await this.policy.throttle(domain, rate);
    this.applyPolicy();
  }

  /** Closes links that the policy does not permit (any more). */
  applyPolicy(): void {
    for (const link of this.outbound) {
      const refusal = this.policy.refusal(link.remote);
      if (refusal) link.close(new StanzaError('not-allowed', refusal));
    }
    for (const link of this.inbound) {
      link.applyRate();
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
      else link.close();
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
        bidi: link.bidi,
        managed: link.managed,
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
        bidi: link.bidi,
        managed: link.acks !== null,
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
    const throttle = this.policy.throttles.get(domain);
    return {
      domain,
      policy: this.policy.refusal(domain) ?? 'allowed',
      changed: override
        ? `${override.allowed ? 'allowed' : 'denied'} at run time ${new Date(override.since).toISOString()}`
        : '',
      security: this.policy.security(domain),
      address: this.policy.address(domain),
      rate: describeRate(this.policy.rate(domain), throttle),
      reports: this.#metrics.reportsOf(domain),
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
    this.#stopped = true;
    clearInterval(this.#sweep);
    for (const { timer } of this.#resumable.values()) clearTimeout(timer);
    for (const link of this.outbound) link.close(new StanzaError('remote-server-timeout', 'the hub shuts down'));
    for (const link of this.inbound) link.stream.close(new StreamError('system-shutdown'));
  }

  /** Stanzas that were to go over a stream that is gone need another one. */
  #openWaiting(): void {
    for (const link of this.outbound) if (link.queued > 0) link.open();
  }

  /** What is kept of a stream with stream management: to be resumed where it was lost, else to be sent another way. */
  #keep({ remote }: InboundLink, acks: Acknowledgements, ending: Ending): void {
    acks.detach();
    const giveUp = () => {
      this.#resumable.delete(acks.id);
      for (const stanza of acks.unacknowledged) {
        if (ending.by === 'lost') {
          const why = `the link to ${remote} was lost and not resumed; it may have arrived`;
          this.#bounce(remote, stanza, new StanzaError('remote-server-timeout', why));
        } else void this.router.route(stanza, hubOrigin);
      }
    };
    if (ending.error || !acks.id || (ending.by !== 'lost' && !ending.reason.startsWith('resumed'))) return giveUp();
    const timer = setTimeout(giveUp, resumableFor).unref();
    this.#resumable.set(acks.id, { remote, acks, timer });
    if (this.#resumable.size > mostRemembered) this.#resumable.delete(this.#resumable.keys().next().value!);
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

  /** With bidi, the peer speaks on a stream of ours: for itself, and to the domain of ours that the stream is from. */
  #receivedOut(link: OutboundLink, stanza: Stanza): void | Promise<void> {
    const { from, to } = stanza;
    const toUs = stanza.malformed === 'to' || to?.domain === link.local;
    if (from?.domain !== link.remote || !toUs) {
      link.stream?.close(new StreamError('invalid-from', `this stream is for ${link.remote} and ${link.local}`));
      return;
    }
    return this.received(stanza, { kind: 'link', name: link.remote }, link.local);
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
    for (const link of this.inbound) if (link.lastUsed < limit) link.close();
  }
}

function describeRate(rate: number | undefined, throttle: Throttle | undefined): string {
  if (rate === undefined) return 'as for all';
  const set = throttle ? `, set at run time ${new Date(throttle.since).toISOString()}` : '';
  return `${rate === 0 ? 'no limit' : `${rate} B/s`}${set}`;
}
