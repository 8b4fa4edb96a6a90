// Clients that are slow, greedy, deaf, many or mad: the hub keeps its memory, its other sessions and every message.
import assert from 'node:assert/strict';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { patience } from '../../src/c2s/limits.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { plainMessage } from '../../src/xmpp/sasl/plain.ts';
import { Random } from '../fuzz/random.ts';
import { auth, bind, ClientAttacker, type ClientState } from '../support/attacker.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { logTo } from '../support/log.ts';
import { until } from '../support/until.ts';
import { startZones, type Zones } from '../support/zones.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const mebibyte = 1024 * 1024;
const password = 'a password for tests';
const sm = ns.streamManagement;

describe('clients under whom a hub could suffer', () => {
  let zones: Zones;
  let hub: TestHub;
  let witness: Client;
  let lines = '';
  const options = (from = '127.0.0.1') => ({ port: hub.port, domain: 'capulet.test', user: 'mallory', password, from });

  before(async () => {
    zones = await startZones('');
    const log = logTo(line => {
      lines += line;
    });
    hub = await startTestHub(['capulet.test'], {
      log,
      yaml: `dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
limits: { rate: { c2s: 0 }, connections: { per-address: 30 } }
offline: { messages: 8000 }
federation: { connect-timeout: 1s, queue: { wait: 2s } }`,
    });
    await hub.accounts.add('mallory@capulet.test', password);
    witness = await hub.client('witness@capulet.test', {});
  });
  after(async () => {
    await hub.close();
    await zones.close();
  });
  afterEach(() => {
    assert.doesNotMatch(lines, /"level":"(error|fatal)"/);
    lines = '';
  });

  const logged = (wanted: RegExp) => until(() => wanted.test(lines)).catch(() => assert.match(lines, wanted));

  /** How long the witness waits for a message to itself, in ms. */
  async function echo(): Promise<number> {
    const since = performance.now();
    await witness.sends(`<message to='${witness.jid}'><body>echo</body></message>`);
    await witness.hears('echo');
    return performance.now() - since;
  }

  it('a stanza of 100 MB is refused at its limit, and what follows is not kept', async () => {
    const attacker = await ClientAttacker.in('bound', options());
    collectGarbage();
    const before = process.memoryUsage().rss;
    attacker.send(`<message to='witness@capulet.test'><body>`);
    const piece = Buffer.alloc(64 * 1024, 'x');
    let most = 0;
    for (let sent = 0; sent < 100 * mebibyte && !attacker.ended; sent += piece.length) {
      if (!attacker.socket.write(piece)) await until(() => attacker.socket.writableLength === 0 || attacker.ended);
      most = Math.max(most, process.memoryUsage().rss - before);
    }
    await attacker.gets(/<policy-violation/);
    await until(() => attacker.ended);
    await logged(/"jid":"mallory@capulet\.test.*"reason":"policy-violation/);
    assert.ok(most < 48 * mebibyte, `it took ${Math.round(most / mebibyte)} MiB`);
    await echo();
  });

  it('one who sends a byte at a time is served like others', async () => {
    const attacker = await ClientAttacker.connect(options());
    const trickle = async (text: string) => {
      for (const byte of Buffer.from(text)) {
        attacker.send(Buffer.from([byte]));
        await new Promise(setImmediate);
      }
    };
    await trickle(attacker.header());
    await attacker.gets(/<\/stream:features>/);
    await attacker.startsTls();
    await trickle(auth('PLAIN', plainMessage('mallory', password)));
    await attacker.gets(/<success/);
    attacker.text = '';
    await trickle(attacker.header());
    await attacker.gets(/<\/stream:features>/);
    await trickle(bind('slowly'));
    await attacker.gets(/mallory@capulet\.test\/slowly/);
    attacker.destroy();
  });

  it('one who takes too long to get to a session is shown out, wherever it stands', async () => {
    const usual = patience.negotiation;
    patience.negotiation = 400;
    try {
      const states = ['plain', 'tls', 'authenticated'] as const;
      const attackers = await Promise.all(states.map(state => ClientAttacker.in(state, options())));
      attackers.push(await ClientAttacker.connect(options()));
      for (const attacker of attackers) {
        const drip = setInterval(() => attacker.send(' '), 20);
        await attacker.gets(/<connection-timeout/).finally(() => clearInterval(drip));
      }
      const silent = await ClientAttacker.in('plain', options());
      silent.send(`<starttls xmlns='${ns.tls}'/>`);
      await until(() => silent.ended);
      await logged(/"remote":"127\.0\.0\.1".*"reason":"connection-timeout: the client took too long to authenticate"/);
    } finally {
      patience.negotiation = usual;
    }
  });

  it('one who never reads loses its stream, not the memory of the hub; others do not notice', async () => {
    const deaf = await hub.client('deaf@capulet.test');
    const author = await hub.client('author@capulet.test', { quiet: true });
    deaf.stream.socket.pause();
    collectGarbage();
    const before = process.memoryUsage().rss;
    const text = `<message type='chat' to='${deaf.jid}'><body>${'x'.repeat(4096)}</body></message>`;
    let most = 0;
    let slowest = 0;
    for (let round = 0; round < 200 && hub.hub.sessions.of(Jid.parse('deaf@capulet.test')).length > 0; round++) {
      await author.sends(text.repeat(50));
      slowest = Math.max(slowest, await echo());
      most = Math.max(most, process.memoryUsage().rss - before);
    }
    await until(() => hub.hub.sessions.of(Jid.parse('deaf@capulet.test')).length === 0);
    await logged(/"remote":"127\.0\.0\.1","jid":"deaf@capulet\.test.*"reason":"the peer does not read fast enough"/);
    assert.ok(most < 96 * mebibyte, `it took ${Math.round(most / mebibyte)} MiB`);
    assert.ok(slowest < 1_000, `the witness waited ${Math.round(slowest)} ms`);
    deaf.drop();
    await author.close();
  });

  it('of one who acknowledges nothing, every message is kept for later', async () => {
    const deaf = await hub.client('deaf@capulet.test');
    await deaf.sends(`<enable xmlns='${sm}' resume='true'/>`);
    await deaf.receives(e => e.name === 'enabled');
    const author = await hub.client('author@capulet.test', { quiet: true });
    deaf.stream.socket.pause();
    const count = 6500;
    for (let n = 0; n < count; n += 100) {
      const batch = Array.from({ length: 100 }, (_, i) => `<body>no ${n + i}</body>`);
      await author.sends(batch.map(body => `<message type='chat' to='deaf@capulet.test'>${body}</message>`).join(''));
      await author.hasNot(() => false);
    }
    await logged(/"jid":"deaf@capulet\.test.*"reason":"resource-constraint: too many stanzas were not acknowledged"/);
    deaf.drop();
    const again = await hub.client('deaf@capulet.test');
    const heard = new Set<string>();
    await again.waits(() => {
      for (const stanza of again.inbox.splice(0)) if (stanza.childText('body')) heard.add(stanza.childText('body'));
      return heard.size === count;
    }, 'every message');
    await author.hasNot(e => e.attrs.type === 'error');
    await again.close();
    await author.close();
  }).timeout(20_000);

  it('a flood of connections from one address is cut off, and comes to nobody else’s cost', async () => {
    const flood = await Promise.all(Array.from({ length: 200 }, () => ClientAttacker.connect(options())));
    await until(() => flood.filter(one => !one.ended).length < 30);
    await logged(/"listener":"c2s","address":"127\.0\.0\.1","reason":"limits\.connections\.per-address is reached"/);
    assert.equal(lines.match(/connection refused/g)?.length, 1, 'one line, not one a connection');
    const other = await ClientAttacker.in('bound', options('127.0.0.2'));
    other.destroy();
    await echo();
    for (const one of flood) one.destroy();
    await until(async () => {
      const one = await ClientAttacker.connect(options());
      one.send(one.header());
      await until(() => one.ended || one.text !== '');
      one.destroy();
      return one.text !== '';
    });
  });

  it('connections that went over to TLS are no longer counted once they are closed', async () => {
    for (let i = 0; i < 40; i++) {
      const attacker = await ClientAttacker.in('tls', options());
      attacker.destroy();
    }
  });

  it('a peer whose name servers say nothing delays nobody else, and its stanzas come back', async () => {
    zones.fault('_xmpp-server._tcp.silent.test', 'silent');
    zones.fault('_xmpps-server._tcp.silent.test', 'silent');
    zones.fault('silent.test', 'silent');
    await witness.sends(`<message to='romeo@silent.test' id='lost'><body>x</body></message>`);
    for (let i = 0; i < 20; i++) assert.ok((await echo()) < 500);
    const since = performance.now();
    await witness.sends(`<message to='romeo@nowhere.test' id='gone'><body>x</body></message>`);
    const gone = await witness.receives(e => e.attrs.id === 'gone');
    assert.equal(gone.child('error', ns.client)?.all()[0].name, 'remote-server-not-found');
    assert.ok(performance.now() - since < 1_000);
    const lost = await witness.receives(e => e.attrs.id === 'lost', 15_000);
    assert.equal(lost.child('error', ns.client)?.all()[0].name, 'remote-server-timeout');
    assert.match(lost.child('error', ns.client)?.childText('text', ns.stanzaErrors) ?? '', /no link yet/);
  }).timeout(20_000);

  it('the session of one is not resumed by another, nor with a count that cannot be', async () => {
    const juliet = await hub.client('juliet@capulet.test');
    await juliet.sends(`<enable xmlns='${sm}' resume='true'/>`);
    const { id } = (await juliet.receives(e => e.name === 'enabled')).attrs;
    const mallory = await ClientAttacker.in('authenticated', options());
    mallory.send(`<resume xmlns='${sm}' previd='${id}' h='0'/>`);
    await mallory.gets(/<failed[^>]*><item-not-found/);
    mallory.destroy();
    const liar = await hub.client('juliet@capulet.test', { bind: false });
    await liar.sends(`<resume xmlns='${sm}' previd='${id}' h='999'/>`);
    assert.ok((await liar.receives(e => e.name === 'failed')).child('bad-request', ns.stanzaErrors));
    await liar.close();
    await juliet.hasNot(() => false);
    juliet.drop();
    const back = await hub.client('juliet@capulet.test', { bind: false });
    await back.sends(`<resume xmlns='${sm}' previd='${id}' h='1'/>`);
    await back.receives(e => e.name === 'resumed');
    await back.close();
  });

  it('what is broken at random breaks one stream only', async () => {
    const sound = [
      `<message to='witness@capulet.test' type='chat'><body>hello &amp; ünïcödé</body></message>`,
      `<presence><priority>5</priority><show>away</show></presence>`,
      `<iq type='get' id='a'><query xmlns='${ns.roster}'/></iq>`,
      `<iq type='set' id='b'><query xmlns='${ns.roster}'><item jid='a@b.test' name='A'><group>G</group></item></query></iq>`,
      `<iq type='get' to='capulet.test' id='c'><query xmlns='${ns.discoInfo}' node='x'/></iq>`,
      `<iq type='set' id='d'><vCard xmlns='${ns.vcard}'><FN>M</FN></vCard></iq>`,
      `<iq type='set' id='e'><block xmlns='${ns.blocking}'><item jid='c@d.test'/></block></iq>`,
      `<presence to='witness@capulet.test' type='subscribe'/>`,
      `<enable xmlns='${sm}' resume='true'/><r xmlns='${sm}'/>`,
      `<iq type='set' id='f' to='capulet.test'><command xmlns='http://jabber.org/protocol/commands' node='x'/></iq>`,
    ];
    const random = new Random(20_260_101);
    const noise = ['<', '>', '/', "'", '&', '\0', '\xff', ']]>', 'xmlns', '<!--', `to='@'`, `type='error'`, `id=''`];
    const broken = (): Buffer => {
      let bytes = Buffer.from(Array.from({ length: 4 }, () => random.pick(sound)).join(''), 'utf8');
      for (let edits = 1 + random.below(4); edits > 0; edits--) {
        const at = random.below(bytes.length);
        const cut = random.chance(50) ? random.below(20) : 0;
        const more = random.chance(60) ? Buffer.from(random.pick(noise), 'latin1') : Buffer.alloc(0);
        bytes = Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at + cut)]);
      }
      return bytes;
    };
    for (let n = 0; n < 60; n++) {
      const state: ClientState = n % 4 === 0 ? random.pick(['plain', 'tls', 'authenticated'] as const) : 'bound';
      const attacker = await ClientAttacker.in(state, options());
      const bytes = broken();
      const at = random.below(bytes.length);
      attacker.send(bytes.subarray(0, at));
      attacker.send(bytes.subarray(at));
      attacker.send('</stream:stream>');
      attacker.socket.end();
      await until(() => attacker.ended);
    }
    await echo();
  }).timeout(30_000);
});
