// Finds the clients that are gone without a word: asks those that have been silent, and gives up those that do not answer.
import type { Config } from '../hub/config.ts';
import { el } from '../xmpp/element.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';
import type { ClientSession } from './session.ts';

let pings = 0;

/** Asks what is due at `now` (ms since 1970): by a request for acknowledgement (XEP-0198 §4) or a ping (XEP-0199 §4.1). */
export function checkLiveness(sessions: Iterable<ClientSession>, { ping }: Config['clients'], now: number): void {
  if (ping.interval === 0) return;
  for (const session of sessions) {
    const { stream, management } = session;
    if (stream === null) continue;
    const asked = management ? management.asked : session.pinged;
    if (asked > 0 && asked > session.heardAt) {
      // Its socket is closed, not its stream: a session that can be resumed is.
      if (now - asked >= ping.timeout && (management || session.answers)) stream.socket.destroy();
    } else if (now - session.heardAt >= ping.interval) {
      if (management) management.request(stream);
      else {
        session.pinged = now;
        const from = Jid.of('', session.jid.domain, '');
        stream.send(
          Stanza.of('iq', { from, to: session.jid, type: 'get', id: `ping-${++pings}` }, el('ping', ns.ping)),
        );
      }
    }
  }
}
