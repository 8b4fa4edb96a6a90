// Where a domain's server is: SRV records in their order, the fall-back, and what to say where there is none.
import assert from 'node:assert/strict';
import { arrange, targets } from '../../src/federation/resolve.ts';
import { DnsError, type Resolver, type SrvRecord } from '../../src/hub/dns.ts';
import { StanzaError } from '../../src/xmpp/errors.ts';

type Known = Record<string, SrvRecord[] | string[] | DnsError['code']>;

/** A resolver that knows these names. */
function resolver(known: Known): Resolver {
  const look = (name: string) => {
    const found = known[name] ?? 'not-found';
    if (typeof found === 'string') throw new DnsError(found, name);
    return found;
  };
  return {
    srv: async name => look(name) as SrvRecord[],
    addresses: async name => (look(name) as string[]).map(address => ({ address, family: 4 as const })),
  } as Resolver;
}

const srv = (priority: number, weight: number, port: number, target: string) => ({ priority, weight, port, target });
const plain = '_xmpp-server._tcp.a.test';
const direct = '_xmpps-server._tcp.a.test';

describe('where a server is', () => {
  for (const [what, known, expected, domain = 'a.test'] of [
    [
      'its SRV records by priority',
      { [plain]: [srv(20, 0, 2, 'b'), srv(10, 0, 1, 'c')] },
      ['c:1 starttls', 'b:2 starttls'],
    ],
    [
      'those for direct TLS among them (XEP-0368)',
      { [plain]: [srv(10, 0, 1, 'b')], [direct]: [srv(5, 0, 2, 'c')] },
      ['c:2 direct', 'b:1 starttls'],
    ],
    ['those that offer something', { [plain]: [srv(0, 0, 0, '.')], [direct]: [srv(5, 0, 2, 'c')] }, ['c:2 direct']],
    ['itself, where there are none', { 'a.test': ['127.0.0.1'] }, ['a.test:5269 starttls']],
    [
      'itself, where name servers fail on SRV',
      { [plain]: 'server-failure', 'a.test': ['1.2.3.4'] },
      ['a.test:5269 starttls'],
    ],
    ['an address, where it is one', {}, ['127.0.0.9:5269 starttls'], '127.0.0.9'],
    ['an IPv6 address', {}, ['::1:5269 starttls'], '[::1]'],
    [
      'the A-labels of its name',
      { '_xmpp-server._tcp.xn--bcher-kva.test': [srv(1, 1, 1, 'b')] },
      ['b:1 starttls'],
      'bücher.test',
    ],
  ] as [string, Known, string[], string?][]) {
    it(`is told by ${what}`, async () => {
      const found = await targets(resolver(known), domain, { random: () => 0 });
      assert.deepEqual(
        found.map(({ host, port, tls }) => `${host}:${port} ${tls}`),
        expected,
      );
    });
  }

  for (const [what, known, condition, text] of [
    ['nothing is known', {}, 'remote-server-not-found', /neither an SRV record nor an address of a\.test/],
    ['there is no address', { 'a.test': [] }, 'remote-server-not-found', /neither/],
    [
      'it offers nothing',
      { [plain]: [srv(0, 0, 0, '.')] },
      'remote-server-not-found',
      /says in DNS that it offers no such/,
    ],
    [
      'it offers nothing, though it has an address',
      { [plain]: [srv(0, 0, 0, '.')], 'a.test': ['1.2.3.4'] },
      'remote-server-not-found',
      /says in DNS/,
    ],
    [
      'name servers are silent',
      { [plain]: 'timeout', [direct]: 'timeout', 'a.test': 'timeout' },
      'remote-server-timeout',
      /did not answer in time/,
    ],
  ] as [string, Known, string, RegExp][]) {
    it(`cannot be told where ${what}: ${condition}`, async () => {
      await assert.rejects(targets(resolver(known), 'a.test'), (error: unknown) => {
        assert.ok(error instanceof StanzaError);
        assert.equal(error.condition, condition);
        assert.match(error.text, text);
        return true;
      });
    });
  }

  it('is what the configuration says, without a question', async () => {
    const [target, ...more] = await targets(resolver({ b: ['10.0.0.1'] }), 'a.test', {
      address: { host: 'b', port: 9 },
    });
    assert.deepEqual([target.host, target.port, target.tls, more.length], ['b', 9, 'starttls', 0]);
    assert.deepEqual(await target.addresses(), [{ address: '10.0.0.1', family: 4 }]);
  });

  it('is tried in sixteen places at most', async () => {
    const records = Array.from({ length: 100 }, (_, n) => srv(1, 1, n + 1, 'b'));
    assert.equal((await targets(resolver({ [plain]: records }), 'a.test')).length, 16);
  });

  it('is chosen by weight among equals (RFC 2782)', () => {
    const records = [srv(1, 10, 1, 'light'), srv(1, 90, 2, 'heavy'), srv(1, 0, 3, 'last')];
    const first = (random: number) => arrange(records, () => random)[0].target;
    assert.deepEqual([first(0), first(0.05), first(0.5), first(0.99)], ['last', 'light', 'heavy', 'heavy']);
    let seed = 1;
    const random = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
    const heavy = Array.from({ length: 2_000 }, () => arrange(records, random)[0].target).filter(t => t === 'heavy');
    assert.ok(heavy.length > 1_650 && heavy.length < 1_900, `${heavy.length} of 2000`);
    assert.equal(arrange(records, random).length, 3);
  });
});
