// What a domain tells its users: announcements, the message of the day, a welcome for new users, a greeting at login.
import type { Hub, Module, Session } from '../hub/module.ts';
import { hubOrigin, type Origin } from '../hub/router.ts';
import { el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { adminsOf } from './admins.ts';

const schema = [
  `CREATE TABLE standing_messages (
     domain TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL,
     PRIMARY KEY (domain, kind)) WITHOUT ROWID;
   CREATE TABLE greeted (user TEXT PRIMARY KEY, motd INTEGER NOT NULL) WITHOUT ROWID`,
];

/** How many users a broadcast reaches before others get their turn. */
const batch = 200;
const longestText = 64 * 1024;

/** A subject and a body; the subject may be ''. */
export interface Notice {
  subject: string;
  body: string;
}

type Kind = 'motd' | 'welcome';

export const announcements: Module = {
  name: 'announcements',
  implements: [],
  start(hub) {
    const board = noticesOf(hub);
    hub.on('session-available', session => greet(hub, board, session));
    hub.on('domain-message', (stanza, origin) =>
      stanza.to!.resource.startsWith('announce/') ? announced(hub, stanza, origin).then(() => true) : false,
    );
    hub.on('account-removed', user => board.forget(user));
  },
};

/** The standing messages of the domains, and the ways to tell users something. */
export class Notices {
  readonly #hub: Hub;
  readonly #standing = new Map<string, Notice & { at: number }>();

  constructor(hub: Hub) {
    this.#hub = hub;
    hub.store.migrate('announcements', schema);
    for (const row of hub.store.prepare('SELECT * FROM standing_messages').all()) {
      const { domain, kind, subject, body, at } = row;
      this.#standing.set(`${domain} ${kind}`, { subject: String(subject), body: String(body), at: Number(at) });
    }
  }

  get(domain: string, kind: Kind): (Notice & { at: number }) | undefined {
    return this.#standing.get(`${domain} ${kind}`);
  }

  /** Sets a standing message; with `again` false, those who have seen the one before do not see it anew. */
  async set(domain: string, kind: Kind, notice: Notice, again = true): Promise<void> {
    checkLength(notice);
    const at = (again ? undefined : this.get(domain, kind)?.at) ?? Date.now();
    this.#standing.set(`${domain} ${kind}`, { ...notice, at });
    this.#hub.store
      .prepare('INSERT OR REPLACE INTO standing_messages (domain, kind, subject, body, at) VALUES (?, ?, ?, ?, ?)')
      .run(domain, kind, notice.subject, notice.body, at);
    await this.#hub.store.durable();
  }

  /** False where there was none. */
  async clear(domain: string, kind: Kind): Promise<boolean> {
    const known = this.#standing.delete(`${domain} ${kind}`);
    this.#hub.store.prepare('DELETE FROM standing_messages WHERE domain = ? AND kind = ?').run(domain, kind);
    await this.#hub.store.durable();
    return known;
  }

  /** Tells the clients that are connected now; says how many those are. */
  toOnline(domain: string, notice: Notice): number {
    checkLength(notice);
    let told = 0;
    for (const session of this.#hub.sessions.all()) {
      if (session.jid.domain !== domain || session.presence === null) continue;
      tell(session, notice);
      told++;
    }
    return told;
  }

  /** Tells every user; those who are away find the message when they return. Resolves when the last was told. */
  async toAll(domain: string, notice: Notice): Promise<number> {
    checkLength(notice);
    const accounts = this.#hub.directory(domain)?.writable;
    if (!accounts) throw new StanzaError('feature-not-implemented', 'the users of this domain cannot be listed');
    const from = Jid.of('', domain, '');
    let told = 0;
    for await (const user of accounts.list()) {
      const to = Jid.of(user, domain, '');
      const online = this.#hub.sessions.of(to).filter(({ presence }) => presence !== null);
      for (const session of online) tell(session, notice);
      if (online.length === 0) await this.#hub.router.route(message(from, to, '', notice), hubOrigin);
      if (++told % batch === 0) await new Promise(resolve => setImmediate(resolve));
    }
    return told;
  }

  /** Sets the message of the day and shows it to those who are connected. */
  async showMotd(domain: string, notice: Notice): Promise<void> {
    await this.set(domain, 'motd', notice);
    const { at } = this.get(domain, 'motd')!;
    for (const session of this.#hub.sessions.all()) {
      if (session.jid.domain !== domain || session.presence === null) continue;
      tell(session, notice);
      this.seen(session.jid, at);
    }
  }

  /** When the message of the day was set that somebody saw last; null for somebody who is here for the first time. */
  lastSeen(user: Jid): number | null {
    const row = this.#hub.store.prepare('SELECT motd FROM greeted WHERE user = ?').get(user.bare.toString());
    return row ? Number(row.motd) : null;
  }

  seen(user: Jid, at: number): void {
    this.#hub.store.prepare('INSERT OR REPLACE INTO greeted (user, motd) VALUES (?, ?)').run(user.bare.toString(), at);
  }

  forget(user: Jid): void {
    this.#hub.store.prepare('DELETE FROM greeted WHERE user = ?').run(user.bare.toString());
  }
}

/** What a client is told that became available. */
function greet(hub: Hub, notices: Notices, session: Session): void {
  const { domain } = session.jid;
  const motd = notices.get(domain, 'motd');
  const last = notices.lastSeen(session.jid);
  const welcome = last === null ? notices.get(domain, 'welcome') : undefined;
  if (welcome) tell(session, welcome, '');
  const greeting = hub.config.domains.get(domain)?.greeting;
  if (greeting) tell(session, { subject: '', body: greeting });
  if (motd && motd.at > (last ?? 0)) tell(session, motd);
  if (last === null || (motd && motd.at > last)) notices.seen(session.jid, motd?.at ?? 0);
}

/** A message that an admin sent to `DOMAIN/announce/…`: the addresses that other servers have for this. */
async function announced(hub: Hub, stanza: Stanza, origin: Origin): Promise<void> {
  const admins = adminsOf(hub);
  const { from, to } = stanza;
  if (!from || !admins.has(to!.domain, from)) throw new StanzaError('forbidden', 'announcements are for admins');
  let what = to!.resource.slice('announce/'.length);
  let domains = [to!.domain];
  if (what.startsWith('all-hosts/')) {
    what = what.slice('all-hosts/'.length);
    domains = [...hub.config.domains.keys()].filter(domain => hub.enabled('announcements', domain));
    if (domains.some(domain => !admins.has(domain, from))) {
      throw new StanzaError('forbidden', 'that is for those who administer every domain');
    }
  }
  const notice = { subject: stanza.text('subject'), body: stanza.text('body') };
  if (what !== 'motd/delete' && notice.body === '') throw new StanzaError('bad-request', 'there is nothing to say');
  const notices = noticesOf(hub);
  hub.log.info({ by: from.toString(), domains, what, origin: origin.kind }, 'announcement');
  for (const domain of domains) await carryOut(notices, domain, what, notice);
}

async function carryOut(notices: Notices, domain: string, what: string, notice: Notice): Promise<unknown> {
  switch (what) {
    case 'online':
      return notices.toOnline(domain, notice);
    case 'all':
      return notices.toAll(domain, notice);
    case 'motd':
      return notices.showMotd(domain, notice);
    case 'motd/update':
      return notices.set(domain, 'motd', notice, false);
    case 'motd/delete':
      return notices.clear(domain, 'motd');
    default:
      throw new StanzaError('item-not-found', 'announcements go to online, all, motd, motd/update or motd/delete');
  }
}

function checkLength({ subject, body }: Notice): void {
  if (subject.length + body.length > longestText) throw new StanzaError('not-acceptable', 'that is too long');
}

function tell(session: Session, notice: Notice, type = 'headline'): void {
  session.send(message(Jid.of('', session.jid.domain, ''), session.jid, type, notice));
}

function message(from: Jid, to: Jid, type: string, { subject, body }: Notice): Stanza {
  const children = [subject ? el('subject', ns.client, {}, subject) : null, el('body', ns.client, {}, body)];
  return Stanza.of('message', { from, to, type }, ...children.filter(child => child !== null));
}

const ofHub = new WeakMap<Hub, Notices>();

/** What the domains of a hub tell their users; all modules share it. */
export function noticesOf(hub: Hub): Notices {
  let notices = ofHub.get(hub);
  if (!notices) ofHub.set(hub, (notices = new Notices(hub)));
  return notices;
}
