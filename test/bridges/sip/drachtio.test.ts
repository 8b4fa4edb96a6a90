// The drachtio engine passes the engine suite against a stand-in for drachtio-server, and goes to the next server when one is lost.
import { strict as assert } from 'node:assert';
import { createDrachtio } from '../../../src/bridges/sip/drachtio.ts';
import type { Engine, SubscriptionEnd } from '../../../src/bridges/sip/engine.ts';
import { type StandIn, startDrachtio } from '../../support/drachtio-standin.ts';
import { engineConfig, enginePort, RecordingHandler, until } from '../../support/sip-engine.ts';
import { SipPeer } from '../../support/sip-peer.ts';
import { engineSuite } from './suite.ts';

async function startEngine(
  handler: RecordingHandler,
  servers: StandIn[],
  yaml = '',
  silence = 3200,
): Promise<{ engine: Engine; close(): Promise<void> }> {
  const port = enginePort();
  const hosts = servers.map(server => `"127.0.0.1:${server.port}"`);
  const config = engineConfig(
    `domains: [sip.test]\nengine: drachtio\ndrachtio: { host: [${hosts}], secret: cymru }\n${yaml}`,
  );
  const t1 = silence / 64;
  const engine = createDrachtio(config, port, {
    transactions: { t1, t2: 8 * t1, t4: 10 * t1 },
    handler: 5000,
    server: 500,
  });
  await engine.start(handler);
  return {
    engine,
    async close() {
      await engine.stop();
      port.close();
    },
  };
}

engineSuite(
  'The drachtio SIP engine',
  async (handler, yaml, silence) => {
    const server = await startDrachtio('cymru');
    const { engine, close } = await startEngine(handler, [server], yaml, silence);
    return {
      engine,
      behindEdge: true,
      port: protocol => server.sipPort(protocol),
      async close() {
        await close();
        await server.close();
      },
    };
  },
  ['udp', 'tcp'],
);

describe('The drachtio SIP engine and its servers', () => {
  const closers: (() => Promise<void>)[] = [];
  const serverOf = async (): Promise<StandIn> => {
    const server = await startDrachtio('cymru');
    closers.push(() => server.close());
    return server;
  };
  const engineOf = async (servers: StandIn[]): Promise<{ engine: Engine; handler: RecordingHandler }> => {
    const handler = new RecordingHandler();
    const { engine, close } = await startEngine(handler, servers);
    closers.push(close);
    return { engine, handler };
  };
  const peerOf = async (): Promise<SipPeer> => {
    const peer = await SipPeer.open('tcp');
    closers.push(() => peer.close());
    return peer;
  };

  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  it('sends through the next server when one is lost, and ends what the lost one held', async () => {
    const [first, second, peer] = [await serverOf(), await serverOf(), await peerOf()];
    const { engine, handler } = await engineOf([first, second]);
    await until(() => (engine.show().drachtio as string[]).every(line => line.endsWith(' connected')));
    peer.onRequest = heard =>
      heard.reply(peer.answer(heard, 200, { Expires: '600', Contact: `<${peer.uri('juliet')}>` }));
    const send = () => engine.send({ method: 'MESSAGE', uri: peer.uri('juliet'), from: 'sip:romeo@hub.test' });
    assert.equal((await send()).status, 200);
    assert.deepEqual([first.sent, second.sent], [1, 0]);
    const ends: SubscriptionEnd[] = [];
    let told = 0;
    const wish = {
      uri: peer.uri('juliet'),
      from: 'sip:romeo@hub.test',
      event: 'presence',
      accept: ['application/pidf+xml'],
      expires: 600,
    };
    engine.subscribe(wish, { notify: () => told++, ended: end => ends.push(end) });
    const { message } = await peer.nextRequest('SUBSCRIBE');
    await peer.connect(first.sipPort('tcp'));
    const dialog = {
      From: `${message.header('to')};tag=peer-${peer.port}`,
      To: message.header('from'),
      'Call-ID': message.callId,
    };
    const contact = /<(.*)>/.exec(message.header('contact')!)![1];
    const notified = await peer.request('NOTIFY', contact, {
      ...dialog,
      Event: 'presence',
      'Subscription-State': 'active;expires=600',
    });
    assert.deepEqual([notified.status, told], [200, 1]);
    await first.die();
    await until(() => ends.length === 1);
    assert.equal(ends[0].kind, 'lost');
    assert.equal((await send()).status, 200);
    assert.equal(second.sent, 1);
    const other = await peerOf();
    await other.connect(second.sipPort('tcp'));
    assert.equal((await other.request('MESSAGE', 'sip:romeo@hub.test')).status, 200);
    assert.equal(handler.requests.length, 1);
  });

  it('starts without a server, and says what it cannot do', async () => {
    const server = await serverOf();
    await server.die();
    const { engine } = await engineOf([server]);
    const answer = await engine.send({ method: 'MESSAGE', uri: 'sip:juliet@sip.test', from: 'sip:romeo@hub.test' });
    assert.deepEqual([answer.status, answer.local], [503, true]);
    assert.match(answer.reason, /no drachtio-server is connected/);
  });

  it('refuses to carry what is not text', async () => {
    const { engine } = await engineOf([await serverOf()]);
    const body = Buffer.from([0xff, 0xfe]);
    const answer = await engine.send({
      method: 'MESSAGE',
      uri: 'sip:juliet@127.0.0.1:9',
      from: 'sip:romeo@hub.test',
      body,
    });
    assert.deepEqual([answer.status, answer.local], [503, true]);
  });
});
