// The embedded engine passes the engine suite on each transport.
import { createEmbedded } from '../../../src/bridges/sip/embedded.ts';
import { transportTimes } from '../../../src/bridges/sip/transports.ts';
import { engineConfig, enginePort } from '../../support/sip-engine.ts';
import { engineSuite } from './suite.ts';

engineSuite(
  'The embedded SIP engine',
  async (handler, yaml, silence) => {
    const port = enginePort();
    const listen = ['udp', 'tcp', 'ws'].map(protocol => `"${protocol}:127.0.0.1:0"`);
    const t1 = silence / 64;
    const engine = createEmbedded(engineConfig(`domains: [sip.test]\nlisten: [${listen}]\n${yaml}`), port, {
      transactions: { t1, t2: 8 * t1, t4: 10 * t1 },
      transports: transportTimes,
      handler: 5000,
    });
    await engine.start(handler);
    return {
      engine,
      port: protocol =>
        Number(
          engine.addresses
            .find(address => address.startsWith(`${protocol}:`))!
            .split(':')
            .at(-1),
        ),
      async close() {
        await engine.stop();
        port.close();
      },
    };
  },
  ['udp', 'tcp', 'ws'],
);
