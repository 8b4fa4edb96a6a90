// What a domain offers as a service, asked for by a client library of another make.
import assert from 'node:assert/strict';
import { seenBy } from './libraries.ts';

const yaml = `
clients: { registration: true }
external-services:
  stun: { type: stun, host: stun.hub.test, port: 3478, transport: udp }
`;

describe('aioxmpp, of services', () => {
  const seen = seenBy('aioxmpp', 'service.py', {
    users: ['bard', 'juliet'],
    domain: 'admins: [bard@hub.test]',
    yaml,
  });

  it('registers before it logs in, changes the password and leaves', () => {
    for (const field of ['username', 'password']) assert.ok((seen.fields as string[]).includes(field), field);
    assert.equal(seen.taken, 'conflict');
    assert.deepEqual(seen.registered, [true, 'nurse']);
    assert.equal(seen.cancelled, 'not-authorized');
  });

  it('reads version, time, uptime and external services', () => {
    assert.deepEqual(seen.version, ['Isthmus', true]);
    assert.equal(seen.time, true);
    assert.equal(seen.zone, '+00:00');
    assert.equal(seen.uptime, true);
    assert.deepEqual(seen.services, [['stun', 'stun.hub.test']]);
    assert.equal(seen.client, 'Nightingale');
  });

  it('administers the domain by commands, where it may', () => {
    assert.equal(seen.offers, true);
    for (const name of ['add-user', 'end-user-session', 'announce', 'shutdown']) {
      assert.ok((seen.commands as string[]).includes(name), name);
    }
    assert.deepEqual(seen.info, ['automation/command-node']);
    assert.equal(seen.form, true);
    assert.equal(seen.added, 'completed');
    assert.deepEqual(seen.online, { onlineusersnum: ['3'] });
    assert.equal(seen.heard, 'Hear ye\nhear ye');
    assert.equal(seen.forbidden, 'forbidden');
    assert.equal(seen.others, 0);
  });

  it('runs the commands of another client', () => {
    assert.deepEqual(seen.offered, ['wave']);
    assert.deepEqual(seen.ran, ['completed', 'for bard']);
  });

  it('searches for people', () => {
    assert.deepEqual(seen.asks, ['email', 'first', 'nick', 'phone']);
    assert.deepEqual(seen.found, [['juliet@hub.test']]);
  });

  it('writes with headers', () => assert.deepEqual(seen.headers, ['A subject', 'high']));
});
