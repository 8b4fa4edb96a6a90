// What rosters, subscriptions and block lists are to be, whatever is done to them: RFC 6121 in short.
import { itemText } from './device.ts';

export type Verb = 'subscribe' | 'subscribed' | 'unsubscribe' | 'unsubscribed';

/** One side of two people (RFC 6121 Appendix A). */
export interface Side {
  listed: boolean;
  name: string;
  groups: string[];
  to: boolean;
  from: boolean;
  ask: boolean;
  pending: boolean;
  approved: boolean;
}

export class People {
  readonly users: readonly string[];
  readonly accounts = new Set<string>();
  readonly #sides = new Map<string, Side>();
  readonly #blocked = new Map<string, Set<string>>();
  /** Called where a user's presence begins or ceases to be sent to another. */
  turned: (from: string, to: string) => void = () => {};

  constructor(users: readonly string[]) {
    this.users = users;
  }

  side(user: string, contact: string): Side {
    const key = `${user} ${contact}`;
    let side = this.#sides.get(key);
    if (!side) this.#sides.set(key, (side = { ...nothing }));
    return side;
  }

  /** The roster of a user as its clients have it, but for what is in it from the beginning. */
  roster(user: string): Map<string, string> {
    const listed = this.users.filter(contact => contact !== user && this.side(user, contact).listed);
    return new Map(listed.map(contact => [contact, textOf(this.side(user, contact))]));
  }

  blockedBy(user: string): Set<string> {
    let blocked = this.#blocked.get(user);
    if (!blocked) this.#blocked.set(user, (blocked = new Set()));
    return blocked;
  }

  blocks(user: string, other: string): boolean {
    const blocked = this.blockedBy(user);
    return blocked.has(other) || blocked.has(other.slice(other.indexOf('@') + 1));
  }

  /** Whether nothing passes between the two. */
  apart(one: string, other: string): boolean {
    return this.blocks(one, other) || this.blocks(other, one);
  }

  set(user: string, contact: string, name: string, groups: string[]): void {
    Object.assign(this.side(user, contact), { listed: true, name, groups });
  }

  /** RFC 6121 §2.5. False: there is nothing to remove. */
  remove(user: string, contact: string): boolean {
    const side = this.side(user, contact);
    if (!side.listed) return false;
    this.#cancel(user, contact);
    return true;
  }

  /** The account goes, and its subscriptions with it. */
  removeAccount(user: string): void {
    this.blockedBy(user).clear();
    for (const contact of this.users) if (contact !== user) this.#cancel(user, contact);
    this.accounts.delete(user);
  }

  #cancel(user: string, contact: string): void {
    const { to, from, ask, pending } = this.side(user, contact);
    Object.assign(this.side(user, contact), nothing);
    if (from) this.turned(user, contact);
    if (to || ask) this.#arrives(contact, user, 'unsubscribe');
    if (from || pending) this.#arrives(contact, user, 'unsubscribed');
  }

  /** A user's client says something to a contact (Appendix A.2). False: that is refused. */
  say(user: string, contact: string, verb: Verb): boolean {
    if (this.blocks(user, contact)) return false;
    const side = this.side(user, contact);
    const { from, pending } = side;
    let passes = true;
    switch (verb) {
      case 'subscribe':
        if (!side.to) side.ask = true;
        side.listed = true;
        break;
      case 'unsubscribe':
        side.to = side.ask = false;
        break;
      case 'subscribed':
        if (pending) Object.assign(side, { from: true, pending: false, listed: true });
        else if (!from) Object.assign(side, { approved: true, listed: true });
        passes = pending;
        break;
      case 'unsubscribed':
        if (from) this.turned(user, contact);
        side.from = side.pending = side.approved = false;
        passes = from || pending;
        break;
    }
    if (passes) this.#arrives(contact, user, verb);
    if (passes && verb === 'subscribed') this.turned(user, contact);
    return true;
  }

  /** What a contact said comes to a user (Appendix A.3). */
  #arrives(user: string, contact: string, verb: Verb): void {
    if (this.apart(user, contact) || !this.accounts.has(user)) return;
    const side = this.side(user, contact);
    switch (verb) {
      case 'subscribe':
        if (!side.from && !side.approved) {
          side.pending = true;
          return;
        }
        Object.assign(side, { from: true, pending: false, listed: true });
        this.#arrives(contact, user, 'subscribed');
        this.turned(user, contact);
        return;
      case 'unsubscribe':
        if (side.from) this.turned(user, contact);
        side.from = side.pending = false;
        return;
      case 'subscribed':
        if (side.ask) Object.assign(side, { to: true, ask: false, listed: true });
        return;
      case 'unsubscribed':
        side.to = side.ask = false;
    }
  }

  /** A device of a user asks for a contact's presence (RFC 6121 §4.3.2): whether that is shown. */
  probe(user: string, contact: string): boolean {
    if (!this.side(user, contact).to || this.apart(user, contact)) return false;
    const { from, pending } = this.side(contact, user);
    if (!from && !pending) this.#arrives(user, contact, 'unsubscribed');
    return from;
  }
}

const nothing: Side = {
  listed: false,
  name: '',
  groups: [],
  to: false,
  from: false,
  ask: false,
  pending: false,
  approved: false,
};

/** A roster item as clients have it, in one line. */
export function textOf(side: Omit<Side, 'listed' | 'pending'>): string {
  const { name, groups, to, from, ask, approved } = side;
  const subscription = to ? (from ? 'both' : 'to') : from ? 'from' : 'none';
  const attrs = { subscription, name, ask: ask ? 'subscribe' : '', approved: approved ? 'true' : '' };
  return itemText({ attrs, groups });
}
