// Messages that find a user offline reach the phone, and the phone answers.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { TestSmsc } from '../support/smsc.ts';

const chat = (to: string, body: string, more = '', id = '') =>
  `<message to='${to}' type='chat'${id ? ` id='${id}'` : ''}><body>${body}</body>${more}</message>`;
const request = `<request xmlns='urn:xmpp:receipts'/>`;

function errorText(stanza: { toString(): string }): string {
  return /<text[^>]*>([^<]*)</.exec(stanza.toString())?.[1] ?? '';
}

describe('short messages', () => {
  let smsc: TestSmsc;
  let hub: TestHub;
  let romeo: Client;
  before(async () => {
    smsc = await TestSmsc.start();
    hub = await startTestHub(['hub.test'], {
      yaml: `bridges:
  sms:
    kind: sms
    domain: sms.hub.test
    smsc: { address: "127.0.0.1:${smsc.port}", system-id: isthmus, password: secret }
    sender: "15550001111"
    own-accounts: [main]
    limits: { characters: 300 }`,
    });
    romeo = await hub.client('romeo@hub.test');
  });
  after(async () => {
    await romeo.close();
    await hub.close();
    await smsc.close();
  });

  it('carries a chat to a number, and the answer back to who wrote', async () => {
    await romeo.sends(chat('+15551230000@sms.hub.test', 'Wherefore?', request, 'c1'));
    const got = await smsc.gets('romeo: Wherefore?');
    assert.equal(got.to, '15551230000');
    assert.equal(got.from, '15550001111');
    assert.equal(got.dataCoding, 0);
    assert.equal(await smsc.receipt(got), 0);
    const receipt = await romeo.receives(e => e.child('received', 'urn:xmpp:receipts') !== null);
    assert.equal(receipt.child('received', 'urn:xmpp:receipts')?.attrs.id, 'c1');
    assert.equal(receipt.attrs.from, '+15551230000@sms.hub.test');
    assert.equal(await smsc.delivers('15551230000', '15550001111', 'Deny thy father'), 0);
    const answer = await romeo.hears('Deny thy father');
    assert.equal(answer.attrs.from, '+15551230000@sms.hub.test');
    assert.equal(answer.attrs.type, 'chat');
  });

  it('sends to the phone of who is offline, once, and keeps the message for them', async () => {
    const juliet = await hub.client('juliet@hub.test');
    await juliet.asks('set', `<vCard xmlns='vcard-temp'><TEL><CELL/><NUMBER>+1 (555) 777-0001</NUMBER></TEL></vCard>`);
    await juliet.close();
    await romeo.sends(chat('juliet@hub.test', 'so late 🌙', request, 'f1'));
    const got = await smsc.gets('romeo: so late 🌙');
    assert.equal(got.to, '15557770001');
    assert.equal(got.dataCoding, 8);
    await smsc.receipt(got);
    await smsc.delivers('15557770001', '15550001111', 'so soon');
    assert.equal((await romeo.hears('so soon')).attrs.from, '+15557770001@sms.hub.test');
    const again = await hub.client('juliet@hub.test');
    await again.hears('so late 🌙');
    assert.equal(smsc.submits.filter(s => s.text.includes('so late')).length, 1);
    await romeo.hasNot(e => e.child('received', 'urn:xmpp:receipts') !== null);
    await again.close();
  });

  it('lets a user switch it off and on, and give a number', async () => {
    const juliet = await hub.client('juliet@hub.test');
    const run = async (node: string, fields: Record<string, string>): Promise<string> => {
      const first = await juliet.asks(
        'set',
        `<command xmlns='http://jabber.org/protocol/commands' node='${node}'/>`,
        'sms.hub.test',
      );
      const { sessionid } = first.all()[0].attrs;
      const filled = Object.entries(fields).map(
        ([name, value]) => `<field var='${name}'><value>${value}</value></field>`,
      );
      const done = await juliet.asks(
        'set',
        `<command xmlns='http://jabber.org/protocol/commands' node='${node}' sessionid='${sessionid}'>
          <x xmlns='jabber:x:data' type='submit'>${filled.join('')}</x></command>`,
        'sms.hub.test',
      );
      return done.toString();
    };
    assert.match(await run('forward', { forward: '0' }), /wait for you/);
    await juliet.close();
    await romeo.sends(chat('juliet@hub.test', 'off'));
    await romeo.hasNot(() => false);
    const again = await hub.client('juliet@hub.test');
    await again.hears('off');
    assert.equal(
      smsc.submits.some(s => s.text.includes('off')),
      false,
    );
    await again.close();
    const third = await hub.client('juliet@hub.test');
    await third.close();
    const tybalt = await hub.client('tybalt@hub.test');
    const answer = await tybalt.asks(
      'set',
      `<query xmlns='jabber:iq:register'><phone>0049 171 1234567</phone></query>`,
      'sms.hub.test',
    );
    assert.equal(answer.attrs.type, 'result');
    await tybalt.close();
    await romeo.sends(
      `<message to='tybalt@hub.test' type='headline'><subject>Alert</subject><body>Fire</body></message>`,
    );
    assert.equal((await smsc.gets('romeo: Alert\nFire')).to, '491711234567');
  });

  it('says what a valid number is, and what is too long', async () => {
    await romeo.sends(chat('12345@sms.hub.test', 'x', '', 'e1'));
    assert.match(errorText(await romeo.receives(e => e.attrs.id === 'e1')), /country code/);
    await romeo.sends(chat('+15551230000@sms.hub.test', 'x'.repeat(301), '', 'e2'));
    assert.match(errorText(await romeo.receives(e => e.attrs.id === 'e2')), /301 characters, at most 300/);
  });

  it('tells the sender in words why a message failed', async () => {
    await romeo.sends(chat('+15551230001@sms.hub.test', 'fails', '', 'e3'));
    await smsc.receipt(await smsc.gets('romeo: fails'), 'UNDELIV', { data_coding: 8 });
    const error = await romeo.receives(e => e.attrs.id === 'e3');
    assert.equal(error.attrs.from, '+15551230001@sms.hub.test');
    assert.match(errorText(error), /cannot be delivered \(error 021\)/);
  });

  it('cuts a long message, and puts a long one together in any order', async () => {
    const text = `${'The quality of mercy is not strained. '.repeat(6)}👩‍👩‍👧‍👦`;
    await romeo.sends(chat('+15551230000@sms.hub.test', text));
    await smsc.waits(() => smsc.submits.filter(s => s.udh?.[0] === 8).length === 4, 'four parts');
    const parts = smsc.submits.filter(s => s.udh?.[0] === 8).sort((a, b) => a.udh![5] - b.udh![5]);
    assert.equal(parts.map(s => s.text).join(''), `romeo: ${text}`);
    const header = (part: number) => Buffer.from([5, 0, 3, 77, 3, part]);
    for (const [part, words] of [
      [3, ' three'],
      [1, 'one'],
      [2, ' two'],
    ] as const) {
      await smsc.delivers('15551230000', '15550001111', Buffer.concat([header(part), Buffer.from(words)]), {
        esm_class: 67,
      });
    }
    await romeo.hears('one two three');
  });

  it('leaves a number alone that says STOP', async () => {
    await romeo.sends(chat('+15551230009@sms.hub.test', 'buy'));
    await smsc.gets('romeo: buy');
    await smsc.delivers('15551230009', '15550001111', ' stop. ');
    await smsc.gets(/no more messages/);
    await smsc.delivers('15551230009', '15550001111', 'STOP');
    await romeo.sends(chat('+15551230009@sms.hub.test', 'buy more', '', 's1'));
    assert.match(errorText(await romeo.receives(e => e.attrs.id === 's1')), /asked for no more/);
    await smsc.delivers('15551230009', '15550001111', 'Start');
    await romeo.sends(chat('+15551230009@sms.hub.test', 'buy again'));
    await smsc.gets('romeo: buy again');
    assert.equal(smsc.submits.filter(s => /no more messages/.test(s.text)).length, 1);
  });

  it('is a gateway that can be discovered, and turns numbers into addresses', async () => {
    const info = await romeo.asks('get', `<query xmlns='http://jabber.org/protocol/disco#info'/>`, 'sms.hub.test');
    assert.match(info.toString(), /category='gateway' type='sms'/);
    const jid = await romeo.asks(
      'set',
      `<query xmlns='jabber:iq:gateway'><prompt>+1 555 123-0000</prompt></query>`,
      'sms.hub.test',
    );
    assert.match(jid.toString(), /<jid>\+15551230000@sms\.hub\.test<\/jid>/);
  });

  it('refuses a text that nobody can get', async () => {
    assert.equal(await smsc.delivers('15559999999', '15550001111', 'hello?'), 0x66);
  });

  it('uses an account of a user’s own', async () => {
    const paris = await hub.client('paris@hub.test');
    const answer = await paris.asks(
      'set',
      `<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>
        <field var='smsc'><value>main</value></field><field var='username'><value>paris</value></field>
        <field var='password'><value>own</value></field><field var='sender'><value>15554440000</value></field></x></query>`,
      'sms.hub.test',
    );
    assert.equal(answer.attrs.type, 'result');
    await smsc.waits(() => smsc.binds.includes('bind_transceiver paris'), 'a bind of paris');
    await paris.sends(chat('+15551230000@sms.hub.test', 'mine'));
    assert.equal((await smsc.gets('mine')).from, '15554440000');
    await smsc.delivers('15551230000', '15554440000', 'yours');
    await paris.hears('yours');
    await paris.asks('set', `<query xmlns='jabber:iq:register'><remove/></query>`, 'sms.hub.test');
    await paris.close();
  });

  it('shows the operator what it does', async () => {
    const shown = hub.bridges.find('sms').show();
    assert.equal((shown.smscs as { state: string }[])[0].state, 'bound');
    assert.equal(shown.queue, 0);
    const text = await hub.hub.metrics.text();
    assert.match(text, /isthmus_sms_accepted_total\{bridge="sms.hub.test"\} \d/);
    assert.match(text, /isthmus_sms_failed_total\{bridge="sms.hub.test",reason="UNDELIV"\} 1/);
  });
});

