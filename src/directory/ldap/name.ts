// Distinguished names (RFC 4514): read, compared, and put together from values that nobody has checked.

/** One `type=value` of a name, the type in lower case, the value unescaped. */
export interface Assertion {
  readonly type: string;
  readonly value: string;
}

/** From the entry up to the root; a component of several values has several assertions. */
export type Components = readonly (readonly Assertion[])[];

const typeForm = /^(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)*)$/;
/** Longer names than this are nobody's. */
const longest = 2048;

/** A value as it may stand in a name (RFC 4514 §2.4). */
export function escapeName(value: string): string {
  return value
    .replace(/[\\,+"<>;=]/g, c => `\\${c}`)
    .replace(/\0/g, '\\00')
    .replace(/^[ #]/, c => `\\${c}`)
    .replace(/ $/, '\\ ');
}

/** A name below another one: `uid=alice,ou=people,…`. */
export function child(type: string, value: string, parent: string): string {
  return parent === '' ? `${type}=${escapeName(value)}` : `${type}=${escapeName(value)},${parent}`;
}

/** The components of a name, or null where the text is none. The empty name has none. */
export function parseName(text: string): Components | null {
  if (text.length > longest) return null;
  if (text.trim() === '') return [];
  const components: Assertion[][] = [[]];
  let at = 0;
  while (at <= text.length) {
    const equals = text.indexOf('=', at);
    if (equals < 0) return null;
    const type = text.slice(at, equals).trim();
    if (!typeForm.test(type)) return null;
    const read = readValue(text, equals + 1);
    if (!read) return null;
    components[components.length - 1].push({ type: type.toLowerCase(), value: read.value });
    at = read.end + 1;
    if (read.end === text.length) return components;
    if (text[read.end] !== '+') components.push([]);
  }
  return null;
}

/** A value from `start` to the next separator that is not escaped. */
function readValue(text: string, start: number): { value: string; end: number } | null {
  const bytes: number[] = [];
  let kept = 0; // Spaces at the end that are not escaped do not count.
  let at = start;
  while (text[at] === ' ') at++;
  for (; at < text.length; at++) {
    const c = text[at];
    if (c === ',' || c === ';' || c === '+') break;
    if (c === '\\') {
      const pair = /^[0-9A-Fa-f]{2}/.exec(text.slice(at + 1, at + 3));
      if (pair) {
        bytes.push(Number.parseInt(pair[0], 16));
        at += 2;
      } else if (at + 1 < text.length) {
        const next = String.fromCodePoint(text.codePointAt(at + 1)!);
        bytes.push(...Buffer.from(next));
        at += next.length;
      } else return null;
      kept = bytes.length;
    } else {
      const next = String.fromCodePoint(text.codePointAt(at)!);
      bytes.push(...Buffer.from(next));
      at += next.length - 1;
      if (c !== ' ') kept = bytes.length;
    }
  }
  return { value: Buffer.from(bytes.slice(0, kept)).toString('utf8'), end: at };
}

/** A form in which equal names are equal texts: case and runs of spaces do not count. Null where it is no name. */
export function normalName(text: string): string | null {
  const components = parseName(text);
  return components && normal(components);
}

function normal(components: Components): string {
  return components
    .map(component =>
      component
        .map(({ type, value }) => `${type}=${escapeName(value.trim().replace(/\s+/g, ' ').toLowerCase())}`)
        .sort()
        .join('+'),
    )
    .join(',');
}

/** Whether a name is `base` or below it. Both may be written in any way. */
export function isWithin(name: string, base: string): boolean {
  const below = parseName(name);
  const above = parseName(base);
  if (!below || !above || below.length < above.length) return false;
  return normal(below.slice(below.length - above.length)) === normal(above);
}
