// In-band registration: new accounts where that is permitted, passwords and leaving for those who have one (XEP-0077).
import type { RegistrationField } from '../hub/config.ts';
import type { WritableDirectory } from '../hub/directory.ts';
import type { Hub, Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { type Field, formElement, readForm, textOf } from '../xmpp/form.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import { removeAccount } from './removal.ts';

/** The elements of XEP-0077 §14.1 that stand for what the directory keeps. */
const elements: Record<RegistrationField, string> = { name: 'name', mail: 'email', mobile: 'phone' };
const labels: Record<RegistrationField, string> = { name: 'Full name', mail: 'Email address', mobile: 'Mobile number' };

const longestValue = 1023;

/** Addresses whose registrations are counted at once. */
const mostCounted = 10_000;

export const registration: Module = {
  name: 'registration',
  implements: ['XEP-0077'],
  start(hub) {
    const counter = new RegistrationCounter();
    hub.feature('domain', ns.register);
    hub.iq(ns.register, 'query', 'own-account', request => discreet(hub, request.stanza, manage(hub, request)));
    hub.iq(ns.register, 'query', 'domain', request => {
      const own = request.session && request.from.domain === request.to.domain;
      return discreet(hub, request.stanza, own ? manage(hub, request) : refuseStranger(request));
    });
    hub.registrar = (domain, stanza, query, remote) =>
      discreet(hub, stanza, register(hub, counter, { domain, stanza, query, remote }));
  },
};

/** An error does not repeat what it answers: that is a password (XEP-0077 §3.3). */
function discreet<T>(hub: Hub, stanza: Stanza, answer: Promise<T>): Promise<T | Stanza> {
  return answer.catch(error => {
    const known = error instanceof StanzaError;
    if (!known) hub.log.error({ err: error }, 'a registration failed');
    return stanza.without(() => true).refuse(known ? error : new StanzaError('internal-server-error'));
  });
}

interface Application {
  domain: string;
  stanza: Stanza;
  query: Element;
  remote: string;
}

/** XEP-0077 §3.1: somebody without an account. */
async function register(hub: Hub, counter: RegistrationCounter, application: Application): Promise<Stanza> {
  const { domain, stanza, query, remote } = application;
  const directory = hub.directory(domain);
  const { registrationFields: fields, registrationLimit: limit } = hub.config.clients;
  if (!directory?.writable) throw new StanzaError('service-unavailable', 'accounts are not made here');
  if (stanza.type === 'get') return stanza.result(blankForm(fields));
  if (query.child('remove')) throw new StanzaError('unexpected-request', 'log in first');
  const given = submitted(query);
  const { username, password } = given;
  const missing = [...(username ? [] : ['username']), ...(password ? [] : ['password'])];
  for (const field of fields) if (!given[elements[field]]) missing.push(elements[field]);
  if (missing.length > 0) throw new StanzaError('not-acceptable', `${missing.join(', ')} must be given`);
  const jid = Jid.tryParse(`${username}@${domain}`);
  if (!jid?.isBare || jid.local === '' || jid.domain !== domain)
    throw new StanzaError('not-acceptable', 'that username cannot be used');
  if (fields.some(field => given[elements[field]].length > longestValue)) {
    throw new StanzaError('not-acceptable', `at most ${longestValue} characters`);
  }
  counter.count(remote, limit.accounts, limit.per);
  await directory.writable.add(jid.local, password);
  for (const field of fields) await directory.setAttribute?.(jid.local, field, given[elements[field]]);
  hub.log.info({ jid: jid.toString(), remote }, 'account registered');
  return stanza.result();
}

/** XEP-0077 §3.2, §3.3: somebody who is logged in. */
async function manage(hub: Hub, { from, query, stanza }: Request): Promise<Element | null> {
  const directory = hub.directory(from.domain);
  if (stanza.type === 'get') {
    const person = await directory?.find(from.local);
    return el(
      'query',
      ns.register,
      {},
      el('registered', ns.register),
      el('username', ns.register, {}, from.local),
      el('password', ns.register),
      ...(Object.keys(elements) as RegistrationField[])
        .filter(field => person?.[field])
        .map(field => el(elements[field], ns.register, {}, person?.[field])),
    );
  }
  const accounts = directory?.writable;
  if (query.child('remove')) {
    if (query.all().length > 1) throw new StanzaError('bad-request', '<remove/> stands alone');
    if (!accounts) throw new StanzaError('not-allowed', 'accounts are kept elsewhere');
    await accounts.remove(from.local);
    await removeAccount(hub, from.bare);
    hub.log.info({ jid: from.bare.toString() }, 'account removed by its owner');
    return null;
  }
  if (!accounts) throw new StanzaError('not-allowed', 'passwords are kept elsewhere');
  await changePassword(accounts, hub, from, submitted(query));
  return null;
}

async function changePassword(
  accounts: WritableDirectory,
  hub: Hub,
  from: Jid,
  given: Record<string, string>,
): Promise<void> {
  const { username, password, old_password: old } = given;
  if (!username || !password) throw new StanzaError('bad-request', 'a username and a password must be given');
  const named = Jid.tryParse(username.includes('@') ? username : `${username}@${from.domain}`);
  if (!named?.equals(from.bare)) throw new StanzaError('not-allowed', 'that is not your account');
  if (old !== undefined && !(await hub.directory(from.domain)!.verify(from.local, old))) {
    throw new StanzaError('not-authorized', 'the old password is wrong');
  }
  await accounts.setPassword(from.local, password);
  hub.log.info({ jid: from.bare.toString() }, 'password changed by its owner');
}

/** Somebody from elsewhere has no account here to be changed (XEP-0077 §3.2, §3.3). */
async function refuseStranger({ stanza, query }: Request): Promise<never> {
  if (stanza.type === 'set' && query.child('remove')) throw new StanzaError('registration-required');
  throw new StanzaError('service-unavailable', 'accounts are made before logging in');
}

/** What is asked of new users, as elements and as a form (XEP-0077 §4). */
function blankForm(fields: readonly RegistrationField[]): Element {
  const instructions = `Choose a username and a password${fields.length > 0 ? ', and say who you are' : ''}.`;
  const asked: Field[] = [
    { var: 'FORM_TYPE', type: 'hidden', value: ns.register },
    { var: 'username', type: 'text-single', label: 'Username', required: true },
    { var: 'password', type: 'text-private', label: 'Password', required: true },
    ...fields.map(
      (field): Field => ({ var: elements[field], type: 'text-single', label: labels[field], required: true }),
    ),
  ];
  return el(
    'query',
    ns.register,
    {},
    el('instructions', ns.register, {}, instructions),
    el('username', ns.register),
    el('password', ns.register),
    ...fields.map(field => el(elements[field], ns.register)),
    formElement('form', { title: 'Registration', instructions, fields: asked }),
  );
}

/** The fields that were filled in; a form takes precedence (XEP-0077 §6). */
function submitted(query: Element): Record<string, string> {
  const values = readForm(query.child('x', ns.data));
  if (values) return Object.fromEntries([...values.keys()].map(name => [name, textOf(values, name)]));
  return Object.fromEntries(query.all().map(child => [child.name, child.text]));
}

/** How many accounts were made from each address. */
class RegistrationCounter {
  readonly #made = new Map<string, { count: number; since: number }>();

  /** Counts one more. Throws `resource-constraint` where that is too many. */
  count(remote: string, most: number, per: number): void {
    if (most === 0) return;
    const now = Date.now();
    const network = networkOf(remote);
    const known = this.#made.get(network);
    const entry = known && now - known.since < per ? known : { count: 0, since: now };
    this.#made.delete(network);
    this.#made.set(network, entry);
    if (this.#made.size > mostCounted) this.#made.delete(this.#made.keys().next().value!);
    if (++entry.count <= most) return;
    throw new StanzaError('resource-constraint', `no more than ${most} accounts from one address at a time`, 'wait');
  }
}

/** An IPv4 address, or the /64 network of an IPv6 address: one customer has all of it. */
function networkOf(remote: string): string {
  const address = remote.replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*$/, '');
  if (!address.includes(':')) return address;
  const [head, tail] = address.split('::');
  const left = head.split(':').filter(Boolean);
  const right = tail === undefined ? [] : tail.split(':').filter(Boolean);
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - left.length - right.length);
  return [...left, ...new Array<string>(zeros).fill('0'), ...right].slice(0, 4).join(':');
}
