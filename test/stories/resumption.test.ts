// Stream management between a client and the hub: counting, losing, resuming, giving up (XEP-0198).
import assert from 'node:assert/strict';
import { type Element, el } from '../../src/xmpp/element.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';
import type { Client, ClientOptions } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { until } from '../support/until.ts';

const sm = ns.streamManagement;
const is = (name: string) => (e: Element) => e.is(name, sm);
const conditionOf = (element: Element) => element.all().find(e => e.ns === ns.stanzaErrors)?.name;

describe('stream management', () => {
  let hub: TestHub;
  let romeo: Client;
  let users = 0;
  before(async () => {
    hub = await startTestHub(['hub.test'], {
      yaml: 'clients: { require-tls: false, resumption: { time: 300ms, location: "[::1]:5222" } }',
    });
    romeo = await login('romeo@hub.test', { resource: 'orchard' });
  });
  after(() => hub.close());

  const login = (jid: string, options: Partial<ClientOptions> = {}) =>
    hub.client(jid, { security: 'plain', mechanism: 'PLAIN', ...options });

  /** A new user whose session can be resumed, and the id of that. */
  async function resumable(attributes = "resume='true'"): Promise<{ jid: string; client: Client; id: string }> {
    const jid = `juliet${++users}@hub.test`;
    const client = await login(jid, { resource: 'balcony' });
    await client.sends(`<enable xmlns='${sm}' ${attributes}/>`);
    const enabled = await client.receives(is('enabled'));
    return { jid, client, id: enabled.attrs.id };
  }

  /** Logs in again, up to where a session is bound or resumed. */
  const again = (jid: string) => login(jid, { bind: false });
  const says = (to: string, body: string, type = 'chat') =>
    romeo.sends(`<message to='${to}' type='${type}' id='${body}'><body>${body}</body></message>`);
  const resume = async (client: Client, id: string, h: number | string): Promise<Element> => {
    await client.sends(`<resume xmlns='${sm}' previd='${id}' h='${h}'/>`);
    return client.receives(e => e.is('resumed', sm) || e.is('failed', sm));
  };

  it('is offered and enabled, with and without resumption', async () => {
    const { client, id } = await resumable();
    assert.ok(client.features.child('sm', sm));
    assert.match(id, /^[\w-]{20,}$/);
    const other = await login('juliet@hub.test');
    await other.sends(`<enable xmlns='${sm}'/>`);
    assert.deepEqual({ ...(await other.receives(is('enabled'))).attrs }, {});
    await client.close();
    await other.close();
  });

  for (const [wanted, expected] of [
    [`resume='1'`, '0'],
    [`resume='true' max='0'`, undefined],
    [`resume='false'`, undefined],
  ]) {
    it(`answers ${wanted} with max ${expected}`, async () => {
      const client = await login(`max${++users}@hub.test`);
      await client.sends(`<enable xmlns='${sm}' ${wanted}/>`);
      const enabled = await client.receives(is('enabled'));
      assert.equal(enabled.attrs.max, expected);
      assert.equal(enabled.attrs.resume, expected === undefined ? undefined : 'true');
      assert.equal(enabled.attrs.location, expected === undefined ? undefined : '[::1]:5222');
      await client.close();
    });
  }

  it('is refused before a resource is bound, and twice', async () => {
    const client = await login('early@hub.test', { bind: false });
    await client.sends(`<enable xmlns='${sm}'/>`);
    assert.equal(conditionOf(await client.receives(is('failed'))), 'unexpected-request');
    await client.bind();
    await client.sends(`<enable xmlns='${sm}'/>`);
    await client.receives(is('enabled'));
    await client.sends(`<resume xmlns='${sm}' previd='x' h='0'/>`);
    assert.equal(conditionOf(await client.receives(is('failed'))), 'unexpected-request');
    await client.sends(`<enable xmlns='${sm}'/>`);
    assert.equal((await client.ends()).error?.condition, 'policy-violation');
  });

  it('counts stanzas and nothing else', async () => {
    const { client } = await resumable();
    await client.sends(`<r xmlns='${sm}'/>`);
    assert.equal((await client.receives(is('a'))).attrs.h, '0');
    await client.sends(
      `<presence/><r xmlns='${sm}'/><a xmlns='${sm}' h='0'/><message to='${romeo.jid}'/><iq type='bad'/>`,
    );
    await client.sends(`<r xmlns='${sm}'/>`);
    await client.receives(e => e.is('a', sm) && e.attrs.h === '1');
    await client.receives(e => e.is('a', sm) && e.attrs.h === '3');
    await client.close();
  });

  it('asks for an acknowledgement, and closes the stream of a client that counts too many', async () => {
    const { client } = await resumable();
    await says(client.jid, 'one');
    await client.hears('one');
    await client.receives(is('r'));
    await client.sends(`<a xmlns='${sm}' h='2'/>`);
    const error = await client.ends();
    assert.equal(error.error?.condition, 'undefined-condition');
  });

  it('goes on where it was lost, with what the client has not got, and once', async () => {
    const { jid, client, id } = await resumable();
    await says(client.jid, 'before');
    await client.hears('before');
    await client.sends(`<message to='${romeo.jid}' id='mine'/>`);
    await romeo.receives(e => e.attrs.id === 'mine');
    client.drop();
    for (const body of ['during 1', 'during 2']) await says(client.jid, body);
    await romeo.hasNot(e => e.attrs.type === 'unavailable' || e.attrs.type === 'error');
    const next = await again(jid);
    const resumed = await resume(next, id, 1);
    assert.equal(resumed.attrs.previd, id);
    assert.equal(resumed.attrs.h, '1');
    await next.hears('during 1');
    await next.hears('during 2');
    next.jid = client.jid;
    assert.equal(next.inbox.filter(e => e.name === 'message').length, 0);
    await says(client.jid, 'after');
    assert.equal((await next.hears('after')).attrs.to, client.jid);
    await next.sends(`<message to='${romeo.jid}' id='mine too'/>`);
    assert.equal((await romeo.receives(e => e.attrs.id === 'mine too')).attrs.from, client.jid);
    await next.close();
  });

  it('can be resumed while the old connection still stands; that ends with a conflict', async () => {
    const { jid, client, id } = await resumable();
    const next = await again(jid);
    assert.equal((await resume(next, id, 0)).name, 'resumed');
    assert.equal((await client.ends()).error?.condition, 'conflict');
    next.jid = client.jid;
    await says(client.jid, 'still here');
    await next.hears('still here');
    await next.close();
  });

  for (const [what, h] of [
    ['too high', '7'],
    ['no number', 'x'],
    ['negative', '-1'],
    ['greater than 32 bits', '4294967296'],
  ]) {
    it(`waits on where a count is ${what}, and lets the client bind instead`, async () => {
      const { jid, client, id } = await resumable();
      client.drop();
      await client.ends();
      const wrong = await again(jid);
      const refused = await resume(wrong, id, h);
      assert.equal(conditionOf(refused), 'bad-request');
      assert.equal(refused.attrs.h, '0');
      const right = await again(jid);
      assert.equal((await resume(right, id, 0)).name, 'resumed');
      await wrong.bind('another');
      await wrong.close();
      await right.close();
    });
  }

  it('is nobody else’s to resume, and a resource can be bound instead', async () => {
    const { client, id } = await resumable();
    const thief = await again('thief@hub.test');
    for (const previd of [id, 'no such', '']) {
      const failed = await resume(thief, previd, 0);
      assert.equal(conditionOf(failed), 'item-not-found');
      assert.equal(failed.attrs.h, undefined);
    }
    await thief.bind();
    await thief.hasNot(() => false);
    await client.close();
    await thief.close();
  });

  it('ends in time: the contact learns of it, messages go to the store, and the count is still known', async () => {
    const { jid, client, id } = await resumable();
    await client.sends(`<presence to='${romeo.jid}'/><iq type='get' id='x'><ping xmlns='${ns.ping}'/></iq>`);
    await romeo.receives(e => e.name === 'presence' && e.attrs.from === client.jid);
    client.drop();
    await says(client.jid, 'too late');
    await romeo.sends(
      `<message to='${client.jid}' type='chat' id='typing'><composing xmlns='${ns.chatStates}'/></message>`,
    );
    await romeo.sends(`<iq type='get' id='asked' to='${client.jid}'><ping xmlns='${ns.ping}'/></iq>`);
    await romeo.receives(e => e.attrs.type === 'unavailable' && e.attrs.from === client.jid);
    const error = await romeo.receives(e => e.attrs.id === 'asked');
    assert.equal(conditionOf(error.child('error')!), 'service-unavailable');
    const next = await again(jid);
    const failed = await resume(next, id, 0);
    assert.equal(conditionOf(failed), 'item-not-found');
    assert.equal(failed.attrs.h, '2');
    await next.bind('balcony');
    await next.sends('<presence/>');
    const heard = await next.hears('too late');
    assert.equal(heard.all('delay', ns.delay).length, 1);
    await next.hasNot(e => e.attrs.id === 'typing');
    await next.close();
  });

  it('gives what a lost session did not take to another one', async () => {
    const { jid, client } = await resumable('');
    const other = await login(jid, { resource: 'window' });
    for (const type of ['chat', 'normal']) await says(client.jid, `for the other, ${type}`, type);
    await client.hears('for the other, normal');
    client.drop();
    for (const type of ['chat', 'normal']) {
      const heard = await other.hears(`for the other, ${type}`);
      assert.equal(heard.attrs.to, jid);
      assert.ok(heard.child('delay', ns.delay));
    }
    await other.close();
  });

  describe('beside other devices', () => {
    /** Two devices of a new user, the second with or without carbons; both acknowledge what they are told to. */
    async function pair(carbons: boolean) {
      const { jid, client: phone } = await resumable('');
      const desk = await login(jid, { resource: 'desk' });
      await desk.sends(`<enable xmlns='${sm}'/>`);
      await desk.receives(is('enabled'));
      if (carbons) await desk.asks('set', `<enable xmlns='${ns.carbons}'/>`);
      return { jid, phone, desk };
    }
    const lose = async (client: Client) => {
      const full = Jid.parse(client.jid);
      client.drop();
      await until(() => hub.hub.sessions.get(full) === undefined);
    };
    const isCopy = (e: Element) => e.child('received', ns.carbons) !== null;
    const stored = async (jid: string, resource: string) => {
      const next = await login(jid, { resource });
      const found = next.inbox.filter(e => e.name === 'message').map(e => e.childText('body'));
      await next.hasNot(() => false);
      await next.close();
      return found;
    };

    it('sends none of them what it has got itself', async () => {
      const { jid, phone, desk } = await pair(false);
      await says(jid, 'to both');
      for (const one of [phone, desk]) await one.hears('to both');
      await lose(phone);
      await desk.hasNot(e => e.childText('body') === 'to both');
      await desk.close();
    });

    it('sends none of them what it has got as a carbon', async () => {
      const { phone, desk } = await pair(true);
      await says(phone.jid, 'copied');
      await desk.receives(isCopy);
      await lose(phone);
      await desk.hasNot(e => e.childText('body') === 'copied');
      await desk.close();
    });

    it('sends it to one that takes no messages, and keeps it', async () => {
      const { jid, phone, desk } = await pair(true);
      await desk.sends('<presence><priority>-1</priority></presence>');
      await desk.receives(e => e.childText('priority') === '-1');
      await says(phone.jid, 'copied low');
      await desk.receives(isCopy);
      await lose(phone);
      assert.deepEqual(await stored(jid, 'new'), ['copied low']);
      await desk.close();
    });

    for (const first of ['phone', 'desk'] as const) {
      it(`keeps it once where all are lost, the ${first} first`, async () => {
        for (const carbons of [false, true]) {
          const { jid, phone, desk } = await pair(carbons);
          const body = `lost ${first} ${carbons}`;
          await says(carbons ? phone.jid : jid, body);
          await phone.hears(body);
          await (carbons ? desk.receives(isCopy) : desk.hears(body));
          for (const one of first === 'phone' ? [phone, desk] : [desk, phone]) await lose(one);
          assert.deepEqual(await stored(jid, 'new'), [body]);
        }
      });
    }

    it('sends it to none that had a carbon of what was for one that takes no messages', async () => {
      const { phone, desk } = await pair(true);
      await phone.sends('<presence><priority>-1</priority></presence>');
      await phone.receives(e => e.childText('priority') === '-1');
      await says(phone.jid, 'for the low one');
      await desk.receives(isCopy);
      await lose(phone);
      await desk.hasNot(e => e.childText('body') === 'for the low one');
      await desk.close();
    });

    it('sends what was kept before what came later', async () => {
      const jid = `juliet${++users}@hub.test`;
      const desk = await login(jid, { resource: 'desk', quiet: true });
      for (const body of ['1', '2']) await says(jid, body);
      const phone = await login(jid, { resource: 'phone', quiet: true });
      await phone.sends(`<enable xmlns='${sm}'/><presence/>`);
      await phone.hears('2');
      await desk.sends('<presence><priority>-1</priority></presence>');
      await desk.receives(e => e.childText('priority') === '-1');
      await says(jid, '3');
      await phone.hears('3');
      await phone.hasNot(() => false);
      await desk.sends('<presence/>');
      await desk.hasNot(() => false);
      await lose(phone);
      const bodies = () => desk.inbox.filter(e => e.name === 'message').map(e => e.childText('body'));
      await desk.waits(() => bodies().length === 3, 'three messages');
      assert.deepEqual(bodies(), ['1', '2', '3']);
      await desk.close();
    });

    it('keeps no chat state', async () => {
      const { jid, client } = await resumable('');
      await romeo.sends(`<message to='${jid}' type='chat' id='state'><composing xmlns='${ns.chatStates}'/></message>`);
      await client.receives(e => e.attrs.id === 'state');
      await lose(client);
      const next = await login(jid);
      await next.hasNot(e => e.attrs.id === 'state');
      await next.close();
    });

    it('sends no chat state to one whose user does not look', async () => {
      const { phone, desk } = await pair(false);
      await desk.sends(`<inactive xmlns='${ns.clientState}'/>`);
      await desk.hasNot(() => false);
      await romeo.sends(
        `<message to='${phone.jid}' type='chat' id='late'><composing xmlns='${ns.chatStates}'/></message>`,
      );
      await phone.receives(e => e.attrs.id === 'late');
      await lose(phone);
      await desk.hasNot(e => e.attrs.id === 'late');
      await desk.close();
    });

    it('sends none of them twice what one of them has no room for', async () => {
      const { jid, client: phone } = await resumable();
      const desk = await login(jid, { resource: 'desk' });
      const session = hub.hub.sessions.get(Jid.parse(phone.jid))!;
      phone.drop();
      await until(() => (session as unknown as { stream: unknown }).stream === null);
      const { management } = session as unknown as { management: { unacknowledged: unknown[] } };
      while (management.unacknowledged.length < 1_000) {
        session.send(Stanza.of('presence', { from: session.jid, to: session.jid }));
      }
      await says(jid, 'one too many');
      await desk.hears('one too many');
      await desk.hasNot(e => e.childText('body') === 'one too many');
      assert.equal(hub.hub.sessions.get(session.jid), undefined);
      await desk.close();
    });

    it('keeps nothing that one of them has taken', async () => {
      const { jid, phone, desk } = await pair(true);
      await says(phone.jid, 'taken');
      await desk.receives(isCopy);
      const sent = hub.hub.sessions.get(Jid.parse(desk.jid)) as unknown as {
        management: { acknowledged: number; unacknowledged: unknown[] };
      };
      await desk.sends(
        `<a xmlns='${sm}' h='${sent.management.acknowledged + sent.management.unacknowledged.length}'/>`,
      );
      await until(() => sent.management.unacknowledged.length === 0);
      for (const one of [phone, desk]) await lose(one);
      assert.deepEqual(await stored(jid, 'new'), []);
    });
  });

  it('ends at once with a stream that is closed properly', async () => {
    const { jid, client, id } = await resumable();
    await client.sends(`<presence to='${romeo.jid}'/>`);
    await romeo.receives(e => e.name === 'presence' && e.attrs.from === client.jid);
    await client.close();
    await romeo.receives(e => e.attrs.type === 'unavailable' && e.attrs.from === client.jid);
    const next = await again(jid);
    assert.equal(conditionOf(await resume(next, id, 0)), 'item-not-found');
    await next.close();
  });

  it('does not hold more than some thousand stanzas for a client that acknowledges none', async () => {
    const { jid, client } = await resumable();
    await romeo.sends(`<message to='${client.jid}' type='headline'/>`.repeat(6_001));
    assert.equal((await client.ends()).error?.condition, 'resource-constraint');
    assert.equal(hub.hub.sessions.of(Jid.parse(jid)).length, 0);
  });

  it('is given all that waited while its client was inactive and then lost', async () => {
    const { jid, client, id } = await resumable();
    await client.sends(`<inactive xmlns='${ns.clientState}'/>`);
    await client.hasNot(() => false);
    const session = hub.hub.sessions.get(Jid.parse(client.jid))!;
    client.drop();
    await until(() => (session as unknown as { stream: unknown }).stream === null);
    const message = Stanza.of(
      'message',
      { from: Jid.parse(romeo.jid), to: session.jid },
      el('body', ns.client, {}, 'x'),
    );
    for (let n = 0; n < 990; n++) session.send(message);
    for (let n = 0; n < 20; n++) {
      session.send(Stanza.of('presence', { from: Jid.parse(`contact${n}@hub.test/x`), to: session.jid }));
    }
    const next = await again(jid);
    assert.equal((await resume(next, id, 1)).name, 'resumed');
    await next.receives(e => e.attrs.from === 'contact19@hub.test/x');
    assert.equal(next.inbox.filter(e => e.name === 'message').length, 990);
    await next.hasNot(() => false);
    await next.close();
  });

  it('takes the presence of thousands of contacts at once', async () => {
    const { jid, client } = await resumable();
    const session = hub.hub.sessions.of(Jid.parse(jid))[0];
    const presence = Stanza.of('presence', { from: Jid.parse('contact@hub.test/x'), to: session.jid });
    for (let n = 0; n < 3_000; n++) session.send(presence);
    let heard = 0;
    while (heard < 3_000) {
      const stanza = await client.receives(() => true);
      if (stanza.name === 'r') await client.sends(`<a xmlns='${ns.streamManagement}' h='${heard}'/>`);
      else heard++;
    }
    await client.hasNot(() => false);
    await client.close();
  });

  it('takes more stored messages than it may leave unacknowledged', async () => {
    const jid = `juliet${++users}@hub.test`;
    const { store } = hub.hub;
    const many = 6_500;
    store.atomic(() => {
      for (let n = 0; n < many; n++) {
        const fields = { from: Jid.parse('romeo@hub.test'), to: Jid.parse(jid), type: 'chat' };
        const bytes = Stanza.of('message', fields, el('body', ns.client, {}, String(n))).toBytes();
        store.prepare('INSERT INTO offline (user, stanza, at) VALUES (?, ?, 0)').run(jid, bytes);
      }
    });
    const client = await login(jid, { quiet: true });
    await client.sends(`<enable xmlns='${sm}'/>`);
    await client.receives(is('enabled'));
    await client.sends('<presence/>');
    const other = await login(jid);
    const bodies: string[] = [];
    let taken = 0;
    while (bodies.length < many) {
      const stanza = await client.receives(() => true);
      if (stanza.name === 'r') await client.sends(`<a xmlns='${sm}' h='${taken}'/>`);
      else taken++;
      if (stanza.name === 'message') bodies.push(stanza.childText('body'));
    }
    assert.deepEqual(
      bodies,
      Array.from({ length: many }, (_, n) => String(n)),
    );
    await client.sends(`<a xmlns='${sm}' h='${taken}'/>`);
    await client.hasNot(e => e.name === 'message');
    await other.hasNot(e => e.name === 'message');
    assert.equal(Number(store.prepare('SELECT count(*) AS n FROM offline WHERE user = ?').get(jid)?.n), 0);
    await client.close();
    await other.close();
  });
});
