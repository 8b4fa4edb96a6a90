// The archive: what is kept, how it is asked for, what is refused (XEP-0313, XEP-0359, XEP-0441).
import assert from 'node:assert/strict';
import type { Element } from '../../../src/xmpp/element.ts';
import { ns } from '../../../src/xmpp/namespaces.ts';
import type { Client } from '../../support/client.ts';
import { startTestHub, type TestHub } from '../../support/hubs.ts';

const domains = `
  capulet.test: { modules: { archive: true } }
  montague.test: {}`;

let queries = 0;

/** Asks an archive; resolves with the results and the end. */
async function query(
  client: Client,
  fields: Record<string, string | string[]> | null = null,
  set = '',
  more = '',
): Promise<{ results: Element[]; bodies: string; fin: Element }> {
  const queryid = `q${++queries}`;
  const form =
    fields === null
      ? ''
      : `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>${ns.archive}</value></field>${Object.entries(
          fields,
        )
          .map(
            ([name, value]) =>
              `<field var='${name}'>${[value]
                .flat()
                .map(one => `<value>${one}</value>`)
                .join('')}</field>`,
          )
          .join('')}</x>`;
  const page = set ? `<set xmlns='${ns.resultSet}'>${set}</set>` : '';
  const fin = await client.asks(
    'set',
    `<query xmlns='${ns.archive}' queryid='${queryid}'>${form}${page}${more}</query>`,
  );
  const results = client.inbox.filter(e => e.child('result', ns.archive)?.attrs.queryid === queryid);
  for (const result of results) client.inbox.splice(client.inbox.indexOf(result), 1);
  return { results, bodies: results.map(bodyOf).join(''), fin };
}

const innerOf = (message: Element) =>
  message.child('result', ns.archive)!.child('forwarded', ns.forward)!.child('message', ns.client)!;
const bodyOf = (message: Element) => innerOf(message).childText('body');
const idOf = (message: Element) => message.child('result', ns.archive)!.attrs.id;
const setOf = (fin: Element) => fin.child('fin', ns.archive)!.child('set', ns.resultSet)!;
const conditionOf = (answer: Element) => answer.child('error')?.all()[0]?.name;

