// Login in one round trip: SASL2, with a bound resource, a resumed session or a token (XEP-0388, 0386, 0484).
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { channelBindings } from '../../src/xmpp/sasl/channel-binding.ts';
import { tokenAnswer, tokenMessage } from '../../src/xmpp/sasl/hashed-token.ts';
import { plainMessage } from '../../src/xmpp/sasl/plain.ts';
import { ScramClient } from '../../src/xmpp/sasl/scram.ts';
import { type Client, connectClient } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const password = 'a password for tests';
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const conditionOf = (failure: Element) => failure.all().find(e => e.ns === ns.sasl)?.name;

describe('one round trip', () => {
  let hub: TestHub;
  let romeo: Client;
  before(async () => {
    hub = await startTestHub(`{ hub.test: { modules: { archive: true } } }`, { listen: { 'c2s-tls': '127.0.0.1:0' } });
    romeo = await hub.client('romeo@hub.test');
    await hub.accounts.add('juliet@hub.test', password);
  });
  after(() => hub.close());

  /** A connection that is secured and not authenticated. */
  const connect = (from?: string) =>
    connectClient({
      from,
      jid: 'juliet@hub.test',
      password,
      port: hub.listening['c2s-tls'][0].port,
      security: 'direct',
      bare: true,
    });
  const plain = (user = 'juliet', secret = password) =>
    `<initial-response>${base64(plainMessage(user, secret))}</initial-response>`;
  const agent = (id: string) => `<user-agent id='${id}'><software>Test</software></user-agent>`;
  const authenticate = (inner: string, mechanism = 'PLAIN') =>
    `<authenticate xmlns='${ns.sasl2}' mechanism='${mechanism}'>${inner}</authenticate>`;
  const outcome = (client: Client) => client.receives(e => e.ns === ns.sasl2 && e.name !== 'challenge');

  async function succeeds(inner: string, mechanism = 'PLAIN'): Promise<{ client: Client; success: Element }> {
    const client = await connect();
    await client.sends(authenticate(inner, mechanism));
    const success = await outcome(client);
    assert.equal(success.name, 'success', String(success));
    client.jid = success.childText('authorization-identifier');
    return { client, success };
  }

  it('is offered on secured streams only', async () => {
    const client = await connect();
    const feature = client.features.child('authentication', ns.sasl2)!;
    assert.ok(feature.all('mechanism').some(e => e.text === 'SCRAM-SHA-256'));
    const inline = feature.child('inline')!;
    assert.ok(inline.child('sm', ns.streamManagement));
    const features = inline
      .child('bind', ns.bind2)!
      .child('inline')!
      .all('feature')
      .map(e => e.attrs.var);
    for (const name of [ns.carbons, ns.streamManagement]) assert.ok(features.includes(name), name);
    assert.deepEqual(
      inline
        .child('fast', ns.fast)!
        .all('mechanism')
        .map(e => e.text),
      ['HT-SHA-256-EXPR', 'HT-SHA-256-ENDP', 'HT-SHA-256-NONE'],
    );
    await client.close();
    const open = await hub.client('juliet@hub.test', { bare: true });
    assert.equal(open.features.child('authentication', ns.sasl2), null);
    await open.close();
  });

  it('authenticates, and goes on with features and no new stream', async () => {
    const { client, success } = await succeeds(plain());
    assert.equal(success.childText('authorization-identifier'), 'juliet@hub.test');
    const features = await client.receives(e => e.is('features', ns.streams));
    assert.ok(features.child('bind', ns.bind));
    await client.bind('classic');
    assert.equal(client.jid, 'juliet@hub.test/classic');
    await client.hasNot(() => false);
    await client.close();
  });

  it('takes mechanisms of several steps', async () => {
    const client = await connect();
    const scram = new ScramClient({ hash: 'SHA-256', user: 'juliet', password });
    const first = `<initial-response>${base64(scram.first())}</initial-response>`;
    await client.sends(authenticate(first, 'SCRAM-SHA-256'));
    const challenge = await client.receives(e => e.is('challenge', ns.sasl2));
    const last = await scram.final(Buffer.from(challenge.text, 'base64'));
    await client.sends(`<response xmlns='${ns.sasl2}'>${base64(last)}</response>`);
    const success = await outcome(client);
    scram.verify(Buffer.from(success.childText('additional-data'), 'base64'));
    await client.close();
  });

  it('binds, with carbons, stream management and the state of the archive', async () => {
    await romeo.sends(`<message to='juliet@hub.test' type='chat'><body>while away</body></message>`);
    await romeo.hasNot(() => false);
    const { client, success } = await succeeds(
      `${plain()}<bind xmlns='${ns.bind2}'><tag>Test client</tag><enable xmlns='${ns.carbons}'/><enable xmlns='${ns.streamManagement}' resume='1'/></bind>`,
    );
    assert.match(client.jid, /^juliet@hub\.test\/Test client\/[\w-]{12}$/);
    const bound = success.child('bound', ns.bind2)!;
    assert.ok(bound.child('enabled', ns.streamManagement)?.attrs.id);
    assert.ok(bound.child('metadata', ns.archive)?.child('end')?.attrs.id);
    const features = await client.receives(e => e.is('features', ns.streams));
    assert.equal(features.child('bind', ns.bind), null);
    const other = await hub.client('juliet@hub.test', { resource: 'other' });
    await other.sends(`<message to='${romeo.jid}' type='chat'><body>copied</body></message>`);
    await client.receives(e => e.child('sent', ns.carbons) !== null);
    await client.sends('<presence/>');
    await client.hasNot(e => e.childText('body') === 'while away');
    await client.close();
    await other.close();
  });

  it('binds a client that nobody looks at', async () => {
    const { client } = await succeeds(
      `${plain()}<bind xmlns='${ns.bind2}'><inactive xmlns='${ns.clientState}'/></bind>`,
    );
    const shows = (status: string) => romeo.sends(`<presence to='${client.jid}'><status>${status}</status></presence>`);
    const ping = (id: string) => `<iq type='get' id='${id}' to='hub.test'><ping xmlns='${ns.ping}'/></iq>`;
    await client.sends(ping('p1'));
    await client.receives(e => e.attrs.id === 'p1');
    await shows('later');
    await romeo.hasNot(() => false);
    assert.ok(!client.inbox.some(e => e.childText('status') === 'later'));
    await client.sends(`<active xmlns='${ns.clientState}'/>`);
    await client.receives(e => e.childText('status') === 'later');
    await client.close();
  });

  it('gives the same installation the same resource, and ends what it left behind', async () => {
    const id = randomUUID();
    const bind = (tag: string) => `${plain()}${agent(id)}<bind xmlns='${ns.bind2}'><tag>${tag}</tag></bind>`;
    const first = await succeeds(bind('a'));
    const second = await succeeds(bind('a'));
    assert.equal(first.client.jid, second.client.jid);
    assert.ok(!first.client.jid.includes(id));
    assert.equal((await first.client.ends()).error?.condition, 'conflict');
    const third = await succeeds(bind('b'));
    assert.equal((await second.client.ends()).error?.condition, 'conflict');
    await third.client.close();
  });

  for (const tag of ['', ' ', '&#x202e;', 'x'.repeat(2000), '/', 'ünïcödé']) {
    it(`binds something for the tag ${tag.slice(0, 20)}`, async () => {
      const { client } = await succeeds(`${plain()}<bind xmlns='${ns.bind2}'><tag>${tag}</tag></bind>`);
      assert.match(client.jid, /^juliet@hub\.test\/.{12,90}$/u);
      await client.close();
    });
  }

  it('resumes in the same breath, and binds where that fails', async () => {
    const bind = `<bind xmlns='${ns.bind2}'><enable xmlns='${ns.streamManagement}' resume='true'/></bind>`;
    const { client, success } = await succeeds(plain() + bind);
    const { id } = success.child('bound', ns.bind2)!.child('enabled', ns.streamManagement)!.attrs;
    client.drop();
    await romeo.sends(`<message to='${client.jid}'><body>missed</body></message>`);
    const resume = (previd: string, h = '0') => `<resume xmlns='${ns.streamManagement}' previd='${previd}' h='${h}'/>`;
    const again = await succeeds(plain() + resume(id) + bind);
    assert.equal(again.success.child('resumed', ns.streamManagement)?.attrs.previd, id);
    assert.equal(again.success.child('bound', ns.bind2), null);
    assert.equal(again.client.jid, client.jid);
    await again.client.hears('missed');
    assert.equal(
      again.client.inbox.find(e => e.is('features', ns.streams)),
      undefined,
    );
    for (const refused of [resume('gone'), resume(id, '99')]) {
      const wrong = await succeeds(plain() + refused + bind);
      assert.ok(wrong.success.child('failed', ns.streamManagement));
      assert.ok(wrong.success.child('bound', ns.bind2));
      await wrong.client.close();
    }
    await again.client.close();
  });

  describe('tokens', () => {
    const id = randomUUID();
    const ask = (mechanism: string) => `<request-token xmlns='${ns.fast}' mechanism='${mechanism}'/>`;
    const tokenOf = (success: Element) => success.child('token', ns.fast);

    async function token(mechanism: string, client = id): Promise<string> {
      const { client: one, success } = await succeeds(plain() + agent(client) + ask(mechanism));
      const issued = tokenOf(success)!;
      assert.ok(Date.parse(issued.attrs.expiry) > Date.now() + 86_400_000);
      await one.close();
      return issued.attrs.token;
    }

    /** Logs in by a token; resolves with the outcome. */
    async function use(
      mechanism: string,
      secret: string,
      { agentId = id, fast = '', more = '', user = 'juliet' } = {},
    ): Promise<{ client: Client; answer: Element }> {
      const client = await connect();
      const bindings = channelBindings(client.stream.tls!);
      const message = base64(tokenMessage(mechanism, user, secret, bindings));
      await client.sends(
        authenticate(
          `<initial-response>${message}</initial-response>${agent(agentId)}<fast xmlns='${ns.fast}'${fast}/>${more}`,
          mechanism,
        ),
      );
      const answer = await outcome(client);
      if (answer.name === 'success') {
        const proof = Buffer.from(answer.childText('additional-data'), 'base64');
        assert.ok(proof.equals(tokenAnswer(mechanism, secret, bindings)));
      }
      return { client, answer };
    }

    for (const mechanism of ['HT-SHA-256-EXPR', 'HT-SHA-256-ENDP', 'HT-SHA-256-NONE']) {
      it(`log in by ${mechanism}, again and again`, async () => {
        const secret = await token(mechanism);
        for (let n = 0; n < 2; n++) {
          const { client, answer } = await use(mechanism, secret, { more: `<bind xmlns='${ns.bind2}'/>` });
          assert.equal(answer.name, 'success', String(answer));
          assert.ok(answer.child('bound', ns.bind2));
          assert.equal(tokenOf(answer), null);
          await client.close();
        }
      });
    }

    it('serve only the mechanism, the installation and the user they were made for', async () => {
      const secret = await token('HT-SHA-256-EXPR');
      for (const [mechanism, options] of [
        ['HT-SHA-256-NONE', {}],
        ['HT-SHA-256-ENDP', {}],
        ['HT-SHA-256-EXPR', { agentId: randomUUID() }],
        ['HT-SHA-256-EXPR', { user: 'romeo' }],
        ['HT-SHA-256-EXPR', { user: 'nobody' }],
      ] as const) {
        const { client, answer } = await use(mechanism, secret, options);
        assert.equal(conditionOf(answer), 'not-authorized');
        await client.close();
      }
      const { answer } = await use('HT-SHA-256-EXPR', 'guessed');
      assert.equal(conditionOf(answer), 'not-authorized');
    });

    it('are renewed on request; the old one is good until the new one is used', async () => {
      const client = randomUUID();
      const old = await token('HT-SHA-256-NONE', client);
      const mechanism = 'HT-SHA-256-NONE';
      const renewed = await use(mechanism, old, { agentId: client, more: ask(mechanism) });
      const fresh = tokenOf(renewed.answer)!.attrs.token;
      assert.equal((await use(mechanism, old, { agentId: client })).answer.name, 'success');
      assert.equal((await use(mechanism, fresh, { agentId: client })).answer.name, 'success');
      assert.equal(conditionOf((await use(mechanism, old, { agentId: client })).answer), 'not-authorized');
      assert.equal((await use(mechanism, fresh, { agentId: client })).answer.name, 'success');
    });

    it('are taken back on request', async () => {
      const secret = await token('HT-SHA-256-NONE');
      const { answer } = await use('HT-SHA-256-NONE', secret, { fast: ` invalidate='true'` });
      assert.equal(answer.name, 'success');
      assert.equal(conditionOf((await use('HT-SHA-256-NONE', secret)).answer), 'not-authorized');
    });

    it('count attempts where the client does', async () => {
      const secret = await token('HT-SHA-256-NONE');
      for (const [count, name] of [
        [1, 'success'],
        [1, 'failure'],
        [5, 'success'],
        [4, 'failure'],
      ] as const) {
        assert.equal((await use('HT-SHA-256-NONE', secret, { fast: ` count='${count}'` })).answer.name, name);
      }
    });

    it('end with the password they were got by, and with the account', async () => {
      await hub.accounts.add('peter@hub.test', password);
      const peter = (mechanism: string) => plain('peter') + agent(id) + ask(mechanism);
      const { success } = await succeeds(peter('HT-SHA-256-NONE'));
      const secret = tokenOf(success)!.attrs.token;
      await hub.accounts.passwd('peter@hub.test', 'another one');
      const { answer } = await use('HT-SHA-256-NONE', secret, { user: 'peter' });
      assert.equal(conditionOf(answer), 'credentials-expired');
      await hub.accounts.remove('peter@hub.test');
      assert.equal(conditionOf((await use('HT-SHA-256-NONE', secret, { user: 'peter' })).answer), 'not-authorized');
    });

    it('are not given without a name of the installation, nor for a mechanism that is none', async () => {
      for (const inner of [
        plain() + ask('HT-SHA-256-NONE'),
        plain() + agent('not a uuid') + ask('HT-SHA-256-NONE'),
        plain() + agent(id) + ask('PLAIN'),
      ]) {
        const { client, success } = await succeeds(inner);
        assert.equal(tokenOf(success), null);
        await client.close();
      }
    });

    for (const [what, inner, mechanism, condition] of [
      ['no message', agent(id), 'HT-SHA-256-NONE', 'malformed-request'],
      ['no installation', '<initial-response>AAAA</initial-response>', 'HT-SHA-256-NONE', 'malformed-request'],
      [
        'a message too short',
        `<initial-response>anVsaWV0AAA=</initial-response>${agent(id)}`,
        'HT-SHA-256-NONE',
        'malformed-request',
      ],
      ['another mechanism', plain() + agent(id), 'PLAIN', 'invalid-mechanism'],
    ] as const) {
      it(`answer ${condition} to ${what}`, async () => {
        const client = await connect();
        await client.sends(authenticate(`${inner}<fast xmlns='${ns.fast}'/>`, mechanism));
        assert.equal(conditionOf(await outcome(client)), condition);
        await client.close();
      });
    }
  });

  for (const [what, xml, condition] of [
    ['a wrong password', authenticate(plain('juliet', 'wrong')), 'not-authorized'],
    ['an unknown mechanism', authenticate(plain(), 'X-OTHER'), 'invalid-mechanism'],
    ['a token mechanism without the word', authenticate(plain(), 'HT-SHA-256-NONE'), 'invalid-mechanism'],
    ['no mechanism', `<authenticate xmlns='${ns.sasl2}'/>`, 'invalid-mechanism'],
    ['bad base64', authenticate('<initial-response>*</initial-response>'), 'incorrect-encoding'],
    ['an empty message', authenticate('<initial-response/>'), 'malformed-request'],
  ] as const) {
    it(`answers ${condition} to ${what}, and lets one try again`, async () => {
      const client = await connect();
      await client.sends(xml);
      assert.equal(conditionOf(await outcome(client)), condition);
      await client.sends(authenticate(plain()));
      assert.equal((await outcome(client)).name, 'success');
      await client.close();
    });
  }

  for (const [from, condition] of [
    ['juliet@hub.test', undefined],
    ['JULIET@hub.test/balcony', undefined],
    ['hub.test', undefined],
    ['romeo@hub.test', 'invalid-authzid'],
    ['juliet@other.test', 'invalid-authzid'],
  ] as const) {
    it(`answers ${condition ?? 'success'} on a stream that was opened from ${from}`, async () => {
      const client = await connect(from);
      assert.equal(client.header?.attrs.to, from.replace('JULIET', 'juliet'));
      await client.sends(authenticate(plain()));
      assert.equal(conditionOf(await outcome(client)), condition);
      await client.close();
    });
  }

  it('ends an exchange that is aborted', async () => {
    const client = await connect();
    await client.sends(authenticate('', 'SCRAM-SHA-256'));
    await client.receives(e => e.is('challenge', ns.sasl2));
    await client.sends(`<abort xmlns='${ns.sasl2}'/>`);
    assert.equal(conditionOf(await outcome(client)), 'aborted');
    await client.close();
  });

  for (const [what, xml] of [
    ['a stanza within the exchange', `<iq type='get' id='x'><ping xmlns='${ns.ping}'/></iq>`],
    ['the old way within the exchange', `<auth xmlns='${ns.sasl}' mechanism='PLAIN'>AAAA</auth>`],
    ['another authentication within the exchange', authenticate(plain())],
    ['an element that nobody knows', `<next xmlns='${ns.sasl2}'/>`],
  ]) {
    it(`closes the stream on ${what}`, async () => {
      const client = await connect();
      await client.sends(authenticate('', 'SCRAM-SHA-256'));
      await client.receives(e => e.is('challenge', ns.sasl2));
      await client.sends(xml);
      assert.equal((await client.ends()).error?.condition, 'policy-violation');
    });
  }

  it('closes the stream on authentication after authentication, and after too many failures', async () => {
    const { client } = await succeeds(plain());
    await client.sends(authenticate(plain()));
    assert.ok((await client.ends()).error);
    const guesser = await connect();
    for (let n = 0; n < 5; n++) await guesser.sends(authenticate(plain('juliet', `guess ${n}`)));
    assert.equal((await guesser.ends()).error?.condition, 'policy-violation');
  });
});
