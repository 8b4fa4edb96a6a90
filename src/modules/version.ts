// What software this is (XEP-0092).
import { readFileSync } from 'node:fs';
import type { Module } from '../hub/module.ts';
import { el } from '../xmpp/element.ts';
import { ns } from '../xmpp/namespaces.ts';

/** The version in package.json. */
export const softwareVersion: string = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

export const version: Module = {
  name: 'version',
  implements: ['XEP-0092'],
  start(hub) {
    hub.feature('domain', ns.version);
    hub.iq(ns.version, 'query', 'domain', () =>
      el(
        'query',
        ns.version,
        {},
        el('name', ns.version, {}, 'Isthmus'),
        el('version', ns.version, {}, softwareVersion),
      ),
    );
  },
};
