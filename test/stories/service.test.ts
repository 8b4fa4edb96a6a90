// What a domain answers about itself: version, time, pings, uptime, contacts, and services outside of XMPP.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { refusal } from '../support/administration.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const domains = `
  hub.test: { contacts: { abuse: ["mailto:abuse@hub.test", "xmpp:abuse@hub.test"], status: ["https://status.hub.test"] } }
  other.test: {}
  third.test: {}
`;
const services = `
cross-domain: { policy: open }
log: { level: error }
external-services:
  stun: { type: stun, host: stun.hub.test, port: 3478, transport: udp }
  relay: { type: turn, host: turn.hub.test, port: 3478, transport: udp, name: Relay, secret: shared, lifetime: 1h, domains: [hub.test], access: [other.test] }
  relay-tls: { type: turns, host: turn.hub.test, port: 5349, transport: tcp, secret: shared, domains: [hub.test] }
  files: { type: ftp, host: files.hub.test, username: guest, password: guest, domains: [hub.test] }
`;

describe('what a domain tells of itself', () => {
  let hub: TestHub;
  let juliet: Client;
  let othello: Client;
  before(async () => {
    hub = await startTestHub(`{${domains.trim().replace(/\n\s*/g, ', ')}}`, { yaml: services });
    juliet = await hub.client('juliet@hub.test');
    othello = await hub.client('othello@other.test');
  });
  after(() => hub.close());

  const ask = (client: Client, xml: string, to = 'hub.test', type: 'get' | 'set' = 'get') => client.asks(type, xml, to);

  it('its version, without the operating system', async () => {
    const query = (await ask(juliet, `<query xmlns='${ns.version}'/>`)).child('query', ns.version)!;
    assert.equal(query.childText('name'), 'Isthmus');
    assert.match(query.childText('version'), /^\d+\.\d+\.\d+/);
    assert.equal(query.all().length, 2);
    assert.equal(refusal(await ask(juliet, `<query xmlns='${ns.version}'/>`, 'hub.test', 'set')), 'not-allowed');
  });

  it('its time, in UTC and with the offset', async () => {
    const time = (await ask(juliet, `<time xmlns='${ns.time}'/>`)).child('time', ns.time)!;
    assert.match(time.childText('tzo'), /^[+-]\d\d:\d\d$/);
    assert.match(time.childText('utc'), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
    assert.ok(Math.abs(Date.parse(time.childText('utc')) - Date.now()) < 10_000);
  });

  it('that it is there: to a domain, to nobody, to oneself; not whether others are', async () => {
    const ping = `<ping xmlns='${ns.ping}'/>`;
    for (const to of ['hub.test', undefined, 'juliet@hub.test']) {
      assert.equal((await juliet.asks('get', ping, to)).attrs.type, 'result');
    }
    assert.equal(refusal(await ask(juliet, ping, 'othello@other.test')), 'service-unavailable');
    assert.equal(refusal(await ask(juliet, ping, 'nobody@other.test')), 'service-unavailable');
    assert.equal(refusal(await ask(juliet, ping, 'hub.test', 'set')), 'not-allowed');
  });

  it('how long it has been up', async () => {
    const answer = await ask(juliet, `<query xmlns='${ns.last}'/>`);
    assert.match(answer.child('query', ns.last)!.attrs.seconds, /^\d+$/);
  });

  it('when somebody was last there, to those who may see the presence', async () => {
    const last = `<query xmlns='${ns.last}'/>`;
    const romeo = await hub.client('romeo@hub.test', { resource: 'orchard' });
    assert.equal(refusal(await ask(juliet, last, 'romeo@hub.test')), 'forbidden');
    assert.equal(refusal(await ask(juliet, last, 'romeo@hub.test/orchard')), 'forbidden');
    assert.equal(refusal(await ask(juliet, last, 'nobody@hub.test')), 'forbidden');
    await juliet.sends("<presence type='subscribe' to='romeo@hub.test'/>");
    await romeo.receives(element => element.attrs.type === 'subscribe');
    await romeo.sends("<presence type='subscribed' to='juliet@hub.test'/>");
    await juliet.receives(element => element.attrs.from === romeo.jid);
    assert.equal((await ask(juliet, last, 'romeo@hub.test')).child('query', ns.last)?.attrs.seconds, '0');
    await romeo.sends("<presence type='unavailable'><status>Heading home</status></presence>");
    await romeo.close();
    const away = (await ask(juliet, last, 'romeo@hub.test')).child('query', ns.last)!;
    assert.deepEqual([Number(away.attrs.seconds) < 10, away.text], [true, 'Heading home']);
    assert.equal(refusal(await ask(juliet, last, 'romeo@hub.test', 'set')), 'not-allowed');
  });

  it('whom to write to', async () => {
    const info = await ask(juliet, `<query xmlns='${ns.discoInfo}'/>`);
    const form = info.child('query', ns.discoInfo)!.child('x', ns.data)!;
    assert.equal(form.attrs.type, 'result');
    const values = form.all('field').map(field => [field.attrs.var, field.all('value').map(value => value.text)]);
    assert.deepEqual(values, [
      ['FORM_TYPE', [ns.serverInfo]],
      ['abuse-addresses', ['mailto:abuse@hub.test', 'xmpp:abuse@hub.test']],
      ['status-addresses', ['https://status.hub.test']],
    ]);
    const other = await ask(othello, `<query xmlns='${ns.discoInfo}'/>`, 'other.test');
    assert.equal(other.child('query', ns.discoInfo)!.child('x', ns.data), null);
  });

  const listed = async (client: Client, to: string, type = '') => {
    const attribute = type && ` type='${type}'`;
    const answer = await ask(client, `<services xmlns='${ns.externalServices}'${attribute}/>`, to);
    const payload = answer.child('services', ns.externalServices)!;
    assert.equal(payload.attrs.type, type || undefined);
    return payload.all('service');
  };

  it('of services outside of XMPP, with credentials that a relay can check', async () => {
    const all = await listed(juliet, 'hub.test');
    assert.deepEqual(
      all.map(service => service.attrs.type),
      ['stun', 'turn', 'turns', 'ftp'],
    );
    const [stun, , , ftp] = all;
    assert.deepEqual(stun.attrs, { host: 'stun.hub.test', port: '3478', type: 'stun', transport: 'udp' });
    assert.deepEqual([ftp.attrs.username, ftp.attrs.password], ['guest', 'guest']);
    const [turn] = await listed(juliet, 'hub.test', 'turn');
    checkRelay(turn);
    assert.equal(turn.attrs.name, 'Relay');
  });

  function checkRelay({ attrs }: Element): void {
    const [ends] = attrs.username.split(':');
    const left = Number(ends) - Date.now() / 1000;
    assert.ok(left > 3600 * (15 / 16) - 30 && left <= 3600);
    assert.equal(Number(ends) % (3600 / 16), 0, 'who asks again soon gets the same');
    assert.equal(attrs.password, createHmac('sha1', 'shared').update(attrs.username).digest('base64'));
    assert.equal(Date.parse(attrs.expires) / 1000, Number(ends));
    assert.equal(attrs.restricted, 'true');
    assert.doesNotMatch(attrs.username, /juliet/);
  }

  it('of credentials for one service', async () => {
    const credentials = (inner: string) =>
      ask(juliet, `<credentials xmlns='${ns.externalServices}'>${inner}</credentials>`);
    const given = await credentials("<service host='turn.hub.test' type='turn'/>");
    const [service] = given.child('credentials', ns.externalServices)!.all('service');
    checkRelay(service);
    const port = await credentials("<service host='turn.hub.test' type='turn' port='3478'/>");
    assert.equal(port.attrs.type, 'result');
    assert.equal(refusal(await credentials("<service host='turn.hub.test' type='turn' port='1'/>")), 'item-not-found');
    const open = await credentials("<service host='stun.hub.test' type='stun'/>");
    const [stun] = open.child('credentials', ns.externalServices)!.all('service');
    assert.deepEqual(stun.attrs, { host: 'stun.hub.test', port: '3478', type: 'stun', transport: 'udp' });
    assert.equal(refusal(await credentials("<service host='stun.else.test' type='stun'/>")), 'item-not-found');
    assert.equal(refusal(await credentials("<service host='turn.hub.test'/>")), 'bad-request');
    assert.equal(refusal(await credentials('')), 'bad-request');
  });

  it('of changes of the services, to those who have asked for them', async () => {
    const paris = await hub.client('paris@hub.test');
    const deaf = await hub.client('peter@hub.test');
    await listed(paris, 'hub.test', 'turn');
    const before = hub.config.externalServices;
    const [stun, relay, , files] = before;
    const moved = { ...relay, host: 'turn2.hub.test', name: '' };
    const pushed = async (...now: typeof before) => {
      await hub.reload({ ...hub.config, externalServices: now });
      const push = await paris.receives(
        e => e.attrs.type === 'set' && e.child('services', ns.externalServices) !== null,
      );
      assert.equal(push.attrs.from, 'hub.test');
      const services = push.child('services', ns.externalServices)!;
      assert.equal(services.attrs.type, 'turn');
      await paris.sends(`<iq type='result' id='${push.attrs.id}' to='hub.test'/>`);
      return services.all('service').map(({ attrs }) => [attrs.action, attrs.host, attrs.username !== undefined]);
    };
    assert.deepEqual(await pushed(stun, relay, moved), [['add', 'turn2.hub.test', true]]);
    assert.deepEqual(await pushed(relay, { ...moved, secret: 'another' }), [['modify', 'turn2.hub.test', true]]);
    assert.deepEqual(await pushed(relay), [['delete', 'turn2.hub.test', false]]);
    // What is of another type, or not for them, is not told.
    await hub.reload({ ...hub.config, externalServices: [relay, files, { ...moved, domains: ['other.test'] }] });
    await hub.reload({ ...hub.config, externalServices: before });
    for (const client of [paris, deaf]) await client.hasNot(e => e.attrs.type === 'set');
    await paris.close();
    await deaf.close();
  });

  it('to its own users, and to those who are let in', async () => {
    assert.deepEqual(
      (await listed(othello, 'hub.test')).map(service => service.attrs.type),
      ['turn'],
    );
    assert.deepEqual(
      (await listed(othello, 'other.test')).map(service => service.attrs.type),
      ['stun'],
    );
    const cassio = await hub.client('cassio@third.test');
    const answer = await ask(cassio, `<services xmlns='${ns.externalServices}'/>`);
    assert.equal(refusal(answer), 'forbidden');
    await cassio.close();
  });
});
