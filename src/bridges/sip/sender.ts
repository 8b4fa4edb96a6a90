// Sends requests: finds the hops, writes the headers, tries the next hop, answers challenges and follows redirects.
import type { ClientTransactions, Outcome } from './clients.ts';
import { magic, randomToken, shortDigest } from './core.ts';
import { answerChallenge, pickChallenge } from './digest.ts';
import { parseNameAddr, quote, splitList } from './fields.ts';
import type { Flow } from './flow.ts';
import type { Locator } from './locate.ts';
import { type Header, type Message, writeRequest } from './message.ts';
import type { EngineConfig } from './settings.ts';
import type { Hop, Transports } from './transports.ts';
import { bareHost, formatSipUri, parseUri, type SipUri } from './uri.ts';

/** A request before it is known where it goes. */
export interface Draft {
  method: string;
  /** The request-URI, or in a dialog the remote target. */
  uri: string;
  /** The route set of a dialog, first to visit first. */
  routes: readonly string[];
  /** Header values without tags. */
  from: string;
  fromTag: string;
  to: string;
  toTag: string;
  callId: string;
  /** Gives the number for each try. */
  nextSequence: () => number;
  /** The user part that Contact has; null: no Contact. */
  contactUser: string | null;
  headers: readonly Header[];
  body?: Uint8Array;
  /** In ms. */
  timeout?: number;
  /** The connection to prefer while it is open: that of the peer's own request in a dialog. */
  flow?: Flow;
}

/** The final answer, or why there is none. `flow` is the one that answered. */
export interface Reply {
  outcome: Outcome;
  flow: Flow | null;
  /** The CSeq number of the try that was answered. */
  sequence: number;
}

/** Above this, a request goes by TCP (RFC 3261 §18.1.1). */
const datagramLimit = 1300;
/** What the headers that are not known yet take at most. */
const headroom = 400;
const mostRedirects = 5;

export class Sender {
  /** Stands in every branch of this engine, so that a request that comes back is known (RFC 3261 §16.6.8). */
  readonly instance = randomToken().slice(0, 8);
  readonly #locator: Locator;
  readonly #transports: Transports;
  readonly #clients: ClientTransactions;
  readonly #credentials: EngineConfig['credentials'];
  readonly #agent: string;

  constructor(parts: {
    locator: Locator;
    transports: Transports;
    clients: ClientTransactions;
    credentials: EngineConfig['credentials'];
    agent: string;
  }) {
    this.#locator = parts.locator;
    this.#transports = parts.transports;
    this.#clients = parts.clients;
    this.#credentials = parts.credentials;
    this.#agent = parts.agent;
  }

  /** Whether a request has been through here for the same request-URI already (RFC 3261 §16.3.4). */
  hasSeen(request: Message): boolean {
    const ours = `${magic}${this.instance}`;
    const through = request.vias.filter(via => via.includes(ours));
    return through.length > 0 && through.some(via => via.includes(`${ours}${loopKey(request.uriText)}`));
  }

  /** Resolves with the final answer or why there is none. Throws SipSyntaxError for what cannot be written. */
  async send(draft: Draft): Promise<Reply> {
    let reply = await this.#authenticated(draft);
    const tried = new Set([draft.uri]);
    const waiting: string[] = [];
    while (reply.outcome.kind === 'answered' && !draft.toTag && tried.size <= mostRedirects) {
      const { response } = reply.outcome;
      if (response.status >= 300 && response.status < 400) waiting.unshift(...redirects(response));
      else if (response.status < 300 || tried.size === 1) break;
      const next = waiting.find(uri => !tried.has(uri));
      if (!next) break;
      tried.add(next);
      reply = await this.#authenticated({ ...draft, uri: next, flow: undefined });
    }
    return reply;
  }

