// The SQLite store: the contract, a kill -9 at any moment, and what it says when it cannot be opened.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StoreError } from '../../src/hub/store.ts';
import { openMemory, openSqlite } from '../../src/store/sqlite.ts';
import { until } from '../support/until.ts';
import { storeContract } from './contract.ts';

const directory = mkdtempSync(join(tmpdir(), 'isthmus-store-'));
let files = 0;
after(() => rmSync(directory, { recursive: true, force: true }));

storeContract('memory', openMemory);
storeContract('sqlite', () => openSqlite(join(directory, `contract-${files++}.db`)));

const writer = `
import { openSqlite } from '${join(import.meta.dirname, '../../src/store/sqlite.ts')}';
const store = openSqlite(process.argv[1]);
store.migrate('kill', ['CREATE TABLE rows (id INTEGER PRIMARY KEY)']);
const insert = store.prepare('INSERT INTO rows (id) VALUES (?)');
const from = Number(process.argv[2]);
for (let n = from; ; n += 5) {
  for (let i = 0; i < 5; i++) insert.run(n + i);
  await store.durable();
  process.stdout.write((n + 4) + '\\n');
}`;

/** Runs the writer until it has acknowledged at least `rows` more, kills it, and tells the last acknowledged row. */
function writeAndKill(file: string, from: number, rows: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', writer, file, String(from)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    let killed = false;
    child.stdout.on('data', chunk => {
      text += chunk;
      if (!killed && Number(text.slice(0, text.lastIndexOf('\n')).split('\n').at(-1)) >= from + rows) {
        killed = true;
        child.kill('SIGKILL');
      }
    });
    child.on('exit', () => {
      const whole = text.slice(0, text.lastIndexOf('\n')).split('\n');
      if (killed) resolve(Number(whole.at(-1)));
      else reject(new Error('the writer ended by itself'));
    });
  });
}

describe('sqlite store', () => {
  it('has every acknowledged row after kill -9', async () => {
    const file = join(directory, 'kill.db');
    let next = 0;
    for (const rows of [7, 60, 200]) {
      const last = await writeAndKill(file, next, rows);
      const store = openSqlite(file);
      const { n, top } = store.prepare('SELECT count(*) AS n, max(id) AS top FROM rows').get()!;
      assert.ok(Number(top) >= last, `row ${last} was acknowledged, ${top} is the last there is`);
      assert.equal(n, Number(top) + 1, 'no row is missing in between');
      next = Number(top) + 1;
      await store.close();
    }
  });

  it('moves a long log into the database while it goes on writing', async () => {
    const file = join(directory, 'long.db');
    const store = openSqlite(file);
    store.migrate('long', ['CREATE TABLE blobs (id INTEGER PRIMARY KEY, bytes BLOB)']);
    const insert = store.prepare('INSERT INTO blobs (bytes) VALUES (?)');
    for (let i = 0; i < 60; i++) {
      insert.run(new Uint8Array(256 * 1024));
      await store.durable();
    }
    assert.equal(store.prepare('SELECT count(*) AS n FROM blobs').get()?.n, 60);
    await until(() => statSync(file).size > 8 * 1024 * 1024);
    await store.close();
    const again = openSqlite(file);
    assert.equal(again.prepare('SELECT count(*) AS n FROM blobs').get()?.n, 60);
    await again.close();
  });

  it('says what is wrong with a file that is no database', () => {
    const file = join(directory, 'garbage.db');
    writeFileSync(file, 'this is no database, whatever its name says'.repeat(100));
    assert.throws(
      () => openSqlite(file),
      (error: Error) => error instanceof StoreError && /no database/.test(error.message),
    );
  });

  it('says that a place cannot be written', () => {
    const file = join(directory, 'file');
    writeFileSync(file, '');
    chmodSync(file, 0o400);
    assert.throws(
      () => openSqlite(join(file, 'x.db')),
      (error: Error) => error instanceof StoreError && /cannot be made/.test(error.message),
    );
  });
});
