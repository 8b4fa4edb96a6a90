// The HTTP listener: routes, methods, limits, and handlers that fail.
import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { silentLog } from '../../src/hub/log.ts';
import { WebServer } from '../../src/web/server.ts';
import { startTestHub } from '../support/hubs.ts';

describe('the HTTP listener', () => {
  const web = new WebServer(silentLog());
  let port = 0;
  before(async () => {
    web.add('GET', '/hello', () => ({ status: 200, body: 'hello\n' }));
    web.add('POST', '/echo', ({ body, headers }) => ({
      status: 201,
      type: 'application/octet-stream',
      body: `${headers['x-test']}:${Buffer.from(body)}`,
    }));
    web.add('GET', '/broken', () => {
      throw new Error('a secret of ours');
    });
    ({ port } = await web.listen({ host: '127.0.0.1', port: 0 }));
  });
  after(() => web.stop());

  const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${port}${path}`, init);

  /** What comes back for raw bytes. */
  const raw = (text: string) =>
    new Promise<string>(resolve => {
      const socket = createConnection(port, '127.0.0.1');
      let answer = '';
      socket.on('data', chunk => {
        answer += chunk;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(answer));
      socket.write(text);
    });

  it('answers at exact paths, whatever the query', async () => {
    const answer = await get('/hello?a=b');
    assert.deepEqual([answer.status, await answer.text()], [200, 'hello\n']);
    assert.equal(answer.headers.get('content-type'), 'text/plain; charset=utf-8');
    assert.equal((await get('/hello/')).status, 404);
    assert.equal((await get('/%68ello')).status, 404);
  });

  it('answers HEAD without a body', async () => {
    const answer = await get('/hello', { method: 'HEAD' });
    assert.deepEqual([answer.status, answer.headers.get('content-length'), await answer.text()], [200, '6', '']);
  });

  it('says which methods there are', async () => {
    const answer = await get('/hello', { method: 'DELETE' });
    assert.deepEqual([answer.status, answer.headers.get('allow')], [405, 'GET, HEAD']);
    assert.equal((await get('/echo')).headers.get('allow'), 'POST');
  });

  it('passes bodies and headers on, up to a limit', async () => {
    const answer = await get('/echo', { method: 'POST', body: 'ü', headers: { 'x-test': 'yes' } });
    assert.deepEqual([answer.status, await answer.text()], [201, 'yes:ü']);
    const large = await get('/echo', { method: 'POST', body: 'x'.repeat(1024 * 1024 + 1) });
    assert.equal(large.status, 413);
  });

  it('keeps what went wrong to itself', async () => {
    const answer = await get('/broken');
    assert.deepEqual([answer.status, await answer.text()], [500, 'internal error\n']);
  });

  it('survives what is no HTTP', async () => {
    assert.match(await raw('nonsense\r\n\r\n'), /^HTTP\/1\.1 400 /);
    assert.match(await raw(`GET /hello HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431 /);
    const socket = createConnection(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf');
    await new Promise(resolve => socket.on('connect', resolve));
    socket.destroy();
    assert.equal((await get('/hello')).status, 200);
  });

  it('says which endpoint it cannot have', async () => {
    const other = new WebServer(silentLog());
    await assert.rejects(
      other.listen({ host: '127.0.0.1', port }),
      /^Error: listen\.http: 127\.0\.0\.1:\d+: .*EADDRINUSE/,
    );
  });

  it('tells of a hub’s health and metrics', async () => {
    const hub = await startTestHub(['hub.test']);
    try {
      const at = `http://127.0.0.1:${hub.listening.http[0].port}`;
      assert.deepEqual(await (await fetch(`${at}/health/live`)).json(), { live: true });
      assert.deepEqual(await (await fetch(`${at}/health/ready`)).json(), { ready: true });
      const metrics = await fetch(`${at}/metrics`);
      assert.match(metrics.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
      assert.match(await metrics.text(), /^isthmus_sessions 0$/m);
    } finally {
      await hub.close();
    }
  });
});
