// What two hubs do with the links between them: direct TLS, both ways on one stream, streams that are lost and resumed, other targets.
import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from '../support/client.ts';
import { type Partners, recordsOf, startPartners } from '../support/partners.ts';
import { startProxy, type TcpProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';

async function pair(partners: Partners): Promise<[Client, Client]> {
  return [await partners.capulet.client('juliet@capulet.test'), await partners.montague.client('romeo@montague.test')];
}

async function says(from: Client, to: Client, body: string): Promise<void> {
  await from.sends(`<message to='${to.jid}' type='chat'><body>${body}</body></message>`);
  await to.hears(body);
}

describe('links: direct TLS', () => {
  let partners: Partners;
  before(async () => {
    const hub = { listen: { 's2s-tls': '127.0.0.1:0' } };
    partners = await startPartners({
      yaml: 'federation: { security: trusted }',
      capulet: { hub, yaml: 'federation: { security: trusted }' },
      montague: { hub, yaml: 'federation: { security: trusted }' },
    });
  });
  after(() => partners.close());

  it('is taken where DNS offers it, and proves both sides', async () => {
    const [juliet, romeo] = await pair(partners);
    await says(juliet, romeo, 'hello');
    await says(romeo, juliet, 'hello too');
    const story = JSON.stringify(partners.capulet.links.show('montague.test').stories);
    assert.match(story, /\(direct\)/);
    for (const link of partners.capulet.links.list()) assert.equal(link.proof, 'external');
  });
});

describe('links: both ways on one stream', () => {
  let partners: Partners;
  before(async () => {
    partners = await startPartners({ yaml: 'federation: { security: trusted }' });
  });
  after(() => partners.close());

  it('needs one stream for both', async () => {
    const [juliet, romeo] = await pair(partners);
    await says(juliet, romeo, 'there');
    await says(romeo, juliet, 'and back');
    assert.equal(partners.montague.links.inbound.length, 1);
    assert.equal(partners.capulet.links.inbound.length, 0);
    const [out] = partners.montague.links.list().filter(link => link.direction === 'out');
    assert.equal(out.bidi, true);
    assert.equal(out.managed, true);
  });

  it('goes on over a stream of its own where that one is closed', async () => {
    const [juliet, romeo] = await pair(partners);
    await says(juliet, romeo, 'one');
    partners.capulet.links.close('montague.test');
    await until(() => partners.montague.links.inbound.length === 0);
    await says(romeo, juliet, 'two');
    assert.equal(partners.capulet.links.inbound.length, 1);
  });
});

for (const security of ['trusted', 'encrypted'] as const) {
  describe(`links: a line that is cut, ${security}`, () => {
    let partners: Partners;
    let proxy: TcpProxy;
    before(async () => {
      partners = await startPartners({
        yaml: `federation: { security: ${security} }`,
        ...(security === 'encrypted' ? { capulet: { certificate: null }, montague: { certificate: null } } : {}),
      });
      proxy = await startProxy(partners.montague.listening.s2s[0]);
      partners.zones.set(
        `${recordsOf('capulet.test', partners.capulet)}
_xmpp-server._tcp.montague.test 60 IN SRV 5 1 ${proxy.address.port} xmpp.montague.test
xmpp.montague.test 60 IN A 127.0.0.1`,
      );
    });
    after(async () => {
      await proxy.close();
      await partners.close();
    });

    it('loses nothing and doubles nothing, either way', async () => {
      const [juliet, romeo] = await pair(partners);
      await says(juliet, romeo, 'first');
      await says(romeo, juliet, 'first too');
      const count = 400;
      const send = async (from: Client, to: Client) => {
        for (let i = 0; i < count; i++) {
          if (i === 100 || i === 250) proxy.after(3_000, () => proxy.cut());
          await from.sends(`<message to='${to.jid}' type='chat'><body>n${i}</body></message>`);
          if (i % 50 === 0) await juliet.asks('get', `<ping xmlns='${ns.ping}'/>`, 'capulet.test');
        }
      };
      const bodies = (client: Client) =>
        client.inbox.filter(e => e.name === 'message' && e.attrs.type === 'chat').map(e => e.childText('body'));
      await Promise.all([send(juliet, romeo), send(romeo, juliet)]);
      const wanted = Array.from({ length: count }, (_, i) => `n${i}`);
      for (const client of [romeo, juliet]) {
        await client.waits(() => bodies(client).length >= count, 'all messages', 9_000);
        assert.deepEqual([...bodies(client)].sort(), [...wanted].sort());
        assert.deepEqual(
          client.inbox.filter(e => e.attrs.type === 'error'),
          [],
        );
      }
      assert.ok(proxy.connections >= 2, 'the line was cut');
    });
  });
}

describe('links: targets', () => {
  it('takes the next one where the first does not answer, and leaves that alone for a while', async () => {
    const partners = await startPartners();
    try {
      const dead = await startProxy({ host: '127.0.0.1', port: 9 });
      const { port } = dead.address;
      await dead.close();
      partners.zones.set(
        `_xmpp-server._tcp.montague.test 60 IN SRV 1 1 ${port} xmpp.montague.test
_xmpp-server._tcp.montague.test 60 IN SRV 5 1 ${partners.montague.listening.s2s[0].port} xmpp.montague.test
xmpp.montague.test 60 IN A 127.0.0.1
${recordsOf('capulet.test', partners.capulet)}`,
      );
      const [juliet, romeo] = await pair(partners);
      await says(juliet, romeo, 'around the corner');
      const story = () => JSON.stringify(partners.capulet.links.show('montague.test').stories);
      assert.match(story(), new RegExp(`xmpp.montague.test:${port} .*refused`));
      partners.capulet.links.close('montague.test');
      await until(() => partners.montague.links.inbound.length === 0);
      await says(juliet, romeo, 'again');
      assert.match(story(), /has failed of late, left alone/);
    } finally {
      await partners.close();
    }
  });
});

describe('links: certificates proved otherwise', () => {
  const yaml = 'federation: { security: trusted, queue: { wait: 2s } }';

  it('by DANE, where DNS is validated; and not where it is not', async () => {
    const partners = await startPartners({
      yaml,
      capulet: { yaml, certificate: null },
      montague: { yaml, certificate: null },
    });
    try {
      const tlsa = (domain: 'capulet' | 'montague') => {
        const hub = partners[domain];
        const key = hub.certificates.certificateOf(`${domain}.test`)!;
        const hash = createHash('sha256')
          .update(new X509Certificate(key).publicKey.export({ type: 'spki', format: 'der' }))
          .digest('hex');
        return `_${hub.listening.s2s[0].port}._tcp.xmpp.${domain}.test 60 IN TLSA 3 1 1 ${hash}`;
      };
      partners.zones.set(
        `${recordsOf('capulet.test', partners.capulet)}\n${recordsOf('montague.test', partners.montague)}
${tlsa('capulet')}\n${tlsa('montague')}`,
      );
      const [juliet, romeo] = await pair(partners);
      await juliet.sends(`<message to='${romeo.jid}' id='x1' type='chat'><body>?</body></message>`);
      const error = await juliet.receives(e => e.attrs.id === 'x1');
      assert.match(String(error), /self-signed/);
    } finally {
      await partners.close();
    }
    const validated = await startPartners({
      yaml,
      capulet: { yaml, certificate: null },
      montague: { yaml, certificate: null },
    });
    try {
      validated.zones.validated = true;
      const lines = (['capulet', 'montague'] as const).map(domain => {
        const hub = validated[domain];
        const hash = createHash('sha256')
          .update(hub.certificates.certificateOf(`${domain}.test`)!)
          .digest('hex');
        return `${recordsOf(`${domain}.test`, hub)}\n_${hub.listening.s2s[0].port}._tcp.xmpp.${domain}.test 60 IN TLSA 3 0 1 ${hash}`;
      });
      validated.zones.set(lines.join('\n'));
      const [juliet, romeo] = await pair(validated);
      await says(juliet, romeo, 'proved by DNS');
      const story = JSON.stringify(validated.capulet.links.show('montague.test').stories);
      assert.match(story, /certificate of montague.test: valid \(DANE\)/);
      assert.equal(validated.capulet.links.list()[0].proof, 'external');
    } finally {
      await validated.close();
    }
  });
});

describe('links: POSH', () => {
  let server: Server;
  after(() => server?.close());

  it('takes fingerprints from a document that HTTPS vouches for, through one redirection', async () => {
    const { Posh } = await import('../../src/federation/posh.ts');
    const { createAuthority, selfSigned } = await import('../support/authority.ts');
    const authority = await createAuthority();
    const own = await authority.issue({ names: ['posh.test'] });
    const wanted = new X509Certificate((await selfSigned({ names: ['xmpp.test'] })).certificate);
    const other = new X509Certificate((await selfSigned({ names: ['xmpp.test'] })).certificate);
    const hash = createHash('sha256').update(wanted.raw).digest('base64');
    let asked = 0;
    server = createServer({ cert: own.certificate, key: own.key }, (request, response) => {
      asked++;
      const { port } = server.address() as { port: number };
      if (request.url === '/.well-known/posh/xmpp-server.json') {
        response.end(JSON.stringify({ url: `https://posh.test:${port}/prints`, expires: 60 }));
      } else if (request.url === '/prints') {
        response.end(JSON.stringify({ fingerprints: [{ 'sha-256': hash }], expires: 60 }));
      } else response.writeHead(404).end();
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const resolver = { addresses: async () => [{ address: '127.0.0.1', family: 4 as const }] } as never;
    const posh = new Posh({ resolver, authorities: () => [authority.certificate], port });
    assert.equal(await posh.proves(wanted, 'posh.test'), true);
    assert.equal(await posh.proves(other, 'posh.test'), false);
    assert.equal(asked, 2, 'the document was kept');
    const unknown = new Posh({ resolver, authorities: () => [], port });
    await assert.rejects(unknown.proves(wanted, 'posh.test'));
    await assert.rejects(posh.proves(wanted, 'other.test'), /altnames/i);
  });
});

describe('links: a domain that is throttled', () => {
  it('is read slowly from then on, after a restart as well', async () => {
    const partners = await startPartners();
    try {
      await partners.montague.links.throttle('capulet.test', 16384);
      const [juliet, romeo] = await pair(partners);
      await says(juliet, romeo, 'slow');
      const shown = partners.montague.links.show('capulet.test');
      assert.match(String(shown.rate), /16384 B\/s, set at run time/);
      const began = performance.now();
      const body = 'x'.repeat(8_000);
      // 96 kB, of which 64 are let through at once.
      for (let i = 0; i < 12; i++) await says(juliet, romeo, `${i}${body}`);
      assert.ok(performance.now() - began > 1_000, 'it took its time');
      await partners.montague.links.throttle('capulet.test', null);
      assert.equal(partners.montague.links.show('capulet.test').rate, 'as for all');
    } finally {
      await partners.close();
    }
  });
});

describe('links: reports', () => {
  it('of abuse are counted for the domain they name', async () => {
    const partners = await startPartners();
    try {
      const [juliet] = await pair(partners);
      const answer = await juliet.asks(
        'set',
        `<block xmlns='${ns.blocking}'><item jid='romeo@montague.test'><report xmlns='${ns.reporting}' reason='urn:xmpp:reporting:spam'/></item></block>`,
      );
      assert.equal(answer.attrs.type, 'result');
      assert.equal(partners.capulet.links.show('montague.test').reports, 1);
      const text = await partners.capulet.hub.metrics.text();
      assert.match(text, /isthmus_reports_total\{domain="montague.test",reason="spam"\} 1/);
    } finally {
      await partners.close();
    }
  });
});
