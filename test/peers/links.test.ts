// The links to a real Prosody and a real ejabberd, and what may happen to them.
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:net';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from '../support/client.ts';
import { recordsOf } from '../support/partners.ts';
import { startProxy, type TcpProxy } from '../support/proxy.ts';
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

for (const [maker, proof] of [
  ['hub', 'external'],
  ['prosody', 'external'],
  ['hub', 'dialback'],
  ['prosody', 'dialback'],
] as const) {
  describe(`prosody: both ways on a stream that ${maker} makes, proved by ${proof}`, () => {
    // To verify our key, Prosody connects to us, and from then on sends over that stream as well.
    const verifying = proof === 'dialback' ? [false] : [];
    let meeting: Meeting;
    before(async () => {
      meeting = await startMeeting('prosody', {
        peer: { modules: ['s2s_bidi', 'smacks'] },
        selfSigned: proof === 'dialback',
      });
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
      assert.equal(out.stanzasOut, maker === 'hub' ? 11 : 10);
      for (const link of hub.links.list()) assert.equal(link.proof, proof);
      assert.deepEqual(
        hub.links.inbound.map(({ stream }) => out.carriedBy(stream)),
        maker === 'prosody' ? [true] : verifying,
      );
    });

    it('is made anew once it was closed, and what it carried is not sent again', async () => {
      const { hub, romeo, juliet } = meeting;
      hub.links.close('prosody.test');
      await until(() => hub.links.list().length === 0);
      const [first, second] = maker === 'hub' ? [juliet, romeo] : [romeo, juliet];
      await says(first, second);
      await says(second, first);
      assert.equal(hub.links.inbound.length, maker === 'hub' ? 1 : verifying.length);
      for (const client of [romeo, juliet])
        assert.deepEqual(client.inbox.filter(e => e.name === 'message').map(String), []);
    });
  });
}

const sent = 300;

/** Sends numbered messages from both to the other, and cuts the lines twice on the way. */
async function burst(romeo: Client, juliet: Client, cut: () => void): Promise<void> {
  const send = async (from: Client, to: Client): Promise<void> => {
    for (let i = 0; i < sent; i++) {
      await from.sends(`<message to='${to.jid}' id='n${i}' type='chat'><body>n${i}</body></message>`);
      if (i % 20 === 19) await from.asks('get', `<ping xmlns='${ns.ping}'/>`, from.options.jid.split('@')[1]);
      if (from === romeo && (i === 100 || i === 200)) cut();
    }
  };
  await Promise.all([send(romeo, juliet), send(juliet, romeo)]);
}

/** The numbers that came to `to`, and those that came back to `from` as errors. */
function outcome(from: Client, to: Client): { arrived: string[]; returned: string[] } {
  const numbers = (client: Client, test: (type: string) => boolean) =>
    client.inbox
      .filter(e => e.name === 'message' && /^n\d+$/.test(e.attrs.id ?? '') && test(e.attrs.type))
      .map(e => e.attrs.id);
  return { arrived: numbers(to, type => type === 'chat'), returned: numbers(from, type => type === 'error') };
}

for (const bidi of [false, true]) {
  for (const maker of ['hub', 'prosody'] as const) {
    describe(`prosody: a managed line that is cut, ${bidi ? 'both ways on a stream' : 'streams'} that ${maker} makes${bidi ? '' : ' first'}`, () => {
      let meeting: Meeting;
      let lines: TcpProxy[];
      before(async () => {
        meeting = await startMeeting('prosody', {
          peer: {
            modules: bidi ? ['smacks', 's2s_bidi'] : ['smacks'],
            more: 'smacks_enabled_s2s = true',
          },
          zone: async (hub, domain, address) => {
            lines = [await startProxy({ host: address, port: 5269 }), await startProxy(hub.listening.s2s[0])];
            return `_xmpp-server._tcp.${domain} 60 IN SRV 5 1 ${lines[0].address.port} xmpp.${domain}
xmpp.${domain} 60 IN A 127.0.0.1
_xmpp-server._tcp.hub.test 60 IN SRV 5 1 ${lines[1].address.port} xmpp.hub.test
xmpp.hub.test 60 IN A 127.0.0.1`;
          },
        });
      });
      after(async () => {
        await meeting?.stop();
        for (const line of lines) await line.close();
      });

      // Prosody 0.12 counts on server streams, but resumes none: what was on its way when the line broke is returned
      // to its sender, by either side, and sent no second time.
      it('doubles nothing, and loses nothing without a word', async () => {
        const { hub, romeo, juliet } = meeting;
        const [first, second] = maker === 'hub' ? [romeo, juliet] : [juliet, romeo];
        await says(first, second);
        await says(second, first);
        await until(() => hub.links.list().every(({ managed }) => managed));
        const before = hub.links.list().map(({ direction }) => direction);
        assert.deepEqual(before, bidi ? (maker === 'hub' ? ['out'] : ['out', 'in']) : ['out', 'in']);
        let cuts = 0;
        await burst(romeo, juliet, () => {
          cuts += lines.reduce((sum, line) => sum + line.open, 0);
          for (const line of lines) line.cut();
        });
        assert.ok(cuts >= 1, 'there was a line to cut');
        for (const [from, to] of [
          [romeo, juliet],
          [juliet, romeo],
        ]) {
          const found = () => outcome(from, to);
          const known = () => new Set([...found().arrived, ...found().returned]);
          await until(() => known().size === sent, 15_000);
          await says(from, to);
          const { arrived, returned } = found();
          assert.equal(new Set(arrived).size, arrived.length, 'nothing arrived twice');
          assert.equal(new Set(returned).size, returned.length, 'nothing came back twice');
          assert.ok(arrived.length > sent / 3, `${arrived.length} arrived`);
        }
        for (const error of romeo.inbox.filter(e => e.attrs.type === 'error')) {
          assert.match(error.child('error')?.childText('text', ns.stanzaErrors) ?? '', /may have arrived/);
        }
      });
    });
  }
}

