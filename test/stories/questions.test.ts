// Who answers what: the questions that every domain gets, by whom they are asked and of whom, on one hub and over a link.
import assert from 'node:assert/strict';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { sees } from '../support/friends.ts';
import { type Place, places } from '../support/settings.ts';

type Kind = 'get' | 'set';

/** What is asked: the kind of request and its payload. */
const questions = {
  ping: ['get', `<ping xmlns='${ns.ping}'/>`],
  'ping (set)': ['set', `<ping xmlns='${ns.ping}'/>`],
  version: ['get', `<query xmlns='${ns.version}'/>`],
  'version (set)': ['set', `<query xmlns='${ns.version}'/>`],
  time: ['get', `<time xmlns='${ns.time}'/>`],
  'time (set)': ['set', `<time xmlns='${ns.time}'/>`],
  'last activity': ['get', `<query xmlns='${ns.last}'/>`],
  'last activity (set)': ['set', `<query xmlns='${ns.last}'/>`],
  vCard: ['get', `<vCard xmlns='${ns.vcard}'/>`],
  'vCard (set)': ['set', `<vCard xmlns='${ns.vcard}'><FN>Forged</FN></vCard>`],
  info: ['get', `<query xmlns='${ns.discoInfo}'/>`],
  'info of a node': ['get', `<query xmlns='${ns.discoInfo}' node='n'/>`],
  items: ['get', `<query xmlns='${ns.discoItems}'/>`],
  'items of a node': ['get', `<query xmlns='${ns.discoItems}' node='n'/>`],
  services: ['get', `<services xmlns='${ns.externalServices}'/>`],
  'something unknown': ['get', `<query xmlns='urn:example:unknown'/>`],
} satisfies Record<string, [Kind, string]>;

/** Of whom: the domain, a resource of it, oneself, a friend (who is seen), a stranger with a vCard, nobody, a friend's missing resource. */
const columns = ['domain', 'domain/x', 'self', 'friend', 'stranger', 'nobody', 'friend/x'] as const;

const short: Record<string, string> = {
  ok: 'result',
  un: 'service-unavailable',
  fo: 'forbidden',
  na: 'not-allowed',
  nf: 'item-not-found',
};
/** The last row of a question that is not here is `something unknown`. */
const answers: Record<keyof typeof questions, string> = {
  ping: 'ok un ok un un un un',
  'ping (set)': 'na na na na na na un',
  version: 'ok un un un un un un',
  'version (set)': 'na un un un un un un',
  time: 'ok un un un un un un',
  'time (set)': 'na un un un un un un',
  'last activity': 'ok fo ok ok fo fo un',
  'last activity (set)': 'na na na na na na un',
  vCard: 'un un ok un ok un un',
  'vCard (set)': 'un fo ok fo fo fo un',
  info: 'ok un ok ok un un un',
  'info of a node': 'nf un nf nf un un un',
  items: 'ok ok ok ok ok ok un',
  'items of a node': 'nf ok nf nf ok ok un',
  services: 'ok un un un un un un',
  'something unknown': 'un un un un un un un',
};

for (const { name, start } of places) {
  describe(`questions ${name}`, () => {
    let place: Place;
    const people: Record<string, Client> = {};
    before(async () => {
      place = await start(
        'external-services: { stun: { type: stun, host: s.test, access: [montague.test, capulet.test] } }',
      );
      const [own, other] = place.domains;
      people.self = await place.client(`romeo@${own}`);
      people.friend = await place.client(`juliet@${other}`);
      people.stranger = await place.client(`tybalt@${other}`);
      await sees(people.self, people.friend);
      await people.stranger.asks('set', `<vCard xmlns='${ns.vcard}'><FN>Tybalt</FN></vCard>`);
    });
    after(() => place.close());

    const addressOf = (column: (typeof columns)[number]): string => {
      const domain = place.domains[1];
      switch (column) {
        case 'domain':
          return domain;
        case 'domain/x':
          return `${domain}/x`;
        case 'nobody':
          return `nobody@${domain}`;
        case 'friend/x':
          return `juliet@${domain}/x`;
        default:
          return people[column].options.jid;
      }
    };

    for (const [what, [kind, payload]] of Object.entries(questions) as [keyof typeof questions, [Kind, string]][]) {
      const expected = answers[what].split(' ').map(one => short[one]);
      for (const [n, column] of columns.entries()) {
        it(`${what}, asked of ${column}: ${expected[n]}`, async () => {
          const to = addressOf(column);
          const answer = await people.self.asks(kind, payload, to);
          assert.equal(conditionOf(answer), expected[n]);
          assert.equal(answer.attrs.from, to);
        });
      }
    }

    it('none of them reaches a client', async () => {
      for (const client of [people.friend, people.stranger]) {
        await client.hasNot(e => e.name === 'iq' && e.attrs.type !== 'set' && !e.attrs.id.startsWith('ask'));
      }
      const card = await people.self.asks('get', `<vCard xmlns='${ns.vcard}'/>`, people.stranger.options.jid);
      assert.equal(card.child('vCard', ns.vcard)?.childText('FN'), 'Tybalt');
    });

    it('what is asked of a resource reaches it', async () => {
      for (const what of ['ping', 'version', 'time', 'last activity', 'vCard', 'info', 'items'] as const) {
        const [kind, payload] = questions[what];
        const answer = people.self.asks(kind, payload, people.friend.jid);
        const request = await people.friend.receives(e => e.attrs.type === kind && e.attrs.from === people.self.jid);
        await people.friend.sends(`<iq type='result' id='${request.attrs.id}' to='${request.attrs.from}'/>`);
        assert.equal((await answer).attrs.from, people.friend.jid);
      }
    });

    it('one who has no vCard gets an empty one, and sees what was set', async () => {
      const nurse = await place.client(`nurse@${place.domains[1]}`);
      const own = async () => (await nurse.asks('get', `<vCard xmlns='${ns.vcard}'/>`)).child('vCard', ns.vcard)!;
      assert.equal((await own()).children.length, 0);
      for (const inner of ['<FN>Angelica</FN>', '<FN>Nurse</FN><NOTE>a &amp; b</NOTE>', '']) {
        assert.equal(conditionOf(await nurse.asks('set', `<vCard xmlns='${ns.vcard}'>${inner}</vCard>`)), 'result');
        const card = await own();
        assert.equal(card.childText('FN'), /<FN>(.*)<\/FN>/.exec(inner)?.[1] ?? '');
        assert.equal(card.childText('NOTE'), inner.includes('NOTE') ? 'a & b' : '');
      }
      await nurse.close();
    });
  });
}
