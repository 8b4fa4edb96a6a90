// Who is asked whether it is there, and who is given up, as a table of moments.
import assert from 'node:assert/strict';
import { checkLiveness } from '../../src/c2s/liveness.ts';
import type { ClientSession } from '../../src/c2s/session.ts';
import { Jid } from '../../src/xmpp/jid.ts';

const ping = { interval: 1000, timeout: 100 };
const clients = (over: Partial<typeof ping> = {}) => ({ ping: { ...ping, ...over } }) as never;

/** A session that was heard and asked at these moments, and what is done to it. */
function look(
  heardAt: number,
  asked: number,
  managed: boolean,
  now: number,
  config = clients(),
  answers = true,
): string {
  let done = '';
  const session = {
    jid: Jid.parse('romeo@hub.test/x'),
    heardAt,
    pinged: managed ? 0 : asked,
    answers,
    management: managed
      ? {
          asked,
          request() {
            done += 'request';
          },
        }
      : null,
    stream: {
      send() {
        done += 'ping';
      },
      socket: {
        destroy() {
          done += 'lost';
        },
      },
    },
  };
  checkLiveness([session as unknown as ClientSession], config, now);
  return done;
}

describe('liveness', () => {
  for (const [what, heardAt, asked, now, expected] of [
    ['a client that was just heard', 5000, 0, 5500, 'nothing'],
    ['a silent client', 5000, 0, 6000, 'asked'],
    ['a client that was asked and has time', 5000, 6000, 6050, 'nothing'],
    ['a client that does not answer', 5000, 6000, 6100, 'lost'],
    ['a client that answered', 6050, 6000, 6200, 'nothing'],
    ['a client that answered and is silent again', 6050, 6000, 7050, 'asked'],
  ] as const) {
    it(`${what}: ${expected}`, () => {
      assert.equal(look(heardAt, asked, false, now) || 'nothing', expected.replace('asked', 'ping'));
      assert.equal(look(heardAt, asked, true, now) || 'nothing', expected.replace('asked', 'request'));
    });
  }

  it('gives up no client that has never answered a ping', () => {
    assert.equal(look(5000, 6000, false, 99_000, clients(), false), '');
  });

  it('asks nobody where that is switched off', () => {
    assert.equal(look(0, 0, false, 1e9, clients({ interval: 0 })), '');
  });
});
