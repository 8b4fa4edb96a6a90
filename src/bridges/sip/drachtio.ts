// The drachtio engine: drachtio-server is the SIP edge, with its transports, transactions and routing; we are the user agent behind it.
import { type AgentTimes, agentName, type Network, UserAgent } from './agent.ts';
import { type Outcome, transactionTimes } from './clients.ts';
import { DrachtioHost, type SrfRequest, type SrfResponse } from './drachtio-host.ts';
import type { Engine } from './engine.ts';
import type { Flow } from './flow.ts';
import { Locator } from './locate.ts';
import { type Header, type Message, reasonPhrases, writeRequest, writeResponse } from './message.ts';
import { parseDatagram } from './parser.ts';
import type { Carrier, Draft, Reply } from './sender.ts';
import { ServerTransactions } from './servers.ts';
import type { EngineConfig, EnginePort, Protocol } from './settings.ts';
import { parseUri, type SipUri } from './uri.ts';

export interface DrachtioTimes extends AgentTimes {
  /** How long a start waits for servers, and an answer for its name, in ms. */
  server: number;
}

const defaultTimes: DrachtioTimes = { transactions: transactionTimes, handler: 30_000, server: 3_000 };
/** The last NOTIFY of a dialog may still be on its way, in ms. */
const dialogLinger = 40_000;

/** Makes the drachtio engine: the hosts are tried in their order, and the first that is connected sends. */
export function createDrachtio(config: EngineConfig, port: EnginePort, times: DrachtioTimes = defaultTimes): Engine {
  return new UserAgent(config, port, times, new DrachtioNetwork(config, port, times));
}

/** A dialog as the server knows it: under a name of its own, and with its own Call-ID and tag. */
interface Held {
  host: DrachtioHost;
  dialogId: string;
}

class DrachtioNetwork implements Network, Carrier {
  readonly carrier: Carrier = this;
  readonly servers: ServerTransactions;
  readonly #config: EngineConfig;
  readonly #port: EnginePort;
  readonly #times: DrachtioTimes;
  readonly #locator: Locator;
  readonly #hosts: DrachtioHost[];
  /** Our Call-ID and tag → the dialog at the server. */
  readonly #dialogs = new Map<string, Held>();
  /** The server's Call-ID and tag → ours: it may put its own in the place of those that we asked for. */
  readonly #aliases = new Map<string, { callId: string; tag: string; host: DrachtioHost }>();
  /** Dialogs that our answer makes: the server names them when it has sent it. */
  readonly #accepting = new Map<string, Promise<void>>();
  readonly #waiting = new Map<(reason: string) => void, DrachtioHost>();
  #agent: UserAgent | null = null;
  #stopped = false;

