// The states of a subscription, as the tables of RFC 6121 Appendix A have them.
import assert from 'node:assert/strict';
import { inbound, outbound, type SubscriptionState, type SubscriptionType } from '../../src/modules/subscription.ts';

/** None, To, From, Both; `<` waits for us to answer, `>` waits for the contact, `+` is approved in advance. */
function read(text: string): SubscriptionState {
  return {
    to: text.includes('To') || text.includes('Both'),
    from: text.includes('From') || text.includes('Both'),
    ask: text.includes('>'),
    pendingIn: text.includes('<'),
    approved: text.includes('+'),
  };
}

function write({ to, from, ask, pendingIn, approved }: SubscriptionState): string {
  return (
    (to ? (from ? 'Both' : 'To') : from ? 'From' : 'None') +
    (ask ? '>' : '') +
    (pendingIn ? '<' : '') +
    (approved ? '+' : '')
  );
}

const states = ['None', 'None>', 'None<', 'None><', 'To', 'To<', 'From', 'From>', 'Both'];

/** Type → for each state: whether the stanza passes, and the new state. */
type Table = Record<SubscriptionType, string>;

const sent: Table = {
  subscribe: 'pass None>, pass None>, pass None><, pass None><, pass To, pass To<, pass From>, pass From>, pass Both',
  unsubscribe: 'pass None, pass None, pass None<, pass None<, pass None, pass None<, pass From, pass From, pass From',
  subscribed: 'stop None+, stop None>+, pass From, pass From>, stop To+, pass Both, stop From, stop From>, stop Both',
  unsubscribed: 'stop None, stop None>, pass None, pass None>, stop To, pass To, pass None, pass None>, pass To',
};

const received: Table = {
  subscribe: 'pass None<, pass None><, stop None<, stop None><, pass To<, stop To<, stop From, stop From>, stop Both',
  unsubscribe: 'stop None, stop None>, pass None, pass None>, stop To, pass To, pass None, pass None>, pass To',
  subscribed: 'stop None, pass To, stop None<, pass To<, stop To, stop To<, stop From, pass Both, stop Both',
  unsubscribed: 'stop None, pass None, stop None<, pass None<, pass None, pass None<, stop From, pass From, pass From',
};

for (const [title, table, apply] of [
  ['sent', sent, outbound],
  ['received', received, inbound],
] as const) {
  describe(`a subscription stanza that is ${title}`, () => {
    for (const type of Object.keys(table) as SubscriptionType[]) {
      const rows = table[type].split(', ');
      for (const [n, state] of states.entries()) {
        it(`${type} in ${state}: ${rows[n]}`, () => {
          const { passes, state: next, reply } = apply(read(state), type);
          assert.equal(`${passes ? 'pass' : 'stop'} ${write(next)}`, rows[n]);
          const answered = title === 'received' && type === 'subscribe' && read(state).from;
          assert.equal(reply, answered ? 'subscribed' : undefined);
        });
      }
    }
  });
}

describe('approval in advance', () => {
  it('answers the request when it comes', () => {
    const { passes, state, reply } = inbound(read('None+'), 'subscribe');
    assert.deepEqual([passes, reply], [false, 'subscribed']);
    assert.equal(state.from, true);
  });

  it('is taken back by unsubscribed', () => {
    assert.equal(write(outbound(read('None+'), 'unsubscribed').state), 'None');
  });
});
