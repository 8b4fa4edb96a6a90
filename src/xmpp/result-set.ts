// Pages of long results: what a request asks for and what an answer tells of its page (XEP-0059).
import { type Element, el } from './element.ts';
import { StanzaError } from './errors.ts';
import { ns } from './namespaces.ts';

/** The page that a request asks for. At most one of `after`, `before` and `index` is set. */
export interface PageRequest {
  /** The most items to send; 0 asks for the count alone. */
  readonly max: number;
  /** The items behind this one. */
  readonly after: string | null;
  /** The items in front of this one, `''` for the last page of all. */
  readonly before: string | null;
  /** The items from this place on, the first is 0. */
  readonly index: number | null;
}

/** What an answer says of the page it carries (XEP-0059 §2.2). */
export interface PageAnswer {
  /** The ids of the first and the last item; null where the page is empty. */
  readonly first: string | null;
  readonly last: string | null;
  /** Where the first item stands in the whole result, and how long that is; absent where that would cost too much. */
  readonly index?: number | null;
  readonly count?: number;
}

/**
 * Reads a `<set/>`, or the first page where there is none. `usual` items are sent where the request names no number,
 * never more than `most`. Throws a StanzaError `bad-request` where it makes no sense.
 */
export function readPage(set: Element | null, usual: number, most: number): PageRequest {
  const max = numberIn(set, 'max');
  const index = numberIn(set, 'index');
  const after = set?.child('after')?.text ?? null;
  const before = set?.child('before')?.text ?? null;
  if ([index, after, before].filter(value => value !== null).length > 1) {
    throw new StanzaError('bad-request', 'a page is asked for by one of `after`, `before` and `index`');
  }
  // An empty `after` is taken for none: it stands before the first item (XEP-0059 §2.2).
  return { max: Math.min(max ?? usual, most), after: after === '' ? null : after, before, index };
}

function numberIn(set: Element | null, name: string): number | null {
  const child = set?.child(name);
  if (!child) return null;
  const text = child.text.trim();
  if (!/^\d{1,10}$/.test(text)) throw new StanzaError('bad-request', `<${name}/> is not a number`);
  return Number(text);
}

/** The `<set/>` of an answer. */
export function pageElement({ first, last, index, count }: PageAnswer): Element {
  const place = index === undefined || index === null ? undefined : String(index);
  return el(
    'set',
    ns.resultSet,
    {},
    first === null ? null : el('first', ns.resultSet, { index: place }, first),
    last === null ? null : el('last', ns.resultSet, {}, last),
    count === undefined ? null : el('count', ns.resultSet, {}, String(count)),
  );
}

/**
 * The page of a list that is at hand as a whole. Throws a StanzaError `item-not-found` where the request names an
 * item that is not in it (XEP-0059 §2.4).
 */
export function pageOf<T>(
  items: readonly T[],
  idOf: (item: T) => string,
  page: PageRequest,
): { items: readonly T[]; answer: PageAnswer } {
  const placeOf = (id: string): number => {
    const place = items.findIndex(item => idOf(item) === id);
    if (place < 0) throw new StanzaError('item-not-found', 'there is no such item in the result');
    return place;
  };
  let from = page.index ?? 0;
  if (page.after !== null) from = placeOf(page.after) + 1;
  let to = from + page.max;
  if (page.before !== null) {
    to = page.before === '' ? items.length : placeOf(page.before);
    from = Math.max(0, to - page.max);
  }
  const chosen = items.slice(from, to);
  if (chosen.length === 0) return { items: chosen, answer: { first: null, last: null, count: items.length } };
  return {
    items: chosen,
    answer: { first: idOf(chosen[0]), last: idOf(chosen[chosen.length - 1]), index: from, count: items.length },
  };
}
