// Elements: building, finding and writing them.
import assert from 'node:assert/strict';
import { Element, el, escapeAttribute, escapeText } from '../../src/xmpp/element.ts';
import { parseElement } from '../../src/xmpp/payload.ts';

describe('an element', () => {
  const query = el(
    'query',
    'urn:q',
    { a: '1', b: undefined },
    el('item', 'urn:q', { n: '1' }),
    null,
    'text',
    undefined,
    '',
    el('item', 'urn:other', {}, 'x'),
  );

  it('is built without what is missing', () => {
    assert.deepEqual(query.attrs, { a: '1' });
    assert.equal(query.children.length, 3);
  });

  it('finds its children', () => {
    assert.equal(query.child('item')?.attrs.n, '1');
    assert.equal(query.childText('item', 'urn:other'), 'x');
    assert.equal(query.child('none'), null);
    assert.equal(query.all().length, 2);
    assert.equal(query.all('item').length, 1);
    assert.equal(query.text, 'text');
    assert.equal(query.is('query', 'urn:q'), true);
    assert.equal(query.is('query', 'urn:x'), false);
  });

  it('is written with the declarations it needs', () => {
    assert.equal(
      query.toString(),
      "<query xmlns='urn:q' a='1'><item n='1'/>text<item xmlns='urn:other'>x</item></query>",
    );
    assert.equal(el('a', 'urn:q', {}, el('b', '')).toString('urn:q'), "<a><b xmlns=''/></a>");
    const attrs = { '{urn:x}y': '<', '{urn:{z}}w': '1', 'xml:lang': 'en' };
    assert.equal(
      new Element('a', '', attrs).toString(),
      "<a xmlns:ns0='urn:x' ns0:y='&lt;' xmlns:ns1='urn:{z}' ns1:w='1' xml:lang='en'/>",
    );
  });

  it('changes attributes in a copy', () => {
    assert.deepEqual(query.withAttrs({ a: undefined, c: '3' }).attrs, { c: '3' });
    assert.deepEqual(query.attrs, { a: '1' });
  });

  it('is read back as it was, whatever its text', () => {
    const nasty = '<&>\'"]]>\t\n\r\r\n é\u{1f600}\u0085';
    const read = parseElement(el('a', 'urn:"&', { b: nasty }, nasty).toString());
    assert.equal(read.attrs.b, nasty);
    assert.equal(read.text, nasty);
    assert.equal(read.ns, 'urn:"&');
  });

  it('replaces what XML cannot carry', () => {
    assert.equal(escapeText('a\0b\ud800c\uffff\x1f'), 'a\ufffdb\ufffdc\ufffd\ufffd');
    assert.equal(escapeAttribute("'\ufffe\n"), '&apos;\ufffd&#10;');
    assert.equal(escapeText('plain'), 'plain');
  });
});
