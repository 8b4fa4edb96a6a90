// A client as users have them: it keeps the roster with its version, and whom it sees.
import assert from 'node:assert/strict';
import type { Element } from '../../../src/xmpp/element.ts';
import { ns } from '../../../src/xmpp/namespaces.ts';
import type { Client } from '../../support/client.ts';

/** A roster as a client has it, by contact. */
export type Cache = Map<string, string>;

/** What a client keeps between its sessions. */
export interface Kept {
  cache: Cache;
  ver: string;
}

/** A roster item in one line. */
export function itemText({ attrs, ...item }: Pick<Element, 'attrs'> & { groups: string[] }): string {
  const { subscription, ask, approved, name } = attrs;
  return [subscription, ask && 'asked', approved && 'approved', name, ...item.groups.toSorted()]
    .filter(Boolean)
    .join(' ');
}

/** Presence in one line: what it shows. */
export function presenceText(presence: Element): string {
  return ['show', 'status', 'priority'].map(name => presence.childText(name)).join(' ');
}

const query = (ver: string | null) => `<query xmlns='${ns.roster}'${ver === null ? '' : ` ver='${ver}'`}/>`;

export class Device {
  readonly client: Client;
  readonly kept: Kept;
  readonly interested: boolean;
  /** What it was told last of each full JID that is available. */
  readonly view = new Map<string, string>();
  /** Who asked to see its user, as far as it was told. */
  readonly requests = new Set<string>();
  /** Each version it had, with the roster it had then. */
  versions: Kept[] = [];
  errors: Element[] = [];

  constructor(client: Client, kept: Kept, interested: boolean) {
    this.client = client;
    this.kept = kept;
    this.interested = interested;
  }

  get jid(): string {
    return this.client.jid;
  }

  get user(): string {
    return this.client.options.jid;
  }

  get domain(): string {
    return this.user.slice(this.user.indexOf('@') + 1);
  }

  /** Asks for what is new in the roster, or for all of it. */
  async fetch(whole = false): Promise<void> {
    const answer = await this.client.asks('get', query(whole ? null : this.kept.ver));
    const roster = answer.child('query', ns.roster);
    if (roster) {
      this.kept.cache.clear();
      this.#take(roster);
    }
  }

  /** Takes in all that has come. */
  read(): void {
    for (const element of this.client.inbox.splice(0)) {
      const roster = element.child('query', ns.roster);
      if (element.name === 'presence') this.#presence(element);
      else if (element.name === 'iq' && element.attrs.type === 'set' && roster) {
        assert.equal(element.attrs.from, this.user);
        this.#take(roster);
      } else if (element.attrs.type === 'error') this.errors.push(element);
    }
  }

  #take(roster: Element): void {
    for (const item of roster.all('item')) {
      const groups = item.all('group').map(({ text }) => text);
      if (item.attrs.subscription === 'remove') this.kept.cache.delete(item.attrs.jid);
      else this.kept.cache.set(item.attrs.jid, itemText({ attrs: item.attrs, groups }));
    }
    this.kept.ver = roster.attrs.ver;
    this.versions.push({ ver: this.kept.ver, cache: new Map(this.kept.cache) });
  }

  #presence(presence: Element): void {
    const { from, type } = presence.attrs;
    switch (type) {
      case undefined:
        // What came late while it was unavailable says nothing.
        if (from === this.jid && !this.view.has(from)) this.forget('');
        this.view.set(from, presenceText(presence));
        break;
      case 'unavailable':
        for (const seen of [...this.view.keys()])
          if (seen === from || seen.startsWith(`${from}/`)) this.view.delete(seen);
        // It hears of nobody any more.
        if (from === this.jid) this.forget('');
        break;
      case 'subscribe':
        this.requests.add(from);
        break;
      case 'error':
        this.errors.push(presence);
        break;
    }
  }

  /** Sees nobody of these any more, whatever was said. */
  forget(beginning: string): void {
    for (const seen of [...this.view.keys()]) if (seen.startsWith(beginning)) this.view.delete(seen);
  }
}
