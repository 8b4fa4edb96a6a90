// Which messages belong into an archive: what people said, and what they need to make sense of it (XEP-0313 §6.1.1, XEP-0334).
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';

/** Payloads that belong to a conversation though no body stands beside them. */
const meaningful: readonly (readonly [string, string])[] = [
  ['received', ns.receipts],
  ['received', ns.markers],
  ['displayed', ns.markers],
  ['acknowledged', ns.markers],
  ['encrypted', 'eu.siacs.conversations.axolotl'],
  ['encrypted', 'urn:xmpp:omemo:2'],
  ['openpgp', 'urn:xmpp:openpgp:0'],
  ['reactions', 'urn:xmpp:reactions:0'],
  ['retract', 'urn:xmpp:message-retract:1'],
  ['x', ns.directInvitation],
];

/** Whether a message is one that archives keep, as far as the message itself tells. */
export function belongsInArchive(message: Stanza): boolean {
  // A type that nobody knows counts as `normal` (RFC 6121 §5.2.2).
  return !passing.has(message.type) && isConversation(message);
}

const passing: ReadonlySet<string> = new Set(['groupchat', 'headline', 'error']);

function isConversation(message: Stanza): boolean {
  // Copies are made by the server itself: a message that claims to be one is none that was said.
  if (message.has('received', ns.carbons) || message.has('sent', ns.carbons)) return false;
  if (message.has('no-store', ns.hints) || message.has('no-permanent-store', ns.hints)) return false;
  if (message.has('body', ns.client) || message.has('store', ns.hints)) return true;
  return meaningful.some(([name, space]) => message.has(name, space));
}