  async #authenticated(draft: Draft): Promise<Reply> {
    const reply = await this.#routed(draft, []);
    const authorization = this.#authorize(draft, reply.outcome);
    if (!authorization) return reply;
    const again = await this.#routed(draft, [authorization], reply.flow);
    // A nonce may have run out between the two (RFC 7616 §3.3).
    const stale = again.outcome.kind === 'answered' && isStale(again.outcome.response);
    const renewed = stale ? this.#authorize(draft, again.outcome) : null;
    return renewed ? this.#routed(draft, [renewed], again.flow) : again;
  }

  #authorize(draft: Draft, outcome: Outcome): Header | null {
    if (outcome.kind !== 'answered' || ![401, 407].includes(outcome.response.status)) return null;
    const proxy = outcome.response.status === 407;
    const challenge = pickChallenge(outcome.response.headersOf(proxy ? 'proxy-authenticate' : 'www-authenticate'));
    if (!challenge) return null;
    const realm = challenge.get('realm')!.toLowerCase();
    // Credentials for a domain answer only that domain's servers: the realm is the peer's word.
    const who = this.#credentials.get(realm) ?? this.#credentials.get(parseUri(draft.uri)?.host ?? '');
    if (!who) return null;
    return [proxy ? 'Proxy-Authorization' : 'Authorization', answerChallenge(challenge, who, draft.method, draft.uri)];
  }

  /** Tries the hops one after another until one answers with anything but 503 (RFC 3263 §4.3). */
  async #routed(
    draft: Draft,
    more: readonly Header[],
    preferred: Flow | null | undefined = draft.flow,
  ): Promise<Reply> {
    const { target, routes } = route(draft);
    const next = parseUri(routes.length > 0 ? (parseNameAddr(routes[0])?.uri.text ?? '') : target);
    if (!next) return unreachable('the target is no URI that leads anywhere');
    const large = sizeOf(draft) + headroom > datagramLimit;
    let last: Reply | null = null;
    if (preferred && !preferred.closed && preferred.reliable) {
      last = await this.#once(draft, target, routes, more, preferred);
      if (last.outcome.kind !== 'unreachable') return last;
    }
    let hops: Hop[];
    try {
      hops = await this.#locator.hops(next, large);
    } catch (error) {
      return last ?? unreachable((error as Error).message);
    }
    for (const hop of hops) {
      const flow = await this.#transports.flowTo(hop).catch((error: Error) => error);
      if (flow instanceof Error) {
        this.#locator.failed(hop);
        last = unreachable(flow.message);
        continue;
      }
      last = await this.#once(draft, target, routes, more, flow);
      const { outcome } = last;
      if (outcome.kind === 'unreachable') this.#locator.failed(hop);
      else if (outcome.kind === 'silence' || outcome.response.status !== 503) return last;
    }
    return last ?? unreachable('there is nowhere to send it to');
  }

  async #once(
    draft: Draft,
    target: string,
    routes: readonly string[],
    more: readonly Header[],
    flow: Flow,
  ): Promise<Reply> {
    const sequence = draft.nextSequence();
    const branch = `${magic}${this.instance}${loopKey(target)}${randomToken()}`;
    const { protocol, local } = flow;
    const place = { host: local.address, port: local.port };
    const sentBy = formatSipUri(place).slice('sip:'.length);
    const headers: Header[] = [
      ['Via', `SIP/2.0/${protocol.toUpperCase()} ${sentBy};branch=${branch}${protocol === 'udp' ? ';rport' : ''}`],
      ['Max-Forwards', '70'],
      ['From', `${draft.from};tag=${draft.fromTag}`],
      ['To', draft.toTag ? `${draft.to};tag=${draft.toTag}` : draft.to],
      ['Call-ID', draft.callId],
      ['CSeq', `${sequence} ${draft.method}`],
    ];
    for (const uri of routes) headers.push(['Route', uri]);
    if (draft.contactUser !== null) headers.push(['Contact', `<${contactOf(draft.contactUser, flow)}>`]);
    headers.push(['User-Agent', this.#agent], ...more, ...draft.headers);
    const bytes = writeRequest(draft.method, target, headers, draft.body);
    const outcome = await this.#clients.send(flow, draft.method, branch, bytes, draft.timeout);
    return { outcome, flow, sequence };
  }
}

/** Where requests of the peer find us, over the same transport. */
export function contactOf(user: string, flow: Flow): string {
  const { protocol, local } = flow;
  const params: [string, string][] = protocol === 'udp' ? [] : [['transport', protocol === 'wss' ? 'ws' : protocol]];
  return formatSipUri({
    scheme: protocol === 'wss' ? 'sips' : 'sip',
    user,
    host: local.address,
    port: local.port,
    params,
  });
}

/** A name-addr of ours: `"Romeo" <sip:romeo@montague.test>`. */
export function nameAddr(uri: string, displayName = ''): string {
  return displayName ? `${quote(displayName)} <${uri}>` : `<${uri}>`;
}

/** Strict routers of RFC 2543 want the target last (RFC 3261 §12.2.1.1). */
function route({ uri, routes }: Draft): { target: string; routes: readonly string[] } {
  const first = routes.length > 0 ? parseNameAddr(routes[0])?.uri : undefined;
  if (!first || first.params.has('lr')) return { target: uri, routes };
  return { target: first.text, routes: [...routes.slice(1), `<${uri}>`] };
}

function sizeOf({ headers, body, uri, from, to, routes }: Draft): number {
  let size = (body?.length ?? 0) + 2 * uri.length + from.length + to.length;
  for (const [name, value] of headers) size += name.length + Buffer.byteLength(value) + 4;
  for (const value of routes) size += value.length + 9;
  return size;
}

/** Where a 3xx points, by q (RFC 3261 §8.1.3.4). */
function redirects(response: Message): string[] {
  return response
    .headersOf('contact')
    .flatMap(splitList)
    .map(parseNameAddr)
    .filter(contact => contact !== null)
    .filter(({ uri }) => (uri.scheme === 'sip' || uri.scheme === 'sips') && uri.headers === '')
    .map(({ uri, params }) => ({ uri: uri.text, q: Number(params.get('q') ?? 1) }))
    .sort((a, b) => b.q - a.q)
    .slice(0, mostRedirects)
    .map(({ uri }) => uri);
}

function isStale(response: Message): boolean {
  const values = [...response.headersOf('www-authenticate'), ...response.headersOf('proxy-authenticate')];
  return pickChallenge(values)?.get('stale')?.toLowerCase() === 'true';
}

function loopKey(uri: string): string {
  const parsed: SipUri | null = parseUri(uri);
  return shortDigest(parsed ? `${parsed.user}@${bareHost(parsed.host)}` : uri);
}

function unreachable(reason: string): Reply {
  return { outcome: { kind: 'unreachable', reason }, flow: null, sequence: 0 };
}
