// What the bridge promises besides: limits, quiet hours, deadlines, pairs, duplicates, a store that is full.
import assert from 'node:assert/strict';
import { Allowance } from '../../../src/bridges/sms/allowance.ts';
import { mobileOf } from '../../../src/bridges/sms/numbers.ts';
import { Pace } from '../../../src/bridges/sms/pace.ts';
import { Pairs } from '../../../src/bridges/sms/pairs.ts';
import { idAt, SmsQueue, timeOf } from '../../../src/bridges/sms/queue.ts';
import { quietUntil } from '../../../src/bridges/sms/quiet.ts';
import { StoreError } from '../../../src/hub/store.ts';
import { openMemory } from '../../../src/store/sqlite.ts';
import { StanzaError } from '../../../src/xmpp/errors.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { parseElement } from '../../../src/xmpp/payload.ts';
import { TestSmsc } from '../../support/smsc.ts';
import { settings, startBridge, type TestBridge } from './harness.ts';

const number = '+15551230000';
const refusal = (condition: string, text: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StanzaError, String(error));
  assert.equal(error.condition, condition);
  assert.match(error.text, text);
  return true;
};

describe('the SMS bridge', () => {
  let smsc: TestSmsc;
  let bridge: TestBridge | null = null;
  before(async () => {
    smsc = await TestSmsc.start();
  });
  afterEach(async () => {
    await bridge?.close();
    bridge = null;
    smsc.submits.length = 0;
  });
  after(() => smsc.close());

  it('refuses what is over a limit, and says which', async () => {
    bridge = await startBridge(smsc.port, 'limits: { per-hour: 2, characters: 10 }\nallow: ["+1"]');
    await assert.rejects(bridge.chat(number, 'x'.repeat(11)), refusal('not-acceptable', /11 characters, at most 10/));
    await assert.rejects(bridge.chat('+4915112345678', 'x'), refusal('not-allowed', /begin with \+1/));
    await assert.rejects(bridge.chat('0155512', 'x'), refusal('jid-malformed', /country code/));
    await assert.rejects(bridge.chat(number, 'x', '', 'eve@evil.test/x'), refusal('forbidden', /eve@evil.test/));
    await bridge.chat(number, 'one');
    await bridge.chat(number, '🌙'.repeat(10));
    await assert.rejects(bridge.chat(number, 'three'), refusal('policy-violation', /2 messages this hour/));
    await bridge.chat(number, 'other', '', 'juliet@hub.test/x');
    assert.equal(await bridge.count('refused_total'), 5);
  });

  it('refuses more than the queue holds', async () => {
    bridge = await startBridge(1, 'limits: { queue: 2 }');
    await bridge.chat(number, 'one');
    await bridge.chat(number, 'two');
    await assert.rejects(bridge.chat(number, 'three'), refusal('resource-constraint', /2 messages wait/));
  });

  it('takes a stanza that is sent again only once', async () => {
    bridge = await startBridge(smsc.port);
    for (let i = 0; i < 3; i++) await bridge.chat(number, 'again', 'same');
    await bridge.chat(number, 'again', 'other');
    await bridge.waits(() => smsc.submits.length === 2, 'two messages');
  });

  it('lets somebody from elsewhere answer whom they were written to by', async () => {
    bridge = await startBridge(smsc.port, 'users: ["*"]');
    await bridge.chat(number, 'hello', '', 'mercutio@far.test/x');
    await bridge.close();
    bridge = await startBridge(smsc.port, '', bridge.store);
    await bridge.chat(number, 'me again', '', 'mercutio@far.test/y');
    await assert.rejects(bridge.chat(number, 'me too', '', 'paris@far.test/y'), refusal('forbidden', /paris/));
  });

  it('passes on what stays incomplete, with a sign of what is missing', async () => {
    bridge = await startBridge(smsc.port, 'default-recipient: romeo@hub.test\nreassembly: 100ms');
    const part = (n: number, words: string) => Buffer.concat([Buffer.from([5, 0, 3, 9, 3, n]), Buffer.from(words)]);
    await smsc.delivers('15551230000', '1', part(1, 'first'), { esm_class: 0x40 });
    await smsc.delivers('15551230000', '1', part(1, 'first'), { esm_class: 0x40 });
    await smsc.delivers('15551230000', '1', part(3, 'last'), { esm_class: 0x40 });
    await bridge.waits(() => bridge!.received.length === 1, 'what there is');
    assert.equal(bridge.received[0].text('body'), 'first[…]last');
    assert.equal(bridge.bridge.show()['incomplete parts from phones'], 0);
  });

  it('joins an emoji that a phone cut in half, and takes SAR and message_payload', async () => {
    bridge = await startBridge(smsc.port, 'default-recipient: romeo@hub.test');
    const half = (n: number, hex: string) => Buffer.concat([Buffer.from([5, 0, 3, 8, 2, n]), Buffer.from(hex, 'hex')]);
    await smsc.delivers('15551230000', '1', half(2, 'df190041'), { esm_class: 0x40, data_coding: 8 });
    await smsc.delivers('15551230000', '1', half(1, '0042d83c'), { esm_class: 0x40, data_coding: 8 });
    for (const n of [2, 1]) {
      const sar = { sar_msg_ref_num: 7, sar_total_segments: 2, sar_segment_seqnum: n };
      await smsc.delivers('15551230000', '1', `part ${n}.`, sar);
    }
    await smsc.delivers('15551230000', '1', '', { message_payload: 'p'.repeat(3000) });
    assert.deepEqual(
      bridge.received.map(stanza => stanza.text('body')),
      ['B🌙A', 'part 1.part 2.', 'p'.repeat(3000)],
    );
  });

  for (const [by, check] of [
    ['sar', (s: { pdu: Record<string, unknown> }) => s.pdu.sar_total_segments === 2],
    ['udh-8', (s: { esmClass: number; udh: Buffer | null }) => s.esmClass === 0x40 && s.udh?.[0] === 0],
  ] as const) {
    it(`ties long messages together by ${by}`, async () => {
      bridge = await startBridge(smsc.port, `concatenation: ${by}`);
      await bridge.chat(number, 'y'.repeat(200));
      await bridge.waits(() => smsc.submits.length === 2, 'two parts');
      for (const submit of smsc.submits) assert.ok(check(submit));
    });
  }

  it('sends a long message whole as message_payload', async () => {
    bridge = await startBridge(smsc.port, 'concatenation: payload');
    await bridge.chat(number, 'y'.repeat(400));
    await smsc.gets('y'.repeat(400));
  });

  it('answers a request for a receipt on submission, where it is told to', async () => {
    bridge = await startBridge(smsc.port, 'receipts: submission');
    await bridge.chat(number, 'now', 'r1');
    await bridge.waits(() => bridge!.received.length === 1, 'a receipt');
    assert.equal(smsc.submits[0].registered, 2);
  });

  it('binds with two connections, and with TLS it checks the certificate', async () => {
    bridge = await startBridge(
      [],
      `smscs: { s: { address: "127.0.0.1:${smsc.port}", system-id: two, bind: separate } }`,
    );
    await smsc.waits(() => smsc.bound.length === 2, 'two binds');
    assert.deepEqual(smsc.binds.slice(-2), ['bind_transmitter two', 'bind_receiver two']);
    await bridge.chat(number, 'by two');
    await smsc.gets('by two');
    await bridge.close();
    bridge = await startBridge([], `smscs: { s: { address: "127.0.0.1:${smsc.port}", system-id: t, tls: true } }`);
    await bridge.waits(() => /TLS/.test(JSON.stringify(bridge!.bridge.show().smscs)), 'a refusal');
  });

  it('gives up what is too old, and tells the sender', async () => {
    const store = openMemory();
    const queue = new SmsQueue(store, 'sms.hub.test');
    queue.add({ route: '', number, text: 'old', sender: 'romeo@hub.test/x', stanza: 'o1', flags: 0 });
    store.prepare('UPDATE sms_out SET id = ?').run(idAt(Date.now() - 3 * 86_400_000));
    bridge = await startBridge(1, 'reassembly: 20ms', store);
    await bridge.waits(() => bridge!.received.length === 1, 'an error');
    assert.match(bridge.received[0].toString(), /could not be sent in time/);
    assert.equal(bridge.bridge.show().queue, 0);
  });

  it('refuses messages while the store is full, and lives on', async () => {
    const store = openMemory();
    let full = false;
    const fails = () => {
      if (full) throw new StoreError('the disk is full');
    };
    const prepare = store.prepare.bind(store);
    store.prepare = sql => {
      const statement = prepare(sql);
      return {
        ...statement,
        get: (...v) => statement.get(...v),
        all: (...v) => statement.all(...v),
        iterate: (...v) => statement.iterate(...v),
        run: (...v) => {
          fails();
          return statement.run(...v);
        },
      };
    };
    bridge = await startBridge(smsc.port, 'default-recipient: romeo@hub.test', store);
    full = true;
    await assert.rejects(bridge.chat(number, 'no room', 'f1'), StoreError);
    const part = Buffer.concat([Buffer.from([5, 0, 3, 8, 2, 1]), Buffer.from('x')]);
    assert.equal(await smsc.delivers('15551230000', '1', part, { esm_class: 0x40 }), 0x64);
    full = false;
    await bridge.chat(number, 'room', 'f2');
    await smsc.gets('room');
    assert.equal(smsc.submits.length, 1);
  });

  it('holds messages in quiet hours, and sends nothing that has become too old', async () => {
    const hour = new Date().getUTCHours();
    const [from, until] = [hour + 23, hour + 2].map(one => `${one % 24}:00`);
    bridge = await startBridge(smsc.port, `quiet-hours: { from: "${from}", until: "${until}" }`);
    await smsc.waits(() => smsc.bound.length === 1, 'a bind');
    const store = bridge.store;
    await bridge.chat(number, 'in the night', 'n1');
    assert.equal(smsc.submits.length, 0);
    await bridge.close();
    store.prepare('UPDATE sms_out SET id = ?').run(idAt(Date.now() - 3 * 86_400_000));
    bridge = await startBridge(smsc.port, '', store);
    await bridge.waits(() => bridge!.received.length === 1, 'an error');
    assert.equal(bridge.received[0].id, 'n1');
    assert.equal(smsc.submits.length, 0);
  });

  it('bounds the pairs of number and person', () => {
    const store = openMemory();
    const pairs = new Pairs(store, 'sms.hub.test', 1_000);
    for (let i = 0; i < 20_000; i++) pairs.note(`+1555${1_000_000 + i}`, Jid.parse(`u${i % 50}@hub.test`));
    assert.ok(pairs.size <= 1_000 && pairs.size > 900);
    assert.equal(store.prepare('SELECT count(*) AS n FROM sms_pairs').get()?.n, pairs.size);
    assert.equal(pairs.find('+15551019999')?.toString(), `u${19_999 % 50}@hub.test`);
    assert.equal(pairs.find('+15551000000'), null);
  });

  it('tells an operator who mistypes what there is', async () => {
    bridge = await startBridge(1);
    for (const args of [[], ['list', 'x'], ['show'], ['retry'], ['drop']]) {
      await assert.rejects(bridge.queue(...args), /queue list/);
    }
    await assert.rejects(bridge.queue('show', '../x'), /no message/);
    await bridge.chat(number, 'waits');
    const [row] = (await bridge.queue('list', 'waiting')) as { id: string; state: string }[];
    assert.equal(row.state, 'waiting');
    assert.equal(await bridge.queue('drop', row.id), '1 messages are dropped, their senders know');
  });
});

