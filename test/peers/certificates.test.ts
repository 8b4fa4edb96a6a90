// Every certificate of the matrix, shown by the hub to real peers and by real peers to the hub.
import assert from 'node:assert/strict';
import { type Authority, createAuthority, type Issued, type Wanted } from '../support/authority.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { recordsOf } from '../support/partners.ts';
import { startZones, type Zones } from '../support/zones.ts';
import { startEjabberd } from './ejabberd.ts';
import { peerClient } from './people.ts';
import type { Peer } from './process.ts';
import { startProsody } from './prosody.ts';

const day = 86_400_000;

/** What the hub makes of a certificate, and what each peer does (as measured, notes in docs/federation.md). */
const matrix: {
  name: string;
  wanted: (domain: string) => Wanted;
  hub: boolean;
  prosody: boolean;
  ejabberd: boolean;
  stranger?: boolean;
}[] = [
  {
    name: 'for servers and clients',
    wanted: d => ({ names: [d], usages: ['serverAuth', 'clientAuth'] }),
    hub: true,
    prosody: true,
    ejabberd: true,
  },
  {
    name: 'for servers only',
    wanted: d => ({ names: [d], usages: ['serverAuth'] }),
    hub: true,
    prosody: true,
    ejabberd: false,
  },
  {
    name: 'with a wildcard',
    wanted: d => ({ names: [`*.${d.split('.').slice(1).join('.')}`] }),
    hub: true,
    prosody: true,
    ejabberd: true,
  },
  {
    name: 'with an SRVName only',
    wanted: d => ({ srvNames: [`_xmpp-server.${d}`] }),
    hub: true,
    prosody: true,
    ejabberd: false,
  },
  { name: 'with an xmppAddr only', wanted: d => ({ xmppAddrs: [d] }), hub: true, prosody: false, ejabberd: false },
  { name: 'for another name', wanted: () => ({ names: ['other.test'] }), hub: false, prosody: false, ejabberd: false },
  {
    name: 'that has expired',
    wanted: d => ({ names: [d], notBefore: new Date(Date.now() - 9 * day), notAfter: new Date(Date.now() - day) }),
    hub: false,
    prosody: false,
    ejabberd: false,
  },
  {
    name: 'of an unknown authority',
    wanted: d => ({ names: [d] }),
    hub: false,
    prosody: false,
    ejabberd: false,
    stranger: true,
  },
];

const peers = [
  { name: 'prosody' as const, address: '127.0.0.3', start: startProsody },
  { name: 'ejabberd' as const, address: '127.0.0.4', start: startEjabberd },
];

for (const { name, address, start } of peers) {
  describe(`certificates and ${name}`, () => {
    const domain = `peer.${name}.test`;
    const local = 'hub.isthmus.test';
    let authority: Authority;
    let stranger: Authority;
    let zones: Zones;

    before(async () => {
      authority = await createAuthority();
      stranger = await createAuthority('Stranger');
      zones = await startZones('');
    });
    after(() => zones.close());

    const issue = (row: (typeof matrix)[number], of: string): Promise<Issued> =>
      (row.stranger ? stranger : authority).issue(row.wanted(of));

    const startHub = async (own: Issued): Promise<TestHub> => {
      const hub = await startTestHub(`{ ${local}: { certificate: domain.crt, key: domain.key } }`, {
        host: '127.0.0.2',
        files: { 'ca.crt': authority.certificate, 'domain.crt': own.certificate, 'domain.key': own.key },
        yaml: `tls: { trust: [ca.crt] }
dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
federation: { security: trusted, queue: { wait: 1s } }`,
      });
      zones.set(`${recordsOf(local, hub, '127.0.0.2')}
_xmpp-server._tcp.${domain} 60 IN SRV 5 1 5269 xmpp.${domain}
xmpp.${domain} 60 IN A ${address}`);
      return hub;
    };

    const startPeer = (certificate: Issued): Promise<Peer> =>
      start({
        address,
        domain,
        mode: 'external',
        dns: zones.server,
        hosts: `127.0.0.2 xmpp.${local}`,
        authority: authority.certificate,
        certificate,
      });

    /** Whether a message of one reaches the other, rather than coming back as an error. */
    const reaches = async (from: Client, to: Client): Promise<boolean> => {
      const id = `m${Math.random()}`;
      await from.sends(`<message to='${to.options.jid}' id='${id}' type='chat'><body>${id}</body></message>`);
      const arrived = to.hears(id, 30_000).then(() => true);
      const returned = from.receives(e => e.attrs.id === id && e.attrs.type === 'error', 30_000).then(() => false);
      const outcome = await Promise.any([arrived, returned]);
      await Promise.allSettled([arrived, returned].map(one => Promise.race([one, Promise.resolve()])));
      return outcome;
    };

    describe('the hub shows', () => {
      let peer: Peer;
      before(async () => {
        peer = await startPeer(await authority.issue({ names: [domain], usages: ['serverAuth', 'clientAuth'] }));
      });
      after(() => peer.stop());

      for (const row of matrix) {
        it(`one ${row.name}: ${row[name] ? 'accepted' : 'refused'}`, async () => {
          const hub = await startHub(await issue(row, local));
          try {
            const romeo = await hub.client(`romeo@${local}`);
            const juliet = await peerClient(peer, 'juliet');
            assert.equal(await reaches(romeo, juliet), row[name]);
            juliet.drop();
          } finally {
            await hub.close();
          }
        });
      }
    });

    describe('the hub is shown', () => {
      let hub: TestHub;
      before(async () => {
        hub = await startHub(await authority.issue({ names: [local], usages: ['serverAuth', 'clientAuth'] }));
      });
      after(() => hub.close());

      for (const row of matrix) {
        it(`one ${row.name}: ${row.hub ? 'accepted' : 'refused'}`, async () => {
          const peer = await startPeer(await issue(row, domain));
          try {
            const romeo = await hub.client(`romeo@${local}`);
            const juliet = await peerClient(peer, 'juliet');
            assert.equal(await reaches(romeo, juliet), row.hub);
            assert.equal(await reaches(juliet, romeo), row.hub);
            romeo.drop();
          } finally {
            hub.links.close(domain);
            await peer.stop();
          }
        });
      }
    });
  });
}
