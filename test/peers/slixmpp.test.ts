// Clients of independent make log in over STARTTLS and direct TLS, talk, and share what they publish.
import assert from 'node:assert/strict';
import { seenBy } from './libraries.ts';

describe('slixmpp', () => {
  const seen = seenBy('slixmpp', 'talk.py', { users: ['romeo', 'juliet'] });

  it('logs in over STARTTLS and over direct TLS, and chats both ways', () => {
    assert.deepEqual(seen, { juliet: 'from slixmpp 爱', romeo: 'back again', ping: true });
  });
});

describe('slixmpp, of eventing', () => {
  const seen = seenBy('slixmpp', 'eventing.py', { users: ['romeo', 'juliet'] });

  it('shares tunes, avatars and nodes', () => {
    assert.deepEqual(seen, {
      tune: 'Dance of the Knights',
      tune_from: 'romeo@hub.test',
      nick: 'Ro',
      avatar: true,
      photo: true,
      name: 'Romeo Montague',
      last: 0,
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
