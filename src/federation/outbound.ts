// One outgoing link: from a domain of ours to a remote one, with the queue that waits while it is being made.
import type { Config } from '../hub/config.ts';
import type { Acknowledgements } from '../xmpp/acknowledgements.ts';
import { StanzaError, StreamError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Ending, Stream, StreamHandler } from '../xmpp/stream.ts';
import { backoff, type Dialer } from './dialer.ts';
import { type LinkError, type Making, steps } from './steps.ts';
import { Story } from './story.ts';

export type LinkState = 'waiting' | 'connecting' | 'open' | 'closed';

/** What a link tells those who look after it. */
export interface OutboundEvents {
  /** A stanza could not be sent: it goes back to its sender. */
  bounce(stanza: Stanza, error: StanzaError): void;
  /** The state changed; on 'closed' nothing waits any more and the link can be forgotten. */
  changed(link: OutboundLink): void;
  /** Whether a stream of the peer is about to carry this link: then none is made. */
  awaitsCarrier(link: OutboundLink): boolean;
  /** A stanza of the peer came on this stream, which bidi permits; what it promises is when it is kept. */
  received(link: OutboundLink, stanza: Stanza): void | Promise<void>;
}

/** A stream that the peer has made and lets us use as well (XEP-0288). */
export interface Carrier {
  readonly stream: Stream;
  readonly proof: Making['proof'];
  readonly security: OutboundLink['security'];
  /** Its stream management, once the peer has enabled it. */
  readonly acks: Acknowledgements | null;
}

interface Waiting {
  stanza: Stanza;
  since: number;
}

/** More than this many unsent bytes on an open link, and stanzas wait in the queue. */
const congestion = 4 * 1024 * 1024;

/**
 * How long a stream that we close waits for the peer to say how far it came, in ms.
 * COMPAT(Prosody 0.12): it says so when asked, but not by itself before it closes a server stream.
 */
export const lastWord = 1_000;

export class OutboundLink {
  readonly local: string;
  readonly remote: string;
  state: LinkState = 'waiting';
  /** Of the latest attempt. */
  story = new Story();
  /** As the stream was proved; '' while it is not open. */
  proof: Making['proof'] = '';
  security: 'plain' | 'TLS' | 'TLS, valid certificate' | '' = '';
  certificateExpires: Date | undefined;
  /** Whether stanzas go both ways on the stream (XEP-0288). */
  bidi = false;
  stanzasOut = 0;
  stanzasIn = 0;
  lastUsed = Date.now();
  /** How long the latest successful making took, in ms. */
  timeToConnect = 0;
  lastError = '';
  readonly #config: () => Config['federation'];
  readonly #dialer: Dialer;
  readonly #events: OutboundEvents;
  #queue: Waiting[] = [];
  #stream: Stream | null = null;
  /** Stream management of the open stream. */
  #acks: Acknowledgements | null = null;
  /** The peer's stream that carries this link, where it is not our own. */
  #carrier: Carrier | null = null;
  /** Stream management of a stream that was lost, until it is resumed or given up. */
  #lost: { acks: Acknowledgements; since: number } | null = null;
  #failures = 0;
  #notBefore = 0;
  #retry: NodeJS.Timeout | null = null;
  #expiry: NodeJS.Timeout | null = null;
  #closing = false;

  constructor(
    local: string,
    remote: string,
    config: () => Config['federation'],
    dialer: Dialer,
    events: OutboundEvents,
  ) {
    this.local = local;
    this.remote = remote;
    this.#config = config;
    this.#dialer = dialer;
    this.#events = events;
  }

  get queued(): number {
    return this.#queue.length;
  }

  /** Stanzas that were sent and that the peer has not acknowledged. */
  get unacknowledged(): number {
    return (this.#acks ?? this.#lost?.acks)?.unacknowledged.length ?? 0;
  }

  get managed(): boolean {
    return this.#acknowledged !== null;
  }

  get bytesOut(): number {
    return this.#stream?.bytesOut ?? 0;
  }

  get stream(): Stream | null {
    return this.#stream;
  }

  get #acknowledged(): Acknowledgements | null {
    return this.#acks ?? this.#carrier?.acks ?? null;
  }

