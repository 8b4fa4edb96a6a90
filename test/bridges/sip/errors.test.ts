// Errors between SIP and XMPP: the tables of docs/sip.md, and that nothing is left without an answer.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { answerTo, errorIn, errorOf, LoopError, phraseOf, statusOf } from '../../../src/bridges/sip/errors.ts';
import { type StanzaCondition, StanzaError, stanzaConditions } from '../../../src/xmpp/errors.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';

const documented = readFileSync(resolve(import.meta.dirname, '../../../docs/sip.md'), 'utf8');
const [, toXmpp, toSip] = /\| SIP to XMPP \|[^\n]*\n([\s\S]*?)\n\n\| XMPP to SIP \|[^\n]*\n([\s\S]*?)\n\n/.exec(
  documented,
)!;
const rows = (table: string) =>
  table
    .split('\n')
    .slice(1)
    .map(row =>
      row
        .split('|')
        .map(cell => cell.trim())
        .slice(1, 3),
    );

describe('errors between SIP and XMPP', () => {
  for (const [statuses, condition] of rows(toXmpp)) {
    it(`are ${condition} for ${statuses}`, () => {
      for (const status of statuses.split(', ')) assert.equal(errorOf(Number(status)).condition, condition, status);
    });
  }

  for (const [conditions, said] of rows(toSip)) {
    it(`are ${said} for ${conditions}`, () => {
      for (const condition of conditions.split(', ')) {
        assert.equal(statusOf(condition as StanzaCondition), Number.parseInt(said, 10), condition);
      }
    });
  }

  it('leave no condition without a status that has words, and no status without a condition', () => {
    for (const condition of Object.keys(stanzaConditions) as StanzaCondition[]) {
      assert.notEqual(phraseOf(statusOf(condition)), 'Error', condition);
    }
    for (let status = 300; status < 700; status++) assert.ok(errorOf(status).condition in stanzaConditions);
  });

  it('go by their class where nobody knows them', () => {
    assert.deepEqual(
      [399, 499, 599, 699, 799].map(status => errorOf(status).condition),
      ['redirect', 'bad-request', 'internal-server-error', 'recipient-unavailable', 'undefined-condition'],
    );
  });

  it('carry the peer’s words, of a length', () => {
    assert.equal(errorOf(480, 'Gone fishing').text, 'SIP 480 Gone fishing');
    assert.ok(errorOf(480, 'x'.repeat(5000)).text.length < 300);
  });

  it('are read from a stanza, whatever it says', () => {
    const message = Stanza.of('message', { from: Jid.parse('a@hub.test'), to: Jid.parse('b@sip.test'), id: 'x' });
    assert.equal(errorIn(message.error('gone')).condition, 'gone');
    assert.equal(errorIn(message).condition, 'undefined-condition');
  });

  it('answer a loop with 482, and do not hide a bug', () => {
    assert.equal(answerTo(new LoopError()).status, 482);
    assert.equal(answerTo(new StanzaError('item-not-found')).status, 404);
    assert.throws(() => answerTo(new TypeError('a bug')), TypeError);
  });
});
