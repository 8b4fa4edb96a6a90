// Bytes that are no SMPP, or SMPP that makes no sense: nothing crashes, nothing hangs, and the bridge is there again.
import assert from 'node:assert/strict';
import { PDU } from 'smpp';
import { longestPdu, Pdu, PduScanner, readDelivery } from '../../../src/bridges/sms/pdu.ts';
import { readIncoming } from '../../../src/bridges/sms/translate.ts';
import { Random } from '../../fuzz/random.ts';
import { TestSmsc } from '../../support/smsc.ts';
import { startBridge, type TestBridge } from './harness.ts';

const header = (length: number, command: number, status = 0, sequence = 1): Buffer => {
  const bytes = Buffer.alloc(16);
  [length, command, status, sequence].forEach((value, i) => void bytes.writeUInt32BE(value >>> 0, i * 4));
  return bytes;
};
const pdu = (command: number, body: Buffer | string = '', status = 0): Buffer => {
  const bytes = typeof body === 'string' ? Buffer.from(body, 'hex') : body;
  return Buffer.concat([header(16 + bytes.length, command, status), bytes]);
};
const text = (words: string): string => Buffer.from(words).toString('hex');

/** A deliver_sm with these bytes behind its addresses (esm_class and what follows). */
const deliver = (rest: string, from = text('15551230000')): Buffer =>
  pdu(5, `00 0101${from}00 0101${text('15550001111')}00 ${rest}`.replaceAll(' ', ''));
/** From esm_class on: no header, no times, data coding and a message. */
const plain = (coding: string, message: string, esm = '00'): string =>
  `${esm}0000 00 00 00 00 ${coding} 00 ${(message.length / 2).toString(16).padStart(2, '0')}${message}`;

/** What is sent after the bind; `ends`: the bridge must end that connection and make another. */
const inputs: [string, Buffer, 'ends' | 'stays'][] = [
  ['an HTTP request', Buffer.from('GET / HTTP/1.1\r\nHost: smsc\r\n\r\n'), 'ends'],
  ['a TLS hello', Buffer.from('16030100c8010000c40303'.padEnd(100, '0'), 'hex'), 'ends'],
  ['random bytes', Buffer.from('a7'.repeat(64), 'hex'), 'ends'],
  ['a length of 0', header(0, 5), 'ends'],
  ['a length of 3', header(3, 5), 'ends'],
  ['a length of 4', header(4, 5), 'ends'],
  ['a length of 8', header(8, 5), 'ends'],
  ['a length of 15', header(15, 5), 'ends'],
  ['a length of 2³²−1', header(0xffffffff, 5), 'ends'],
  ['a length beyond the longest', header(longestPdu + 1, 5), 'ends'],
  ['a deliver_sm of nothing', pdu(5), 'stays'],
  ['a deliver_sm of one byte', pdu(5, '00'), 'stays'],
  ['a deliver_sm cut in its address', pdu(5, '000101353535'), 'stays'],
  ['a deliver_sm cut before its message', deliver('000000'), 'stays'],
  ['a message that says it is longer', deliver(plain('00', '4142').replace(/024142$/, 'ff4142')), 'stays'],
  ['a time that is none', deliver(`000000 00 ${text('yesterday')}00 ${text('99')}00 00 00 00 00 0141`), 'stays'],
  ['a TLV of no length', deliver(`${plain('00', '41')} 001e0000`), 'stays'],
  ['a TLV of one byte without it', deliver(`${plain('00', '41')} 04270000`), 'ends'],
  ['a TLV that is longer than the PDU', deliver(`${plain('00', '41')} 0424ffff41`), 'stays'],
  ['half a TLV', deliver(`${plain('00', '41')} 0424`), 'stays'],
  ['a thousand unknown TLVs', deliver(`${plain('00', '41')} ${'14000000'.repeat(1000)}`), 'stays'],
  ['a header longer than the message', deliver(plain('00', 'ff050003', '40')), 'stays'],
  ['a header of part 0 of 0', deliver(plain('00', '05000301000041', '40')), 'stays'],
  ['a header of part 9 of 3', deliver(plain('00', '05000301030941', '40')), 'stays'],
  ['half a UTF-16 pair', deliver(plain('08', 'd83c')), 'stays'],
  ['a receipt of nothing', deliver(plain('00', '', '04')), 'stays'],
  ['an address of 200 characters', deliver(plain('00', '41'), text('1'.repeat(200))), 'stays'],
  ['an address with XML in it', deliver(plain('00', '41'), text("'/><x a='")), 'stays'],
  ['control characters', deliver(plain('03', '00010b1f7f419f')), 'stays'],
  ['an unknown command', pdu(0x7777), 'stays'],
  ['a submit_multi that is cut', pdu(0x21, '0001013500ff01'), 'ends'],
  ['a submit_sm', pdu(4, '00'), 'stays'],
  ['an answer to nothing', pdu(0x80000004, '6100'), 'stays'],
  ['an unknown answer', pdu(0x87777777), 'stays'],
  ['a generic_nack of nothing', pdu(0x80000000, '', 3), 'stays'],
  ['a deliver_sm with a status', pdu(5, '', 8), 'stays'],
];

