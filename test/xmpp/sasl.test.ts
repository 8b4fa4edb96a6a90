// SASL apart from any stream: the vectors of the RFCs, both sides against each other, and everything that must be refused.
import assert from 'node:assert/strict';
import { offer } from '../../src/xmpp/sasl/mechanisms.ts';
import { PlainServer, plainMessage } from '../../src/xmpp/sasl/plain.ts';
import { decodeBase64, encodeBase64, SaslError, type ServerStep } from '../../src/xmpp/sasl/sasl.ts';
import {
  makeScramKeys,
  matchesScramKeys,
  ScramClient,
  type ScramHash,
  type ScramKeys,
  ScramServer,
  type ScramServerOptions,
} from '../../src/xmpp/sasl/scram.ts';

const bytes = (text: string) => Buffer.from(text);
const text = (data: Uint8Array) => Buffer.from(data).toString();

const vectors: readonly {
  from: string;
  hash: ScramHash;
  nonces: [string, string];
  salt: string;
  messages: [string, string, string, string];
}[] = [
  {
    from: 'RFC 5802 §5',
    hash: 'SHA-1',
    nonces: ['fyko+d2lbbFgONRv9qkxdawL', '3rfcNHYJY1ZVvWVs7j'],
    salt: 'QSXCR+Q6sek8bf92',
    messages: [
      'n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL',
      'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
      'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
      'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
    ],
  },
  {
    from: 'RFC 7677 §3',
    hash: 'SHA-256',
    nonces: ['rOprNGfwEbeRWgbNEkqO', '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'],
    salt: 'W22ZaJ0SNY7soEsUEjb6gQ==',
    messages: [
      'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
      'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
    ],
  },
];

let keys: ScramKeys;

/** A server that knows `user` with the password `pencil`. */
function server(more: Partial<ScramServerOptions> = {}): ScramServer {
  return new ScramServer({
    hash: 'SHA-256',
    plus: false,
    plusOffered: false,
    bindings: new Map(),
    keysOf: async user => (user === 'user' ? keys : null),
    secret: bytes('secret'),
    prepare: name => (/^[a-z,=]+$/.test(name) ? name : null),
    ...more,
  });
}

/** Both sides, to the end. Resolves with the user. */
async function exchange(of: ScramServer, client: ScramClient): Promise<string> {
  const challenge = await of.step(client.first());
  assert.equal(challenge.done, false);
  const outcome = await of.step(await client.final(challenge.done ? bytes('') : challenge.challenge));
  assert.ok(outcome.done);
  client.verify(outcome.data!);
  return outcome.user;
}

const refused = (condition: string) => (error: unknown) => error instanceof SaslError && error.condition === condition;

