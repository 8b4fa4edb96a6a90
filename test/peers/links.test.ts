// The links to a real Prosody and a real ejabberd, and what may happen to them.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { recordsOf } from '../support/partners.ts';
import { until } from '../support/until.ts';
import { hubHost, type Meeting, type PeerName, peerHosts, says, startMeeting } from './meeting.ts';

/** A server that reads the first bytes of whoever comes, and hangs up. */
async function startEavesdropper(): Promise<{ port: number; heard: () => string; close: () => void }> {
  let heard = '';
  const server: Server = createServer(socket => {
    socket.on('error', () => {});
    socket.once('data', chunk => {
      heard += chunk.toString('latin1');
      socket.destroy();
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  return { port, heard: () => heard, close: () => server.close() };
}

for (const name of ['prosody', 'ejabberd'] as const satisfies PeerName[]) {
  describe(`${name}: direct TLS`, () => {
    let meeting: Meeting;
    let eavesdropper: Awaited<ReturnType<typeof startEavesdropper>>;
    before(async () => {
      eavesdropper = await startEavesdropper();
      meeting = await startMeeting(name, {
        listen: { 's2s-tls': `${hubHost}:0` },
        peer:
          name === 'prosody'
            ? { more: 's2s_direct_tls_ports = { 5270 }' }
            : { listen: `  - { port: 5270, ip: "${peerHosts.ejabberd}", module: ejabberd_s2s_in, tls: true }\n` },
        // Nothing but direct TLS is offered: whoever connects has to take it.
        zone: (hub, domain, address) => `_xmpps-server._tcp.${domain} 60 IN SRV 1 1 ${eavesdropper.port} ear.test
_xmpps-server._tcp.${domain} 60 IN SRV 5 1 5270 xmpp.${domain}
xmpp.${domain} 60 IN A ${address}
ear.test 60 IN A 127.0.0.1
${recordsOf('hub.test', hub, hubHost).replace(/^_xmpp-server.*$/m, '')}`,
      });
    });
    after(async () => {
      await meeting?.stop();
      eavesdropper.close();
    });

    it('goes out, with ALPN', async () => {
      const { hub, romeo, juliet } = meeting;
      await says(romeo, juliet);
      const [link] = hub.links.outbound;
      assert.match(JSON.stringify(link.story.lines), /xmpp\.\w+\.test:5270 \(direct\)/);
      assert.equal(link.proof, 'external');
      // Neither peer answers ALPN, so what we offer is read off the line.
      assert.match(eavesdropper.heard(), /\x0bxmpp-server/);
    });

    it('comes in, with ALPN', async () => {
      const { hub, romeo, juliet } = meeting;
      await says(juliet, romeo);
      const [link] = hub.links.inbound;
      assert.equal(link.stream.socket.localPort, hub.listening['s2s-tls'][0].port);
      assert.equal(link.stream.tls?.alpnProtocol, 'xmpp-server');
      assert.equal(link.proof, 'external');
    });
  });
}

for (const maker of ['hub', 'prosody'] as const) {
  describe(`prosody: both ways on a stream that ${maker} makes`, () => {
    let meeting: Meeting;
    before(async () => {
      meeting = await startMeeting('prosody', { peer: { modules: ['s2s_bidi'] } });
    });
    after(() => meeting?.stop());

    it('needs no other', async () => {
      const { hub, romeo, juliet } = meeting;
      const [first, second] = maker === 'hub' ? [romeo, juliet] : [juliet, romeo];
      await says(first, second);
      for (let i = 0; i < 10; i++) {
        await says(second, first);
        await says(first, second);
      }
      const [out] = hub.links.outbound;
      assert.equal(hub.links.outbound.length, 1);
      assert.equal(out.bidi, true);
      assert.deepEqual(
        hub.links.inbound.map(({ stream }) => out.carriedBy(stream)),
        maker === 'hub' ? [] : [true],
      );
      assert.equal(out.stanzasOut, maker === 'hub' ? 11 : 10);
      assert.equal(hub.links.inbound.length, maker === 'hub' ? 0 : 1);
      for (const link of hub.links.list()) assert.equal(link.proof, 'external');
    });

    it('is made anew once it was closed', async () => {
      const { hub, romeo, juliet } = meeting;
      hub.links.close('prosody.test');
      await until(() => hub.links.list().length === 0);
      const [first, second] = maker === 'hub' ? [juliet, romeo] : [romeo, juliet];
      await says(first, second);
      await says(second, first);
      assert.equal(hub.links.inbound.length, maker === 'hub' ? 1 : 0);
    });
  });
}
