// SIP users who watch SIP users whose presence is kept here: the server's side of their dialogs (RFC 3856).
import type { Jid } from '../../xmpp/jid.ts';
import { sipAddress } from './addresses.ts';
import type { SipAnswer, SubscriptionIn } from './engine.ts';
import { pidfType } from './pidf.ts';
import type { Publications } from './publications.ts';

/** Answers a SUBSCRIBE of one SIP user for another by what is published. */
export function watchPublished(
  publications: Publications,
  subscription: SubscriptionIn,
  presentity: Jid,
  from: Jid,
): SipAnswer {
  const wish = {
    uri: sipAddress(presentity),
    from: sipAddress(from),
    event: 'presence',
    accept: [pidfType],
    expires: subscription.expires,
  };
  let last: { contentType?: string; body?: Uint8Array } = {};
  const isFetch = subscription.expires === 0;
  const out = publications.subscribe(wish, {
    notify: ({ state, contentType, body }) => {
      last = body.length > 0 ? { contentType, body } : {};
      if (isFetch) {
        void subscription.notify({ state: 'terminated', reason: 'timeout', ...last });
        void out.end();
      } else {
        void subscription.notify({ state, ...last });
      }
    },
    ended: () => {},
  });
  subscription.onRefresh = () => out.refresh();
  subscription.onEnd = why => {
    void out.end();
    if (why !== 'lost') void subscription.notify({ state: 'terminated', reason: 'timeout', ...last });
  };
  return { status: 200 };
}
