// The resolver: what it keeps and for how long, and how it asks name servers that are slow, cut short, wrong or hostile.
import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { type Answer, CachingResolver, createResolver, DnsError, type RecordType } from '../../src/hub/dns.ts';
import { DnsClient } from '../../src/hub/dns-client.ts';
import { startZones, type Zones } from '../support/zones.ts';

/** A source that answers from a table and counts what it is asked. */
class Source {
  readonly asked: string[] = [];
  readonly answers = new Map<string, Partial<Answer> | DnsError>();
  closed = false;

  async query(name: string, type: RecordType): Promise<Answer> {
    this.asked.push(`${type} ${name}`);
    const answer = this.answers.get(`${type} ${name.toLowerCase()}`) ?? new DnsError('not-found', name);
    if (answer instanceof DnsError) throw answer;
    return { records: [], ttl: 60, secure: false, ...answer };
  }

  close(): void {
    this.closed = true;
  }
}

const failure = (code: DnsError['code']) => (error: unknown) => error instanceof DnsError && error.code === code;

describe('the resolver', () => {
  let source: Source;
  let resolver: CachingResolver;
  beforeEach(() => {
    mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
    source = new Source();
    resolver = new CachingResolver(source);
  });
  afterEach(() => mock.timers.reset());

  it('keeps an answer for its TTL, whatever the case of the name', async () => {
    source.answers.set('TXT a.test', { records: ['x'], ttl: 30 });
    assert.deepEqual(await resolver.txt('a.test'), ['x']);
    mock.timers.tick(29_999);
    assert.deepEqual(await resolver.txt('A.test'), ['x']);
    assert.equal(source.asked.length, 1);
    mock.timers.tick(1);
    await resolver.txt('a.test');
    assert.equal(source.asked.length, 2);
  });

  it('asks once for what many ask at once', async () => {
    source.answers.set('SRV a.test', { records: [] });
    await Promise.all(Array.from({ length: 20 }, () => resolver.srv('a.test')));
    assert.equal(source.asked.length, 1);
  });

  for (const [code, seconds] of [
    ['not-found', 60],
    ['timeout', 5],
    ['server-failure', 5],
  ] as const) {
    it(`keeps ${code} for ${seconds} s`, async () => {
      source.answers.set('TXT a.test', new DnsError(code, 'a.test'));
      await assert.rejects(resolver.txt('a.test'), failure(code));
      mock.timers.tick(seconds * 1000 - 1);
      await assert.rejects(resolver.txt('a.test'), failure(code));
      assert.equal(source.asked.length, 1);
      mock.timers.tick(1);
      await assert.rejects(resolver.txt('a.test'), failure(code));
      assert.equal(source.asked.length, 2);
    });
  }

  it('keeps no answer longer than a day, and none of TTL 0', async () => {
    source.answers.set('TXT long.test', { ttl: 4_000_000_000 });
    source.answers.set('TXT short.test', { ttl: 0 });
    for (const name of ['long.test', 'short.test', 'short.test']) await resolver.txt(name);
    assert.deepEqual(source.asked, ['TXT long.test', 'TXT short.test', 'TXT short.test']);
    mock.timers.tick(86_400_000);
    await resolver.txt('long.test');
    assert.equal(source.asked.length, 4);
  });

  it('gives addresses of both families; one of them is enough', async () => {
    source.answers.set('AAAA both.test', { records: ['::1'] });
    source.answers.set('A both.test', { records: ['127.0.0.1', '127.0.0.2'] });
    assert.deepEqual(await resolver.addresses('both.test'), [
      { address: '::1', family: 6 },
      { address: '127.0.0.1', family: 4 },
      { address: '127.0.0.2', family: 4 },
    ]);
    source.answers.set('AAAA half.test', new DnsError('timeout', 'half.test'));
    source.answers.set('A half.test', { records: ['127.0.0.1'] });
    assert.deepEqual(await resolver.addresses('half.test'), [{ address: '127.0.0.1', family: 4 }]);
  });

  it('says why there is no address: nothing of the kind, or a failure', async () => {
    source.answers.set('A none.test', {});
    source.answers.set('AAAA none.test', {});
    assert.deepEqual(await resolver.addresses('none.test'), []);
    source.answers.set('A half.test', {});
    source.answers.set('AAAA half.test', new DnsError('timeout', 'half.test'));
    await assert.rejects(resolver.addresses('half.test'), failure('timeout'));
    await assert.rejects(resolver.addresses('gone.test'), failure('not-found'));
  });

  it('asks nobody for an address that is one', async () => {
    assert.deepEqual(await resolver.addresses('127.0.0.9'), [{ address: '127.0.0.9', family: 4 }]);
    assert.deepEqual(await resolver.addresses('::1'), [{ address: '::1', family: 6 }]);
    assert.deepEqual(await resolver.addresses('[::1]'), [{ address: '::1', family: 6 }]);
    assert.deepEqual(source.asked, []);
  });

  it('does not grow without end', async () => {
    for (let n = 0; n < 10_001; n++) await resolver.txt(`n${n}.test`).catch(() => {});
    source.asked.length = 0;
    await resolver.txt('n10000.test').catch(() => {});
    assert.deepEqual(source.asked, []);
    await resolver.txt('n0.test').catch(() => {});
    assert.deepEqual(source.asked, ['TXT n0.test']);
  });

  it('closes its source', () => {
    resolver.close();
    assert.equal(source.closed, true);
  });
});

