// What hostile clients try, by the state their stream is in: each attack has its answer and its log line, and others go on.
import assert from 'node:assert/strict';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { plainMessage } from '../../src/xmpp/sasl/plain.ts';
import { auth, bind, ClientAttacker, type ClientState } from '../support/attacker.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { logTo } from '../support/log.ts';
import { until } from '../support/until.ts';

interface Attack {
  name: string;
  states: readonly ClientState[];
  send: string | ((attacker: ClientAttacker) => void | Promise<void>);
  /** What the attacker gets to see. */
  answer: RegExp;
  /** What the operator reads in the log; for what ends the stream, `stream error` and its condition anyway. */
  log?: RegExp;
  /** The stream goes on. */
  harmless?: boolean;
}

const every = ['plain', 'tls', 'authenticated', 'bound'] as const;
const unproved = ['plain', 'tls'] as const;
const bound = ['bound'] as const;
const sm = ns.streamManagement;
const message = (attributes: string, body = 'x') => `<message ${attributes}><body>${body}</body></message>`;
const toWitness = `to='witness@capulet.test'`;
const nest = (depth: number) => `<message ${toWitness}>${'<a>'.repeat(depth)}`;
const base64 = (text: string) => Buffer.from(text).toString('base64');

const header = (attributes: string, of: string = ns.client, streams: string = ns.streams) =>
  `<stream:stream xmlns='${of}' xmlns:stream='${streams}' ${attributes}>`;

