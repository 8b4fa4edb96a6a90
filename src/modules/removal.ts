// The end of an account: its sessions, its subscriptions and everything that was kept for it go (XEP-0077 §3.2).
import type { Hub } from '../hub/module.ts';
import { StreamError } from '../xmpp/errors.ts';
import type { Jid } from '../xmpp/jid.ts';
import { rostersOf } from './rosters.ts';
import { cancelSubscriptions } from './subscription.ts';

/**
 * Ends the sessions of an account that is gone and forgets what was kept for it. The sessions end behind the answer
 * that the caller gives next, since one of them may have asked.
 */
export async function removeAccount(hub: Hub, user: Jid): Promise<void> {
  const sessions = [...hub.sessions.of(user)];
  for (const item of [...rostersOf(hub).of(user).items.values()]) cancelSubscriptions(hub, user.bare, item);
  await hub.emit('account-removed', user.bare);
  await hub.store.durable();
  setImmediate(() => {
    for (const session of sessions) session.end(new StreamError('not-authorized', 'the account was removed'));
  });
}
