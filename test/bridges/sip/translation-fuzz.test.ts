// Throws mutated messages, documents and addresses at the translation: it refuses in order, in time, and never makes a broken stanza.
import assert from 'node:assert/strict';
import { jidOfSip, sipAddress } from '../../../src/bridges/sip/addresses.ts';
import { contentOf, sayingOf, sayingsOf, stanzaOf } from '../../../src/bridges/sip/chat.ts';
import { readComposing, readImdn, writeComposing, writeImdn } from '../../../src/bridges/sip/notices.ts';
import { readPidf, writePidf } from '../../../src/bridges/sip/pidf.ts';
import { deviceOf, presenceOf } from '../../../src/bridges/sip/presence.ts';
import { StanzaError } from '../../../src/xmpp/errors.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';
import { Random } from '../../fuzz/random.ts';

const rounds = Number(process.env.FUZZ ?? 3_000);
const romeo = Jid.parse('romeo@hub.test/orchard');
const alice = Jid.parse('alice@sip.test');
const ends = { from: 'im:romeo@hub.test', to: 'im:alice@sip.test' };
const bits = [
  '\0',
  '\r\n',
  '<',
  '&',
  '"',
  '>',
  ']]>',
  '<!--',
  '-->',
  '<!DOCTYPE x>',
  '%',
  '\\u',
  ';',
  '@',
  ':',
  '🏽',
  '\ud800',
  'é',
];

/** The seeds: one of everything that is read. */
const seeds = {
  pidf: Buffer.from(
    writePidf(
      'sip:a@sip.test',
      [{ name: 'x', reachable: true, open: true, show: 'dnd', status: [['cs', 'á<']], priority: 5, idleSince: 1e12 }],
      () => 'sip:a@sip.test;gr=x',
    ),
  ),
  cpim: Buffer.from(
    contentOf(
      {
        kind: 'words',
        text: 'Ahoj',
        subject: 's',
        lang: '',
        id: 'i',
        thread: '',
        wantsReceipt: true,
        wantsMarker: true,
      },
      ends,
      true,
    ).body,
  ),
  imdn: Buffer.from(writeImdn({ messageId: 'm', disposition: 'displayed', dateTime: 'now', recipient: 'im:x@y' })),
  composing: Buffer.from(writeComposing(true)),
  address: Buffer.from("sip:o'malley%40x@[2001:db8::1]:5060;transport=tcp;gr=urn:uuid:1?Subject=x"),
};

describe('the translation of SIP, fuzzed', () => {
  const random = new Random(20260101);
  const pick = <T>(of: readonly T[]): T => random.pick(of);
  const mutate = (seed: Buffer): Buffer => {
    let bytes = Buffer.from(seed);
    for (let times = 1 + random.below(4); times > 0; times--) {
      const at = random.below(bytes.length + 1);
      const end = Math.min(bytes.length, at + random.below(12));
      const middle = pick([
        Buffer.from(pick(bits)),
        Buffer.from([random.below(256)]),
        bytes.subarray(at, end),
        Buffer.alloc(0),
      ]);
      const rest = random.chance(50) ? end : at;
      bytes = Buffer.concat([bytes.subarray(0, at), middle, middle, bytes.subarray(rest)]);
    }
    return bytes;
  };
  /** Gives null where it was refused; anything thrown but a StanzaError fails the test. */
  const tried = <T>(work: () => T, input: Buffer): T | null => {
    try {
      return work();
    } catch (error) {
      assert.ok(
        error instanceof StanzaError,
        `${(error as Error).stack} for ${JSON.stringify(input.toString('latin1'))}`,
      );
      return null;
    }
  };
  const isWhole = (stanza: Stanza | null) => stanza && Stanza.parse(stanza.toBytes());

  it('makes whole stanzas of presence, or refuses', () => {
    for (let i = 0; i < rounds; i++) {
      const input = mutate(seeds.pidf);
      for (const device of tried(() => readPidf(input), input) ?? []) {
        const stanza = presenceOf(device, alice, romeo);
        isWhole(stanza);
        readPidf(writePidf('sip:x@y', [deviceOf(stanza)], () => 'sip:x@y'));
      }
    }
  });

  for (const [name, type] of [
    ['cpim', 'message/cpim'],
    ['imdn', 'message/imdn+xml'],
    ['composing', 'application/im-iscomposing+xml'],
    ['cpim', 'text/plain'],
  ] as const) {
    it(`makes whole stanzas of ${name} as ${type}, or refuses`, () => {
      for (let i = 0; i < rounds; i++) {
        const body = mutate(seeds[name]);
        const message = { contentType: type, body, callId: body.toString('latin1', 0, 20), header: () => pick(bits) };
        const saying = tried(() => sayingOf(message), body);
        const stanza = saying && stanzaOf(saying, alice, romeo, 'x');
        isWhole(stanza);
        for (const back of stanza ? sayingsOf(stanza) : []) {
          for (const cpim of [true, false]) {
            const { headers } = contentOf(back, ends, cpim);
            for (const [, value] of headers) assert.doesNotMatch(value, /[\r\n\0]/);
          }
        }
      }
    });
  }

  it('reads the small documents, or refuses', () => {
    for (let i = 0; i < rounds; i++) {
      const [imdn, composing] = [mutate(seeds.imdn), mutate(seeds.composing)];
      tried(() => readImdn(imdn), imdn);
      tried(() => readComposing(composing), composing);
    }
  });

  it('makes addresses that come back, or refuses', () => {
    for (let i = 0; i < rounds; i++) {
      const input = mutate(seeds.address);
      const jid = tried(() => jidOfSip(input.toString(), 'sip.test'), input);
      if (!jid) continue;
      const uri = sipAddress(jid, 'sip', true);
      assert.match(uri, /^[!-~]+$/);
      assert.equal(String(jidOfSip(uri)), String(jid), uri);
    }
  });
});
