// The documents that can be wrong by being old: what is generated, and the keys of the configuration.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { made } from '../scripts/specifications.ts';
import { checkModules, parseConfig } from '../src/hub/config.ts';
import { moduleNames } from '../src/modules/index.ts';
import { parseElement } from '../src/xmpp/payload.ts';
import { workplace } from './support/command.ts';

const read = (file: string) => readFileSync(resolve(import.meta.dirname, '..', file), 'utf8');

describe('the documents', () => {
  for (const file of ['docs/specifications.md', 'docs/isthmus.doap']) {
    it(`have ${file} as the modules declare it now (node scripts/specifications.ts)`, () => {
      assert.equal(read(file), made()[file]);
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

/** Sections whose keys are names of the operator's. */
const named =
  /^(domains|modules|domains\.NAME\.modules|components|directories|bridges|external-services|federation\.partners|directories\.NAME\.bases|bridges\.NAME\.(routes|brokers|smscs|mail-domains|credentials|digest\.accounts)|attach\.secrets)$/;

/** The dotted paths of all keys of the example, names of the operator's as NAME. */
function keysOf(value: unknown, path: string): string[] {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([key, inner]) => {
    if (path.endsWith('modules') || path.endsWith('registration.values')) return [path];
    const name = named.test(path) ? 'NAME' : key;
    return keysOf(inner, path ? `${path}.${name}` : name);
  });
}

describe('docs/configuration.md', () => {
  // What only stands in a comment there is part of the contract as well.
  const example = read('isthmus.example.yaml')
    .replace(/^# (attach: \{)/m, '$1')
    .replace(
      /^( {4})# ( *(?:domain-root|domain-filter|bases|registration|base|classes|values|smscs|users|quiet-hours):)/gm,
      '$1$2',
    );
  const keys = new Set(keysOf(parse(example), ''));
  const rows = [...read('docs/configuration.md').matchAll(/^\| `([^`]+)` \|/gm)].map(match => match[1]);

  it('has every key of the example', () => {
    const missing = [...keys].filter(key => !rows.includes(key));
    assert.deepEqual(missing, []);
  });

  it('has no key that the example does not show', () => {
    const inner = new Set([...keys].flatMap(key => key.split('.').map((_, i, all) => all.slice(0, i + 1).join('.'))));
    const types = rows.filter(row => !inner.has(row) && /[.-]/.test(row));
    assert.deepEqual(types, []);
  });
});

describe('isthmus.example.yaml', () => {
  it('is read without complaint, but for files and secrets that are not here', () => {
    const place = workplace({});
    const variables = [...read('isthmus.example.yaml').matchAll(/env:([A-Z_0-9]+)/g)].map(match => match[1]);
    try {
      mkdirSync(join(place.path, 'certs'));
      for (const name of ['hub.test.crt', 'hub.test.key', 'ca.crt']) writeFileSync(join(place.path, 'certs', name), '');
      for (const name of variables) process.env[name] ??= 'set by a test';
      const config = parseConfig(read('isthmus.example.yaml'), join(place.path, 'isthmus.yaml'));
      checkModules(config, moduleNames);
      assert.deepEqual([...config.domains.keys()], ['hub.test', 'sales.hub.test']);
    } finally {
      for (const name of variables) if (process.env[name] === 'set by a test') delete process.env[name];
      place.remove();
    }
  });
});
