// The items of nodes, the newest last published: pages of them, and what bounds their number and size.
import type { Row, Store } from '../../hub/store.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { PageAnswer, PageRequest } from '../../xmpp/result-set.ts';
import { type Item, limits, type Node } from './node.ts';

export interface Page {
  /** The newest first. */
  readonly items: readonly Item[];
  readonly answer: PageAnswer;
  /** Whether there are more than were asked for or fit. */
  readonly truncated: boolean;
}

export class Items {
  readonly #store: Store;
  readonly #last = new WeakMap<Node, Item | null>();
  readonly #sizes = new WeakMap<Node, number>();

  constructor(store: Store) {
    this.#store = store;
  }

  get(node: Node, id: string): Item | undefined {
    this.#expire(node);
    const row = this.#store.prepare('SELECT * FROM pubsub_items WHERE node = ? AND item = ?').get(node.id, id);
    return row && itemOf(row);
  }

  /** The item published last, or null. */
  last(node: Node): Item | null {
    this.#expire(node);
    const known = this.#last.get(node);
    if (known !== undefined) return known;
    const row = this.#store.prepare('SELECT * FROM pubsub_items WHERE node = ? ORDER BY seq DESC LIMIT 1').get(node.id);
    const last = row ? itemOf(row) : null;
    // What is large is read again when it is wanted.
    if (last === null || last.payload.length < 4_096) this.#last.set(node, last);
    return last;
  }

  count(node: Node): number {
    this.#expire(node);
    return Number(this.#store.prepare('SELECT count(*) AS n FROM pubsub_items WHERE node = ?').get(node.id)?.n);
  }

  /** Characters of all payloads of a node. */
  sizeOf(node: Node): number {
    let size = this.#sizes.get(node);
    if (size === undefined) {
      const sum = this.#store.prepare('SELECT total(size) AS n FROM pubsub_items WHERE node = ?');
      this.#sizes.set(node, (size = Number(sum.get(node.id)?.n)));
    }
    return size;
  }

  /** Forgets what is known of a node's items: what was written has been taken back. */
  forget(node: Node): void {
    this.#last.delete(node);
    this.#sizes.delete(node);
  }

  /** Keeps an item as the newest one, in the place of another of the same id. */
  put(node: Node, item: Item): void {
    this.remove(node, item.id);
    this.#grow(node, item.payload.length);
    this.#store
      .prepare('INSERT INTO pubsub_items (node, item, publisher, at, size, payload) VALUES (?, ?, ?, ?, ?, ?)')
      .run(node.id, item.id, item.publisher, item.at, item.payload.length, item.payload);
  }

  /** Removes the oldest items until `most` are left; gives the ids of those that went. */
  trim(node: Node, most: number): string[] {
    const rows = this.#store
      .prepare('SELECT seq, item, size FROM pubsub_items WHERE node = ? ORDER BY seq DESC LIMIT -1 OFFSET ?')
      .all(node.id, most);
    this.#last.delete(node);
    for (const row of rows) {
      this.#store.prepare('DELETE FROM pubsub_items WHERE seq = ?').run(row.seq);
      this.#grow(node, -Number(row.size));
    }
    return rows.map(row => String(row.item));
  }

  /** False where there is no such item. */
  remove(node: Node, id: string): boolean {
    const row = this.#store.prepare('SELECT seq, size FROM pubsub_items WHERE node = ? AND item = ?').get(node.id, id);
    this.#last.delete(node);
    if (!row) return false;
    this.#store.prepare('DELETE FROM pubsub_items WHERE seq = ?').run(row.seq);
    this.#grow(node, -Number(row.size));
    return true;
  }

  #grow(node: Node, by: number): void {
    this.#sizes.set(node, this.sizeOf(node) + by);
  }

  purge(node: Node): void {
    this.forget(node);
    this.#store.prepare('DELETE FROM pubsub_items WHERE node = ?').run(node.id);
  }

  /** The ids of the items, the newest first. */
  ids(node: Node, most: number): string[] {
    this.#expire(node);
    return this.#store
      .prepare('SELECT item FROM pubsub_items WHERE node = ? ORDER BY seq DESC LIMIT ?')
      .all(node.id, most)
      .map(row => String(row.item));
  }

  /**
   * A page of the items, the newest first (XEP-0060 §6.5.4, XEP-0059); at most `limits.page` items and about
   * `limits.pageSize` characters. Throws a StanzaError `item-not-found` where the page starts at an item that is not there.
   */
  page(node: Node, wanted: PageRequest): Page {
    const count = this.count(node);
    const nothing = { items: [], answer: { first: null, last: null, count } };
    if (wanted.max === 0) return { ...nothing, truncated: count > 0 };
    const backwards = wanted.before !== null;
    const rows = backwards ? this.#before(node, wanted.before, wanted.max) : this.#from(node, wanted);
    const items: Item[] = [];
    let size = 0;
    for (const row of rows) {
      const item = itemOf(row);
      size += item.payload.length;
      if (items.length > 0 && size > limits.pageSize) break;
      items.push(item);
    }
    if (backwards) items.reverse();
    if (items.length === 0) return { ...nothing, truncated: false };
    const first = items[0].id;
    const newer = this.#store.prepare('SELECT count(*) AS n FROM pubsub_items WHERE node = ? AND seq > ?');
    const index = Number(newer.get(node.id, this.#place(node, first))?.n);
    const answer = { first, index, last: items[items.length - 1].id, count };
    return { items, answer, truncated: items.length < count };
  }

  #from(node: Node, { after, index, max }: PageRequest): Row[] {
    const rows = this.#store.prepare(
      'SELECT * FROM pubsub_items WHERE node = ? AND seq < ? ORDER BY seq DESC LIMIT ? OFFSET ?',
    );
    const below = after === null ? Number.MAX_SAFE_INTEGER : this.#place(node, after);
    return rows.all(node.id, below, max, index ?? 0);
  }

  #before(node: Node, before: string, most: number): Row[] {
    const above = before === '' ? -1 : this.#place(node, before);
    return this.#store
      .prepare('SELECT * FROM pubsub_items WHERE node = ? AND seq > ? ORDER BY seq LIMIT ?')
      .all(node.id, above, most);
  }

  #place(node: Node, id: string): number {
    const row = this.#store.prepare('SELECT seq FROM pubsub_items WHERE node = ? AND item = ?').get(node.id, id);
    if (!row) throw new StanzaError('item-not-found', 'there is no such item to start from');
    return Number(row.seq);
  }

  /** Items go when their time has come, noticed when somebody looks. */
  #expire(node: Node): void {
    const { itemExpire } = node.config;
    if (itemExpire === 0) return;
    const gone = this.#store
      .prepare('DELETE FROM pubsub_items WHERE node = ? AND at < ?')
      .run(node.id, Date.now() - itemExpire * 1_000);
    if (gone.changes > 0) this.forget(node);
  }
}

function itemOf(row: Row): Item {
  return { id: String(row.item), publisher: String(row.publisher), at: Number(row.at), payload: String(row.payload) };
}
