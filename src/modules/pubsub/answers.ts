// The use cases that a service answers, by the namespace of the request.
import type { Request } from '../../hub/module.ts';
import type { Element } from '../../xmpp/element.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import type { Host } from './host.ts';
import { memberCases, PartlyRefused } from './members.ts';
import { creatorCases, ownerCases } from './owner.ts';
import { publisherCases } from './publisher.ts';
import { readerCases } from './reader.ts';
import { answer, type UseCases } from './requests.ts';
import { subscriberCases } from './subscriber.ts';

const entityCases: UseCases = { ...readerCases, ...subscriberCases, ...publisherCases, ...creatorCases };
const ownersCases: UseCases = { ...ownerCases, ...memberCases };

/** Answers an IQ with `<pubsub/>`. Throws or rejects with the StanzaError that goes back. */
export async function answerRequest(
  host: Host,
  { stanza, query, from }: Pick<Request, 'stanza' | 'query' | 'from'>,
): Promise<Element | Stanza | null> {
  const cases = query.ns === ns.pubsubOwner ? ownersCases : entityCases;
  try {
    return await answer(cases, host, stanza.type, from, query);
  } catch (error) {
    if (error instanceof PartlyRefused) return error.answerTo(stanza);
    throw error;
  }
}
