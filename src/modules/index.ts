// The modules, in the order in which they start: filters and listeners run in this order.
import type { Module } from '../hub/module.ts';
import { administration } from './administration.ts';
import { announcements } from './announcements.ts';
import { archive } from './archive/archive.ts';
import { avatars } from './avatars.ts';
import { blocking } from './blocking.ts';
import { bookmarks } from './bookmarks.ts';
import { caps } from './caps.ts';
import { carbons } from './carbons.ts';
import { clientState } from './client-state.ts';
import { commands } from './commands.ts';
import { composition } from './composition.ts';
import { contacts } from './contacts.ts';
import { disco } from './disco.ts';
import { externalServices } from './external-services.ts';
import { last } from './last.ts';
import { offline } from './offline.ts';
import { ping } from './ping.ts';
import { presence } from './presence.ts';
import { privateStorage } from './private.ts';
import { pep } from './pubsub/personal.ts';
import { pubsub } from './pubsub/service.ts';
import { push } from './push/push.ts';
import { registration } from './registration.ts';
import { roster } from './roster.ts';
import { search } from './search.ts';
import { sharedGroups } from './shared-groups.ts';
import { time } from './time.ts';
import { vcard } from './vcard.ts';
import { version } from './version.ts';

export { exportUser, importUser } from './accounts-file.ts';
export { compositionOf, thirdPresence, userOf } from './composition.ts';
export { finishRemovals, noteRemoval, removeAccount } from './removal.ts';

export const modules: readonly Module[] = [
  avatars,
  blocking,
  sharedGroups,
  roster,
  caps,
  pep,
  composition,
  presence,
  push,
  offline,
  archive,
  carbons,
  clientState,
  disco,
  pubsub,
  bookmarks,
  commands,
  contacts,
  externalServices,
  ping,
  version,
  time,
  last,
  vcard,
  search,
  privateStorage,
  registration,
  announcements,
  administration,
];

/** What `modules` of the configuration may name. */
export const moduleNames: readonly string[] = modules.map(({ name }) => name);
