// Rosters as clients keep them, and subscriptions as both sides see them (RFC 6121 §2, §3, §4).
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client, ClientOptions } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const conditionOf = (answer: Element) =>
  answer
    .child('error')
    ?.all()
    .find(e => e.ns === ns.stanzaErrors)?.name;
const query = (inner = '', attributes = '') => `<query xmlns='${ns.roster}'${attributes}>${inner}</query>`;
const itemsOf = (iq: Element) => iq.child('query', ns.roster)?.all('item') ?? [];
/** An item in short: address, subscription, what is asked, approval. */
const shown = ({ attrs }: Element) =>
  [attrs.jid.split('@')[0], attrs.subscription, attrs.ask && 'asked', attrs.approved && 'approved']
    .filter(Boolean)
    .join(' ');

describe('rosters', () => {
  let hub: TestHub;
  let users = 0;
  before(async () => {
    hub = await startTestHub(['hub.test'], {
      yaml: 'clients: { require-tls: false }\nlimits: { connections: { per-address: 1000 } }',
    });
  });
  after(() => hub.close());

  /** A new user who has asked for the roster. */
  async function enter(name: string, options: Partial<ClientOptions> = {}): Promise<Client> {
    const client = await hub.client(`${name}@hub.test`, { security: 'plain', mechanism: 'PLAIN', ...options });
    await client.asks('get', query());
    return client;
  }
  async function pair(): Promise<[Client, Client]> {
    const n = ++users;
    return [await enter(`romeo${n}`, { resource: 'a' }), await enter(`juliet${n}`, { resource: 'b' })];
  }
  const bare = (client: Client) => client.jid.split('/')[0];
  const push = (client: Client) => client.receives(e => e.attrs.type === 'set' && itemsOf(e).length > 0);
  const roster = async (client: Client) =>
    itemsOf(await client.asks('get', query()))
      .map(shown)
      .sort();
  const presence = (client: Client, type: string) =>
    client.receives(e => e.name === 'presence' && (e.attrs.type ?? '') === type);

  it('are pushed to the devices that asked for them, with a version', async () => {
    const name = `many${++users}`;
    const [one, two] = [await enter(name), await enter(name)];
    const deaf = await hub.client(`${name}@hub.test`, { security: 'plain', mechanism: 'PLAIN' });
    const set = await one.asks(
      'set',
      query(`<item jid='NURSE@hub.test/x' name='Nurse'><group>a &amp; b</group><group>c</group></item>`),
    );
    assert.equal(set.attrs.type, 'result');
    for (const client of [one, two]) {
      const pushed = await push(client);
      const [item] = itemsOf(pushed);
      assert.deepEqual({ ...item.attrs }, { jid: 'nurse@hub.test', name: 'Nurse', subscription: 'none' });
      assert.deepEqual(
        item.all('group').map(group => group.text),
        ['a & b', 'c'],
      );
      assert.match(pushed.child('query', ns.roster)!.attrs.ver, /^\d+$/);
    }
    await deaf.hasNot(e => itemsOf(e).length > 0);
    await one.asks('set', query(`<item jid='nurse@hub.test'/>`));
    const [changed] = itemsOf(await push(two));
    assert.equal(changed.attrs.name, undefined);
    assert.equal(changed.all('group').length, 0);
    await one.asks('set', query(`<item jid='nurse@hub.test' subscription='remove'/>`));
    assert.equal(itemsOf(await push(two))[0].attrs.subscription, 'remove');
    assert.deepEqual(await roster(one), []);
    for (const client of [one, two, deaf]) await client.close();
  });

  const others = Array.from({ length: 40 }, (_, i) => `other${i}@hub.test`);

  /** Gives a roster so many contacts that a few changes come as pushes. */
  async function fill(client: Client): Promise<void> {
    for (const jid of others) {
      await client.asks('set', query(`<item jid='${jid}'/>`));
      await push(client);
    }
  }

  it('send only what is new to a client that knows a version', async () => {
    const name = `versions${++users}`;
    const client = await enter(name);
    await fill(client);
    await client.asks('set', query(`<item jid='a@hub.test'/>`));
    const { ver } = (await push(client)).child('query', ns.roster)!.attrs;
    await client.asks('set', query(`<item jid='b@hub.test'/>`));
    await client.asks('set', query(`<item jid='a@hub.test' subscription='remove'/>`));
    const again = await hub.client(`${name}@hub.test`, { security: 'plain', mechanism: 'PLAIN' });
    const answer = await again.asks('get', query('', ` ver='${ver}'`));
    assert.equal(answer.child('query', ns.roster), null);
    const changes = [await push(again), await push(again)].map(pushed => shown(itemsOf(pushed)[0]));
    assert.deepEqual(changes, ['b none', 'a remove']);
    const latest = whole(await again.asks('get', query()));
    for (const unknown of ['', '0', '-1', '01', '99', '1e1', 'no version', '9'.repeat(300)]) {
      assert.equal(whole(await again.asks('get', query('', ` ver='${unknown}'`))), latest);
    }
    const current = await again.asks('get', query('', ` ver='${latest}'`));
    assert.equal(current.children.length, 0);
    await again.hasNot(e => itemsOf(e).length > 0);
    await client.close();
    await again.close();
  });

  it('send everything where that is less than one push for each change', async () => {
    const client = await enter(`whole${++users}`);
    await client.asks('set', query(`<item jid='a@hub.test'/>`));
    const { ver } = (await push(client)).child('query', ns.roster)!.attrs;
    for (const jid of ['b@hub.test', 'c@hub.test']) await client.asks('set', query(`<item jid='${jid}'/>`));
    await client.asks('set', query(`<item jid='a@hub.test' subscription='remove'/>`));
    let latest = '';
    for (let i = 0; i < 3; i++) latest = (await push(client)).child('query', ns.roster)!.attrs.ver;
    const answer = await client.asks('get', query('', ` ver='${ver}'`));
    assert.deepEqual(itemsOf(answer).map(shown), ['b none', 'c none']);
    assert.equal(answer.child('query', ns.roster)!.attrs.ver, latest);
    const same = await client.asks('get', query('', ` ver='${latest}'`));
    assert.equal(same.child('query', ns.roster), null);
    await client.hasNot(e => itemsOf(e).length > 0);
    await client.close();
  });

  /** The version of a roster that came as a whole. */
  function whole(answer: Element): string {
    assert.equal(itemsOf(answer).length, others.length + 1);
    return answer.child('query', ns.roster)!.attrs.ver;
  }

  it('tell of each item that has changed once, as it is now, and in the order of the changes', async () => {
    const name = `order${++users}`;
    const client = await enter(name);
    assert.ok(client.features.child('ver', ns.rosterVersioning));
    const versions: string[] = [];
    const set = async (attributes: string) => {
      await client.asks('set', query(`<item ${attributes}/>`));
      versions.push((await push(client)).child('query', ns.roster)!.attrs.ver);
    };
    await fill(client);
    for (const contact of ['a', 'b', 'c']) await set(`jid='${contact}@hub.test'`);
    for (const attributes of [`jid='c@hub.test' name='1'`, `jid='a@hub.test' name='2'`, `jid='c@hub.test' name='3'`]) {
      await set(attributes);
    }
    await set(`jid='b@hub.test' subscription='remove'`);
    assert.equal(new Set(versions).size, versions.length);
    const again = await hub.client(`${name}@hub.test`, { security: 'plain', mechanism: 'PLAIN' });
    await again.asks('get', query('', ` ver='${versions[2]}'`));
    const changes = [await push(again), await push(again), await push(again)];
    assert.deepEqual(
      changes.map(change => itemsOf(change)[0]).map(({ attrs }) => [attrs.jid[0], attrs.name ?? attrs.subscription]),
      [
        ['a', '2'],
        ['c', '3'],
        ['b', 'remove'],
      ],
    );
    assert.equal(changes[2].child('query', ns.roster)!.attrs.ver, versions.at(-1));
    await again.hasNot(e => itemsOf(e).length > 0);
    await client.close();
    await again.close();
  });

  it('tell of changes that come together with the version that each made, so that a client cut off between them misses none', async () => {
    const client = await enter(`together${++users}`);
    const set = (contact: string, name: string) =>
      `<iq type='set' id='${name}'>${query(`<item jid='${contact}@hub.test' name='${name}'/>`)}</iq>`;
    await client.sends(set('a', '1') + set('b', '2') + set('a', '3'));
    const told = [await push(client), await push(client), await push(client)];
    assert.deepEqual(
      told.map(change => itemsOf(change)[0].attrs.name),
      ['1', '2', '3'],
    );
    const versions = told.map(change => Number(change.child('query', ns.roster)!.attrs.ver));
    assert.ok(versions[0] < versions[1] && versions[1] < versions[2], String(versions));
    await client.close();
  });

  it('say nothing of those who ask and are not in them', async () => {
    const [romeo, juliet] = await pair();
    await juliet.asks('set', query(`<item jid='nurse@hub.test'/>`));
    const { ver } = (await push(juliet)).child('query', ns.roster)!.attrs;
    await romeo.sends(`<presence to='${bare(juliet)}' type='subscribe'/>`);
    await presence(juliet, 'subscribe');
    assert.equal((await juliet.asks('get', query('', ` ver='${ver}'`))).children.length, 0);
    await juliet.sends(`<presence to='${bare(romeo)}' type='unsubscribed'/>`);
    await presence(romeo, 'unsubscribed');
    assert.equal((await juliet.asks('get', query('', ` ver='${ver}'`))).children.length, 0);
    await juliet.hasNot(e => itemsOf(e).length > 0);
    await romeo.close();
    await juliet.close();
  });

  for (const [what, inner, condition] of [
    ['no item', '', 'bad-request'],
    ['two items', `<item jid='a@hub.test'/><item jid='b@hub.test'/>`, 'bad-request'],
    ['an item without address', '<item/>', 'jid-malformed'],
    ['an address that is none', `<item jid='@'/>`, 'jid-malformed'],
    ['a group twice', `<item jid='a@hub.test'><group>x</group><group>x</group></item>`, 'bad-request'],
    ['a group without name', `<item jid='a@hub.test'><group/></item>`, 'not-acceptable'],
    ['a name too long', `<item jid='a@hub.test' name='${'x'.repeat(2000)}'/>`, 'not-acceptable'],
    ['a group too long', `<item jid='a@hub.test'><group>${'x'.repeat(2000)}</group></item>`, 'not-acceptable'],
    [
      'a group that is empty among others',
      `<item jid='a@hub.test'><group>x</group><group></group></item>`,
      'not-acceptable',
    ],
    [
      'too many groups',
      `<item jid='a@hub.test'>${Array.from({ length: 101 }, (_, n) => `<group>${n}</group>`).join('')}</item>`,
      'not-acceptable',
    ],
    ['the removal of nobody', `<item jid='nobody@hub.test' subscription='remove'/>`, 'item-not-found'],
  ]) {
    it(`answer ${condition} to ${what}`, async () => {
      const client = await enter(`wrong${++users}`);
      assert.equal(conditionOf(await client.asks('set', query(inner))), condition);
      assert.deepEqual(await roster(client), []);
      await client.close();
    });
  }

  for (const subscription of ['both', 'to', 'from', 'none', 'foobar', '']) {
    it(`take no subscription from a client: '${subscription}'`, async () => {
      const client = await enter(`sly${++users}`);
      const item = `<item jid='x@hub.test' subscription='${subscription}' ask='subscribe' approved='true'/>`;
      assert.equal((await client.asks('set', query(item))).attrs.type, 'result');
      assert.deepEqual(shown(itemsOf(await push(client))[0]), 'x none');
      assert.deepEqual(await roster(client), ['x none']);
      await client.close();
    });
  }

  it('are for their owners alone', async () => {
    const [romeo, juliet] = await pair();
    for (const to of [bare(juliet), 'nobody@hub.test', 'hub.test']) {
      for (const [type, inner] of [
        ['get', ''],
        ['set', `<item jid='x@hub.test'/>`],
        ['set', `<item jid='x@hub.test' subscription='remove'/>`],
      ] as const) {
        assert.equal(conditionOf(await romeo.asks(type, query(inner), to)), 'forbidden');
      }
    }
    assert.equal((await romeo.asks('get', query(), bare(romeo))).attrs.type, 'result');
    assert.equal((await romeo.asks('set', query(`<item jid='x@hub.test'/>`), bare(romeo))).attrs.type, 'result');
    assert.deepEqual(await roster(juliet), []);
    await romeo.close();
    await juliet.close();
  });

  it('are pushed to clients without presence as well, and to none that has presence alone', async () => {
    const name = `shy${++users}`;
    const quiet = await enter(name, { quiet: true });
    const present = await hub.client(`${name}@hub.test`, { security: 'plain', mechanism: 'PLAIN' });
    await quiet.asks('set', query(`<item jid='x@hub.test'/>`));
    const pushed = await push(quiet);
    assert.deepEqual([pushed.attrs.from, pushed.attrs.to], [`${name}@hub.test`, quiet.jid]);
    // What a client answers, and even that it refuses, changes nothing.
    await quiet.sends(`<iq type='result' id='${pushed.attrs.id}' to='${name}@hub.test'/>`);
    await quiet.sends(`<iq type='error' id='${pushed.attrs.id}'><error type='cancel'/></iq>`);
    await quiet.hasNot(e => e.attrs.type === 'error');
    await present.hasNot(e => e.attrs.type === 'set');
    await quiet.close();
    await present.close();
  });

  it('have items that are replaced as a whole', async () => {
    const client = await enter(`whole${++users}`);
    const groups = (...names: string[]) => names.map(name => `<group>${name}</group>`).join('');
    for (const [name, ...inGroups] of [
      ['Romeo', 'Friends'],
      ['Romeo', 'Friends', 'Lovers'],
      ['Romeo', 'Lovers'],
      [''],
      ['R', 'Last'],
    ]) {
      await client.asks(
        'set',
        query(`<item jid='x@hub.test'${name && ` name='${name}'`}>${groups(...inGroups)}</item>`),
      );
      for (const [item] of [itemsOf(await push(client)), itemsOf(await client.asks('get', query()))]) {
        assert.equal(item.attrs.name ?? '', name);
        assert.deepEqual(
          item.all('group').map(group => group.text),
          inGroups,
        );
      }
    }
    await client.close();
  });

  it('go through a subscription, step by step, on both sides', async () => {
    const [romeo, juliet] = await pair();
    const [r, j] = [bare(romeo), bare(juliet)];
    const state = async () => [(await roster(romeo)).join(), (await roster(juliet)).join()];
    await romeo.sends(`<presence to='${juliet.jid}' type='subscribe' id='s1'/>`);
    const request = await presence(juliet, 'subscribe');
    assert.deepEqual([request.attrs.from, request.attrs.to], [r, j]);
    assert.deepEqual(await state(), [`${j.split('@')[0]} none asked`, '']);
    await juliet.sends(`<presence to='${r}' type='subscribed'/>`);
    assert.equal((await presence(romeo, 'subscribed')).attrs.from, j);
    assert.equal(
      (await romeo.receives(e => e.name === 'presence' && e.attrs.from === juliet.jid)).attrs.type,
      undefined,
    );
    assert.deepEqual(await state(), [`${j.split('@')[0]} to`, `${r.split('@')[0]} from`]);
    await juliet.sends(`<presence to='${r}' type='subscribe'/>`);
    await presence(romeo, 'subscribe');
    await romeo.sends(`<presence to='${j}' type='subscribed'/>`);
    await presence(juliet, 'subscribed');
    assert.deepEqual(await state(), [`${j.split('@')[0]} both`, `${r.split('@')[0]} both`]);
    await romeo.sends(`<presence to='${j}' type='unsubscribe'/>`);
    await presence(juliet, 'unsubscribe');
    await romeo.receives(e => e.attrs.type === 'unavailable' && e.attrs.from === juliet.jid);
    assert.deepEqual(await state(), [`${j.split('@')[0]} from`, `${r.split('@')[0]} to`]);
    await romeo.sends(`<presence to='${j}' type='unsubscribed'/>`);
    await juliet.receives(e => e.attrs.type === 'unavailable' && e.attrs.from === romeo.jid);
    await presence(juliet, 'unsubscribed');
    assert.deepEqual(await state(), [`${j.split('@')[0]} none`, `${r.split('@')[0]} none`]);
    await romeo.close();
    await juliet.close();
  });

  it('keep a request until somebody who is away answers it', async () => {
    const n = ++users;
    const romeo = await enter(`romeo${n}`);
    await hub.accounts.add(`away${n}@hub.test`, 'a password for tests');
    await romeo.sends(`<presence to='away${n}@hub.test' type='subscribe'><status>please</status></presence>`);
    await push(romeo);
    for (let login = 0; login < 2; login++) {
      const away = await enter(`away${n}`);
      const request = await presence(away, 'subscribe');
      assert.equal(request.childText('status'), 'please');
      assert.deepEqual(await roster(away), []);
      if (login === 1) {
        await away.sends(`<presence to='${bare(romeo)}' type='unsubscribed'/>`);
        await presence(romeo, 'unsubscribed');
      }
      await away.close();
    }
    const away = await enter(`away${n}`);
    await away.hasNot(e => e.attrs.type === 'subscribe');
    await away.close();
    await romeo.close();
  });

  it('answer by themselves who was approved before, and who is subscribed already', async () => {
    const [romeo, juliet] = await pair();
    await juliet.sends(`<presence to='${bare(romeo)}' type='subscribed'/>`);
    assert.equal(shown(itemsOf(await push(juliet))[0]), `${bare(romeo).split('@')[0]} none approved`);
    await romeo.hasNot(e => e.name === 'presence' && e.attrs.type === 'subscribed');
    for (let n = 0; n < 2; n++) {
      await romeo.sends(`<presence to='${bare(juliet)}' type='subscribe'/>`);
      if (n === 0) await presence(romeo, 'subscribed');
    }
    await juliet.hasNot(e => e.attrs.type === 'subscribe');
    assert.deepEqual(await roster(romeo), [`${bare(juliet).split('@')[0]} to`]);
    await romeo.close();
    await juliet.close();
  });

  it('end subscriptions with the removal of an item, on both sides', async () => {
    const [romeo, juliet] = await pair();
    for (const [one, other] of [
      [romeo, juliet],
      [juliet, romeo],
    ]) {
      await one.sends(`<presence to='${bare(other)}' type='subscribe'/>`);
      await presence(other, 'subscribe');
      await other.sends(`<presence to='${bare(one)}' type='subscribed'/>`);
      await presence(one, 'subscribed');
    }
    await romeo.asks('set', query(`<item jid='${bare(juliet)}' subscription='remove'/>`));
    for (const type of ['unsubscribe', 'unsubscribed']) await presence(juliet, type);
    assert.deepEqual(await roster(romeo), []);
    assert.deepEqual(await roster(juliet), [`${bare(romeo).split('@')[0]} none`]);
    await romeo.close();
    await juliet.close();
  });

  it('tell nothing to whom they tell nothing: probes, presence out of the blue, answers nobody asked for', async () => {
    const [romeo, juliet] = await pair();
    await romeo.sends(`<presence to='${bare(juliet)}' type='probe'/>`);
    await romeo.hasNot(e => e.attrs.from?.startsWith(bare(juliet)) === true);
    for (const type of ['subscribed', 'unsubscribed', 'unsubscribe']) {
      await romeo.sends(`<presence to='${bare(juliet)}' type='${type}'/>`);
    }
    await romeo.hasNot(e => e.attrs.type === 'error');
    await juliet.hasNot(e => e.name === 'presence' && /subscribe/.test(e.attrs.type ?? ''));
    assert.deepEqual(await roster(juliet), []);
    await romeo.close();
    await juliet.close();
  });
});
