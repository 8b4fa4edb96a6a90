// What the SIP bridge asks of a SIP engine: requests out and in, and subscriptions both ways; no SIP syntax above it.

/** Where a request came from, as the transport saw it. */
export interface SipSource {
  readonly protocol: 'udp' | 'tcp' | 'tls' | 'ws' | 'wss';
  readonly address: string;
  readonly port: number;
  /** The DNS names of the peer's verified certificate; empty without one. */
  readonly certificateNames: readonly string[];
  /** The user that the request's digest proved (RFC 3261 §22), where one was asked for. */
  readonly authenticated?: string;
}

/** A request that came in and passed the engine's checks: syntax, Max-Forwards, loops, source, rate, digest. */
export interface SipRequest {
  readonly method: string;
  /** The request-URI as it came. */
  readonly uri: string;
  /** The address (a URI without display name and header parameters) in From. */
  readonly from: string;
  /** The address in To. */
  readonly to: string;
  /** The whole header values, with display name and parameters. */
  readonly fromHeader: string;
  readonly toHeader: string;
  /** The display name in From, unquoted; '' where there is none. */
  readonly displayName: string;
  readonly callId: string;
  /** The first value of a header, by its long name in any case: `header('Subject')`. */
  header(name: string): string | undefined;
  /** All values of a header, one for each line that it came in. */
  headersOf(name: string): string[];
  /** The media type as it came, with parameters; '' where there is none. */
  readonly contentType: string;
  /** The body, with its Content-Encoding undone. */
  readonly body: Uint8Array;
  readonly source: SipSource;
}

/** What a handler answers a request with. */
export interface SipAnswer {
  /** 200–699. */
  status: number;
  reason?: string;
  headers?: [name: string, value: string][];
  contentType?: string;
  body?: Uint8Array;
}

/** The final answer to a request that we sent. */
export interface SipResponse {
  readonly status: number;
  readonly reason: string;
  header(name: string): string | undefined;
  headersOf(name: string): string[];
  readonly contentType: string;
  readonly body: Uint8Array;
  /** From Retry-After, in seconds (RFC 3261 §20.33). */
  readonly retryAfter: number | undefined;
  /** True where no peer answered and the engine made the response: 408 after timer F, 503 for an unreachable peer (§8.1.3.1). */
  readonly local: boolean;
}

/** A request to send outside of a dialog. Values with CR, LF or NUL are refused with a SipSyntaxError. */
export interface Outgoing {
  method: 'MESSAGE' | 'PUBLISH' | 'OPTIONS' | 'REGISTER';
  /** The request-URI: sip, sips, tel, im or pres. It decides the next hop, unless `routes` names one for its domain. */
  uri: string;
  /** The URI in From. */
  from: string;
  /** The URI in To; the request-URI where it is absent. */
  to?: string;
  displayName?: string;
  /** Ties requests to one conversation (a `callid`, RFC 3261 §25.1); a fresh one where it is absent. */
  callId?: string;
  headers?: [name: string, value: string][];
  contentType?: string;
  body?: Uint8Array;
  /** How long to wait for a final answer, in ms; 32 s (64·T1, timer F) where it is absent. */
  timeout?: number;
}

/** How a subscription of ours ended or was put (RFC 6665 §4.1.3). */
export interface Notification {
  state: 'active' | 'pending' | 'terminated';
  /** deactivated, probation, rejected, timeout, giveup, noresource, invariant; '' where none was given. */
  reason: string;
  retryAfter: number | undefined;
  /** The seconds that the notifier grants from now. */
  expires: number | undefined;
  contentType: string;
  /** With its Content-Encoding undone; empty where there is none. */
  body: Uint8Array;
}

/** Why a subscription of ours is over. */
export interface SubscriptionEnd {
  /**
   * `refused`: the peer answered SUBSCRIBE with an error; `terminated`: a NOTIFY said so; `lost`: the peer did not
   * answer, forgot the dialog (481) or sent no NOTIFY; `closed`: by `end()`.
   */
  kind: 'refused' | 'terminated' | 'lost' | 'closed';
  /** The status of the last answer to SUBSCRIBE, 0 where there was none. */
  status: number;
  /** The reason in Subscription-State, or the reason phrase. */
  reason: string;
  /** Seconds to wait before a new try, where the peer named them. */
  retryAfter: number | undefined;
}

