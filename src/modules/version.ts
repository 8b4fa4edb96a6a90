// The domain tells what software it runs on (XEP-0092).
import type { Module } from '../hub/module.ts';
import { softwareVersion } from '../hub/version.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';

export const version: Module = {
  name: 'version',
  implements: ['XEP-0092'],
  start(hub) {
    hub.feature('domain', ns.version);
    hub.iq(ns.version, 'query', 'domain', ({ stanza }) => {
      if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'the version can only be asked for');
      return softwareVersion();
    });
  },
};
