// The table of archives: order, bulk indexing, age, and ids that say nothing.
import assert from 'node:assert/strict';
import { Messages } from '../../../src/modules/archive/messages.ts';
import { openMemory } from '../../../src/store/sqlite.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';

const user = Jid.parse('juliet@capulet.test');
const other = Jid.parse('nurse@capulet.test');
const contact = Jid.parse('romeo@montague.test/orchard');
const message = Stanza.parse(Buffer.from('<message><body>x</body></message>'));

describe('archived messages', () => {
  it('grow in place, however many come in a millisecond and however the clock goes', () => {
    const messages = new Messages(openMemory());
    const places = Array.from({ length: 3000 }, () => messages.add(user, contact, message).place);
    assert.ok(places.every((place, n) => n === 0 || place > places[n - 1]));
  });

  it('are found though the index is written in bulk, and after the process was killed before that', () => {
    const store = openMemory();
    const messages = new Messages(store);
    const first = messages.add(user, contact, message);
    for (let n = 0; n < 4500; n++) messages.add(n % 2 ? other : user, contact, message);
    messages.count(user, {}, 1);
    const again = new Messages(store);
    assert.equal(again.count(user, {}, 10_000), 2251);
    assert.equal(again.count(other, {}, 10_000), 2250);
    assert.equal(messages.count(user, { with: contact }, 10_000), 2251);
    assert.equal(again.page(user, {}, 1, false)[0].place, first.place);
    assert.equal(again.page(user, {}, 1, false)[0].id, messages.idOf(first));
  });

  it('have ids that open for their user alone, and look like nothing', () => {
    const messages = new Messages(openMemory());
    const added = Array.from({ length: 600 }, () => messages.add(user, contact, message));
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

  it('go with age and with their account, in portions', () => {
    const messages = new Messages(openMemory());
    for (let n = 0; n < 1200; n++) messages.add(user, contact, message);
    messages.add(other, contact, message);
    assert.equal(messages.expire(Date.now() - 60_000), true);
    assert.equal(messages.count(user, {}, 5000), 1200);
    assert.equal(messages.forget(user), false);
    assert.equal(messages.count(user, {}, 5000), 700);
    while (!messages.forget(user));
    assert.equal(messages.count(user, {}, 5000), 0);
    assert.equal(messages.count(other, {}, 5000), 1);
    while (!messages.expire(Date.now() + 60_000));
    assert.equal(messages.count(other, {}, 5000), 0);
  });

  it('belong to both ends, until each has forgotten them', () => {
    const store = openMemory();
    const messages = new Messages(store);
    const added = messages.add(user, other, message);
    assert.equal(messages.share(added, other, user.withResource('balcony')), true);
    assert.equal(messages.count(user, { with: other }, 10), 1);
    assert.equal(messages.count(other, { with: user }, 10), 1);
    assert.equal(messages.count(other, { with: user.withResource('balcony') }, 10), 1);
    assert.equal(messages.count(user, { with: other.withResource('balcony') }, 10), 0);
    assert.equal(messages.share(added, other, user), false, 'it is written already');
    assert.equal(messages.forget(user), true);
    assert.equal(messages.placeOf(other, messages.idOf(added)), added.place);
    assert.equal(messages.count(other, {}, 10), 1);
    assert.equal(messages.forget(other), true);
    assert.equal(store.prepare('SELECT count(*) AS n FROM archive').get()?.n, 0);
  });

  it('never get a place again that was given before', () => {
    const store = openMemory();
    const messages = new Messages(store);
    const { place } = messages.add(user, contact, message);
    while (!messages.expire(Date.now() + 60_000));
    assert.ok(new Messages(store).add(user, contact, message).place > place);
  });
});
