// The modules, in the order in which they start: filters and listeners run in this order.
import type { Module } from '../hub/module.ts';
import { avatars } from './avatars.ts';
import { blocking } from './blocking.ts';
import { bookmarks } from './bookmarks.ts';
import { caps } from './caps.ts';
import { carbons } from './carbons.ts';
import { disco } from './disco.ts';
import { last } from './last.ts';
import { offline } from './offline.ts';
import { ping } from './ping.ts';
import { presence } from './presence.ts';
import { privateStorage } from './private.ts';
import { pep } from './pubsub/personal.ts';
import { pubsub } from './pubsub/service.ts';
import { registration } from './registration.ts';
import { roster } from './roster.ts';
import { time } from './time.ts';
import { vcard } from './vcard.ts';
import { version } from './version.ts';

export { removeAccount } from './registration.ts';

export const modules: readonly Module[] = [
  avatars,
  blocking,
  roster,
  caps,
  pep,
  presence,
  carbons,
  offline,
  disco,
  pubsub,
  bookmarks,
  ping,
  version,
  time,
  last,
  vcard,
  privateStorage,
  registration,
];
