// Certificates proved over HTTPS: the fingerprints that a domain publishes for its XMPP server (RFC 7711).
import { createHash, type X509Certificate } from 'node:crypto';
import { get } from 'node:https';
import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Resolver } from '../hub/dns.ts';

export interface PoshOptions {
  resolver: Resolver;
  /** PEM of the authorities that HTTPS servers are judged by. */
  authorities: () => readonly string[];
  /** 443 but in tests. */
  port?: number;
}

interface Fingerprints {
  list: readonly Record<string, string>[];
  until: number;
}

const path = '/.well-known/posh/xmpp-server.json';
const timeout = 5_000;
const largest = 64 * 1024;
const longest = 86_400;
const mostKept = 1_000;

/** What domains publish, kept as long as they allow (a day at most), failures for a minute. */
export class Posh {
  readonly #options: PoshOptions;
  readonly #kept = new Map<string, Promise<Fingerprints>>();

  constructor(options: PoshOptions) {
    this.#options = options;
  }

  /** Whether a domain has published the fingerprint of this certificate. Rejects where its document cannot be had. */
  async proves(certificate: X509Certificate, domain: string): Promise<boolean> {
    const { list } = await this.#fingerprints(domainToASCII(domain));
    return list.some(one =>
      (['sha-256', 'sha-512'] as const).some(name => {
        const wanted = one[name];
        if (typeof wanted !== 'string') return false;
        const found = createHash(name.replace('-', '')).update(certificate.raw).digest('base64');
        return wanted === found;
      }),
    );
  }

  async #fingerprints(domain: string): Promise<Fingerprints> {
    const known = this.#kept.get(domain);
    if (known && (await known.catch(() => ({ until: 0 }))).until > Date.now()) return known;
    if (this.#kept.size >= mostKept) this.#kept.delete(this.#kept.keys().next().value!);
    const { port = 443 } = this.#options;
    const asked = this.#fetch(`https://${domain}${port === 443 ? '' : `:${port}`}${path}`, 1);
    const kept = asked.catch(error => {
      setTimeout(() => this.#kept.get(domain) === kept && this.#kept.delete(domain), 60_000).unref();
      throw error;
    });
    this.#kept.set(domain, kept);
    return kept;
  }

  /** A document holds fingerprints, or the address of the document that does (RFC 7711 §3). */
  async #fetch(url: string, redirects: number): Promise<Fingerprints> {
    const document: unknown = JSON.parse(await this.#read(url));
    if (typeof document !== 'object' || document === null) throw new Error(`${url} is no POSH document`);
    const { fingerprints, url: next, expires } = document as Record<string, unknown>;
    const seconds = typeof expires === 'number' && expires > 0 ? Math.min(expires, longest) : 0;
    if (Array.isArray(fingerprints)) {
      const list = fingerprints.filter((one): one is Record<string, string> => typeof one === 'object' && one !== null);
      return { list: list.slice(0, 100), until: Date.now() + seconds * 1000 };
    }
    if (typeof next !== 'string' || !next.startsWith('https://') || redirects === 0) {
      throw new Error(`${url} holds neither fingerprints nor an address of them`);
    }
    const found = await this.#fetch(next, redirects - 1);
    return { ...found, until: Math.min(found.until, Date.now() + seconds * 1000) };
  }

  #read(url: string): Promise<string> {
    const { resolver, authorities } = this.#options;
    return new Promise((resolve, reject) => {
      const request = get(
        url,
        {
          ca: [...authorities()],
          timeout,
          agent: false,
          signal: AbortSignal.timeout(timeout),
          lookup: (host, _options, answer) => {
            if (isIP(host)) return answer(null, [{ address: host, family: isIP(host) }]);
            resolver.addresses(host).then(
              addresses =>
                addresses.length > 0
                  ? answer(null, addresses.slice(0, 8))
                  : answer(new Error(`${host} has no address`), []),
              error => answer(error, []),
            );
          },
        },
        response => {
          if (response.statusCode !== 200) {
            response.destroy();
            return reject(new Error(`${url} answers ${response.statusCode}`));
          }
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            text += chunk;
            if (text.length > largest) request.destroy(new Error(`${url} is too large`));
          });
          response.on('end', () => resolve(text));
          response.on('error', reject);
        },
      );
      request.on('error', reject);
    });
  }
}
