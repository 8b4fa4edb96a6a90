// One drachtio-server: the connection to it, and requests through it, with drachtio-srf as the wire.
import Srf from 'drachtio-srf';
import type { Endpoint } from '../../hub/config.ts';
import { formatEndpoint } from '../../hub/listener.ts';

/** What drachtio-srf hands out and its types do not say. */
export interface SrfMessage {
  readonly raw: string;
}

export interface SrfRequest {
  readonly msg: SrfMessage;
  readonly source_address: string;
  readonly source_port: number;
  readonly protocol: string;
  readonly stackDialogId?: string;
  on(event: 'response', listener: (response: SrfResponse) => void): void;
}

export interface SrfResponse {
  readonly msg: SrfMessage;
  readonly stackDialogId?: string;
  send(
    status: number,
    reason: string,
    options: { headers: Record<string, string>; body?: string },
    sent: (error: unknown, message?: SrfMessage) => void,
  ): void;
}

export interface SrfOptions {
  method: string;
  uri?: string;
  stackDialogId?: string;
  proxy?: string;
  headers: Record<string, string>;
  body?: string;
}

interface SrfLike {
  on(event: string, listener: (...args: never[]) => void): void;
  use(method: string, handler: (request: SrfRequest, response: SrfResponse) => void): void;
  connect(options: { host: string; port: number; secret: string; reconnect: { retryMaxDelay: number } }): void;
  request(options: SrfOptions, sent: (error: Error | null, request: SrfRequest) => void): void;
  readonly app: {
    client?: {
      wp: { closing?: boolean; reconnectVars?: { retryTimer?: NodeJS.Timeout } };
      mapServer: Map<{ destroy(): void }, unknown>;
    };
  };
}

export interface RequestEvents {
  /** The request as the server has sent it. */
  sent(request: SrfRequest): void;
  response(response: SrfResponse): void;
  failed(reason: string): void;
}

export interface HostEvents {
  request(request: SrfRequest, response: SrfResponse, host: DrachtioHost): void;
  connected(host: DrachtioHost): void;
  /** The connection is gone, and with it every dialog and transaction that this server held for us. */
  lost(host: DrachtioHost): void;
  error(host: DrachtioHost, error: string): void;
}

const methods = ['message', 'subscribe', 'notify', 'publish', 'options', 'register'];
const retryMaxDelay = 5_000;

export class DrachtioHost {
  readonly name: string;
  readonly #endpoint: Endpoint;
  readonly #srf = new Srf() as unknown as SrfLike;
  readonly #events: HostEvents;
  /** Where the server listens for SIP, as it says itself; empty while it is away. */
  addresses: string[] = [];
  #connected = false;

  constructor(endpoint: Endpoint, events: HostEvents) {
    this.name = formatEndpoint(endpoint);
    this.#endpoint = endpoint;
    this.#events = events;
    for (const method of methods) this.#srf.use(method, (request, response) => events.request(request, response, this));
    this.#srf.on('connect', (error: Error | null, places = '') => this.#greeted(error, places));
    this.#srf.on('error', (error: Error) => events.error(this, error.message));
    this.#srf.on('close', () => this.#gone());
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Connects, and again whenever the connection is lost. */
  connect(secret: string): void {
    const { host, port } = this.#endpoint;
    this.#srf.connect({ host, port, secret, reconnect: { retryMaxDelay } });
  }

  /** Has the server send a request. It fails where the connection is gone, or the server knows no such dialog. */
  request(options: SrfOptions, events: RequestEvents): void {
    if (!this.#connected) return events.failed(`drachtio at ${this.name} is not connected`);
    // Within a dialog the server knows the target, but srf wants to be told one.
    const whole = { uri: 'sip:placeholder', ...options };
    this.#srf.request(whole, (error, sent) => {
      if (error) return events.failed(error.message);
      // At once: the answer may stand behind the echo in the same chunk.
      sent.on('response', response => events.response(response));
      events.sent(sent);
    });
  }

  close(): void {
    const { client } = this.#srf.app;
    if (!client) return;
    // `disconnect()` throws without a connection, and leaves the timer that makes the next one.
    client.wp.closing = true;
    clearTimeout(client.wp.reconnectVars?.retryTimer);
    for (const socket of client.mapServer.keys()) socket.destroy();
    this.#connected = false;
  }

  #greeted(error: Error | null, places: string): void {
    if (error) return this.#events.error(this, error.message);
    this.#connected = true;
    this.addresses = places.split(',').filter(place => place !== '');
    this.#events.connected(this);
  }

  #gone(): void {
    if (!this.#connected) return;
    this.#connected = false;
    this.addresses = [];
    this.#events.lost(this);
  }
}
