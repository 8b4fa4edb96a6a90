// A disk that is full while the hub runs: what cannot be kept comes back, what need not be kept goes on, and all is well once there is room.
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { startTestHub } from '../support/hubs.ts';
import { logTo } from '../support/log.ts';
import { until } from '../support/until.ts';

function conditionOf(stanza: Element): unknown[] {
  const error = stanza.child('error');
  return [error?.attrs.type, error?.all()[0]?.name];
}

describe('a disk that is full', () => {
  it('costs nobody a message without a word', async () => {
    let lines = '';
    const log = logTo(line => {
      lines += line;
    });
    const hub = await startTestHub(['hub.test'], { log, yaml: 'limits: { rate: { c2s: 0 } }' });
    try {
      await hub.accounts.add('absent@hub.test', 'a password for tests');
      const romeo = await hub.client('romeo@hub.test');
      const { store } = hub.hub;
      const pages = (most: number) => store.prepare(`PRAGMA max_page_count = ${most}`).get();
      const size = Number(store.prepare('PRAGMA page_count').get()?.page_count);
      await store.durable();
      pages(size + 4);
      const write = (id: string, to: string, length: number) =>
        romeo.sends(`<message id='${id}' type='chat' to='${to}'><body>${'x'.repeat(length)}</body></message>`);
      await write('large', 'absent@hub.test', 100_000);
      const back = await romeo.receives(e => e.attrs.id === 'large');
      assert.deepEqual(conditionOf(back), ['wait', 'resource-constraint']);
      await until(() => /disk is full/.test(lines));
      const answer = await romeo.asks(
        'set',
        `<query xmlns='${ns.private}'><n xmlns='n'>${'x'.repeat(100_000)}</n></query>`,
      );
      assert.deepEqual(conditionOf(answer), ['wait', 'resource-constraint']);
      await write('through', romeo.jid, 100_000);
      assert.equal((await romeo.receives(e => e.attrs.id === 'through')).attrs.type, 'chat');
      pages(1_000_000);
      await write('kept', 'absent@hub.test', 100_000);
      await romeo.hasNot(e => e.attrs.type === 'error');
      const absent = await hub.client('absent@hub.test');
      await absent.receives(e => e.attrs.id === 'kept');
      await absent.hasNot(e => e.attrs.id === 'large');
    } finally {
      await hub.close();
    }
  });
});
