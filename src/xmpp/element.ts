// An immutable XML element tree: what is built for the few children that somebody reads, and for what the hub says itself.

export type Node = Element | string;
export type Attributes = Readonly<Record<string, string>>;

const noAttributes: Attributes = Object.freeze({});

/**
 * One element. Attribute names are as written (`xml:lang` with its prefix); an attribute in another
 * namespace is keyed `{uri}local`. Text children are unescaped.
 */
export class Element {
  readonly name: string;
  readonly ns: string;
  readonly attrs: Attributes;
  readonly children: readonly Node[];

  constructor(name: string, ns: string, attrs: Attributes = noAttributes, children: readonly Node[] = []) {
    this.name = name;
    this.ns = ns;
    this.attrs = attrs;
    this.children = children;
  }

  /** The first child element of that name, in that namespace (this element's own where none is given). */
  child(name: string, ns: string = this.ns): Element | null {
    for (const child of this.children) {
      if (typeof child !== 'string' && child.name === name && child.ns === ns) return child;
    }
    return null;
  }

  /** All child elements, or those of that name (in this element's own namespace where none is given). */
  all(name?: string, ns: string = this.ns): Element[] {
    const elements = this.children.filter(child => typeof child !== 'string');
    return name === undefined ? elements : elements.filter(child => child.name === name && child.ns === ns);
  }

  is(name: string, ns: string): boolean {
    return this.name === name && this.ns === ns;
  }

  /** The text directly inside this element. */
  get text(): string {
    let text = '';
    for (const child of this.children) if (typeof child === 'string') text += child;
    return text;
  }

  /** The text of the first child of that name, or ''. */
  childText(name: string, ns: string = this.ns): string {
    return this.child(name, ns)?.text ?? '';
  }

  /** The same element with other attributes added or, given undefined, removed. */
  withAttrs(attrs: Record<string, string | undefined>): Element {
    return new Element(this.name, this.ns, definedOnly({ ...this.attrs, ...attrs }), this.children);
  }

  /** The element as XML; `xmlns` is left out where it equals `parentNs`. */
  toString(parentNs = ''): string {
    let xml = `<${this.name}`;
    if (this.ns !== parentNs) xml += ` xmlns='${escapeAttribute(this.ns)}'`;
    let prefixes = 0;
    for (const key in this.attrs) {
      const value = escapeAttribute(this.attrs[key]);
      if (key.charCodeAt(0) === 0x7b) {
        const end = key.lastIndexOf('}');
        const prefix = `ns${prefixes++}`;
        xml += ` xmlns:${prefix}='${escapeAttribute(key.slice(1, end))}' ${prefix}:${key.slice(end + 1)}='${value}'`;
      } else {
        xml += ` ${key}='${value}'`;
      }
    }
    if (this.children.length === 0) return `${xml}/>`;
    xml += '>';
    for (const child of this.children) xml += typeof child === 'string' ? escapeText(child) : child.toString(this.ns);
    return `${xml}</${this.name}>`;
  }
}

/** Builds an element; attributes that are undefined and children that are null, undefined or '' are left out. */
export function el(
  name: string,
  ns: string,
  attrs: Record<string, string | undefined> = {},
  ...children: (Node | null | undefined)[]
): Element {
  return new Element(
    name,
    ns,
    definedOnly(attrs),
    children.filter((child): child is Node => child !== null && child !== undefined && child !== ''),
  );
}

function definedOnly(attrs: Record<string, string | undefined>): Attributes {
  for (const key in attrs) {
    if (attrs[key] === undefined) {
      return Object.fromEntries(
        Object.entries(attrs).filter((entry): entry is [string, string] => entry[1] !== undefined),
      );
    }
  }
  return attrs as Attributes;
}

/** Escapes character data. Characters that XML cannot carry are replaced, so what leaves is always well-formed. */
export function escapeText(text: string): string {
  return /[&<>\r\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]/.test(text) ? escapeAll(text) : text;
}

/** Escapes an attribute value for either kind of quote; white space survives normalisation (XML 1.0 §3.3.3). */
export function escapeAttribute(value: string): string {
  return /[&<>'"\0-\x1f\ud800-\udfff\ufffe\uffff]/.test(value) ? escapeAll(value).replace(/[\t\n]/g, reference) : value;
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', "'": '&apos;', '"': '&quot;' };

function escapeAll(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g, '\ufffd')
    .replace(/[&<>'"]/g, character => entities[character])
    .replace(/\r/g, reference);
}

function reference(character: string): string {
  return `&#${character.charCodeAt(0)};`;
}
