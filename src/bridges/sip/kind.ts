// The SIP bridge as a kind of bridge: how it is read from the configuration and put together.
import type { BridgeKind } from '../bridge.ts';
import { SipBridge } from './bridge.ts';
import { readSipConfig, type SipConfig } from './config.ts';
import { createEngine } from './create.ts';

export const sip: BridgeKind<SipConfig> = {
  kind: 'sip',
  shares: true,
  config: readSipConfig,
  domains: config => config.engine.domains,
  create(config, port) {
    const { data, tls, limits } = port.config;
    const engine = createEngine(config.engine, {
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
