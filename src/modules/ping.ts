// Pings are answered (XEP-0199).
import type { Module } from '../hub/module.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';

export const ping: Module = {
  name: 'ping',
  implements: ['XEP-0199'],
  start(hub) {
    hub.feature('domain', ns.ping);
    hub.feature('account', ns.ping);
    hub.iq(ns.ping, 'ping', 'domain', () => null);
    hub.iq(ns.ping, 'ping', 'own-account', () => null);
    hub.iq(ns.ping, 'ping', 'account', () => {
      throw new StanzaError('service-unavailable');
    });
  },
};
