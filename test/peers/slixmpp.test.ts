// Clients of independent make log in over STARTTLS and direct TLS, and talk through the hub.
import assert from 'node:assert/strict';
import { createAuthority } from '../support/authority.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { seenBySlixmpp } from './slixmpp.ts';

describe('slixmpp', () => {
  let hub: TestHub;
  before(async () => {
    const authority = await createAuthority();
    const issued = await authority.issue({ names: ['hub.test'] });
    hub = await startTestHub('{ hub.test: { certificate: domain.crt, key: domain.key } }', {
      files: { 'ca.crt': authority.certificate, 'domain.crt': issued.certificate, 'domain.key': issued.key },
      listen: { 'c2s-tls': '127.0.0.1:0' },
    });
    await hub.accounts.add('romeo@hub.test', 'secret');
    await hub.accounts.add('juliet@hub.test', 'secret');
  });
  after(() => hub.close());

  it('logs in over STARTTLS and over direct TLS, and chats both ways', async () => {
    const seen = await seenBySlixmpp('talk.py', hub);
    assert.equal(seen.juliet, 'from slixmpp 爱');
    assert.equal(seen.romeo, 'back again');
    assert.equal(seen.ping, true);
  });

  it('shares tunes, avatars and nodes', async () => {
    assert.deepEqual(await seenBySlixmpp('eventing.py', hub), {
      tune: 'Dance of the Knights',
      tune_from: 'romeo@hub.test',
      nick: 'Ro',
      avatar: true,
      photo: true,
      subscription: 'subscribed',
      news: 'one',
      title: 'open',
      closed: 'not-allowed',
      items: ['one'],
      nodes: ['news'],
      identities: ['account/registered', 'pubsub/pep'],
    });
  });
});
