// The embedded engine passes the engine suite on each transport, and knows its peers by their certificates.
import { strict as assert } from 'node:assert';
import { createEmbedded } from '../../../src/bridges/sip/embedded.ts';
import { transportTimes } from '../../../src/bridges/sip/transports.ts';
import { engineConfig, enginePort, RecordingHandler } from '../../support/sip-engine.ts';
import { SipPeer } from '../../support/sip-peer.ts';
import { createSipTls, type SipTls } from '../../support/sip-tls.ts';
import { engineSuite, type Subject } from './suite.ts';

let tls: SipTls;

const start = async (handler: RecordingHandler, yaml: string, silence: number): Promise<Subject> => {
  const port = enginePort({ trust: [tls.ca] });
  const listen = ['udp', 'tcp', 'tls', 'ws'].map(protocol => `"${protocol}:127.0.0.1:0"`);
  const t1 = silence / 64;
  const config = engineConfig(`domains: [sip.test]\nlisten: [${listen}]\n${tls.yaml}\n${yaml}`);
  const engine = createEmbedded(config, port, {
    transactions: { t1, t2: 8 * t1, t4: 10 * t1 },
    transports: transportTimes,
    handler: 5000,
  });
  await engine.start(handler);
  return {
    engine,
    port: protocol =>
      Number(
        engine.addresses
          .find(address => address.startsWith(`${protocol}:`))!
          .split(':')
          .at(-1),
      ),
    peer: await tls.peer('sip.test', '127.0.0.1'),
    async close() {
      await engine.stop();
      port.close();
    },
  };
};

before(async () => {
  tls = await createSipTls();
});

after(() => tls.remove());

engineSuite('The embedded SIP engine', start, ['udp', 'tcp', 'tls', 'ws']);

describe('The embedded SIP engine and certificates', () => {
  const closers: (() => Promise<void>)[] = [];
  const peerWith = async (...names: string[]): Promise<SipPeer> => {
    const peer = await SipPeer.open('tls', await tls.peer(...names));
    closers.push(() => peer.close());
    peer.onRequest = heard => heard.reply(peer.answer(heard, 200));
    return peer;
  };
  const startWith = async (yaml: string): Promise<Subject & { handler: RecordingHandler }> => {
    const handler = new RecordingHandler();
    const subject = await start(handler, yaml, 3200);
    closers.push(() => subject.close());
    return { ...subject, handler };
  };

  afterEach(async () => {
    for (const close of closers.splice(0).reverse()) await close();
  });

  it('says nothing to a peer whose certificate is for somebody else', async () => {
    const [right, wrong] = [await peerWith('sip.test'), await peerWith('evil.test', '*.test')];
    const hop = (peer: SipPeer) => `"sip:127.0.0.1:${peer.port};transport=tls"`;
    const { engine } = await startWith(`routes: { sip.test: ${hop(right)}, bank.test: ${hop(wrong)} }`);
    const send = (uri: string) => engine.send({ method: 'MESSAGE', uri, from: 'sip:romeo@hub.test' });
    assert.equal((await send('sip:juliet@sip.test')).status, 200);
    const refused = await send('sip:juliet@bank.test');
    assert.deepEqual([refused.status, refused.local, wrong.heard.length], [503, true, 0]);
    assert.match(refused.reason, /certificate is for evil\.test/);
  });

  it('lets a peer speak for the domain in its certificate, without digest', async () => {
    const { port, handler } = await startWith('accept-from: ["192.0.2.1"]');
    const peer = await peerWith('sip.test');
    await peer.connect(port('tls'));
    assert.equal((await peer.request('MESSAGE', 'sip:romeo@hub.test')).status, 200);
    assert.deepEqual(handler.requests[0].source.certificateNames, ['sip.test']);
    assert.equal(
      (await peer.request('MESSAGE', 'sip:romeo@hub.test', { From: '<sip:a@bank.test>;tag=1' })).status,
      403,
    );
  });

  it('believes no certificate of an authority that it does not know', async () => {
    const { port, handler } = await startWith('');
    const stranger = await createSipTls();
    const own = (await stranger.peer('sip.test')).tls!;
    stranger.remove();
    const peer = await SipPeer.open('tls', { tls: { ...own, ca: tls.authority.certificate } });
    closers.push(() => peer.close());
    await peer.connect(port('tls'));
    assert.equal((await peer.request('MESSAGE', 'sip:romeo@hub.test')).status, 200);
    assert.deepEqual(handler.requests[0].source.certificateNames, []);
  });

  it('speaks for each domain on a connection whose certificate is for it, though they share an address', async () => {
    const shared = await peerWith('sip.test');
    const hop = `"sip:127.0.0.1:${shared.port};transport=tls"`;
    const { engine } = await startWith(`routes: { sip.test: ${hop}, bank.test: ${hop} }`);
    const send = (uri: string) => engine.send({ method: 'MESSAGE', uri, from: 'sip:romeo@hub.test' });
    assert.equal((await send('sip:juliet@sip.test')).status, 200);
    assert.deepEqual([(await send('sip:juliet@bank.test')).status, shared.heard.length], [503, 1]);
  });
});
