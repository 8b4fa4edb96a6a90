// The certificates we show: read from files and read again when these change, or made here; one TLS context a domain.
import { constants, createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import { domainToASCII } from 'node:url';
import type { Config } from './config.ts';
import { replaceFile } from './file.ts';
import type { Log } from './log.ts';

export interface Expiry {
  domain: string;
  notAfter: Date;
  daysLeft: number;
  /** Made by the hub, so no authority vouches for it. */
  selfSigned: boolean;
}

interface Entry {
  domain: string;
  certificate: string;
  key: string;
  made: boolean;
  context: SecureContext;
  leaf: X509Certificate;
  modified: number;
}

const watchInterval = 5_000;
const day = 86_400_000;
/** A certificate made here holds a year and is made anew in its last month. */
const daysMadeFor = 365;

export class Certificates {
  readonly #log: Log;
  readonly #entries = new Map<string, Entry>();
  #config: Config;
  #timer: NodeJS.Timeout | undefined;
  #warned = new Map<string, number>();

  private constructor(config: Config, log: Log) {
    this.#config = config;
    this.#log = log;
  }

  /**
   * Reads or makes the certificates of all hosted domains and of `more` (those of bridges, components and groups).
   * Rejects with an Error that names the file and what is wrong with it.
   */
  static async open(config: Config, more: readonly string[], log: Log): Promise<Certificates> {
    const certificates = new Certificates(config, log);
    for (const domain of config.domains.keys()) await certificates.#load(domain);
    await certificates.cover(more);
    certificates.#timer = setInterval(() => certificates.refresh(), watchInterval);
    certificates.#timer.unref();
    certificates.#warn();
    return certificates;
  }

  /** Makes certificates for those domains that none has the name of. */
  async cover(domains: readonly string[]): Promise<void> {
    for (const domain of domains) {
      if (!this.#entries.has(domain) && !this.#covering(domain)) await this.#load(domain);
    }
  }

  /** The context of a domain: its own, or one whose certificate has its name too. */
  contextFor(domain: string): SecureContext | null {
    return (this.#entries.get(domain) ?? this.#covering(domain))?.context ?? null;
  }

  /** The certificate of a domain (DER). */
  certificateOf(domain: string): Uint8Array | null {
    return (this.#entries.get(domain) ?? this.#covering(domain))?.leaf.raw ?? null;
  }

  get expiries(): Expiry[] {
    return [...this.#entries.values()].map(({ domain, leaf, made }) => ({
      domain,
      notAfter: leaf.validToDate,
      daysLeft: Math.floor((leaf.validToDate.getTime() - Date.now()) / day),
      selfSigned: made,
    }));
  }

  /**
   * Takes over a new configuration, domains besides the hosted ones, and what changed in the files. A pair that cannot
   * be used leaves the old one.
   */
  async reload(config: Config, more: readonly string[] = []): Promise<void> {
    this.#config = config;
    for (const domain of config.domains.keys()) {
      if (!this.#entries.has(domain)) await this.#load(domain);
    }
    for (const domain of more) if (!this.contextFor(domain)) await this.#load(domain);
    this.refresh();
  }

  /** Looks whether files have changed. */
  refresh(): void {
    for (const entry of this.#entries.values()) {
      try {
        const files = this.#files(entry.domain);
        if (files.certificate === entry.certificate && modified(files) === entry.modified) continue;
        this.#entries.set(entry.domain, read(entry.domain, files, this.#config.tls.minVersion));
        this.#log.info(
          { domain: entry.domain, notAfter: this.#entries.get(entry.domain)!.leaf.validTo },
          'certificate read anew',
        );
      } catch (error) {
        // A pair is often half written when it is looked at: it is tried again in a moment.
        this.#log.warn({ domain: entry.domain, reason: (error as Error).message }, 'new certificate not usable yet');
      }
    }
    this.#warn();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #load(domain: string): Promise<void> {
    const files = this.#files(domain);
    if (files.made && !usable(files)) await make(domain, files);
    this.#entries.set(domain, read(domain, files, this.#config.tls.minVersion));
  }

  #files(domain: string): { certificate: string; key: string; made: boolean } {
    const configured = this.#config.domains.get(domain)?.tls;
    if (configured) return { ...configured, made: false };
    const base = join(this.#config.data, 'keys', domain.replace(/[^a-z0-9.-]/gi, encodeURIComponent));
    return { certificate: `${base}.crt`, key: `${base}.key`, made: true };
  }

  #covering(domain: string): Entry | undefined {
    const name = domainToASCII(domain);
    for (const entry of this.#entries.values()) if (name && entry.leaf.checkHost(name)) return entry;
    return undefined;
  }

  /** Warns 21 and 7 days ahead, and daily in the last week. */
  #warn(): void {
    for (const { domain, daysLeft, selfSigned } of this.expiries) {
      if (selfSigned || daysLeft > 21) continue;
      const step = daysLeft > 7 ? 21 : daysLeft;
      if (this.#warned.get(domain) === step) continue;
      this.#warned.set(domain, step);
      this.#log.warn({ domain, daysLeft }, daysLeft < 0 ? 'certificate has expired' : 'certificate expires soon');
    }
  }
}

type Files = { certificate: string; key: string; made: boolean };

function modified(files: Files): number {
  return Math.max(statSync(files.certificate).mtimeMs, statSync(files.key).mtimeMs);
}

/** Reads a pair; throws where the two do not belong together. */
function read(domain: string, files: Files, minVersion: Config['tls']['minVersion']): Entry {
  const at = modified(files);
  const cert = readFileSync(files.certificate);
  const key = readFileSync(files.key);
  try {
    const context = createSecureContext({ cert, key, minVersion, secureOptions: constants.SSL_OP_NO_TICKET });
    return { domain, ...files, context, leaf: new X509Certificate(cert), modified: at };
  } catch (error) {
    throw new Error(`${files.certificate} and ${files.key} cannot be used: ${(error as Error).message}`);
  }
}

function usable(files: Files): boolean {
  if (!existsSync(files.certificate) || !existsSync(files.key)) return false;
  try {
    const certificate = new X509Certificate(readFileSync(files.certificate));
    const belongs = certificate.checkPrivateKey(createPrivateKey(readFileSync(files.key)));
    return belongs && certificate.validToDate.getTime() - Date.now() > 30 * day;
  } catch {
    return false; // It was being made when the hub was stopped: it is made anew.
  }
}

/** Makes a self-signed certificate for a domain. */
async function make(domain: string, files: Files): Promise<void> {
  const { makeSelfSigned } = await import('./self-signed.ts');
  const { certificate, key } = await makeSelfSigned(domainToASCII(domain) || domain, daysMadeFor);
  mkdirSync(dirname(files.key), { recursive: true, mode: 0o700 });
  replaceFile(files.key, key);
  replaceFile(files.certificate, certificate);
}
