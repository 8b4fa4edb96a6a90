// One outgoing link: from a domain of ours to a remote one, with the queue that waits while it is being made.

import type { Config } from '../hub/config.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Ending, Stream, StreamHandler } from '../xmpp/stream.ts';
import type { Dialer } from './dialer.ts';
import { type LinkError, type Making, steps } from './steps.ts';
import { Story } from './story.ts';

export type LinkState = 'waiting' | 'connecting' | 'open' | 'closed';

/** What a link tells those who look after it. */
export interface OutboundEvents {
  /** A stanza could not be sent: it goes back to its sender. */
  bounce(stanza: Stanza, error: StanzaError): void;
  /** The state changed; on 'closed' nothing waits any more and the link can be forgotten. */
  changed(link: OutboundLink): void;
  /** An element that is no stanza came on the open link (dialback for further pairs). */
  element(link: OutboundLink, stanza: Stanza): void;
}

interface Waiting {
  stanza: Stanza;
  since: number;
}

/** More than this many unsent bytes on an open link, and stanzas wait in the queue. */
const congestion = 4 * 1024 * 1024;
const firstBackoff = 500;
const lastBackoff = 60_000;

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
  stanzasOut = 0;
  lastUsed = Date.now();
  /** How long the latest successful making took, in ms. */
  timeToConnect = 0;
  lastError = '';
  readonly #config: () => Config['federation'];
  readonly #dialer: Dialer;
  readonly #events: OutboundEvents;
  #queue: Waiting[] = [];
  #stream: Stream | null = null;
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

  get bytesOut(): number {
    return this.#stream?.bytesOut ?? 0;
  }

  get stream(): Stream | null {
    return this.#stream;
  }

  /** Sends or queues a stanza. Throws a StanzaError where the queue is full. */
  send(stanza: Stanza): void {
    this.lastUsed = Date.now();
    const stream = this.#stream;
    if (stream !== null && this.#queue.length === 0 && stream.pending < congestion) {
      this.stanzasOut++;
      stream.send(stanza);
      return;
    }
    const { queue } = this.#config();
    if (this.#queue.length >= queue.stanzas) {
      throw new StanzaError(
        'resource-constraint',
        `${this.#queue.length} stanzas wait for ${this.remote} already${this.lastError ? `: ${this.lastError}` : ''}`,
      );
    }
    this.#queue.push({ stanza: stanza.detach(), since: this.lastUsed });
    this.#expiry ??= setTimeout(() => this.#expire(), queue.wait);
    if (stream === null) this.open();
  }

  /** Begins to make the link, unless that is under way or has just failed (then it is tried again in time). */
  open(): void {
    if (this.state === 'connecting' || this.state === 'open' || this.#retry || this.#closing) return;
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

  /** Closes the link. What waits goes back with `reason`, or where none is given is sent first. */
  close(reason: StanzaError | null): void {
    this.#closing = true;
    if (this.#retry) clearTimeout(this.#retry);
    this.#retry = null;
    if (reason) this.#bounceAll(reason);
    this.#stream?.close();
    if (!this.#stream) this.#become('closed');
  }

  async #connect(): Promise<void> {
    this.#become('connecting');
    this.story = new Story();
    const began = Date.now();
    try {
      const making = await this.#dialer.dial({ local: this.local, remote: this.remote, steps, story: this.story });
      this.timeToConnect = Date.now() - began;
      this.#opened(making);
    } catch (error) {
      this.#failed(error as LinkError);
    }
  }

  #opened(making: Making): void {
    this.#failures = 0;
    this.lastError = '';
    this.proof = making.proof;
    this.security = !making.stream.isSecure ? 'plain' : making.verdict?.valid ? 'TLS, valid certificate' : 'TLS';
    this.certificateExpires = making.verdict?.notAfter;
    this.#stream = making.stream;
    this.#become('open');
    const handler: StreamHandler = {
      opened: () => {},
      stanza: stanza => this.#events.element(this, stanza),
      closed: ending => this.#ended(ending),
    };
    making.talk.handOver(handler);
    if (this.#closing) making.stream.close();
    else this.#flush();
  }

  /** Sends what waits, as far as the socket takes it. */
  #flush(): void {
    const stream = this.#stream;
    if (!stream) return;
    let sent = 0;
    while (sent < this.#queue.length && stream.pending < congestion) {
      // A batch is written at once, so that `pending` tells of it.
      const batch = Math.min(this.#queue.length, sent + 100);
      for (; sent < batch; sent++) stream.send(this.#queue[sent].stanza);
      stream.flush();
    }
    this.stanzasOut += sent;
    this.#queue = this.#queue.slice(sent);
    if (this.#queue.length > 0) stream.socket.once('drain', () => this.#flush());
    else this.#clearExpiry();
  }

  #failed(error: LinkError): void {
    this.lastError = error.message;
    this.#failures++;
    const backoff = Math.min(lastBackoff, firstBackoff * 2 ** (this.#failures - 1));
    this.#notBefore = Date.now() + backoff * (0.75 + Math.random() / 2);
    this.#become('waiting');
    if (this.#closing) return this.#become('closed');
    if (error.permanent || this.#config().queue.wait === 0) {
      return this.#bounceAll(new StanzaError(error.condition, error.message, 'cancel'));
    }
    if (this.#queue.length > 0) this.open();
  }

  #ended(ending: Ending): void {
    this.#stream = null;
    this.proof = '';
    this.security = '';
    this.story.add(`closed: ${ending.reason}`);
    this.#become('waiting');
    if (this.#queue.length > 0 && !this.#closing) this.open();
    else this.#become('closed');
  }

  /** Returns what has waited too long. */
  #expire(): void {
    this.#expiry = null;
    const limit = Date.now() - this.#config().queue.wait;
    const late = this.#queue.filter(({ since }) => since <= limit);
    this.#queue = this.#queue.filter(({ since }) => since > limit);
    const why = this.lastError || (this.state === 'open' ? `${this.remote} does not read` : this.story.last);
    for (const { stanza } of late) this.#events.bounce(stanza, new StanzaError('remote-server-timeout', why, 'wait'));
    if (this.#queue.length > 0) {
      this.#expiry = setTimeout(() => this.#expire(), Math.max(10, this.#queue[0].since - limit));
    } else if (this.state === 'waiting') {
      if (this.#retry) clearTimeout(this.#retry);
      this.#retry = null;
    }
  }

  #bounceAll(error: StanzaError): void {
    const queue = this.#queue;
    this.#queue = [];
    this.#clearExpiry();
    for (const { stanza } of queue) this.#events.bounce(stanza, error);
  }

  #clearExpiry(): void {
    if (this.#expiry) clearTimeout(this.#expiry);
    this.#expiry = null;
  }

  #become(state: LinkState): void {
    if (this.state === state) return;
    this.state = state;
    this.#events.changed(this);
  }
}