/** A new subscription of ours. The engine sends SUBSCRIBE, refreshes it before it runs out, and answers each NOTIFY. */
export interface Watching {
  /** Whose state: the request-URI. */
  uri: string;
  from: string;
  displayName?: string;
  /** The event package: `presence`. */
  event: string;
  /** Media types for Accept. */
  accept: string[];
  /** Seconds to ask for; 0 fetches the state once (RFC 6665 §4.4.3). */
  expires: number;
  headers?: [name: string, value: string][];
}

/**
 * Calls come in order, `ended` last and exactly once. After `ended` the engine has forgotten the subscription: to try
 * again after `retryAfter` is up to the listener.
 */
export interface WatchListener {
  notify(notification: Notification): void;
  ended(end: SubscriptionEnd): void;
}

/** We watch them. */
export interface SubscriptionOut {
  readonly id: string;
  /** Sends SUBSCRIBE at once, asking for `expires` seconds (or the first wish) from now on. */
  refresh(expires?: number): void;
  /** Unsubscribes. Resolves when the peer has said `terminated`, or has had a few seconds to. Never rejects. */
  end(): Promise<void>;
}

/** They watch us. It exists from the SUBSCRIBE on, in the state that the first `notify` says. */
export interface SubscriptionIn {
  readonly id: string;
  /** Who watches, and whom: the addresses in From and To of the SUBSCRIBE that made it. */
  readonly from: string;
  readonly to: string;
  /** The event package and its `id` parameter, '' where it has none. */
  readonly event: string;
  readonly eventId: string;
  /** What the subscriber asked for, at most an hour; 0: it only fetches. The bridge's 2xx answer may carry less. */
  readonly expires: number;
  /**
   * Sends NOTIFY in the dialog; those of one subscription go one after another. Resolves with the status of the
   * answer: 408 for none, 481 where the subscriber has gone (the subscription is over then and `onEnd` is called).
   * `expires` in the state defaults to the time left. After `terminated` nothing more can be sent. Never rejects.
   */
  notify(state: {
    state: 'active' | 'pending' | 'terminated';
    reason?: string;
    retryAfter?: number;
    expires?: number;
    contentType?: string;
    body?: Uint8Array;
  }): Promise<number>;
  /** The subscriber refreshed it: the listener says NOTIFY with the full state (RFC 6665 §4.2.1). */
  onRefresh: (expires: number) => void;
  /**
   * The subscriber unsubscribed (`unsubscribed`; the listener sends the last NOTIFY, `terminated`), the time ran out
   * (`expired`; likewise), or the subscriber is gone (`lost`; no NOTIFY can be sent). Called once, and not after a
   * `terminated` of our own.
   */
  onEnd: (why: 'unsubscribed' | 'expired' | 'lost') => void;
}

/**
 * Takes what comes in. A handler that is absent makes the engine answer 405; one that throws, 500; one that does not
 * answer within 30 seconds, 504. Requests come in the order of their arrival, handlers run concurrently.
 */
export interface EngineHandler {
  message(request: SipRequest): Promise<SipAnswer>;
  publish?(request: SipRequest): Promise<SipAnswer>;
  register?(request: SipRequest): Promise<SipAnswer>;
  /**
   * A new subscription. A 2xx answer accepts it (the engine adds Expires and Contact); the handler calls
   * `subscription.notify` after it has answered, or before: the engine sends the 200 first in any case.
   */
  subscribe?(request: SipRequest, subscription: SubscriptionIn): Promise<SipAnswer>;
  /** Whether somebody is reachable; 200 by the engine where it is absent. */
  options?(request: SipRequest): Promise<SipAnswer>;
}

export interface Engine {
  /** Opens the listeners. Rejects where one cannot be had. */
  start(handler: EngineHandler): Promise<void>;
  /**
   * Resolves with the final answer, whatever it is: 3xx are followed and 401/407 answered where credentials are known
   * before. Never rejects but for a request that cannot be written (SipSyntaxError).
   */
  send(request: Outgoing): Promise<SipResponse>;
  /** Throws a SipSyntaxError where the request cannot be written. */
  subscribe(wish: Watching, listener: WatchListener): SubscriptionOut;
  /** Ends without waiting on slow peers: subscriptions are left as they are (a restart takes them up anew). */
  stop(): Promise<void>;
  /** The bound listeners: `udp:127.0.0.1:5060`. */
  readonly addresses: readonly string[];
  /** For `isthmus bridge show`: dialogs, transports, counters and last errors. Plain data, no secrets. */
  show(): Record<string, unknown>;
}

/** A value that SIP's syntax cannot carry: our own or a peer's. */
export class SipSyntaxError extends Error {
  override readonly name = 'SipSyntaxError';
}
