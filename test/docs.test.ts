// The documents that can be wrong by being old: what is generated, and the keys of the configuration.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { made } from '../scripts/specifications.ts';
import { parseElement } from '../src/xmpp/payload.ts';

const read = (file: string) => readFileSync(resolve(import.meta.dirname, '..', file), 'utf8');

describe('the documents', () => {
  for (const [file, text] of Object.entries(made())) {
    it(`have ${file} as the modules declare it now (node scripts/specifications.ts)`, () => {
      assert.equal(read(file), text);
    });
  }

  it('have a DOAP file that is well-formed and names each extension once', () => {
    const root = parseElement(made()['docs/isthmus.doap']);
    assert.equal(root.name, 'RDF');
    const named = [...root.toString().matchAll(/xep-(\d{4})\.html/g)].map(match => match[1]);
    assert.ok(named.length > 20);
    assert.equal(new Set(named).size, named.length);
  });
});
