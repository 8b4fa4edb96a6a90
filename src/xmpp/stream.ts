// One XML stream over one socket, either way: header, stanzas in, batched stanzas out, errors and the closing handshake (RFC 6120 §4).
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import * as tls from 'node:tls';
import { atEndOfTurn, encode } from './batch.ts';
import { type Element, el, escapeAttribute } from './element.ts';
import { StreamError } from './errors.ts';
import { ns } from './namespaces.ts';
import { Scanner, type ScannerLimits, type StreamHeader } from './scanner.ts';
import type { Stanza } from './stanza.ts';

/** How a stream ended: said so by the peer, by us, or neither (the connection was lost). */
export interface Ending {
  by: 'peer' | 'us' | 'lost';
  /** The stream error that was received or sent, if one was. */
  error: StreamError | null;
  /** In words, for the log. */
  reason: string;
}

/** What becomes of a stream's input; replaced as the stream goes through its phases. */
export interface StreamHandler {
  opened(header: StreamHeader): void;
  stanza(stanza: Stanza): void;
  /** The stream is about to be closed properly: what is sent now goes before `</stream:stream>`. */
  closing?(): void;
  /** Once, when nothing more will come or go. */
  closed(ending: Ending): void;
}

export interface StreamOptions {
  contentNs: string;
  limits: ScannerLimits;
  /** Bytes per second that may come in over time, 0 for no limit. */
  rate: number;
  /** Bytes that may wait to be written before the peer counts as not reading. */
  backlog?: number;
}

/** Attributes of a stream header (RFC 6120 §4.7). */
export interface HeaderAttributes {
  from?: string;
  to?: string;
  id?: string;
  version?: string;
  lang?: string;
  /** Further namespace declarations, prefix → URI. */
  prefixes?: Record<string, string>;
}

/** How long a peer may leave what was written to it unread, and how long it may take to answer our closing, in ms. */
const stallTimeout = 60_000;
const closeTimeout = 3_000;

const stalled = new Map<Stream, number>();
let sweep: NodeJS.Timeout | undefined;

/** Closes the streams whose peers have not read for a minute; runs only while there are suspects. */
function watch(stream: Stream): void {
  stalled.set(stream, Date.now());
  if (sweep) return;
  sweep = setInterval(() => {
    const limit = Date.now() - stallTimeout;
    for (const [suspect, since] of stalled) if (since < limit) suspect.destroy('the peer does not read');
    if (stalled.size === 0) {
      clearInterval(sweep);
      sweep = undefined;
    }
  }, 5_000);
  sweep.unref();
}

export class Stream {
  socket: Socket;
  handler: StreamHandler;
  readonly contentNs: string;
  /** The address of the peer; it outlives the connection, for the log. */
  readonly remote: string;
  readonly scanner: Scanner;
  /** Bytes read and written, for metrics. */
  bytesIn = 0;
  bytesOut = 0;
  #rate: number;
  #tokens: number;
  #refilled = 0;
  readonly #backlog: number;
  #parts: (string | Uint8Array)[] = [];
  #headerSent = false;
  #closing = false;
  #ended = false;
  #held = 0;
  #inFlight = 0;
  #error: StreamError | null = null;

  constructor(socket: Socket, options: StreamOptions, handler: StreamHandler) {
    this.socket = socket;
    this.handler = handler;
    this.contentNs = options.contentNs;
    this.remote = socket.remoteAddress ?? '';
    this.#rate = options.rate;
    this.#tokens = burst(options.rate);
    this.#backlog = options.backlog ?? 8 * 1024 * 1024;
    this.scanner = new Scanner(
      {
        streamOpened: header => this.#closing || this.handler.opened(header),
        stanza: stanza => this.#received(stanza),
        streamClosed: () => this.#closedByPeer(),
      },
      options.limits,
    );
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    this.#listen(socket);
  }

