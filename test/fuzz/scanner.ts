// Compares the scanner with saxes, and with itself over the same bytes cut differently, on generated streams.
import assert from 'node:assert/strict';
import { SaxesParser } from 'saxes';
import { Element, type Node } from '../../src/xmpp/element.ts';
import { StreamError } from '../../src/xmpp/errors.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { isContentNamespace, ns } from '../../src/xmpp/namespaces.ts';
import { Scanner } from '../../src/xmpp/scanner.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';
import { generateStream } from './grammar.ts';
import { Random } from './random.ts';

/** How a stream was judged, and what came out of it before that. */
interface Outcome {
  /** The condition of the error, 'closed', or 'open' where the data ended before the stream. */
  verdict: string;
  opened: number;
  stanzas: Stanza[];
  reason: string;
}

/** How long to go on: a number of cases, or seconds. */
export type Budget = { cases: number } | { seconds: number };

export interface FuzzResult {
  cases: number;
  /** How often each verdict came. */
  verdicts: Record<string, number>;
}

/** Runs cases from a seed; throws an AssertionError with the case's own seed and bytes where two judgements differ. */
export function fuzzScanner(budget: Budget, seed: number): FuzzResult {
  const verdicts: Record<string, number> = {};
  const end = 'seconds' in budget ? performance.now() + budget.seconds * 1000 : Number.POSITIVE_INFINITY;
  const most = 'cases' in budget ? budget.cases : Number.POSITIVE_INFINITY;
  let cases = 0;
  for (; cases < most && performance.now() < end; cases++) {
    const verdict = runCase(seed + cases);
    verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
  }
  return { cases, verdicts };
}

/** Runs one case; returns the verdict. */
export function runCase(seed: number): string {
  const random = new Random(seed);
  // A tag that has not come to its end is judged only once it may have: these bytes bring every judgement about.
  const data = Buffer.concat([generateStream(random), Buffer.from('<>;?>-->]]>"\'<>')]);
  try {
    const whole = scan([data]);
    assertSame(whole, scan(Array.from(data, (_, at) => data.subarray(at, at + 1))), 'byte by byte');
    assertSame(whole, scan(cut(data, random)), 'cut at random');
    assertSame(whole, scan(cut(data, random), true), 'with pauses');
    compareWithSaxes(whole, data);
    for (const stanza of whole.stanzas) checkStanza(stanza);
    return whole.verdict;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new assert.AssertionError({
      message: `case ${seed}: ${message}\n${JSON.stringify(data.toString('latin1'))}`,
    });
  }
}

function scan(portions: Uint8Array[], pausing = false): Outcome {
  const outcome: Outcome = { verdict: 'open', opened: 0, stanzas: [], reason: '' };
  const scanner: Scanner = new Scanner(
    {
      streamOpened() {
        outcome.opened++;
      },
      stanza(stanza) {
        outcome.stanzas.push(stanza);
        if (pausing) scanner.pause();
      },
      streamClosed() {
        outcome.verdict = 'closed';
      },
    },
    { stanzaSize: 65536 },
  );
  try {
    for (const portion of portions) {
      scanner.push(portion);
      if (pausing && portion.length % 2) resumeFully(scanner, outcome);
    }
    if (pausing) resumeFully(scanner, outcome);
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    outcome.verdict = error.condition;
    outcome.reason = error.text;
  }
  return outcome;
}

function resumeFully(scanner: Scanner, outcome: Outcome): void {
  for (let seen = -1; seen !== outcome.stanzas.length; ) {
    seen = outcome.stanzas.length;
    scanner.resume();
  }
}

function cut(data: Buffer, random: Random): Buffer[] {
  const portions: Buffer[] = [];
  for (let at = 0; at < data.length; ) {
    const next = Math.min(data.length, at + 1 + random.below(random.pick([2, 10, 100])));
    portions.push(data.subarray(at, next));
    at = next;
  }
  return portions;
}

function assertSame(whole: Outcome, cutUp: Outcome, how: string): void {
  assert.equal(cutUp.verdict, whole.verdict, `${how}: ${cutUp.reason}, as a whole: ${whole.reason}`);
  assert.equal(cutUp.opened, whole.opened, how);
  assert.deepEqual(cutUp.stanzas.map(String), whole.stanzas.map(String), how);
  for (let i = 0; i < whole.stanzas.length; i++) assert.deepEqual(cutUp.stanzas[i].index, whole.stanzas[i].index, how);
}

/** What saxes makes of the same bytes. */
interface Reference {
  verdict: 'error' | 'closed' | 'open';
  reason: string;
  /** Something that XML allows and a stream does not. */
  restricted: string;
  stanzas: Element[];
}

function compareWithSaxes(ours: Outcome, data: Buffer): void {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    if (ours.verdict !== 'closed') assert.notEqual(ours.verdict, 'open', 'accepted what is not UTF-8');
    return;
  }
  // Saxes lets local names start with what may not start a name (Namespaces in XML §3, NCName).
  if (trimmedBySaxes.test(text) || ours.reason.startsWith('a local name')) return;
  const theirs = parseWithSaxes(text);
  // To saxes a reference to white space between stanzas is white space like any other.
  if (ours.verdict === 'invalid-xml' && /&#(?:x0*[9adAD]|x0*20|0*9|0*10|0*13|0*32);/.test(text)) return;
  if (theirs.verdict === 'error') {
    assert.ok(ours.verdict !== 'closed' && ours.verdict !== 'open', `accepted, but saxes: ${theirs.reason}`);
    if (ours.verdict !== 'not-well-formed') {
      const known = ['restricted-xml', 'invalid-xml', 'bad-namespace-prefix', 'unsupported-encoding'];
      assert.ok(known.includes(ours.verdict), `${ours.verdict} ${ours.reason}; saxes: ${theirs.reason}`);
    }
  } else if (theirs.restricted !== '' && ours.verdict !== theirs.verdict) {
    assert.notEqual(ours.verdict, 'closed', `accepted: ${theirs.restricted}`);
    assert.equal(ours.verdict, theirs.restricted, ours.reason);
  } else {
    assert.equal(ours.verdict, theirs.verdict, ours.reason);
  }
  const count = ours.stanzas.length;
  assert.ok(theirs.stanzas.length >= count, 'more stanzas than saxes');
  if (theirs.verdict !== 'error' && theirs.restricted === '') assert.equal(count, theirs.stanzas.length);
  for (let i = 0; i < count; i++) {
    assert.deepEqual(plain(ours.stanzas[i].element), plain(asStanza(theirs.stanzas[i])), `stanza ${i}`);
  }
}

