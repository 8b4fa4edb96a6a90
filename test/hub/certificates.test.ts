// The certificates that the hub shows: read, made, read again, and never lost to a file that is half written.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Certificates } from '../../src/hub/certificates.ts';
import { type Config, parseConfig } from '../../src/hub/config.ts';
import { silentLog } from '../../src/hub/log.ts';
import { type Authority, createAuthority, type Issued } from '../support/authority.ts';
import { workplace } from '../support/command.ts';
import { logTo } from '../support/log.ts';

const day = 86_400_000;

describe('certificates', () => {
  let place: ReturnType<typeof workplace>;
  let authority: Authority;
  let certificates: Certificates | null = null;
  let moment = Date.now();
  before(async () => {
    authority = await createAuthority();
  });
  beforeEach(() => {
    place = workplace({});
  });
  afterEach(() => {
    certificates?.close();
    place.remove();
  });

  /** Writes a pair, as of a later time than what was there. */
  function write(name: string, { certificate, key }: Issued): void {
    moment += 2_000;
    for (const [file, text] of [
      [`${name}.crt`, certificate],
      [`${name}.key`, key],
    ]) {
      writeFileSync(join(place.path, file), text);
      utimesSync(join(place.path, file), new Date(moment), new Date(moment));
    }
  }

  const config = (domains: string): Config => parseConfig(`domains: ${domains}`, join(place.path, 'my.yaml'));
  const open = async (domains: string, more: string[] = [], log = silentLog()) =>
    (certificates = await Certificates.open(config(domains), more, log));
  const leaf = (issued: Issued) => new X509Certificate(issued.certificate).raw;

  it('are those of the files, one for each domain', async () => {
    const [a, b] = [await authority.issue({ names: ['a.test'] }), await authority.issue({ names: ['b.test'] })];
    write('a', a);
    write('b', b);
    const known = await open(
      '{ a.test: { certificate: a.crt, key: a.key }, b.test: { certificate: b.crt, key: b.key } }',
    );
    assert.deepEqual(known.certificateOf('a.test'), leaf(a));
    assert.deepEqual(known.certificateOf('b.test'), leaf(b));
    assert.equal(known.contextFor('c.test'), null);
    assert.ok(known.expiries.every(({ selfSigned, daysLeft }) => !selfSigned && daysLeft >= 89));
  });

  it('serve other domains whose names they have', async () => {
    const a = await authority.issue({ names: ['a.test', '*.a.test'] });
    write('a', a);
    const known = await open('{ a.test: { certificate: a.crt, key: a.key } }', ['irc.a.test', 'sms.test']);
    assert.equal(known.contextFor('irc.a.test'), known.contextFor('a.test'));
    assert.notEqual(known.contextFor('sms.test'), known.contextFor('a.test'));
    assert.deepEqual(
      known.expiries.map(({ domain, selfSigned }) => [domain, selfSigned]),
      [
        ['a.test', false],
        ['sms.test', true],
      ],
    );
  });

  it('are made where there are none, kept for their owner alone, and used again', async () => {
    const first = (await open('{ a.test: {} }')).certificateOf('a.test');
    certificates?.close();
    const key = join(place.path, 'data/keys/a.test.key');
    assert.equal(statSync(key).mode & 0o777, 0o600);
    assert.deepEqual((await open('{ a.test: {} }')).certificateOf('a.test'), first);
    certificates?.close();
    writeFileSync(key, readFileSync(key, 'utf8').slice(0, 40));
    const again = (await open('{ a.test: {} }')).certificateOf('a.test');
    assert.notDeepEqual(again, first);
  });

  it('are read again when the files change, and not while they do not go together', async () => {
    const [old, young] = [await authority.issue({ names: ['a.test'] }), await authority.issue({ names: ['a.test'] })];
    write('a', old);
    const known = await open('{ a.test: { certificate: a.crt, key: a.key } }');
    const context = known.contextFor('a.test');
    known.refresh();
    assert.equal(known.contextFor('a.test'), context);
    write('a', { certificate: young.certificate, key: old.key });
    known.refresh();
    assert.equal(known.contextFor('a.test'), context);
    write('a', { certificate: '', key: '' });
    known.refresh();
    assert.equal(known.contextFor('a.test'), context);
    write('a', young);
    known.refresh();
    assert.deepEqual(known.certificateOf('a.test'), leaf(young));
  });

  it('follow the configuration', async () => {
    const known = await open('{ a.test: {} }');
    await known.reload(config('{ a.test: {}, b.test: {} }'), ['c.test']);
    assert.ok(known.contextFor('b.test') && known.contextFor('c.test'));
    const own = await authority.issue({ names: ['a.test'] });
    write('a', own);
    await known.reload(config('{ a.test: { certificate: a.crt, key: a.key } }'));
    assert.deepEqual(known.certificateOf('a.test'), leaf(own));
  });

  it('are warned of before they expire, once', async () => {
    let lines = '';
    const log = logTo(line => {
      lines += line;
    });
    write('a', await authority.issue({ names: ['a.test'], notAfter: new Date(Date.now() + 10.5 * day) }));
    write('b', await authority.issue({ names: ['b.test'], notAfter: new Date(Date.now() - day) }));
    const pairs = ['a', 'b'].map(name => `${name}.test: { certificate: ${name}.crt, key: ${name}.key }`);
    const known = await open(`{ ${pairs.join(', ')} }`, [], log);
    known.refresh();
    assert.match(lines, /"domain":"a\.test","daysLeft":10,"msg":"certificate expires soon"/);
    assert.match(lines, /"domain":"b\.test","daysLeft":-\d,"msg":"certificate has expired"/);
    assert.equal(lines.trim().split('\n').length, 2);
  });

  it('stop the start where a pair does not go together', async () => {
    const [a, b] = [await authority.issue({ names: ['a.test'] }), await authority.issue({ names: ['a.test'] })];
    write('a', { certificate: a.certificate, key: b.key });
    await assert.rejects(
      open('{ a.test: { certificate: a.crt, key: a.key } }'),
      /a\.crt and .*a\.key cannot be used: /,
    );
  });
});
