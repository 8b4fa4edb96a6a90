// Result sets (XEP-0059): the page that a request asks for, and what the answer says of the page it holds.
import { type Element, el } from './element.ts';
import { StanzaError } from './errors.ts';
import { ns } from './namespaces.ts';

/** The page that somebody asks for. */
export interface ResultSetRequest {
  /** The most items of the page; 0 asks for the count alone (XEP-0059 §2.7). */
  max?: number;
  /** The page that follows this item. */
  after?: string;
  /** The page that ends before this item; '' for the last page (XEP-0059 §2.5). */
  before?: string | '';
  /** The page that starts at this place, counted from 0 (XEP-0059 §2.6). */
  index?: number;
}

/** What an answer says of its page; an empty page has neither `first` nor `last`. */
export interface ResultSetPage {
  first?: string;
  /** The place of the first item among all, counted from 0. */
  firstIndex?: number;
  last?: string;
  /** How many there are in all. */
  count?: number;
}

/** The `<set/>` inside `element`, or null where it has none. Throws a StanzaError `bad-request` for numbers that are none. */
export function readResultSet(element: Element): ResultSetRequest | null {
  const set = element.child('set', ns.resultSet);
  if (!set) return null;
  const request: ResultSetRequest = {};
  const max = numberIn(set, 'max');
  const index = numberIn(set, 'index');
  if (max !== undefined) request.max = max;
  if (index !== undefined) request.index = index;
  const after = set.child('after');
  if (after && after.text !== '') request.after = after.text;
  const before = set.child('before');
  if (before) request.before = before.text;
  return request;
}

function numberIn(set: Element, name: string): number | undefined {
  const child = set.child(name);
  if (!child) return undefined;
  const text = child.text.trim();
  if (!/^\d{1,15}$/.test(text)) throw new StanzaError('bad-request', `${name} is a whole number`);
  return Number(text);
}

/** The `<set/>` that goes with a page (XEP-0059 §2.1). */
export function resultSet({ first, firstIndex, last, count }: ResultSetPage): Element {
  return el(
    'set',
    ns.resultSet,
    {},
    first === undefined ? null : el('first', ns.resultSet, { index: firstIndex?.toString() }, first),
    last === undefined ? null : el('last', ns.resultSet, {}, last),
    count === undefined ? null : el('count', ns.resultSet, {}, count.toString()),
  );
}
