// Archives against a simple model: whatever is done to them, and however often the process begins anew, they answer alike.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Store } from '../../../src/hub/store.ts';
import { Messages, type Selection } from '../../../src/modules/archive/messages.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { el } from '../../../src/xmpp/element.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { ns } from '../../../src/xmpp/namespaces.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';
import { Random } from '../../fuzz/random.ts';

const users = ['juliet', 'romeo', 'nurse'].map(name => Jid.parse(`${name}@here.test`));
const others = ['friar', 'paris'].flatMap(name => ['cell', 'street'].map(at => Jid.parse(`${name}@far.test/${at}`)));
/** So small that everything happens often. */
const sizes = { block: 4, generation: 12, steps: 3 };

/** Time goes by as the seed has it, so that every failure can be seen again. */
let clock = 0;

interface Known {
  place: number;
  id: string;
  contact: Jid;
  body: string;
}

class Model {
  readonly #random: Random;
  readonly #path: string;
  readonly #archives = new Map(users.map(user => [user.toString(), [] as Known[]]));
  #store: Store;
  #messages: Messages;
  #serial = 0;
  #oldest = 0;

  constructor(random: Random, path: string) {
    this.#random = random;
    this.#path = path;
    this.#store = openSqlite(path);
    this.#messages = this.#begin();
  }