describe('questions to name servers', () => {
  let zones: Zones;
  let other: Zones;
  let client: DnsClient;
  before(async () => {
    const zone = `
a.test 300 IN A 127.0.0.1
a.test 120 IN A 127.0.0.2
a.test IN AAAA ::1
a.test IN TXT "one" "two"
_xmpp-server._tcp.a.test 60 IN SRV 5 30 5269 xmpp.a.test
_gone._tcp.a.test 60 IN SRV 0 0 0 .
a.test IN NAPTR 10 20 "s" "SIP+D2T" "" _sip._tcp.a.test
_5269._tcp.a.test IN TLSA 3 1 1 00112233
alias.test 60 IN CNAME other.test
other.test 30 IN CNAME a.test
faulty0.test IN A 127.0.0.1
faulty1.test IN A 127.0.0.1
faulty2.test IN A 127.0.0.1
loop.test IN CNAME pool.test
pool.test IN CNAME loop.test
${Array.from({ length: 120 }, (_, n) => `many.test IN A 10.0.0.${n}`).join('\n')}`;
    zones = await startZones(zone);
    other = await startZones(zone);
    client = new DnsClient([zones.server, other.server]);
  });
  after(async () => {
    client.close();
    await zones.close();
    await other.close();
  });
  beforeEach(() => {
    for (const one of [zones, other]) {
      one.fault('', null);
      one.questions.length = 0;
      one.validated = false;
    }
  });

  for (const [type, name, expected] of [
    ['A', 'a.test', { records: ['127.0.0.1', '127.0.0.2'], ttl: 120 }],
    ['A', 'A.TEST.', { records: ['127.0.0.1', '127.0.0.2'], ttl: 120 }],
    ['SRV', '_xmpp-server._tcp.a.test', { records: [{ priority: 5, weight: 30, port: 5269, target: 'xmpp.a.test' }] }],
    ['SRV', '_gone._tcp.a.test', { records: [{ priority: 0, weight: 0, port: 0, target: '.' }] }],
    ['TXT', 'a.test', { records: ['onetwo'] }],
    [
      'NAPTR',
      'a.test',
      {
        records: [
          {
            order: 10,
            preference: 20,
            flags: 's',
            service: 'SIP+D2T',
            regexp: '',
            replacement: '_sip._tcp.a.test',
          },
        ],
      },
    ],
    ['A', 'alias.test', { records: ['127.0.0.1', '127.0.0.2'], ttl: 30 }],
    ['SRV', 'a.test', { records: [] }],
    ['A', 'loop.test', { records: [] }],
  ] as [RecordType, string, Partial<Answer>][]) {
    it(`${type} ${name}`, async () => {
      const { records, ttl, secure } = await client.query(name, type);
      assert.deepEqual(records, expected.records);
      if (expected.ttl) assert.equal(ttl, expected.ttl);
      assert.equal(secure, false);
    });
  }

  it('AAAA a.test', async () => {
    const { records } = await client.query('a.test', 'AAAA');
    assert.match(String(records[0]), /^(0+:)*:?:?0*1$/);
  });

  it('TLSA _5269._tcp.a.test', async () => {
    const { records } = await client.query('_5269._tcp.a.test', 'TLSA');
    const [{ usage, selector, matching, data }] = records as {
      usage: number;
      selector: number;
      matching: number;
      data: Buffer;
    }[];
    assert.deepEqual([usage, selector, matching, data.toString('hex')], [3, 1, 1, '00112233']);
  });

  it('tells a name that is not there from a record that is not there', async () => {
    await assert.rejects(client.query('nowhere.test', 'A'), failure('not-found'));
    assert.equal(zones.questions.length, 1, 'nobody is asked again');
    assert.deepEqual((await client.query('_xmpp-server._tcp.a.test', 'A')).records, []);
  });

  it('asks over TCP where the answer was cut', async () => {
    assert.equal((await client.query('many.test', 'A')).records.length, 120);
    zones.fault('a.test', 'truncated');
    assert.equal((await client.query('a.test', 'A')).records.length, 2);
    zones.fault('a.test', null);
    assert.deepEqual(zones.questions, [
      'A many.test over udp',
      'A many.test over tcp',
      'A a.test over udp',
      'A a.test over tcp',
    ]);
  });

  it('asks the next server where one fails', async () => {
    zones.fault('', 'servfail');
    assert.equal((await client.query('a.test', 'A')).records.length, 2);
    other.fault('', 'servfail');
    await assert.rejects(client.query('a.test', 'A'), failure('server-failure'));
  });

  it('asks the next server where one is silent, or does not answer what was asked', async () => {
    const faults = ['silent', 'wrong id', 'garbage'] as const;
    const since = performance.now();
    await Promise.all(
      faults.map(async (fault, n) => {
        zones.fault(`faulty${n}.test`, fault);
        assert.equal((await client.query(`faulty${n}.test`, 'A')).records.length, 1, fault);
        // A forged answer does not end the wait for the real one.
        assert.ok(performance.now() - since > 1_500, fault);
      }),
    );
  });

  it('goes on where there is no server at all', async () => {
    const gone = await startZones('');
    await gone.close();
    assert.equal((await new DnsClient([gone.server, other.server]).query('a.test', 'A')).records.length, 2);
  });

  it('believes that an answer was validated only where it came over loopback (RFC 6698 §A.3)', async () => {
    zones.validated = true;
    assert.equal((await client.query('_5269._tcp.a.test', 'TLSA')).secure, true);
    const resolver = createResolver({ servers: [zones.server] });
    assert.equal((await resolver.tlsa('_5269._tcp.a.test')).secure, true);
    assert.equal((await resolver.secureSrv('_xmpp-server._tcp.a.test')).secure, true);
    resolver.close();
  });
});
