// What the sender of a stanza is told where something failed here.
import { StanzaError } from '../xmpp/errors.ts';
import { StoreError } from './store.ts';

/**
 * The error for a sender: the one that was meant for it, or what may be told of any other. A store that cannot write,
 * on a full disk say, is a `resource-constraint`: it is worth another attempt (RFC 6120 §8.3.3.18).
 */
export function toldOf(error: unknown): StanzaError {
  if (error instanceof StanzaError) return error;
  if (error instanceof StoreError) return new StanzaError('resource-constraint', 'nothing can be kept at the moment');
  return new StanzaError('internal-server-error');
}
