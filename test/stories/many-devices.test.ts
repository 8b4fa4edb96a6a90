// Many devices of one user: copies, devices nobody looks at, devices that are asleep, and who of them answers.
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client, ClientOptions } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { until } from '../support/until.ts';

const conditionOf = (answer: Element) =>
  answer
    .child('error')
    ?.all()
    .find(e => e.ns === ns.stanzaErrors)?.name;
const carbonOf = (e: Element, direction: string) =>
  e.child(direction, ns.carbons)?.child('forwarded', ns.forward)?.child('message', ns.client) ?? null;

describe('many devices', () => {
  let hub: TestHub;
  let count = 0;
  const logins =
    (one: TestHub) =>
    (jid: string, options: Partial<ClientOptions> = {}) =>
      one.client(jid, { security: 'plain', mechanism: 'PLAIN', ...options });
  let login: ReturnType<typeof logins>;
  before(async () => {
    hub = await startTestHub(['hub.test'], { yaml: 'clients: { require-tls: false, resumption: { time: 10s } }' });
    login = logins(hub);
  });
  after(() => hub.close());

  describe('carbons', () => {
    let romeo: Client;
    let phone: Client;
    let desk: Client;
    let old: Client;
    before(async () => {
      romeo = await login('romeo@hub.test', { resource: 'orchard' });
      phone = await login('juliet@hub.test', { resource: 'phone' });
      desk = await login('juliet@hub.test', { resource: 'desk' });
      old = await login('juliet@hub.test', { resource: 'old' });
      for (const one of [phone, desk]) await turn(one, 'enable');
    });
    const turn = (one: Client, verb: string) => one.asks('set', `<${verb} xmlns='${ns.carbons}'/>`);

    it('are announced with their rules', async () => {
      const info = String(await phone.asks('get', `<query xmlns='${ns.discoInfo}'/>`, 'hub.test'));
      assert.ok(info.includes(ns.carbons) && info.includes(ns.carbonsRules));
    });

    const body = '<body>x</body>';
    const room = (inner = '') => `<x xmlns='${ns.mucUser}'>${inner}</x>`;
    const table: [string, string, string, boolean, boolean][] = [
      // what, type, payload, copied as sent, copied as received
      ['a chat', 'chat', body, true, true],
      ['a chat without body', 'chat', `<x xmlns='urn:example'/>`, true, true],
      ['a normal message', 'normal', body, true, true],
      ['an untyped message', '', body, true, true],
      ['a normal message without body', 'normal', `<x xmlns='urn:example'/>`, false, false],
      ['a receipt', 'normal', `<received xmlns='${ns.receipts}' id='1'/>`, true, true],
      ['a request for one', '', `<request xmlns='${ns.receipts}'/>`, true, true],
      ['a chat state', 'normal', `<composing xmlns='${ns.chatStates}'/>`, true, true],
      ['a marker', 'normal', `<displayed xmlns='${ns.markers}' id='1'/>`, true, true],
      ['a headline', 'headline', body, false, false],
      ['a room’s message', 'groupchat', body, false, false],
      ['a private chat', 'chat', `${body}<private xmlns='${ns.carbons}'/>`, false, false],
      ['a chat not to be copied', 'chat', `${body}<no-copy xmlns='${ns.hints}'/>`, false, false],
      ['a private message in a room', 'chat', body + room(), true, false],
      ['an invitation by a room', 'normal', room(`<invite from='a@b.test'/>`), true, true],
      ['a direct invitation', 'normal', `<x xmlns='${ns.directInvitation}' jid='room@muc.test'/>`, true, true],
    ];
    for (const [what, type, payload, sent, received] of table) {
      const xml = (to: string, id: string) =>
        `<message to='${to}'${type && ` type='${type}'`} id='${id}'>${payload}</message>`;
      it(`${sent ? 'copy' : 'do not copy'} ${what} that is sent`, async () => {
        const id = `s${++count}`;
        await phone.sends(xml(romeo.jid, id));
        await romeo.receives(e => e.attrs.id === id);
        const isCopy = (e: Element) => carbonOf(e, 'sent')?.attrs.id === id;
        if (sent) {
          const copy = await desk.receives(isCopy);
          assert.equal(copy.attrs.from, 'juliet@hub.test');
          assert.equal(copy.attrs.to, desk.jid);
          assert.equal(copy.attrs.type ?? '', type);
          assert.equal(carbonOf(copy, 'sent')!.attrs.from, phone.jid);
        }
        for (const one of [phone, desk, old]) await one.hasNot(isCopy);
      });
      it(`${received ? 'copy' : 'do not copy'} ${what} that comes`, async () => {
        const id = `r${++count}`;
        await romeo.sends(xml(phone.jid, id));
        await phone.receives(e => e.attrs.id === id);
        const isCopy = (e: Element) => carbonOf(e, 'received')?.attrs.id === id;
        if (received) assert.equal((await desk.receives(isCopy)).attrs.from, 'juliet@hub.test');
        for (const one of [phone, desk, old]) await one.hasNot(isCopy);
      });
    }

    it('come of errors that answer what was copied, and of no others', async () => {
      for (const [id, expected] of [
        ['asked', true],
        ['never asked', false],
      ] as const) {
        if (expected) {
          await phone.sends(`<message to='${romeo.jid}' type='chat' id='${id}'>${body}</message>`);
          await romeo.receives(e => e.attrs.id === id);
          await desk.receives(e => carbonOf(e, 'sent')?.attrs.id === id);
        }
        await romeo.sends(`<message to='${phone.jid}' type='error' id='${id}'><error type='cancel'/></message>`);
        await phone.receives(e => e.attrs.id === id && e.attrs.type === 'error');
        const isCopy = (e: Element) => carbonOf(e, 'received')?.attrs.id === id;
        if (expected) await desk.receives(isCopy);
        await desk.hasNot(isCopy);
      }
    });

    it('go to none that gets the message itself, and to those of negative priority', async () => {
      await old.sends(`<presence><priority>-1</priority></presence>`);
      await turn(old, 'enable');
      const id = `a${++count}`;
      await romeo.sends(`<message to='juliet@hub.test' type='chat' id='${id}'>${body}</message>`);
      for (const one of [phone, desk]) await one.receives(e => e.attrs.id === id);
      await old.receives(e => carbonOf(e, 'received')?.attrs.id === id);
      for (const one of [phone, desk]) await one.hasNot(e => carbonOf(e, 'received') !== null);
      await turn(old, 'disable');
    });

    it('reach a device of negative priority though the message is stored', async () => {
      const watcher = await login('peter@hub.test', { quiet: true });
      await turn(watcher, 'enable');
      await watcher.sends(`<presence><priority>-1</priority></presence>`);
      await romeo.sends(`<message to='peter@hub.test' type='chat' id='stored'>${body}</message>`);
      await watcher.receives(e => carbonOf(e, 'received')?.attrs.id === 'stored');
      await watcher.sends(`<presence/>`);
      await watcher.receives(e => e.attrs.id === 'stored');
      await watcher.close();
    });

    it('of a message to oneself go once to the other devices', async () => {
      const id = `o${++count}`;
      await phone.sends(`<message to='${desk.jid}' type='chat' id='${id}'>${body}</message>`);
      await desk.receives(e => e.attrs.id === id);
      await turn(old, 'enable');
      for (const one of [phone, desk]) {
        await one.hasNot(e => ['sent', 'received'].some(way => carbonOf(e, way)?.attrs.id === id));
      }
      await phone.sends(`<message to='${desk.jid}' type='chat' id='${id}+'>${body}</message>`);
      await old.receives(e => carbonOf(e, 'sent')?.attrs.id === `${id}+`);
      await old.hasNot(e => ['sent', 'received'].some(way => carbonOf(e, way)?.attrs.id === `${id}+`));
      await turn(old, 'disable');
    });

    it('cannot be forged', async () => {
      const forged = (direction: string) =>
        `<${direction} xmlns='${ns.carbons}'><forwarded xmlns='${ns.forward}'><message xmlns='jabber:client' from='nurse@hub.test' to='juliet@hub.test'>${body}</message></forwarded></${direction}>`;
      for (const direction of ['sent', 'received']) {
        for (const to of ['juliet@hub.test', phone.jid]) {
          const id = `f${++count}`;
          await romeo.sends(`<message to='${to}' type='chat' id='${id}'>${forged(direction)}</message>`);
          assert.equal((await phone.receives(e => e.attrs.id === id)).child(direction, ns.carbons), null);
        }
      }
    });

    it('can be switched on and off at will, by their user alone', async () => {
      for (const verb of ['disable', 'disable', 'enable', 'enable'])
        assert.equal((await turn(desk, verb)).attrs.type, 'result');
      for (const verb of ['enable', 'disable']) {
        const answer = await romeo.asks('set', `<${verb} xmlns='${ns.carbons}'/>`, 'juliet@hub.test');
        assert.equal(conditionOf(answer), 'not-allowed');
        assert.equal(conditionOf(await desk.asks('get', `<${verb} xmlns='${ns.carbons}'/>`)), 'bad-request');
      }
    });
  });

  describe('a device nobody looks at', () => {
    it('gets what matters, and the rest before that and when it is looked at again', async () => {
      const phone = await login('benvolio@hub.test', { resource: 'phone' });
      const friend = await login('mercutio@hub.test');
      assert.ok(phone.features.child('csi', ns.clientState));
      const seen = () =>
        phone.inbox.map(e => e.childText('status') || e.childText('body') || e.all()[0]?.name).filter(Boolean);
      const news = (status: string) =>
        friend.sends(`<presence to='${phone.jid}'><status>${status}</status></presence>`);
      await phone.sends(`<inactive xmlns='${ns.clientState}'/>`);
      await phone.hasNot(() => false);
      phone.inbox.length = 0;
      await news('one');
      await news('two');
      await friend.sends(`<message to='${phone.jid}' type='chat'><composing xmlns='${ns.chatStates}'/></message>`);
      await friend.hasNot(() => false);
      assert.deepEqual(seen(), []);
      await friend.sends(`<message to='${phone.jid}' type='chat'><body>wake up</body></message>`);
      await phone.waits(() => seen().length === 2, 'both');
      assert.deepEqual(seen(), ['two', 'wake up']);
      phone.inbox.length = 0;
      await news('three');
      await friend.hasNot(() => false);
      assert.deepEqual(seen(), []);
      await phone.sends(`<active xmlns='${ns.clientState}'/><iq type='get' id='p'><ping xmlns='${ns.ping}'/></iq>`);
      await phone.receives(e => e.attrs.id === 'p');
      assert.deepEqual(seen(), ['three'], 'the answer comes behind what waited');
      await phone.close();
      await friend.close();
    });
  });

  it('a device nobody looks at is not told what somebody is doing, neither in copies', async () => {
    const phone = await login('balthasar@hub.test', { resource: 'phone' });
    const desk = await login('balthasar@hub.test', { resource: 'desk' });
    const friend = await login('potpan@hub.test');
    await phone.asks('set', `<enable xmlns='${ns.carbons}'/>`);
    await phone.sends(`<inactive xmlns='${ns.clientState}'/>`);
    const typing = `<composing xmlns='${ns.chatStates}'/>`;
    await friend.sends(`<message to='${desk.jid}' type='chat' id='t1'>${typing}</message>`);
    await desk.receives(e => e.attrs.id === 't1');
    await desk.sends(`<message to='${friend.jid}' type='chat' id='t2'>${typing}<thread>t</thread></message>`);
    await friend.receives(e => e.attrs.id === 't2');
    await friend.sends(`<message to='${desk.jid}' type='chat' id='t3'>${typing}<body>said</body></message>`);
    const copy = await phone.receives(e => carbonOf(e, 'received') !== null);
    assert.equal(carbonOf(copy, 'received')!.attrs.id, 't3');
    await phone.hasNot(e => e.name === 'message');
    for (const one of [phone, desk, friend]) await one.close();
  });

  it('a session that is resumed is looked at again, and gets what waited behind the news of that', async () => {
    const phone = await login('abram@hub.test', { resource: 'phone' });
    const friend = await login('gregory@hub.test');
    await phone.sends(`<enable xmlns='${ns.streamManagement}' resume='1'/>`);
    const { id } = (await phone.receives(e => e.is('enabled', ns.streamManagement))).attrs;
    await phone.sends(`<inactive xmlns='${ns.clientState}'/>`);
    await phone.hasNot(() => false);
    await friend.sends(`<presence to='${phone.jid}'><status>waited</status></presence>`);
    await friend.hasNot(() => false);
    phone.drop();
    const again = await login('abram@hub.test', { bind: false });
    again.inbox.length = 0;
    await again.sends(`<resume xmlns='${ns.streamManagement}' previd='${id}' h='1'/>`);
    await again.receives(e => e.childText('status') === 'waited');
    assert.ok(again.inbox[0].is('resumed', ns.streamManagement));
    await friend.sends(`<presence to='${phone.jid}'><status>at once</status></presence>`);
    await again.receives(e => e.childText('status') === 'at once');
    assert.equal(
      again.inbox.some(e => e.childText('status') === 'waited'),
      false,
    );
    await again.close();
    await friend.close();
  });

  describe('a device that is asleep', () => {
    let service: Client;
    let friend: Client;
    before(async () => {
      service = await login('service@hub.test', { resource: 'push' });
      friend = await login('friend@hub.test');
    });
    const enable = (client: Client, inner = '', node = 'n1') =>
      client.asks('set', `<enable xmlns='${ns.push}' jid='${service.jid}' node='${node}'>${inner}</enable>`);
    const published = () => service.receives(e => e.name === 'iq' && e.child('pubsub', ns.pubsub) !== null);
    const answers = (request: Element, inner = '') =>
      service.sends(
        `<iq type='${inner ? 'error' : 'result'}' id='${request.attrs.id}' to='${request.attrs.from}'>${inner}</iq>`,
      );
    const summaryOf = (request: Element) => {
      const item = request.child('pubsub', ns.pubsub)!.child('publish')!.child('item')!;
      const form = item.child('notification', ns.push)!.child('x', ns.data)!;
      return Object.fromEntries(form.all('field').map(field => [field.attrs.var, field.childText('value')]));
    };
    const says = (jid: string, body = 'hello') =>
      friend.sends(`<message to='${jid}' type='chat'><body>${body}</body></message>`);

    it('is told of by its service, with what it asked for, and no more than that', async () => {
      const jid = `sleeper${++count}@hub.test`;
      const phone = await login(jid);
      const info = await phone.asks('get', `<query xmlns='${ns.discoInfo}'/>`, jid);
      assert.ok(String(info).includes(ns.push));
      const form = `<x xmlns='${ns.data}' type='submit'><field var='FORM_TYPE'><value>${ns.publishOptions}</value></field><field var='secret'><value>s3</value></field></x>`;
      assert.equal((await enable(phone, form)).attrs.type, 'result');
      await phone.close();
      await says(jid);
      const request = await published();
      assert.equal(request.attrs.from, 'hub.test');
      const pubsub = request.child('pubsub', ns.pubsub)!;
      assert.equal(pubsub.child('publish')!.attrs.node, 'n1');
      assert.ok(String(pubsub.child('publish-options')).includes('<value>s3</value>'));
      assert.deepEqual(summaryOf(request), { FORM_TYPE: ns.pushSummary, 'message-count': '1' });
      await says(jid);
      await service.hasNot(e => e.child('pubsub', ns.pubsub) !== null);
      await answers(request);
      const second = await published();
      assert.equal(summaryOf(second)['message-count'], '2');
      await answers(second);
    });

    it('is told of requests that wait for an answer, each once', async () => {
      const jid = `sleeper${++count}@hub.test`;
      const phone = await login(jid);
      await enable(phone);
      await phone.close();
      await friend.sends(`<presence to='${jid}' type='subscribe'/>`);
      const request = await published();
      assert.deepEqual(summaryOf(request), { FORM_TYPE: ns.pushSummary, 'pending-subscription-count': '1' });
      await answers(request);
      await friend.sends(`<presence to='${jid}' type='subscribe'/>`);
      await service.hasNot(e => e.child('pubsub', ns.pubsub) !== null);
      await says(jid);
      const second = await published();
      const expected = { FORM_TYPE: ns.pushSummary, 'message-count': '1', 'pending-subscription-count': '1' };
      assert.deepEqual(summaryOf(second), expected);
      await answers(second);
    });

    it('is not told of what nothing is kept of', async () => {
      const jid = `sleeper${++count}@hub.test`;
      const phone = await login(jid);
      await enable(phone);
      await phone.close();
      await friend.sends(
        `<message to='${jid}' type='chat' id='gone'><body>now or never</body><no-store xmlns='${ns.hints}'/></message>`,
      );
      await friend.receives(e => e.attrs.id === 'gone' && e.attrs.type === 'error');
      await service.hasNot(e => e.child('pubsub', ns.pubsub) !== null);
      await says(jid);
      const request = await published();
      assert.equal(summaryOf(request)['message-count'], '1');
      await answers(request);
    });

    it('is told of when it was lost and may come back', async () => {
      const jid = `sleeper${++count}@hub.test`;
      const phone = await login(jid);
      await enable(phone);
      await phone.sends(`<enable xmlns='${ns.streamManagement}' resume='1'/>`);
      await phone.receives(e => e.is('enabled', ns.streamManagement));
      await says(phone.jid, 'seen');
      await phone.hears('seen');
      await service.hasNot(e => e.child('pubsub', ns.pubsub) !== null);
      phone.drop();
      await answers(await published());
      await says(phone.jid, 'later');
      const second = await published();
      assert.equal(summaryOf(second)['message-count'], '2');
      await answers(second);
    });

    it('is told of once, though the message waits for two devices and is stored at last', async () => {
      const short = await startTestHub(['short.test'], {
        yaml: 'clients: { require-tls: false, resumption: { time: 200ms } }',
      });
      const enter = logins(short);
      const app = await enter('app@short.test', { resource: 'push' });
      const romeo = await enter('romeo@short.test');
      const jid = 'juliet@short.test';
      const devices = [await enter(jid), await enter(jid)];
      for (const device of devices) {
        await device.asks('set', `<enable xmlns='${ns.carbons}'/>`);
        await device.sends(`<enable xmlns='${ns.streamManagement}' resume='1'/>`);
        await device.receives(e => e.is('enabled', ns.streamManagement));
      }
      await devices[0].asks('set', `<enable xmlns='${ns.push}' jid='${app.jid}' node='n'/>`);
      const [phone] = devices;
      for (const device of devices) device.drop();
      await romeo.sends(`<message to='${jid}' type='chat' id='m1'><body>to both</body></message>`);
      await romeo.sends(`<message to='${phone.jid}' type='chat' id='m2'><body>to one</body></message>`);
      const account = Jid.parse(jid);
      await until(() => short.hub.sessions.of(account).length === 0);
      await until(() => Number(short.hub.store.prepare('SELECT count(*) AS n FROM offline').get()?.n) === 2);
      const isNotice = (e: Element) => e.child('pubsub', ns.pubsub) !== null;
      const counts: number[] = [];
      while (!(counts.at(-1)! >= 2)) {
        const request = await app.receives(isNotice);
        counts.push(Number(summaryOf(request)['message-count']));
        await app.sends(`<iq type='result' id='${request.attrs.id}' to='${request.attrs.from}'/>`);
      }
      await app.hasNot(isNotice);
      assert.deepEqual(counts, [1, 2]);
      await short.close();
    });

    for (const [what, end] of [
      ['the client', (client: Client) => client.asks('set', `<disable xmlns='${ns.push}' jid='${service.jid}'/>`)],
      [
        'the client, for the node',
        (client: Client) => client.asks('set', `<disable xmlns='${ns.push}' jid='${service.jid}' node='n1'/>`),
      ],
      [
        'the service',
        async (client: Client) => {
          const account = client.jid.split('/')[0];
          await service.sends(
            `<message to='${account}'><pubsub xmlns='${ns.pubsub}' node='n1'><affiliation jid='${account}' affiliation='none'/></pubsub></message>`,
          );
          await service.hasNot(() => false);
        },
      ],
      [
        'an error',
        async (client: Client) => {
          const account = client.jid.split('/')[0];
          await client.sends(`<presence type='unavailable'/>`);
          await client.hasNot(() => false);
          await says(account, 'first');
          await answers(await published(), `<error type='auth'><forbidden xmlns='${ns.stanzaErrors}'/></error>`);
          await service.hasNot(() => false);
        },
      ],
    ] as const) {
      it(`is not told of after ${what} has ended that`, async () => {
        const jid = `sleeper${++count}@hub.test`;
        const phone = await login(jid);
        await enable(phone);
        await end(phone);
        await phone.close();
        await says(jid);
        await friend.hasNot(() => false);
        await service.hasNot(e => e.child('pubsub', ns.pubsub) !== null);
      });
    }

    for (const [what, payload, condition] of [
      ['no service', `<enable xmlns='${ns.push}'/>`, 'bad-request'],
      ['a service that is no address', `<enable xmlns='${ns.push}' jid='@'/>`, 'jid-malformed'],
      [
        'another form',
        `<enable xmlns='${ns.push}' jid='a.test'><x xmlns='${ns.data}' type='submit'/></enable>`,
        'bad-request',
      ],
      [
        'options without end',
        `<enable xmlns='${ns.push}' jid='a.test'><x xmlns='${ns.data}' type='submit'><field var='FORM_TYPE'><value>${ns.publishOptions}</value></field><field var='s'><value>${'x'.repeat(5000)}</value></field></x></enable>`,
        'not-acceptable',
      ],
      ['a node without end', `<enable xmlns='${ns.push}' jid='a.test' node='${'x'.repeat(2000)}'/>`, 'not-acceptable'],
      ['nothing to disable', `<disable xmlns='${ns.push}'/>`, 'bad-request'],
    ]) {
      it(`answers ${condition} to ${what}`, async () => {
        assert.equal(conditionOf(await friend.asks('set', payload)), condition);
      });
    }

    it('has no more than twenty services, which nobody else can name', async () => {
      const phone = await login(`sleeper${++count}@hub.test`);
      for (let n = 0; n < 20; n++) assert.equal((await enable(phone, '', `n${n}`)).attrs.type, 'result');
      assert.equal(conditionOf(await enable(phone, '', 'one more')), 'resource-constraint');
      assert.equal((await enable(phone, '', 'n3')).attrs.type, 'result');
      const other = await friend.asks('set', `<enable xmlns='${ns.push}' jid='evil.test'/>`, phone.jid.split('/')[0]);
      assert.equal(conditionOf(other), 'service-unavailable');
      await phone.close();
    });
  });

  describe('forking', () => {
    it('sends to all devices until one answers, and to that one then', async () => {
      const forking = await startTestHub(['fork.test'], { yaml: 'clients: { require-tls: false, fork: true }' });
      const enter = logins(forking);
      const romeo = await enter('romeo@fork.test');
      const [low, high] = [
        await enter('juliet@fork.test', { quiet: true }),
        await enter('juliet@fork.test', { quiet: true }),
      ];
      await low.sends('<presence><priority>1</priority></presence>');
      await high.sends('<presence><priority>9</priority></presence>');
      for (const one of [low, high]) await one.hasNot(() => false);
      const says = (body: string) =>
        romeo.sends(`<message to='juliet@fork.test' type='chat'><body>${body}</body></message>`);
      await says('anybody?');
      for (const one of [low, high]) await one.hears('anybody?');
      await low.sends(`<message to='${romeo.jid}' type='chat'><body>me</body></message>`);
      await romeo.hears('me');
      await says('you');
      await low.hears('you');
      await high.hasNot(e => e.childText('body') === 'you');
      await high.sends(`<message to='romeo@fork.test' type='chat'><body>me now</body></message>`);
      await romeo.hears('me now');
      await says('then you');
      await high.hears('then you');
      await high.close();
      await says('who is left?');
      await low.hears('who is left?');
      await forking.close();
    });
  });
});
