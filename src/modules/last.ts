// How long the server has been up (XEP-0012 §5).
import type { Module } from '../hub/module.ts';
import { el } from '../xmpp/element.ts';
import { ns } from '../xmpp/namespaces.ts';

export const last: Module = {
  name: 'last',
  implements: ['XEP-0012'],
  start(hub) {
    const since = Date.now();
    hub.feature('domain', ns.last);
    hub.iq(ns.last, 'query', 'domain', () =>
      el('query', ns.last, { seconds: String(Math.floor((Date.now() - since) / 1000)) }),
    );
  },
};
