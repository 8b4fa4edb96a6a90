// Sends requests: answers challenges and follows redirects; the way there is the carrier's.
import type { Outcome } from './clients.ts';
import { answerChallenge, pickChallenge } from './digest.ts';
import { parseNameAddr, quote, splitList } from './fields.ts';
import type { Flow } from './flow.ts';
import type { Header, Message } from './message.ts';
import type { EngineConfig } from './settings.ts';
import { bareHost, type SipUri } from './uri.ts';

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

/** Brings one request to its peer and its final answer back. */
export interface Carrier {
  /** Prefers that connection while it is open. Throws SipSyntaxError for what cannot be written. */
  carry(draft: Draft, more: readonly Header[], preferred: Flow | null | undefined): Promise<Reply>;
  /** Whether the way to a URI is configured, and not found in the DNS. */
  isConfigured(uri: SipUri): boolean;
  /** Whether a request has been through here for the same request-URI already (RFC 3261 §16.3.4). */
  hasSeen(request: Message): boolean;
}

const mostRedirects = 5;

export class Sender {
  readonly #carrier: Carrier;
  readonly #credentials: EngineConfig['credentials'];

  constructor(carrier: Carrier, credentials: EngineConfig['credentials']) {
    this.#carrier = carrier;
    this.#credentials = credentials;
  }

  hasSeen(request: Message): boolean {
    return this.#carrier.hasSeen(request);
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
    const reply = await this.#carrier.carry(draft, [], draft.flow);
    const authorization = this.#authorize(draft, reply.outcome);
    if (!authorization) return reply;
    const again = await this.#carrier.carry(draft, [authorization], reply.flow);
    // A nonce may have run out between the two (RFC 7616 §3.3).
    const stale = again.outcome.kind === 'answered' && isStale(again.outcome.response);
    const renewed = stale ? this.#authorize(draft, again.outcome) : null;
    return renewed ? this.#carrier.carry(draft, [renewed], again.flow) : again;
  }

  #authorize(draft: Draft, outcome: Outcome): Header | null {
    if (outcome.kind !== 'answered' || ![401, 407].includes(outcome.response.status)) return null;
    const proxy = outcome.response.status === 407;
    const challenge = pickChallenge(outcome.response.headersOf(proxy ? 'proxy-authenticate' : 'www-authenticate'));
    if (!challenge) return null;
    const whom = parseNameAddr(draft.to)?.uri;
    if (!whom) return null;
    // By whom the request is for. The realm is the peer's word, which counts where the configuration names the peer.
    const realm = challenge.get('realm')!.toLowerCase();
    const who =
      this.#credentials.get(whom.scheme === 'tel' ? 'tel' : bareHost(whom.host)) ??
      (this.#carrier.isConfigured(whom) ? this.#credentials.get(realm) : undefined);
    if (!who) return null;
    return [proxy ? 'Proxy-Authorization' : 'Authorization', answerChallenge(challenge, who, draft.method, draft.uri)];
  }
}

/** A name-addr of ours: `"Romeo" <sip:romeo@montague.test>`. */
export function nameAddr(uri: string, displayName = ''): string {
  return displayName ? `${quote(displayName)} <${uri}>` : `<${uri}>`;
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
