// Carries single requests over the network: finds the hops, writes the headers, and goes to the next hop where one is away.
import type { ClientTransactions } from './clients.ts';
import { magic, randomToken, shortDigest } from './core.ts';
import { parseNameAddr } from './fields.ts';
import type { Flow } from './flow.ts';
import type { Locator } from './locate.ts';
import { type Header, type Message, writeRequest } from './message.ts';
import type { Carrier, Draft, Reply } from './sender.ts';
import type { Hop, Transports } from './transports.ts';
import { bareHost, formatSipUri, parseUri, type SipUri } from './uri.ts';

/** Above this, a request goes by TCP (RFC 3261 §18.1.1). */
const datagramLimit = 1300;
/** What the headers that are not known yet take at most. */
const headroom = 400;

export class NetworkCarrier implements Carrier {
  /** Stands in every branch of this engine, so that a request that comes back is known (RFC 3261 §16.6.8). */
  readonly #instance = randomToken().slice(0, 8);
  readonly #locator: Locator;
  readonly #transports: Transports;
  readonly #clients: ClientTransactions;
  readonly #agent: string;

  constructor(parts: { locator: Locator; transports: Transports; clients: ClientTransactions; agent: string }) {
    this.#locator = parts.locator;
    this.#transports = parts.transports;
    this.#clients = parts.clients;
    this.#agent = parts.agent;
  }

  isConfigured(uri: SipUri): boolean {
    return this.#locator.routesFor(uri) !== undefined;
  }

  hasSeen(request: Message): boolean {
    const ours = `${magic}${this.#instance}`;
    const through = request.vias.filter(via => via.includes(ours));
    return through.length > 0 && through.some(via => via.includes(`${ours}${loopKey(request.uriText)}`));
  }

  /** Tries the hops one after another until one answers with anything but 503 (RFC 3263 §4.3). */
  async carry(draft: Draft, more: readonly Header[], preferred: Flow | null | undefined = draft.flow): Promise<Reply> {
    const { target, routes, next } = route(draft);
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
    const branch = `${magic}${this.#instance}${loopKey(target)}${randomToken()}`;
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

/** What a dialog's route makes of a request. Strict routers of RFC 2543 are the target, and want ours last (RFC 3261 §12.2.1.1). */
function route({ uri, routes }: Draft): { target: string; routes: readonly string[]; next: SipUri | null } {
  const first = routes.length > 0 ? parseNameAddr(routes[0])?.uri : undefined;
  if (!first) return { target: uri, routes, next: routes.length > 0 ? null : parseUri(uri) };
  if (first.params.has('lr')) return { target: uri, routes, next: first };
  return { target: first.text, routes: [...routes.slice(1), `<${uri}>`], next: first };
}

function sizeOf({ headers, body, uri, from, to, routes }: Draft): number {
  let size = (body?.length ?? 0) + 2 * uri.length + from.length + to.length;
  for (const [name, value] of headers) size += name.length + Buffer.byteLength(value) + 4;
  for (const value of routes) size += value.length + 9;
  return size;
}

function loopKey(uri: string): string {
  const parsed = parseUri(uri);
  return shortDigest(parsed ? `${parsed.user}@${bareHost(parsed.host)}` : uri);
}

function unreachable(reason: string): Reply {
  return { outcome: { kind: 'unreachable', reason }, flow: null, sequence: 0 };
}
