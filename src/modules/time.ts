// What time it is here (XEP-0202).
import type { Module } from '../hub/module.ts';
import { el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';

export const time: Module = {
  name: 'time',
  implements: ['XEP-0202', 'XEP-0082'],
  start(hub) {
    hub.feature('domain', ns.time);
    hub.iq(ns.time, 'time', 'domain', ({ stanza }) => {
      if (stanza.type !== 'get') throw new StanzaError('not-allowed', 'the time can only be asked for');
      const now = new Date();
      return el('time', ns.time, {}, el('tzo', ns.time, {}, offset(now)), el('utc', ns.time, {}, now.toISOString()));
    });
  },
};

/** The offset of local time from UTC: `+01:00`. */
function offset(date: Date): string {
  const minutes = -date.getTimezoneOffset();
  const two = (n: number) => String(Math.trunc(Math.abs(n))).padStart(2, '0');
  return `${minutes < 0 ? '-' : '+'}${two(minutes / 60)}:${two(minutes % 60)}`;
}
