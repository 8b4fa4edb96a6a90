// Presence subscriptions: who asks whom, and what becomes of it (RFC 6121 §3, Appendix A).
import { meantBy } from '../hub/config.ts';
import { checkCrossing } from '../hub/crossing.ts';
import type { Hub, Session } from '../hub/module.ts';
import { hubOrigin } from '../hub/router.ts';
import type { Element } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { compositionOf } from './composition.ts';
import { type RosterItem, rostersOf } from './rosters.ts';

export type SubscriptionType = 'subscribe' | 'subscribed' | 'unsubscribe' | 'unsubscribed';

/** Bytes of what a request may say that is kept. */
const largestRequest = 8 * 1024;

const types: ReadonlySet<string> = new Set(['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed']);

export function isSubscription(type: string): type is SubscriptionType {
  return types.has(type);
}

/** The four facts that make up the nine states of Appendix A. */
export interface SubscriptionState {
  to: boolean;
  from: boolean;
  ask: boolean;
  pendingIn: boolean;
  approved: boolean;
}

/** What a stanza does to a state. */
export interface Transition {
  state: SubscriptionState;
  /** Outbound: routed to the contact. Inbound: delivered to the user. */
  passes: boolean;
  /** Inbound only: answered in the user's name. */
  reply?: 'subscribed';
}

/** What becomes of a state when the user sends a subscription stanza (Appendix A.2). */
export function outbound(state: SubscriptionState, type: SubscriptionType): Transition {
  switch (type) {
    case 'subscribe':
      return { state: { ...state, ask: state.ask || !state.to }, passes: true };
    case 'unsubscribe':
      return { state: { ...state, to: false, ask: false }, passes: true };
    case 'subscribed':
      // Without a request it approves one to come (§3.4.2).
      return state.pendingIn
        ? { state: { ...state, from: true, pendingIn: false }, passes: true }
        : { state: { ...state, approved: state.approved || !state.from }, passes: false };
    case 'unsubscribed':
      return {
        state: { ...state, from: false, pendingIn: false, approved: false },
        passes: state.from || state.pendingIn,
      };
  }
}

/** What becomes of a state when the contact sends a subscription stanza (Appendix A.3). */
export function inbound(state: SubscriptionState, type: SubscriptionType): Transition {
  switch (type) {
    case 'subscribe':
      if (state.from) return { state, passes: false, reply: 'subscribed' };
      if (state.approved)
        return { state: { ...state, from: true, pendingIn: false }, passes: false, reply: 'subscribed' };
      return { state: { ...state, pendingIn: true }, passes: !state.pendingIn };
    case 'unsubscribe':
      return { state: { ...state, from: false, pendingIn: false }, passes: state.from || state.pendingIn };
    case 'subscribed':
      return state.ask ? { state: { ...state, to: true, ask: false }, passes: true } : { state, passes: false };
    case 'unsubscribed':
      return { state: { ...state, to: false, ask: false }, passes: state.to || state.ask };
  }
}

function stateOf(item: RosterItem): SubscriptionState {
  const { to, from, ask, approved } = item;
  return { to, from, ask, approved, pendingIn: item.pending !== null };
}

function same(a: SubscriptionState, b: SubscriptionState): boolean {
  return (
    a.to === b.to && a.from === b.from && a.ask === b.ask && a.approved === b.approved && a.pendingIn === b.pendingIn
  );
}

function apply(item: RosterItem, state: SubscriptionState, pending: string | null): void {
  item.to = state.to;
  item.from = state.from;
  item.ask = state.ask;
  item.approved = state.approved;
  item.pending = state.pendingIn ? (item.pending ?? pending) : null;
}

/** A subscription stanza of a local user: from its bare JID to the contact's (RFC 6121 §3.1.2, §3.2.2, §3.3.2). */
export async function sendSubscription(hub: Hub, received: Stanza, type: SubscriptionType): Promise<void> {
  const user = received.from!.bare;
  const contact = meantBy(received.to!.bare, hub.config);
  if (contact.equals(user)) return;
  // What ends something may cross where what begins it may not.
  if (!type.startsWith('unsub') && hub.hosts(contact.domain)) checkCrossing(hub.config, received, contact.domain);
  const rosters = rostersOf(hub);
  const item = rosters.itemOrNew(user, contact);
  const before = stateOf(item);
  const { state, passes } = outbound(before, type);
  if (item.shared && type.startsWith('unsub')) throw keptByGroup();
  // The contact learns that we are gone before it learns that it sees us no more (§3.2.2).
  const gone = type === 'unsubscribed' && before.from ? unavailable(hub, user, contact) : [];
  let change: Element | undefined;
  if (!same(before, state) || (type === 'subscribe' && !item.listed)) {
    const listed = type === 'subscribe' || state.from || state.approved;
    if (listed && !rosters.hasRoom(user, contact, 'item')) {
      throw new StanzaError('resource-constraint', 'the roster is full');
    }
    apply(item, state, null);
    if (listed) item.listed = true;
    change = rosters.save(user, item, item.listed);
  }
  const { groups } = item;
  // Also where nothing has changed: what the user said before goes out before.
  await hub.store.durable();
  if (change) hub.emit('roster-changed', user, contact, { from: before.from, groups }, change);
  if (!passes) return;
  say(hub, gone);
  await hub.router.route(received.withAddresses(user, contact), hubOrigin);
  if (type === 'subscribed') sendPresence(hub, user, contact);
}