  /** Sends or queues a stanza. Throws a StanzaError where the queue is full. */
  send(stanza: Stanza): void {
    this.lastUsed = Date.now();
    if (this.#queue.length === 0 && this.#write(stanza)) return;
    const { queue } = this.#config();
    if (this.#queue.length >= queue.stanzas) {
      throw new StanzaError(
        'resource-constraint',
        `${this.#queue.length} stanzas wait for ${this.remote} already${this.lastError ? `: ${this.lastError}` : ''}`,
      );
    }
    this.#queue.push({ stanza: stanza.detach(), since: this.lastUsed });
    this.#expireIn(queue.wait);
    if (this.#stream === null) this.open();
  }

  /** Begins to make the link, unless that is under way or has just failed (then it is tried again in time). */
  open(): void {
    if (this.state === 'connecting' || this.state === 'open' || this.#retry || this.#closing) return;
    if (!this.#lost && this.#events.awaitsCarrier(this)) return;
    const delay = this.#notBefore - Date.now();
    if (delay <= 0) {
      void this.#connect();
      return;
    }
    this.#retry = setTimeout(() => {
      this.#retry = null;
      void this.#connect();
    }, delay);
  }

  /** Goes on over a stream of the peer's, unless there is one of our own. False: it is not needed. */
  adopt(carrier: Carrier): boolean {
    if (this.state !== 'waiting' || this.#lost || this.#closing) return false;
    this.#stopRetry();
    this.#carrier = carrier;
    this.story = new Story();
    this.story.add('goes over a stream that the peer has made (bidi)');
    this.bidi = true;
    this.#use(carrier.stream, carrier.proof, carrier.security);
    this.#flush();
    return true;
  }

  /** The carrier has room again, or is gone. */
  carrierChanged(gone: boolean): void {
    if (gone) this.#gone('the stream that carried it was closed');
    else this.#flush();
  }

  /** Whether `carrier` carries this link. */
  carriedBy(stream: Stream): boolean {
    return this.#carrier?.stream === stream;
  }

  /** Closes the link. What waits goes back with `reason`, or where none is given is sent first. */
  close(reason: StanzaError | null): void {
    this.#closing = true;
    this.#stopRetry();
    if (reason) this.#bounceAll(reason);
    if (this.#carrier) return this.#gone('closed');
    const stream = this.#stream;
    if (!stream) return this.#become('closed');
    if (this.#acks && !reason) this.#acks.settle(stream, lastWord, () => stream.close());
    else stream.close();
  }

  async #connect(): Promise<void> {
    this.#become('connecting');
    this.story = new Story();
    const began = Date.now();
    try {
      const making = await this.#dialer.dial({
        local: this.local,
        remote: this.remote,
        steps,
        story: this.story,
        lost: this.#lost?.acks,
      });
      this.timeToConnect = Date.now() - began;
      this.#opened(making);
    } catch (error) {
      this.#failed(error as LinkError);
    }
  }

  #opened(making: Making): void {
    this.certificateExpires = making.verdict?.notAfter;
    this.bidi = making.bidi;
    this.#acks = making.acks;
    const lost = this.#lost?.acks;
    this.#lost = null;
    const { stream } = making;
    this.#use(
      stream,
      making.proof,
      !stream.isSecure ? 'plain' : making.verdict?.valid ? 'TLS, valid certificate' : 'TLS',
    );
    const handler: StreamHandler = {
      opened: () => stream.close(new StreamError('not-well-formed')),
      stanza: stanza => this.#received(stanza),
      closing: () => this.bidi && this.#acks?.answer(stream),
      closed: ending => this.#ended(ending),
    };
    if (making.resumed) {
      // They were kept in this order, and are sent again before anything newer (XEP-0198 §5).
      for (const stanza of making.acks!.unacknowledged) stream.send(stanza);
      making.acks!.request(stream);
    } else if (lost) {
      const why = `the link to ${this.remote} was lost and could not be resumed; it may have arrived`;
      for (const stanza of lost.unacknowledged)
        this.#events.bounce(stanza, new StanzaError('remote-server-timeout', why));
    }
    for (const stanza of making.early) handler.stanza(stanza);
    making.talk.handOver(handler);
    if (this.#closing) stream.close();
    else this.#flush();
  }

  #use(stream: Stream, proof: Making['proof'], security: OutboundLink['security']): void {
    this.#failures = 0;
    this.lastError = '';
    this.proof = proof;
    this.security = security;
    this.#stream = stream;
    this.#become('open');
  }

  /** What comes on our own stream: acknowledgements and, with bidi, the peer's stanzas. */
  #received(stanza: Stanza): void {
    const stream = this.#stream;
    if (!stream) return;
    if (stanza.ns === ns.streamManagement && this.#acks) {
      if (stanza.name === 'r') return this.#acks.answer(stream);
      if (stanza.name === 'a') {
        this.#acks.acknowledge(stanza.element.attrs.h);
        if (this.#queue.length > 0) this.#flush();
        return;
      }
    }
    if (!this.bidi || stanza.ns !== ns.client) {
      // Stanzas come on the peer's own stream otherwise (RFC 6120 §4.1).
      return stream.close(new StreamError('not-authorized', `<${stanza.name}/> does not come this way on this stream`));
    }
    this.stanzasIn++;
    this.lastUsed = Date.now();
    const taken = this.#events.received(this, stanza);
    this.#acks?.count(taken);
    if (taken) stream.pace(taken);
  }

