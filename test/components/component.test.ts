// External components on the hub, and the bridges of another hub attached as components (XEP-0114, both ends).
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createConnection } from 'node:net';
import { kinds } from '../../src/bridges/index.ts';
import { startHub } from '../../src/composition.ts';
import { parseConfig } from '../../src/hub/config.ts';
import { silentLog } from '../../src/hub/log.ts';
import { el } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Stanza } from '../../src/xmpp/stanza.ts';
import { type Ending, Stream } from '../../src/xmpp/stream.ts';
import { echo } from '../support/echo.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { until } from '../support/until.ts';

/** A component in the test's hands. */
class Component {
  readonly stream: Stream;
  readonly inbox: Stanza[] = [];
  shaken = false;
  ending: Ending | null = null;

  constructor(port: number, domain: string, secret: string) {
    this.stream = new Stream(
      createConnection({ host: '127.0.0.1', port }),
      { contentNs: ns.component, limits: { stanzaSize: 100_000 }, rate: 0 },
      {
        opened: header => {
          const digest = createHash('sha1')
            .update((header.attrs.id ?? '') + secret)
            .digest('hex');
          this.stream.sendText(`<handshake>${digest}</handshake>`);
        },
        stanza: stanza => {
          if (stanza.name === 'handshake') this.shaken = true;
          else this.inbox.push(stanza);
        },
        closed: ending => {
          this.ending = ending;
        },
      },
    );
    this.stream.open({ to: domain });
  }

  async gets(test: (stanza: Stanza) => boolean): Promise<Stanza> {
    await until(() => this.inbox.some(test));
    return this.inbox.find(test)!;
  }
}

const secret = 'a secret of components';

describe('components', () => {
  let hub: TestHub;
  let port = 0;
  before(async () => {
    hub = await startTestHub(['hub.test'], {
      listen: { component: '127.0.0.1:0' },
      yaml: `components: { irc.hub.test: { secret: ${secret} }, log.hub.test: { secret: ${secret}, presence: true } }`,
    });
    port = hub.listening.component[0].port;
  });
  after(() => hub.close());

  it('are let in by their secret only, once, and only where they are named', async () => {
    const wrong = new Component(port, 'irc.hub.test', 'guess');
    await until(() => wrong.ending !== null);
    assert.equal(wrong.ending?.error?.condition, 'not-authorized');
    const unknown = new Component(port, 'mud.hub.test', secret);
    await until(() => unknown.ending !== null);
    assert.equal(unknown.ending?.error?.condition, 'host-unknown');
    const right = new Component(port, 'irc.hub.test', secret);
    await until(() => right.shaken);
    const second = new Component(port, 'irc.hub.test', secret);
    await until(() => second.ending !== null);
    assert.equal(second.ending?.error?.condition, 'conflict');
    right.stream.close();
    await until(() => hub.components.connected.length === 0);
  });

  it('exchange stanzas with users, for their own domain alone', async () => {
    const component = new Component(port, 'irc.hub.test', secret);
    await until(() => component.shaken);
    const romeo = await hub.client('romeo@hub.test');
    await romeo.sends(`<message to='#room@irc.hub.test' type='chat'><body>hello, room</body></message>`);
    const heard = await component.gets(stanza => stanza.text('body') === 'hello, room');
    assert.equal(String(heard.from), romeo.jid);
    component.stream.sendText(
      `<message from='#room@irc.hub.test/nick' to='romeo@hub.test' type='chat'><body>hello, romeo</body></message>`,
    );
    assert.equal((await romeo.hears('hello, romeo')).attrs.from, '#room@irc.hub.test/nick');
    component.stream.sendText(`<message from='juliet@hub.test' to='romeo@hub.test'><body>forged</body></message>`);
    await until(() => component.ending !== null);
    assert.equal(component.ending?.error?.condition, 'invalid-from');
    await romeo.hasNot(e => e.childText('body') === 'forged');
    await romeo.sends(`<message to='#room@irc.hub.test' id='m2' type='chat'><body>gone</body></message>`);
    const error = await romeo.receives(e => e.attrs.id === 'm2');
    assert.match(String(error), /irc.hub.test is not connected/);
    await romeo.close();
  });

  it('see presence where they ask for it', async () => {
    const component = new Component(port, 'log.hub.test', secret);
    await until(() => component.shaken);
    const juliet = await hub.client('juliet@hub.test');
    const come = await component.gets(stanza => stanza.name === 'presence' && String(stanza.from) === juliet.jid);
    assert.equal(come.type, '');
    juliet.drop();
    await component.gets(stanza => stanza.type === 'unavailable' && String(stanza.from) === juliet.jid);
    component.stream.close();
  });
});

describe('bridges attached to another server', () => {
  it('serve its users, go on after a break, and say why they cannot connect', async () => {
    (kinds as unknown[]).push(echo);
    const server = await startTestHub(['hub.test'], {
      listen: { component: '127.0.0.1:0' },
      yaml: `components: { echo.hub.test: { secret: ${secret} } }`,
    });
    const { port } = server.listening.component[0];
    const text = (password: string) => `data: ${server.directory}/attached
listen: { http: ["127.0.0.1:0"] }
attach: { address: "127.0.0.1:${port}", secrets: { echo.hub.test: "${password}" } }
bridges: { echo: { kind: echo, domain: echo.hub.test } }`;
    const start = (password: string) => startHub(parseConfig(text(password), 'attached.yaml'), silentLog());
    const refused = await start('wrong');
    await until(() => refused.attachment?.list()[0].state === 'waiting');
    assert.match(refused.attachment!.list()[0].problem, /refused the secret/);
    await refused.stop();

    const attached = await start(secret);
    try {
      assert.deepEqual(attached.bridges.find('echo').show(), { inside: false });
      assert.equal(attached.listening.c2s.length, 0);
      await until(() => server.components.connected.length === 1);
      const romeo = await server.client('romeo@hub.test');
      await romeo.sends(`<message to='nymph@echo.hub.test' type='chat'><body>who is there</body></message>`);
      assert.equal((await romeo.hears('who is there')).attrs.from, 'nymph@echo.hub.test');
      const info = await romeo.asks('get', el('query', ns.discoInfo), 'echo.hub.test');
      assert.equal(info.child('query', ns.discoInfo)?.child('identity')?.attrs.type, 'echo');
      server.components.stop();
      await until(() => server.components.connected.length === 0);
      await until(() => server.components.connected.length === 1);
      await romeo.sends(`<message to='nymph@echo.hub.test' type='chat'><body>still there</body></message>`);
      await romeo.hears('still there');
    } finally {
      await attached.stop();
      await server.close();
      (kinds as unknown[]).pop();
    }
  });
});
