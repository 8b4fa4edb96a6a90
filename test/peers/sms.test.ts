// The SMS bridge against an SMSC of independent make, and once all the way: a user of Prosody, a hub user's phone, and back.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startHub } from '../../src/composition.ts';
import { parseConfig } from '../../src/hub/config.ts';
import { silentLog } from '../../src/hub/log.ts';
import { startBridge, type TestBridge } from '../bridges/sms/harness.ts';
import { Victim, waits } from '../bridges/sms/victim.ts';
import { Random } from '../fuzz/random.ts';
import { createAuthority, selfSigned } from '../support/authority.ts';
import { startTestHub } from '../support/hubs.ts';
import { recordsOf } from '../support/partners.ts';
import { startZones } from '../support/zones.ts';
import { peerClient } from './people.ts';
import { startProsody } from './prosody.ts';
import { PerlSmsc } from './smsc.ts';

const keys = 'smsc-keys: "password: secret, window: 10, response-timeout: 1s"'.replaceAll('"', '');

describe('the SMS bridge and an SMSC in Perl', () => {
  let smsc: PerlSmsc;
  let bridge: TestBridge | null = null;
  before(async () => {
    smsc = await PerlSmsc.start();
  });
  afterEach(async () => {
    await bridge?.close();
    bridge = null;
  });
  after(() => smsc.stop());

  const start = async (yaml = ''): Promise<TestBridge> => {
    const started = await startBridge(smsc.port, `${keys}\n${yaml}`);
    bridge = started;
    await started.waits(() => /"bound"/.test(JSON.stringify(started.bridge.show())), 'a bind');
    return started;
  };
  const receipts = (b: TestBridge) =>
    b.received.filter(stanza => stanza.has('received', 'urn:xmpp:receipts')).map(stanza => stanza.toString());

  it('is refused with a wrong password, and says so', async () => {
    bridge = await startBridge(smsc.port, 'smsc-keys: password: wrong');
    await bridge.waits(() => /invalid-password/.test(JSON.stringify(bridge!.bridge.show())), 'a refusal');
  });

  for (const bind of ['transceiver', 'separate']) {
    it(`carries texts both ways, bound as ${bind}`, async () => {
      bridge = await startBridge(smsc.port, `smsc-keys: password: secret, bind: ${bind}`);
      await bridge.chat('+15551230000', `by ${bind} @£[]€ñ`, 'p1');
      assert.equal((await smsc.gets(`by ${bind} @£[]€ñ`)).from, '15550001111');
      await bridge.waits(() => receipts(bridge!).length === 1, 'a receipt');
      smsc.says({ phone: ['15551230000', '15550001111', 'grüße 🌙', 'udh8'] });
      await bridge.waits(() => bridge!.received.some(stanza => stanza.text('body') === 'grüße 🌙'), 'the answer');
    });
  }

  const long = `${'All the world’s a stage, and all the men and women merely players 🎭. '.repeat(6)}`.trim();
  const plain = 'They have their exits and their entrances, {and} one man in his time plays many parts. '
    .repeat(5)
    .trim();
  for (const by of ['udh', 'udh-8', 'sar', 'payload']) {
    it(`ties long messages together by ${by}`, async () => {
      const b = await start(`concatenation: ${by}\nlimits: { characters: 1000 }`);
      for (const text of [long, plain]) {
        await b.chat('+15551230000', `${by}: ${text}`, `l-${text.length}`);
        const got = await smsc.gets(`${by}: ${text}`);
        assert.equal(got.parts === 1, by === 'payload');
      }
      await b.waits(() => receipts(b).length === 2, 'two receipts');
    });
  }

  for (const by of ['udh8', 'udh16', 'sar', 'payload']) {
    it(`puts parts from a phone together by ${by}, last part first`, async () => {
      const b = await start('default-recipient: romeo@hub.test');
      for (const text of [plain, 'Жил-был '.repeat(30).trim()]) {
        smsc.says({ phone: ['15551230000', '15550001111', text, by] });
        await b.waits(() => b.received.some(stanza => stanza.text('body') === text), text.slice(0, 20));
      }
    });
  }

  it('understands receipts that fail, are numbered otherwise, and come early', async () => {
    const b = await start();
    await b.chat('+15551230001', 'undelivered', 'u1');
    await b.chat('+15551230002', 'hexadecimal', 'u2');
    await b.chat('+15551230003', 'early', 'u3');
    await b.waits(() => b.received.length === 3, 'three answers');
    const error = b.received.find(stanza => stanza.isError);
    assert.equal(error?.id, 'u1');
    assert.match(error!.toString(), /it cannot be delivered/);
    assert.equal(receipts(b).filter(text => /id='u[23]'/.test(text)).length, 2);
  });

  it('outlives a full queue, silence, a dropped link and garbage', async () => {
    const b = await start('attempts: 2');
    for (const digit of [4, 5, 6, 7]) await b.chat(`+1555123000${digit}`, `bad ${digit}`, `b${digit}`);
    await b.waits(() => b.bridge.show()['set aside'] === 3, 'three set aside', 20_000);
    await b.waits(() => b.received.some(stanza => stanza.id === 'b4' && stanza.isError), 'an error of the full queue');
    await b.chat('+15551230000', 'still there', 'ok');
    await smsc.gets('still there');
  });

  it('carries 1,000 messages through an SMSC that takes 200 a second', async () => {
    const b = await start('limits: { queue: -1 }');
    smsc.says({ rate: 200 });
    const began = Date.now();
    for (let i = 0; i < 1_000; i++) await b.chat(`+1555100${String(i).padStart(3, '0')}8`, `paced ${i}`);
    await smsc.waits(
      () => smsc.arrived.filter(({ text }) => text.startsWith('paced')).length >= 1_000,
      'a thousand',
      30_000,
    );
    const seconds = (Date.now() - began) / 1000;
    smsc.says({ rate: 0 });
    const texts = smsc.arrived.filter(({ text }) => text.startsWith('paced')).map(({ text }) => text);
    assert.equal(new Set(texts).size, 1_000);
    assert.equal(texts.length, 1_000);
    console.log(`      ${seconds.toFixed(1)} s, throttled ${smsc.count('throttled')} times`);
    assert.ok(seconds < 12, `${seconds} s`);
  });

  it('fails over to another SMSC, and comes back', async () => {
    const first = await PerlSmsc.start();
    const second = await PerlSmsc.start();
    bridge = await startBridge([first.port, second.port], keys);
    await first.waits(() => first.count('bind') === 1, 'a bind');
    await second.waits(() => second.count('bind') === 1, 'a bind');
    await bridge.chat('+15551230008', 'to the first');
    await first.gets('to the first');
    await first.stop();
    for (let i = 0; i < 20; i++) await bridge.chat('+15551230008', `to the second ${i}`);
    await second.gets('to the second 19');
    const again = await PerlSmsc.start(first.port);
    await again.waits(() => again.count('bind') === 1, 'another bind');
    await bridge.waits(() => !/"down"/.test(JSON.stringify(bridge!.bridge.show())), 'both up');
    await bridge.chat('+15551230008', 'to the first again');
    await again.gets('to the first again');
    await again.stop();
    await second.stop();
  });

  it('loses none of 2,000 messages to kill -9, and doubles only what it marks', async () => {
    const count = 2_000;
    const random = new Random(Date.now());
    const directory = mkdtempSync(join(tmpdir(), 'isthmus-kill-'));
    const kept = new Set<string>();
    const number = (i: number) => `+1555${String(i).padStart(6, '0')}9`;
    const arrived = () => smsc.arrived.filter(({ text }) => text.startsWith('killed '));
    let marked = new Set<unknown>();
    try {
      for (let life = 0, done = false; !done; life++) {
        const victim = new Victim(
          join(directory, 'sms.db'),
          smsc.port,
          kept,
          `${keys.replace('window: 10', 'window: 50')}\nlimits: { queue: -1 }`,
        );
        await waits(() => victim.ready, 'the bridge');
        for (let i = 0; i < count; i++) {
          if (!kept.has(`i${i}`)) victim.say(JSON.stringify({ number: number(i), body: `killed ${i}`, id: `i${i}` }));
        }
        const before = arrived().length;
        const goal = before + 20 + random.below(300);
        const distinct = () => new Set(arrived().map(({ text }) => text)).size;
        await waits(
          () => arrived().length >= goal || (distinct() === count && kept.size === count),
          'some to arrive',
          30_000,
        );
        done = distinct() === count && kept.size === count;
        if (done) {
          victim.say('list');
          await waits(() => victim.listed !== null, 'the list', 10_000);
          marked = new Set(victim.listed!.filter(row => row['possible duplicate']).map(row => row.number));
          console.log(`      ${life} kills, ${arrived().length - count} doubles, ${marked.size} marked`);
        }
        await victim.kill();
      }
      const times = new Map<string, number>();
      for (const { to } of arrived()) times.set(`+${to}`, (times.get(`+${to}`) ?? 0) + 1);
      assert.equal(times.size, count);
      for (const [to, n] of times) assert.ok(n === 1 || marked.has(to), `${to} arrived ${n} times and is not marked`);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }).timeout(120_000);
});

describe('a user of Prosody, an offline user of the hub, and a phone', () => {
  it('reaches the phone over a server link, and the answer comes back', async () => {
    const smsc = await PerlSmsc.start();
    const authority = await createAuthority();
    const zones = await startZones('');
    const hub = await startTestHub('{ hub.test: {} }', {
      host: '127.0.0.12',
      files: { 'ca.crt': authority.certificate },
      yaml: `tls: { trust: [ca.crt] }
dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
federation: { security: encrypted, queue: { wait: 5s } }
bridges:
  sms:
    kind: sms
    domain: sms.hub.test
    smsc: { address: "127.0.0.1:${smsc.port}", system-id: isthmus, password: secret }
    sender: "15550001111"`,
    });
    const address = '127.0.0.13';
    zones.set(`${recordsOf('hub.test', hub, '127.0.0.12')}
${recordsOf('sms.hub.test', hub, '127.0.0.12')}
_xmpp-server._tcp.prosody.test 60 IN SRV 5 1 5269 xmpp.prosody.test
xmpp.prosody.test 60 IN A ${address}
prosody.test 60 IN A ${address}`);
    const peer = await startProsody({
      address,
      domain: 'prosody.test',
      mode: 'tls',
      dns: zones.server,
      authority: authority.certificate,
      certificate: await selfSigned({ names: ['prosody.test'] }),
    });
    try {
      const juliet = await hub.client('juliet@hub.test');
      await juliet.asks('set', `<vCard xmlns='vcard-temp'><TEL><CELL/><NUMBER>+1 555 777 0008</NUMBER></TEL></vCard>`);
      await juliet.close();
      const romeo = await peerClient(peer, 'romeo');
      await romeo.sends(`<message to='juliet@hub.test' type='chat'><body>It is the east 🌅</body></message>`);
      const got = await smsc.gets('romeo: It is the east 🌅', 20_000);
      assert.equal(got.to, '15557770008');
      smsc.says({ phone: ['15557770008', '15550001111', 'and Juliet is the sun', 'udh8'] });
      const answer = await romeo.hears('and Juliet is the sun', 20_000);
      assert.equal(answer.attrs.from, '+15557770008@sms.hub.test');
      await romeo.sends(`<message to='+15557770008@sms.hub.test' type='chat'><body>Arise, fair sun</body></message>`);
      await smsc.gets('romeo: Arise, fair sun', 20_000);
      const again = await hub.client('juliet@hub.test');
      await again.hears('It is the east 🌅');
      await again.close();
      romeo.drop();
    } finally {
      await hub.close();
      await peer.stop();
      await smsc.stop();
      await zones.close();
    }
  });
});

describe('the SMS bridge attached to Prosody', () => {
  it('carries messages of its users both ways', async () => {
    const smsc = await PerlSmsc.start();
    const authority = await createAuthority();
    const zones = await startZones('');
    const address = '127.0.0.13';
    const peer = await startProsody({
      address,
      domain: 'prosody.test',
      mode: 'plaintext',
      dns: zones.server,
      authority: authority.certificate,
      certificate: await selfSigned({ names: ['prosody.test'] }),
      more: `component_ports = { 5347 }
component_interfaces = { "${address}" }
Component "sms.prosody.test"
  component_secret = "between us"`,
    });
    const directory = mkdtempSync(join(tmpdir(), 'isthmus-attached-'));
    const text = `data: ${directory}
listen: { http: ["127.0.0.1:0"] }
attach: { address: "${address}:5347", secrets: { sms.prosody.test: "between us" } }
bridges:
  sms:
    kind: sms
    domain: sms.prosody.test
    smsc: { address: "127.0.0.1:${smsc.port}", system-id: isthmus, password: secret }
    sender: "15550001111"`;
    const attached = await startHub(parseConfig(text, 'attached.yaml'), silentLog());
    try {
      await waits(() => attached.attachment?.list()[0].state === 'open', 'the component link');
      const romeo = await peerClient(peer, 'romeo');
      const ask = `<request xmlns='urn:xmpp:receipts'/>`;
      await romeo.sends(
        `<message to='+15557770000@sms.prosody.test' id='a1' type='chat'><body>Ay me 😢</body>${ask}</message>`,
      );
      await smsc.gets('romeo: Ay me 😢');
      await romeo.receives(e => e.child('received', 'urn:xmpp:receipts')?.attrs.id === 'a1');
      smsc.says({ phone: ['15557770000', '15550001111', 'She speaks', 'udh8'] });
      assert.equal((await romeo.hears('She speaks')).attrs.from, '+15557770000@sms.prosody.test');
      romeo.drop();
    } finally {
      await attached.stop();
      await peer.stop();
      await smsc.stop();
      await zones.close();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
