// `isthmus account export` and `import`: users in a file that other servers read and write as well (XEP-0227).
import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { DocumentReader, type Part } from '../xmpp/document.ts';
import { type Element, el, escapeAttribute } from '../xmpp/element.ts';
import type { Accounts, CallAccounts } from './account.ts';
import type { Context } from './command.ts';

const pie = 'urn:xmpp:pie:0';
const xinclude = 'http://www.w3.org/2001/XInclude';

/** Writes a file with one account, those of one domain, or all, to standard output. */
export async function exportAccounts(call: CallAccounts, subject?: string): Promise<void> {
  const listed = subject?.includes('@')
    ? [{ jid: subject }]
    : ((await call('list', ...(subject ? [subject] : []))) as { jid: string }[]);
  const byDomain = Map.groupBy(listed, ({ jid }) => jid.slice(jid.indexOf('@') + 1));
  let started = false;
  const write = async (text: string) => {
    started = true;
    if (!process.stdout.write(text)) await once(process.stdout, 'drain');
  };
  for (const [domain, users] of byDomain) {
    let host = `<host jid='${escapeAttribute(domain)}'>\n`;
    for (const { jid } of users) {
      let next: string | null = '';
      while (next !== null) {
        const portion = (await call('export', jid, next)) as Awaited<ReturnType<Accounts['export']>>;
        // Where the first one cannot be had, nothing is written that looks like a file.
        if (!started) await write(head);
        await write(host + portion.xml);
        host = '';
        next = portion.next;
      }
      await write('\n');
    }
    await write('</host>\n');
  }
  await write(`${started ? '' : head}</server-data>\n`);
}

const head = `<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='${pie}'>\n`;

/** Takes in the users of a file, one by one. Resolves to 1 where any could not be. */
export async function importAccounts(
  context: Pick<Context, 'print'>,
  call: CallAccounts,
  file: string,
): Promise<number> {
  // A file that is broken somewhere is found out before anybody of it is there.
  const found = new Survey();
  await walk(file, found);
  const intake = new Intake(call, found.late);
  await walk(file, intake);
  if (found.users === 0) throw new Error(`${file}: there are no users in it`);
  context.print(intake.results);
  return intake.failed ? 1 : 0;
}

/** What is told of a file, in order. */
interface Reader {
  /** An element that is none of the format, or none that stands there. */
  stranger(element: Element, host: string): void;
  user(host: string, start: Element): void | Promise<void>;
  /** What a user's element holds: a list's entries come one by one, in a list that is named. */
  part(element: Element, list: Element | null): void | Promise<void>;
  userEnd(): void | Promise<void>;
}

/** What stands at which depth: the file, its hosts, their users, their lists. */
const levels = ['server-data', 'host', 'user'];
const lists = ['offline-messages', 'archive'];

function opens(element: Element, depth: number): boolean {
  if (depth < levels.length) return element.is(levels[depth], pie);
  return depth === levels.length && element.ns.startsWith(pie) && lists.includes(element.name);
}

