// What software this is (XEP-0092).
import { readFileSync } from 'node:fs';
import { type Element, el } from '../xmpp/element.ts';
import { ns } from '../xmpp/namespaces.ts';

/** The version in package.json. */
export const version: string = (
  JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** The answer to who asks for the software's version. */
export function softwareVersion(): Element {
  return el('query', ns.version, {}, el('name', ns.version, {}, 'Isthmus'), el('version', ns.version, {}, version));
}
