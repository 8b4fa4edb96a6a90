// Connecting to one of several addresses: families by turns, and an account of what became of each.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { connectRaced, interleave } from '../../src/hub/connect.ts';
import type { Address } from '../../src/hub/dns.ts';

const four = (address: string): Address => ({ address, family: 4 });
const six = (address: string): Address => ({ address, family: 6 });

describe('connecting', () => {
  let server: Server;
  let port = 0;
  before(async () => {
    server = createServer(socket => socket.destroy());
    await new Promise<void>(resolve => server.listen(0, '127.0.0.5', resolve));
    port = (server.address() as { port: number }).port;
  });
  after(() => server.close());

  for (const [given, expected] of [
    [[], []],
    [
      [four('a'), four('b'), six('c')],
      ['c', 'a', 'b'],
    ],
    [
      [six('a'), six('b'), six('c'), four('d')],
      ['a', 'd', 'b', 'c'],
    ],
    [
      [four('a'), six('b'), four('c'), six('d')],
      ['b', 'a', 'd', 'c'],
    ],
  ] as [Address[], string[]][]) {
    it(`tries ${expected.join(' ') || 'nothing'} in this order (RFC 8305 §4)`, () => {
      assert.deepEqual(
        interleave(given).map(({ address }) => address),
        expected,
      );
    });
  }

  it('goes on at once where an address refuses', async () => {
    const since = performance.now();
    const addresses = [four('127.0.0.6'), four('127.0.0.7'), six('::1'), four('127.0.0.5')];
    const socket = await connectRaced(addresses, port, { timeout: 2_000, delay: 1_500 });
    assert.equal(socket.remoteAddress, '127.0.0.5');
    assert.ok(performance.now() - since < 1_000, 'it did not wait for its turn');
    socket.destroy();
  });

  it('says what became of each', async () => {
    await assert.rejects(
      connectRaced([four('127.0.0.6'), six('::1')], port, { timeout: 2_000 }),
      new RegExp(`^Error: \\[::1\\]:${port} (refused|unreachable|EADDRNOTAVAIL); 127\\.0\\.0\\.6:${port} refused$`),
    );
    await assert.rejects(connectRaced([], port, { timeout: 2_000 }), /no address to connect to/);
  });

  it('tries eight addresses at most', async () => {
    const many = Array.from({ length: 20 }, (_, n) => four(`127.0.1.${n + 1}`));
    await assert.rejects(connectRaced(many, port, { timeout: 2_000 }), error => {
      assert.equal((error as Error).message.split('; ').length, 8);
      return true;
    });
  });

  it('can be given up, before and while it tries', async () => {
    const abort = new AbortController();
    const trying = connectRaced([four('127.0.0.5')], port, { timeout: 2_000, signal: abort.signal });
    abort.abort();
    await assert.rejects(trying, /given up/);
    await assert.rejects(connectRaced([four('127.0.0.5')], port, { timeout: 2_000, signal: abort.signal }), /given up/);
  });
});
