// A fake SIP engine in memory, for tests of the bridge's state machine only: it opens no socket and speaks no SIP.
import type {
  Engine,
  EngineHandler,
  Notification,
  Outgoing,
  SipAnswer,
  SipRequest,
  SipResponse,
  SubscriptionEnd,
  SubscriptionIn,
  Watching,
  WatchListener,
} from '../../../src/bridges/sip/engine.ts';

/** A subscription that the bridge has made. */
export interface FakeWatch {
  wish: Watching;
  listener: WatchListener;
  ended: boolean;
  /** The peer says NOTIFY. */
  notifies(state: Notification['state'], body?: string, more?: Partial<Notification>): void;
  /** It is over from the peer's side. */
  ends(end: Partial<SubscriptionEnd>): void;
}

/** A subscription that a SIP user has made, with all that the bridge has said in it. */
export interface FakeDialog {
  subscription: SubscriptionIn;
  notified: { state: string; reason?: string; body: string }[];
  answer: SipAnswer;
}

export class FakeEngine implements Engine {
  handler!: EngineHandler;
  readonly addresses = ['udp:127.0.0.1:5060'];
  readonly sent: Outgoing[] = [];
  readonly watches: FakeWatch[] = [];
  /** Answers what is sent. */
  answer: (request: Outgoing) => Partial<SipResponse> | Promise<Partial<SipResponse>> = () => ({ status: 200 });

  async start(handler: EngineHandler): Promise<void> {
    this.handler = handler;
  }

  async send(request: Outgoing): Promise<SipResponse> {
    this.sent.push(request);
    return response(await this.answer(request));
  }

  subscribe(wish: Watching, listener: WatchListener) {
    const watch: FakeWatch = {
      wish,
      listener,
      ended: false,
      notifies: (state, body = '', more = {}) =>
        listener.notify({
          state,
          reason: '',
          retryAfter: undefined,
          expires: 3600,
          contentType: body ? 'application/pidf+xml' : '',
          body: Buffer.from(body),
          ...more,
        }),
      ends: end => listener.ended({ kind: 'terminated', status: 0, reason: '', retryAfter: undefined, ...end }),
    };
    this.watches.push(watch);
    return {
      id: String(this.watches.length),
      refresh: () => {},
      end: async () => {
        watch.ended = true;
        listener.ended({ kind: 'closed', status: 0, reason: '', retryAfter: undefined });
      },
    };
  }

  async stop(): Promise<void> {}

  show() {
    return {};
  }

  /** A MESSAGE comes in. */
  message(from: string, to: string, body: string, more: Partial<SipRequest> = {}): Promise<SipAnswer> {
    return this.handler.message(
      request('MESSAGE', from, to, { contentType: 'text/plain', body: Buffer.from(body), ...more }),
    );
  }

  /** A SUBSCRIBE comes in. */
  async subscribes(from: string, to: string, more: Partial<SubscriptionIn> = {}): Promise<FakeDialog> {
    const incoming = request('SUBSCRIBE', from, to);
    const notified: FakeDialog['notified'] = [];
    let over = false;
    const subscription: SubscriptionIn = {
      id: `${from} ${to}`,
      from,
      to,
      event: 'presence',
      eventId: '',
      expires: 3600,
      notify: async ({ state, reason, body }) => {
        if (over) return 481;
        over = state === 'terminated';
        notified.push({ state, ...(reason ? { reason } : {}), body: Buffer.from(body ?? []).toString() });
        return 200;
      },
      onRefresh: () => {},
      onEnd: () => {},
      ...more,
    };
    return { subscription, notified, answer: await this.handler.subscribe!(incoming, subscription) };
  }

  /** A PUBLISH comes in. */
  publish(from: string, body: string, headers: Record<string, string> = {}): Promise<SipAnswer> {
    const parts = { contentType: body ? 'application/pidf+xml' : '', body: Buffer.from(body) };
    return this.handler.publish!(request('PUBLISH', from, from, parts, { event: 'presence', ...headers }));
  }
}

export function request(
  method: string,
  from: string,
  to: string,
  more: Partial<SipRequest> = {},
  headers: Record<string, string> = {},
): SipRequest {
  const header = (name: string): string | undefined => headers[name.toLowerCase()];
  return {
    method,
    uri: to,
    from,
    to,
    fromHeader: `<${from}>`,
    toHeader: `<${to}>`,
    displayName: '',
    callId: 'a-call',
    header,
    headersOf: name => (header(name) === undefined ? [] : [header(name)!]),
    contentType: '',
    body: Buffer.alloc(0),
    source: { protocol: 'udp', address: '127.0.0.1', port: 5060, certificateNames: [] },
    ...more,
  };
}

function response(parts: Partial<SipResponse>): SipResponse {
  return {
    status: 200,
    reason: 'OK',
    header: () => undefined,
    headersOf: () => [],
    contentType: '',
    body: Buffer.alloc(0),
    retryAfter: undefined,
    local: false,
    ...parts,
  };
}