  #begin(): Messages {
    const failed = (error: unknown) => {
      throw error;
    };
    const messages = new Messages(this.#store, failed, sizes);
    // As the module does.
    while (!messages.expire(this.#oldest / 1024));
    return messages;
  }

  async step(): Promise<void> {
    if (this.#random.below(20) === 0) clock += this.#random.below(30);
    // The disk has its turn as well: no more than so many postings wait for it.
    if (this.#random.below(5) === 0) await this.#store.durable();
    const kind = this.#random.below(100);
    if (kind < 60) this.#exchange();
    else if (kind < 84) this.#ask();
    else if (kind < 89) await this.#adopt();
    else if (kind < 93) await this.#killed();
    else if (kind < 95) await this.#restarted();
    else if (kind < 97) this.#forget();
    else if (kind < 99) this.#expire();
    else for (let n = 0; n < 30; n++) this.#exchange();
  }

  async close(): Promise<void> {
    await this.#messages.close();
    await this.#store.close();
  }

  #of(user: Jid): Known[] {
    return this.#archives.get(user.bare.toString())!;
  }

  #message(from: Jid, to: Jid): { stanza: Stanza; body: string } {
    const body = `${++this.#serial}${this.#random.below(40) === 0 ? 'x'.repeat(this.#random.below(80_000)) : ''}`;
    return { stanza: Stanza.of('message', { from, to, type: 'chat' }, el('body', ns.client, {}, body)), body };
  }

  #exchange(): void {
    const random = this.#random;
    const user = random.pick(users).withResource('balcony');
    const inside = random.below(3) === 0;
    const other = inside ? random.pick(users).withResource('orchard') : random.pick(others);
    const outward = inside || random.below(2) === 0;
    const [from, to] = outward ? [user, other] : [other, user];
    const { stanza, body } = this.#message(from, to);
    const added = this.#messages.add(stanza, outward ? 'sender' : 'recipient');
    const known = { place: added.place, id: this.#messages.idOf(added), body };
    this.#of(user).push({ ...known, contact: other });
    if (!inside || other.bare.equals(user.bare)) return;
    if (random.below(4) > 0 && this.#messages.share(added, stanza)) {
      this.#of(other).push({ ...known, contact: user });
    } else {
      const again = this.#messages.add(stanza, 'recipient');
      this.#of(other).push({ place: again.place, id: this.#messages.idOf(again), body, contact: user });
    }
  }

  async #adopt(): Promise<void> {
    const random = this.#random;
    const user = random.pick(users);
    const archive = this.#of(user);
    const count = random.below(12);
    const batch = Array.from({ length: count }, () => {
      const other = random.pick(others);
      const { stanza, body } = this.#message(other, user);
      const at = random.below(2)
        ? Date.now() - random.below(50)
        : Math.floor((random.pick(archive)?.place ?? 0) / 1024);
      return { stanza, body, at, id: `elsewhere-${this.#serial}`, contact: other };
    });
    this.#messages.settle();
    if (random.below(4) === 0) {
      const takenBack = () => {
        this.#messages.adopt(user, batch);
        throw new Error('taken back');
      };
      assert.throws(() => this.#store.atomic(takenBack), /taken back/);
      if (random.below(2)) await this.#killed();
      else this.#messages.settle();
      if (random.below(2)) return;
    }
    this.#store.atomic(() => this.#messages.adopt(user, batch));
    this.#messages.settle();
    // What comes twice is there once.
    this.#store.atomic(() => this.#messages.adopt(user, batch.slice(0, 2)));
    this.#messages.settle();
    for (const { id, body, contact, at } of batch) {
      const place = this.#messages.placeOf(user, id);
      if (place === null) {
        assert.ok(at * 1024 < this.#oldest, `${id} is there`);
        continue;
      }
      assert.ok(place >= at * 1024, 'no earlier than its time');
      archive.push({ place, id, body, contact });
    }
    archive.sort((a, b) => a.place - b.place);
  }

  /** The process ends without a word behind the last `durable`. */
  async #killed(): Promise<void> {
    await this.#messages.durable();
    this.#messages = this.#begin();
  }

  async #restarted(): Promise<void> {
    await this.close();
    this.#store = openSqlite(this.#path);
    this.#messages = this.#begin();
  }

  #forget(): void {
    const user = this.#random.pick(users);
    while (!this.#messages.forget(user));
    this.#of(user).length = 0;
  }

  #expire(): void {
    const all = [...this.#archives.values()].flat();
    if (all.length === 0) return;
    const time = Math.floor(this.#random.pick(all)!.place / 1024);
    while (!this.#messages.expire(time));
    this.#oldest = time * 1024;
    for (const archive of this.#archives.values()) {
      const kept = archive.filter(({ place }) => place >= this.#oldest);
      archive.splice(0, archive.length, ...kept);
    }
  }

  #ask(): void {
    const random = this.#random;
    const user = random.pick(users);
    const archive = this.#of(user);
    const selection: Selection = {};
    const place = () => (random.pick(archive)?.place ?? 0) + random.below(3) - 1;
    if (random.below(3) === 0) selection.after = place();
    if (random.below(3) === 0) selection.before = place();
    if (random.below(3) === 0) {
      const contact = random.below(4) ? random.pick(others) : random.pick(users).withResource('orchard');
      selection.with = random.below(2) ? contact : contact.bare;
    }
    if (random.below(6) === 0) selection.places = [place(), place(), place()];
    const { after = -1, before = Number.MAX_SAFE_INTEGER, places } = selection;
    const wanted = archive.filter(
      known =>
        known.place > after &&
        known.place < before &&
        (!places || places.includes(known.place)) &&
        (!selection.with || known.contact.bare.equals(selection.with.bare)) &&
        (!selection.with?.resource || known.contact.equals(selection.with)),
    );
    assert.equal(this.#messages.count(user, selection, 10_000), wanted.length);
    const [limit, skip, backwards] = [random.below(30), random.below(4), random.below(2) === 0];
    const page = backwards
      ? wanted
          .toReversed()
          .slice(skip, skip + limit)
          .reverse()
      : wanted.slice(skip, skip + limit);
    assert.deepEqual(
      this.#messages.page(user, selection, limit, backwards, skip).map(({ place: at, id, stanza }) => ({
        place: at,
        id,
        body: stanza.text('body'),
      })),
      page.map(({ place: at, id, body }) => ({ place: at, id, body })),
    );
    const known = random.pick(archive);
    if (!known) return;
    assert.equal(this.#messages.placeOf(user, known.id), known.place);
    for (const other of users) {
      const theirs = this.#of(other).some(({ id }) => id === known.id) ? known.place : null;
      assert.equal(this.#messages.placeOf(other, known.id), theirs);
    }
  }
}

describe('archives and a model of them', () => {
  let directory: string;
  const { now } = Date;
  beforeEach(() => {
    clock = Date.UTC(2026, 0, 1);
    Date.now = () => clock;
    directory = mkdtempSync(join(tmpdir(), 'isthmus-archive-'));
  });
  afterEach(() => {
    Date.now = now;
    rmSync(directory, { recursive: true });
  });

  const first = Date.now();
  for (let seed = first; seed < first + 5; seed++) {
    it(`answer alike (seed ${seed})`, async () => {
      const model = new Model(new Random(seed), join(directory, 'isthmus.db'));
      for (let n = 0; n < 400; n++) await model.step();
      await model.close();
    }).timeout(20_000);
  }
});
