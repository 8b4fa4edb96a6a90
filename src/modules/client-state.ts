// Clients say whether their user looks at them; the sessions let wait what can (XEP-0352).
import type { Module } from '../hub/module.ts';
import { el } from '../xmpp/element.ts';
import { ns } from '../xmpp/namespaces.ts';

export const clientState: Module = {
  name: 'client-state',
  implements: ['XEP-0352'],
  start(hub) {
    hub.streamFeature(el('csi', ns.clientState));
    hub.atBind(ns.clientState, (session, bind) => {
      session.active = !bind.child('inactive', ns.clientState);
      return null;
    });
  },
};