const attacks: readonly Attack[] = [
  // Out of turn
  { name: 'a message', states: unproved, send: message(toWitness), answer: /<not-authorized/ },
  { name: 'a presence', states: unproved, send: '<presence/>', answer: /<not-authorized/ },
  { name: 'a resource', states: unproved, send: bind('x'), answer: /<not-authorized/ },
  { name: 'a message', states: ['authenticated'], send: message(toWitness), answer: /<not-authorized/ },
  { name: 'a presence', states: ['authenticated'], send: '<presence/>', answer: /<not-authorized/ },
  {
    name: 'another request than for a resource',
    states: ['authenticated'],
    send: `<iq type='get' id='r'><query xmlns='${ns.roster}'/></iq>`,
    answer: /<iq [^>]*type='error'.*<not-authorized/,
    harmless: true,
  },
  ...['witness@capulet.test', 'montague.test', 'mallory@montague.test'].map(
    (to): Attack => ({
      name: `a request to ${to}`,
      states: ['authenticated'],
      send: `<iq type='get' id='r' to='${to}'><ping xmlns='${ns.ping}'/></iq>`,
      answer: /<stream:error><not-authorized/,
    }),
  ),
  {
    name: 'a request to the server',
    states: ['authenticated'],
    send: `<iq type='get' id='r' to='capulet.test'><ping xmlns='${ns.ping}'/></iq>`,
    answer: /<iq [^>]*type='error'.*<not-authorized/,
    harmless: true,
  },
  {
    name: 'a resource that is none',
    states: ['authenticated'],
    send: bind('x'.repeat(1024)),
    answer: /<iq [^>]*type='error'.*<bad-request/,
    harmless: true,
  },
  {
    name: 'a second resource',
    states: bound,
    send: bind('second'),
    answer: /<iq [^>]*type='error'.*<not-allowed/,
    harmless: true,
  },
  {
    name: 'a session as RFC 3921 has it',
    states: bound,
    send: `<iq type='set' id='s' to='capulet.test'><session xmlns='${ns.session}'/></iq><iq type='set' id='t'><session xmlns='${ns.session}'/></iq>`,
    answer: /<iq [^>]*id='s' type='result'.*<iq [^>]*id='t' type='result'/,
    harmless: true,
  },
  // TLS
  {
    name: 'a stanza behind STARTTLS',
    states: ['plain'],
    send: `<starttls xmlns='${ns.tls}'/>${auth('PLAIN', plainMessage('mallory', 'wrong'))}`,
    answer: /<policy-violation/,
  },
  {
    name: 'a second STARTTLS',
    states: ['tls', 'authenticated'],
    send: `<starttls xmlns='${ns.tls}'/>`,
    answer: /<failure/,
  },
  { name: 'STARTTLS', states: bound, send: `<starttls xmlns='${ns.tls}'/>`, answer: /<unsupported-stanza-type/ },
  {
    name: 'noise in place of a handshake',
    states: ['plain'],
    async send(a) {
      a.send(`<starttls xmlns='${ns.tls}'/>`);
      await a.gets(/proceed/);
      a.send('this is no handshake at all'.repeat(20));
      await until(() => a.ended);
    },
    answer: /proceed/,
    log: /client TLS failed/,
  },
  // SASL
  {
    name: 'PLAIN in the clear',
    states: ['plain'],
    send: auth('PLAIN', plainMessage('mallory', 'a password for tests')),
    answer: /<failure[^>]*><encryption-required/,
    log: /"condition":"encryption-required"/,
    harmless: true,
  },
  {
    name: 'SCRAM in the clear',
    states: ['plain'],
    send: auth('SCRAM-SHA-1', base64('n,,n=mallory,r=abcdefghij')),
    answer: /<failure[^>]*><encryption-required/,
    harmless: true,
  },
  ...(
    [
      ['a mechanism that is not offered', auth('CRAM-MD5', '='), 'invalid-mechanism'],
      ['no mechanism', `<auth xmlns='${ns.sasl}'>=</auth>`, 'invalid-mechanism'],
      ['an answer to no challenge', `<response xmlns='${ns.sasl}'>AAAA</response>`, 'malformed-request'],
      ['an abort of nothing', `<abort xmlns='${ns.sasl}'/>`, 'aborted'],
      ['base64 that is none', auth('PLAIN', '%%%'), 'incorrect-encoding'],
      ['base64 of a wrong length', auth('PLAIN', 'AGEAY'), 'incorrect-encoding'],
      ['base64 with elements in it', auth('PLAIN', '<a/>AG<b/>E'), '(incorrect-encoding|malformed-request)'],
      ['PLAIN without separators', auth('PLAIN', base64('mallory')), 'malformed-request'],
      ['PLAIN with a separator too many', auth('PLAIN', base64('\0mallory\0a\0b')), 'malformed-request'],
      ['PLAIN that is no UTF-8', auth('PLAIN', Buffer.from([0, 0xff, 0, 0xfe])), 'malformed-request'],
      ['PLAIN without a password', auth('PLAIN', base64('\0mallory\0')), 'malformed-request'],
      ['PLAIN for somebody else', auth('PLAIN', base64('witness\0mallory\0a password for tests')), 'invalid-authzid'],
      ['a wrong password', auth('PLAIN', plainMessage('witness', 'guess')), 'not-authorized'],
      ['a user who is not there', auth('PLAIN', plainMessage('nobody', 'guess')), 'not-authorized'],
      ['a user who cannot be', auth('PLAIN', plainMessage('a@b/c', 'guess')), 'not-authorized'],
      ['SCRAM without a name', auth('SCRAM-SHA-1', base64('n,,r=abcdefghij')), 'malformed-request'],
      ['SCRAM with a nonce too short', auth('SCRAM-SHA-1', base64('n,,n=mallory,r=abc')), 'malformed-request'],
      ['SCRAM with an extension', auth('SCRAM-SHA-1', base64('n,,m=x,n=mallory,r=abcdefghij')), 'malformed-request'],
      ['SCRAM whose -PLUS was taken out', auth('SCRAM-SHA-1', base64('y,,n=mallory,r=abcdefghij')), 'not-authorized'],
      [
        '-PLUS with a binding that is not known',
        auth('SCRAM-SHA-1-PLUS', base64('p=tls-unique,,n=mallory,r=abcdefghij')),
        'not-authorized',
      ],
    ] as const
  ).map(
    ([name, send, condition]): Attack => ({
      name,
      states: ['tls'],
      send,
      answer: new RegExp(`<failure[^>]*><${condition}`),
      log: new RegExp(`"condition":"${condition}".*login failed`),
      harmless: true,
    }),
  ),
  {
    name: 'a second exchange within the first',
    states: ['tls'],
    async send(a) {
      a.send(auth('SCRAM-SHA-1', base64('n,,n=witness,r=abcdefghij')));
      await a.gets(/<challenge/);
      a.send(auth('PLAIN', plainMessage('mallory', 'a password for tests')));
    },
    answer: /<failure[^>]*><malformed-request/,
    harmless: true,
  },
  {
    name: 'an abort within an exchange, and its answer after that',
    states: ['tls'],
    async send(a) {
      a.send(auth('SCRAM-SHA-1', base64('n,,n=witness,r=abcdefghij')));
      await a.gets(/<challenge/);
      a.send(`<abort xmlns='${ns.sasl}'/><response xmlns='${ns.sasl}'>AAAA</response>`);
    },
    answer: /<aborted.*<failure[^>]*><malformed-request/,
    harmless: true,
  },
  {
    name: 'a proof of nothing',
    states: ['tls'],
    async send(a) {
      a.send(auth('SCRAM-SHA-1', base64('n,,n=nobody,r=abcdefghij')));
      const [, challenge] = /<challenge[^>]*>([^<]+)/.exec(await a.gets(/<challenge/))!;
      const [nonce] = Buffer.from(challenge, 'base64').toString().split(',');
      a.send(`<response xmlns='${ns.sasl}'>${base64(`c=biws,${nonce},p=${base64('\0'.repeat(20))}`)}</response>`);
    },
    answer: /<failure[^>]*><not-authorized/,
    harmless: true,
  },
  {
    name: 'one guess after the other',
    states: ['tls'],
    send: a => a.send(auth('PLAIN', plainMessage('witness', 'guess')).repeat(20)),
    answer: /(<failure[^>]*><not-authorized.*){5}<stream:error><policy-violation/,
    log: /too many attempts to authenticate/,
  },
  {
    name: 'one abort after the other',
    states: ['tls'],
    send: `<abort xmlns='${ns.sasl}'/>`.repeat(20),
    answer: /<stream:error><policy-violation/,
  },
  {
    name: 'an <auth/> of 20 KB',
    states: ['tls'],
    send: auth('PLAIN', 'A'.repeat(20_000)),
    answer: /<policy-violation/,
  },
  { name: 'a second login', states: ['authenticated'], send: auth('PLAIN', '='), answer: /<policy-violation/ },
  { name: 'a second login', states: bound, send: auth('PLAIN', '='), answer: /<unsupported-stanza-type/ },
  // Addresses
  ...['witness@capulet.test', 'mallory@capulet.test/other', 'capulet.test', 'mallory@montague.test', '@', ''].map(
    (from): Attack => ({
      name: `a message from ${from || 'nobody'}`,
      states: bound,
      send: message(`from='${from}' ${toWitness}`),
      answer: /<invalid-from/,
      log: /invalid-from/,
    }),
  ),
  {
    name: 'a message to what is no address',
    states: bound,
    send: message(`to='@@'`),
    answer: /<message [^>]*type='error'.*<jid-malformed/,
    harmless: true,
  },
  {
    name: 'a request without an id',
    states: bound,
    send: `<iq type='get'><ping xmlns='${ns.ping}'/></iq>`,
    answer: /<iq [^>]*type='error'.*<bad-request/,
    harmless: true,
  },
  {
    name: 'a request of a made-up type',
    states: bound,
    send: `<iq type='take' id='1'><ping xmlns='${ns.ping}'/></iq>`,
    answer: /<iq [^>]*type='error'.*<bad-request/,
    harmless: true,
  },
  {
    name: 'a request with two questions',
    states: bound,
    send: `<iq type='get' id='1'><ping xmlns='${ns.ping}'/><ping xmlns='${ns.ping}'/></iq>`,
    answer: /<iq [^>]*type='(error|result)'/,
    harmless: true,
  },
  {
    name: 'the roster of somebody else',
    states: bound,
    send: `<iq type='get' id='1' ${toWitness}><query xmlns='${ns.roster}'/></iq>`,
    answer: /<iq [^>]*type='error'.*<(service-unavailable|forbidden)/,
    harmless: true,
  },
  // Stream management
  {
    name: 'stream management too early',
    states: ['plain', 'tls', 'authenticated'],
    send: `<enable xmlns='${sm}' resume='true'/>`,
    answer: /<failed[^>]*><unexpected-request/,
    harmless: true,
  },
  {
    name: 'a resumption',
    states: unproved,
    send: `<resume xmlns='${sm}' previd='a' h='0'/>`,
    answer: /<not-authorized/,
  },
  {
    name: 'stream management twice',
    states: bound,
    send: `<enable xmlns='${sm}'/><enable xmlns='${sm}'/>`,
    answer: /<enabled[^>]*><stream:error><policy-violation/,
  },
  {
    name: 'the resumption of nothing',
    states: ['authenticated'],
    send: `<resume xmlns='${sm}' previd='abc' h='0'/><resume xmlns='${sm}'/>`,
    answer: /<failed[^>]*><item-not-found.*<failed[^>]*><item-not-found/,
    harmless: true,
  },
  {
    name: 'a resumption within a session',
    states: bound,
    send: `<resume xmlns='${sm}' previd='abc' h='0'/>`,
    answer: /<failed[^>]*><unexpected-request/,
    harmless: true,
  },
  ...["h='99'", "h='-1'", "h='1e3'", "h='99999999999'", ''].map(
    (h): Attack => ({
      name: `an acknowledgement of ${h || 'nothing'}`,
      states: bound,
      send: `<enable xmlns='${sm}'/><a xmlns='${sm}' ${h}/>`,
      answer: /<stream:error><undefined-condition/,
    }),
  ),
  {
    name: 'an acknowledgement unasked',
    states: bound,
    send: `<a xmlns='${sm}' h='0'/>`,
    answer: /<unsupported-stanza-type/,
  },
  { name: 'a question for one', states: bound, send: `<r xmlns='${sm}'/>`, answer: /<unsupported-stanza-type/ },
  // XML
  {
    name: 'a stanza in a foreign namespace',
    states: bound,
    send: `<message xmlns='urn:other' ${toWitness}/>`,
    answer: /<(unsupported-stanza-type|invalid-namespace)/,
  },
  { name: 'a made-up stanza', states: bound, send: '<telegram/>', answer: /<unsupported-stanza-type/ },
  {
    name: 'compression, which nobody offered',
    states: every,
    send: `<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>`,
    answer: /<(unsupported-stanza-type|not-authorized)/,
  },
  {
    name: 'a prefix that is not declared',
    states: every,
    send: '<x:message/>',
    answer: /<(bad-namespace-prefix|not-well-formed)/,
  },
  { name: 'end tags in the wrong order', states: every, send: '<a><b></a></b>', answer: /<not-well-formed/ },
  { name: 'an attribute twice', states: every, send: `<a b='1' b='2'/>`, answer: /<not-well-formed/ },
  { name: 'an attribute without quotes', states: every, send: '<a b=c/>', answer: /<not-well-formed/ },
  { name: 'a character that XML has not', states: every, send: '<a>\u0001</a>', answer: /<not-well-formed/ },
  { name: 'the number of one', states: every, send: '<a>&#0;</a>', answer: /<not-well-formed/ },
  {
    name: 'text between stanzas',
    states: every,
    send: 'GET / HTTP/1.1\r\n\r\n',
    answer: /<invalid-xml/,
  },
  {
    name: 'a document type with entities',
    states: every,
    send: `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>`,
    answer: /<(restricted-xml|not-well-formed)/,
  },
  { name: 'an undefined entity', states: every, send: '<a>&bomb;</a>', answer: /<(restricted-xml|not-well-formed)/ },
  { name: 'a comment', states: every, send: '<!-- hello -->', answer: /<restricted-xml/ },
  { name: 'a comment in a stanza', states: every, send: '<a><!-- hello --></a>', answer: /<restricted-xml/ },
  { name: 'a processing instruction', states: every, send: '<?php exit ?>', answer: /<restricted-xml/ },
  {
    name: 'bytes that are not UTF-8',
    states: every,
    send: a => a.send(Buffer.from([0x3c, 0x61, 0x3e, 0xc3, 0x28])),
    answer: /<(bad-format|unsupported-encoding|not-well-formed)/,
  },
  {
    name: 'a surrogate in UTF-8',
    states: every,
    send: a => a.send(Buffer.from([0x3c, 0x61, 0x3e, 0xed, 0xa0, 0x80])),
    answer: /<(bad-format|unsupported-encoding|not-well-formed)/,
  },
  { name: 'ten thousand elements in one another', states: every, send: nest(10_000), answer: /<policy-violation/ },
  {
    name: 'a thousand attributes',
    states: every,
    send: `<a ${Array.from({ length: 1000 }, (_, i) => `a${i}='1'`).join(' ')}/>`,
    answer: /<policy-violation/,
  },
  { name: 'a name without end', states: every, send: `<${'a'.repeat(20_000)}`, answer: /<policy-violation/ },
  { name: 'a tag without end', states: every, send: `<a b='${'x'.repeat(300_000)}`, answer: /<policy-violation/ },
  {
    name: 'ten thousand children',
    states: bound,
    send: `<message ${toWitness}>${'<a/>'.repeat(10_000)}</message>`,
    answer: /<policy-violation/,
  },
  {
    name: 'a stanza without end',
    states: every,
    send: `<message><body>${'x'.repeat(300_000)}`,
    answer: /<policy-violation/,
  },
  {
    name: 'a second stream header',
    states: bound,
    send: `${header(`to='capulet.test' version='1.0'`)}</stream:stream>`,
    answer: /<unsupported-stanza-type/,
  },
];

