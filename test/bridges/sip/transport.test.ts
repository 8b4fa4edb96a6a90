// What the embedded engine's transports and transactions do: loss, repeats, order, reuse, size, and what a peer's network does to it.
import { strict as assert } from 'node:assert';
import { createEmbedded, type EmbeddedTimes } from '../../../src/bridges/sip/embedded.ts';
import type { Engine } from '../../../src/bridges/sip/engine.ts';
import type { EnginePort } from '../../../src/bridges/sip/settings.ts';
import { transportTimes } from '../../../src/bridges/sip/transports.ts';
import { createResolver } from '../../../src/hub/dns.ts';
import { engineConfig, enginePort, RecordingHandler, until } from '../../support/sip-engine.ts';
import { type PeerProtocol, SipPeer } from '../../support/sip-peer.ts';
import { startZones, type Zones } from '../../support/zones.ts';

interface Running {
  engine: Engine;
  handler: RecordingHandler;
  port(protocol: string): number;
}

describe('The transports of the embedded SIP engine', () => {
  const closers: (() => Promise<void> | void)[] = [];

  const start = async (
    yaml = '',
    {
      listen = ['udp', 'tcp', 'ws'],
      times = {},
      more = {},
    }: { listen?: string[]; times?: Partial<EmbeddedTimes>; more?: Partial<EnginePort> } = {},
  ): Promise<Running> => {
    const given = enginePort(more);
    const listeners = listen.map(protocol => `"${protocol}:127.0.0.1:0"`);
    const engine = createEmbedded(engineConfig(`domains: [sip.test]\nlisten: [${listeners}]\n${yaml}`), given, {
      transactions: { t1: 50, t2: 200, t4: 500 },
      transports: transportTimes,
      handler: 2000,
      ...times,
    });
    const handler = new RecordingHandler();
    await engine.start(handler);
    closers.push(async () => {
      await engine.stop();
      given.close();
    });
    return {
      engine,
      handler,
      port: protocol =>
        Number(
          engine.addresses
            .find(at => at.startsWith(`${protocol}:`))!
            .split(':')
            .at(-1),
        ),
    };
  };
  const peerOf = async (protocol: PeerProtocol, to?: number): Promise<SipPeer> => {
    const peer = await SipPeer.open(protocol);
    closers.push(() => peer.close());
    if (to !== undefined) await peer.connect(to);
    return peer;
  };
  const zonesOf = async (zone: string): Promise<{ zones: Zones; more: Partial<EnginePort> }> => {
    const zones = await startZones(zone);
    closers.push(() => zones.close());
    return { zones, more: { resolver: createResolver({ servers: [zones.server] }) } };
  };
  const send = (engine: Engine, uri: string, body = 'hi') =>
    engine.send({
      method: 'MESSAGE',
      uri,
      from: 'sip:romeo@hub.test',
      contentType: 'text/plain',
      body: Buffer.from(body),
    });

  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  it('repeats requests over UDP until they are answered, and is not moved by a second answer', async () => {
    const { engine, port } = await start();
    const peer = await peerOf('udp', port('udp'));
    peer.onRequest = heard => {
      if (peer.heard.length < 3) return;
      heard.reply(peer.answer(heard, 200));
      heard.reply(peer.answer(heard, 500));
    };
    assert.equal((await send(engine, peer.uri('juliet'))).status, 200);
    assert.equal(peer.heard.length, 3);
    assert.equal(new Set(peer.heard.map(({ text }) => text)).size, 1, 'every time the same bytes');
  });

  it('waits longer once it was told 100', async () => {
    const { engine, port } = await start();
    const peer = await peerOf('udp', port('udp'));
    peer.onRequest = heard => {
      if (peer.heard.length === 1) heard.reply(peer.answer(heard, 100));
      else heard.reply(peer.answer(heard, 202));
    };
    assert.equal((await send(engine, peer.uri('juliet'))).status, 202);
  });

  it('hands a repeated UDP request on once and answers it again with the same bytes', async () => {
    const { handler, port } = await start();
    let release!: () => void;
    handler.answer = () => new Promise(resolve => (release = () => resolve({ status: 200 })));
    const peer = await peerOf('udp', port('udp'));
    const bytes = peer.compose('MESSAGE', 'sip:romeo@hub.test', {}, 'once');
    for (let i = 0; i < 3; i++) peer.raw(bytes);
    await until(() => handler.requests.length > 0);
    release();
    const first = await peer.next(() => true);
    peer.raw(bytes);
    const second = await peer.next(() => true);
    assert.equal(first.text, second.text);
    assert.equal(handler.requests.length, 1);
  });

  it('forgets answers after 64·T1', async () => {
    const { handler, port } = await start('', { times: { transactions: { t1: 1, t2: 4, t4: 5 } } });
    const peer = await peerOf('udp', port('udp'));
    const bytes = peer.compose('MESSAGE', 'sip:romeo@hub.test', {}, 'again');
    peer.raw(bytes);
    await peer.next(() => true);
    await until(() => {
      peer.raw(bytes);
      return handler.requests.length > 1;
    });
  });

  it('takes requests in any order, and in a dialog only forward', async () => {
    const { handler, port } = await start();
    const peer = await peerOf('udp', port('udp'));
    peer.onRequest = heard => heard.reply(peer.answer(heard, 200));
    const answer = await peer.request('SUBSCRIBE', 'sip:romeo@hub.test', { Event: 'presence', CSeq: '10 SUBSCRIBE' });
    const dialog = {
      To: answer.header('to'),
      From: answer.header('from'),
      'Call-ID': answer.callId,
      Event: 'presence',
    };
    assert.equal(
      (await peer.request('SUBSCRIBE', 'sip:romeo@hub.test', { ...dialog, CSeq: '12 SUBSCRIBE' })).status,
      200,
    );
    assert.equal(
      (await peer.request('SUBSCRIBE', 'sip:romeo@hub.test', { ...dialog, CSeq: '11 SUBSCRIBE' })).status,
      500,
    );
    assert.equal(handler.subscriptions.length, 1);
  });

  it('answers where the datagram came from, with received and rport, or to the port in Via without it', async () => {
    const { port } = await start();
    const [behind, other] = [await peerOf('udp', port('udp')), await peerOf('udp')];
    const seen = await behind.request('MESSAGE', 'sip:romeo@hub.test', {
      Via: `SIP/2.0/UDP 10.9.8.7:5;branch=z9hG4bKa;rport`,
    });
    assert.deepEqual(
      [seen.via.params.get('received'), seen.via.params.get('rport')],
      ['127.0.0.1', String(behind.port)],
    );
    behind.raw(
      behind.compose('MESSAGE', 'sip:romeo@hub.test', { Via: `SIP/2.0/UDP 127.0.0.1:${other.port};branch=z9hG4bKb` }),
    );
    assert.equal((await other.next(() => true)).message.status, 200);
    const forged = await behind.request('MESSAGE', 'sip:romeo@hub.test', {
      Via: `SIP/2.0/UDP 127.0.0.1:${behind.port};received=9.9.9.9;branch=z9hG4bKc;rport`,
    });
    assert.equal(forged.via.params.get('received'), '127.0.0.1');
  });

  it('sends what does not fit a datagram by TCP, and by UDP where TCP is not to be had', async () => {
    const { engine } = await start();
    const tcp = await peerOf('tcp');
    tcp.onRequest = heard => heard.reply(tcp.answer(heard, 200));
    assert.equal((await send(engine, `sip:juliet@127.0.0.1:${tcp.port}`, 'x'.repeat(1300))).status, 200);
    const udp = await peerOf('udp');
    udp.onRequest = heard => heard.reply(udp.answer(heard, 200));
    assert.equal((await send(engine, `sip:juliet@127.0.0.1:${udp.port}`, 'x'.repeat(1300))).status, 200);
    assert.equal(udp.heard[0].message.body.length, 1300);
  });

  it('uses one connection for many requests, and a new one when that is gone', async () => {
    const { engine } = await start();
    const peer = await peerOf('tcp');
    peer.onRequest = heard => heard.reply(peer.answer(heard, 200));
    await Promise.all(Array.from({ length: 20 }, () => send(engine, peer.uri('juliet'))));
    const connections = () => (engine.show().connections as string[]).length;
    assert.equal(connections(), 1);
    peer.hangUp();
    await until(() => connections() === 0);
    assert.equal((await send(engine, peer.uri('juliet'))).status, 200);
  });

  it('tells at once when the connection closes before the answer', async () => {
    const { engine } = await start();
    const peer = await peerOf('tcp');
    peer.onRequest = () => peer.hangUp();
    const answer = await send(engine, peer.uri('juliet'));
    assert.deepEqual([answer.status, answer.local], [503, true]);
  });

  it('sends requests back on the connection that a watcher made', async () => {
    for (const protocol of ['tcp', 'ws'] as const) {
      const { handler, engine, port } = await start();
      const peer = await peerOf(protocol, port(protocol));
      peer.onRequest = heard => heard.reply(peer.answer(heard, 200));
      await peer.request('SUBSCRIBE', 'sip:romeo@hub.test', {
        Event: 'presence',
        Contact: `<sip:peer@10.255.255.1:5060;transport=${protocol}>`,
      });
      assert.equal(await handler.subscriptions[0].notify({ state: 'active' }), 200);
      assert.equal((engine.show().connections as string[]).length, 1);
    }
  });

  it('answers keep-alives', async () => {
    const { port } = await start();
    const { createConnection } = await import('node:net');
    const socket = createConnection(port('tcp'), '127.0.0.1');
    socket.write('\r\n\r\n');
    const [pong] = await new Promise<Buffer[]>(resolve => socket.once('data', data => resolve([data])));
    assert.equal(pong.toString(), '\r\n');
    socket.destroy();
  });

  it('closes a connection that speaks no SIP, and answers what can be answered first', async () => {
    const { port } = await start();
    const { createConnection } = await import('node:net');
    const talk = (text: string) =>
      new Promise<string>(resolve => {
        let heard = '';
        const socket = createConnection(port('tcp'), '127.0.0.1', () => socket.write(text));
        socket.on('data', data => (heard += data));
        socket.on('close', () => resolve(heard));
      });
    assert.equal(await talk('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), '');
    const peer = await peerOf('tcp');
    const text = peer
      .compose('MESSAGE', 'sip:romeo@hub.test', {}, 'x')
      .toString()
      .replace('Content-Length: 1', 'Content-Length: -1');
    assert.match(await talk(text), /^SIP\/2.0 400 /);
  });

  it('refuses a WebSocket without the subprotocol', async () => {
    const { port } = await start();
    const { WebSocket } = await import('ws');
    const socket = new WebSocket(`ws://127.0.0.1:${port('ws')}`, 'xmpp');
    await assert.rejects(new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject)), /400/);
  });

  it('stops a request that comes back, one without hops left, and one that came by two ways', async () => {
    const { engine, handler, port } = await start();
    const peer = await peerOf('udp', port('udp'));
    peer.onRequest = heard => heard.reply(peer.answer(heard, 200));
    await send(engine, peer.uri('juliet'));
    const ours = peer.heard[0].message;
    const back = (uri: string, more = {}) =>
      peer.request('MESSAGE', uri, {
        Via: `SIP/2.0/UDP ${peer.place};branch=z9hG4bK${Math.random()};rport\r\nVia: ${ours.header('via')}`,
        ...more,
      });
    assert.equal((await back(ours.uriText)).status, 482);
    assert.equal((await back('sip:romeo@hub.test')).status, 200, 'a spiral is no loop');
    assert.equal((await peer.request('MESSAGE', 'sip:romeo@hub.test', { 'Max-Forwards': '0' })).status, 483);
    const same = { 'Call-ID': 'merged', From: '<sip:a@sip.test>;tag=m', CSeq: '5 MESSAGE' };
    assert.equal((await peer.request('MESSAGE', 'sip:romeo@hub.test', same)).status, 200);
    assert.equal((await peer.request('MESSAGE', 'sip:romeo@hub.test', same)).status, 482);
    assert.equal(handler.requests.length, 2);
  });

  it('refuses schemes, extensions, encodings and dialogs that it does not know', async () => {
    const { handler, port } = await start();
    const peer = await peerOf('udp', port('udp'));
    assert.equal((await peer.request('MESSAGE', 'mailto:romeo@hub.test')).status, 416);
    const extension = await peer.request('MESSAGE', 'sip:romeo@hub.test', { Require: 'path, teleport' });
    assert.deepEqual([extension.status, extension.header('unsupported')], [420, 'teleport']);
    const encoding = await peer.request('MESSAGE', 'sip:romeo@hub.test', { 'Content-Encoding': 'br' }, 'x');
    assert.deepEqual([encoding.status, encoding.header('accept-encoding')], [415, 'gzip, deflate, identity']);
    for (const method of ['MESSAGE', 'NOTIFY', 'SUBSCRIBE']) {
      const lost = await peer.request(method, 'sip:romeo@hub.test', {
        To: '<sip:romeo@hub.test>;tag=unknown',
        Event: 'presence',
        'Subscription-State': 'active',
      });
      assert.equal(lost.status, 481, method);
    }
    assert.equal((await peer.request('INVITE', 'sip:romeo@hub.test')).status, 405);
    assert.equal((await peer.request('FROBNICATE', 'sip:romeo@hub.test')).status, 501);
    assert.equal((await peer.request('CANCEL', 'sip:romeo@hub.test')).status, 481);
    assert.equal(handler.requests.length, 0);
  });

  it('limits what a source may say, and says when to come again', async () => {
    const { handler, port } = await start('limits: { per-source: 1 }');
    const peer = await peerOf('udp', port('udp'));
    const answers = [];
    for (let i = 0; i < 12; i++) answers.push(await peer.request('MESSAGE', 'sip:romeo@hub.test'));
    assert.deepEqual([answers[0].status, answers[11].status, answers[11].header('retry-after')], [200, 503, '5']);
    assert.ok(handler.requests.length <= 11);
  });

  it('lets only those speak who are listed, named by their certificate or proven', async () => {
    const listed = await start('accept-from: ["127.0.0.0/8"]');
    assert.equal(
      (await (await peerOf('udp', listed.port('udp'))).request('MESSAGE', 'sip:romeo@hub.test')).status,
      200,
    );
    const closed = await start('accept-from: ["192.0.2.1"]');
    assert.equal(
      (await (await peerOf('udp', closed.port('udp'))).request('MESSAGE', 'sip:romeo@hub.test')).status,
      403,
    );
  });

  it('asks for a digest, MD5 or SHA-256, and takes each proof once', async () => {
    const { handler, port } = await start(
      'accept-from: ["192.0.2.1"]\ndigest: { realm: sip.test, accounts: { peer@sip.test: secret } }',
    );
    const peer = await peerOf('udp', port('udp'));
    const { answerChallenge, parseDigest } = await import('../../../src/bridges/sip/digest.ts');
    const uri = 'sip:romeo@hub.test';
    const challenged = await peer.request('MESSAGE', uri);
    assert.equal(challenged.status, 401);
    const challenges = challenged.headersOf('www-authenticate').map(value => parseDigest(value)!);
    assert.deepEqual(
      challenges.map(one => one.get('algorithm')),
      ['SHA-256', 'MD5'],
    );
    const prove = (challenge: ReadonlyMap<string, string>, user: string, password: string, more = {}) =>
      peer.request('MESSAGE', uri, {
        Authorization: answerChallenge(challenge, { user, password }, 'MESSAGE', uri),
        ...more,
      });
    assert.equal((await prove(challenges[0], 'peer', 'wrong')).status, 401);
    assert.equal((await prove(challenges[0], 'nobody', 'secret')).status, 401);
    const Authorization = answerChallenge(challenges[0], { user: 'peer', password: 'secret' }, 'MESSAGE', uri);
    assert.equal((await peer.request('MESSAGE', uri, { Authorization })).status, 200);
    const replayed = await peer.request('MESSAGE', uri, { Authorization });
    assert.equal(replayed.status, 401);
    const again = replayed.headersOf('www-authenticate').map(value => parseDigest(value)!);
    assert.equal(again[1].get('stale'), 'true');
    assert.equal((await prove(again[1], 'peer@sip.test', 'secret')).status, 200, 'MD5');
    const fresh = (await peer.request('MESSAGE', uri)).headersOf('www-authenticate').map(value => parseDigest(value)!);
    assert.equal((await prove(fresh[0], 'peer', 'secret', { From: '<sip:other@sip.test>;tag=1' })).status, 403);
    assert.equal(handler.requests.at(-1)?.source.authenticated, 'peer@sip.test');
    const forged = new Map(fresh[0]).set('nonce', `${Date.now().toString(36)}.00.${'0'.repeat(32)}`);
    assert.equal((await prove(forged, 'peer', 'secret')).status, 401);
  });

  it('finds a domain by NAPTR and SRV, and goes to the next server when one is away or says 503', async () => {
    const [bad, good] = [await peerOf('tcp'), await peerOf('tcp')];
    const { zones, more } = await zonesOf(
      [
        'sip.test 60 IN NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.sip.test',
        'sip.test 60 IN NAPTR 10 10 "s" "SIP+D2T" "" _sip._tcp.sip.test',
        '_sip._tcp.sip.test 60 IN SRV 1 1 1 gone.sip.test',
        `_sip._tcp.sip.test 60 IN SRV 2 1 ${bad.port} gone.sip.test`,
        `_sip._tcp.sip.test 60 IN SRV 3 1 ${good.port} gone.sip.test`,
        'gone.sip.test 60 IN A 127.0.0.1',
      ].join('\n'),
    );
    const { engine } = await start('', { more });
    bad.onRequest = heard => heard.reply(bad.answer(heard, 503));
    good.onRequest = heard => heard.reply(good.answer(heard, 200));
    assert.equal((await send(engine, 'sip:juliet@sip.test')).status, 200);
    assert.deepEqual([bad.heard.length, good.heard.length], [1, 1]);
    assert.ok(zones.questions.some(question => question.startsWith('NAPTR sip.test')));
    zones.set('none.test 60 IN SRV 0 0 0 .\n_sip._tcp.none.test 60 IN SRV 0 0 0 .');
    const none = await send(engine, 'sip:juliet@none.test');
    assert.deepEqual([none.status, none.local], [503, true]);
    assert.equal((await send(engine, 'sip:juliet@missing.test')).status, 503);
  });

  it('goes where routes say, for a domain, for tel and for all', async () => {
    const [one, two, three] = [await peerOf('tcp'), await peerOf('tcp'), await peerOf('tcp')];
    const hop = (peer: SipPeer) => `"sip:127.0.0.1:${peer.port};transport=tcp"`;
    const { engine } = await start(`routes: { sip.test: [${hop(one)}], tel: ${hop(two)}, "*": ${hop(three)} }`);
    for (const peer of [one, two, three]) peer.onRequest = heard => heard.reply(peer.answer(heard, 200));
    for (const uri of ['sip:juliet@sip.test', 'tel:+15551230000', 'im:juliet@other.test'])
      assert.equal((await send(engine, uri)).status, 200);
    assert.deepEqual(
      [one, two, three].map(peer => peer.heard[0].message.uriText),
      ['sip:juliet@sip.test', 'tel:+15551230000', 'im:juliet@other.test'],
    );
  });

  it('answers a handler that takes too long', async () => {
    const { handler, port } = await start('', { times: { handler: 50 } });
    handler.answer = () => new Promise(() => {});
    const peer = await peerOf('udp', port('udp'));
    assert.equal((await peer.request('MESSAGE', 'sip:romeo@hub.test')).status, 504);
  });

  it('bounds the subscriptions to its users', async () => {
    const { port } = await start('limits: { subscriptions: 1 }');
    const peer = await peerOf('udp', port('udp'));
    assert.equal((await peer.request('SUBSCRIBE', 'sip:romeo@hub.test', { Event: 'presence' })).status, 200);
    assert.equal((await peer.request('SUBSCRIBE', 'sip:romeo@hub.test', { Event: 'presence' })).status, 503);
  });

  it('says which listener cannot be had', async () => {
    const first = await start();
    await assert.rejects(async () => {
      const engine = createEmbedded(
        engineConfig(`{ domains: [sip.test], listen: ["tcp:127.0.0.1:${first.port('tcp')}"] }`),
        enginePort(),
      );
      closers.push(() => engine.stop());
      await engine.start(new RecordingHandler());
    }, /tcp:127\.0\.0\.1:\d+: something else listens there/);
  });

  it('has no limit for sources that are listed', async () => {
    const { port } = await start('accept-from: ["127.0.0.1"]\nlimits: { per-source: 1 }');
    const peer = await peerOf('udp', port('udp'));
    for (let i = 0; i < 15; i++) assert.equal((await peer.request('MESSAGE', 'sip:romeo@hub.test')).status, 200);
  });

  it('shows its credentials to nobody but whom they are for', async () => {
    const peer = await peerOf('tcp');
    const { engine } = await start(
      `credentials: { sip.test: { user: hub, password: secret } }\nroutes: { sip.test: "sip:127.0.0.1:${peer.port};transport=tcp" }`,
    );
    peer.onRequest = heard =>
      heard.reply(
        heard.message.header('authorization')
          ? peer.answer(heard, 200)
          : peer.answer(heard, 401, { 'WWW-Authenticate': 'Digest realm="sip.test", nonce="n", qop="auth"' }),
      );
    assert.equal((await send(engine, peer.uri('mallory'))).status, 401, 'the realm is only his word');
    assert.equal((await send(engine, 'sip:juliet@sip.test')).status, 200);
  });

  it('asks once more where the nonce was stale', async () => {
    const peer = await peerOf('tcp');
    const { engine } = await start('credentials: { 127.0.0.1: { user: hub, password: secret } }');
    const challenge = (nonce: string, stale = '') => ({
      'WWW-Authenticate': `Digest realm="r", nonce="${nonce}", qop="auth"${stale}`,
    });
    peer.onRequest = heard => {
      const proof = heard.message.header('authorization');
      if (proof?.includes('nonce="n2"')) heard.reply(peer.answer(heard, 200));
      else heard.reply(peer.answer(heard, 401, proof ? challenge('n2', ', stale=true') : challenge('n1')));
    };
    assert.equal((await send(engine, peer.uri('juliet'))).status, 200);
    assert.equal(peer.heard.length, 3);
  });

  it('refuses bodies that are too long, and closes the connection where they would follow', async () => {
    const { port } = await start('limits: { body: 1KiB }');
    const udp = await peerOf('udp', port('udp'));
    assert.equal((await udp.request('MESSAGE', 'sip:romeo@hub.test', {}, 'x'.repeat(2000))).status, 413);
    const tcp = await peerOf('tcp', port('tcp'));
    assert.equal((await tcp.request('MESSAGE', 'sip:romeo@hub.test', {}, 'x'.repeat(2000))).status, 413);
  });

  it('refuses connections above the limits', async () => {
    const { port } = await start('', { more: { connections: { perAddress: 2, total: 10 } } });
    const [first, second] = [await peerOf('tcp', port('tcp')), await peerOf('tcp', port('tcp'))];
    for (const peer of [first, second]) assert.equal((await peer.request('MESSAGE', 'sip:romeo@hub.test')).status, 200);
    const { createConnection } = await import('node:net');
    const third = createConnection(port('tcp'), '127.0.0.1');
    third.on('error', () => {});
    await new Promise(resolve => third.once('close', resolve));
  });

  it('survives garbage and counts it', async () => {
    const { engine, port } = await start();
    const peer = await peerOf('udp', port('udp'));
    const bytes = peer.compose('MESSAGE', 'sip:romeo@hub.test', {}, 'x');
    for (let length = 0; length < bytes.length; length += 7) peer.raw(bytes.subarray(0, length));
    for (const junk of ['\r\n\r\n', '\0', 'SIP/2.0 200 OK\r\n\r\n', 'x'.repeat(60_000)]) peer.raw(junk);
    // A transaction of its own: one that lacks only its body is answered, and its repetition the same way.
    peer.raw(peer.compose('MESSAGE', 'sip:romeo@hub.test', {}, 'x'));
    assert.equal((await peer.next(({ message }) => message.status === 200)).message.status, 200);
    assert.ok((engine.show()['last errors'] as unknown[]).length > 0);
  });

  it('keeps the route of a dialog: loose, strict, and each way round', async () => {
    const { engine, handler, port } = await start();
    const [proxy, strict] = [await peerOf('tcp', port('tcp')), await peerOf('tcp')];
    for (const peer of [proxy, strict]) peer.onRequest = heard => heard.reply(peer.answer(heard, 200));
    const route = (peer: SipPeer, more = ';lr') => `<sip:127.0.0.1:${peer.port};transport=tcp${more}>`;
    await proxy.request('SUBSCRIBE', 'sip:romeo@hub.test', {
      Event: 'presence',
      'Record-Route': `${route(proxy)}, <sip:far.test;lr>`,
      Contact: '<sip:juliet@10.0.0.9>',
    });
    assert.equal(await handler.subscriptions[0].notify({ state: 'active' }), 200);
    const { message: notify } = await proxy.nextRequest('NOTIFY');
    assert.equal(notify.uriText, 'sip:juliet@10.0.0.9');
    assert.deepEqual(notify.headersOf('route'), [route(proxy), '<sip:far.test;lr>']);
    const wish = {
      uri: proxy.uri('juliet'),
      from: 'sip:romeo@hub.test',
      event: 'presence',
      accept: ['a/b'],
      expires: 600,
    };
    proxy.onRequest = heard =>
      heard.reply(
        proxy.answer(heard, 200, {
          Expires: '600',
          Contact: '<sip:juliet@10.0.0.9>',
          // As the answer has it, the nearest is last.
          'Record-Route': `<sip:far.test;lr>, ${route(strict, '')}`,
        }),
      );
    const subscription = engine.subscribe(wish, { notify: () => {}, ended: () => {} });
    await proxy.nextRequest('SUBSCRIBE');
    await until(() => (engine.show().dialogs as { state: string }[]).some(({ state }) => state === 'accepted'));
    subscription.refresh(300);
    const { message: refresh } = await strict.nextRequest('SUBSCRIBE');
    assert.equal(refresh.uriText, `sip:127.0.0.1:${strict.port};transport=tcp`, 'a strict router is the target itself');
    assert.deepEqual(refresh.headersOf('route'), ['<sip:far.test;lr>', '<sip:juliet@10.0.0.9>']);
  });

  it('judges NOTIFYs: state, event, encoding and body', async () => {
    const { engine, port } = await start();
    const peer = await peerOf('tcp', port('tcp'));
    peer.onRequest = heard =>
      heard.reply(peer.answer(heard, 200, { Expires: '600', Contact: `<${peer.uri('juliet')}>` }));
    const bodies: string[] = [];
    const wish = {
      uri: peer.uri('juliet'),
      from: 'sip:romeo@hub.test',
      event: 'presence',
      accept: ['a/b'],
      expires: 600,
    };
    engine.subscribe(wish, { notify: ({ body }) => bodies.push(Buffer.from(body).toString()), ended: () => {} });
    const { message } = await peer.nextRequest('SUBSCRIBE');
    let sequence = 0;
    const notify = async (more: Record<string, string | undefined>, body: Buffer = Buffer.alloc(0)) =>
      (
        await peer.request(
          'NOTIFY',
          'sip:romeo@hub.test',
          {
            From: `${message.header('to')};tag=peer-${peer.port}`,
            To: message.header('from'),
            'Call-ID': message.callId,
            CSeq: `${++sequence} NOTIFY`,
            Event: 'presence',
            'Subscription-State': 'active;expires=600',
            ...more,
          },
          body,
        )
      ).status;
    const { deflateSync } = await import('node:zlib');
    assert.equal(await notify({ 'Subscription-State': undefined }), 400);
    assert.equal(await notify({ Event: 'dialog' }), 489);
    assert.equal(await notify({ 'Content-Encoding': 'x-secret' }, Buffer.from('?')), 415);
    assert.equal(await notify({ 'Content-Encoding': 'deflate' }, deflateSync('<p/>')), 200);
    assert.equal(
      await notify({ 'Subscription-State': 'something-new' }, Buffer.from('new')),
      200,
      'an unknown state counts as active',
    );
    assert.deepEqual(bodies, ['<p/>', 'new']);
  });

  it('stops without waiting for anybody', async () => {
    const { engine, handler, port } = await start();
    const peer = await peerOf('tcp', port('tcp'));
    handler.answer = () => new Promise(() => {});
    peer.raw(peer.compose('MESSAGE', 'sip:romeo@hub.test'));
    await until(() => handler.requests.length === 1);
    const sending = send(engine, peer.uri('juliet'));
    await peer.nextRequest('MESSAGE');
    const began = Date.now();
    await engine.stop();
    assert.equal((await sending).status, 503);
    assert.ok(Date.now() - began < 1000);
  });
});
