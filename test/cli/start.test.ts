// Starts that must fail: exit code 1, one line on standard error that says what to do, and nothing left behind.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isthmus, type Ran, workplace } from '../support/command.ts';
import { hubDirectory } from '../support/process.ts';

const launcher = resolve(import.meta.dirname, '../../bin/isthmus');
const quiet = 'domains: { hub.test: {} }\nlisten: { c2s: [], s2s: [], http: [] }\n';

/** Whether this user can have a mount of its own: as root, or in a user namespace. */
const unshare = ['-m', '-rm'].find(flags => spawnSync('unshare', [flags, 'true']).status === 0);

/** Starts a hub whose `data` is a file system of its own, mounted so, behind these commands. */
function startOn(place: string, mount: string, then = ''): Promise<Ran> {
  const data = join(place, 'data');
  mkdirSync(data, { recursive: true });
  const script = `mount -t tmpfs -o ${mount} none "${data}" && { ${then} "${launcher}" start -c "${place}/isthmus.yaml"; }`;
  const child = spawn('unshare', [unshare!, 'sh', '-c', script], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ran: Ran = { code: null, out: '', err: '' };
  child.stdout.on('data', text => {
    ran.out += text;
  });
  child.stderr.on('data', text => {
    ran.err += text;
  });
  return new Promise(done => child.on('close', code => done({ ...ran, code })));
}

function failed(ran: Ran, wanted: RegExp): void {
  assert.match(ran.err, /^isthmus: [^\n]+\n$/, ran.err + ran.out);
  assert.match(ran.err, wanted);
  assert.equal(ran.code, 1);
}

describe('a start that fails', () => {
  let place: ReturnType<typeof workplace>;
  beforeEach(() => {
    place = workplace({ 'isthmus.yaml': quiet });
  });
  afterEach(() => place.remove());
  const start = () => isthmus(['start'], { cwd: place.path });

  it('says that a file is in the place of `data`', async () => {
    writeFileSync(join(place.path, 'data'), '');
    failed(await start(), /data cannot be made: a file is in its place; check `data`/);
  });

  it('says that a directory is in the place of the database', async () => {
    mkdirSync(join(place.path, 'data/isthmus.db'), { recursive: true });
    failed(await start(), /isthmus\.db cannot be opened; check that it is a file/);
  });

  it('says that the database is none', async () => {
    mkdirSync(join(place.path, 'data'));
    writeFileSync(join(place.path, 'data/isthmus.db'), 'something else altogether '.repeat(1000));
    failed(await start(), /isthmus\.db is damaged or no database; restore a backup/);
  });

  it('says that keys cannot be written', async () => {
    mkdirSync(join(place.path, 'data'));
    writeFileSync(join(place.path, 'data/keys'), '');
    failed(await start(), /keys/);
  });

  if (unshare) {
    it('says that `data` is read-only, on the first start and on a later one', async () => {
      failed(await startOn(place.path, 'ro'), /data is on a read-only file system; the hub needs to write there/);
      const again = `sh -c '"${launcher}" account list -c "${place.path}/isthmus.yaml"' && mount -o remount,ro "${place.path}/data";`;
      failed(await startOn(place.path, 'size=4m', again), /read-only/);
    });

    for (const size of ['4k', '40k', '64k', '100k']) {
      it(`says that a disk of ${size} is full, and listens nowhere`, async () => {
        const ran = await startOn(place.path, `size=${size}`);
        failed(ran, /disk is full/);
        assert.doesNotMatch(ran.out, /is ready/);
      });
    }
  }

  it('says that a certificate does not go with its key', async () => {
    const { makeSelfSigned } = await import('../../src/hub/self-signed.ts');
    const [one, other] = [await makeSelfSigned('hub.test', 30), await makeSelfSigned('hub.test', 30)];
    writeFileSync(join(place.path, 'a.crt'), one.certificate);
    writeFileSync(join(place.path, 'a.key'), other.key);
    writeFileSync(join(place.path, 'isthmus.yaml'), quiet.replace('{}', '{ certificate: a.crt, key: a.key }'));
    failed(await start(), /a\.crt and .*a\.key cannot be used: .*mismatch/);
    writeFileSync(join(place.path, 'a.crt'), 'no certificate');
    failed(await start(), /a\.crt and .*a\.key cannot be used/);
  });

  it('says that another hub has the data, and leaves that one alone', async () => {
    const shared = hubDirectory('domains: { hub.test: {} }');
    const first = await shared.start();
    try {
      failed(await isthmus(['start'], { cwd: shared.path }), /another isthmus is running on .*data; stop it first/);
      const status = await isthmus(['status', '--json'], { cwd: shared.path });
      assert.deepEqual(JSON.parse(status.out).domains, ['hub.test']);
    } finally {
      assert.equal((await first.kill('SIGTERM')).code, 0);
      shared.remove();
    }
  });

  it('makes anew what an earlier start left half made', async () => {
    const half = hubDirectory('domains: { hub.test: {} }');
    mkdirSync(join(half.path, 'data/keys'), { recursive: true });
    for (const name of ['scram.secret', 'hub.test.key', 'hub.test.crt'])
      writeFileSync(join(half.path, 'data/keys', name), '');
    const hub = await half.start();
    await hub.kill('SIGTERM');
    assert.deepEqual(readdirSync(join(half.path, 'data/keys')).sort(), [
      'dialback.secret',
      'hub.test.crt',
      'hub.test.key',
      'pubsub.hub.test.crt',
      'pubsub.hub.test.key',
      'scram.secret',
    ]);
    assert.equal(existsSync(join(half.path, 'data/admin.sock')), false);
    half.remove();
  });
});