const openings: readonly { name: string; send: string | Uint8Array; answer: RegExp; log?: RegExp }[] = [
  {
    name: 'a domain that is not served',
    send: header(`to='verona.test' version='1.0'`),
    answer: /<host-unknown/,
    log: /verona\.test is not served here/,
  },
  { name: 'no domain', send: header(`version='1.0'`), answer: /<host-unknown/, log: /no domain was named/ },
  { name: 'a domain that cannot be', send: header(`to='a b' version='1.0'`), answer: /<host-unknown/ },
  { name: 'no version', send: header(`to='capulet.test'`), answer: /<unsupported-version/ },
  { name: 'version 0.9', send: header(`to='capulet.test' version='0.9'`), answer: /<unsupported-version/ },
  { name: 'a version that is none', send: header(`to='capulet.test' version='one'`), answer: /<unsupported-version/ },
  {
    name: 'the namespace of servers',
    send: header(`to='capulet.test' version='1.0'`, 'jabber:server'),
    answer: /<invalid-namespace/,
  },
  {
    name: 'streams of another kind',
    send: header(`to='capulet.test' version='1.0'`, ns.client, 'urn:streams'),
    answer: /<invalid-namespace/,
  },
  {
    name: 'another root',
    send: `<html xmlns='${ns.client}'>`,
    answer: /<(invalid-namespace|bad-format|not-well-formed)/,
  },
  { name: 'HTTP', send: 'GET / HTTP/1.1\r\nHost: capulet.test\r\n\r\n', answer: /<(not-well-formed|invalid-xml)/ },
  { name: 'SSH', send: 'SSH-2.0-OpenSSH_9.6\r\n', answer: /<(not-well-formed|invalid-xml)/ },
  { name: 'a TLS handshake', send: Buffer.from('160301020001', 'hex'), answer: /<(not-well-formed|invalid-xml)/ },
  {
    name: 'UTF-16',
    send: Buffer.from(`\ufeff<?xml version='1.0'?>`, 'utf16le'),
    answer: /<(unsupported-encoding|not-well-formed|bad-format)/,
  },
  {
    name: 'an encoding other than UTF-8',
    send: `<?xml version='1.0' encoding='ISO-8859-1'?>`,
    answer: /<unsupported-encoding/,
  },
  { name: 'a document type', send: `<!DOCTYPE a>`, answer: /<(restricted-xml|not-well-formed)/ },
];

