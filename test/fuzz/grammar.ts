// Generates XMPP streams, mostly right ones that use every corner of XML, and damages them.
import type { Random } from './random.ts';

const names = [
  'message',
  'presence',
  'iq',
  'body',
  'query',
  'a',
  'x',
  'é',
  '名',
  'a-b',
  'a.b',
  '_',
  'x\u0301',
  '\u{10400}',
];
const prefixes = ['stream', 'stream', 'stream', 'stream', 'stream', 'stream', 'stream', 'p', 'q', 'db', 'xml', 'é'];
const uris = [
  'jabber:client',
  'jabber:server',
  'http://etherx.jabber.org/streams',
  'urn:a',
  'urn:a&amp;b',
  'urn:é',
  // No white space around it: saxes takes that off, the specification does not.
  'urn:\tb\nc',
  '',
  'http://www.w3.org/XML/1998/namespace',
  'http://www.w3.org/2000/xmlns/',
];
const texts = [
  'hello',
  ' ',
  '\n',
  '\r\n',
  '\r',
  '\t',
  'é',
  '日本語',
  '\u{1f600}',
  '&amp;',
  '&lt;',
  '&gt;',
  '&quot;',
  '&apos;',
  '&#65;',
  '&#x1F600;',
  '&#13;',
  '&#x0a;',
  ']',
  ']]',
  '>',
  '\u0085',
  '\u2028',
  '\ufffd',
  '\ufeff',
];
const wrongs = [
  '<!-- c -->',
  '<?pi x?>',
  '<!DOCTYPE a>',
  '<!ENTITY a "b">',
  '&foo;',
  '&#0;',
  '&#xD800;',
  '&#x110000;',
  '&;',
  '&',
  ']]>',
  '<',
  '>',
  '"',
  "'",
  '/',
  '=',
  ':',
  '</',
  '/>',
  '<a',
  '<a>',
  '</a>',
  '<x y=1/>',
  " a='1' a='2'",
  '\0',
  '\x0b',
  '\ufffe',
  '<p:a:b/>',
  '<:a/>',
  '<a:/>',
  "<xmlns:a xmlns='urn:a'/>",
  "<a xmlns:xml='urn:a'/>",
  "<a xmlns:p=''/>",
  '<![CDATA[',
  ']]>',
  '<![CDAT[x]]>',
  "<?xml version='1.0'?>",
];
const bytes = [
  0, 9, 10, 13, 32, 34, 38, 39, 45, 47, 58, 60, 61, 62, 63, 93, 120, 0x7f, 0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xed, 0xef,
  0xf0, 0xf4, 0xff,
];

/** A stream as bytes: with a header, some elements and mostly an end; damaged in half of the cases. */
export function generateStream(random: Random): Buffer {
  let text = random.chance(50)
    ? random.pick(["<?xml version='1.0'?>", '<?xml version="1.0" encoding="UTF-8"?>\n', '\ufeff', ' '])
    : '';
  text += `<stream:stream xmlns='${random.pick(uris.slice(0, 2))}' xmlns:stream='http://etherx.jabber.org/streams'`;
  if (random.chance(30)) text += " xmlns:db='jabber:server:dialback'";
  if (random.chance(20)) text += " xmlns:p='urn:p' to='a.example' xml:lang='de' p:x='1'";
  text += '>';
  for (let count = random.below(4); count >= 0; count--) {
    if (random.chance(20)) text += random.pick([' ', '\n', '\r\n\t']);
    text += element(random, 0);
  }
  if (random.chance(80)) text += '</stream:stream>';
  let data: Buffer = Buffer.from(text);
  if (random.chance(50)) for (let times = 1 + random.below(3); times > 0; times--) data = damage(data, random);
  return data;
}

function element(random: Random, depth: number): string {
  const name = qualified(random, 15);
  let xml = `<${name}`;
  const used = new Set<string>();
  for (let count = random.pick([0, 0, 0, 1, 2, 3]); count > 0; count--) {
    const attribute = attributeName(random);
    if (used.has(attribute) && random.chance(95)) continue;
    used.add(attribute);
    const quote = random.pick(["'", '"']);
    xml += `${space(random, ' ')}${attribute}${space(random, '')}=${space(random, '')}${quote}${value(random, attribute, quote)}${quote}`;
  }
  if (name.includes(':') && random.chance(90) && !used.has(`xmlns:${name.split(':')[0]}`)) {
    xml += ` xmlns:${name.split(':')[0]}='urn:${random.pick(['a', 'b', 'c'])}'`;
  }
  xml += space(random, '');
  if (random.chance(30)) return `${xml}/>`;
  xml += '>';
  for (let count = random.below(depth > 5 ? 1 : 4); count > 0; count--) xml += content(random, depth);
  return `${xml}</${name}${space(random, '')}>`;
}

function content(random: Random, depth: number): string {
  if (random.chance(45)) return element(random, depth + 1);
  if (random.chance(15)) return `<![CDATA[${random.pick(['', 'x', '<a>&amp;', ']', ']]', '\r\n', 'é'])}]]>`;
  return random.pick(texts);
}

function qualified(random: Random, percent: number): string {
  return random.chance(percent) ? `${random.pick(prefixes)}:${random.pick(names)}` : random.pick(names);
}

function attributeName(random: Random): string {
  if (random.chance(30)) return random.pick(['to', 'from', 'id', 'type', 'xml:lang']);
  if (random.chance(20)) return 'xmlns';
  if (random.chance(20)) return `xmlns:${random.pick(prefixes)}`;
  return random.chance(20) ? `xml:${random.pick(names)}` : qualified(random, 10);
}

function value(random: Random, name: string, quote: string): string {
  if (name.startsWith('xmlns')) return random.chance(90) ? random.pick(uris.slice(0, 7)) : random.pick(uris);
  if (name === 'to' || name === 'from')
    return random.pick(['a@b.example/c', 'A@b.example', 'b.example', '', '@', 'é@b/d &amp; e']);
  let text = '';
  for (let count = random.below(4); count > 0; count--) text += random.pick(texts);
  return random.chance(10) ? text + (quote === '"' ? "'" : '"') : text;
}

function space(random: Random, least: string): string {
  return random.chance(90) ? least : random.pick([' ', '\n', '\t ', '\r\n']);
}

function damage(data: Buffer, random: Random): Buffer {
  const at = random.below(data.length + 1);
  const to = Math.min(data.length, at + 1 + random.below(random.pick([1, 4, 30])));
  const from = data.subarray(0, at);
  switch (random.below(6)) {
    case 0:
      return Buffer.concat([from, data.subarray(to)]);
    case 1:
      return Buffer.concat([from, Buffer.from([random.pick(bytes)]), data.subarray(at)]);
    case 2:
      return Buffer.concat([from, Buffer.from([random.pick(bytes)]), data.subarray(Math.min(data.length, at + 1))]);
    case 3:
      return Buffer.concat([from, Buffer.from(random.pick(wrongs)), data.subarray(at)]);
    case 4:
      return Buffer.concat([from, data.subarray(at, to), data.subarray(at)]);
    default:
      return random.chance(20) ? from : Buffer.concat([from, Buffer.from(random.pick(texts)), data.subarray(at)]);
  }
}
