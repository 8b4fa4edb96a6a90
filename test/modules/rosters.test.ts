// What a roster has room for, and what it forgets.
import assert from 'node:assert/strict';
import { mostItems, mostRequests, Rosters } from '../../src/modules/rosters.ts';
import { openMemory } from '../../src/store/sqlite.ts';
import { Jid } from '../../src/xmpp/jid.ts';

const user = Jid.parse('romeo@hub.test');
const contact = (n: number, of = 'c') => Jid.parse(`${of}${n}@other.test`);

describe('the room of a roster', () => {
  let store: ReturnType<typeof openMemory>;
  let rosters: Rosters;
  beforeEach(() => {
    store = openMemory();
    rosters = new Rosters(store);
  });
  afterEach(() => store.close());

  function add(jid: Jid): boolean {
    if (!rosters.hasRoom(user, jid, 'item')) return false;
    const item = rosters.itemOrNew(user, jid);
    item.listed = true;
    rosters.save(user, item);
    return true;
  }
  function remove(jid: Jid): void {
    const item = rosters.item(user, jid)!;
    item.listed = false;
    rosters.save(user, item);
  }
  function request(jid: Jid): boolean {
    if (!rosters.hasRoom(user, jid, 'request')) return false;
    const item = rosters.itemOrNew(user, jid);
    item.pending = '<presence/>';
    rosters.save(user, item, item.listed);
    return true;
  }

  it('is for so many contacts', () => {
    for (let n = 0; n < mostItems; n++) assert.ok(add(contact(n)));
    assert.equal(add(contact(mostItems)), false);
    assert.ok(add(contact(0)), 'one that is there may change');
    remove(contact(1));
    assert.ok(add(contact(mostItems)));
    assert.equal(add(contact(1)), false);
  });

  it('is not taken up by contacts that were removed', () => {
    for (let n = 0; n < mostItems + 10; n++) {
      assert.ok(add(contact(n)));
      if (n > 0) remove(contact(n));
    }
    const { floor, version, items } = rosters.of(user);
    assert.ok(floor > 0 && floor < version && items.size < 20);
    const read = new Rosters(store).of(user);
    assert.deepEqual([read.floor, read.version, read.items.size], [floor, version, items.size]);
  });

  it('is not taken up by strangers who ask', () => {
    for (let n = 0; n < mostRequests; n++) assert.ok(request(contact(n, 's')));
    assert.equal(request(contact(mostRequests, 's')), false);
    assert.ok(request(contact(3, 's')), 'who asks again is known');
    for (let n = 0; n < mostItems; n++) assert.ok(add(contact(n)));
    assert.equal(rosters.of(user).version, mostItems);
  });

  it('keeps nothing of a stranger whose request is gone', () => {
    request(contact(1, 's'));
    const item = rosters.item(user, contact(1, 's'))!;
    item.pending = null;
    rosters.save(user, item, item.listed);
    assert.equal(rosters.of(user).items.size, 0);
    assert.equal(new Rosters(store).of(user).items.size, 0);
  });

  it('keeps nothing of a user who is gone', () => {
    for (let n = 0; n < mostItems + 10; n++) if (add(contact(n)) && n > 0) remove(contact(n));
    rosters.forget(user);
    const { floor, version, items } = rosters.of(user);
    assert.deepEqual([floor, version, items.size], [0, 0, 0]);
  });
});
