// What every kind of store must do; run once for each kind.
import assert from 'node:assert/strict';
import type { Store } from '../../src/hub/store.ts';

export function storeContract(name: string, open: () => Store): void {
  describe(`store contract: ${name}`, () => {
    let store: Store;
    beforeEach(() => {
      store = open();
      store.migrate('test', ['CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT UNIQUE, bytes BLOB)']);
    });
    afterEach(() => store.close());

    it('shows writes at once and keeps them', async () => {
      const insert = store.prepare('INSERT INTO things (text, bytes) VALUES (?, ?)');
      const { lastId } = insert.run('one', new Uint8Array([1, 2, 3]));
      assert.equal(insert.run('two', null).lastId, lastId + 1);
      const read = store.prepare('SELECT text, bytes FROM things WHERE id = ?');
      assert.deepEqual({ ...read.get(lastId) }, { text: 'one', bytes: new Uint8Array([1, 2, 3]) });
      await store.durable();
      assert.equal(store.prepare('SELECT text FROM things').all().length, 2);
    });

    it('undoes all of an atomic step that throws, and nothing else', async () => {
      const insert = store.prepare('INSERT INTO things (text) VALUES (?)');
      insert.run('before');
      assert.throws(() =>
        store.atomic(() => {
          insert.run('inside');
          store.atomic(() => insert.run('nested'));
          insert.run('before');
        }),
      );
      insert.run('after');
      await store.durable();
      const texts = store.prepare('SELECT text FROM things ORDER BY id').all();
      assert.deepEqual(
        texts.map(row => row.text),
        ['before', 'after'],
      );
    });

    it('runs each migration once and refuses newer tables', () => {
      store.migrate('test', [
        'CREATE TABLE things (id INTEGER PRIMARY KEY, text TEXT UNIQUE, bytes BLOB)',
        'ALTER TABLE things ADD COLUMN more TEXT',
      ]);
      store.prepare('INSERT INTO things (text, more) VALUES (?, ?)').run('a', 'b');
      assert.throws(() => store.migrate('test', ['CREATE TABLE things (id INTEGER)']), /version 2/);
    });

    it('keeps nothing of a migration that fails', () => {
      assert.throws(() => store.migrate('other', ['CREATE TABLE half (id INTEGER)', 'CREATE TABLE half (id INTEGER)']));
      store.migrate('other', ['CREATE TABLE half (id INTEGER)']);
    });

    it('resolves many waiters of one turn together', async () => {
      const insert = store.prepare('INSERT INTO things (text) VALUES (?)');
      const waits = Array.from({ length: 200 }, (_, i) => {
        insert.run(`n${i}`);
        return store.durable();
      });
      await Promise.all(waits);
      assert.equal(store.prepare('SELECT count(*) AS n FROM things').get()?.n, 200);
    });
  });
}
