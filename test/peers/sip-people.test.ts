// People on XMPP and a real telephone (baresip) behind a real SIP server (Kamailio): they add each other, see each other, chat.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startHub } from '../../src/composition.ts';
import { parseConfig } from '../../src/hub/config.ts';
import { silentLog } from '../../src/hub/log.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { createAuthority } from '../support/authority.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { recordsOf } from '../support/partners.ts';
import { freePort } from '../support/sip.ts';
import { startZones, type Zones } from '../support/zones.ts';
import { type Baresip, startBaresip } from './baresip.ts';
import { type Kamailio, startKamailio } from './kamailio.ts';
import { peerClient } from './people.ts';
import type { Peer } from './process.ts';
import { startProsody } from './prosody.ts';

const patience = 15_000;
const alice = 'alice@sip.test';
const isAlice = (client: Client, type: string | undefined) =>
  client.receives(
    e => e.name === 'presence' && e.attrs.from.startsWith(`${alice}/`) && e.attrs.type === type,
    patience,
  );

const secret = 'a secret of components';

for (const home of ['the hub', 'Prosody over a server link', 'Prosody by a component'] as const) {
  for (const protocol of ['udp', 'tcp'] as const) {
    describe(`a telephone behind Kamailio, over ${protocol}, and a person on ${home}`, function () {
      this.timeout(60_000);
      let zones: Zones;
      let hub: TestHub;
      let stopHub = async () => {};
      let kamailio: Kamailio;
      let telephone: Baresip;
      let prosody: Peer | null = null;
      let juliet: Client;
      const isLocal = home === 'the hub';
      const address = isLocal ? 'juliet@hub.test' : 'juliet@prosody.test';

      before(async () => {
        zones = await startZones('');
        const authority = await createAuthority();
        const own = await authority.issue({ names: ['hub.test', 'sip.test'], usages: ['serverAuth', 'clientAuth'] });
        const [bridge, server] = [await freePort(), await freePort()];
        const isAttached = home === 'Prosody by a component';
        const bridges = `
tls: { trust: [ca.crt] }
dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
bridges:
  sip:
    kind: sip
    domains: [sip.test]
    listen: ["udp:127.0.0.1:${bridge}", "tcp:127.0.0.1:${bridge}"]
    routes: { sip.test: "sip:127.0.0.1:${server};transport=${protocol}" }
    accept-from: ["127.0.0.1"]
`;
        const attach = `attach: { address: "127.0.0.7:5347", secrets: { sip.test: "${secret}" } }`;
        const files = { 'ca.crt': authority.certificate, 'domain.crt': own.certificate, 'domain.key': own.key };
        if (isAttached) {
          const directory = mkdtempSync(join(tmpdir(), 'isthmus-attached-'));
          writeFileSync(join(directory, 'ca.crt'), authority.certificate);
          const yaml = `data: data\nlisten: {}\n${attach}${bridges}`;
          const attached = await startHub(parseConfig(yaml, join(directory, 'isthmus.yaml')), silentLog());
          stopHub = async () => {
            await attached.stop();
            rmSync(directory, { recursive: true, force: true });
          };
        } else {
          hub = await startTestHub('{ hub.test: { certificate: domain.crt, key: domain.key } }', {
            host: '127.0.0.2',
            files,
            yaml: `federation: { security: encrypted }${bridges}`,
          });
          stopHub = () => hub.close();
        }
        zones.set(
          [
            ...(isAttached ? [] : ['hub.test', 'sip.test'].map(domain => recordsOf(domain, hub, '127.0.0.2'))),
            '_xmpp-server._tcp.prosody.test 60 IN SRV 5 1 5269 xmpp.prosody.test',
            'xmpp.prosody.test 60 IN A 127.0.0.7',
          ].join('\n'),
        );
        kamailio = await startKamailio({
          domain: 'sip.test',
          port: server,
          hub: { host: '127.0.0.1', port: bridge, protocol },
        });
        if (isLocal) {
          juliet = await hub.client(address, { resource: 'balcony' });
        } else {
          const certificate = await authority.issue({ names: ['prosody.test'], usages: ['serverAuth', 'clientAuth'] });
          prosody = await startProsody({
            address: '127.0.0.7',
            domain: 'prosody.test',
            mode: 'tls',
            dns: zones.server,
            authority: authority.certificate,
            certificate,
            more: isAttached
              ? `component_ports = { 5347 }; component_interfaces = { "127.0.0.7" }
Component "sip.test"
  component_secret = "${secret}"`
              : '',
          });
          juliet = await peerClient(prosody, 'juliet');
        }
        await juliet.asks('get', `<query xmlns='${ns.roster}'/>`);
        const proxy = { address: kamailio.address, port: kamailio.port, protocol };
        telephone = await startBaresip({ uri: `sip:${alice}`, proxy, contacts: [`sip:${address}`] });
      });
      after(async () => {
        await telephone?.stop();
        await kamailio?.stop();
        await prosody?.stop();
        await stopHub();
        await zones.close();
      });

      it('asks to see the person, who lets it', async () => {
        await juliet.receives(e => e.attrs.type === 'subscribe' && e.attrs.from === alice, patience);
        await juliet.sends(`<presence to='${alice}' type='subscribed'/>`);
        await telephone.lists(/Online/);
      });

      it('sees the person online, busy and gone', async () => {
        await juliet.sends("<presence type='unavailable'/>");
        await telephone.writes(/changed status from \S*Online\S* to \S*Offline/);
        await juliet.sends('<presence/>');
        await telephone.writes(/changed status from \S*Offline\S* to \S*Online/);
        await juliet.sends('<presence><show>dnd</show></presence>');
        await telephone.writes(/changed status from \S*Online\S* to \S*Busy/);
        await juliet.sends('<presence/>');
        await telephone.writes(/changed status from \S*Busy\S* to \S*Online/);
      });

      it('is added, and seen come and go', async () => {
        await juliet.sends(`<presence to='${alice}' type='subscribe'/>`);
        await juliet.receives(e => e.attrs.type === 'subscribed' && e.attrs.from === alice, patience);
        await isAlice(juliet, undefined);
        telephone.command('presence_offline');
        await isAlice(juliet, 'unavailable');
        telephone.command('presence_online');
        await isAlice(juliet, undefined);
      });

      it('chats in unicode', async () => {
        await juliet.sends(`<message to='${alice}' type='chat' id='m1'><body>Ἔρως 爱 👋🏽 ž</body></message>`);
        await telephone.writes(/sip:juliet@[a-z]+\.test: "Ἔρως 爱 👋🏽 ž"/);
        telephone.command('message', 'Žluťoučký kůň 🐴');
        const heard = await juliet.hears('Žluťoučký kůň 🐴', patience);
        assert.equal(heard.attrs.from, alice);
      });

      it('is told who is not there', async () => {
        await juliet.sends("<message to='nobody@sip.test' type='chat' id='e1'><body>?</body></message>");
        const error = await juliet.receives(e => e.attrs.id === 'e1' && e.attrs.type === 'error', patience);
        assert.ok(error.child('error')?.child('item-not-found', ns.stanzaErrors));
      });

      if (isLocal) {
        it('is kept out by somebody who blocks it', async () => {
          const done = await juliet.asks('set', `<block xmlns='${ns.blocking}'><item jid='${alice}'/></block>`);
          assert.equal(done.attrs.type, 'result', String(done));
          await telephone.writes(/changed status from \S*Online\S* to \S*Offline/);
          telephone.command('message', 'let me in');
          await juliet.hasNot(e => e.childText('body') === 'let me in');
        });
      }
    });
  }
}

