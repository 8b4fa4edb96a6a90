// The rules that every stanza keeps, wherever it comes from: ids, types, children, addresses, languages, errors (RFC 6120 §8).
import assert from 'node:assert/strict';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { Component } from '../support/component.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { startZones, type Zones } from '../support/zones.ts';

const ping = `<ping xmlns='${ns.ping}'/>`;
const secret = 'a secret of the component';

describe('the rules of stanzas', () => {
  let zones: Zones;
  let hub: TestHub;
  let romeo: Client;
  let juliet: Client;
  let component: Component;
  before(async () => {
    zones = await startZones('');
    hub = await startTestHub(['hub.test'], {
      yaml: `components: { gate.hub.test: { secret: ${secret} } }
dns: { servers: ["${zones.server.host}:${zones.server.port}"] }`,
      listen: { component: '127.0.0.1:0' },
    });
    romeo = await hub.client('romeo@hub.test', { resource: 'orchard' });
    juliet = await hub.client('juliet@hub.test', { resource: 'balcony' });
    component = await new Component('gate.hub.test').open(hub.listening.component[0].port, secret);
  });
  after(async () => {
    component.close();
    await hub.close();
    await zones.close();
  });

  /** What is wrong, the attributes (but for the addresses), the payload. */
  const improper: [string, string, string][] = [
    ['no id', `type='get'`, ping],
    ['an empty id', `type='get' id=''`, ping],
    ['no type', `id='i1'`, ping],
    ['an unknown type', `type='ask' id='i2'`, ping],
    ['nothing in a get', `type='get' id='i3'`, ''],
    ['nothing in a set', `type='set' id='i4'`, ''],
    ['text in place of a child', `type='get' id='i5'`, 'ping'],
    ['two children in a get', `type='get' id='i6'`, ping + ping],
    ['two children in a set', `type='set' id='i7'`, `<a xmlns='urn:a'/><b xmlns='urn:b'/>`],
  ];
  const targets: [string, string][] = [
    ['the domain', 'hub.test'],
    ['an account', 'juliet@hub.test'],
    ['a resource', 'juliet@hub.test/balcony'],
  ];
  for (const [what, attributes, payload] of improper) {
    for (const [whom, to] of targets) {
      it(`an IQ with ${what} to ${whom} is a bad request`, async () => {
        await romeo.sends(`<iq ${attributes} to='${to}'>${payload}</iq>`);
        const error = await romeo.receives(e => e.name === 'iq' && e.attrs.type === 'error');
        assert.equal(conditionOf(error), 'bad-request');
        assert.equal(error.attrs.from, to);
        component.sends(`<iq ${attributes} from='gate.hub.test' to='${to}'>${payload}</iq>`);
        const other = await component.receives(e => e.name === 'iq');
        assert.deepEqual([conditionOf(other), other.attrs.from], ['bad-request', to]);
        await juliet.hasNot(e => e.name === 'iq');
      });
    }
  }

  it('what answers is not answered, however wrong it is', async () => {
    for (const type of ['result', 'error']) {
      for (const to of ['hub.test', 'juliet@hub.test', juliet.jid, 'nobody@hub.test/x', '@', 'nowhere.test']) {
        await romeo.sends(`<iq type='${type}' to='${to}'/>`);
        await romeo.sends(`<iq type='${type}' id='a' to='${to}'><a xmlns='urn:a'/><b xmlns='urn:b'/></iq>`);
      }
    }
    await romeo.sends(`<message type='error' to='@'/><presence type='error' to='@'/>`);
    await romeo.hasNot(e => e.attrs.type === 'error');
    juliet.inbox.length = 0;
  });

  it('an IQ of which nobody understands the child is answered so, and the child comes back', async () => {
    for (const type of ['get', 'set'] as const) {
      for (const to of ['hub.test', 'juliet@hub.test', 'romeo@hub.test', undefined]) {
        const answer = await romeo.asks(type, `<query xmlns='urn:example:unknown' a='1'/>`, to);
        assert.equal(conditionOf(answer), 'service-unavailable');
        assert.equal(answer.child('query', 'urn:example:unknown')?.attrs.a, '1');
        assert.equal(answer.child('error')?.attrs.type, 'cancel');
      }
    }
  });

  it('a presence of an unknown type is a bad request, wherever it comes from', async () => {
    for (const to of ['juliet@hub.test', juliet.jid]) {
      component.sends(`<presence type='invisible' from='gate.hub.test' to='${to}'/>`);
      const error = await component.receives(e => e.name === 'presence');
      assert.deepEqual([conditionOf(error), error.attrs.from], ['bad-request', to]);
    }
    await juliet.hasNot(e => e.name === 'presence');
  });

  it('a result or an error of an IQ goes to the resource as it is', async () => {
    for (const inner of [
      `type='result' id='r1'`,
      `type='result' id='r2'><x xmlns='urn:x'/`,
      `type='error' id='r3'><error type='cancel'><undefined-condition xmlns='${ns.stanzaErrors}'/></error`,
    ]) {
      const [, id] = /id='(\w+)'/.exec(inner)!;
      await romeo.sends(`<iq to='${juliet.jid}' ${inner}>${inner.includes('<') ? '</iq>' : '</iq>'}`);
      const heard = await juliet.receives(e => e.attrs.id === id);
      assert.equal(heard.attrs.from, romeo.jid);
    }
  });

  it('an address that is none is told so', async () => {
    for (const name of ['message', 'presence', 'iq']) {
      for (const to of ['@hub.test', 'a@b@hub.test', 'juliet@hub.test/', 'hub test', `${'x'.repeat(1100)}@hub.test`]) {
        const inner = name === 'iq' ? ping : '';
        await romeo.sends(`<${name} to='${to}' id='bad'${name === 'iq' ? ` type='get'` : ''}>${inner}</${name}>`);
        const error = await romeo.receives(e => e.attrs.id === 'bad');
        assert.deepEqual([error.name, conditionOf(error)], [name, 'jid-malformed']);
      }
    }
  });

  it('the domain itself reads no messages and hears no presence', async () => {
    for (const to of ['hub.test', 'hub.test/x']) {
      for (const type of ['', 'normal', 'chat', 'groupchat', 'headline']) {
        await romeo.sends(`<message to='${to}' id='d' type='${type || 'normal'}'><body>?</body></message>`);
        const error = await romeo.receives(e => e.attrs.id === 'd');
        assert.deepEqual([conditionOf(error), error.attrs.from], ['service-unavailable', to]);
      }
      await romeo.sends(`<message to='${to}' id='d' type='error'/>`);
      for (const type of ['', 'unavailable', 'subscribe', 'subscribed', 'unsubscribe', 'unsubscribed', 'error']) {
        await romeo.sends(`<presence to='${to}' id='d'${type && ` type='${type}'`}/>`);
      }
    }
    await romeo.hasNot(e => e.attrs.id === 'd' || e.name === 'presence');
  });

  it('what is for no domain that there is comes back, but for what answers and for presence that ends', async () => {
    for (const [name, type, inner] of [
      ['message', 'chat', '<body>?</body>'],
      ['presence', 'subscribe', ''],
      ['presence', 'probe', ''],
      ['iq', 'get', ping],
      ['iq', 'set', ping],
    ]) {
      const to = `a@${name}-${type}.test`;
      await romeo.sends(`<${name} to='${to}' id='n' type='${type}'>${inner}</${name}>`);
      const error = await romeo.receives(e => e.attrs.type === 'error' && e.attrs.from === to);
      assert.deepEqual([error.name, conditionOf(error)], [name, 'remote-server-not-found']);
    }
    for (const [name, type] of [
      ['message', 'error'],
      ['iq', 'result'],
      ['iq', 'error'],
      ['presence', 'error'],
      ['presence', 'unavailable'],
    ]) {
      await romeo.sends(`<${name} to='a@silence.test' id='n' type='${type}'/>`);
    }
    await romeo.asks('get', ping, 'silence.test');
    await romeo.hasNot(e => e.attrs.id === 'n');
  });

  it('a client may say who it is, by its full or its bare address, and nobody else', async () => {
    for (const from of [romeo.jid, 'romeo@hub.test', 'ROMEO@Hub.test']) {
      await romeo.sends(`<message from='${from}' to='${juliet.jid}'><body>from ${from}</body></message>`);
      assert.equal((await juliet.hears(`from ${from}`)).attrs.from, romeo.jid);
    }
    for (const from of ['juliet@hub.test', 'romeo@hub.test/elsewhere', 'hub.test', '@']) {
      const liar = await hub.client('liar@hub.test');
      await liar.sends(`<message from='${from}' to='${juliet.jid}'><body>a lie</body></message>`);
      assert.equal((await liar.ends()).error?.condition, 'invalid-from');
    }
    await juliet.hasNot(e => e.childText('body') === 'a lie');
  });

  it('the language of the stream is that of the stanza, unless it says another', async () => {
    const lang = (e: { attrs: Readonly<Record<string, string>> }) => e.attrs['xml:lang'];
    await romeo.sends(`<message to='${juliet.jid}'><body>english</body></message>`);
    assert.equal(lang(await juliet.hears('english')), 'en');
    await romeo.sends(`<message to='${juliet.jid}' xml:lang='cs'><body xml:lang='de'>deutsch</body></message>`);
    const heard = await juliet.hears('deutsch');
    assert.deepEqual([lang(heard), lang(heard.child('body')!)], ['cs', 'de']);
  });

  it('an error says what it answers: the id, the addresses turned round, a condition and its type', async () => {
    await romeo.sends(`<message to='nobody@hub.test' type='chat' id='e1'><body>lost</body></message>`);
    const error = await romeo.receives(e => e.attrs.id === 'e1');
    assert.deepEqual([error.attrs.from, error.attrs.to, error.attrs.type], ['nobody@hub.test', romeo.jid, 'error']);
    assert.equal(error.child('error')?.attrs.type, 'cancel');
    assert.equal(error.childText('body'), 'lost');
  });

  it('what is no stanza ends the stream', async () => {
    for (const [xml, condition] of [
      [`<letter xmlns='jabber:client'/>`, 'unsupported-stanza-type'],
      [`<message xmlns='urn:example'/>`, 'unsupported-stanza-type'],
      ['<message><body></message>', 'not-well-formed'],
    ]) {
      const client = await hub.client('clumsy@hub.test');
      await client.sends(xml);
      assert.equal((await client.ends()).error?.condition, condition);
    }
  });
});