  constructor(config: EngineConfig, port: EnginePort, times: DrachtioTimes) {
    this.#config = config;
    this.#port = port;
    this.#times = times;
    this.#locator = new Locator(port.resolver, config.routes);
    this.servers = new ServerTransactions(times.transactions, () => Promise.reject(new Error('drachtio connects')));
    this.#hosts = config.drachtio!.hosts.map(
      endpoint =>
        new DrachtioHost(endpoint, {
          request: (request, response, host) => this.#receive(request, response, host),
          connected: host => port.log.info({ drachtio: host.name, listening: host.addresses }, 'drachtio connected'),
          lost: host => this.#lost(host),
          error: (host, error) => this.#agent?.note(`drachtio ${host.name}: ${error}`),
        }),
    );
  }

  get addresses(): readonly string[] {
    return this.#hosts.flatMap(host => host.addresses);
  }

  /** Resolves when a server is connected, or after a few seconds: those that are away are tried again for ever. */
  async start(agent: UserAgent): Promise<void> {
    this.#agent = agent;
    for (const host of this.#hosts) host.connect(this.#config.drachtio!.secret);
    const end = Date.now() + this.#times.server;
    while (!this.#hosts.some(host => host.connected) && Date.now() < end && !this.#stopped) {
      await new Promise(resolve => setTimeout(resolve, 10));
    }
    if (!this.#hosts.some(host => host.connected)) this.#port.log.warn('no drachtio-server answers yet');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const host of this.#hosts) host.close();
    for (const end of [...this.#waiting.keys()]) end('the engine is stopped');
  }

  forget(callId: string, tag: string): void {
    setTimeout(() => {
      this.#dialogs.delete(`${callId} ${tag}`);
      for (const [key, alias] of this.#aliases)
        if (alias.callId === callId && alias.tag === tag) this.#aliases.delete(key);
    }, dialogLinger).unref();
  }

  show(): Record<string, unknown> {
    return {
      drachtio: this.#hosts.map(host => `${host.name} ${host.connected ? 'connected' : 'away'}`),
      transactions: { client: this.#waiting.size, server: this.servers.count, repeated: this.servers.repeated },
    };
  }

  isConfigured(uri: SipUri): boolean {
    return this.#locator.routesFor(uri) !== undefined;
  }

  /** Via is the server's: loops end by Max-Forwards and by the server's own check. */
  hasSeen(): boolean {
    return false;
  }

  async carry(draft: Draft, more: readonly Header[]): Promise<Reply> {
    const headers = headersOf(draft, more);
    writeRequest(draft.method, draft.uri, headers);
    const body = draft.body?.length ? Buffer.from(draft.body) : undefined;
    if (body && Buffer.compare(body, Buffer.from(body.toString())))
      return gone('drachtio carries only bodies that are UTF-8');
    const common = { method: draft.method, headers: toObject(headers), body: body?.toString() };
    const key = `${draft.callId} ${draft.fromTag}`;
    if (draft.toTag) {
      await this.#accepting.get(key);
      const held = this.#dialogs.get(key);
      if (!held) return forgotten;
      return this.#exchange(held.host, { ...common, stackDialogId: held.dialogId }, draft);
    }
    let last = gone('no drachtio-server is connected');
    const uri = parseUri(draft.uri);
    const routes = uri && this.#locator.routesFor(uri);
    for (const host of this.#hosts.filter(one => one.connected)) {
      for (const hop of routes ?? [undefined]) {
        last = await this.#exchange(host, { ...common, uri: draft.uri, proxy: hop?.text }, draft);
        const { outcome } = last;
        if (outcome.kind === 'silence' || (outcome.kind === 'answered' && outcome.response.status !== 503)) return last;
        // Only without an answer is the next server any better.
        if (outcome.kind === 'unreachable') break;
      }
      if (last.outcome.kind === 'answered') return last;
    }
    return last;
  }

  #exchange(host: DrachtioHost, options: Parameters<DrachtioHost['request']>[0], draft: Draft): Promise<Reply> {
    return new Promise(resolve => {
      const sequence = draft.nextSequence();
      const end = (outcome: Outcome) => {
        clearTimeout(limit);
        this.#waiting.delete(lost);
        resolve({ outcome, flow: null, sequence });
      };
      const lost = (reason: string) => end({ kind: 'unreachable', reason });
      const limit = setTimeout(() => end({ kind: 'silence' }), draft.timeout ?? 64 * this.#times.transactions.t1);
      this.#waiting.set(lost, host);
      host.request(options, {
        sent: request => this.#learn(request.msg.raw, draft, host),
        failed: lost,
        response: ({ msg, stackDialogId }) => {
          const message = read(msg.raw);
          if (!message || message.status < 200) return;
          const makes = draft.method === 'SUBSCRIBE' && message.status < 300;
          if (makes && stackDialogId)
            this.#dialogs.set(`${draft.callId} ${draft.fromTag}`, { host, dialogId: stackDialogId });
          end({ kind: 'answered', response: message });
        },
      });
    });
  }

  /** Under which names the server has sent what makes a dialog. */
  #learn(raw: string, draft: Draft, host: DrachtioHost): void {
    if (draft.method !== 'SUBSCRIBE' || draft.toTag) return;
    const sent = read(raw);
    if (sent) this.#aliases.set(`${sent.callId} ${sent.fromTag}`, { callId: draft.callId, tag: draft.fromTag, host });
  }

  #receive(request: SrfRequest, response: SrfResponse, host: DrachtioHost): void {
    const message = read(request.msg.raw);
    if (!message) return response.send(400, 'Bad Request', { headers: {} }, () => {});
    const theirs = `${message.callId} ${message.toTag}`;
    const alias = this.#aliases.get(theirs);
    if (alias) {
      message.callId = alias.callId;
      message.to.params.set('tag', alias.tag);
      if (request.stackDialogId)
        this.#dialogs.set(`${alias.callId} ${alias.tag}`, { host, dialogId: request.stackDialogId });
    }
    this.#agent?.receive(message, new DrachtioFlow(request, bytes => this.#answer(message, bytes, response, host)));
  }

  /** Gives our answer to the server, which adds what the transaction knows. */
  #answer(request: Message, bytes: Uint8Array, response: SrfResponse, host: DrachtioHost): void {
    const answer = parseDatagram(Buffer.from(bytes));
    const headers = toObject(answer.headers.filter(([name]) => !serverSide.has(name)));
    // Where the request has no tag, the server may take ours.
    if (!request.toTag) headers.To = `${request.header('to')};tag=${answer.toTag}`;
    const body = answer.body.length > 0 ? Buffer.from(answer.body).toString() : undefined;
    const known = answer.status in reasonPhrases ? answer.status : 100 * Math.floor(answer.status / 100);
    if (request.method !== 'SUBSCRIBE' || request.toTag || answer.status >= 300) {
      response.send(known, answer.reason, { headers, body }, () => {});
      return;
    }
    const key = `${request.callId} ${answer.toTag}`;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#accepting.set(key, promise);
    const named = () => {
      clearTimeout(limit);
      this.#accepting.delete(key);
      resolve();
    };
    const limit = setTimeout(named, this.#times.server);
    response.send(known, answer.reason, { headers, body }, (error, sent) => {
      if (error || !sent) return named();
      const { toTag } = read(sent.raw) ?? answer;
      this.#aliases.set(`${request.callId} ${toTag}`, { callId: request.callId, tag: answer.toTag, host });
      if (response.stackDialogId) this.#dialogs.set(key, { host, dialogId: response.stackDialogId });
      named();
    });
  }

  /** The dialogs of a server that is gone are gone too: the next request in one of them says so. */
  #lost(host: DrachtioHost): void {
    this.#port.log.warn({ drachtio: host.name }, 'drachtio connection lost');
    this.#agent?.note(`drachtio ${host.name}: the connection was lost`);
    const over = [...this.#dialogs].filter(([, held]) => held.host === host).map(([key]) => key);
    for (const key of over) this.#dialogs.delete(key);
    for (const [key, alias] of this.#aliases) if (alias.host === host) this.#aliases.delete(key);
    for (const [end, waiting] of [...this.#waiting]) if (waiting === host) end('the connection to drachtio was lost');
    this.#agent?.dialogsLost(over);
  }
}

/** What the server writes itself, in answers and in requests within a dialog. */
const serverSide = new Set([
  'via',
  'from',
  'to',
  'call-id',
  'cseq',
  'content-length',
  'contact',
  'record-route',
  'server',
]);

/** Within a dialog the server knows who speaks to whom; the Contact is always its own. */
function headersOf(draft: Draft, more: readonly Header[]): Header[] {
  const own: Header[] = [['User-Agent', agentName], ...more, ...draft.headers];
  if (draft.toTag) return own;
  return [['From', `${draft.from};tag=${draft.fromTag}`], ['To', draft.to], ['Call-ID', draft.callId], ...own];
}

/** drachtio-srf has one value for each name: lists are joined; of challenges, which cannot be, the first counts. */
function toObject(headers: readonly Header[]): Record<string, string> {
  const object: Record<string, string> = {};
  for (const [name, value] of headers) {
    if (!(name in object)) object[name] = value;
    else if (!/-authenticate$/i.test(name)) object[name] += `, ${value}`;
  }
  return object;
}

function read(raw: string): Message | null {
  try {
    return parseDatagram(Buffer.from(raw));
  } catch {
    return null;
  }
}

function gone(reason: string): Reply {
  return { outcome: { kind: 'unreachable', reason }, flow: null, sequence: 0 };
}

/** What a peer would answer in a dialog that is gone with its drachtio-server. */
const forgotten: Reply = {
  outcome: {
    kind: 'answered',
    response: parseDatagram(
      writeResponse(481, 'The dialog is gone with its drachtio-server', [
        ['Via', 'SIP/2.0/TCP localhost'],
        ['From', '<sip:localhost>;tag=1'],
        ['To', '<sip:localhost>;tag=1'],
        ['Call-ID', 'none'],
        ['CSeq', '1 NOTIFY'],
      ]),
    ),
  },
  flow: null,
  sequence: 0,
};

/** The way back for one request: its transaction at the server. */
class DrachtioFlow implements Flow {
  readonly protocol: Protocol;
  readonly reliable = true;
  readonly remote: { address: string; port: number };
  readonly local = { address: 'localhost', port: 5060 };
  readonly certificateNames: readonly string[] = [];
  readonly closed = false;
  readonly #answer: (bytes: Uint8Array) => void;

  constructor(request: SrfRequest, answer: (bytes: Uint8Array) => void) {
    const protocol = request.protocol.toLowerCase();
    this.protocol = (['tcp', 'tls', 'ws', 'wss'] as const).find(one => one === protocol) ?? 'udp';
    this.remote = { address: request.source_address.replace(/^\[|\]$/g, ''), port: request.source_port };
    this.#answer = answer;
  }

  async send(bytes: Uint8Array): Promise<void> {
    this.#answer(bytes);
  }

  at(): Flow {
    return this;
  }

  close(): void {}
}
