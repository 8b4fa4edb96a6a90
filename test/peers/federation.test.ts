// The hub against a real Prosody and a real ejabberd: three modes, both directions.
import assert from 'node:assert/strict';
import { ns } from '../../src/xmpp/namespaces.ts';
import { createAuthority, selfSigned } from '../support/authority.ts';
import type { Client } from '../support/client.ts';
import { befriend } from '../support/friends.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { recordsOf } from '../support/partners.ts';
import { until } from '../support/until.ts';
import { startZones, type Zones } from '../support/zones.ts';
import { startEjabberd } from './ejabberd.ts';
import { peerClient } from './people.ts';
import type { Peer } from './process.ts';
import { type Mode, type PeerOptions, startProsody } from './prosody.ts';

const patience = 20_000;

const peers: { name: string; address: string; start: (options: PeerOptions) => Promise<Peer> }[] = [
  { name: 'Prosody', address: '127.0.0.3', start: startProsody },
  { name: 'ejabberd', address: '127.0.0.4', start: startEjabberd },
];

const securities: Record<Mode, string> = { plaintext: 'verified', tls: 'encrypted', external: 'trusted' };

for (const { name, address, start } of peers) {
  const domain = `${name.toLowerCase()}.test`;
  for (const mode of ['plaintext', 'tls', 'external'] as const) {
    describe(`${name}, ${mode}`, () => {
      let zones: Zones;
      let hub: TestHub;
      let peer: Peer;
      let romeo: Client;
      let juliet: Client;

      before(async () => {
        const authority = await createAuthority();
        const issue = (names: string[]) =>
          mode === 'tls' ? selfSigned({ names }) : authority.issue({ names, usages: ['serverAuth', 'clientAuth'] });
        zones = await startZones('');
        const own = await issue(['hub.test']);
        hub = await startTestHub('{ hub.test: { certificate: domain.crt, key: domain.key } }', {
          host: '127.0.0.2',
          files: { 'ca.crt': authority.certificate, 'domain.crt': own.certificate, 'domain.key': own.key },
          yaml: `tls: { trust: [ca.crt] }
dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
federation: { security: ${securities[mode]}, queue: { wait: 5s } }`,
        });
        zones.set(`${recordsOf('hub.test', hub, '127.0.0.2')}
_xmpp-server._tcp.${domain} 60 IN SRV 5 1 5269 xmpp.${domain}
xmpp.${domain} 60 IN A ${address}
${domain} 60 IN A ${address}`);
        peer = await start({
          address,
          domain,
          mode,
          dns: zones.server,
          hosts: '127.0.0.2 xmpp.hub.test hub.test',
          authority: authority.certificate,
          certificate: await issue([domain]),
        });
        romeo = await hub.client('romeo@hub.test');
        juliet = await peerClient(peer, 'juliet');
      });

      after(async () => {
        await peer?.stop();
        await hub?.close();
        await zones?.close();
      });

      it('carries messages both ways, long unicode ones too', async () => {
        await romeo.sends(`<message to='${juliet.jid}' type='chat'><body>from the hub</body></message>`);
        await juliet.hears('from the hub', patience);
        await juliet.sends(`<message to='${romeo.jid}' type='chat'><body>to the hub</body></message>`);
        await romeo.hears('to the hub', patience);
        const long = 'Ünïcödé 爱 😀 '.repeat(800);
        await romeo.sends(`<message to='${juliet.jid}' type='chat'><body>${long}</body></message>`);
        await juliet.hears(long, patience);
        await juliet.sends(`<message to='romeo@hub.test' type='chat'><body>${long}</body></message>`);
        await romeo.hears(long, patience);
      });

      it('has made the links as this mode asks', () => {
        for (const link of hub.links.list()) {
          assert.equal(
            link.security,
            { plaintext: 'plain', tls: 'TLS', external: 'TLS, valid certificate' }[mode],
            JSON.stringify(link),
          );
          assert.equal(link.proof, mode === 'external' ? 'external' : 'dialback', JSON.stringify(link));
        }
        assert.equal(hub.links.list().length, 2);
      });

      it('carries a subscription and presence both ways', async () => {
        for (const [one, other, contact] of [
          [romeo, juliet, `juliet@${domain}`],
          [juliet, romeo, 'romeo@hub.test'],
        ] as const) {
          await one.sends(`<presence to='${contact}' type='subscribe'/>`);
          await other.receives(e => e.attrs.type === 'subscribe', patience);
          await other.sends(`<presence to='${one.options.jid}' type='subscribed'/>`);
          await one.receives(e => e.name === 'presence' && e.attrs.from === other.jid && !e.attrs.type, patience);
        }
        await romeo.sends('<presence><show>xa</show></presence>');
        await juliet.receives(e => e.attrs.from === romeo.jid && e.childText('show') === 'xa', patience);
        await juliet.sends('<presence><show>dnd</show></presence>');
        await romeo.receives(e => e.attrs.from === juliet.jid && e.childText('show') === 'dnd', patience);
      });

      it('ends subscriptions with the removal of a contact, on both sides, whoever removes it', async () => {
        const roster = (inner = '') => `<query xmlns='${ns.roster}'>${inner}</query>`;
        const stateOf = async (client: Client, contact: string) => {
          const items = (await client.asks('get', roster())).child('query', ns.roster)?.all('item') ?? [];
          return items.find(({ attrs }) => attrs.jid === contact)?.attrs.subscription;
        };
        for (const [one, other] of [
          [romeo, juliet],
          [juliet, romeo],
        ]) {
          const [own, contact] = [one.options.jid, other.options.jid];
          await until(async () => (await stateOf(one, contact)) === 'both' && (await stateOf(other, own)) === 'both');
          await one.asks('set', roster(`<item jid='${contact}' subscription='remove'/>`));
          for (const type of ['unsubscribe', 'unsubscribed']) {
            await other.receives(e => e.name === 'presence' && e.attrs.type === type && e.attrs.from === own, patience);
          }
          // Prosody says so of the whole account.
          await one.receives(e => e.attrs.type === 'unavailable' && e.attrs.from.startsWith(contact), patience);
          await until(async () => (await stateOf(other, own)) === 'none');
          if (one === juliet) break;
          await befriend(one, other);
        }
      });

      it('keeps a request for somebody away until it is answered', async () => {
        await hub.accounts.add('nurse@hub.test', 'a password for tests');
        await juliet.sends(`<presence to='nurse@hub.test' type='subscribe'><status>it is me</status></presence>`);
        await juliet.asks('get', `<ping xmlns='${ns.ping}'/>`, 'hub.test');
        for (let login = 0; login < 2; login++) {
          const nurse = await hub.client('nurse@hub.test');
          const request = await nurse.receives(e => e.attrs.type === 'subscribe', patience);
          assert.deepEqual([request.attrs.from, request.childText('status')], [`juliet@${domain}`, 'it is me']);
          if (login === 1) {
            await nurse.sends(`<presence to='juliet@${domain}' type='subscribed'/>`);
            await juliet.receives(e => e.name === 'presence' && e.attrs.from === nurse.jid && !e.attrs.type, patience);
          }
          await nurse.close();
          if (login === 1) await juliet.receives(e => e.attrs.type === 'unavailable' && e.attrs.from === nurse.jid);
        }
      });

      it('takes back presence that was sent to somebody', async () => {
        for (const [one, other] of [
          [romeo, juliet],
          [juliet, romeo],
        ]) {
          const stranger = await (one === romeo ? hub.client('tybalt@hub.test') : peerClient(peer, 'nurse'));
          await stranger.sends(`<presence to='${other.jid}'><show>away</show></presence>`);
          await other.receives(e => e.attrs.from === stranger.jid && e.childText('show') === 'away', patience);
          await stranger.close();
          await other.receives(e => e.attrs.from === stranger.jid && e.attrs.type === 'unavailable', patience);
        }
      });

      it('pings and discovers both ways', async () => {
        for (const [client, other] of [
          [romeo, domain],
          [juliet, 'hub.test'],
        ] as const) {
          assert.equal((await client.asks('get', `<ping xmlns='${ns.ping}'/>`, other)).attrs.type, 'result');
          const info = await client.asks('get', `<query xmlns='${ns.discoInfo}'/>`, other);
          assert.ok(
            info
              .child('query', ns.discoInfo)
              ?.all('identity')
              .some(({ attrs }) => attrs.category === 'server'),
          );
        }
      });

      it('returns messages to nobody, and to a domain that is not there', async () => {
        await romeo.sends(`<message to='nobody@${domain}' type='chat' id='n1'><body>?</body></message>`);
        await romeo.receives(e => e.attrs.id === 'n1' && e.attrs.type === 'error', patience);
        await juliet.sends(`<message to='nobody@hub.test' type='chat' id='n2'><body>?</body></message>`);
        await juliet.receives(e => e.attrs.id === 'n2' && e.attrs.type === 'error', patience);
        await romeo.sends(`<message to='a@nowhere.test' type='chat' id='n3'><body>?</body></message>`);
        await romeo.receives(e => e.attrs.id === 'n3' && e.attrs.type === 'error', patience);
      });
    });
  }
}
