// The SIP bridge as a kind of bridge: how it is read from the configuration and put together.
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { domainToASCII } from 'node:url';
import type { Config } from '../../hub/config.ts';
import type { BridgeKind } from '../bridge.ts';
import { SipBridge } from './bridge.ts';
import { readSipConfig, type SipConfig } from './config.ts';
import { createEngine } from './create.ts';
import type { EngineConfig } from './settings.ts';

export const sip: BridgeKind<SipConfig> = {
  kind: 'sip',
  shares: true,
  config: readSipConfig,
  domains: config => config.engine.domains,
  create(config, port) {
    const { data, tls, limits } = port.config;
    const certificate = config.engine.certificate ?? covering(port.config, config.engine.domains[0]);
    const engineConfig: EngineConfig = { ...config.engine, certificate };
    const engine = createEngine(engineConfig, {
      resolver: port.resolver,
      log: port.log,
      metrics: port.metrics,
      trust: tls.trust,
      data,
      connections: limits.connections,
    });
    return new SipBridge(config, port, engine);
  },
};

/**
 * The configured certificate of a hosted domain that names the SIP domain as well; null where none does: then the hub
 * makes one for it and keeps it in `data`.
 */
function covering(config: Config, domain: string): EngineConfig['certificate'] {
  for (const { tls } of config.domains.values()) {
    if (tls && names(tls.certificate, domain)) return tls;
  }
  return null;
}

/** A file that cannot be read is complained about where the hub's certificates are read. */
function names(file: string, domain: string): boolean {
  try {
    return new X509Certificate(readFileSync(file)).checkHost(domainToASCII(domain)) !== undefined;
  } catch {
    return false;
  }
}
