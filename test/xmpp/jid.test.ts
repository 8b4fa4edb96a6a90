// Addresses: the examples of RFC 7622 §3.5, the limits, and the cache.
import assert from 'node:assert/strict';
import { StanzaError } from '../../src/xmpp/errors.ts';
import { Jid } from '../../src/xmpp/jid.ts';

describe('an address', () => {
  describe('is taken (RFC 7622 §3.5, and others)', () => {
    const taken: [text: string, local: string, domain: string, resource: string][] = [
      ['juliet@example.com', 'juliet', 'example.com', ''],
      ['juliet@example.com/foo', 'juliet', 'example.com', 'foo'],
      ['juliet@example.com/foo bar', 'juliet', 'example.com', 'foo bar'],
      ['juliet@example.com/foo@bar', 'juliet', 'example.com', 'foo@bar'],
      ['foo\\20bar@example.com', 'foo\\20bar', 'example.com', ''],
      ['fussball@example.com', 'fussball', 'example.com', ''],
      ['fu\u00dfball@example.com', 'fußball', 'example.com', ''],
      ['\u03c0@example.com', 'π', 'example.com', ''],
      ['\u03a3@example.com/foo', 'σ', 'example.com', 'foo'],
      ['\u03c3@example.com/foo', 'σ', 'example.com', 'foo'],
      ['\u03c2@example.com/foo', 'ς', 'example.com', 'foo'],
      ['king@example.com/\u265a', 'king', 'example.com', '♚'],
      ['example.com', '', 'example.com', ''],
      ['example.com/foobar', '', 'example.com', 'foobar'],
      ['a.example.com/b@example.net', '', 'a.example.com', 'b@example.net'],
      ['Romeo@Montague.Example./Orchard', 'romeo', 'montague.example', 'Orchard'],
      ['x@y//', 'x', 'y', '/'],
      ['a@[::1]', 'a', '[::1]', ''],
      ['[2001:DB8::1]/r', '', '[2001:db8::1]', 'r'],
      ['a@192.0.2.1', 'a', '192.0.2.1', ''],
      ['a@B\u00dcCHER.example', 'a', 'bücher.example', ''],
      ['a@bu\u0308cher.example', 'a', 'bücher.example', ''],
      ['a@xn--bcher-kva.example', 'a', 'bücher.example', ''],
      ['日本@例え。テスト', '日本', '例え.テスト', ''],
      ['ＪＵＬＩＥＴ@example.com', 'juliet', 'example.com', ''],
      ['e\u0301@example.com', 'é', 'example.com', ''],
      ['a@b/x\u00a0y\u3000z', 'a', 'b', 'x y z'],
    ];
    for (const [text, local, domain, resource] of taken) {
      it(JSON.stringify(text), () => {
        const jid = Jid.parse(text);
        assert.deepEqual([jid.local, jid.domain, jid.resource], [local, domain, resource]);
        assert.equal(String(Jid.parse(String(jid))), String(jid));
      });
    }
  });

  describe('is refused (RFC 7622 §3.5, and others)', () => {
    const refused = [
      '"juliet"@example.com',
      'foo bar@example.com',
      'juliet@example.com/',
      '@example.com/',
      '@example.com',
      'henry\u2163@example.com',
      '\u265a@example.com',
      'juliet@',
      '/foobar',
      '',
      'a@b@c',
      "a'b@c",
      'a&b@c',
      'a:b@c',
      'a<b@c',
      '＂@c',
      'a@b..c',
      'a@.b',
      'a@-b',
      'a@b-',
      'a@b_c',
      'a@b c',
      'a@ab--c',
      'a@xn--zzzzzzz99',
      'a@☃.example',
      'a@é\u0301-.x',
      'a@[::1',
      'a@[192.0.2.1]',
      'a@[fe80::1%25eth0]',
      'a@b/\u0007',
      'a@b/x\u200b',
      'a@b/\ud800',
      'a\u05d0@b',
      '\u05d0a@b',
      `a@${'b'.repeat(64)}`,
      `${'a'.repeat(1024)}@b`,
      `a@b/${'c'.repeat(1024)}`,
      `a@b/${'é'.repeat(512)}`,
      `a@${'b.'.repeat(512)}c`,
    ];
    for (const text of refused) {
      it(JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text), () => {
        assert.equal(Jid.tryParse(text), null);
        assert.throws(
          () => Jid.parse(text),
          (error: StanzaError) =>
            error instanceof StanzaError && error.condition === 'jid-malformed' && error.text.length > 5,
        );
      });
    }
  });

  it('may have parts of 1023 bytes', () => {
    const jid = Jid.parse(`${'a'.repeat(1023)}@b/${'é'.repeat(511)}`);
    assert.equal(jid.local.length, 1023);
  });

  it('knows its bare form and is that itself', () => {
    const full = Jid.parse('romeo@montague.example/orchard');
    assert.equal(String(full.bare), 'romeo@montague.example');
    assert.equal(full.bare, full.bare);
    assert.equal(full.bare.bare, full.bare);
    assert.deepEqual([full.isBare, full.bare.isBare, full.isDomain, full.bare.isDomain], [false, true, false, false]);
    assert.equal(Jid.parse('montague.example').isDomain, true);
    assert.equal(Jid.parse('montague.example/x').isDomain, false);
  });

  it('takes another resource, prepared, or none', () => {
    const bare = Jid.parse('romeo@montague.example');
    assert.equal(String(bare.withResource('a\u00a0b')), 'romeo@montague.example/a b');
    assert.equal(String(bare.withResource('x').withResource('')), 'romeo@montague.example');
    assert.throws(() => bare.withResource('\0'), { condition: 'jid-malformed' });
  });

  it('takes little time to refuse, however long it is', () => {
    const began = performance.now();
    for (const piece of ['\u30fb', '\u200c', 'ب\u0661', 'a.', 'é', '@', '/', '-', '\u0301']) {
      for (let i = 0; i < 10; i++) Jid.tryParse(`${piece.repeat(8000)}${i}@example.com/${piece.repeat(8000)}`);
      for (let i = 0; i < 10; i++) Jid.tryParse(`a@${piece.repeat(500)}${i}`);
    }
    assert.ok(performance.now() - began < 2000);
  });

  it('is equal to another of the same parts', () => {
    assert.equal(Jid.parse('A@b/C').equals(Jid.of('a', 'b', 'C')), true);
    assert.equal(Jid.parse('a@b/c').equals(Jid.parse('a@b/C')), false);
    assert.equal(Jid.parse('a@b').equals(null), false);
  });

  it('escapes itself for an attribute', () => {
    assert.equal(Jid.parse(`a@b/<'">&`).escaped, 'a@b/&lt;&apos;&quot;&gt;&amp;');
    assert.equal(Jid.parse('a@b/c').escaped, 'a@b/c');
  });

  it('gives its domain as the DNS has it', () => {
    assert.equal(Jid.parse('a@bücher.example').asciiDomain, 'xn--bcher-kva.example');
    assert.equal(Jid.parse('a@b.example').asciiDomain, 'b.example');
  });

  it('is made once for texts that come again, and is right after any number of others', () => {
    const first = Jid.parse('first@cache.example/x');
    assert.equal(Jid.parse('first@cache.example/x'), first);
    for (let i = 0; i < 9000; i++) Jid.parse(`user${i}@cache.example`);
    assert.equal(Jid.parse('first@cache.example/x'), first);
    for (let i = 0; i < 40_000; i++) Jid.parse(`User${i}@cache.example`);
    assert.equal(String(Jid.parse('first@cache.example/x')), 'first@cache.example/x');
    assert.equal(String(Jid.parse('User1@cache.example')), 'user1@cache.example');
  });
});
