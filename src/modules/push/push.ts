// Push notifications: services that clients name are told of messages and requests while no client is there (XEP-0357).
import { randomUUID } from 'node:crypto';
import type { Hub, Module, Request } from '../../hub/module.ts';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { formValues, textOf } from '../../xmpp/form.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { parseElement } from '../../xmpp/payload.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { rostersOf } from '../rosters.ts';
import { type Notice, PushQueue } from './queue.ts';

const schema = [
  `CREATE TABLE push_services (
     user TEXT, service TEXT, node TEXT, options TEXT, failures INTEGER NOT NULL, PRIMARY KEY (user, service, node))
     WITHOUT ROWID`,
];

/** Services of one user, and characters of a node's name and of the options for publishing there. */
const mostServices = 20;
const longestNode = 1024;
const longestOptions = 4096;
/** Failures in a row that may be passing, before a service is given up. */
const mostFailures = 5;
const mostWaiting = 10_000;
const mostAtOnce = 50;
const mostCounted = 20_000;
/** Messages of a user that are known by what they say. */
const mostKnown = 100;
/** The part of a message that is told, where that is permitted. */
const longestBody = 255;

interface Target {
  user: Jid;
  service: Jid;
  node: string;
  options: string | null;
}

interface Unseen {
  count: number;
  messages: Set<string>;
}

export const push: Module = {
  name: 'push',
  implements: ['XEP-0357'],
  start(hub) {
    hub.store.migrate('push', schema);
    hub.feature('account', ns.push);
    const sent = hub.metrics.counter('isthmus_push_notifications_total', 'Push notifications, by outcome', ['outcome']);
    const queue = new PushQueue<Target>(
      notice => publish(hub, notice, outcome => sent.bind(outcome).add()),
      mostWaiting,
      mostAtOnce,
    );
    /** What nobody has seen, by user. */
    const unseen = new Map<string, Unseen>();
    hub.iq(ns.push, 'enable', 'own-account', request => enable(hub, request));
    hub.iq(ns.push, 'disable', 'own-account', request => disable(hub, request));

    const tell = (user: Jid, stanza: Stanza): void => {
      const targets = isWorthTelling(stanza) ? servicesOf(hub, user) : [];
      if (targets.length === 0) return;
      const key = user.toString();
      if (unseen.size >= mostCounted) unseen.clear();
      const known = unseen.get(key) ?? { count: 0, messages: new Set() };
      unseen.set(key, known);
      // A message waits for each device that is away, and goes on to the store when they do not come back: it is told once.
      const said = whatIsSaid(stanza);
      if (known.messages.has(said)) return;
      if (known.messages.size < mostKnown) known.messages.add(said);
      const count = ++known.count;
      const sender = hub.config.push.sender ? String(stanza.from ?? '') : '';
      const body = hub.config.push.body ? stanza.text('body').slice(0, longestBody).toWellFormed() : '';
      notify(user, targets, { count, sender, body });
    };
    const notify = (
      user: Jid,
      targets: readonly Target[],
      known: Pick<Notice<Target>, 'count' | 'sender' | 'body'>,
    ) => {
      const key = user.toString();
      const pending = [...rostersOf(hub).of(user).items.values()].filter(item => item.pending !== null).length;
      for (const target of targets) {
        const room = queue.add(`${key} ${target.service} ${target.node}`, { target, pending, ...known });
        if (!room) sent.bind('dropped').add();
      }
    };
    hub.on('subscription-asked', stanza => {
      const user = stanza.to!.bare;
      // Whoever is there, and not waiting to come back, has seen it.
      if (hub.sessions.of(user).some(session => session.presence !== null)) return;
      notify(user, servicesOf(hub, user), { count: unseen.get(user.toString())?.count ?? 0, sender: '', body: '' });
    });
    hub.on('message-missed', stanza => tell(stanza.to!.bare, stanza));
    hub.on('message-waiting', (session, stanza) => tell(session.jid.bare, stanza));
    hub.on('session-receptive', ({ jid }) => void unseen.delete(jid.bare.toString()));
    hub.filter(stanza => (isFarewell(stanza) && forgetByService(hub, stanza) ? null : stanza));
    hub.on('account-removed', user => {
      hub.store.prepare('DELETE FROM push_services WHERE user = ?').run(user.bare.toString());
    });
    return () => queue.clear();
  },
};

/** XEP-0357 §5. */
async function enable(hub: Hub, { stanza, query, from }: Request): Promise<null> {
  const { service, node } = address(stanza, query);
  const form = query.child('x', ns.data);
  if (form && (form.attrs.type !== 'submit' || textOf(formValues(form), 'FORM_TYPE') !== ns.publishOptions)) {
    throw new StanzaError('bad-request', `the form is to be a submitted one of type ${ns.publishOptions}`);
  }
  const options = form?.toString() ?? null;
  if (options !== null && options.length > longestOptions)
    throw new StanzaError('not-acceptable', 'the form is too long');
  const user = from.bare.toString();
  const { store } = hub;
  const known = store.prepare('SELECT service, node FROM push_services WHERE user = ?').all(user);
  const again = known.some(row => row.service === service.toString() && row.node === node);
  if (!again && known.length >= mostServices) {
    throw new StanzaError('resource-constraint', `at most ${mostServices} services are told`);
  }
  store
    .prepare('INSERT OR REPLACE INTO push_services VALUES (?, ?, ?, ?, 0)')
    .run(user, service.toString(), node, options);
  await store.durable();
  return null;
}

