// Looking for people in the directory of one's own domain (XEP-0055).
import type { PersonQuery } from '../hub/directory.ts';
import type { Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { type Field, formElement, readForm, textOf } from '../xmpp/form.ts';
import { ns } from '../xmpp/namespaces.ts';

/** What can be asked for, and what is shown. The first four names are XEP-0055's own. */
const fields = [
  { name: 'nick', label: 'User name', asks: 'user' },
  { name: 'first', label: 'Name', asks: 'name' },
  { name: 'email', label: 'E-mail', asks: 'mail' },
  { name: 'phone', label: 'Mobile phone', asks: 'mobile' },
] as const satisfies readonly { name: string; label: string; asks: keyof PersonQuery }[];

const instructions = 'Fill in one field or more. * stands for anything where the directory allows it.';
const longest = 256;
/** Each takes time in the directory; one that means something has few. */
const mostWildcards = 4;
/** Searches of one user in a minute. */
const mostPerMinute = 30;

export const search: Module = {
  name: 'search',
  implements: ['XEP-0055'],
  start(hub) {
    const counts = new Map<string, { count: number; since: number }>();
    hub.feature('domain', ns.search);
    hub.iq(ns.search, 'query', 'domain', request => {
      const { from, to, stanza, origin } = request;
      if (origin.kind !== 'session' || from.domain !== to.domain) {
        throw new StanzaError('forbidden', 'only people of this domain may search its directory');
      }
      if (stanza.type === 'get') return form();
      count(counts, from.bare.toString());
      return find(hub, request);
    });
  },
};

function form(): Element {
  const asked = fields.map<Field>(({ name, label }) => ({ var: name, type: 'text-single', label }));
  return el(
    'query',
    ns.search,
    {},
    el('instructions', ns.search, {}, instructions),
    ...fields.slice(0, 3).map(({ name }) => el(name, ns.search)),
    formElement('form', { title: 'People', instructions, fields: [formType, ...asked] }),
  );
}

const formType: Field = { var: 'FORM_TYPE', type: 'hidden', value: ns.search };

/** A form is answered with a form, the old fields with the old items (XEP-0055 §2.2, §3). */
async function find(hub: Hub, { query, to }: Request): Promise<Element> {
  const x = query.child('x', ns.data);
  const asked = wanted(query, x);
  const rows: Record<string, string>[] = [];
  const people = Object.keys(asked).length > 0 ? hub.directory(to.domain)!.search(asked) : [];
  for await (const { user, name = '', mail = '', mobile = '' } of people) {
    rows.push({ jid: `${user}@${to.domain}`, nick: user, first: name, email: mail, phone: mobile });
  }
  if (x) {
    const columns: Field[] = [{ var: 'jid', type: 'jid-single', label: 'Address' }];
    for (const { name, label } of fields) columns.push({ var: name, type: 'text-single', label });
    return el('query', ns.search, {}, formElement('result', { fields: columns, rows }));
  }
  const items = rows.map(({ jid, nick, first, email }) =>
    el(
      'item',
      ns.search,
      { jid },
      ...Object.entries({ first, last: '', nick, email }).map(([name, text]) => el(name, ns.search, {}, text)),
    ),
  );
  return el('query', ns.search, {}, ...items);
}

/** What is looked for; nothing at all finds nobody. */
function wanted(query: Element, x: Element | null): PersonQuery {
  const values = x ? readForm(x) : null;
  if (x && !values) throw new StanzaError('bad-request', 'the form is not one of type submit');
  const asked: { -readonly [K in keyof PersonQuery]: string } = {};
  for (const { name, asks } of fields) {
    const text = (values ? textOf(values, name) : query.childText(name)).trim();
    if (text.length > longest || text.split('*').length - 1 > mostWildcards) {
      throw new StanzaError('not-acceptable', 'what is looked for is too long or has too many wildcards');
    }
    if (text !== '') asked[asks] = text;
  }
  // A family name is a part of the name, here as in most directories.
  const last = values ? textOf(values, 'last').trim() : query.childText('last').trim();
  if (last !== '' && last.length <= longest) asked.name = asked.name ? `${asked.name} ${last}` : last;
  return asked;
}

function count(counts: Map<string, { count: number; since: number }>, user: string): void {
  const now = performance.now();
  if (counts.size > 10_000) counts.clear();
  const known = counts.get(user);
  const entry = known && now - known.since < 60_000 ? known : { count: 0, since: now };
  counts.set(user, entry);
  if (++entry.count > mostPerMinute) {
    throw new StanzaError('resource-constraint', `no more than ${mostPerMinute} searches a minute`, 'wait');
  }
}
