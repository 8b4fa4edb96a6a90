// Reading the configuration key by key: values, defaults, and errors that name file, line and key.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, parseSettings, type Section } from '../../src/hub/settings.ts';
import { workplace } from '../support/command.ts';

const place = workplace({ 'the.secret': 'kept\n', 'empty.secret': '\n' });
const file = join(place.path, 'my.yaml');
const read = (text: string) => parseSettings(text, file);

/** What reading fails with, without the path of the file. */
function failure(text: string, reader: (section: Section) => unknown): string {
  try {
    reader(read(text));
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message.replace(`${file}:`, '');
  }
  return 'nothing is wrong';
}

describe('settings', () => {
  after(() => place.remove());

  it('read every kind of value', () => {
    const section = read(`
text: plain
number-as-text: 15550001111
whole: -7
flag: false
one-of: b
time: 1.5m
days: 2d
size: 1MiB
bytes: 100
rate: 64KiB/s
no-rate: 0
list: [a, 2]
single: a
domains: [EXAMPLE.test, "*.Below.test"]
people: [Bard@Hub.test, hub.test]
endpoint: "[::1]:5222"
path: some/where
absolute: /some/where
`);
    assert.equal(section.string('text'), 'plain');
    assert.equal(section.string('number-as-text'), '15550001111');
    assert.equal(section.integer('whole'), -7);
    assert.equal(section.boolean('flag', true), false);
    assert.equal(section.oneOf('one-of', ['a', 'b']), 'b');
    assert.equal(section.duration('time'), 90_000);
    assert.equal(section.duration('days'), 172_800_000);
    assert.equal(section.size('size'), 1024 * 1024);
    assert.equal(section.size('bytes'), 100);
    assert.equal(section.rate('rate'), 65_536);
    assert.equal(section.rate('no-rate', 7), 0);
    assert.deepEqual(section.strings('list'), ['a', '2']);
    assert.deepEqual(section.strings('single'), ['a']);
    assert.deepEqual(section.domains('domains', [], true), ['example.test', '*.below.test']);
    assert.deepEqual(section.jids('people'), ['bard@hub.test', 'hub.test']);
    assert.deepEqual(section.endpoint('endpoint'), { host: '::1', port: 5222 });
    assert.equal(section.path('path'), join(place.path, 'some/where'));
    assert.equal(section.path('absolute'), '/some/where');
    section.done();
  });

  it('give the default where a key is absent or empty', () => {
    const section = read('empty:\nnull: ~');
    assert.equal(section.string('empty', 'x'), 'x');
    assert.equal(section.integer('nothing', 3), 3);
    assert.equal(section.boolean('nothing', true), true);
    assert.deepEqual(section.strings('nothing', ['a']), ['a']);
    assert.deepEqual(section.endpoints('nothing', []), []);
    assert.deepEqual(section.section('nothing').keys, []);
    assert.deepEqual(read('').keys, []);
  });

  for (const [text, reader, message] of [
    ['a: 1\nb: [x]', s => s.string('b'), '2: b: a single value is expected'],
    ['a: true', s => s.string('a'), '1: a: true is not a text'],
    ['', s => s.string('a'), '1: a: is missing; a text is expected'],
    ['a: 1.5', s => s.integer('a', 0, { min: 0 }), '1: a: 1.5 is not a whole number 0 or more'],
    ['a: 9', s => s.integer('a', 0, { min: 0, max: 5 }), '1: a: 9 is not a whole number from 0 to 5'],
    ['a: "yes"', s => s.boolean('a'), '1: a: "yes" is neither true nor false'],
    ['a: c', s => s.oneOf('a', ['x', 'y']), '1: a: "c" is not one of x, y'],
    ['a: 10', s => s.duration('a'), '1: a: 10 is not a time such as 500ms, 30s, 5m or 1h'],
    ['a: 40d', s => s.duration('a', 0, 86_400_000), '1: a: "40d" is more than 1d'],
    ['a: 1KB', s => s.size('a'), '1: a: "1KB" is not a size such as 512B, 64KiB or 1MiB'],
    ['a: 64KiB', s => s.rate('a'), '1: a: "64KiB" is not a rate such as 64KiB/s, nor 0 for none'],
    ['a: {b: c}', s => s.strings('a'), '1: a: a list is expected'],
    ['a: [[b]]', s => s.strings('a'), '1: a: a list of single values is expected'],
    ['a: [x@y]', s => s.domains('a'), '1: a: "x@y" is not a domain'],
    ['a: ["*.x"]', s => s.domains('a'), '1: a: "*.x" is not a domain'],
    ['a: [x@y/z]', s => s.jids('a'), '1: a: "x@y/z" is not an address'],
    ['a: 5222', s => s.endpoint('a'), '1: a: "5222" is not address:port (IPv6 addresses in brackets)'],
    ['a: "::1:5222"', s => s.endpoint('a'), '1: a: "::1:5222" is not address:port (IPv6 addresses in brackets)'],
    ['a: x:70000', s => s.endpoint('a'), '1: a: "x:70000" is not address:port (IPv6 addresses in brackets)'],
    ['a: [b]', s => s.section('a'), '1: a: a map of keys is expected'],
    ['a:\n  b:\n    c: 1', s => s.section('a').section('b').boolean('c'), '3: a.b.c: 1 is neither true nor false'],
    ['a: 1\na: 2', () => {}, '2: Map keys must be unique'],
    ['a: [1', () => {}, '1: Flow sequence in block collection must be sufficiently indented and end with a ]'],
    ['- a', () => {}, '1: a map of keys is expected'],
  ] as [string, (section: Section) => unknown, string][]) {
    it(`say of ${JSON.stringify(text)}: ${message}`, () => {
      assert.equal(failure(text, reader), message);
    });
  }

  it('refuse keys that nobody asked for, and guess what was meant', () => {
    const reader = (section: Section) => {
      section.has('listen');
      section.has('limits');
      section.done();
    };
    assert.equal(failure('listen: 1\nlitsen: 2', reader), '2: litsen: there is no such key; did you mean listen?');
    assert.equal(failure('colour: 2', reader), '1: colour: there is no such key; known here are listen, limits');
  });

  it('take secrets from the file, the environment and other files, and repeat none', () => {
    process.env.ISTHMUS_TEST_SECRET = 'from outside';
    process.env.ISTHMUS_TEST_EMPTY = '';
    const section = read('a: literal\nb: env:ISTHMUS_TEST_SECRET\nc: file:the.secret');
    assert.deepEqual(
      ['a', 'b', 'c'].map(key => section.secret(key)),
      ['literal', 'from outside', 'kept'],
    );
    const reader = (one: Section) => one.secret('a');
    const gone = 'the environment has no variable ISTHMUS_TEST_GONE, or an empty one';
    assert.equal(failure('a: env:ISTHMUS_TEST_GONE', reader), `1: a: ${gone}`);
    assert.match(
      failure('a: env:ISTHMUS_TEST_EMPTY', one => one.secret('a', '')),
      /or an empty one$/,
    );
    assert.match(failure('a: file:gone.secret', reader), /gone\.secret cannot be read: ENOENT$/);
    assert.match(failure('a: file:empty.secret', reader), /empty\.secret is empty$/);
    assert.equal(failure("a: ''", reader), '1: a: is empty');
    assert.equal(failure('a: [hidden]', reader), '1: a: a single value is expected');
    delete process.env.ISTHMUS_TEST_SECRET;
    delete process.env.ISTHMUS_TEST_EMPTY;
  });

  it('name the file as it was given, where it cannot be parsed', () => {
    writeFileSync(file, 'x');
    assert.throws(() => parseSettings('"', 'given.yaml'), /^ConfigError: given\.yaml:1: /);
  });
});
