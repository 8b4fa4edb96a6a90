// What a domain offers as a service, asked for by the plugins of an independent client library.
import assert from 'node:assert/strict';
import { seenBy } from './libraries.ts';

const services = `
external-services:
  stun: { type: stun, host: stun.hub.test, port: 3478, transport: udp }
  turn: { type: turn, host: turn.hub.test, port: 3478, transport: udp, secret: shared }
`;

describe('slixmpp, of services', () => {
  const seen = seenBy('slixmpp', 'service.py', {
    users: ['bard'],
    domain: 'admins: [bard@hub.test]',
    yaml: services,
  });

  it('finds the features', () => {
    for (const feature of ['http://jabber.org/protocol/commands', 'urn:xmpp:extdisco:2', 'jabber:iq:register']) {
      assert.ok((seen.features as string[]).includes(feature), feature);
    }
  });

  it('reads version, time, uptime and pong', () => {
    assert.equal(seen.software, 'Isthmus');
    assert.ok(Math.abs(Date.parse(String(seen.time)) - Date.now()) < 120_000);
    assert.ok(Number(seen.uptime) < 120);
    assert.equal(seen.ping, true);
  });

  it('reads external services, with credentials for the relay', () => {
    assert.deepEqual(seen.services, [
      ['stun', 'stun.hub.test', false],
      ['turn', 'turn.hub.test', true],
    ]);
  });

  it('lists and runs administrative commands', () => {
    const commands = seen.commands as string[];
    for (const name of ['add-user', 'disable-user', 'set-motd', 'shutdown']) assert.ok(commands.includes(name), name);
    assert.equal(seen.added, 'completed');
    assert.deepEqual(seen.online, { onlineusersnum: '2' });
    assert.deepEqual(seen.users, { onlineuserjids: ['bard@hub.test', 'juliet@hub.test'] });
    assert.equal(seen.heard, 'Hear ye\nhear ye');
    assert.equal(seen.refused, 'forbidden');
  });

  it('changes the password and leaves', () => assert.equal(seen.gone, true));
});
