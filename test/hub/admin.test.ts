// The admin socket: commands and their answers, wrong requests, one hub per directory, and who may use it.
import assert from 'node:assert/strict';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import {
  type AdminCommand,
  AdminServer,
  adminSocket,
  askAdmin,
  makeDataDirectory,
  NotRunning,
  UsageError,
} from '../../src/hub/admin.ts';
import { workplace } from '../support/command.ts';

const commands: Record<string, AdminCommand> = {
  echo: args => args,
  nothing: () => undefined,
  later: async () => ({ a: 1 }),
  wrong: () => {
    throw new UsageError('wrong words');
  },
  fail: async () => {
    throw new Error('it failed');
  },
};

describe('the admin socket', () => {
  const place = workplace({});
  const data = join(place.path, 'data');
  const server = new AdminServer(new Map(Object.entries(commands)));
  before(() => server.start(data));
  after(async () => {
    await server.stop();
    place.remove();
  });

  /** What comes back for raw text. */
  const raw = (text: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = createConnection(adminSocket(data));
      let answer = '';
      socket.setEncoding('utf8');
      socket.on('data', chunk => {
        answer += chunk;
      });
      socket.on('error', reject);
      socket.on('close', () => resolve(answer));
      socket.write(text);
    });

  it('is for its owner alone', () => {
    assert.equal(statSync(adminSocket(data)).mode & 0o777, 0o600);
    assert.equal(statSync(data).mode & 0o777, 0o700);
  });

  it('answers commands', async () => {
    assert.deepEqual(await askAdmin(data, 'echo', ['a', 'ü\n']), ['a', 'ü\n']);
    assert.equal(await askAdmin(data, 'nothing', []), null);
    assert.deepEqual(await askAdmin(data, 'later', []), { a: 1 });
  });

  it('tells wrong words from failures', async () => {
    await assert.rejects(askAdmin(data, 'wrong', []), new UsageError('wrong words'));
    await assert.rejects(askAdmin(data, 'unknown', []), /^UsageError: the running hub knows no command unknown$/);
    await assert.rejects(askAdmin(data, 'fail', []), /^Error: it failed$/);
  });

  it('answers requests that are none', async () => {
    for (const text of [
      'nonsense\n',
      '{}\n',
      '{"command":"echo"}\n',
      '{"command":"echo","args":[1]}\n',
      '[]\n',
      'null\n',
    ]) {
      assert.equal(JSON.parse(await raw(text)).ok, false, text);
    }
  });

  it('lets one hub run on a directory, and clears away what a dead one left', async () => {
    const second = new AdminServer(new Map());
    await assert.rejects(second.start(data), /another isthmus is running on .*data; stop it first/);
    const other = join(place.path, 'other');
    makeDataDirectory(other);
    writeFileSync(adminSocket(other), '');
    await second.start(other);
    assert.deepEqual(await askAdmin(other, 'x', []).catch(error => error.name), 'UsageError');
    await second.stop();
    assert.equal(existsSync(adminSocket(other)), false);
  });

  it('says that no hub runs, and that a directory cannot be made', async () => {
    await assert.rejects(
      askAdmin(join(place.path, 'nowhere'), 'status', []),
      error => error instanceof NotRunning && /start it with `isthmus start`/.test(error.message),
    );
    writeFileSync(join(place.path, 'file'), '');
    assert.throws(
      () => makeDataDirectory(join(place.path, 'file', 'data')),
      /cannot be made: ENOTDIR; name a directory/,
    );
  });

  it('ends though somebody stays connected', async () => {
    const other = new AdminServer(new Map());
    const at = join(place.path, 'third');
    await other.start(at);
    const socket = createConnection({ path: adminSocket(at), allowHalfOpen: true });
    socket.on('error', () => {});
    await new Promise(resolve => socket.on('connect', resolve));
    await other.stop();
    socket.destroy();
  });
});
