// Whom to write to about a domain: its contact addresses, in discovery (XEP-0157).
import type { Module } from '../hub/module.ts';
import { ns } from '../xmpp/namespaces.ts';

export const contacts: Module = {
  name: 'contacts',
  implements: ['XEP-0157'],
  start(hub) {
    hub.discoForm('domain', domain => {
      const known = hub.config.domains.get(domain)?.contacts;
      if (!known?.size) return null;
      const fields = [...known].map(([role, uris]) => ({ var: `${role}-addresses`, value: uris }));
      return { fields: [{ var: 'FORM_TYPE', type: 'hidden', value: ns.serverInfo }, ...fields] };
    });
  },
};
