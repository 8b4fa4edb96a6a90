// Trees from bytes: what parsing keeps, and that whole documents are checked.
import assert from 'node:assert/strict';
import { parseElement, parsePayload } from '../../src/xmpp/payload.ts';

describe('parsing an element', () => {
  it('resolves names, references, CDATA sections and line ends', () => {
    const tree = parseElement(
      '<?xml version="1.0"?>\n<a xmlns="urn:a" xmlns:b="urn:b" b:c="1&#10;2\t3" d=\'"\'>x\r\ny&lt;<![CDATA[<&>]]>\rz<b:e xmlns="urn:e"><f xmlns=""/><g/></b:e></a>\n',
    );
    assert.deepEqual([tree.name, tree.ns], ['a', 'urn:a']);
    assert.deepEqual({ ...tree.attrs }, { '{urn:b}c': '1\n2 3', d: '"' });
    assert.equal(tree.children[0], 'x\ny<<&>\nz');
    const inner = tree.child('e', 'urn:b');
    assert.deepEqual(
      inner?.all().map(child => [child.name, child.ns]),
      [
        ['f', ''],
        ['g', 'urn:e'],
      ],
    );
  });

  it('restores what was in scope behind a child', () => {
    const tree = parseElement(
      "<a xmlns='urn:a' xmlns:p='urn:1'><b xmlns='urn:b' xmlns:p='urn:2'><p:x/></b><c/><p:x/><d xmlns:p='urn:3'/><p:x/></a>",
    );
    assert.deepEqual(
      tree.all().map(child => child.ns),
      ['urn:b', 'urn:a', 'urn:1', 'urn:a', 'urn:1'],
    );
    assert.equal(tree.all()[0].all()[0].ns, 'urn:2');
  });

  it('keeps an attribute called __proto__ an attribute', () => {
    const tree = parseElement("<a __proto__='x' constructor='y'/>");
    assert.deepEqual(Object.entries(tree.attrs), [
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    assert.equal(tree.toString(), "<a __proto__='x' constructor='y'/>");
  });

  it('takes all content namespaces for one in stanzas, and for what they are in documents', () => {
    const xml = "<a xmlns='jabber:server'/>";
    assert.equal(parsePayload(Buffer.from(xml), '').ns, 'jabber:client');
    assert.equal(parseElement(xml).ns, 'jabber:server');
  });

  it('uses the namespaces around it', () => {
    const tree = parsePayload(Buffer.from("<a><p:b p:c='1'/></a>"), 'urn:around', new Map([['p', 'urn:p']]));
    assert.equal(tree.ns, 'urn:around');
    assert.equal(tree.child('b', 'urn:p')?.attrs['{urn:p}c'], '1');
  });

  it('does not run out of stack', () => {
    const depth = 50_000;
    const tree = parseElement('<a>'.repeat(depth) + '</a>'.repeat(depth), { stanzaSize: 1e6, depth });
    assert.equal(tree.name, 'a');
  });
});

describe('a document', () => {
  const refused: [string, string | Uint8Array][] = [
    ['not-well-formed', ''],
    ['not-well-formed', ' '],
    ['not-well-formed', '<a>'],
    ['not-well-formed', '<a'],
    ['not-well-formed', '<a/><b/>'],
    ['not-well-formed', '</document>'],
    ['not-well-formed', '<a/></document>'],
    ['not-well-formed', "<?xml version='1.0'"],
    ['not-well-formed', '<p:a/>'],
    ['invalid-xml', 'text'],
    ['invalid-xml', '<a/>text'],
    ['restricted-xml', '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'],
    ['restricted-xml', '<a/><!-- -->'],
    ['unsupported-encoding', '<?xml version="1.0" encoding="latin1"?><a/>'],
    ['unsupported-encoding', Buffer.from([0x3c, 0x61, 0x3e, 0xff])],
    ['policy-violation', '<a>'.repeat(100) + '</a>'.repeat(100)],
    ['policy-violation', `<a>${'x'.repeat(1024 * 1024)}</a>`],
  ];
  for (const [condition, text] of refused) {
    it(`is refused: ${JSON.stringify(String(text)).slice(0, 40)}`, () => {
      assert.throws(() => parseElement(text), { name: 'StreamError', condition });
    });
  }

  it('may have a mark, a declaration and white space around it', () => {
    assert.equal(parseElement("\ufeff<?xml version='1.0' encoding='UTF-8'?>\n <a/> \n").name, 'a');
    assert.equal(parseElement(Buffer.from('<é>ü</é>')).text, 'ü');
  });

  it('is held to the limits it is given', () => {
    assert.throws(() => parseElement('<a>12345</a>', { stanzaSize: 10 }), { condition: 'policy-violation' });
  });
});
