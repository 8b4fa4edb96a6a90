// People who live on a peer.
import { ns } from '../../src/xmpp/namespaces.ts';
import { type Client, connectClient } from '../support/client.ts';
import type { Peer } from './process.ts';

/** Registers (where it is new) and logs in on a peer. */
export async function peerClient(peer: Peer, user: string): Promise<Client> {
  const options = {
    jid: `${user}@${peer.domain}`,
    password: 'secret',
    host: peer.address,
    port: 5222,
    security: 'plain' as const,
  };
  const before = await connectClient({ ...options, bare: true });
  await before.asks(
    'set',
    `<query xmlns='${ns.register}'><username>${user}</username><password>secret</password></query>`,
  );
  before.drop();
  return connectClient({ ...options, mechanism: 'PLAIN' });
}
