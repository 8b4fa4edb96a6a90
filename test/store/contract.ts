// What every kind of store must do; run once for each kind.
import assert from 'node:assert/strict';
import { type Store, StoreError } from '../../src/hub/store.ts';

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

    it('tells those who wait in the order in which they asked, whatever was written meanwhile', async () => {
      const insert = store.prepare('INSERT INTO things (text) VALUES (?)');
      const told: number[] = [];
      const asks = async (n: number) => {
        insert.run(String(n));
        await store.durable();
        await store.durable();
        told.push(n);
      };
      const asking: Promise<void>[] = [];
      for (let n = 0; n < 100; n++) {
        asking.push(asks(n));
        for (let turns = n % 4; turns > 0; turns--) await new Promise(resolve => setImmediate(resolve));
      }
      await Promise.all(asking);
      assert.deepEqual(
        told,
        asking.map((_, n) => n),
      );
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

    describe('journal', () => {
      const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
      const add = (...texts: string[]) => {
        for (const one of texts) store.journal('things').append(Buffer.from(one));
      };

      it('shows at once what was appended, by its position', async () => {
        const journal = store.journal('things');
        assert.equal(journal, store.journal('things'));
        assert.deepEqual([journal.end, journal.segments], [0, []]);
        add('abc', 'defg');
        assert.deepEqual([journal.end, journal.segments], [7, [0]]);
        assert.equal(text(journal.read(3, 2)), 'de');
        assert.equal(text(journal.read(3, 100)), 'defg');
        assert.equal(text(journal.read(7, 1)), '');
        await journal.durable();
      });

      it('reads no further than a segment, and nothing where nothing was written', () => {
        const journal = store.journal('things');
        add('abc');
        journal.divide();
        add('def');
        journal.divide(10);
        add('ghi');
        assert.deepEqual([journal.end, journal.segments], [13, [0, 3, 10]]);
        assert.deepEqual(
          [1, 3, 6, 9, 10, 13].map(position => text(journal.read(position, 100))),
          ['bc', 'def', '', '', 'ghi', ''],
        );
      });

      it('puts other bytes in the place of some', async () => {
        const journal = store.journal('things');
        add('abc');
        journal.divide();
        add('def');
        journal.overwrite(1, Buffer.from('BC'));
        assert.equal(text(journal.read(0, 9)) + text(journal.read(3, 9)), 'aBCdef');
        assert.throws(() => journal.overwrite(2, Buffer.from('xx')), StoreError);
        await journal.durable();
      });

      it('drops whole segments', async () => {
        const journal = store.journal('things');
        add('abc');
        journal.divide();
        add('def');
        journal.drop(5);
        assert.deepEqual(journal.segments, [3]);
        assert.equal(text(journal.read(0, 9)), '');
        journal.drop(6);
        assert.deepEqual([journal.end, journal.segments], [6, []]);
        add('ghi');
        assert.deepEqual([journal.end, journal.segments], [9, [6]]);
        await journal.durable();
      });
    });
  });
}
