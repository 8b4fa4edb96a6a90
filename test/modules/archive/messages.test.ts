// The table of archives: order, bulk indexing, age, and ids that say nothing.
import assert from 'node:assert/strict';
import { type Store, StoreError } from '../../../src/hub/store.ts';
import { Messages } from '../../../src/modules/archive/messages.ts';
import { openMemory } from '../../../src/store/sqlite.ts';
import { el } from '../../../src/xmpp/element.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { ns } from '../../../src/xmpp/namespaces.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';

const user = Jid.parse('juliet@capulet.test');
const other = Jid.parse('nurse@capulet.test');
const contact = Jid.parse('romeo@montague.test/orchard');

/** A message that the user sends to somebody. */
function from(user: Jid, to = contact): Stanza {
  return Stanza.of('message', { from: user.withResource('balcony'), to, type: 'chat' }, el('body', ns.client, {}, 'x'));
}

/** All that the journal of a store holds. */
function texts(store: Store): string {
  const { segments, end } = store.journal('archive');
  return segments
    .map(position => Buffer.from(store.journal('archive').read(position, end)).toString('latin1'))
    .join('');
}

describe('archived messages', () => {
  it('grow in place, however many come in a millisecond and however the clock goes', () => {
    const messages = new Messages(openMemory());
    const places = Array.from({ length: 3000 }, () => messages.add(from(user), 'sender').place);
    assert.ok(places.every((place, n) => n === 0 || place > places[n - 1]));
  });

  it('are found wherever their index is: in memory, in the tables, or nowhere because the process was killed', async () => {
    const store = openMemory();
    const messages = new Messages(store);
    const first = messages.add(from(user), 'sender');
    for (let n = 0; n < 40_000; n++) messages.add(from(n % 2 ? other : user), 'sender');
    await messages.durable();
    const again = new Messages(store);
    for (const one of [messages, again]) {
      assert.equal(one.count(user, {}, 100_000), 20_001);
      assert.equal(one.count(other, {}, 100_000), 20_000);
      assert.equal(one.count(user, { with: contact }, 100_000), 20_001);
      assert.equal(one.count(user, { with: contact.withResource('garden') }, 100_000), 0);
      const [found] = one.page(user, {}, 1, false);
      assert.equal(found.place, first.place);
      assert.equal(found.id, messages.idOf(first));
    }
    const places = (backwards: boolean) => again.page(user, {}, 30_000, backwards).map(({ place }) => place);
    assert.deepEqual(places(true), places(false));
    assert.ok(places(false).every((place, n, all) => n === 0 || place > all[n - 1]));
  }).timeout(20_000);

  it('have ids that open for their user alone, and look like nothing', () => {
    const messages = new Messages(openMemory());
    const added = Array.from({ length: 600 }, () => messages.add(from(user), 'sender'));
    const ids = added.map(one => messages.idOf(one));
    assert.equal(new Set(ids).size, 600);
    assert.deepEqual(
      ids,
      added.map(one => messages.idOf(one)),
      'they do not change',
    );
    for (const [n, id] of ids.entries()) {
      assert.match(id, /^[\w-]{18}$/);
      assert.equal(messages.placeOf(user, id), added[n].place);
      assert.equal(messages.placeOf(other, id), null);
    }
    const [id, next] = ids;
    assert.ok([...id].filter((letter, n) => letter === next[n]).length < 8, 'neighbours do not look alike');
    const { place, salt } = added[599];
    assert.equal(messages.placeOf(user, messages.idOf({ place: place + 1, salt })), null, 'no message stands there');
    assert.equal(
      messages.placeOf(user, messages.idOf({ place, salt: (salt + 1) % 2 ** 48 })),
      null,
      'it has another salt',
    );
    for (const wrong of [
      '',
      'x',
      id.slice(1),
      `${id}A`,
      id.replace(/./, c => (c === 'A' ? 'B' : 'A')),
      '\0'.repeat(18),
    ]) {
      assert.equal(messages.placeOf(user, wrong), null, wrong);
    }
  });

  it('go with age and with their account, in portions', async () => {
    const store = openMemory();
    const messages = new Messages(store);
    for (let n = 0; n < 1200; n++) messages.add(from(user), 'sender');
    messages.add(from(other), 'sender');
    await messages.close();
    assert.equal(messages.expire(Date.now() - 60_000), true);
    assert.equal(messages.count(user, {}, 5000), 1200);
    assert.equal(messages.forget(user), false);
    assert.equal(messages.count(user, {}, 5000), 1200 - 4 * 256);
    while (!messages.forget(user));
    assert.equal(messages.count(user, {}, 5000), 0);
    assert.equal(messages.count(other, {}, 5000), 1);
    assert.equal(texts(store).split('<body>').length - 1, 1, 'the bytes are gone as well');
    while (!messages.expire(Date.now() + 60_000));
    assert.equal(messages.count(other, {}, 5000), 0);
    assert.equal(texts(store), '');
  });

  it('that are too old are hidden at once, though they go by segments', async () => {
    const store = openMemory();
    const messages = new Messages(store);
    const old = messages.add(from(user), 'sender');
    await messages.durable();
    while (Date.now() * 1024 <= old.place);
    const young = messages.add(from(user), 'sender');
    while (!messages.expire(Math.floor(young.place / 1024)));
    assert.deepEqual(
      messages.page(user, {}, 10, false).map(({ place }) => place),
      [young.place],
    );
    assert.equal(messages.placeOf(user, messages.idOf(old)), null);
    assert.equal(messages.placeOf(user, messages.idOf(young)), young.place);
  });

  it('belong to both ends, until each has forgotten them', () => {
    const store = openMemory();
    const messages = new Messages(store);
    const both = from(user, other);
    const added = messages.add(both, 'sender');
    assert.equal(messages.share(added, both), true);
    assert.equal(messages.share(added, both), false, 'it is shared already');
    assert.equal(messages.count(user, { with: other }, 10), 1);
    assert.equal(messages.count(other, { with: user }, 10), 1);
    assert.equal(messages.count(other, { with: user.withResource('balcony') }, 10), 1);
    assert.equal(messages.count(user, { with: other.withResource('balcony') }, 10), 0);
    while (!messages.forget(user));
    assert.equal(messages.placeOf(other, messages.idOf(added)), added.place);
    assert.equal(messages.count(other, {}, 10), 1);
    while (!messages.forget(other));
    assert.doesNotMatch(texts(store), /body/);
  });

  it('never get a place again that was given before', () => {
    const store = openMemory();
    const messages = new Messages(store);
    const { place } = messages.add(from(user), 'sender');
    while (!messages.expire(Date.now() + 60_000));
    assert.ok(new Messages(store).add(from(user), 'sender').place > place);
  });

  it('of any size are kept, also with a child that was added in writing', async () => {
    const messages = new Messages(openMemory());
    const sent = ['x', 'é€😀'.repeat(40_000), 'y'].map(text =>
      Stanza.of('message', { from: user, to: contact, id: 'ä' }, el('body', ns.client, {}, text)).withWritten(
        'origin-id',
        ns.stableIds,
        `<origin-id xmlns='${ns.stableIds}' id='o'/>`,
      ),
    );
    for (const stanza of sent) messages.add(stanza, 'sender');
    await messages.durable();
    assert.deepEqual(
      messages.page(user, {}, 10, false).map(({ stanza }) => stanza.toString()),
      sent.map(stanza => stanza.toString()),
    );
  });

  it('that a crash tore apart are left out, and what comes later is found again', async () => {
    const store = openMemory();
    const messages = new Messages(store);
    messages.add(from(user), 'sender');
    await messages.durable();
    const { end } = store.journal('archive');
    messages.add(from(user), 'sender');
    await messages.durable();
    store.journal('archive').overwrite(end, new Uint8Array(8));
    const second = new Messages(store);
    assert.equal(second.count(user, {}, 10), 1);
    second.add(from(user), 'sender');
    await second.durable();
    assert.equal(new Messages(store).count(user, {}, 10), 2);
  });

  it('that a journal lost with its end are left out: nothing else ever stands in their place', async () => {
    const store = openMemory();
    const messages = new Messages(store);
    for (let n = 0; n < 3; n++) messages.add(from(user), 'sender');
    await messages.close();
    const journal = store.journal('archive');
    const shorter = Object.assign(openMemory(), { prepare: store.prepare.bind(store) });
    const { end } = journal;
    const after = new Messages(shorter);
    assert.deepEqual(after.page(user, {}, 10, false), []);
    after.add(from(user), 'sender');
    await after.durable();
    assert.equal(after.page(user, {}, 10, false).length, 1);
    assert.ok(shorter.journal('archive').segments[0] >= end);
  });

  it('that could not be written are told of: once in the log, and to who asks', async () => {
    const store = openMemory();
    const journal = store.journal('archive');
    const failures: unknown[] = [];
    const messages = new Messages(store, error => failures.push(error));
    const append = journal.append.bind(journal);
    journal.append = bytes => {
      journal.divide(journal.end + bytes.length);
      throw new StoreError('the disk is full');
    };
    for (let n = 0; n < 2000; n++) messages.add(from(user), 'sender');
    await assert.rejects(messages.durable(), /the disk is full/);
    assert.equal(failures.length, 1);
    journal.append = append;
    messages.add(from(user), 'sender');
    await messages.durable();
    assert.equal(messages.page(user, {}, 5000, false).length, 1);
  });
});
