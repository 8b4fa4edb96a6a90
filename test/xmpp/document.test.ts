// XML files larger than memory: parts in order, whatever the portions, and namespaces of the elements around.
import assert from 'node:assert/strict';
import { DocumentReader } from '../../src/xmpp/document.ts';

const text = `\ufeff<?xml version='1.0' encoding="UTF-8"?>
<!-- a > comment --><a:list xmlns:a='urn:a' xmlns="urn:d" a:x='1>2'>
  <group name='ä'><!-- <item/> --><item>1 &lt; 2<![CDATA[</item>]]><!-- no --> 3<?pi ?></item><a:item/></group>
  <group/>
</a:list>
<!-- behind -->`;

function partsOf(bytes: Uint8Array, size: number): string[] {
  const reader = new DocumentReader((_element, depth) => depth < 2);
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    for (const part of reader.push(bytes.subarray(at, at + size))) {
      parts.push(part.kind === 'close' ? 'close' : `${part.kind} ${part.element}`);
    }
  }
  reader.end();
  return parts;
}

describe('a document that is read by portions', () => {
  it('is the same in portions of any size', () => {
    const expected = [
      "open <list xmlns='urn:a' xmlns:ns0='urn:a' ns0:x='1&gt;2'/>",
      "open <group xmlns='urn:d' name='ä'/>",
      "whole <item xmlns='urn:d'>1 &lt; 2&lt;/item&gt; 3</item>",
      "whole <item xmlns='urn:a'/>",
      'close',
      "whole <group xmlns='urn:d'/>",
      'close',
    ];
    const bytes = Buffer.from(text);
    for (const size of [1, 2, 3, 7, 64, bytes.length]) assert.deepEqual(partsOf(bytes, size), expected, `by ${size}`);
  });

  it('says in which line it is wrong', () => {
    for (const [wrong, message] of [
      ["<a>\n<b>\n<c x='1' x='2'/></b></a>", /^line 3: /],
      ['<a>\n<b>\n</a></b>', /^line 3: .*closes nothing/],
      ['<a>\n<b><c><d></c></d></c></b></a>', /^line 2: /],
      ['<a>\n\n&x;<b/></a>', /^line 3: text stands/],
      ["<a\n b='", /^line 1: the document is not complete/],
      ['<a/>\n<a/>', /^line 2: there is more than one root/],
      ['<a><b><c>\u0000</c></b></a>', /^line 1: /],
      ["<a xmlns:p='urn:p'><p:b><q:c/></p:b></a>", /^line 1: /],
    ] as const) {
      assert.throws(() => partsOf(Buffer.from(wrong), 5), { message }, wrong);
    }
  });
});
