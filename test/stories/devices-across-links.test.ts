// What many devices and archives mean across a link: nothing of them can be read, changed or forged from outside.
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from '../support/client.ts';
import { type Partners, startPartners } from '../support/partners.ts';

const conditionOf = (answer: Element) =>
  answer
    .child('error')
    ?.all()
    .find(e => e.ns === ns.stanzaErrors)?.name;

describe('devices across links', () => {
  let partners: Partners;
  let phone: Client;
  let desk: Client;
  let romeo: Client;
  before(async () => {
    partners = await startPartners({ yaml: 'modules: { archive: true }' });
    phone = await partners.capulet.client('juliet@capulet.test', { resource: 'phone' });
    desk = await partners.capulet.client('juliet@capulet.test', { resource: 'desk' });
    romeo = await partners.montague.client('romeo@montague.test', { resource: 'orchard' });
    for (const one of [phone, desk]) await one.asks('set', `<enable xmlns='${ns.carbons}'/>`);
  });
  after(() => partners.close());

  it('a message comes to one device and as a copy to the other, archived once at either end', async () => {
    await romeo.sends(
      `<message to='${phone.jid}' type='chat' id='m1'><body>hello</body><request xmlns='${ns.receipts}'/><markable xmlns='${ns.markers}'/></message>`,
    );
    const heard = await phone.hears('hello');
    assert.ok(heard.child('request', ns.receipts) && heard.child('markable', ns.markers));
    await desk.receives(e => e.child('received', ns.carbons) !== null);
    await phone.sends(
      `<message to='${romeo.jid}' type='chat' id='m2'><received xmlns='${ns.receipts}' id='m1'/></message>`,
    );
    const receipt = await romeo.receives(e => e.child('received', ns.receipts) !== null);
    assert.deepEqual(
      receipt.all('stanza-id', ns.stableIds).map(({ attrs }) => attrs.by),
      ['romeo@montague.test'],
    );
    for (const one of [phone, romeo]) {
      const answer = await one.asks('set', `<query xmlns='${ns.archive}'/>`);
      assert.equal(answer.child('fin', ns.archive)!.child('set', ns.resultSet)!.childText('count'), '2');
    }
  });

  for (const type of ['get', 'set'] as const) {
    for (const [what, payload, condition] of [
      ['the archive', `<query xmlns='${ns.archive}'/>`, 'forbidden'],
      ['its ends', `<metadata xmlns='${ns.archive}'/>`, 'forbidden'],
      ['the preferences', `<prefs xmlns='${ns.archive}' default='never'/>`, 'forbidden'],
      ['carbons', `<enable xmlns='${ns.carbons}'/>`, 'not-allowed'],
      ['the roster', `<query xmlns='${ns.roster}'/>`, 'forbidden'],
      ['private storage', `<query xmlns='${ns.private}'><x xmlns='urn:example'/></query>`, 'forbidden'],
      ['push', `<enable xmlns='${ns.push}' jid='montague.test' node='n'/>`, 'service-unavailable'],
      ['the block list', `<blocklist xmlns='${ns.blocking}'/>`, 'service-unavailable'],
      ['blocking', `<block xmlns='${ns.blocking}'><item jid='a@b.test'/></block>`, 'service-unavailable'],
    ]) {
      it(`refuses to ${type} ${what} from outside`, async () => {
        for (const to of ['juliet@capulet.test', 'nobody@capulet.test']) {
          assert.equal(conditionOf(await romeo.asks(type, payload, to)), condition, to);
        }
      });
    }
  }

  it('lists no commands to people from outside, and runs none for them', async () => {
    for (const [to, condition] of [
      ['capulet.test', 'forbidden'],
      ['juliet@capulet.test', 'service-unavailable'],
      ['nobody@capulet.test', 'service-unavailable'],
    ]) {
      const listed = await romeo.asks('get', `<query xmlns='${ns.discoItems}' node='${ns.commands}'/>`, to);
      assert.deepEqual(listed.child('query', ns.discoItems)?.all(), [], to);
      const command = `<command xmlns='${ns.commands}' node='${ns.administration}#get-online-users-num'/>`;
      assert.equal(conditionOf(await romeo.asks('set', command, to)), condition, to);
    }
  });

  it('takes forged copies apart', async () => {
    const inner = `<forwarded xmlns='${ns.forward}'><message xmlns='jabber:client' from='nurse@capulet.test' to='juliet@capulet.test/phone' type='chat'><body>fly</body></message></forwarded>`;
    for (const direction of ['sent', 'received']) {
      for (const to of ['juliet@capulet.test', phone.jid]) {
        const id = `${direction} ${to}`;
        await romeo.sends(
          `<message to='${to}' type='chat' id='${id}'><${direction} xmlns='${ns.carbons}'>${inner}</${direction}></message>`,
        );
        assert.equal((await phone.receives(e => e.attrs.id === id)).child(direction, ns.carbons), null);
      }
    }
    for (const one of [phone, desk]) await one.hasNot(e => String(e).includes('fly'));
  });

  it('takes forged ids away', async () => {
    await romeo.sends(
      `<message to='${phone.jid}' type='chat'><body>forged id</body><stanza-id xmlns='${ns.stableIds}' by='juliet@capulet.test' id='forged'/></message>`,
    );
    const ids = (await phone.hears('forged id')).all('stanza-id', ns.stableIds);
    assert.equal(ids.length, 1);
    assert.notEqual(ids[0].attrs.id, 'forged');
  });
});
