// Personal eventing with contacts on a real Prosody, both ways.
import assert from 'node:assert/strict';
import { ns } from '../../src/xmpp/namespaces.ts';
import { createAuthority } from '../support/authority.ts';
import { answersInfo, conditionOf, eventOf, hearsOf, infoOf, tagFor } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { befriend } from '../support/friends.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { recordsOf } from '../support/partners.ts';
import { startZones, type Zones } from '../support/zones.ts';
import { peerClient } from './people.ts';
import type { Peer } from './process.ts';
import { startProsody } from './prosody.ts';

const tune = 'http://jabber.org/protocol/tune';
const address = '127.0.0.23';
const domain = 'prosody.test';

describe('personal eventing with Prosody', () => {
  let zones: Zones;
  let hub: TestHub;
  let peer: Peer;
  let romeo: Client;
  let juliet: Client;

  before(async () => {
    const authority = await createAuthority();
    const issue = (names: string[]) => authority.issue({ names, usages: ['serverAuth', 'clientAuth'] });
    zones = await startZones('');
    const own = await issue(['hub.test']);
    hub = await startTestHub('{ hub.test: { certificate: domain.crt, key: domain.key } }', {
      host: '127.0.0.22',
      files: { 'ca.crt': authority.certificate, 'domain.crt': own.certificate, 'domain.key': own.key },
      yaml: `tls: { trust: [ca.crt] }
dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
federation: { security: encrypted }`,
    });
    zones.set(`${recordsOf('hub.test', hub, '127.0.0.22')}
_xmpp-server._tcp.pubsub.hub.test 60 IN SRV 5 1 ${hub.listening.s2s[0].port} xmpp.hub.test
_xmpp-server._tcp.${domain} 60 IN SRV 5 1 5269 xmpp.${domain}
xmpp.${domain} 60 IN A ${address}
${domain} 60 IN A ${address}`);
    peer = await startProsody({
      address,
      domain,
      mode: 'tls',
      dns: zones.server,
      authority: authority.certificate,
      certificate: await issue([domain]),
      more: 'modules_enabled = { "roster"; "saslauth"; "tls"; "dialback"; "disco"; "ping"; "register"; "pep" }',
    });
    romeo = await hub.client('romeo@hub.test');
    juliet = await peerClient(peer, 'juliet');
    await befriend(romeo, juliet);
  });

  after(async () => {
    await peer?.stop();
    await hub?.close();
    await zones?.close();
  });

  const publish = (client: Client, title: string) =>
    client.asks(
      'set',
      `<pubsub xmlns='${ns.pubsub}'><publish node='${tune}'><item id='current'>
        <tune xmlns='${tune}'><title>${title}</title></tune></item></publish></pubsub>`,
    );
  const title = (event: Parameters<typeof eventOf>[0]) =>
    eventOf(event)?.child('item')?.child('tune', tune)?.childText('title');

  it('reaches a contact there, live and when it comes', async () => {
    const info = infoOf([tune], 'at Prosody');
    await juliet.sends(`<presence>${tagFor(info)}</presence>`);
    // Her own server asks, and ours.
    await answersInfo(juliet, info);
    await answersInfo(juliet, info);
    assert.equal(conditionOf(await publish(romeo, 'to Prosody')), 'result');
    const event = await hearsOf(juliet, tune);
    assert.equal(event.attrs.from, 'romeo@hub.test');
    assert.equal(title(event), 'to Prosody');
    const phone = await peerClient(peer, 'juliet');
    await phone.sends(`<presence>${tagFor(info)}</presence>`);
    assert.equal(title(await hearsOf(phone, tune)), 'to Prosody');
    await phone.close();
  });

  it('comes from a contact there', async () => {
    const info = infoOf([tune], 'at the hub');
    await romeo.sends(`<presence>${tagFor(info)}</presence>`);
    await answersInfo(romeo, info);
    await answersInfo(romeo, info);
    assert.equal(conditionOf(await publish(juliet, 'to the hub')), 'result');
    assert.equal(title(await romeo.receives(e => title(e) === 'to the hub')), 'to the hub');
  });

  it('serves subscribers there', async () => {
    await romeo.asks('set', `<pubsub xmlns='${ns.pubsub}'><create node='news'/></pubsub>`, 'pubsub.hub.test');
    const subscribe = `<pubsub xmlns='${ns.pubsub}'><subscribe node='news' jid='juliet@${domain}'/></pubsub>`;
    assert.equal(conditionOf(await juliet.asks('set', subscribe, 'pubsub.hub.test')), 'result');
    const item = `<item id='one'><x xmlns='urn:x'/></item>`;
    const published = `<pubsub xmlns='${ns.pubsub}'><publish node='news'>${item}</publish></pubsub>`;
    await romeo.asks('set', published, 'pubsub.hub.test');
    assert.equal(eventOf(await hearsOf(juliet, 'news'))?.child('item')?.attrs.id, 'one');
  });
});
