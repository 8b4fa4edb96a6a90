// Administration of a domain over XMPP, by those whom its `admins` name (XEP-0133).
import type { Module } from '../hub/module.ts';
import { StreamError } from '../xmpp/errors.ts';
import { accessCommands } from './administration/access.ts';
import { listCommands } from './administration/lists.ts';
import { messageCommands } from './administration/messages.ts';
import { serviceCommands } from './administration/service.ts';
import { userCommands } from './administration/users.ts';
import { adminsOf } from './admins.ts';
import { disabledUsersOf } from './disabled.ts';

export const administration: Module = {
  name: 'administration',
  implements: ['XEP-0133'],
  start(hub) {
    const disabled = disabledUsersOf(hub);
    hub.on('login', user => disabled.has(user));
    hub.on('session-opened', session => {
      // However it came to be: nobody who is disabled has a session.
      if (!disabled.has(session.jid)) return;
      setImmediate(() => session.end(new StreamError('not-authorized', 'the account is disabled')));
    });
    hub.on('account-removed', async user => {
      adminsOf(hub).forget(user);
      if (disabled.has(user)) await disabled.set(user, false);
    });
    const offered = [
      ...userCommands(hub),
      ...listCommands(hub),
      ...accessCommands(hub),
      ...messageCommands(hub),
      ...serviceCommands(hub),
    ];
    for (const command of offered) hub.command(command);
  },
};
