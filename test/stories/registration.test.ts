// In-band registration before and behind a login, with everything that can go wrong (XEP-0077).
import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { patience } from '../../src/c2s/limits.ts';
import { formElement } from '../../src/xmpp/form.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { refusal } from '../support/administration.ts';
import { type Client, connectClient } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const permitted = `
clients:
  require-tls: false
  registration: true
  registration-fields: [mail]
  registration-limit: { accounts: 4, per: 1h }
cross-domain: { policy: open }
`;

describe('in-band registration', () => {
  let hub: TestHub;
  let stranger: Client;
  before(async () => {
    hub = await startTestHub('{ hub.test: {}, other.test: {}, closed.test: { modules: { registration: false } } }', {
      yaml: permitted,
    });
    stranger = await unknown('hub.test');
  });
  after(() => hub.close());

  const unknown = (domain: string) =>
    connectClient({ jid: `nobody@${domain}`, password: '', port: hub.port, security: 'plain', bare: true });
  const ask = (client: Client, type: 'get' | 'set', inner = '', to?: string) =>
    client.asks(type, `<query xmlns='${ns.register}'>${inner}</query>`, to);
  const application = (user: string, mail = 'user@mail.test') =>
    `<username>${user}</username><password>secret word</password><email>${mail}</email>`;

  it('is announced to clients that are not logged in, where it is on', async () => {
    assert.ok(stranger.features.child('register', ns.registerFeature));
    const closed = await unknown('closed.test');
    assert.equal(closed.features.child('register', ns.registerFeature), null);
  });

  it('leaves a person time to fill in the form, and nobody else', async () => {
    const usual = patience.negotiation;
    patience.negotiation = 300;
    try {
      const writer = await unknown('hub.test');
      await ask(writer, 'get', '', 'hub.test');
      const idle = await unknown('hub.test');
      assert.match((await idle.ends()).reason, /connection-timeout/);
      assert.equal((await ask(writer, 'get', '', 'hub.test')).attrs.type, 'result');
      await writer.close();
    } finally {
      patience.negotiation = usual;
    }
  });

  it('says what must be given, as elements and as a form', async () => {
    const query = (await ask(stranger, 'get', '', 'hub.test')).child('query', ns.register)!;
    assert.deepEqual(
      query.all().map(child => child.name),
      ['instructions', 'username', 'password', 'email', 'x'],
    );
    const fields = query.child('x', ns.data)!.all('field');
    assert.deepEqual(
      fields.map(field => field.attrs.var),
      ['FORM_TYPE', 'username', 'password', 'email'],
    );
  });

  it('makes an account, from elements and from a form', async () => {
    assert.equal((await ask(stranger, 'set', application('juliet'))).attrs.type, 'result');
    const values = { username: 'romeo', password: 'secret word', email: 'romeo@mail.test' };
    const fields = Object.entries(values).map(([name, value]) => ({ var: name, value }));
    const form = formElement('submit', { fields: [{ var: 'FORM_TYPE', value: ns.register }, ...fields] });
    assert.equal((await ask(stranger, 'set', form.toString())).attrs.type, 'result');
    const juliet = await hub.client('juliet@hub.test', { password: 'secret word', security: 'plain' });
    const mine = (await ask(juliet, 'get')).child('query', ns.register)!;
    assert.deepEqual(
      mine.all().map(child => [child.name, child.text]),
      [
        ['registered', ''],
        ['username', 'juliet'],
        ['password', ''],
        ['email', 'user@mail.test'],
      ],
    );
    await juliet.close();
  });

  it('refuses what is taken, incomplete or unusable, and repeats no password', async () => {
    assert.equal(refusal(await ask(stranger, 'set', '<username>x</username>')), 'not-acceptable');
    assert.equal(refusal(await ask(stranger, 'set', application('x', ''))), 'not-acceptable');
    assert.equal(refusal(await ask(stranger, 'set', application('x y'))), 'not-acceptable');
    assert.equal(refusal(await ask(stranger, 'set', application('x@y'))), 'not-acceptable');
    assert.equal(refusal(await ask(stranger, 'set', '<remove/>')), 'unexpected-request');
    const taken = await ask(stranger, 'set', application('juliet'));
    assert.equal(refusal(taken), 'conflict');
    assert.doesNotMatch(taken.toString(), /secret word/);
  });

  it('makes no more accounts than one address may have', async () => {
    assert.equal((await ask(stranger, 'set', application('paris'))).attrs.type, 'result');
    assert.equal(refusal(await ask(stranger, 'set', application('tybalt'))), 'resource-constraint');
    const other = await unknown('hub.test');
    assert.equal(refusal(await ask(other, 'set', application('tybalt'))), 'resource-constraint');
  });

  it('changes the password of one’s own account only', async () => {
    await hub.accounts.add('nurse@hub.test', 'before');
    const nurse = await hub.client('nurse@hub.test', { password: 'before', security: 'plain' });
    const set = async (inner: string, to?: string) => refusal(await ask(nurse, 'set', inner, to));
    const named = '<username>nurse</username>';
    assert.equal(await set('<password>behind</password>'), 'bad-request');
    assert.equal(await set(`${named}<password/>`), 'bad-request');
    assert.equal(await set('<username>juliet</username><password>behind</password>'), 'not-allowed');
    const fields = { username: 'nurse', old_password: 'wrong', password: 'behind' };
    const form = formElement('submit', {
      fields: Object.entries(fields).map(([name, value]) => ({ var: name, value })),
    });
    assert.equal(await set(form.toString()), 'not-authorized');
    assert.equal(await set(`${named}<password>behind</password>`, 'other.test'), 'service-unavailable');
    assert.equal(await set('<remove/>', 'other.test'), 'registration-required');
    assert.equal(await set('<remove/>', 'juliet@hub.test'), 'service-unavailable');
    const mixed = await ask(nurse, 'set', `${named}<password>\u200fal\u00adarm</password>`);
    assert.equal(refusal(mixed), 'not-acceptable');
    assert.doesNotMatch(String(mixed), /arm/);
    await assert.rejects(hub.accounts.add('peter@hub.test', '\u00ad'), {
      message: /characters that no password can have/,
    });
    assert.equal((await ask(nurse, 'set', `${named}<password>behind</password>`, 'hub.test')).attrs.type, 'result');
    await nurse.close();
    await (await hub.client('nurse@hub.test', { password: 'behind', security: 'plain' })).close();
  });

  it('keeps nothing of what a client says behind the removal of its account', async () => {
    const login = () => hub.client('late@hub.test', { security: 'plain', mechanism: 'PLAIN' });
    const late = await login();
    await late.sends(`<iq type='set' id='remove'><query xmlns='${ns.register}'><remove/></query></iq>`);
    for (let n = 0; late.ending === null; n++) {
      await late.sends(`<presence type='subscribe' to='friar${n}@hub.test'/>`);
      await nextTurn();
    }
    const again = await login();
    const roster = await again.asks('get', `<query xmlns='${ns.roster}'/>`);
    assert.deepEqual(roster.child('query', ns.roster)!.all('item').map(String), []);
    await again.close();
  });

  it('removes an account: its sessions end, its contacts are told', async () => {
    const [friar, monk] = await Promise.all(
      ['friar@hub.test', 'monk@hub.test'].map(jid => hub.client(jid, { security: 'plain' })),
    );
    await monk.asks('get', `<query xmlns='${ns.roster}'/>`);
    await friar.sends("<presence type='subscribe' to='monk@hub.test'/>");
    await monk.receives(element => element.attrs.type === 'subscribe');
    await monk.sends("<presence type='subscribed' to='friar@hub.test'/>");
    await friar.receives(element => element.attrs.from === monk.jid);
    const second = await hub.client('friar@hub.test', { security: 'plain' });
    assert.equal(refusal(await ask(friar, 'set', '<remove/><username>friar</username>')), 'bad-request');
    assert.equal((await ask(friar, 'set', '<remove/>')).attrs.type, 'result');
    assert.equal((await friar.ends()).error?.condition, 'not-authorized');
    assert.equal((await second.ends()).error?.condition, 'not-authorized');
    await monk.receives(element => element.attrs.type === 'unsubscribe' && element.attrs.from === 'friar@hub.test');
    assert.equal(await hub.hub.directory('hub.test')!.find('friar'), null);
    await monk.close();
  });

  it('is not there where the module is off', async () => {
    const juliet = await hub.client('juliet@closed.test', { security: 'plain' });
    assert.equal(refusal(await ask(juliet, 'get')), 'service-unavailable');
    await juliet.close();
  });
});
