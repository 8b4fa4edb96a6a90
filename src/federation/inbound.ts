// One incoming server stream: TLS, EXTERNAL and dialback from the receiving side, and the stanzas of the domains it has proved.
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import type { Origin } from '../hub/router.ts';
import { Acknowledgements } from '../xmpp/acknowledgements.ts';
import { type Element, el } from '../xmpp/element.ts';
import { type StanzaCondition, StanzaError, StreamError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { StreamHeader } from '../xmpp/scanner.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import { speaksXmpp } from '../xmpp/start-tag.ts';
import { type Ending, Stream } from '../xmpp/stream.ts';
import type { Verdict } from './edge.ts';
import type { Links } from './links.ts';
import type { OutboundLink } from './outbound.ts';
import { lastWord } from './outbound.ts';
import { DialbackReceiver, type Receiving } from './receiver.ts';
import { describe, requestDelay } from './steps.ts';
import { Story } from './story.ts';

/** How long the peer may take to resume a stream that was lost, in ms. */
export const resumableFor = 300_000;
/** How long a peer that asked for bidi has to begin with stream management, in ms. */
const settlingTime = 300;
/** How long a peer has until it has proved a domain, in ms. */
const deadline = 60_000;
/** The most domain pairs on one stream. */
const mostPairs = 1_000;
/** With bidi: how many stanzas may be on their way to a peer without its acknowledgement. */
const mostUnacknowledged = 5_000;

export class InboundLink {
  readonly stream: Stream;
  readonly story = new Story();
  /** `remote local` pairs that dialback has proved; for EXTERNAL, the remote domain alone. */
  readonly proved = new Map<string, Origin>();
  /** The links of ours that have gone over this stream (XEP-0288). */
  readonly carried = new Set<OutboundLink>();
  stanzasIn = 0;
  lastUsed = Date.now();
  readonly #links: Links;
  readonly #timer: NodeJS.Timeout;
  readonly #address: string;
  #id = '';
  #local = '';
  #remote = '';
  #external = false;
  /** The peer asked for our stanzas on this stream (XEP-0288). */
  #bidi = false;
  #acks: Acknowledgements | null = null;
  /** Pairs that wait to be carried, and how long they do. */
  #offers: { local: string; remote: string }[] = [];
  #settling: NodeJS.Timeout | undefined;
  readonly #verdicts = new Map<string, Verdict>();
  readonly #dialback: DialbackReceiver;

  constructor(links: Links, socket: Socket, direct: boolean) {
    this.#links = links;
    this.#address = socket.remoteAddress ?? '';
    const { limits } = links.config;
    this.stream = new Stream(
      socket,
      { contentNs: ns.server, limits: { stanzaSize: 64 * 1024 }, rate: limits.rate.s2s },
      {
        opened: header => void this.#opened(header),
        stanza: stanza => this.#received(stanza),
        // The last word before the end: how far we came (XEP-0198 §4).
        closing: () => this.#acks?.answer(this.stream),
        closed: ending => this.#closed(ending),
      },
    );
    this.story.add(`connection from ${this.#address}`);
    this.#dialback = new DialbackReceiver(links, this.#receiving());
    this.#timer = setTimeout(() => {
      this.stream.close(new StreamError('connection-timeout', 'no domain was proved in time'));
    }, deadline);
    if (direct) void this.#startTls();
  }

  /** This stream as dialback sees it. */
  #receiving(): Receiving {
    const link = this;
    return {
      stream: this.stream,
      story: this.story,
      address: this.#address,
      get streamId() {
        return link.#id;
      },
      get isFull() {
        return link.proved.size >= mostPairs;
      },
      judge: domain => this.#judge(domain),
      proved: (remote, local) => {
        this.#prove(remote, `${remote} ${local}`);
        this.#offerSoon(local, remote);
      },
      verified: () => {
        clearTimeout(this.#timer);
        this.lastUsed = Date.now();
      },
      refuse: error => this.#refuse(error),
    };
  }

  /** The remote domain of the header, or the first that was proved. */
  get remote(): string {
    return this.#remote || (this.proved.values().next().value?.name ?? '');
  }

  get local(): string {
    return this.#local;
  }

  get security(): 'plain' | 'TLS' | 'TLS, valid certificate' {
    if (!this.stream.isSecure) return 'plain';
    return this.#remote && this.#verdicts.get(this.#remote)?.valid ? 'TLS, valid certificate' : 'TLS';
  }

  get proof(): '' | 'external' | 'dialback' {
    return this.#external ? 'external' : this.proved.size > 0 ? 'dialback' : '';
  }

  get bidi(): boolean {
    return this.#bidi;
  }

  /** Stream management of this stream, once the peer has enabled it. */
  get acks(): Acknowledgements | null {
    return this.#acks;
  }

  /** Closes the stream properly, once the peer has said how far it came with what we sent (with bidi). */
  close(): void {
    if (this.#acks) this.#acks.settle(this.stream, lastWord, () => this.stream.close());
    else this.stream.close();
  }

  /** Whether this stream is about to carry our stanzas for a pair. */
  willCarry(local: string, remote: string): boolean {
    return !this.stream.isClosing && this.#offers.some(offer => offer.local === local && offer.remote === remote);
  }

  /** Takes back what a domain has proved, as when it is denied. */
  deny(domain: string, error: StreamError): void {
    if (this.remote === domain || [...this.proved.values()].some(origin => origin.name === domain))
      this.stream.close(error);
  }

  async #opened(header: StreamHeader): Promise<void> {
    this.#id = randomBytes(12).toString('base64url');
    const to = Jid.tryParse(header.attrs.to ?? '')?.domain ?? '';
    const from = Jid.tryParse(header.attrs.from ?? '')?.domain ?? '';
    this.stream.open({
      from: to,
      to: from,
      id: this.#id,
      version: '1.0',
      lang: 'en',
      prefixes: { db: ns.dialback },
    });
    if (header.name !== 'stream' || header.ns !== ns.streams || header.contentNs !== ns.server) {
      return this.#refuse(new StreamError('invalid-namespace', `expected a stream of ${ns.server}`));
    }
    if (this.#external && from !== this.#remote) {
      return this.#refuse(new StreamError('invalid-from', 'the domain changed within the stream'));
    }
    // Claimed as yet; a refusal is told under this name.
    this.#local = to;
    this.#remote = from;
    // A peer of the time before XMPP 1.0 names no domains: dialback will.
    if (to !== '' && !this.#links.serves(to)) {
      return this.#refuse(new StreamError('host-unknown', `${to} is not served here`));
    }
    const refusal = from === '' ? null : this.#links.policy.refusal(from);
    if (refusal) return this.#refuse(new StreamError('policy-violation', refusal));
    if (!speaksXmpp(header)) return;
    await this.#proveFurther();
    this.stream.sendFeatures(this.#features());
    if (this.#external && to !== '') this.#offerSoon(to, from);
  }

  /** Where only a valid certificate will do and this one is not by itself: asks DNS and HTTPS, before features go out. */
  async #proveFurther(): Promise<void> {
    const socket = this.stream.tls;
    const remote = this.#remote;
    if (!socket || remote === '' || this.#links.policy.security(remote) !== 'trusted' || this.#judge(remote).valid)
      return;
    this.stream.hold();
    const verdict = await this.#links.edge.prove(socket, remote, null);
    this.story.add(`certificate of ${remote}: ${describe(verdict)}`);
    this.#verdicts.set(remote, verdict);
    this.stream.release();
  }

  #features(): (Element | null)[] {
    const features: (Element | null)[] = [];
    const security = this.#links.policy.security(this.#remote);
    if (!this.stream.isSecure && this.#links.edge.contextFor(this.#local)) {
      features.push(el('starttls', ns.tls, {}, security === 'verified' ? null : el('required', ns.tls)));
    }
    if (this.stream.isSecure && !this.#external && this.#remote !== '' && this.#judge(this.#remote).valid) {
      features.push(el('mechanisms', ns.sasl, {}, el('mechanism', ns.sasl, {}, 'EXTERNAL')));
    }
    if (!this.#external && (this.stream.isSecure || security === 'verified')) {
      features.push(el('dialback', ns.dialbackFeature, {}, el('errors', ns.dialbackFeature)));
    }
    if (this.proved.size === 0 && (this.stream.isSecure || security === 'verified')) {
      features.push(el('bidi', ns.bidiFeature));
    }
    // Dialback brings no new features: it is offered before, and taken only after (XEP-0198 §3).
    if (this.#external || this.stream.isSecure || security === 'verified') features.push(el('sm', ns.streamManagement));
    const { limits } = this.#links.config;
    features.push(el('limits', ns.limits, {}, el('max-bytes', ns.limits, {}, String(limits.stanzaSize.s2s))));
    return features;
  }

  #received(stanza: Stanza): void {
    switch (stanza.ns) {
      case ns.client:
        if (stanza.name === 'message' || stanza.name === 'presence' || stanza.name === 'iq')
          return this.#stanza(stanza);
        break;
      case ns.dialback:
        if (stanza.name === 'result' && stanza.type === '') return this.#dialback.result(stanza);
        if (stanza.name === 'verify' && stanza.type === '') return this.#dialback.verify(stanza);
        break;
      case ns.tls:
        if (stanza.name === 'starttls') return this.#proceed();
        break;
      case ns.bidi:
      case ns.bidiFeature: // COMPAT(ejabberd before 26.07): it mixes the two up.
        if (stanza.name === 'bidi' && this.proved.size === 0) {
          this.#bidi = true;
          this.story.add('bidi: asked for by the peer');
          return;
        }
        break;
      case ns.streamManagement:
        return this.#management(stanza);
      case ns.sasl:
        if (stanza.name === 'auth') return this.#auth(stanza);
        if (stanza.name === 'abort') return this.stream.sendText(failureText('aborted', ''));
        break;
    }
    this.#refuse(new StreamError('unsupported-stanza-type', `<${stanza.name}/> in ${stanza.ns} is not expected here`));
  }

  #proceed(): void {
    if (this.stream.isSecure || !this.#links.edge.contextFor(this.#local)) {
      this.stream.sendText(`<failure xmlns='${ns.tls}'/>`);
      return this.stream.close();
    }
    this.stream.sendText(`<proceed xmlns='${ns.tls}'/>`);
    void this.#startTls();
  }

  async #startTls(): Promise<void> {
    const { edge, config } = this.#links;
    const fallback = this.#local || config.domains.keys().next().value || '';
    try {
      const socket = await this.stream.secure({
        server: {
          secureContext: edge.contextFor(fallback) ?? undefined,
          requestCert: true,
          rejectUnauthorized: false,
          SNICallback: (name, answer) => answer(null, edge.contextFor(name) ?? edge.contextFor(fallback) ?? undefined),
          ALPNCallback: ({ protocols }) => (protocols.includes('xmpp-server') ? 'xmpp-server' : undefined),
        },
      });
      this.proved.clear();
      this.story.add(`TLS: ${socket.getProtocol()} ${socket.getCipher().name}`);
    } catch (error) {
      this.#links.log.info(
        { remote: this.remote, address: this.#address, reason: (error as Error).message },
        'TLS failed',
      );
    }
  }

  /** Judges the peer's certificate for a domain; once per domain and stream. */
  #judge(domain: string): Verdict {
    const known = this.#verdicts.get(domain);
    if (known) return known;
    const socket = this.stream.tls;
    if (!socket) return { valid: false, reason: 'there is no TLS' };
    const verdict = this.#links.edge.judge(socket, domain);
    this.story.add(`certificate of ${domain}: ${verdict.valid ? 'valid' : verdict.reason}`);
    if (this.#verdicts.size < mostPairs) this.#verdicts.set(domain, verdict);
    return verdict;
  }

  /** SASL EXTERNAL (RFC 6120 §6.4, XEP-0178 §3): the certificate must be valid for the domain that is claimed. */
  #auth(stanza: Stanza): void {
    const { attrs, text } = stanza.element;
    if (!this.stream.isSecure || this.#external || attrs.mechanism !== 'EXTERNAL') {
      return this.stream.sendText(
        failureText(attrs.mechanism === 'EXTERNAL' ? 'encryption-required' : 'invalid-mechanism', ''),
      );
    }
    const claimed = text === '' || text === '=' ? this.#remote : Buffer.from(text, 'base64').toString();
    const domain = Jid.tryParse(claimed)?.domain ?? '';
    if (domain === '' || (this.#remote !== '' && domain !== this.#remote)) {
      return this.#denyAuth('invalid-authzid', `the stream is from ${this.#remote || 'nobody'}, not from that domain`);
    }
    const refusal = this.#links.policy.refusal(domain);
    if (refusal) return this.#denyAuth('not-authorized', refusal);
    const verdict = this.#judge(domain);
    if (!verdict.valid) return this.#denyAuth('not-authorized', verdict.reason);
    this.#external = true;
    this.#remote = domain;
    this.story.add('EXTERNAL: accepted');
    this.stream.sendText(`<success xmlns='${ns.sasl}'/>`);
    this.stream.restart();
    this.#prove(domain, domain);
  }

  #denyAuth(condition: string, text: string): void {
    this.story.add(`EXTERNAL: refused with ${condition} (${text})`);
    this.#links.log.info({ remote: this.remote, address: this.#address, reason: text }, 'EXTERNAL refused');
    // The peer may still go on with dialback, where the policy permits it.
    this.stream.sendText(failureText(condition, text));
  }

  /**
   * Lets our stanzas for this pair go over this stream, where bidi was asked for: once stream management is settled,
   * so that none is sent uncounted, or a moment later with peers that do without.
   */
  #offerSoon(local: string, remote: string): void {
    if (!this.#bidi) return;
    this.#offers.push({ local, remote });
    if (this.#acks) this.#offerNow();
    else this.#settling ??= setTimeout(() => this.#offerNow(), settlingTime);
  }

  #offerNow(): void {
    clearTimeout(this.#settling);
    if (this.stream.isClosing) return;
    for (const { local, remote } of this.#offers.splice(0)) this.#links.offer(this, local, remote);
  }

  /** Stream management, once a domain has proved itself (XEP-0198 §3–§5). */
  #management(stanza: Stanza): void {
    const acks = this.#acks;
    if (stanza.name === 'r' && acks) return acks.answer(this.stream);
    const { attrs } = stanza.element;
    if (stanza.name === 'a' && acks) {
      acks.acknowledge(attrs.h);
      return this.#links.carrierChanged(this, false);
    }
    if (stanza.name !== 'enable' && stanza.name !== 'resume') {
      return this.#refuse(new StreamError('unsupported-stanza-type', `<${stanza.name}/> is not expected here`));
    }
    const failed = (condition: StanzaCondition) =>
      this.stream.sendElement(el('failed', ns.streamManagement, {}, el(condition, ns.stanzaErrors)));
    if (acks || this.proved.size === 0) return failed('unexpected-request');
    if (stanza.name === 'resume') {
      if (!this.#resume(attrs.previd ?? '', attrs.h)) failed('item-not-found');
      return;
    }
    const wanted = attrs.resume === 'true' || attrs.resume === '1';
    const id = wanted ? randomBytes(15).toString('base64url') : '';
    this.#acks = new Acknowledgements(id, mostUnacknowledged, requestDelay);
    this.story.add(`stream management${wanted ? ' with resumption' : ''}`);
    const more = wanted ? { id, resume: 'true', max: String(resumableFor / 1000) } : {};
    this.stream.sendElement(el('enabled', ns.streamManagement, more));
    this.#offerNow();
  }

  /** Goes on with a stream that the same domain has lost (XEP-0198 §5). False: there is none. */
  #resume(id: string, h: string | undefined): boolean {
    const acks = this.#links.resumable(id, this.remote);
    if (!acks) return false;
    // Ours first: if the peer's count is wrong, what it has not taken is dealt with as this stream ends.
    this.#acks = acks;
    acks.acknowledge(h);
    this.stream.sendElement(el('resumed', ns.streamManagement, { previd: id, h: String(acks.received) }));
    for (const stanza of acks.unacknowledged) this.stream.send(stanza);
    if (acks.unacknowledged.length > 0) acks.request(this.stream);
    this.story.add('stream resumed');
    this.#offerNow();
    return true;
  }

  /** Takes over a rate that was changed. */
  applyRate(): void {
    const { limits } = this.#links.config;
    if (this.proved.size === 0) return;
    this.stream.setLimits(
      { stanzaSize: limits.stanzaSize.s2s },
      this.#links.policy.rate(this.remote) ?? limits.rate.s2s,
    );
  }

  #prove(domain: string, key: string): void {
    clearTimeout(this.#timer);
    this.#remote ||= domain;
    this.proved.set(key, { kind: 'link', name: domain });
    this.applyRate();
    const local = key === domain ? this.#local : key.slice(domain.length + 1);
    this.#links.opened(this, domain, local);
  }

  /** A stanza counts only between addresses of a proved pair (RFC 6120 §8.1.1.2, §8.1.2.2). */
  #stanza(stanza: Stanza): void {
    const { from, to } = stanza;
    if (from === null || (to === null && stanza.malformed !== 'to')) {
      return this.#refuse(new StreamError('improper-addressing', 'a stanza between servers has `from` and `to`'));
    }
    const local = to?.domain ?? this.#local;
    const origin = this.proved.get(from.domain) ?? this.proved.get(`${from.domain} ${local}`);
    if (!origin) {
      const proved = this.proved.size > 0;
      return this.#refuse(
        new StreamError(
          proved ? 'invalid-from' : 'not-authorized',
          `${from.domain} has not proved itself on this stream`,
        ),
      );
    }
    this.stanzasIn++;
    this.lastUsed = Date.now();
    const taken = this.#links.received(stanza, origin, local);
    this.#acks?.count(taken);
    if (taken) this.stream.pace(taken);
  }

  #refuse(error: StreamError): void {
    this.story.add(`refused: ${error.message}`);
    this.#links.log.warn(
      { remote: this.remote, address: this.#address, reason: error.message },
      'server stream refused',
    );
    this.stream.close(error);
  }

  #closed(ending: Ending): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#settling);
    this.story.add(`closed: ${ending.reason}`);
    this.#links.ended(this, ending);
  }
}

function failureText(condition: string, text: string): string {
  const more = text ? el('text', ns.sasl, { 'xml:lang': 'en' }, text) : null;
  return el('failure', ns.sasl, {}, el(condition, ns.sasl), more).toString();
}

/** For a stanza that is for none of our domains. */
export const notServed = (domain: string): StanzaError =>
  new StanzaError('item-not-found', `${domain} is not served here`);
