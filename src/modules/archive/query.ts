// Queries of an archive: the form and the page they ask for, the messages and the end they are answered with (XEP-0313 §4).
import type { Session } from '../../hub/module.ts';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { formValues } from '../../xmpp/form.ts';
import { forward } from '../../xmpp/forward.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { type PageRequest, pageElement, readPage } from '../../xmpp/result-set.ts';
import { type ArchivedMessage, Messages, type Selection } from './messages.ts';

/** Messages on a page where the client names no number, and the most there are on one. */
const usualPage = 50;
const mostOnPage = 250;
/** Results longer than this are not counted (XEP-0059 §2.2 lets that be left out). */
const mostCounted = 50_000;

/** Answers a query of a user's own archive: sends the messages and returns `<fin/>`. Throws StanzaError. */
export function answerQuery(messages: Messages, user: Jid, query: Element, session: Session): Element {
  if (query.attrs.node !== undefined) throw new StanzaError('item-not-found', 'an account has one archive');
  const selection = readSelection(messages, user, query.child('x', ns.data));
  const asked = readPage(query.child('set', ns.resultSet), usualPage, mostOnPage);
  const { page, complete, index } = select(messages, user, selection, asked);
  const count = messages.count(user, selection, mostCounted);
  const inOrder = query.child('flip-page') ? page.toReversed() : page;
  for (const message of inOrder) session.send(resultOf(user, session.jid, message, query.attrs.queryid));
  const known = count < mostCounted;
  return el(
    'fin',
    ns.archive,
    { complete: complete ? 'true' : undefined },
    pageElement({
      first: page[0]?.id ?? null,
      last: page[page.length - 1]?.id ?? null,
      index: known ? index() : null,
      count: known ? count : undefined,
    }),
  );
}

interface Selected {
  page: ArchivedMessage[];
  /** Nothing of the selection lies beyond the page, in the direction of paging. */
  complete: boolean;
  /** Where the first message of the page stands in the selection; null where that is not told. */
  index(): number | null;
}

/** Cuts the page out of the selection (XEP-0313 §4.3); one message more tells whether there are more. */
function select(messages: Messages, user: Jid, selection: Selection, asked: PageRequest): Selected {
  const { max } = asked;
  const cut: Selection = { ...selection };
  if (asked.after !== null) cut.after = later(cut.after, placeOf(messages, user, asked.after));
  if (asked.before) cut.before = earlier(cut.before, placeOf(messages, user, asked.before));
  const backwards = asked.before !== null;
  const found = messages.page(user, cut, max + 1, backwards, asked.index ?? 0);
  const complete = found.length <= max;
  const page = complete ? found : backwards ? found.slice(1) : found.slice(0, max);
  const index = () => {
    // By an index slixmpp would know that this page ends where the result ends, and ask for none before it.
    if (asked.before === '' && !complete) return null;
    if (page.length === 0) return 0;
    return asked.index ?? messages.count(user, { ...selection, before: page[0].place }, mostCounted);
  };
  return { page, complete, index };
}

/** One result: the message as it was archived, with its id and time (XEP-0313 §4.2). */
function resultOf(user: Jid, to: Jid, { id, at, stanza }: ArchivedMessage, queryid: string | undefined) {
  const delay = el('delay', ns.delay, { stamp: at.toISOString() });
  return forward({ from: user.bare, to }, el('result', ns.archive, { queryid, id }), stanza, delay);
}

const fields = ['with', 'start', 'end', 'before-id', 'after-id', 'ids', 'include-groupchat'];

/** Reads the form (XEP-0313 §4.1). Throws StanzaError where it is wrong or names what is not there. */
function readSelection(messages: Messages, user: Jid, form: Element | null): Selection {
  const selection: Selection = {};
  if (form === null) return selection;
  const values = formValues(form);
  if (form.attrs.type !== 'submit' || values.get('FORM_TYPE')?.[0] !== ns.archive) {
    throw new StanzaError('bad-request', `a submitted form of type ${ns.archive} is expected`);
  }
  for (const name of values.keys()) {
    if (name !== 'FORM_TYPE' && !fields.includes(name)) {
      throw new StanzaError('feature-not-implemented', `queries have no field ${name.slice(0, 80)}`);
    }
  }
  const text = (name: string) => values.get(name)?.[0]?.trim() || null;
  const partner = text('with');
  if (partner !== null) selection.with = addressOf(partner);
  const start = text('start');
  if (start !== null) selection.after = Messages.placesAt(timeOf(start)).from - 1;
  const end = text('end');
  if (end !== null) selection.before = Messages.placesAt(timeOf(end)).behind;
  const after = text('after-id');
  if (after !== null) selection.after = later(selection.after, placeOf(messages, user, after));
  const before = text('before-id');
  if (before !== null) selection.before = earlier(selection.before, placeOf(messages, user, before));
  const ids = values.get('ids');
  if (ids && ids.length > mostOnPage)
    throw new StanzaError('not-acceptable', `at most ${mostOnPage} ids are looked up`);
  if (ids && ids.length > 0) selection.places = ids.map(id => placeOf(messages, user, id));
  return selection;
}

function addressOf(text: string): Jid {
  const jid = Jid.tryParse(text);
  if (!jid) throw new StanzaError('bad-request', '`with` is not an address');
  return jid;
}

/** XEP-0082 §3.2, in milliseconds since 1970. */
function timeOf(text: string): number {
  const form = /^-?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/;
  const time = form.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time)) throw new StanzaError('bad-request', 'a time is not written as XEP-0082 says');
  return time;
}

function placeOf(messages: Messages, user: Jid, id: string): number {
  const place = messages.placeOf(user, id);
  if (place === null) throw new StanzaError('item-not-found', 'there is no message of that id');
  return place;
}

function later(a: number | undefined, b: number): number {
  return a === undefined ? b : Math.max(a, b);
}

function earlier(a: number | undefined, b: number): number {
  return a === undefined ? b : Math.min(a, b);
}

/** The form that tells which fields there are (XEP-0313 §4.1.5). */
export function queryForm(): Element {
  const field = (type: string, name: string, ...inner: Element[]) =>
    el('field', ns.data, { type, var: name }, ...inner);
  return el(
    'query',
    ns.archive,
    {},
    el(
      'x',
      ns.data,
      { type: 'form' },
      field('hidden', 'FORM_TYPE', el('value', ns.data, {}, ns.archive)),
      field('jid-single', 'with'),
      field('text-single', 'start'),
      field('text-single', 'end'),
      field('text-single', 'before-id'),
      field('text-single', 'after-id'),
      field('list-multi', 'ids', el('validate', ns.validate, { datatype: 'xs:string' }, el('open', ns.validate))),
      field('boolean', 'include-groupchat'),
    ),
  );
}

/** The first and the last message there are (XEP-0313 §5). */
export function metadata(messages: Messages, user: Jid): Element {
  const ends = (['start', 'end'] as const).map(name => {
    const [message] = messages.page(user, {}, 1, name === 'end');
    return message && el(name, ns.archive, { id: message.id, timestamp: message.at.toISOString() });
  });
  return el('metadata', ns.archive, {}, ...ends);
}