describe('a telephone without a SIP server, and a person on the hub', function () {
  this.timeout(60_000);
  let hub: TestHub;
  let telephone: Baresip;
  let juliet: Client;

  before(async () => {
    const port = await freePort();
    hub = await startTestHub(['hub.test'], {
      yaml: `
bridges:
  sip:
    kind: sip
    domains: [sip.test]
    listen: ["udp:127.0.0.1:${port}"]
    registrar: true
    presence: { server: open }
`,
    });
    juliet = await hub.client('juliet@hub.test', { resource: 'balcony' });
    await juliet.asks('get', `<query xmlns='${ns.roster}'/>`);
    const proxy = { address: '127.0.0.1', port, protocol: 'udp' as const };
    telephone = await startBaresip({ uri: `sip:${alice}`, proxy, contacts: ['sip:juliet@hub.test'] });
  });
  after(async () => {
    await telephone?.stop();
    await hub?.close();
  });

  it('registers, publishes, watches and is watched', async () => {
    await juliet.receives(e => e.attrs.type === 'subscribe' && e.attrs.from === alice, patience);
    await juliet.sends(`<presence to='${alice}' type='subscribed'/>`);
    await telephone.lists(/Online/);
    await juliet.sends('<presence><show>dnd</show></presence>');
    await telephone.writes(/changed status from \S*Online\S* to \S*Busy/);
    await juliet.sends(`<presence to='${alice}' type='subscribe'/>`);
    await isAlice(juliet, undefined);
    telephone.command('presence_offline');
    await isAlice(juliet, 'unavailable');
  });

  it('chats', async () => {
    await juliet.sends(`<message to='${alice}' type='chat'><body>přímo 📞</body></message>`);
    await telephone.writes(/sip:juliet@hub\.test: "přímo 📞"/);
    telephone.command('message', 'slyším');
    await juliet.hears('slyším', patience);
  });
});