/** A subscription stanza for a local user (RFC 6121 §3.1.3, §3.1.6, §3.2.3, §3.3.3). */
export async function receiveSubscription(hub: Hub, received: Stanza, type: SubscriptionType): Promise<void> {
  const user = received.to!.bare;
  const contact = received.from!.bare;
  // Nobody learns so whether there is such a user (§8.5.1).
  const found = user.local === '' ? null : hub.directory(user.domain)?.find(user.local);
  if (!(found instanceof Promise ? await found : found)) return;
  const rosters = rostersOf(hub);
  const item = rosters.itemOrNew(user, contact);
  const before = stateOf(item);
  const { state, passes, reply } = inbound(before, type);
  const stanza = received.withAddresses(contact, user);
  // Who becomes available from here on gets what is kept.
  const takers = passes ? hub.sessions.of(user).filter(session => hears(session, type)) : [];
  const gone = type === 'unsubscribe' && before.from ? unavailable(hub, user, contact) : [];
  let change: Element | undefined;
  if (!same(before, state)) {
    if (!rosters.hasRoom(user, contact, 'request')) return;
    apply(item, state, type === 'subscribe' ? requestOf(stanza) : null);
    if (item.from || item.to) item.listed = true;
    const visible = before.to !== item.to || before.from !== item.from || before.ask !== item.ask;
    change = rosters.save(user, item, visible && item.listed);
  }
  const { groups } = item;
  await hub.store.durable();
  for (const session of takers) session.send(stanza);
  if (!before.pendingIn && state.pendingIn) hub.emit('subscription-asked', stanza);
  if (change) hub.emit('roster-changed', user, contact, { from: before.from, groups }, change);
  if (reply) {
    await hub.router.route(Stanza.of('presence', { from: user, to: contact, type: reply }), hubOrigin);
    sendPresence(hub, user, contact);
  }
  say(hub, gone);
}

/** Requests are for available resources, the rest for those that know the roster (RFC 6121 §3.1.3, §3.1.6). */
function hears(session: Session, type: SubscriptionType): boolean {
  return type === 'subscribe' ? session.presence !== null : session.interested;
}

/** A request as it is kept: with all that it says, unless that is too much (RFC 6121 §3.1.3). */
function requestOf(stanza: Stanza): string {
  const { from, to, id, type } = stanza;
  return (stanza.payload.length > largestRequest ? Stanza.of('presence', { from, to, id, type }) : stanza).toString();
}

/** For who would leave a contact that the directory's groups give. */
export function keptByGroup(): StanzaError {
  return new StanzaError('not-allowed', 'a group of the directory keeps this contact');
}

/** Takes back all subscriptions with a contact that leaves the roster (RFC 6121 §2.5.2). Gives what is to be said once that is kept. */
export function cancelSubscriptions(hub: Hub, user: Jid, item: RosterItem): Stanza[] {
  const said = item.from ? unavailable(hub, user, item.contact) : [];
  const add = (type: SubscriptionType) => said.push(Stanza.of('presence', { from: user, to: item.contact, type }));
  if (item.to || item.ask) add('unsubscribe');
  if (item.from || item.pending !== null) add('unsubscribed');
  apply(item, { to: false, from: false, ask: false, pendingIn: false, approved: false }, null);
  return said;
}

/** Sends a contact the presence of each of the user's resources, unless it lost the right to it meanwhile. */
function sendPresence(hub: Hub, user: Jid, contact: Jid): void {
  if (!rostersOf(hub).item(user, contact)?.from) return;
  for (const session of hub.sessions.of(user)) {
    if (session.presence) void hub.router.route(compositionOf(hub).shown(session).withTo(contact), hubOrigin);
  }
}

/** The end of the presence of each of the user's resources, for a contact. */
function unavailable(hub: Hub, user: Jid, contact: Jid): Stanza[] {
  return hub.sessions
    .of(user)
    .filter(session => session.presence !== null)
    .map(({ jid }) => Stanza.of('presence', { from: jid, to: contact, type: 'unavailable' }));
}

/** Says what a change has brought, in this order, once the change is kept. */
export function say(hub: Hub, stanzas: readonly Stanza[]): void {
  for (const stanza of stanzas) void hub.router.route(stanza, hubOrigin);
}