describe('hours and paces', () => {
  it('keeps quiet hours in their time zone, past midnight', () => {
    const quiet = { from: 22 * 60, until: 7 * 60, timeZone: 'Europe/Berlin' };
    const at = (time: string) => Date.parse(`2026-07-01T${time}Z`);
    assert.equal(quietUntil(quiet, at('12:00:00')), 0);
    assert.equal(quietUntil(quiet, at('20:30:10')), Date.parse('2026-07-02T05:00:00Z'));
    assert.equal(quietUntil(quiet, at('04:59:59')), at('05:00:00'));
    assert.equal(quietUntil(quiet, at('05:00:00')), 0);
    assert.equal(quietUntil(null, 0), 0);
  });

  it('counts by the hour', () => {
    const allowance = new Allowance(2, 3);
    assert.equal(allowance.take('a', 0) + allowance.take('a', 1), '');
    assert.match(allowance.take('a', 2), /2 messages this hour/);
    assert.equal(allowance.take('b', 2), '');
    assert.match(allowance.take('c', 2), /no more than 3/);
    assert.equal(allowance.take('a', 3_600_001), '');
  });

  it('feeds an SMSC at the configured rate', () => {
    const pace = new Pace(100);
    let taken = 0;
    for (let now = 0; now < 1_000; now++) while (pace.take(now) === 0) taken++;
    assert.ok(taken >= 98 && taken <= 106, `${taken}`);
  });

  it('reads the times of messages off their ids', () =>
    assert.equal(timeOf(idAt(1_800_000_000_123)), 1_800_000_000_123));
});

