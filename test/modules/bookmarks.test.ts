// Bookmarks against a simple model: in whichever of the three places they are changed, all three show the same.
import assert from 'node:assert/strict';
import { type Element, el } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { Random } from '../fuzz/random.ts';
import { conditionOf } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const rooms = ['a', 'b', 'c', 'd'].map(name => `${name}@rooms.test`);

/** What is told of a room, by attributes and texts. */
type Room = string;

class Bookmarks {
  readonly #random: Random;
  #hub!: TestHub;
  #clients: Client[] = [];
  #rooms = new Map<string, Room>();

  constructor(random: Random) {
    this.#random = random;
  }

  async start(): Promise<void> {
    this.#hub = await startTestHub(['hub.test'], { yaml: 'clients: { require-tls: false }' });
    await this.#connect();
  }

  async #connect(): Promise<void> {
    const options = { security: 'plain', mechanism: 'PLAIN', quiet: true } as const;
    const open = () => this.#hub.client('romeo@hub.test', options);
    this.#clients = [await open(), await open()];
  }

  close(): Promise<void> {
    return this.#hub.close();
  }

  async step(): Promise<void> {
    const kind = this.#random.below(100);
    if (kind < 35) await this.#publish();
    else if (kind < 50) await this.#retract();
    else if (kind < 54) await this.#purge();
    else if (kind < 72) await this.#store('private');
    else if (kind < 90) await this.#store('old');
    else if (kind < 98) await this.#burst();
    else {
      this.#hub = await this.#hub.restart(true);
      await this.#connect();
    }
    await this.#check();
  }

  /** Several changes of one client, of which none waits for another. */
  async #burst(): Promise<void> {
    this.#clients.reverse();
    const clients = this.#clients;
    this.#clients = [clients[0]];
    const changes = Array.from({ length: 4 }, () =>
      this.#random.chance(60) ? this.#publish() : this.#store(this.#random.pick(['private', 'old'] as const)),
    );
    this.#clients = clients;
    await Promise.all(changes);
  }

  #asks(type: 'get' | 'set', payload: string): Promise<Element> {
    return this.#random.pick(this.#clients).asks(type, payload);
  }

  async #changes(payload: string, predicted = 'result'): Promise<void> {
    assert.equal(conditionOf(await this.#asks('set', payload)), predicted);
  }

  #room(): { name: string; autojoin: boolean; nick: string } {
    return {
      name: `n${this.#random.below(5)}`,
      autojoin: this.#random.chance(50),
      nick: this.#random.pick(['', 'ro']),
    };
  }

  #publish(): Promise<void> {
    const id = this.#random.pick(rooms);
    const { name, autojoin, nick } = this.#room();
    this.#rooms.set(id, told(name, autojoin, nick));
    const inside = nick ? el('nick', ns.bookmarks, {}, nick) : null;
    const conference = el('conference', ns.bookmarks, { name, autojoin: autojoin ? 'true' : undefined }, inside);
    return this.#changes(asked(`<publish node='${ns.bookmarks}'><item id='${id}'>${conference}</item></publish>`));
  }

  #retract(): Promise<void> {
    const id = this.#random.pick([...this.#rooms.keys(), rooms[0]]);
    const predicted = this.#rooms.delete(id) ? 'result' : 'item-not-found';
    return this.#changes(asked(`<retract node='${ns.bookmarks}'><item id='${id}'/></retract>`), predicted);
  }

  async #purge(): Promise<void> {
    if (this.#rooms.size === 0) return;
    this.#rooms.clear();
    await this.#changes(`<pubsub xmlns='${ns.pubsubOwner}'><purge node='${ns.bookmarks}'/></pubsub>`);
  }

  /** Writes all of them in one of the older places. */
  #store(place: 'private' | 'old'): Promise<void> {
    const random = this.#random;
    const all = rooms.filter(() => random.chance(60));
    const conferences = all.map(jid => {
      const { name, autojoin, nick } = this.#room();
      return { jid, name, autojoin, nick };
    });
    this.#rooms = new Map(conferences.map(({ jid, name, autojoin, nick }) => [jid, told(name, autojoin, nick)]));
    const storage = el(
      'storage',
      ns.privateBookmarks,
      {},
      ...conferences.map(({ jid, name, autojoin, nick }) =>
        el(
          'conference',
          ns.privateBookmarks,
          { jid, name, autojoin: autojoin ? random.pick(['1', 'true']) : undefined },
          nick ? el('nick', ns.privateBookmarks, {}, nick) : null,
        ),
      ),
    );
    return this.#changes(
      place === 'private'
        ? `<query xmlns='${ns.private}'>${storage}</query>`
        : asked(`<publish node='${ns.privateBookmarks}'><item id='current'>${storage}</item></publish>`),
    );
  }

  async #check(): Promise<void> {
    const predicted = [...this.#rooms].map(entry => entry.join(' ')).sort();
    const items = async (node: string) =>
      (await this.#asks('get', asked(`<items node='${node}'/>`))).child('pubsub', ns.pubsub)?.child('items')?.all() ??
      [];
    const shown = (element: Element | null | undefined, jid = element?.attrs.jid) =>
      `${jid} ${told(element!.attrs.name, /^(1|true)$/.test(element!.attrs.autojoin ?? ''), element!.childText('nick'))}`;
    const current = (await items(ns.bookmarks)).map(item => shown(item.all()[0], item.attrs.id));
    assert.deepEqual(current.sort(), predicted, 'bookmarks');
    const query = await this.#asks(
      'get',
      `<query xmlns='${ns.private}'><storage xmlns='${ns.privateBookmarks}'/></query>`,
    );
    const stored = query.child('query', ns.private)!.child('storage', ns.privateBookmarks)!;
    assert.deepEqual(
      stored
        .all()
        .map(one => shown(one))
        .sort(),
      predicted,
      'private storage',
    );
    const [old] = await items(ns.privateBookmarks);
    const listed = old?.child('storage', ns.privateBookmarks)?.all() ?? [];
    assert.deepEqual(listed.map(one => shown(one)).sort(), predicted, 'the old node');
  }
}

function told(name: string, autojoin: boolean, nick: string): Room {
  return `${name}${autojoin ? '!' : ''} ${nick}`;
}

function asked(inside: string): string {
  return `<pubsub xmlns='${ns.pubsub}'>${inside}</pubsub>`;
}

describe('bookmarks and a model of them', () => {
  const first = Date.now();
  for (let seed = first; seed < first + 3; seed++) {
    it(`show alike (seed ${seed})`, async () => {
      const bookmarks = new Bookmarks(new Random(seed));
      await bookmarks.start();
      try {
        for (let n = 0; n < 100; n++) await bookmarks.step();
      } finally {
        await bookmarks.close();
      }
    }).timeout(20_000);
  }
});