describe('a message for a phone', () => {
  it('is on the disk before its sender hears that it was accepted, and goes out after a restart', async () => {
    const smsc = await TestSmsc.start();
    const { port } = smsc;
    await smsc.close();
    let hub = await startTestHub(['hub.test'], {
      yaml: `bridges:
  sms: { kind: sms, domain: sms.hub.test, sender: "15550001111", smsc: { address: "127.0.0.1:${port}", system-id: x } }`,
    });
    const juliet = await hub.client('juliet@hub.test');
    await juliet.asks('set', `<query xmlns='jabber:iq:register'><phone>+15557770001</phone></query>`, 'sms.hub.test');
    await juliet.close();
    const romeo = await hub.client('romeo@hub.test');
    await romeo.sends(`<enable xmlns='urn:xmpp:sm:3'/>`);
    await romeo.receives(e => e.is('enabled', 'urn:xmpp:sm:3'));
    await romeo.sends(
      `${chat('juliet@hub.test', 'offline')}${chat('+15557770002@sms.hub.test', 'direct')}<r xmlns='urn:xmpp:sm:3'/>`,
    );
    const accepted = await romeo.receives(e => e.is('a', 'urn:xmpp:sm:3') && e.attrs.h === '2');
    assert.ok(accepted);
    // Another connection sees only what is committed.
    const database = new DatabaseSync(join(hub.directory, 'data', 'isthmus.db'), { readOnly: true });
    const rows = database.prepare('SELECT number, text FROM sms_out ORDER BY number').all();
    database.close();
    assert.deepEqual(
      rows.map(({ number, text }) => `${number} ${text}`),
      ['+15557770001 romeo: offline', '+15557770002 romeo: direct'],
    );
    romeo.drop();
    const again = await TestSmsc.start({ port });
    hub = await hub.restart();
    await again.gets('romeo: offline');
    await again.gets('romeo: direct');
    assert.equal(again.submits.length, 2);
    await hub.close();
    await again.close();
  });
});