describe('the settings of the SMS bridge', () => {
  const smscLine = 'smsc: { address: "127.0.0.1:2775", system-id: x }';
  const wrong: [string, RegExp][] = [
    [`domain: sms.hub.test\nsender: "123"`, /smsc: is missing/],
    [`domain: sms.hub.test\nsender: "a name too long"\n${smscLine}`, /test.yaml:4: sms.sender: .*11 letters/],
    [`domain: sms.hub.test\nsender: "123"\n${smscLine}\nallow: [1]`, /not a prefix/],
    [`domain: sms.hub.test\nsender: "123"\n${smscLine}\nquiet-hours: { from: "25:00", until: "7:00" }`, /22:00/],
    [`domain: sms.hub.test\nsender: "123"\n${smscLine}\nown-accounts: [other]`, /no SMSC other/],
    [`domain: sms.hub.test\nsender: "123"\n${smscLine}\nlimits: { per-our: 3 }`, /did you mean per-hour/],
    [`domain: sms.hub.test\nsender: "123"\nsmsc: { address: "h:1", system-id: "${'x'.repeat(40)}" }`, /at most 32/],
  ];
  for (const [yaml, message] of wrong)
    it(`refuses ${yaml.split('\n').at(-1)}`, () => assert.throws(() => settings(yaml), message));

  it('has the defaults of the example', () => {
    const config = settings(`domain: sms.hub.test\nsender: "15550001111"\n${smscLine}`);
    assert.equal(config.forwardOffline, true);
    assert.deepEqual(config.numberFrom, ['vcard', 'directory', 'account']);
    assert.equal(config.limits.queue, 512);
    assert.equal(config.smscs[0].window, 10);
  });
});

describe('the number in a vCard', () => {
  const cases: [string, string | null][] = [
    ['<TEL><WORK/><FAX/><NUMBER>1</NUMBER></TEL><TEL><CELL/><NUMBER> 2 </NUMBER></TEL>', '2'],
    ['<TEL><HOME/><VOICE/><NUMBER>3</NUMBER></TEL>', '3'],
    ['<TEL><FAX/><NUMBER>4</NUMBER></TEL>', null],
    ['<TEL><CELL/></TEL><FN>x</FN>', null],
  ];
  for (const [xml, expected] of cases) {
    it(`is ${expected} in ${xml}`, () =>
      assert.equal(mobileOf(parseElement(`<vCard xmlns='vcard-temp'>${xml}</vCard>`)), expected));
  }
});
