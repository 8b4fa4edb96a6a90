// `isthmus account export` and `import`: users in a file that other servers read and write as well (XEP-0227).
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { Element, escapeAttribute } from '../xmpp/element.ts';
import { parseElement } from '../xmpp/payload.ts';
import type { CallAccounts } from './account.ts';
import type { Context } from './command.ts';

const pie = 'urn:xmpp:pie:0';
const xinclude = 'http://www.w3.org/2001/XInclude';

/** The largest file; larger sets are divided by XInclude (XEP-0227 §5). */
const fileLimits = { stanzaSize: 256 * 1024 * 1024, children: 10_000_000 };

/** Writes a file with one account, those of one domain, or all, to standard output. */
export async function exportAccounts(context: Context, call: CallAccounts, subject?: string): Promise<void> {
  const listed = subject?.includes('@')
    ? [{ jid: subject }]
    : ((await call('list', ...(subject ? [subject] : []))) as { jid: string }[]);
  const byDomain = Map.groupBy(listed, ({ jid }) => jid.slice(jid.indexOf('@') + 1));
  context.say(`<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='${pie}'>`);
  for (const [domain, users] of byDomain) {
    context.say(`<host jid='${escapeAttribute(domain)}'>`);
    for (const { jid } of users) context.say(String(await call('export', jid)));
    context.say('</host>');
  }
  context.say('</server-data>');
}

/** Takes in the users of a file, one by one. Resolves to 1 where any could not be. */
export async function importAccounts(context: Context, call: CallAccounts, file: string): Promise<number> {
  const root = readFile(file);
  if (!root.is('server-data', pie)) throw new Error(`${file}: a file of ${pie} is expected, this is ${root.name}`);
  let failed = 0;
  const results: { user: string; result: string }[] = [];
  for (const host of included(root, file, 'host')) {
    for (const user of included(host.element, host.file, 'user')) {
      const jid = `${user.element.attrs.name ?? ''}@${host.element.attrs.jid ?? ''}`;
      try {
        const notes = (await call('import', jid, user.element.toString())) as string[];
        results.push({ user: jid, result: ['imported', ...notes].join('; ') });
      } catch (error) {
        failed++;
        results.push({ user: jid, result: `failed: ${(error as Error).message}` });
      }
    }
  }
  context.print(results);
  return failed > 0 ? 1 : 0;
}

interface Included {
  element: Element;
  /** The file it stands in: what its own includes are relative to. */
  file: string;
}

/** The children of that name, those of included files in their places (XEP-0227 §5). */
function included(parent: Element, file: string, name: string): Included[] {
  return parent.all().flatMap((child): Included[] => {
    if (child.is('include', xinclude)) {
      const { href = '', parse, xpointer } = child.attrs;
      const path = normalize(decodeURIComponent(href));
      // Only what lies beside the file: an export may come from anybody.
      if (parse !== undefined || xpointer !== undefined || !/^(?!\.\.)[^/\\:][^\\:]*$/.test(path)) {
        throw new Error(`${file}: ${href} is no file beside this one`);
      }
      const below = join(dirname(file), path);
      const element = readFile(below);
      return element.is(name, pie) ? [{ element, file: below }] : [];
    }
    return child.is(name, pie) ? [{ element: child, file }] : [];
  });
}

/** Reads a document; its declaration and comments are left out, which the strict parser does not take. */
function readFile(file: string): Element {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
  try {
    return withoutSpace(parseElement(withoutComments(text.replace(/^\ufeff/, '')), fileLimits));
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`);
  }
}

function withoutComments(text: string): string {
  const found = /<!\[CDATA\[[\s\S]*?\]\]>|<!--[\s\S]*?-->/g;
  return text.replace(found, part => (part.startsWith('<!--') ? '' : part));
}

/** The upper levels without the white space between their elements; users keep theirs. */
function withoutSpace(element: Element): Element {
  if (element.is('user', pie)) return element;
  const children = element.all().map(withoutSpace);
  return new Element(element.name, element.ns, element.attrs, children);
}
