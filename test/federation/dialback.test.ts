// Dialback keys and elements.
import assert from 'node:assert/strict';
import { dialbackElement, dialbackKey, sameKey } from '../../src/federation/dialback.ts';

describe('dialback', () => {
  it('makes the key of XEP-0185 §4', () => {
    assert.equal(
      dialbackKey('s3cr3tf0rd14lb4ck', 'xmpp.example.com', 'example.org', 'D60000229F'),
      '37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643',
    );
  });

  it('makes another key for everything that differs', () => {
    const keys = [
      dialbackKey('s', 'a.test', 'b.test', '1'),
      dialbackKey('t', 'a.test', 'b.test', '1'),
      dialbackKey('s', 'b.test', 'a.test', '1'),
      dialbackKey('s', 'a.test', 'b.test', '2'),
    ];
    assert.equal(new Set(keys).size, keys.length);
  });

  it('compares keys of any length', () => {
    assert.equal(sameKey('abc', 'abc'), true);
    for (const other of ['abd', 'ab', 'abcd', '', 'ABC']) assert.equal(sameKey('abc', other), false);
  });

  for (const [given, expected] of [
    [{ key: '1e' }, `<db:result from='a.test' to='b.test'>1e</db:result>`],
    [{ type: 'valid' }, `<db:result from='a.test' to='b.test' type='valid'/>`],
    [{ type: 'invalid', id: `'<&` }, `<db:result from='a.test' to='b.test' id='&apos;&lt;&amp;' type='invalid'/>`],
  ] as [Parameters<typeof dialbackElement>[3], string][]) {
    it(`writes ${expected}`, () => assert.equal(dialbackElement('result', 'a.test', 'b.test', given), expected));
  }

  it('writes an error with its text (XEP-0220 §2.4)', () => {
    const xml = dialbackElement('verify', 'a.test', 'b.test', { id: '1', error: 'item-not-found', text: 'a < b' });
    assert.match(xml, /^<db:verify from='a\.test' to='b\.test' id='1' type='error'><error type='cancel'>/);
    assert.match(
      xml,
      /<item-not-found xmlns='[^']*xmpp-stanzas'\/><text xmlns='[^']*'>a &lt; b<\/text><\/error><\/db:verify>$/,
    );
  });
});
