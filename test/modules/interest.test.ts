// Who is remembered as wanting to hear of nodes: strangers leave room for contacts (XEP-0060 §9.1.3, §9.2).
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Hub } from '../../src/hub/module.ts';
import type { Origin } from '../../src/hub/router.ts';
import { Interests } from '../../src/modules/pubsub/interest.ts';
import { rostersOf } from '../../src/modules/rosters.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import { el } from '../../src/xmpp/element.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';

describe('those who want to hear of nodes', () => {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-interest-'));
  const store = openSqlite(join(directory, 'test.db'));
  const owner = Jid.parse('juliet@hub.test');
  let received: (stanza: Stanza, origin: Origin) => boolean;
  const asked: string[] = [];
  const hub = {
    store,
    on: (moment: string, listener: typeof received) => {
      if (moment === 'presence-received') received = listener;
    },
    ask: async (request: Stanza) => {
      asked.push(String(request.to));
      throw new Error('nobody answers');
    },
  } as unknown as Hub;
  const events = { hasNodes: () => true, sessionWants: () => {}, watcherWants: () => {} };
  const interests = new Interests(hub, events, { ofOne: 8, inAll: 12 });
  interests.start();
  after(async () => {
    await store.close();
    rmSync(directory, { recursive: true });
  });

  const shows = (from: string, type = '', to = owner) => {
    const tag = el('c', ns.caps, { hash: 'sha-1', node: 'urn:client', ver: from });
    const stanza = Stanza.of('presence', { from: Jid.parse(from), to, type: type || undefined }, type ? null : tag);
    received(stanza, { kind: 's2s', name: 'elsewhere.test' } as unknown as Origin);
  };
  const known = (of = owner) => [...interests.watchers(of).keys()];

  it('are at most half strangers', () => {
    for (let i = 0; i < 10; i++) shows(`s${i}@elsewhere.test/a`);
    assert.equal(known().length, 4);
    const rosters = rostersOf(hub);
    const contact = Jid.parse('romeo@elsewhere.test');
    rosters.save(owner, { ...rosters.itemOrNew(owner, contact), from: true, listed: true });
    for (let i = 0; i < 10; i++) shows(`romeo@elsewhere.test/${i}`);
    assert.equal(known().length, 8);
    assert.equal(known().filter(jid => jid.startsWith('romeo@')).length, 4);
    // Whoever is not remembered is not asked either.
    assert.equal(asked.length, 8);
  });

  it('leave room in all when they go', () => {
    const other = Jid.parse('nurse@hub.test');
    shows('s1@elsewhere.test/b', '', other);
    assert.deepEqual(known(other), []);
    for (const jid of known()) shows(jid, 'unavailable');
    assert.deepEqual(known(), []);
    shows('s1@elsewhere.test/b', '', other);
    assert.deepEqual(known(other), ['s1@elsewhere.test/b']);
  });
});