describe('attacks on client streams', () => {
  let hub: TestHub;
  let witness: Client;
  let lines = '';
  const options = () => ({
    port: hub.port,
    domain: 'capulet.test',
    user: 'mallory',
    password: 'a password for tests',
  });

  before(async () => {
    const log = logTo(line => {
      lines += line;
    });
    hub = await startTestHub(['capulet.test'], { log });
    await hub.accounts.add('mallory@capulet.test', 'a password for tests');
    witness = await hub.client('witness@capulet.test');
  });
  after(() => hub.close());

  afterEach('others go on', async () => {
    await witness.sends(message(toWitness, 'still here'));
    await witness.hears('still here');
    assert.doesNotMatch(lines, /"level":(50|60|"error"|"fatal")/);
    lines = '';
  });

  const logged = (wanted: RegExp) => until(() => wanted.test(lines)).catch(() => assert.match(lines, wanted));
  const states: Record<ClientState, string> = {
    plain: 'before TLS',
    tls: 'after TLS',
    authenticated: 'once authenticated',
    bound: 'once bound',
  };

  for (const { name, states: within, send, answer, log, harmless } of attacks) {
    for (const state of within) {
      it(`${states[state]}: ${name}`, async () => {
        const attacker = await ClientAttacker.in(state, options());
        if (typeof send === 'string') attacker.send(send);
        else await send(attacker);
        const text = await attacker.gets(answer);
        if (log) await logged(log);
        if (harmless) {
          assert.equal(attacker.ended, false);
          assert.doesNotMatch(text, /<\/stream:stream>/);
        } else {
          await until(() => attacker.ended);
          const [, condition] = /<stream:error><([a-z-]+)/.exec(text) ?? [];
          if (condition) await logged(new RegExp(`"remote":"127\\.0\\.0\\.1".*"reason":"${condition}.*stream error`));
        }
        attacker.destroy();
      });
    }
  }

  for (const { name, send, answer, log } of openings) {
    it(`at the start: ${name}`, async () => {
      const attacker = await ClientAttacker.connect(options());
      attacker.send(send);
      await attacker.gets(answer);
      await until(() => attacker.ended);
      await logged(log ?? /"remote":"127\.0\.0\.1".*stream error/);
    });
  }

  it('at the start: a version to come is answered with ours, and harmless', async () => {
    const client = await ClientAttacker.connect(options());
    client.send(header(`to='capulet.test' version='7.0'`));
    assert.match(await client.gets(/<\/stream:features>/), /<stream:stream [^>]*version='1\.0'/);
    assert.equal(client.ended, false);
    client.destroy();
  });

  it('nobody of all these is left, and nothing of it came to anybody', async () => {
    await until(() => hub.hub.sessions.of(Jid.parse('mallory@capulet.test')).length === 0);
    await witness.hasNot(e => e.name === 'message' && e.attrs.from !== witness.jid);
  });
});