/** XEP-0357 §6. */
async function disable(hub: Hub, { stanza, query, from }: Request): Promise<null> {
  const { service, node } = address(stanza, query);
  const values = [from.bare.toString(), service.toString()];
  if (query.attrs.node === undefined) {
    hub.store.prepare('DELETE FROM push_services WHERE user = ? AND service = ?').run(...values);
  } else {
    hub.store.prepare('DELETE FROM push_services WHERE user = ? AND service = ? AND node = ?').run(...values, node);
  }
  await hub.store.durable();
  return null;
}

function address({ type }: Stanza, { attrs }: Element): { service: Jid; node: string } {
  if (type !== 'set') throw new StanzaError('bad-request');
  if (attrs.jid === undefined) throw new StanzaError('bad-request', 'the service is to be named');
  const service = Jid.tryParse(attrs.jid);
  if (!service) throw new StanzaError('jid-malformed', 'the service’s address is none');
  const node = attrs.node ?? '';
  if (node.length > longestNode) throw new StanzaError('not-acceptable', 'the node’s name is too long');
  return { service, node };
}

function servicesOf(hub: Hub, user: Jid): Target[] {
  const rows = hub.store.prepare('SELECT * FROM push_services WHERE user = ?').all(user.toString());
  return rows.map(row => ({
    user,
    service: Jid.parse(String(row.service)),
    node: String(row.node),
    options: row.options === null ? null : String(row.options),
  }));
}

/** Messages that somebody wants to be woken for. */
function isWorthTelling(stanza: Stanza): boolean {
  if (stanza.isError || stanza.type === 'headline') return false;
  const copy = stanza.has('received', ns.carbons) || stanza.has('sent', ns.carbons);
  if (copy) return stanza.has('received', ns.carbons);
  return (
    stanza.has('body', ns.client) ||
    stanza.has('encrypted', 'eu.siacs.conversations.axolotl') ||
    stanza.has('encrypted', 'urn:xmpp:omemo:2') ||
    stanza.has('propose', 'urn:xmpp:jingle-message:0')
  );
}

/** The same for a message, for its carbons, and for the message as it is sent on later. */
function whatIsSaid(stanza: Stanza): string {
  const carbon = stanza.child('received', ns.carbons)?.child('forwarded', ns.forward)?.child('message', ns.client);
  const { from = '', id = '' } = carbon ? carbon.attrs : { from: String(stanza.from ?? ''), id: stanza.id };
  const body = carbon ? carbon.childText('body') : stanza.text('body');
  // Without an id, two that say the same are two.
  return id === '' ? randomUUID() : `${from} ${id.slice(0, 100)} ${body.slice(0, 100)}`;
}

/** XEP-0357 §7. */
async function publish(hub: Hub, notice: Notice<Target>, outcome: (name: string) => void): Promise<void> {
  const { user, service, node } = notice.target;
  const from = Jid.of('', user.domain, '');
  const request = Stanza.of('iq', { from, to: service, type: 'set' }, payload(notice));
  let answer: Stanza | null = null;
  try {
    answer = await hub.ask(request);
  } catch {
    // No answer in time: that may pass.
  }
  const key = [user.toString(), service.toString(), node];
  if (answer?.type === 'result') {
    outcome('taken');
    hub.store
      .prepare('UPDATE push_services SET failures = 0 WHERE user = ? AND service = ? AND node = ? AND failures > 0')
      .run(...key);
    return;
  }
  outcome('failed');
  const passing = answer === null || answer.child('error', ns.client)?.attrs.type === 'wait';
  hub.store
    .prepare('UPDATE push_services SET failures = failures + ? WHERE user = ? AND service = ? AND node = ?')
    .run(passing ? 1 : mostFailures, ...key);
  const { changes } = hub.store
    .prepare('DELETE FROM push_services WHERE user = ? AND service = ? AND node = ? AND failures >= ?')
    .run(...key, mostFailures);
  if (changes > 0) hub.log.info({ user: user.toString(), service: service.toString() }, 'a push service was given up');
}

function payload({ target, count, pending, sender, body }: Notice<Target>): Element {
  const field = (name: string, value: string) =>
    value === '' ? null : el('field', ns.data, { var: name }, el('value', ns.data, {}, value));
  const summary = el(
    'x',
    ns.data,
    { type: 'form' },
    el('field', ns.data, { var: 'FORM_TYPE', type: 'hidden' }, el('value', ns.data, {}, ns.pushSummary)),
    field('message-count', count > 0 || pending === 0 ? String(count) : ''),
    field('pending-subscription-count', pending > 0 ? String(pending) : ''),
    field('last-message-sender', sender),
    field('last-message-body', body),
  );
  const item = el('item', ns.pubsub, {}, el('notification', ns.push, {}, summary));
  const options = target.options === null ? null : parseElement(target.options);
  return el(
    'pubsub',
    ns.pubsub,
    {},
    el('publish', ns.pubsub, { node: target.node || undefined }, item),
    options && el('publish-options', ns.pubsub, {}, options),
  );
}

/** A service says that it takes no more (XEP-0357 §8). */
function isFarewell(stanza: Stanza): boolean {
  return (
    stanza.name === 'message' && stanza.has('pubsub', ns.pubsub) && stanza.to?.local !== '' && stanza.from !== null
  );
}

function forgetByService(hub: Hub, stanza: Stanza): boolean {
  const pubsub = stanza.child('pubsub', ns.pubsub)!;
  const user = stanza.to!.bare.toString();
  const affiliation = pubsub.child('affiliation');
  const about = Jid.tryParse(affiliation?.attrs.jid ?? '')?.bare.toString();
  if (affiliation?.attrs.affiliation !== 'none' || about !== user) return false;
  const { changes } = hub.store
    .prepare('DELETE FROM push_services WHERE user = ? AND service = ? AND node = ?')
    .run(user, stanza.from!.toString(), pubsub.attrs.node ?? '');
  return changes > 0;
}
