// Who may speak here: source addresses, certificates and digests; and how much a source may say.
import { BlockList, isIP, isIPv6 } from 'node:net';
import { DigestVerifier } from './digest.ts';
import { type Flow, plainAddress } from './flow.ts';
import type { Message } from './message.ts';
import type { EngineConfig } from './settings.ts';
import { unescapeUser } from './uri.ts';

/** What the guard says to a request: it may pass, or it is answered so. */
export type Admission =
  | { pass: true; authenticated?: string }
  | { pass: false; status: number; reason: string; headers: [string, string][] };

const mostSources = 50_000;
/** A source may use up so many seconds' worth at once. */
const burst = 10;

export class Guard {
  readonly #accepted = new BlockList();
  readonly #any: boolean;
  readonly #digest: DigestVerifier | null;
  readonly #perSecond: number;
  readonly #buckets = new Map<string, { left: number; at: number }>();
  refused = 0;
  limited = 0;

  constructor(config: EngineConfig) {
    for (const item of config.acceptFrom) addTo(this.#accepted, item);
    this.#any = config.acceptFrom.length === 0;
    this.#digest =
      config.digest.accounts.size > 0 ? new DigestVerifier(config.digest.realm, config.digest.accounts) : null;
    this.#perSecond = config.limits.perSource;
  }

  /** Takes one from the source's allowance; false where it is used up. Sources that are listed have no limit. */
  allows(address: string): boolean {
    if (this.#perSecond === 0 || this.#isListed(address)) return true;
    const now = performance.now();
    const most = this.#perSecond * burst;
    let bucket = this.#buckets.get(address);
    if (!bucket) {
      if (this.#buckets.size >= mostSources) this.#buckets.delete(this.#buckets.keys().next().value!);
      bucket = { left: most, at: now };
      this.#buckets.set(address, bucket);
    }
    bucket.left = Math.min(most, bucket.left + ((now - bucket.at) / 1000) * this.#perSecond);
    bucket.at = now;
    if (bucket.left < 1) {
      this.limited++;
      return false;
    }
    bucket.left--;
    return true;
  }

  /**
   * Whether a request may speak for its From. A source that is listed may, and one whose certificate names the domain
   * (RFC 5922 §7); others prove it by digest where accounts are configured. Without list and accounts anybody may.
   */
  admit(request: Message, flow: Flow): Admission {
    const address = plainAddress(flow.remote.address);
    const { host } = request.from.uri;
    if (this.#isListed(address)) return { pass: true };
    if (flow.certificateNames.includes(host)) return { pass: true };
    if (!this.#digest) return this.#any ? { pass: true } : this.#refuse(403, 'this source may not speak here');
    const proven = this.#digest.verify(request);
    if (typeof proven === 'string') {
      if (proven === 'wrong') {
        this.refused++;
        this.#charge(address);
      }
      const headers = this.#digest
        .challenges(proven === 'stale')
        .map(value => ['WWW-Authenticate', value] as [string, string]);
      return { pass: false, status: 401, reason: 'Unauthorized', headers };
    }
    const speaker = `${unescapeUser(request.from.uri.user) ?? ''}@${host}`.toLowerCase();
    if (proven.account === speaker || proven.account === host) {
      return { pass: true, authenticated: proven.account };
    }
    return this.#refuse(403, 'these credentials are not for that From');
  }

  /** A wrong proof costs as much as a second of talking: passwords cannot be tried out at speed. */
  #charge(address: string): void {
    const bucket = this.#buckets.get(address);
    if (bucket) bucket.left = Math.max(0, bucket.left - this.#perSecond);
  }

  #isListed(address: string): boolean {
    if (this.#any || !isIP(address)) return false;
    return this.#accepted.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }

  #refuse(status: number, reason: string): Admission {
    this.refused++;
    return { pass: false, status, reason, headers: [] };
  }
}

function addTo(list: BlockList, item: string): void {
  const [address, prefix] = item.split('/');
  const family = isIPv6(address) ? 'ipv6' : 'ipv4';
  if (prefix === undefined) list.addAddress(address, family);
  else list.addSubnet(address, Number(prefix), family);
}
