// What the hub has for many devices, used by the plugins of an independent client library.
import assert from 'node:assert/strict';
import { createAuthority } from '../support/authority.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { seenBySlixmpp } from './slixmpp.ts';

describe('slixmpp, of devices', () => {
  let hub: TestHub;
  let seen: Record<string, unknown>;
  before(async function () {
    this.timeout(60_000);
    const authority = await createAuthority();
    const issued = await authority.issue({ names: ['hub.test'] });
    hub = await startTestHub('{ hub.test: { certificate: domain.crt, key: domain.key, modules: { archive: true } } }', {
      files: { 'ca.crt': authority.certificate, 'domain.crt': issued.certificate, 'domain.key': issued.key },
    });
    for (const user of ['juliet', 'romeo']) await hub.accounts.add(`${user}@hub.test`, 'secret');
    seen = await seenBySlixmpp('devices.py', hub);
  });
  after(() => hub.close());

  it('reads the archive page by page, and from its end', () => {
    assert.deepEqual(
      seen.lines,
      Array.from({ length: 25 }, (_, n) => `line ${n}`),
    );
    assert.deepEqual([...(seen.last as string[])].sort(), ['line 22', 'line 23', 'line 24']);
    assert.equal(seen.ends, true);
    assert.equal(seen.foreign, 'forbidden');
    for (const field of ['with', 'start', 'end', 'before-id', 'after-id', 'ids', 'include-groupchat']) {
      assert.ok((seen.fields as string[]).includes(field), field);
    }
  });

  it('sets what is archived', () => assert.deepEqual(seen.preferences, ['always', ['nurse@hub.test']]));

  it('gets copies of what is sent and what comes', () => {
    assert.deepEqual(seen.sent, ['sent', 'from the desk']);
    assert.deepEqual(seen.received, ['received', 'to the desk', true]);
  });

  it('tells whether its user looks', () => assert.equal(seen.pong, true));

  it('blocks and unblocks', () => {
    assert.deepEqual(seen.blocked, ['romeo@hub.test']);
    assert.equal(seen.blocks, 'service-unavailable');
    assert.equal(seen.unblocked, 0);
  });

  it('resumes, and gets what it missed', () => {
    assert.equal(seen.resumed, true);
    assert.equal(seen.missed, 'while you were gone');
  });
});
