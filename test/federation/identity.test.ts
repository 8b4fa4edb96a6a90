// Whether a certificate proves a domain: a table of certificates, good and bad, each with the reason an operator reads.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { judge, namesOf, type Roots, readRoots } from '../../src/federation/identity.ts';
import { type Authority, createAuthority, type Issued, selfSigned, type Wanted } from '../support/authority.ts';
import { workplace } from '../support/command.ts';

const day = 86_400_000;
const ago = (days: number) => new Date(Date.now() - days * day);

/** The certificates of a PEM text. */
function chain(issued: Issued): X509Certificate[] {
  const blocks = issued.certificate.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map(block => new X509Certificate(block));
}

describe('what a certificate proves', () => {
  const place = workplace({});
  let authority: Authority;
  let roots: Roots;
  before(async () => {
    authority = await createAuthority();
    writeFileSync(join(place.path, 'ca.crt'), authority.certificate);
    writeFileSync(join(place.path, 'empty.crt'), 'nothing');
    roots = readRoots([join(place.path, 'ca.crt')]);
  });
  after(() => place.remove());

  for (const [what, wanted, domain, reason] of [
    ['its name', { names: ['a.test'] }, 'a.test', null],
    ['its name in another case', { names: ['A.Test'] }, 'a.test', null],
    ['one of its names', { names: ['b.test', 'a.test'] }, 'a.test', null],
    ['another name', { names: ['b.test', 'c.test'] }, 'a.test', /not made for a\.test, but for b\.test, c\.test/],
    ['a name that ends alike', { names: ['xa.test'] }, 'a.test', /not made for/],
    ['a wildcard', { names: ['*.a.test'] }, 'x.a.test', null],
    ['a wildcard for the domain itself', { names: ['*.a.test'] }, 'a.test', /not made for/],
    ['a wildcard for two labels', { names: ['*.a.test'] }, 'y.x.a.test', /not made for/],
    ['a wildcard within a label', { names: ['x*.a.test'] }, 'xy.a.test', /not made for/],
    ['an SRVName', { srvNames: ['_xmpp-server.a.test'] }, 'a.test', null],
    ['an SRVName of clients', { srvNames: ['_xmpp-client.a.test'] }, 'a.test', /not made for/],
    ['an xmppAddr', { xmppAddrs: ['a.test'] }, 'a.test', null],
    ['an xmppAddr of a user', { xmppAddrs: ['romeo@a.test'] }, 'a.test', /not made for/],
    ['an internationalized name', { names: ['xn--bcher-kva.test'] }, 'bücher.test', null],
    ['an xmppAddr as XMPP writes it', { xmppAddrs: ['bücher.test'] }, 'bücher.test', null],
    ['a name with a NUL', { names: ['a.test\0.evil.test'] }, 'a.test', /not made for/],
    ['no name', { names: [] }, 'a.test', /has no names/],
    ['serverAuth only', { names: ['a.test'], usages: ['serverAuth'] }, 'a.test', null],
    ['clientAuth only', { names: ['a.test'], usages: ['clientAuth'] }, 'a.test', null],
    ['another usage', { names: ['a.test'], usages: ['codeSigning'] }, 'a.test', /not made for servers or clients/],
    ['dates in the past', { names: ['a.test'], notBefore: ago(9), notAfter: ago(1) }, 'a.test', /^expired on \d{4}-/],
    [
      'dates in the future',
      { names: ['a.test'], notBefore: ago(-1), notAfter: ago(-9) },
      'a.test',
      /^not valid before/,
    ],
  ] as [string, Wanted, string, RegExp | null][]) {
    it(`${what}: ${reason ? 'does not prove' : 'proves'} ${domain}`, async () => {
      const verdict = judge(chain(await authority.issue(wanted)), domain, roots);
      if (reason) assert.match(verdict.reason, reason);
      else assert.equal(verdict.reason, '');
      assert.equal(verdict.valid, reason === null);
      assert.ok(verdict.notAfter instanceof Date);
    });
  }

  it('nothing, where nothing is shown', () => {
    assert.deepEqual(judge([], 'a.test', roots), { valid: false, reason: 'no certificate was shown' });
  });

  it('nothing, where it is self-signed or of an unknown authority', async () => {
    const own = judge(chain(await selfSigned({ names: ['a.test'] })), 'a.test', roots);
    assert.deepEqual([own.valid, own.reason], [false, 'self-signed']);
    const stranger = await createAuthority('Nobody');
    const strange = judge(chain(await stranger.issue({ names: ['a.test'] })), 'a.test', roots);
    assert.match(strange.reason, /unknown authority \(Nobody\)/);
  });

  it('nothing, where an authority only has the name of a known one', async () => {
    const double = await createAuthority('Test Authority');
    assert.equal(judge(chain(await double.issue({ names: ['a.test'] })), 'a.test', roots).valid, false);
  });

  it('a domain through an intermediate, if that is shown', async () => {
    const between = await authority.intermediate('Between');
    const [leaf, middle] = chain(await between.issue({ names: ['a.test'] }));
    assert.equal(judge([leaf, middle], 'a.test', roots).valid, true);
    assert.match(judge([leaf], 'a.test', roots).reason, /unknown authority \(Between\)/);
    // A leaf is no authority, whatever it signs.
    const [other] = chain(await authority.issue({ names: ['b.test'] }));
    assert.equal(judge([leaf, other], 'a.test', roots).valid, false);
  });

  it('names of all kinds are read, and what cannot be read has none', async () => {
    const [leaf] = chain(
      await authority.issue({ names: ['a.test'], srvNames: ['_xmpp-server.b.test'], xmppAddrs: ['c.test'] }),
    );
    assert.deepEqual(namesOf(leaf), [
      { kind: 'dns', value: 'a.test' },
      { kind: 'srv', value: '_xmpp-server.b.test' },
      { kind: 'xmpp', value: 'c.test' },
    ]);
    for (const raw of [Buffer.alloc(0), Buffer.from('3003020100', 'hex'), Buffer.from('3084ffffffff', 'hex')]) {
      assert.deepEqual(namesOf({ raw } as unknown as X509Certificate), []);
    }
    for (let cut = 1; cut < leaf.raw.length; cut += 7) {
      namesOf({ raw: leaf.raw.subarray(0, cut) } as unknown as X509Certificate);
    }
  });

  it('a file without certificates is refused', () => {
    assert.throws(() => readRoots([join(place.path, 'empty.crt')]), /empty\.crt holds no certificate/);
    assert.throws(() => readRoots([join(place.path, 'gone.crt')]), /ENOENT/);
  });
});
