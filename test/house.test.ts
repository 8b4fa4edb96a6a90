// The plan of the house: which rooms of src/ may import which.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const src = join(root, 'src');

/** `src/hub/router.ts` → `hub`; `src/bridges/sip/bridge.ts` → `bridges/sip`; `src/main.ts` → ``. */
function room(file: string): string {
  const parts = relative(src, file).split('/');
  if (parts[0] === 'bridges' && parts.length > 2) return `bridges/${parts[1]}`;
  return parts.length > 1 ? parts[0] : '';
}

function mayImport(from: string, to: string): boolean {
  if (from === '' || from === to || to === 'xmpp') return true;
  if (from === 'xmpp') return false;
  if (to === 'hub') return true;
  // The kinds of bridges stand behind their common contract, and the list of bridges names them.
  if (from.startsWith('bridges/')) return to === 'bridges';
  return from === 'bridges' && to.startsWith('bridges/');
}

function sources(): string[] {
  return readdirSync(src, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && entry.name.endsWith('.ts'))
    .map(entry => join(entry.parentPath, entry.name));
}

function importsOf(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const found = text.matchAll(/(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)'/g);
  return [...found].map(match => resolve(dirname(file), match[1]));
}

describe('the house', () => {
  it('has imports that point one way: xmpp ← hub ← everything else', () => {
    const wrong: string[] = [];
    for (const file of sources()) {
      for (const target of importsOf(file)) {
        if (!mayImport(room(file), room(target)))
          wrong.push(`${relative(root, file)} imports ${relative(root, target)}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it('imports nothing from outside src', () => {
    const wrong = sources().flatMap(file =>
      importsOf(file)
        .filter(target => !target.startsWith(`${src}/`) && target !== join(root, 'package.json'))
        .map(target => `${relative(root, file)} imports ${relative(root, target)}`),
    );
    assert.deepEqual(wrong, []);
  });

  it('has files that open with one sentence about themselves', () => {
    const silent = sources().filter(file => !/^(#!.*\n)?\/\/ \S/.test(readFileSync(file, 'utf8')));
    assert.deepEqual(
      silent.map(file => relative(root, file)),
      [],
    );
  });
});