describe('archive', () => {
  let hub: TestHub;
  let juliet: Client;
  let romeo: Client;
  before(async () => {
    hub = await startTestHub(domains, { yaml: 'cross-domain: { policy: open }' });
    juliet = await hub.client('juliet@capulet.test', { resource: 'balcony' });
    romeo = await hub.client('romeo@montague.test', { resource: 'orchard' });
  });
  after(() => hub.close());

  async function says(from: Client, to: string, body: string, more = ''): Promise<void> {
    await from.sends(`<message to='${to}' type='chat'><body>${body}</body>${more}</message>`);
  }

  it('is off where it is not switched on, and says so', async () => {
    const info = await romeo.asks('get', `<query xmlns='${ns.discoInfo}'/>`, 'romeo@montague.test');
    assert.ok(!String(info).includes(ns.archive));
    const { fin } = await query(romeo);
    assert.equal(conditionOf(fin), 'service-unavailable');
  });

  it('announces itself on the account', async () => {
    const info = await juliet.asks('get', `<query xmlns='${ns.discoInfo}'/>`, 'juliet@capulet.test');
    const features = info
      .child('query', ns.discoInfo)!
      .all('feature')
      .map(feature => feature.attrs.var);
    for (const feature of [ns.archive, `${ns.archive}#extended`, `${ns.archive}#groupchat-field`, ns.stableIds]) {
      assert.ok(features.includes(feature), feature);
    }
    const domain = await juliet.asks('get', `<query xmlns='${ns.discoInfo}'/>`, 'capulet.test');
    assert.ok(!String(domain).includes(`'${ns.archive}'`));
  });

  it('is empty at first', async () => {
    const { fin, results } = await query(juliet);
    assert.equal(results.length, 0);
    assert.equal(fin.child('fin', ns.archive)!.attrs.complete, 'true');
    assert.equal(setOf(fin).childText('count'), '0');
    assert.equal(setOf(fin).child('first'), null);
    const answer = await juliet.asks('get', `<metadata xmlns='${ns.archive}'/>`);
    assert.equal(answer.child('metadata', ns.archive)!.all().length, 0);
  });

  it('keeps what is sent and what comes, once and in order, with ids that the client has seen', async () => {
    await says(romeo, 'juliet@capulet.test', 'a');
    const heard = await juliet.hears('a');
    const [own] = heard.all('stanza-id', ns.stableIds);
    assert.equal(own.attrs.by, 'juliet@capulet.test');
    await says(juliet, 'romeo@montague.test', 'b');
    const there = await romeo.hears('b');
    assert.equal(there.child('stanza-id', ns.stableIds), null, 'the id is the sender’s own business');
    await says(romeo, juliet.jid, 'c');
    await juliet.hears('c');
    const { results, bodies, fin } = await query(juliet);
    assert.equal(bodies, 'abc');
    assert.equal(idOf(results[0]), own.attrs.id);
    assert.equal(results[0].attrs.from, 'juliet@capulet.test');
    assert.equal(results[0].attrs.to, juliet.jid);
    const inner = innerOf(results[0]);
    assert.equal(inner.attrs.from, romeo.jid);
    assert.equal(inner.attrs.type, 'chat');
    assert.match(
      results[0].child('result', ns.archive)!.child('forwarded', ns.forward)!.child('delay', ns.delay)!.attrs.stamp,
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
    );
    assert.equal(setOf(fin).childText('first'), idOf(results[0]));
    assert.equal(setOf(fin).childText('last'), idOf(results[2]));
    assert.equal(setOf(fin).child('first')!.attrs.index, '0');
    assert.equal(setOf(fin).childText('count'), '3');
  });

  it('takes ids in the account’s name away from messages, and leaves others', async () => {
    await says(
      romeo,
      'juliet@capulet.test',
      'forged',
      `<stanza-id xmlns='${ns.stableIds}' by='JULIET@capulet.test' id='x'/><stanza-id xmlns='${ns.stableIds}' by='room@muc.test' id='y'/>`,
    );
    const ids = (await juliet.hears('forged')).all('stanza-id', ns.stableIds);
    assert.deepEqual(ids.map(id => id.attrs.by).sort(), ['juliet@capulet.test', 'room@muc.test']);
    assert.ok(ids.every(id => id.attrs.id !== 'x'));
    // In an error they would come back just so.
    await romeo.sends(
      `<message to='${juliet.jid}' type='error' id='e1'><stanza-id xmlns='${ns.stableIds}' by='juliet@capulet.test' id='x'/><error type='cancel'/></message>`,
    );
    const error = await juliet.receives(e => e.attrs.id === 'e1');
    assert.equal(error.child('stanza-id', ns.stableIds), null);
  });

  it('takes them away from what it does not keep, too', async () => {
    const forged = `<stanza-id xmlns='${ns.stableIds}' by='juliet@capulet.test' id='x'/><no-store xmlns='${ns.hints}'/>`;
    await says(romeo, juliet.jid, 'not kept', forged);
    assert.equal((await juliet.hears('not kept')).child('stanza-id', ns.stableIds), null);
    await says(juliet, romeo.jid, 'forged for others', forged);
    assert.equal((await romeo.hears('forged for others')).child('stanza-id', ns.stableIds), null);
  });

  it('leaves the id that the sender gave as it is', async () => {
    await says(romeo, juliet.jid, 'of origin', `<origin-id xmlns='${ns.stableIds}' id='mine'/>`);
    assert.equal((await juliet.hears('of origin')).child('origin-id', ns.stableIds)?.attrs.id, 'mine');
  });

  it('is nothing that can be asked for elsewhere', async () => {
    for (const [to, condition] of [
      ['capulet.test', 'service-unavailable'],
      ['nobody@capulet.test', 'forbidden'],
    ]) {
      const answer = await juliet.asks('set', `<query xmlns='${ns.archive}'/>`, to);
      assert.equal(conditionOf(answer), condition);
    }
    assert.equal(conditionOf(await juliet.asks('set', `<query xmlns='${ns.archive}' node='n'/>`)), 'item-not-found');
    assert.equal(conditionOf(await juliet.asks('set', `<metadata xmlns='${ns.archive}'/>`)), 'bad-request');
  });

  it('keeps a message to oneself once', async () => {
    await says(juliet, 'juliet@capulet.test', 'note');
    const heard = await juliet.hears('note');
    const { results } = await query(juliet, { with: 'juliet@capulet.test' });
    assert.deepEqual(results.map(bodyOf), ['note']);
    assert.equal(heard.all('stanza-id', ns.stableIds).length, 1);
    assert.equal(heard.child('stanza-id', ns.stableIds)!.attrs.id, idOf(results[0]));
  });

  describe('what is kept', () => {
    const kept: [string, string, boolean][] = [
      ['a normal message', `<message to='TO'><body>BODY</body></message>`, true],
      ['one of unknown type', `<message to='TO' type='telegram'><body>BODY</body></message>`, true],
      ['a headline', `<message to='TO' type='headline'><body>BODY</body></message>`, false],
      ['a chat state alone', `<message to='TO' type='chat'><composing xmlns='${ns.chatStates}'/></message>`, false],
      [
        'one not to be stored',
        `<message to='TO' type='chat'><body>BODY</body><no-store xmlns='${ns.hints}'/></message>`,
        false,
      ],
      [
        'one not to be stored for long',
        `<message to='TO' type='chat'><body>BODY</body><no-permanent-store xmlns='${ns.hints}'/></message>`,
        false,
      ],
      [
        'one to be stored',
        `<message to='TO' type='chat'><x xmlns='urn:example'/><store xmlns='${ns.hints}'/></message>`,
        true,
      ],
      ['a receipt', `<message to='TO'><received xmlns='${ns.receipts}' id='r'/></message>`, true],
      ['a marker', `<message to='TO'><displayed xmlns='${ns.markers}' id='r'/></message>`, true],
      [
        'a forged copy',
        `<message to='TO' type='chat'><body>BODY</body><received xmlns='${ns.carbons}'><forwarded xmlns='${ns.forward}'/></received></message>`,
        false,
      ],
    ];
    for (const [what, xml, expected] of kept) {
      it(`${expected ? 'keeps' : 'leaves out'} ${what}`, async () => {
        const count = async () => Number(setOf((await query(juliet, null, '<max>0</max>')).fin).childText('count'));
        const before = await count();
        await romeo.sends(xml.replace('TO', juliet.jid));
        await romeo.hasNot(() => false);
        assert.equal((await count()) - before, expected ? 1 : 0);
      });
    }
  });

  describe('pages and filters', () => {
    let nurse: Client;
    const ids = new Map<string, string>();
    const times = new Map<string, string>();
    before(async () => {
      nurse = await hub.client('nurse@capulet.test', { resource: 'house' });
      const peter = await hub.client('peter@capulet.test', { resource: 'street' });
      for (const [body, from, to] of [
        ['a', romeo, nurse.jid],
        ['b', peter, nurse.jid],
        ['c', nurse, romeo.jid],
        ['d', nurse, 'peter@capulet.test'],
        ['e', romeo, 'nurse@capulet.test'],
      ] as const) {
        await says(from, to, body);
        await (from === nurse ? (to === romeo.jid ? romeo : peter) : nurse).hears(body);
        // Times are told apart by milliseconds.
        const now = Date.now();
        while (Date.now() === now);
      }
      const { results } = await query(nurse);
      for (const result of results) {
        const forwarded = result.child('result', ns.archive)!.child('forwarded', ns.forward)!;
        ids.set(bodyOf(result), idOf(result));
        times.set(bodyOf(result), forwarded.child('delay', ns.delay)!.attrs.stamp);
      }
      assert.equal([...ids.keys()].join(''), 'abcde');
      await peter.close();
    });

    /** Single capital letters stand for ids, `~x` for times. */
    const filled = (text: string) =>
      text
        .replace(/[A-E]\b/g, letter => ids.get(letter.toLowerCase())!)
        .replace(/~([a-e])/g, (_, letter) => times.get(letter)!);

    const table: [Record<string, string | string[]> | null, string, string, string, boolean, string | null][] = [
      // fields, page, more, bodies, complete, index/count
      [null, '', '', 'abcde', true, '0/5'],
      [{}, '', '', 'abcde', true, '0/5'],
      [null, '<max>2</max>', '', 'ab', false, '0/5'],
      [null, '<max>2</max><after>B</after>', '', 'cd', false, '2/5'],
      [null, '<max>2</max><after>D</after>', '', 'e', true, '4/5'],
      [null, '<max>2</max><after>C</after>', '', 'de', true, '3/5'],
      [null, '<max>2</max><after>E</after>', '', '', true, '-/5'],
      [null, '<max>2</max><before/>', '', 'de', false, '-/5'],
      [null, '<max>9</max><before/>', '', 'abcde', true, '0/5'],
      [null, '<max>2</max><before>D</before>', '', 'bc', false, '1/5'],
      [null, '<max>2</max><before>C</before>', '', 'ab', true, '0/5'],
      [null, '<max>2</max><before>A</before>', '', '', true, '-/5'],
      [null, '<max>5</max>', '', 'abcde', true, '0/5'],
      [null, '<max>0</max>', '', '', false, '-/5'],
      [null, '<max>2</max><index>3</index>', '', 'de', true, '3/5'],
      [null, '<max>2</max><index>1</index>', '', 'bc', false, '1/5'],
      [null, '<max>2</max><index>9</index>', '', '', true, '-/5'],
      [null, '<max>2</max>', `<flip-page/>`, 'ba', false, '0/5'],
      [null, '<max>2</max><before/>', `<flip-page/>`, 'ed', false, '-/5'],
      [{ with: 'romeo@montague.test' }, '', '', 'ace', true, '0/3'],
      [{ with: 'romeo@montague.test' }, '<max>1</max><after>A</after>', '', 'c', false, '1/3'],
      [{ with: 'romeo@montague.test/orchard' }, '', '', 'ace', true, '0/3'],
      [{ with: 'romeo@montague.test/else' }, '', '', '', true, '-/0'],
      [{ with: 'peter@capulet.test' }, '', '', 'bd', true, '0/2'],
      [{ with: 'peter@capulet.test/street' }, '', '', 'b', true, '0/1'],
      [{ with: 'nurse@capulet.test' }, '', '', '', true, '-/0'],
      [{ with: 'nobody@capulet.test' }, '', '', '', true, '-/0'],
      [{ start: '~c' }, '', '', 'cde', true, '0/3'],
      [{ end: '~c' }, '', '', 'abc', true, '0/3'],
      [{ start: '~b', end: '~d' }, '', '', 'bcd', true, '0/3'],
      [{ start: '~d', end: '~b' }, '', '', '', true, '-/0'],
      [{ start: '2010-01-01T00:00:00Z' }, '<max>1</max>', '', 'a', false, '0/5'],
      [{ end: '2010-01-01T00:00:00+01:00' }, '', '', '', true, '-/0'],
      [{ start: '~b', with: 'romeo@montague.test' }, '', '', 'ce', true, '0/2'],
      [{ 'after-id': 'B' }, '', '', 'cde', true, '0/3'],
      [{ 'before-id': 'B' }, '', '', 'a', true, '0/1'],
      [{ 'after-id': 'A', 'before-id': 'D' }, '', '', 'bc', true, '0/2'],
      [{ 'after-id': 'A' }, '<max>2</max>', '', 'bc', false, '0/4'],
      [{ 'after-id': 'A' }, '<max>2</max><after>C</after>', '', 'de', true, '2/4'],
      [{ 'before-id': 'E' }, '<max>2</max><before/>', '', 'cd', false, '-/4'],
      [{ ids: ['D', 'B'] }, '', '', 'bd', true, '0/2'],
      [{ ids: ['C'] }, '', '', 'c', true, '0/1'],
      [{ 'include-groupchat': 'true' }, '<max>1</max>', '', 'a', false, '0/5'],
      [{ 'include-groupchat': 'false' }, '', '', 'abcde', true, '0/5'],
    ];
    for (const [fields, set, more, expected, complete, place] of table) {
      it(`finds ${expected || 'nothing'} for ${JSON.stringify(fields)} ${set}${more}`, async () => {
        const own = fields && (JSON.parse(filled(JSON.stringify(fields))) as typeof fields);
        const { bodies, fin, results } = await query(nurse, own, filled(set), more);
        assert.equal(bodies, expected, String(fin));
        assert.equal(fin.child('fin', ns.archive)!.attrs.complete === 'true', complete);
        const first = setOf(fin).child('first');
        assert.equal(`${first?.attrs.index ?? '-'}/${setOf(fin).childText('count')}`, place);
        const sorted = more ? results.toReversed() : results;
        assert.equal(first?.text, sorted.length > 0 ? idOf(sorted[0]) : undefined);
        assert.equal(setOf(fin).child('last')?.text, sorted.length > 0 ? idOf(sorted.at(-1)!) : undefined);
      });
    }

    const refused: [Record<string, string | string[]> | null, string, string][] = [
      [null, '<after>no-such-id</after>', 'item-not-found'],
      [null, '<before>no-such-id</before>', 'item-not-found'],
      [null, '<after>AAAAAAAAAAAAAAAAAA</after>', 'item-not-found'],
      [{ 'after-id': 'no-such-id' }, '', 'item-not-found'],
      [{ 'before-id': 'no-such-id' }, '', 'item-not-found'],
      [{ ids: ['A', 'no-such-id'] }, '', 'item-not-found'],
      [{ ids: Array.from({ length: 300 }, () => 'A') }, '', 'not-acceptable'],
      [{ with: '@' }, '', 'bad-request'],
      [{ start: 'yesterday' }, '', 'bad-request'],
      [{ end: '2010-13-45T99:00:00Z' }, '', 'bad-request'],
      [{ start: '2010-01-01' }, '', 'bad-request'],
      [{ '{urn:example}text': 'x' }, '', 'feature-not-implemented'],
      [null, '<max>x</max>', 'bad-request'],
      [null, '<after>A</after><before>B</before>', 'bad-request'],
    ];
    for (const [fields, set, condition] of refused) {
      it(`answers ${condition} for ${JSON.stringify(fields)?.slice(0, 60)} ${set}`, async () => {
        const own = fields && (JSON.parse(filled(JSON.stringify(fields))) as typeof fields);
        const { fin } = await query(nurse, own, filled(set));
        assert.equal(fin.attrs.type, 'error');
        assert.equal(conditionOf(fin), condition);
      });
    }

    it('finds nobody else’s ids', async () => {
      const { results } = await query(juliet);
      const { fin } = await query(nurse, { 'after-id': idOf(results[0]) });
      assert.equal(conditionOf(fin), 'item-not-found');
    });

    for (const form of [
      `<x xmlns='jabber:x:data' type='submit'/>`,
      `<x xmlns='jabber:x:data' type='form'><field var='FORM_TYPE'><value>${ns.archive}</value></field></x>`,
      `<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:1</value></field></x>`,
    ]) {
      it(`refuses the form ${form}`, async () => {
        const answer = await nurse.asks('set', `<query xmlns='${ns.archive}'>${form}</query>`);
        assert.equal(conditionOf(answer), 'bad-request');
      });
    }

    it('tells its fields', async () => {
      const answer = await nurse.asks('get', `<query xmlns='${ns.archive}'/>`);
      const form = answer.child('query', ns.archive)!.child('x', ns.data)!;
      const types = Object.fromEntries(form.all('field').map(({ attrs }) => [attrs.var, attrs.type]));
      assert.deepEqual(types, {
        FORM_TYPE: 'hidden',
        with: 'jid-single',
        start: 'text-single',
        end: 'text-single',
        'before-id': 'text-single',
        'after-id': 'text-single',
        ids: 'list-multi',
        'include-groupchat': 'boolean',
      });
      assert.ok(String(form).includes(`<open/>`));
    });

    it('tells its ends', async () => {
      const answer = await nurse.asks('get', `<metadata xmlns='${ns.archive}'/>`);
      const [start, end] = answer.child('metadata', ns.archive)!.all();
      assert.deepEqual([start.name, start.attrs.id, start.attrs.timestamp], ['start', ids.get('a'), times.get('a')]);
      assert.deepEqual([end.name, end.attrs.id, end.attrs.timestamp], ['end', ids.get('e'), times.get('e')]);
    });

    it('survives a restart', async () => {
      await hub.restart().then(again => {
        hub = again;
      });
      nurse = await hub.client('nurse@capulet.test');
      juliet = await hub.client('juliet@capulet.test', { resource: 'balcony' });
      romeo = await hub.client('romeo@montague.test', { resource: 'orchard' });
      const { results, bodies } = await query(nurse);
      assert.equal(bodies, 'abcde');
      assert.equal(idOf(results[2]), ids.get('c'));
    });
  });

  describe('what is not one’s own', () => {
    for (const payload of ['query', 'metadata', 'prefs']) {
      for (const type of ['get', 'set'] as const) {
        it(`forbids to ${type} the ${payload} of somebody else`, async () => {
          const answer = await romeo.asks(type, `<${payload} xmlns='${ns.archive}'/>`, 'juliet@capulet.test');
          assert.equal(conditionOf(answer), 'forbidden');
        });
      }
    }
  });

  describe('preferences', () => {
    const prefs = (inner: string, value = 'always') =>
      `<prefs xmlns='${ns.archive}' default='${value}'>${inner}</prefs>`;
    const jids = (list: string, ...entries: string[]) =>
      `<${list}>${entries.map(entry => `<jid>${entry}</jid>`).join('')}</${list}>`;

    it('are those of the configuration at first', async () => {
      const answer = await juliet.asks('get', `<prefs xmlns='${ns.archive}'/>`);
      assert.equal(
        String(answer.child('prefs', ns.archive)),
        `<prefs xmlns='${ns.archive}' default='always'><always/><never/></prefs>`,
      );
    });

    const table: [string, string, boolean][] = [
      ['', 'always', true],
      ['', 'never', false],
      ['', 'roster', false],
      [jids('never', 'romeo@montague.test'), 'always', false],
      [jids('always', 'romeo@montague.test'), 'never', true],
      [jids('always', 'romeo@montague.test/orchard'), 'never', true],
      [jids('always', 'romeo@montague.test/else'), 'never', false],
      [jids('never', 'romeo@montague.test') + jids('always', 'romeo@montague.test/orchard'), 'roster', true],
    ];
    for (const [lists, value, expected] of table) {
      it(`${expected ? 'keep' : 'leave out'} with default ${value} and ${lists || 'no lists'}`, async () => {
        const answer = await juliet.asks('set', prefs(lists, value));
        assert.equal(answer.attrs.type, 'result');
        assert.equal(answer.child('prefs', ns.archive)!.attrs.default, value);
        const body = `preferred ${Math.random()}`;
        await says(romeo, juliet.jid, body);
        const heard = await juliet.hears(body);
        assert.equal(heard.child('stanza-id', ns.stableIds) !== null, expected);
      });
    }

    it('know the roster', async () => {
      await juliet.asks('set', prefs('', 'roster'));
      await juliet.asks('set', `<query xmlns='${ns.roster}'><item jid='romeo@montague.test'/></query>`);
      await says(romeo, juliet.jid, 'from the roster');
      assert.ok((await juliet.hears('from the roster')).child('stanza-id', ns.stableIds));
      await juliet.asks('set', prefs('', 'always'));
    });

    for (const [inner, value, condition] of [
      ['', 'sometimes', 'bad-request'],
      [jids('always', '@'), 'always', 'jid-malformed'],
      [jids('always', 'a@b.test') + jids('never', 'a@b.test'), 'always', 'bad-request'],
      [jids('never', ...Array.from({ length: 501 }, (_, n) => `u${n}@b.test`)), 'always', 'resource-constraint'],
    ] as const) {
      it(`answer ${condition} to ${value} ${inner.slice(0, 60)}`, async () => {
        assert.equal(conditionOf(await juliet.asks('set', prefs(inner, value))), condition);
      });
    }
  });

  it('keeps what comes for somebody who is away, under the id that is delivered later', async () => {
    await juliet.close();
    await says(romeo, 'juliet@capulet.test', 'while you were away');
    await romeo.hasNot(e => e.attrs.type === 'error');
    juliet = await hub.client('juliet@capulet.test', { resource: 'balcony' });
    const heard = await juliet.hears('while you were away');
    const [own] = heard.all('stanza-id', ns.stableIds);
    const { results } = await query(juliet, { ids: [own.attrs.id] });
    assert.deepEqual(results.map(bodyOf), ['while you were away']);
  });

  it('puts the id into the copies for the sender’s and the recipient’s other devices', async () => {
    const window = await hub.client('juliet@capulet.test', { resource: 'window' });
    await window.asks('set', `<enable xmlns='${ns.carbons}'/>`);
    await says(juliet, romeo.jid, 'copied out');
    await says(romeo, juliet.jid, 'copied in');
    for (const direction of ['sent', 'received']) {
      const copy = await window.receives(e => e.child(direction, ns.carbons) !== null);
      const inner = copy.child(direction, ns.carbons)!.child('forwarded', ns.forward)!.child('message', ns.client)!;
      const { results } = await query(juliet, { ids: [inner.child('stanza-id', ns.stableIds)!.attrs.id] });
      assert.deepEqual(results.map(bodyOf), [inner.childText('body')]);
    }
    await window.close();
  });

  it('forgets an account that is removed', async () => {
    const { results } = await query(juliet, null, '<before/>');
    const id = idOf(results.at(-1)!);
    await hub.accounts.remove('juliet@capulet.test');
    juliet = await hub.client('juliet@capulet.test', { resource: 'balcony' });
    assert.equal(setOf((await query(juliet)).fin).childText('count'), '0');
    assert.equal(conditionOf((await query(juliet, { ids: [id] })).fin), 'item-not-found');
  });
});
