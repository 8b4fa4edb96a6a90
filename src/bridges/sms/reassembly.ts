// Parts of long messages from phones, kept until they are whole or their time is up.
import type { Row, Store } from '../../hub/store.ts';
import type { PartOf } from './translate.ts';

const schema = [
  `CREATE TABLE sms_parts (
     bridge TEXT NOT NULL, message TEXT NOT NULL, part INTEGER NOT NULL, parts INTEGER NOT NULL,
     sender TEXT NOT NULL, recipient TEXT NOT NULL, route TEXT NOT NULL, text BLOB NOT NULL, at INTEGER NOT NULL,
     PRIMARY KEY (bridge, message, part)) WITHOUT ROWID;
   CREATE INDEX sms_parts_age ON sms_parts (bridge, at);`,
];

/** Parts that are kept at once, of all messages. */
const mostParts = 20_000;

/** Characters of one part: more than any that has 140 bytes. */
const longestPart = 1_000;

export interface Whole {
  /** Its key, for `forget`. */
  message: string;
  from: string;
  to: string;
  route: string;
  text: string;
}

export interface IncomingPart {
  from: string;
  to: string;
  route: string;
  text: string;
  part: PartOf;
}

export class Reassembly {
  readonly #store: Store;
  readonly #bridge: string;
  #count: number;

  constructor(store: Store, bridge: string) {
    this.#store = store;
    this.#bridge = bridge;
    store.migrate('sms-parts', schema);
    this.#count = Number(store.prepare('SELECT count(*) AS n FROM sms_parts WHERE bridge = ?').get(bridge)?.n);
  }

  get parts(): number {
    return this.#count;
  }

  /** Takes a part in any order; gives the message where it is whole now. It stays until `forget`: call that when it is delivered. */
  add({ from, to, route, text, part: { reference, parts, part } }: IncomingPart): Whole | null {
    const message = `${route}\0${from}\0${to}\0${reference}\0${parts}`;
    const { changes } = this.#store
      .prepare(
        `INSERT OR IGNORE INTO sms_parts (bridge, message, part, parts, sender, recipient, route, text, at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        this.#bridge,
        message,
        part,
        parts,
        from,
        to,
        route,
        Buffer.from(text.slice(0, longestPart), 'utf16le'),
        Date.now(),
      );
    this.#count += changes;
    const rows = this.#rows(message);
    return rows.length === parts ? join(message, rows) : null;
  }

  forget({ message }: Whole): void {
    this.#count -= this.#store
      .prepare('DELETE FROM sms_parts WHERE bridge = ? AND message = ?')
      .run(this.#bridge, message).changes;
  }

  /**
   * Messages whose oldest part came before `time`, and the oldest ones where more is kept than may be: they are given as they are, with
   * […] for what is missing. At most `most`.
   */
  overdue(time: number, most: number): Whole[] {
    const before = this.#count > mostParts ? Number.MAX_SAFE_INTEGER : time;
    const messages = this.#store
      .prepare(
        'SELECT message, min(at) FROM sms_parts WHERE bridge = ? AND at < ? GROUP BY message ORDER BY min(at) LIMIT ?',
      )
      .all(this.#bridge, before, most);
    return messages.map(({ message }) => join(String(message), this.#rows(String(message))));
  }

  #rows(message: string): Row[] {
    return this.#store
      .prepare('SELECT * FROM sms_parts WHERE bridge = ? AND message = ? ORDER BY part')
      .all(this.#bridge, message);
  }
}

/** Puts parts together; `rows` is not empty and in order. Only then are halves of characters whole again. */
function join(message: string, rows: readonly Row[]): Whole {
  const [{ sender, recipient, route, parts }] = rows;
  let text = '';
  let next = 1;
  for (const row of rows) {
    if (Number(row.part) > next) text += '[…]';
    text += Buffer.from(row.text as Uint8Array).toString('utf16le');
    next = Number(row.part) + 1;
  }
  if (next <= Number(parts)) text += '[…]';
  return { message, from: String(sender), to: String(recipient), route: String(route), text: text.toWellFormed() };
}