describe('SCRAM', () => {
  before(async () => {
    keys = await makeScramKeys('pencil', 'SHA-256', bytes('salt of tests'), 4096);
  });

  for (const { from, hash, nonces, salt, messages } of vectors) {
    it(`speaks as in ${from}, as client and as server`, async () => {
      const client = new ScramClient({ hash, user: 'user', password: 'pencil', nonce: nonces[0] });
      const known = await makeScramKeys('pencil', hash, Buffer.from(salt, 'base64'), 4096);
      const peer = server({ hash, nonce: nonces[1], keysOf: async () => known });
      assert.equal(text(client.first()), messages[0]);
      assert.deepEqual(await peer.step(bytes(messages[0])), { done: false, challenge: bytes(messages[1]) });
      assert.equal(text(await client.final(bytes(messages[1]))), messages[2]);
      const outcome = (await peer.step(bytes(messages[2]))) as Extract<ServerStep, { done: true }>;
      assert.deepEqual([outcome.user, text(outcome.data!)], ['user', messages[3]]);
      client.verify(bytes(messages[3]));
      assert.throws(() => client.verify(bytes(`v=${salt}`)), refused('not-authorized'));
    });
  }

  it('knows a password by its keys', async () => {
    assert.equal(await matchesScramKeys('pencil', keys), true);
    assert.equal(await matchesScramKeys('Pencil', keys), false);
  });

  it('takes names with commas and equals signs', async () => {
    const peer = server({ keysOf: async user => (user === 'a,b=c' ? keys : null) });
    const client = new ScramClient({ hash: 'SHA-256', user: 'a,b=c', password: 'pencil' });
    assert.match(text(client.first()), /^n,,n=a=2Cb=3Dc,r=/);
    assert.equal(await exchange(peer, client), 'a,b=c');
  });

  it('binds to the channel, where both can', async () => {
    const bindings = new Map([['tls-exporter', bytes('what only these two know')]]);
    const both = { plus: true, plusOffered: true, bindings };
    const [type, data] = [...bindings][0];
    const client = (seen: Uint8Array) =>
      new ScramClient({ hash: 'SHA-256', user: 'user', password: 'pencil', binding: { type, data: seen } });
    assert.equal(await exchange(server(both), client(data)), 'user');
    // Somebody stands in between: the two see different connections.
    await assert.rejects(exchange(server(both), client(bytes('another connection'))), refused('not-authorized'));
    const elsewhere = new ScramClient({
      hash: 'SHA-256',
      user: 'user',
      password: 'pencil',
      binding: { type: 'tls-unique', data },
    });
    await assert.rejects(exchange(server(both), elsewhere), refused('not-authorized'));
  });

  it('notices that -PLUS was taken out of the offer (RFC 5802 §6)', async () => {
    const client = new ScramClient({ hash: 'SHA-256', user: 'user', password: 'pencil', couldBind: true });
    await assert.rejects(exchange(server({ plusOffered: true }), client), refused('not-authorized'));
    const honest = new ScramClient({ hash: 'SHA-256', user: 'user', password: 'pencil', couldBind: true });
    assert.equal(await exchange(server({ plusOffered: false }), honest), 'user');
  });

  it('does not show who is there: a stranger gets a challenge, the same salt each time', async () => {
    const salt = async (name: string) => {
      const step = await server().step(bytes(`n,,n=${name},r=abcdefghij`));
      assert.equal(step.done, false);
      return /s=([^,]+),i=\d+$/.exec(text(step.done ? bytes('') : step.challenge))?.[1];
    };
    assert.equal(await salt('nobody'), await salt('nobody'));
    assert.notEqual(await salt('nobody'), await salt('somebody'));
    const guess = new ScramClient({ hash: 'SHA-256', user: 'nobody', password: '' });
    await assert.rejects(exchange(server(), guess), refused('not-authorized'));
  });

  for (const [why, first, condition] of [
    ['nothing', '', 'malformed-request'],
    ['no name', 'n,,r=abcdefghij', 'malformed-request'],
    ['an empty name', 'n,,n=,r=abcdefghij', 'malformed-request'],
    ['a name with an escape that is none', 'n,,n=a=41,r=abcdefghij', 'malformed-request'],
    ['a nonce too short', 'n,,n=user,r=abc', 'malformed-request'],
    ['a nonce of 600 characters', `n,,n=user,r=${'a'.repeat(600)}`, 'malformed-request'],
    ['a nonce with a space', 'n,,n=user,r=abcd efghij', 'malformed-request'],
    ['an extension that must be understood', 'n,,m=x,n=user,r=abcdefghij', 'malformed-request'],
    ['a binding without -PLUS', 'p=tls-exporter,,n=user,r=abcdefghij', 'malformed-request'],
    ['another flag', 'x,,n=user,r=abcdefghij', 'malformed-request'],
    ['somebody else’s name to act in', 'n,a=other,n=user,r=abcdefghij', 'invalid-authzid'],
    ['bytes that are not UTF-8', Buffer.from([0x6e, 0x2c, 0x2c, 0xff]), 'malformed-request'],
  ] as [string, string | Buffer, string][]) {
    it(`refuses ${why} as a first message`, async () => {
      await assert.rejects(server().step(Buffer.from(first)), refused(condition));
    });
  }

  for (const [why, change, condition] of [
    ['another nonce', m => m.replace(/r=[^,]+/, 'r=abcdefghijklmnop'), 'not-authorized'],
    ['the client’s nonce alone', m => m.replace(/r=(.{10})[^,]+/, 'r=$1'), 'not-authorized'],
    ['another header than at first', m => m.replace('c=biws', 'c=eSws'), 'not-authorized'],
    ['a proof that is too short', m => m.replace(/p=.*/, 'p=AAAA'), 'not-authorized'],
    ['a proof of zeros', m => m.replace(/p=.*/, `p=${Buffer.alloc(32).toString('base64')}`), 'not-authorized'],
    ['no proof', m => m.replace(/,p=.*/, ''), 'malformed-request'],
    ['base64 that is none', m => m.replace(/p=.*/, 'p=%%%%'), 'malformed-request'],
    ['something behind the proof', m => `${m},x=y`, 'malformed-request'],
  ] as [string, (message: string) => string, string][]) {
    it(`refuses ${why} in the last message`, async () => {
      const peer = server();
      const client = new ScramClient({ hash: 'SHA-256', user: 'user', password: 'pencil', nonce: 'abcdefghij' });
      const step = await peer.step(client.first());
      const last = text(await client.final(step.done ? bytes('') : step.challenge));
      assert.notEqual(change(last), last);
      await assert.rejects(peer.step(bytes(change(last))), refused(condition));
    });
  }

  for (const [why, challenge] of [
    ['a nonce that is not ours', 'r=zzzzzzzzzzzzzzz,s=QSXCR+Q6sek8bf92,i=4096'],
    ['our nonce alone', 'r=abcdefghij,s=QSXCR+Q6sek8bf92,i=4096'],
    ['a hundred million rounds', 'r=abcdefghijk,s=QSXCR+Q6sek8bf92,i=100000000'],
    ['no round at all', 'r=abcdefghijk,s=QSXCR+Q6sek8bf92,i=0'],
    ['no salt', 'r=abcdefghijk,s=,i=4096'],
    ['an error', 'e=other-error'],
  ]) {
    it(`as a client, refuses ${why}`, async () => {
      const client = new ScramClient({ hash: 'SHA-1', user: 'user', password: 'pencil', nonce: 'abcdefghij' });
      await assert.rejects(client.final(bytes(challenge)), refused('malformed-request'));
    });
  }
});