describe('malformed input from an SMSC', () => {
  let smsc: TestSmsc;
  let bridge: TestBridge;
  before(async () => {
    smsc = await TestSmsc.start();
    bridge = await startBridge(smsc.port, 'default-recipient: romeo@hub.test');
  });
  after(async () => {
    await bridge.close();
    await smsc.close();
  });

  for (const [name, bytes, what] of inputs) {
    it(`${what === 'ends' ? 'binds anew after' : 'lives on after'} ${name}`, async () => {
      await smsc.waits(() => smsc.bound.length === 1, 'a bind');
      const [session] = smsc.bound;
      const binds = smsc.binds.length;
      session.socket.write(bytes);
      if (what === 'ends') await smsc.waits(() => smsc.binds.length === binds + 1, 'another bind');
      await bridge.chat('+15551230000', `after ${name}`);
      await smsc.gets(`after ${name}`);
      assert.equal(smsc.binds.length, what === 'ends' ? binds + 1 : binds);
    });
  }

  it('binds anew when the connection ends in the middle of a PDU', async () => {
    await smsc.waits(() => smsc.bound.length === 1, 'a bind');
    const [session] = smsc.bound;
    const binds = smsc.binds.length;
    session.socket.end(deliver(plain('00', '41')).subarray(0, 20));
    await smsc.waits(() => smsc.binds.length === binds + 1, 'another bind');
  });

  it('writes XML that is well-formed whatever the phone is called and says', () => {
    for (const stanza of bridge.received) assert.doesNotMatch(stanza.toString(), /[\0-\x08\x0b\x0c\x0e-\x1f]|<x a=/);
  });
});

describe('the scanner of PDUs', () => {
  it('gives the same however the bytes are cut', () => {
    const whole = Buffer.concat([deliver(plain('00', '41')), pdu(0x15), deliver(plain('08', '0416'))]);
    for (const size of [1, 2, 3, 7, 16, 1000]) {
      const scanner = new PduScanner();
      const found: string[] = [];
      for (let at = 0; at < whole.length; at += size) {
        for (const one of scanner.push(Buffer.from(whole.subarray(at, at + size)))) found.push(one.command);
      }
      assert.deepEqual(found, ['deliver_sm', 'enquire_link', 'deliver_sm'], `cut by ${size}`);
    }
  });

  it('survives a fuzzer', () => {
    const random = new Random(20260701);
    const seeds = [
      deliver(plain('00', '41424344')),
      deliver(plain('08', '0416d83cdf19', '40')),
      deliver(`${plain('00', '05000301020141', '40')} 001e00056162636400 0427000102 0424000341424301`),
      new Pdu('submit_sm_resp', { message_id: 'abc' }).toBuffer(),
      new PDU('submit_multi', { dest_address: [{ destination_addr: '1' }], short_message: 'x' }).toBuffer(),
      deliver(plain('00', text('id:1 stat:DELIVRD err:000 text:'), '04')),
    ];
    let read = 0;
    for (let round = 0; round < 20_000; round++) {
      const bytes = Buffer.from(random.pick(seeds));
      for (let n = random.below(6); n >= 0; n--) bytes[random.below(bytes.length)] = random.below(256);
      const cut = random.chance(20) ? bytes.subarray(0, random.below(bytes.length)) : bytes;
      if (random.chance(70) && cut.length >= 4) cut.writeUInt32BE(cut.length, 0);
      try {
        for (const one of new PduScanner().push(cut)) {
          if (one.command !== 'deliver_sm') continue;
          const delivery = readDelivery(one);
          if (!delivery) continue;
          const incoming = readIncoming(delivery, 'gsm', '49');
          if (incoming.kind === 'text') assert.ok(incoming.text.length <= bytes.length * 2);
          read++;
        }
      } catch (error) {
        // Whatever is wrong with a PDU ends the connection: an Error, and never a hang.
        assert.ok(error instanceof Error && !(error instanceof assert.AssertionError), String(error));
      }
    }
    assert.ok(read > 1_000, `${read} were read`);
  });
});
