// Clients of independent make log in over STARTTLS and direct TLS, and talk through the hub.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createAuthority } from '../support/authority.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

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

  /** Runs a script with the two of them, and gives all that they saw. */
  async function seenBy(name: string): Promise<Record<string, unknown>> {
    const setup = {
      host: '127.0.0.1',
      starttls: hub.listening.c2s[0].port,
      direct: hub.listening['c2s-tls'][0].port,
      ca: join(hub.directory, 'ca.crt'),
      password: 'secret',
    };
    const script = join(import.meta.dirname, 'slixmpp', name);
    // Debian's own Python has slixmpp, whichever Python comes first on the path.
    const { stdout } = await promisify(execFile)('/usr/bin/python3', [script, JSON.stringify(setup)], {
      timeout: 45_000,
    });
    return Object.assign(
      {},
      ...stdout
        .trim()
        .split('\n')
        .map(line => JSON.parse(line) as object),
    );
  }

  it('logs in over STARTTLS and over direct TLS, and chats both ways', async () => {
    const seen = await seenBy('talk.py');
    assert.equal(seen.juliet, 'from slixmpp 爱');
    assert.equal(seen.romeo, 'back again');
    assert.equal(seen.ping, true);
  });

  it('shares tunes, avatars and nodes', async () => {
    assert.deepEqual(await seenBy('eventing.py'), {
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
