// A stream over a real socket: what still counts when it is closed, and the header that an early error needs (RFC 6120 §4.4, §4.9.1.1).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { StreamError } from '../../src/xmpp/errors.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { type Ending, Stream } from '../../src/xmpp/stream.ts';
import { until } from '../support/until.ts';

const header = `<stream:stream xmlns='${ns.client}' xmlns:stream='${ns.streams}' version='1.0'>`;

describe('a stream', () => {
  let server: Server;
  const sockets: Socket[] = [];
  before(async () => {
    server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });

  /** Our end of a connection, what has come in by it, and the peer's socket. */
  async function connected() {
    const seen = { ids: [] as string[], ending: null as Ending | null, text: '' };
    const peer = createConnection((server.address() as { port: number }).port, '127.0.0.1');
    peer.on('error', () => {});
    peer.on('data', data => {
      seen.text += data;
    });
    const [socket] = (await once(server, 'connection')) as [Socket];
    sockets.push(peer, socket);
    const stream = new Stream(
      socket,
      { contentNs: ns.client, limits: { stanzaSize: 10_000 }, rate: 0 },
      {
        opened: () => stream.open({ id: 's', version: '1.0' }),
        stanza: stanza => seen.ids.push(stanza.id),
        closed: ending => {
          seen.ending = ending;
        },
      },
    );
    return { seen, peer, stream };
  }

  for (const [error, expected] of [
    [null, 'abc'],
    [new StreamError('conflict'), 'a'],
  ] as const) {
    it(`takes ${expected} where it is held, and closed with ${error?.condition ?? 'no error'}`, async () => {
      const { seen, peer, stream } = await connected();
      peer.write(`${header}<message id='a'/>`);
      await until(() => seen.ids.length === 1);
      stream.hold();
      peer.write(`<message id='b'/><message id='c'/>`);
      stream.close(error);
      stream.release();
      peer.end('</stream:stream>');
      await until(() => seen.ending !== null);
      assert.equal(seen.ids.join(''), expected);
      assert.equal(seen.ending?.by, 'us');
      assert.equal(seen.ending?.error, error);
    });
  }

  it('takes nothing any more that it had read before an error', async () => {
    const { seen, peer, stream } = await connected();
    const { handler } = stream;
    stream.handler = {
      ...handler,
      stanza: stanza => {
        seen.ids.push(stanza.id);
        if (seen.ids.length > 1) return;
        stream.hold();
        setImmediate(() => {
          stream.close(new StreamError('conflict'));
          stream.release();
        });
      },
    };
    peer.write(`${header}<message id='a'/><message id='b'/><message id='c'/>`);
    await until(() => seen.text.includes('</stream:stream>'));
    peer.end();
    await until(() => seen.ending !== null);
    assert.equal(seen.ids.join(''), 'a');
  });

  it('has a header of its own where it ends before it began', async () => {
    const { seen, peer } = await connected();
    peer.write('EHLO mail.test');
    await until(() => seen.text.includes('</stream:stream>'));
    assert.match(
      seen.text,
      /^<\?xml version='1\.0'\?><stream:stream [^>]*id='[\w-]{16}' version='1\.0'><stream:error>/,
    );
  });
});