describe('PLAIN', () => {
  const peer = () =>
    new PlainServer(
      async (user, password) => user === 'tim' && password === 'tanstaaftanstaaf',
      name => (/^[A-Za-z]+$/.test(name) ? name.toLowerCase() : null),
    );

  it('speaks as in RFC 4616 §4', async () => {
    assert.deepEqual(plainMessage('tim', 'tanstaaftanstaaf'), bytes('\0tim\0tanstaaftanstaaf'));
    assert.deepEqual(await peer().step(plainMessage('tim', 'tanstaaftanstaaf')), { done: true, user: 'tim' });
    assert.deepEqual(await peer().step(bytes('Tim@hub.test\0TIM\0tanstaaftanstaaf')), { done: true, user: 'tim' });
  });

  for (const [message, condition] of [
    ['', 'malformed-request'],
    ['tim', 'malformed-request'],
    ['\0tim', 'malformed-request'],
    ['\0tim\0', 'malformed-request'],
    ['\0\0secret', 'malformed-request'],
    ['\0tim\0a\0b', 'malformed-request'],
    ['\0tim\0wrong', 'not-authorized'],
    ['\0kurt\0tanstaaftanstaaf', 'not-authorized'],
    ['\0t/im\0tanstaaftanstaaf', 'not-authorized'],
    ['kurt\0tim\0tanstaaftanstaaf', 'invalid-authzid'],
  ]) {
    it(`refuses ${JSON.stringify(message)}`, () => assert.rejects(peer().step(bytes(message)), refused(condition)));
  }
});

describe('base64 in SASL', () => {
  it('writes nothing as `=` (RFC 6120 §6.4.2)', () => {
    assert.equal(encodeBase64(new Uint8Array(0)), '=');
    assert.equal(encodeBase64(bytes('\0a')), 'AGE=');
    for (const nothing of ['', '=', ' = ']) assert.equal(decodeBase64(nothing).length, 0);
    assert.deepEqual(Buffer.from(decodeBase64(' AGE= ')), bytes('\0a'));
  });

  for (const wrong of ['A', 'AGE', 'AG E', 'AG\nE', '====', 'AGE*', 'AG=E', 'AG-_']) {
    it(`refuses ${JSON.stringify(wrong)}`, () => {
      assert.throws(() => decodeBase64(wrong), refused('incorrect-encoding'));
    });
  }
});

describe('the offer of mechanisms', () => {
  const all = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'];
  const verifier = (offersScram: boolean) => ({ offersScram, verify: async () => true, scram: async () => null });
  const binding = new Map([['tls-exporter', bytes('x')]]);
  for (const [what, given, expected] of [
    ['over TLS with a binding', { secure: true, bindings: binding }, all],
    ['over TLS without a binding', { secure: true }, all.slice(2)],
    ['in the clear, where that is permitted', { requireTls: false }, all.slice(2)],
    ['in the clear, where it is not', {}, ['SCRAM-SHA-256', 'SCRAM-SHA-1']],
    ['of a directory without keys', { secure: true, bindings: binding, verifier: verifier(false) }, ['PLAIN']],
    [
      'as configured',
      { secure: true, bindings: binding, configured: ['PLAIN', 'SCRAM-SHA-1'] },
      ['PLAIN', 'SCRAM-SHA-1'],
    ],
  ] as [string, object, string[]][]) {
    it(`${what}: ${expected.join(' ')}`, () => {
      const made = offer({
        configured: all,
        verifier: verifier(true),
        secure: false,
        requireTls: true,
        bindings: new Map(),
        secret: bytes('secret'),
        prepare: name => name,
        ...given,
      });
      assert.deepEqual(made.names, expected);
      for (const name of all) assert.equal(made.start(name) !== null, expected.includes(name), name);
      assert.equal(
        made.bindingTypes.length > 0,
        expected.some(name => name.endsWith('-PLUS')),
      );
    });
  }
});