  get isClosing(): boolean {
    return this.#closing;
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  get isSecure(): boolean {
    return this.socket instanceof tls.TLSSocket;
  }

  get tls(): tls.TLSSocket | null {
    return this.socket instanceof tls.TLSSocket ? this.socket : null;
  }

  /** Bytes written but not yet taken by the operating system. */
  get pending(): number {
    return this.socket.writableLength;
  }

  /** Sends our stream header; again after each restart (RFC 6120 §4.3.3). */
  open(attributes: HeaderAttributes): void {
    let header = `<?xml version='1.0'?><stream:stream xmlns='${this.contentNs}' xmlns:stream='${ns.streams}'`;
    for (const [prefix, uri] of Object.entries(attributes.prefixes ?? {})) header += ` xmlns:${prefix}='${uri}'`;
    for (const name of ['from', 'to', 'id', 'version'] as const) {
      const value = attributes[name];
      if (value) header += ` ${name}='${escapeAttribute(value)}'`;
    }
    if (attributes.lang) header += ` xml:lang='${escapeAttribute(attributes.lang)}'`;
    this.#headerSent = true;
    this.#push(`${header}>`);
  }

  /** Writes a stanza at the end of this turn. Nothing is written to a stream that is closing. */
  send(stanza: Stanza): void {
    if (this.#closing) return;
    this.#push(stanza.head);
    if (stanza.payload.length > 0) this.#parts.push(stanza.payload, stanza.tail);
  }

  sendElement(element: Element): void {
    if (!this.#closing) this.#push(element.toString(this.contentNs));
  }

  /** Sends what the stream offers in this phase (RFC 6120 §4.3.2). */
  sendFeatures(features: readonly (Element | null)[]): void {
    if (!this.#closing) this.#push(this.#prefixed(el('features', ns.streams, {}, ...features)));
  }

  /**
   * An element of the streams namespace with the prefix that everybody writes.
   * COMPAT(ejabberd, and clients that look at names only): it knows `stream:features`, not the namespace.
   */
  #prefixed({ name, children }: Element): string {
    const inner = children.map(child => (typeof child === 'string' ? '' : child.toString(this.contentNs)));
    return `<stream:${name}>${inner.join('')}</stream:${name}>`;
  }

  /** Writes XML text as it is: only for text that is a constant of ours. */
  sendText(xml: string): void {
    if (!this.#closing) this.#push(xml);
  }

  /** Expects a new stream header from the peer, as after SASL (RFC 6120 §6.4.6). */
  restart(): void {
    this.scanner.restart();
  }

  setLimits(limits: ScannerLimits, rate: number): void {
    this.scanner.setLimits(limits);
    this.#rate = rate;
    this.#tokens = burst(rate);
  }

  /** Stops reading until `release` was called as often as `hold`. */
  hold(): void {
    if (this.#held++ === 0) {
      this.scanner.pause();
      this.socket.pause();
    }
  }

  release(): void {
    if (--this.#held > 0 || this.#ended) return;
    this.#guard(() => this.scanner.resume());
    if (this.#held === 0) this.socket.resume();
  }

  /** Slows reading: no further stanza is read while a hundred wait to be kept. `taken` never rejects. */
  pace(taken: Promise<void>): void {
    if (++this.#inFlight === 100) this.hold();
    void taken.then(() => {
      if (this.#inFlight-- === 100) this.release();
    });
  }

  /**
   * Goes over to TLS as the server after `<proceed/>`, or as the client once it came. Bytes that followed the
   * negotiation in clear text are an attack (RFC 6120 §5.3.1, STARTTLS injection) and end the stream.
   * Resolves when the handshake is done; rejects with its error.
   */
  secure(options: { server: tls.TLSSocketOptions } | { client: tls.ConnectionOptions }): Promise<tls.TLSSocket> {
    if (this.scanner.buffered > 0) {
      const error = new StreamError('policy-violation', 'data was sent in clear text behind the start of TLS');
      this.close(error);
      return Promise.reject(error);
    }
    this.flush();
    const plain = this.socket;
    // Others count on learning that the connection is closed: only our own listener goes.
    plain.removeAllListeners('data').removeAllListeners('end').removeAllListeners('drain').off('close', this.#onClose);
    const secured =
      'server' in options
        ? new tls.TLSSocket(plain, { ...options.server, isServer: true })
        : tls.connect({ ...options.client, socket: plain });
    this.socket = secured;
    this.scanner.restart();
    return new Promise((resolve, reject) => {
      const event = 'server' in options ? 'secure' : 'secureConnect';
      const failed = (error?: Error) => {
        reject(error ?? new Error('the connection was closed during the TLS handshake'));
        this.#end({
          by: 'lost',
          error: null,
          reason: `TLS: ${error?.message ?? 'connection closed in the handshake'}`,
        });
        secured.destroy();
      };
      const closed = () => failed();
      secured.once('error', failed).once('close', closed);
      secured.once(event, () => {
        secured.off('error', failed).off('close', closed);
        if (this.#ended) return failed();
        this.#listen(secured);
        resolve(secured);
      });
    });
  }

  /** Closes with `</stream:stream>`, after a stream error where one is given (RFC 6120 §4.4, §4.9.1.1). */
  close(error: StreamError | null = null): void {
    if (this.#closing) return;
    this.#error = error;
    this.handler.closing?.();
    // Whoever opens a stream has sent a header; who answers gives it an id (RFC 6120 §4.7.3).
    if (!this.#headerSent) this.open({ id: randomBytes(12).toString('base64url'), version: '1.0' });
    if (error) this.#push(this.#prefixed(streamErrorElement(error)));
    this.#push('</stream:stream>');
    this.flush();
    this.#closing = true;
    const { socket } = this;
    socket.end();
    const timer = setTimeout(() => socket.destroy(), closeTimeout).unref();
    socket.once('close', () => clearTimeout(timer));
  }

  /** Ends at once, saying nothing. */
  destroy(reason: string): void {
    this.#end({ by: 'us', error: null, reason });
    this.socket.destroy();
  }

  /** Writes what this turn has gathered. */
  flush(): void {
    if (this.#parts.length === 0) return;
    const parts = this.#parts;
    this.#parts = [];
    if (this.#ended || this.socket.destroyed || this.socket.writableEnded) return;
    const bytes = encode(parts);
    this.bytesOut += bytes.length;
    if (!this.socket.write(bytes) && !stalled.has(this)) {
      watch(this);
      this.socket.once('drain', () => stalled.delete(this));
    }
    if (this.socket.writableLength > this.#backlog) this.destroy('the peer does not read fast enough');
  }

  #push(part: string): void {
    if (this.#parts.push(part) === 1) atEndOfTurn(this);
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => this.#data(chunk));
    socket.on('error', (error: Error) => {
      this.#end({ by: 'lost', error: this.#error, reason: error.message });
      socket.destroy();
    });
    socket.on('end', () => socket.end());
    socket.on('close', this.#onClose);
  }

  readonly #onClose = (): void => {
    this.#end(
      this.#closing
        ? { by: 'us', error: this.#error, reason: this.#error?.message ?? 'closed' }
        : { by: 'lost', error: null, reason: 'the connection was closed without </stream:stream>' },
    );
  };

  #data(chunk: Buffer): void {
    this.bytesIn += chunk.length;
    if (this.#closing && this.#error) return;
    if (this.#rate > 0) this.#spend(chunk.length);
    this.#guard(() => this.scanner.push(chunk));
  }

  /** Runs what may find the input at fault: the fault closes the stream. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      this.close(error);
    }
  }

  /** A token bucket: whoever sends more than the rate is read later (never dropped). */
  #spend(bytes: number): void {
    const now = performance.now();
    this.#tokens = Math.min(burst(this.#rate), this.#tokens + ((now - this.#refilled) / 1000) * this.#rate) - bytes;
    this.#refilled = now;
    if (this.#tokens >= 0) return;
    this.socket.pause();
    setTimeout(() => this.#held === 0 && this.socket.resume(), (-this.#tokens / this.#rate) * 1000).unref();
  }

  /** What was on its way when we closed still counts, as long as there was no error (RFC 6120 §4.4). */
  #received(stanza: Stanza): void {
    if (this.#ended || (this.#closing && this.#error)) return;
    if (stanza.ns === ns.streams && stanza.name === 'error') return this.#errorByPeer(stanza);
    this.handler.stanza(stanza);
  }

  #errorByPeer(stanza: Stanza): void {
    const condition = stanza.children.find(child => child.ns === ns.streamErrors && child.name !== 'text');
    const error = new StreamError(
      (condition?.name ?? 'undefined-condition') as StreamError['condition'],
      stanza.child('text', ns.streamErrors)?.text.slice(0, 500),
    );
    this.close();
    this.#end({ by: 'peer', error, reason: error.message });
  }

  #closedByPeer(): void {
    const first = !this.#closing;
    this.close();
    this.#end(
      first
        ? { by: 'peer', error: null, reason: 'closed by the peer' }
        : { by: 'us', error: this.#error, reason: this.#error?.message ?? 'closed' },
    );
  }

  #end(ending: Ending): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#closing = true;
    stalled.delete(this);
    this.handler.closed(ending);
  }
}

function burst(rate: number): number {
  return rate * 4;
}

/** A stream error as an element (RFC 6120 §4.9.2). */
export function streamErrorElement(error: StreamError): Element {
  return el(
    'error',
    ns.streams,
    {},
    el(error.condition, ns.streamErrors),
    error.text ? el('text', ns.streamErrors, { 'xml:lang': 'en' }, error.text) : null,
    error.more,
  );
}
