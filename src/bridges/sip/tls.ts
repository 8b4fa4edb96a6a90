// TLS as SIP uses it (RFC 5922): our certificate, whom we trust, and the domains that a peer's certificate names.
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, rootCertificates, type SecureContext, type TLSSocket } from 'node:tls';
import { certificateFiles, type EngineConfig, type EnginePort } from './settings.ts';

/** Our certificate and whom we trust; read anew when the file changes. */
export class TlsFiles {
  readonly #config: EngineConfig;
  readonly #port: EnginePort;
  #known: { context: SecureContext; modified: number } | null = null;

  constructor(config: EngineConfig, port: EnginePort) {
    this.#config = config;
    this.#port = port;
  }

  /** Throws where our pair of files cannot be used: nobody could connect. */
  check(): void {
    createSecureContext(this.pair);
  }

  /** The pair of files as it is now. Throws where it cannot be read. */
  get pair(): { cert: Buffer; key: Buffer } {
    const files = certificateFiles(this.#config, this.#port.data);
    return { cert: readFileSync(files.certificate), key: readFileSync(files.key) };
  }

  /** For connections both ways; without a certificate of ours where there is none. */
  get context(): SecureContext {
    const files = certificateFiles(this.#config, this.#port.data);
    const modified = statSync(files.certificate, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (this.#known?.modified === modified) return this.#known.context;
    const ca = [...rootCertificates, ...this.#port.trust.map(file => readFileSync(file, 'utf8'))];
    const own = modified > 0 ? this.pair : {};
    this.#known = { context: createSecureContext({ ...own, ca, minVersion: 'TLSv1.2' }), modified };
    return this.#known.context;
  }
}

/** The names in a certificate that can be a SIP domain (RFC 5922 §7.1): URI:sip:domain before DNS. */
export function namesOf(socket: TLSSocket): string[] {
  const names = (socket.getPeerCertificate().subjectaltname ?? '').split(', ');
  const pick = (prefix: string) =>
    names.filter(name => name.startsWith(prefix)).map(name => name.slice(prefix.length).toLowerCase());
  const uris = pick('URI:sip:').filter(name => !name.includes('@'));
  return uris.length > 0 ? uris : [...pick('DNS:'), ...pick('IP Address:')];
}

/** SIP knows no wildcards in certificates (RFC 5922 §7.2). */
export function matches(shown: string, name: string): boolean {
  return shown === name.toLowerCase();
}