  /** Writes a stanza, if there is a stream with room for it. */
  #write(stanza: Stanza): boolean {
    const stream = this.#stream;
    if (stream === null || this.#closing || stream.isClosing || stream.pending >= congestion) return false;
    const acks = this.#acknowledged;
    if (acks) {
      const kept = stanza.detach();
      if (!acks.keep(kept)) return false;
      stream.send(kept);
      acks.request(stream);
    } else {
      stream.send(stanza);
    }
    this.stanzasOut++;
    return true;
  }

  /** Sends what waits, as far as the socket and the peer's acknowledgements take it. */
  #flush(): void {
    const stream = this.#stream;
    if (!stream) return;
    let sent = 0;
    for (const { stanza } of this.#queue) {
      if (!this.#write(stanza)) break;
      // A batch is written at once, so that `pending` tells of it.
      if (++sent % 100 === 0) stream.flush();
    }
    if (sent > 0) this.#queue = this.#queue.slice(sent);
    if (this.#queue.length === 0) this.#clearExpiry();
    else if (stream.pending >= congestion) stream.socket.once('drain', () => this.#flush());
  }

  #failed(error: LinkError): void {
    this.lastError = error.message;
    this.#failures++;
    this.#notBefore = Date.now() + backoff(this.#failures);
    this.#become('waiting');
    if (this.#closing) return this.#become('closed');
    if (error.permanent || this.#config().queue.wait === 0) {
      return this.#bounceAll(new StanzaError(error.condition, error.message, 'cancel'));
    }
    if (this.#queue.length > 0 || this.#lost) this.open();
  }

  /** Our own stream has ended. One that was lost may be resumed; one that was closed has said how far it came. */
  #ended(ending: Ending): void {
    const acks = this.#acks;
    this.#acks = null;
    if (acks && acks.unacknowledged.length > 0) {
      acks.detach();
      if (ending.by === 'lost' && acks.id && !this.#closing) {
        this.#lost = { acks, since: Date.now() };
        this.#expireIn(this.#config().queue.wait);
      } else if (!this.#closing && !ending.error && ending.by !== 'lost') {
        const since = Date.now();
        this.#queue.unshift(...acks.unacknowledged.map(stanza => ({ stanza, since })));
        this.#expireIn(this.#config().queue.wait);
      } else {
        // COMPAT(Prosody 0.12): it counts on server streams but resumes none. To send again could double.
        const why = `the link to ${this.remote} ended (${ending.reason}); it may have arrived`;
        for (const stanza of acks.unacknowledged) {
          this.#events.bounce(stanza, new StanzaError('remote-server-timeout', why));
        }
      }
    }
    this.#gone(ending.reason);
  }

  #gone(reason: string): void {
    this.#stream = null;
    this.#carrier = null;
    this.proof = '';
    this.security = '';
    this.bidi = false;
    this.story.add(`closed: ${reason}`);
    this.#become('waiting');
    if (this.#queue.length === 0 && !this.#lost) return this.#become('closed');
    // What came while it was being closed opens it again.
    this.#closing = false;
    this.open();
  }

  #expireIn(ms: number): void {
    this.#expiry ??= setTimeout(() => this.#expire(), ms);
  }

  /** Returns what has waited too long. */
  #expire(): void {
    this.#expiry = null;
    const limit = Date.now() - this.#config().queue.wait;
    const late = this.#queue.filter(({ since }) => since <= limit).map(({ stanza }) => stanza);
    this.#queue = this.#queue.filter(({ since }) => since > limit);
    // While it is being resumed nothing is decided; that takes no longer than the connect timeout.
    if (this.#lost && this.#lost.since <= limit && this.state !== 'connecting') {
      late.unshift(...this.#lost.acks.unacknowledged);
      this.#lost = null;
    }
    const why =
      this.lastError ||
      (this.state === 'open' ? `${this.remote} does not read` : `no link yet; so far: ${this.story.last}`);
    for (const stanza of late) this.#events.bounce(stanza, new StanzaError('remote-server-timeout', why, 'wait'));
    const next = Math.min(this.#queue[0]?.since ?? Infinity, this.#lost?.since ?? Infinity);
    if (next < Infinity) this.#expireIn(Math.max(50, next - limit));
    else if (this.state === 'waiting') this.#stopRetry();
  }

  #bounceAll(error: StanzaError): void {
    const waiting = [...(this.#lost?.acks.unacknowledged ?? []), ...this.#queue.map(({ stanza }) => stanza)];
    this.#queue = [];
    this.#lost = null;
    this.#clearExpiry();
    for (const stanza of waiting) this.#events.bounce(stanza, error);
  }

  #clearExpiry(): void {
    if (this.#expiry && !this.#lost) {
      clearTimeout(this.#expiry);
      this.#expiry = null;
    }
  }

  #stopRetry(): void {
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = null;
  }

  #become(state: LinkState): void {
    if (this.state === state) return;
    this.state = state;
    this.#events.changed(this);
  }
}