/** Reads a document, and those that it includes in their places (XEP-0227 §5). Rejects with an Error that names the file. */
function walk(file: string, reader: Reader): Promise<void> {
  const seen = new Set<string>();
  const open: Element[] = [];

  const part = async (name: string, { kind, ...what }: Part): Promise<void> => {
    const depth = open.length;
    if (kind === 'close') {
      open.pop();
      if (depth === 3) await reader.userEnd();
      return;
    }
    const { element } = what as { element: Element };
    const host = open[1]?.attrs.jid ?? '';
    if (depth === 0 && !element.is('server-data', pie)) {
      throw new Error(`${name}: a file of ${pie} is expected, this is ${element.name}`);
    }
    if (element.is('include', xinclude) && depth > 0 && depth < 4) {
      return read(beside(name, element), depth);
    }
    const expected = depth < 3 ? element.is(levels[depth], pie) : true;
    if (!expected) return reader.stranger(element, host);
    if (depth === 2) await reader.user(host, element);
    else if (depth > 2 && (kind === 'whole' || depth > 3)) await reader.part(element, open[3] ?? null);
    if (kind === 'open') open.push(element);
    else if (depth === 2) await reader.userEnd();
  };

  const read = async (name: string, depth: number): Promise<void> => {
    if (seen.has(name)) throw new Error(`${name} is included twice`);
    seen.add(name);
    const document = new DocumentReader((element, within) => opens(element, depth + within));
    const parts = async (portions: Iterable<Part>) => {
      for (const one of portions) await part(name, one);
    };
    try {
      for await (const bytes of createReadStream(name, { highWaterMark: 1024 * 1024 })) {
        await parts(inFile(name, () => [...document.push(bytes as Buffer)]));
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw code ? new Error(`${name} cannot be read: ${code}`) : error;
    }
    inFile(name, () => document.end());
  };

  return read(file, 0);
}

function inFile<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`);
  }
}

/** The included file: only what lies beside the one that includes it, since an export may come from anybody. */
function beside(file: string, include: Element): string {
  const { href = '', parse, xpointer } = include.attrs;
  let path = '';
  try {
    path = normalize(decodeURIComponent(href));
  } catch {
    // It is no reference at all, and is refused as one.
  }
  if (parse !== undefined || xpointer !== undefined || !/^(?!\.\.)[^/\\:\0][^\\:\0]*$/.test(path)) {
    throw new Error(`${file}: ${href} is no file beside this one`);
  }
  return join(dirname(file), path);
}

const isCredentials = (element: Element) => element.is('scram-credentials', `${pie}#scram`);
/** About the characters that go to the hub at once. */
const portion = 1024 * 1024;

/** The first look: how many users there are, and credentials that stand behind much else. */
class Survey implements Reader {
  users = 0;
  /** By the number of the user. */
  readonly late = new Map<number, Element[]>();
  #size = 0;

  stranger(): void {}

  user(): void {
    this.users++;
    this.#size = 0;
  }

  part(element: Element): void {
    this.#size += element.toString().length;
    if (!isCredentials(element) || this.#size < portion / 2) return;
    const late = this.late.get(this.users) ?? [];
    if (late.length < 8) this.late.set(this.users, [...late, element]);
  }

  userEnd(): void {}
}

/** The second look: hands users to the hub, portion by portion; one that fails is left out wholly where it was new. */
class Intake implements Reader {
  readonly results: { user: string; result: string }[] = [];
  failed = false;
  readonly #call: CallAccounts;
  readonly #late: ReadonlyMap<number, Element[]>;
  readonly #strangers = new Set<string>();
  #users = 0;
  #jid = '';
  #start: Element | null = null;
  #parts: { element: Element; list: Element | null }[] = [];
  #size = 0;
  #notes = new Set<string>();
  /** How many portions the hub has taken; null: it has refused one. */
  #taken: number | null = 0;
  #made = false;

  constructor(call: CallAccounts, late: ReadonlyMap<number, Element[]>) {
    this.#call = call;
    this.#late = late;
  }

  stranger(element: Element, host: string): void {
    const text = `${element.name.slice(0, 80)} in ${element.ns.slice(0, 200)} is not kept here`;
    if (this.#strangers.size >= 20 || this.#strangers.has(text)) return;
    this.#strangers.add(text);
    this.results.push({ user: host || '-', result: text });
  }

  user(host: string, start: Element): void {
    this.#jid = `${start.attrs.name ?? ''}@${host}`;
    this.#start = start;
    this.#parts = (this.#late.get(++this.#users) ?? []).map(element => ({ element, list: null }));
    this.#size = 0;
    this.#notes = new Set();
    this.#taken = 0;
    this.#made = false;
  }

  async part(element: Element, list: Element | null): Promise<void> {
    if (this.#taken === null) return;
    const size = element.toString().length;
    if (this.#size > 0 && this.#size + size > portion) await this.#flush();
    this.#parts.push({ element, list });
    this.#size += size;
  }

  async userEnd(): Promise<void> {
    if (this.#taken !== null && (this.#parts.length > 0 || this.#taken === 0)) await this.#flush();
    if (this.#taken === null) return;
    this.results.push({ user: this.#jid, result: ['imported', ...this.#notes].join('; ') });
  }

  async #flush(): Promise<void> {
    const xml = this.#portion();
    this.#parts = [];
    this.#size = 0;
    try {
      const first = this.#taken === 0;
      const answer = await this.#call('import', this.#jid, xml, ...(first ? [] : ['more']));
      const { made, notes } = answer as Awaited<ReturnType<Accounts['import']>>;
      this.#made ||= made;
      for (const note of notes) this.#notes.add(note);
      this.#taken = (this.#taken ?? 0) + 1;
    } catch (error) {
      await this.#giveUp(error as Error);
    }
  }

  async #giveUp(error: Error): Promise<void> {
    const half = this.#taken !== 0 && !this.#made;
    this.#taken = null;
    this.failed = true;
    if (this.#made) await this.#call('remove', this.#jid);
    const rest = half ? '; what stands before that in the file is kept' : '';
    this.results.push({ user: this.#jid, result: `failed: ${error.message}${rest}` });
  }

  /** The element of the user with the parts at hand, those of one list in one element. */
  #portion(): string {
    const children: Element[] = [];
    let at: { list: Element; entries: Element[] } | null = null;
    const close = () => {
      if (at) children.push(el(at.list.name, at.list.ns, {}, ...at.entries));
      at = null;
    };
    for (const { element, list } of this.#parts) {
      if (!list || (at as { list: Element } | null)?.list !== list) close();
      if (!list) children.push(element);
      else (at ??= { list, entries: [] as Element[] }).entries.push(element);
    }
    close();
    const attrs = this.#taken === 0 ? this.#start!.attrs : {};
    return el('user', pie, { ...attrs }, ...children).toString();
  }
}
