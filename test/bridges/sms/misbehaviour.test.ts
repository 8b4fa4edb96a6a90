// What SMSCs do that they should not, and what becomes of the messages: a table.
import assert from 'node:assert/strict';
import { type SmscOptions, TestSmsc } from '../../support/smsc.ts';
import { startBridge, type TestBridge } from './harness.ts';

const number = '+15551230000';

/** Does something, and answers with the rest. */
function doing<T>(work: () => void, answer: T): T {
  work();
  return answer;
}

describe('an SMSC that misbehaves', () => {
  let bridge: TestBridge | null = null;
  let smsc: TestSmsc | null = null;
  afterEach(async () => {
    await bridge?.close();
    await smsc?.close();
    bridge = smsc = null;
  });

  const start = async (options: SmscOptions, yaml = ''): Promise<[TestBridge, TestSmsc]> => {
    smsc = await TestSmsc.start(options);
    bridge = await startBridge(
      smsc.port,
      `smsc-keys: window: 10, response-timeout: 100ms, enquire-link: 100ms\n${yaml}`,
    );
    return [bridge, smsc];
  };

  it('refuses the bind at first', async () => {
    let binds = 0;
    const [b, s] = await start({ bind: () => (++binds < 3 ? 0x0d : 0) });
    await b.chat(number, 'patience');
    await s.gets('patience');
    assert.equal(binds, 3);
    assert.equal(s.submits.length, 1);
  });

  it('refuses the bind for good, and is not asked too often', async () => {
    let binds = 0;
    const [b] = await start({ bind: () => doing(() => binds++, 0x0e) });
    await b.chat(number, 'kept');
    await b.waits(() => binds >= 4, 'four binds');
    const [shown] = b.bridge.show().smscs as { 'last error': string; state: string }[];
    assert.match(shown['last error'], /invalid-password/);
    assert.equal(b.bridge.show().queue, 1);
  });

  it('takes the bind and never answers it', async () => {
    let binds = 0;
    const [b, s] = await start({ bind: () => (++binds < 2 ? 'silence' : 0) });
    await b.chat(number, 'hello');
    await s.gets('hello');
  });

  it('takes a message and never answers: sent again, marked, set aside in the end', async () => {
    let seen = 0;
    const [b] = await start({ submit: () => doing(() => seen++, 'silence') }, 'attempts: 3');
    await b.chat(number, 'void', 'v1');
    await b.waits(() => b.bridge.show()['set aside'] === 1, 'a message set aside', 8_000);
    assert.equal(seen, 3);
    assert.equal(await b.count('possible_duplicates_total'), 2);
    assert.equal(await b.count('set_aside_total'), 1);
    const [row] = (await b.queue('list', 'aside')) as Record<string, unknown>[];
    assert.equal(row['possible duplicate'], true);
    assert.match(String(row.error), /answer/);
    const shown = (await b.queue('show', String(row.id))) as Record<string, unknown>;
    assert.equal(shown.text, 'void');
    assert.equal(await b.queue('drop', String(row.id)), '1 messages are dropped, their senders know');
    assert.match(b.received.at(-1)!.toString(), /an operator dropped it/);
  });

  it('answers some only', async () => {
    const silent = new Set<string>();
    const [b, s] = await start({
      submit: ({ text }) => (text === 'two' && !silent.has(text) ? doing(() => silent.add(text), 'silence') : 0),
    });
    for (const text of ['one', 'two', 'three']) await b.chat(number, text);
    await s.gets('two');
    assert.deepEqual(s.submits.map(({ text }) => text).sort(), ['one', 'three', 'two']);
    assert.equal(await b.count('possible_duplicates_total'), 1);
  });

  it('answers twice, and things it was not asked', async () => {
    const [b, s] = await start({
      submit:
        () =>
        (session, { pdu, id }) => {
          for (let i = 0; i < 2; i++) session.send(pdu.response({ message_id: id }));
          const other = pdu.response({ message_id: 'stray' });
          other.sequence_number = 99_999;
          session.send(other);
        },
    });
    for (let i = 0; i < 20; i++) await b.chat(number, `m${i}`);
    await b.waits(() => b.bridge.show().queue === 0, 'an empty queue');
    assert.equal(await b.count('accepted_total'), 20);
    assert.equal(s.sessions.length, 1);
  });

  it('answers out of order', async () => {
    const held: (() => void)[] = [];
    const [b] = await start({
      submit:
        () =>
        (session, { pdu, id }) => {
          held.push(() => session.send(pdu.response({ message_id: id })));
          if (held.length === 5) for (const answer of held.splice(0).reverse()) answer();
        },
    });
    for (let i = 0; i < 10; i++) void b.chat(number, `m${i}`);
    await b.waits(async () => (await b.count('accepted_total')) === 10, 'ten accepted');
    assert.equal(await b.count('possible_duplicates_total'), 0);
  });

  it('drops the connection in the middle of a PDU', async () => {
    let drops = 0;
    const [b, s] = await start({
      submit: ({ text }) =>
        text === 'two' && drops++ === 0
          ? (session, { pdu }) => {
              session.socket.write(pdu.response({ message_id: 'half' }).toBuffer().subarray(0, 14), () =>
                session.destroy(),
              );
            }
          : 0,
    });
    for (const text of ['one', 'two']) await b.chat(number, text);
    await s.gets('two');
    assert.deepEqual(
      s.submits.map(({ text }) => text),
      ['one', 'two'],
    );
  });

  it('sends garbage after the bind', async () => {
    let garbage = 0;
    const [b, s] = await start({
      submit: () => (garbage++ === 0 ? session => session.socket.write('HTTP/1.1 400 Bad Request\r\n\r\n') : 0),
    });
    await b.chat(number, 'one');
    await s.gets('one');
    assert.equal(garbage, 2);
  });

  it('throttles: paused, then the same message first, none lost', async () => {
    let within = 0;
    let window = Date.now();
    let throttled = 0;
    const [b, s] = await start({
      submit: () => {
        if (Date.now() - window > 100) {
          window = Date.now();
          within = 0;
        }
        return ++within > 10 ? doing(() => throttled++, 0x58) : 0;
      },
    });
    for (let i = 0; i < 60; i++) await b.chat(number, `m${i}`);
    await s.waits(() => s.submits.length >= 60, 'sixty', 8_000);
    assert.equal(new Set(s.submits.map(({ text }) => text)).size, 60);
    assert.equal(s.submits.length, 60);
    assert.ok(throttled < 60, `${throttled} times throttled`);
    assert.ok((await b.count('throttled_total')) > 0);
  });

  it('is full: tried a few times, then the sender is told', async () => {
    let seen = 0;
    const [b] = await start({ submit: () => doing(() => seen++, 0x14) }, 'attempts: 3');
    await b.chat(number, 'full', 'q1');
    await b.waits(() => b.received.length === 1, 'an error');
    assert.equal(seen, 3);
    assert.match(b.received[0].toString(), /too many messages waiting for this number/);
    assert.equal(b.received[0].id, 'q1');
    assert.equal(b.received[0].to?.toString(), 'romeo@hub.test/orchard');
  });

  it('refuses a number for good: the sender is told at once', async () => {
    const [b] = await start({ submit: () => 0x0b });
    await b.chat(number, 'nobody', 'n1');
    await b.waits(() => b.received.length === 1, 'an error');
    assert.match(b.received[0].toString(), /no such number/);
    assert.equal(b.bridge.show().queue, 0);
    assert.equal(await b.count('failed_total'), 1);
  });

  it('does not answer enquire_link: bound anew', async () => {
    const [b, s] = await start({ alive: false });
    await b.waits(() => s.binds.length >= 2, 'a second bind');
  });

  it('is killed by one message: that one is set aside, the others arrive', async () => {
    const [b, s] = await start(
      { submit: ({ text }) => (text === 'poison' ? session => session.destroy() : 0) },
      'attempts: 4',
    );
    for (const text of ['one', 'poison', 'two', 'three']) await b.chat(number, text);
    await b.waits(() => b.bridge.show()['set aside'] === 1, 'the poison set aside', 8_000);
    await b.waits(() => b.bridge.show().queue === 0, 'an empty queue');
    assert.deepEqual([...new Set(s.submits.map(({ text }) => text))].sort(), ['one', 'three', 'two']);
    const [row] = (await b.queue('list', 'aside')) as Record<string, unknown>[];
    assert.equal(((await b.queue('show', String(row.id))) as { text: string }).text, 'poison');
    assert.equal(await b.queue('retry', 'all'), '1 messages are tried again');
    await b.waits(() => b.bridge.show()['set aside'] === 1, 'it set aside again', 8_000);
  });

  it('is away: another one takes its place, and numbers find the one that is for them', async () => {
    smsc = await TestSmsc.start();
    const british = await TestSmsc.start();
    bridge = await startBridge(
      [],
      `smscs:
  first: { address: "127.0.0.1:${smsc.port}", system-id: a }
  british: { address: "127.0.0.1:${british.port}", system-id: b, prefixes: ["+44"] }`,
    );
    await smsc.waits(() => smsc!.bound.length === 1, 'a bind');
    await british.waits(() => british.bound.length === 1, 'a bind');
    await bridge.chat('+441632960000', 'tea');
    await british.gets('tea');
    await bridge.chat(number, 'coffee');
    await smsc.gets('coffee');
    await british.close();
    await bridge.chat('+441632960000', 'later');
    await smsc.gets('later');
    assert.deepEqual(
      british.submits.map(({ text }) => text),
      ['tea'],
    );
  });

  it('sends receipts early, late, twice, out of order, for unknown ids and flagged with wrong codings', async () => {
    const [b, s] = await start({
      submit: () => (session, submit) => {
        s.submits.push(submit);
        if (submit.text !== 'early') return void session.send(submit.pdu.response({ message_id: submit.id }));
        void s.receipt(submit);
        setTimeout(() => session.send(submit.pdu.response({ message_id: submit.id })), 30);
      },
    });
    await b.chat(number, 'early', 'r1');
    await b.waits(() => b.received.some(stanza => stanza.toString().includes("id='r1'")), 'the early receipt');
    await b.chat(number, 'first', 'r2');
    await b.chat(number, 'second', 'r3');
    await b.chat(number, 'utf', 'r4');
    const [first, second, utf] = [await s.gets('first'), await s.gets('second'), await s.gets('utf')];
    await s.receipt(second);
    await s.receipt(first, 'ENROUTE');
    await s.receipt(first, 'DELIVRD', { data_coding: 8, esm_class: 0x44 & 0x3f });
    await s.receipt(first);
    await s.receipt({ ...first, id: 'unknown' });
    await s.delivers(utf.to, utf.from, Buffer.alloc(0), {
      esm_class: 4,
      receipted_message_id: utf.id,
      message_state: 5,
    });
    const answered = b.received
      .filter(stanza => stanza.has('received', 'urn:xmpp:receipts'))
      .map(stanza => stanza.toString());
    assert.deepEqual(
      answered.map(text => /received[^>]*id='(r\d)'/.exec(text)?.[1]),
      ['r1', 'r3', 'r2'],
    );
    assert.equal(
      b.received
        .filter(stanza => stanza.isError)
        .map(stanza => stanza.id)
        .join(),
      'r4',
    );
    assert.ok((await b.count('stray_receipts_total')) >= 2);
  });

  it('names messages in hexadecimal and receipts in decimal', async () => {
    const [b, s] = await start({
      submit: () => (session, submit) => {
        s.submits.push(submit);
        session.send(submit.pdu.response({ message_id: '1F4A' }));
      },
    });
    await b.chat(number, 'hex', 'h1');
    const submit = await s.gets('hex');
    await s.receipt({ ...submit, id: '8010', to: '15550009999' });
    assert.equal(b.received.length, 0);
    await s.receipt({ ...submit, id: '0000008010' });
    assert.equal(b.received.length, 1);
  });
});
