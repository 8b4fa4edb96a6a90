// The end of an account: its sessions, its subscriptions and everything that was kept for it go (XEP-0077 §3.2).
import type { Hub } from '../hub/module.ts';
import type { Store } from '../hub/store.ts';
import { StreamError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { rostersOf } from './rosters.ts';
import { cancelSubscriptions, say } from './subscription.ts';

/**
 * Ends the sessions of an account that is gone and forgets what was kept for it. The sessions end behind the answer
 * that the caller gives next, since one of them may have asked; what they say until then is not heard.
 */
export async function removeAccount(hub: Hub, user: Jid): Promise<void> {
  const sessions = [...hub.sessions.of(user)];
  for (const session of sessions) session.silenced = true;
  const items = [...rostersOf(hub).of(user).items.values()];
  const said = items.flatMap(item => cancelSubscriptions(hub, user.bare, item));
  await hub.emit('account-removed', user.bare);
  await hub.store.durable();
  say(hub, said);
  setImmediate(() => {
    for (const session of sessions) session.end(new StreamError('not-authorized', 'the account was removed'));
  });
}

const schema = ['CREATE TABLE removed_accounts (user TEXT PRIMARY KEY) WITHOUT ROWID'];

/** Notes that an account was removed while no hub ran: what was kept for it goes when one starts. */
export async function noteRemoval(store: Store, user: Jid): Promise<void> {
  store.migrate('removals', schema);
  store.prepare('INSERT OR IGNORE INTO removed_accounts VALUES (?)').run(user.bare.toString());
  await store.durable();
}

/** Whether something is still kept for an account of that name that was removed. */
export function isRemoved(store: Store, user: Jid): boolean {
  store.migrate('removals', schema);
  return store.prepare('SELECT 1 FROM removed_accounts WHERE user = ?').get(user.bare.toString()) !== undefined;
}

/** Forgets the accounts that were removed while no hub ran. Resolves before anybody logs in. */
export async function finishRemovals(hub: Hub): Promise<void> {
  hub.store.migrate('removals', schema);
  for (const { user } of hub.store.prepare('SELECT user FROM removed_accounts').all()) {
    await removeAccount(hub, Jid.parse(String(user)));
    hub.store.prepare('DELETE FROM removed_accounts WHERE user = ?').run(user);
  }
}