for (const name of ['prosody', 'ejabberd'] as const) {
  describe(`${name}: denied and allowed at run time`, () => {
    const domain = `${name}.test`;
    let meeting: Meeting;
    before(async () => {
      meeting = await startMeeting(name);
    });
    after(() => meeting?.stop());

    it('closes what is open, and tells the peer why', async () => {
      const { hub, peer, romeo, juliet } = meeting;
      await says(romeo, juliet);
      await says(juliet, romeo);
      assert.equal(hub.links.list().length, 2);
      await hub.links.setAllowed(domain, false);
      await until(() => hub.links.list().length === 0);
      await until(() => /policy-violation/.test(peer.log()), 5_000);
    });

    it('refuses both directions', async () => {
      const { hub, romeo, juliet } = meeting;
      await romeo.sends(`<message to='${juliet.jid}' id='d1' type='chat'><body>?</body></message>`);
      const refused = await romeo.receives(e => e.attrs.id === 'd1');
      assert.ok(refused.child('error')?.child('not-allowed', ns.stanzaErrors), String(refused));
      await juliet.sends(`<message to='${romeo.jid}' id='d2' type='chat'><body>?</body></message>`);
      const returned = await juliet.receives(e => e.attrs.id === 'd2', 20_000);
      assert.equal(returned.attrs.type, 'error');
      const shown = hub.links.show(domain);
      assert.match(String(returned), /denied by an operator/, 'the peer passes on what we told it');
      assert.match(JSON.stringify(shown.stories), /refused: policy-violation/);
      assert.match(String(shown.changed), /^denied at run time/);
      await romeo.hasNot(e => e.attrs.id === 'd2');
    });

    it('lets both through again', async () => {
      const { hub, romeo, juliet } = meeting;
      await hub.links.setAllowed(domain, true);
      await says(romeo, juliet);
      // A peer that was refused may bounce for a moment before it tries again.
      await until(async () => {
        const id = `d${Math.random()}`;
        await juliet.sends(`<message to='${romeo.jid}' id='${id}' type='chat'><body>${id}</body></message>`);
        const first = await Promise.any([
          romeo.hears(id, 4_000),
          juliet.receives(e => e.attrs.id === id && e.attrs.type === 'error', 4_000),
        ]);
        return first.attrs.type === 'chat';
      }, 10_000);
    });
  });

  describe(`${name}: several targets`, () => {
    const domain = `${name}.test`;
    let meeting: Meeting;
    let line: TcpProxy;
    let silent: Server;
    before(async () => {
      silent = createServer(socket => socket.on('error', () => {})).listen(0, '127.0.0.1');
      meeting = await startMeeting(name, {
        federation: 'connect-timeout: 1s, queue: { wait: 15s }',
        zone: async (hub, _, address) => {
          line = await startProxy({ host: address, port: 5269 });
          const dead = await startProxy({ host: address, port: 5269 });
          await dead.close();
          const hole = (silent.address() as { port: number }).port;
          return `_xmpp-server._tcp.${domain} 60 IN SRV 1 1 ${dead.address.port} dead.${domain}
_xmpp-server._tcp.${domain} 60 IN SRV 2 1 ${hole} hole.${domain}
_xmpp-server._tcp.${domain} 60 IN SRV 3 1 ${line.address.port} line.${domain}
_xmpp-server._tcp.${domain} 60 IN SRV 4 1 5269 xmpp.${domain}
dead.${domain} 60 IN A 127.0.0.1
hole.${domain} 60 IN A 127.0.0.1
line.${domain} 60 IN A 127.0.0.1
xmpp.${domain} 60 IN A ${address}
${recordsOf('hub.test', hub, hubHost)}`;
        },
      });
    });
    after(async () => {
      await meeting?.stop();
      await line.close();
      silent.close();
    });

    it('passes by one that is dead and one that never answers', async () => {
      const { hub, romeo, juliet } = meeting;
      await says(romeo, juliet);
      const story = hub.links.outbound[0].story.lines.join('\n');

      assert.match(story, /dead\.\w+\.test:\d+ \(starttls\).*\n.*refused/);
      assert.match(story, /hole\.\w+\.test:\d+ \(starttls\).*\n.*connected.*\n.*in time/);
      assert.match(story, /line\.\w+\.test:\d+ \(starttls\).*\n.*connected/);
    });

    it('goes on with the next when the one in use dies', async () => {
      const { hub, romeo, juliet } = meeting;
      await line.close();
      const began = performance.now();
      await says(romeo, juliet);
      assert.ok(performance.now() - began < 3_000);
      const [link] = hub.links.outbound;
      assert.equal(link.stream?.socket.remotePort, 5269);
    });
  });
}
