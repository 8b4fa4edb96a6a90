// The smallest bridge there is, for tests of everything around bridges: it answers messages with their own text.
import type { Bridge, BridgeKind, BridgePort } from '../../src/bridges/bridge.ts';
import { Service } from '../../src/bridges/service.ts';
import { StanzaError } from '../../src/xmpp/errors.ts';

interface EchoConfig {
  domain: string;
}

export const echo: BridgeKind<EchoConfig> = {
  kind: 'echo',
  config: section => {
    const config = { domain: section.domain('domain') };
    section.done();
    return config;
  },
  domains: config => [config.domain],
  create: (_config, port: BridgePort): Bridge => {
    const service = new Service(port, { identity: { category: 'gateway', type: 'echo', name: 'Echo' } });
    return {
      start: async () => {},
      async send(stanza) {
        if (await service.handle(stanza)) return;
        if (stanza.name === 'iq' && stanza.isRequest) throw new StanzaError('service-unavailable');
        if (stanza.name === 'message' && !stanza.isError) {
          await port.receive(stanza.withAddresses(stanza.to, stanza.from));
        }
      },
      stop: async () => {},
      show: () => ({ inside: port.inside !== undefined }),
    };
  },
};
