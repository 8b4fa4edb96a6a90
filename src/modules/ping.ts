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
    hub.iq(ns.ping, 'ping', 'any', ({ stanza, from, to }) => {
      if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'a ping is a get');
      // For others, an account that is there looks like one that is not.
      if (!to.isDomain && !to.bare.equals(from.bare)) throw new StanzaError('service-unavailable');
      return null;
    });
  },
};