/** Namespaces with white space around them, which saxes takes off although they are compared as they are. */
const trimmedBySaxes = /xmlns[^=<>]*=\s*(?:["'](?:\s|&#)|"[^"]*(?:\s|&#[^;"]*;)"|'[^']*(?:\s|&#[^;']*;)')/;

class Stop extends Error {}

function parseWithSaxes(text: string): Reference {
  const result: Reference = { verdict: 'open', reason: '', restricted: '', stanzas: [] };
  const parser = new SaxesParser({ xmlns: true, forceXMLVersion: true, defaultXMLVersion: '1.0' });
  const stack: { element: Element; children: Node[] }[] = [];
  const restrict = (condition: string) => {
    if (result.restricted === '') result.restricted = condition;
  };
  const addText = (piece: string) => {
    if (stack.length === 0) return;
    const { children } = stack[stack.length - 1];
    if (stack.length === 1 && /[^ \t\r\n]/.test(piece)) restrict('invalid-xml');
    const last = children.at(-1);
    if (typeof last === 'string') children[children.length - 1] = last + piece;
    else if (piece !== '') children.push(piece);
  };
  parser.on('error', error => {
    // It reports an element as closed before it says that the end tag was not that element's.
    if (result.verdict === 'closed' && !error.message.includes('unexpected close tag')) throw new Stop();
    result.verdict = 'error';
    result.reason = error.message;
    throw new Stop();
  });
  parser.on('comment', () => restrict('restricted-xml'));
  parser.on('processinginstruction', () => restrict('restricted-xml'));
  parser.on('doctype', () => restrict('restricted-xml'));
  parser.on('xmldecl', declaration => {
    if (declaration.encoding && declaration.encoding.toLowerCase() !== 'utf-8') restrict('unsupported-encoding');
  });
  parser.on('text', addText);
  parser.on('cdata', piece => {
    if (stack.length === 1) restrict('invalid-xml');
    addText(piece);
  });
  parser.on('opentag', tag => {
    if (tag.prefix === 'xml') restrict('bad-namespace-prefix');
    const children: Node[] = [];
    const attrs: [string, string][] = [];
    for (const attribute of Object.values(tag.attributes)) {
      if (attribute.prefix === 'xmlns' || attribute.name === 'xmlns') continue;
      const plainName = attribute.prefix === '' || attribute.prefix === 'xml';
      attrs.push([plainName ? attribute.name : `{${normal(attribute.uri)}}${attribute.local}`, attribute.value]);
    }
    const element = new Element(tag.local, normal(tag.uri), Object.fromEntries(attrs), children);
    stack.at(-1)?.children.push(element);
    stack.push({ element, children });
  });
  parser.on('closetag', () => {
    const { element } = stack.pop()!;
    if (stack.length === 1) result.stanzas.push(element);
    if (stack.length === 0) result.verdict = 'closed';
  });
  try {
    parser.write(text);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
  }
  return result;
}

function normal(uri: string): string {
  return isContentNamespace(uri) ? ns.client : uri;
}

/** What a stanza keeps of its own start tag. */
function asStanza(element: Element): Element {
  const attrs: Record<string, string | undefined> = {};
  for (const name of ['to', 'from']) {
    if (name in element.attrs) attrs[name] = Jid.tryParse(element.attrs[name])?.toString();
  }
  for (const name of ['id', 'type', 'xml:lang']) if (element.attrs[name] === '') attrs[name] = undefined;
  return element.withAttrs(attrs);
}

/** An element with its attributes in one order, for comparison. */
function plain(element: Element): unknown {
  const attrs = Object.entries(element.attrs).sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    element.name,
    element.ns,
    attrs,
    element.children.map(child => (typeof child === 'string' ? child : plain(child))),
  ];
}

/** What holds for any stanza: it stands alone, its index is right, and it survives being rebuilt. */
function checkStanza(stanza: Stanza): void {
  const tree = plain(stanza.element);
  const again = Stanza.parse(stanza.toBytes());
  assert.equal(String(again), String(stanza), 'stored and read again');
  assert.deepEqual(plain(again.element), tree, 'stored and read again');
  assert.deepEqual(plain(Stanza.from(stanza.element).element), tree, 'rebuilt');
  const children = stanza.element.all();
  assert.deepEqual(stanza.children.map(plain), children.map(plain), 'children');
  assert.equal(stanza.firstChild?.name, children[0]?.name);
  assert.equal(stanza.firstChild?.ns, children[0]?.ns);
  for (const child of children) {
    const first = children.find(other => other.is(child.name, child.ns))!;
    assert.deepEqual(plain(stanza.child(child.name, child.ns)!), plain(first), 'found by name');
    assert.ok(!stanza.has(child.name, `${child.ns}x`));
  }
}
