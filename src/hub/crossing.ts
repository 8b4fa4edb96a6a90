// Whether users of one hosted domain may reach another one (`cross-domain`).
import { StanzaError } from '../xmpp/errors.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Config } from './config.ts';

/**
 * Refuses a local user's stanza that goes from one hosted domain to another where that is closed. `domain` is the hosted
 * domain that it goes to, or to a service of. Throws a StanzaError `not-allowed`.
 */
export function checkCrossing(config: Config, stanza: Stanza, domain: string): void {
  const from = stanza.from!.domain;
  if (from === domain || !config.domains.has(from) || stanza.isError || stanza.type === 'result') return;
  const { policy, exceptions } = config.crossDomain;
  const excepted = exceptions.includes(from) || exceptions.includes(domain);
  if ((policy === 'open') === excepted) {
    throw new StanzaError('not-allowed', `${from} and ${domain} do not exchange stanzas here (cross-domain)`);
  }
}
