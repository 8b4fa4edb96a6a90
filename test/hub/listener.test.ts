// Listening: what cannot be, in words; and the guard that counts connections.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { ConnectionGuard, formatEndpoint, type Listening, listen } from '../../src/hub/listener.ts';
import { silentLog } from '../../src/hub/log.ts';
import { logTo } from '../support/log.ts';
import { until } from '../support/until.ts';

const from = (remoteAddress: string) => Object.assign(new EventEmitter(), { remoteAddress }) as unknown as Socket;
const anywhere = { host: '127.0.0.1', port: 0 };

describe('the guard of connections', () => {
  it('counts by address and in all, until they close', () => {
    const guard = new ConnectionGuard({ perAddress: 2, total: 3 });
    const [a, b] = [from('10.0.0.1'), from('10.0.0.1')];
    assert.deepEqual([guard.admit(a), guard.admit(b)], [null, null]);
    assert.match(guard.admit(from('10.0.0.1'))!, /per-address/);
    assert.equal(guard.admit(from('10.0.0.2')), null);
    assert.match(guard.admit(from('10.0.0.3'))!, /total/);
    assert.equal(guard.count, 3);
    a.emit('close');
    assert.equal(guard.count, 2);
    assert.equal(guard.admit(from('10.0.0.1')), null);
    assert.match(guard.admit(from('10.0.0.1'))!, /total/);
  });

  it('takes 0 for no limit', () => {
    const guard = new ConnectionGuard({ perAddress: 0, total: 0 });
    for (let i = 0; i < 1_000; i++) assert.equal(guard.admit(from('10.0.0.1')), null);
  });

  it('takes over other limits', () => {
    const guard = new ConnectionGuard({ perAddress: 1, total: 0 });
    guard.admit(from('10.0.0.1'));
    guard.perAddress = 2;
    assert.equal(guard.admit(from('10.0.0.1')), null);
  });
});

describe('a listener', () => {
  const open: Listening[] = [];
  after(() => Promise.all(open.map(one => one.close())));

  async function listening(guard: ConnectionGuard, log = silentLog(), refuse = ''): Promise<Listening> {
    const one = await listen('c2s', anywhere, guard, log, socket => socket.end('welcome'), refuse);
    open.push(one);
    return one;
  }

  function read(port: number): Promise<string> {
    return new Promise(resolve => {
      let text = '';
      const socket = createConnection({ host: '127.0.0.1', port });
      socket.on('data', data => {
        text += data;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
    });
  }

  for (const [endpoint, text] of [
    [{ host: '127.0.0.1', port: 5222 }, '127.0.0.1:5222'],
    [{ host: '::1', port: 5222 }, '[::1]:5222'],
    [{ host: 'hub.test', port: 1 }, 'hub.test:1'],
  ] as const) {
    it(`writes an endpoint as ${text}`, () => assert.equal(formatEndpoint(endpoint), text));
  }

  it('lets in whom the guard admits, and says once who is refused and why', async () => {
    let lines = '';
    const log = logTo(line => {
      lines += line;
    });
    const guard = new ConnectionGuard({ perAddress: 0, total: 0 });
    const { address } = await listening(guard, log, 'too many');
    assert.equal(await read(address.port), 'welcome');
    await until(() => guard.count === 0);
    guard.total = 1;
    guard.admit(from('10.0.0.1'));
    assert.deepEqual(await Promise.all([read(address.port), read(address.port)]), ['too many', 'too many']);
    assert.match(lines, /"listener":"c2s","address":"127\.0\.0\.1","reason":"limits\.connections\.total is reached"/);
    assert.equal(lines.match(/connection refused/g)?.length, 1);
  });

  for (const [endpoint, wanted] of [
    [{ host: '192.0.2.1', port: 0 }, /^listen\.c2s: 192\.0\.2\.1:0: this machine has no such address$/],
    [{ host: 'nowhere.invalid', port: 0 }, /^listen\.c2s: nowhere\.invalid:0: /],
  ] as const) {
    it(`says why it cannot listen on ${endpoint.host}`, async () => {
      const guard = new ConnectionGuard({ perAddress: 0, total: 0 });
      await assert.rejects(
        listen('c2s', endpoint, guard, silentLog(), () => {}),
        (error: Error) => wanted.test(error.message),
      );
    });
  }

  it('says that something else listens there', async () => {
    const guard = new ConnectionGuard({ perAddress: 0, total: 0 });
    const { address } = await listening(guard);
    await assert.rejects(
      listen('s2s', address, guard, silentLog(), () => {}),
      /^Error: listen\.s2s: 127\.0\.0\.1:\d+: something else listens there; stop it or change `listen`$/,
    );
  });
});
