// Writes docs/specifications.md and docs/isthmus.doap from what the modules declare: `node scripts/specifications.ts`.
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { modules } from '../src/modules/index.ts';
import { escapeAttribute, escapeText } from '../src/xmpp/element.ts';
import { extensions } from './extensions.ts';

/** What is implemented outside of modules, by room of the house. */
const rooms: Readonly<Record<string, readonly string[]>> = {
  xmpp: ['RFC 6120', 'RFC 7622', 'RFC 8265', 'RFC 5802', 'RFC 7677', 'XEP-0004', 'XEP-0082', 'XEP-0198'],
  c2s: [
    'RFC 6120',
    'RFC 6121',
    'RFC 5929',
    'RFC 9266',
    'XEP-0198',
    'XEP-0368',
    'XEP-0386',
    'XEP-0388',
    'XEP-0440',
    'XEP-0478',
    'XEP-0484',
  ],
  federation: [
    'RFC 6120',
    'RFC 7590',
    'RFC 7671',
    'RFC 7711',
    'RFC 7712',
    'RFC 8305',
    'XEP-0178',
    'XEP-0185',
    'XEP-0198',
    'XEP-0220',
    'XEP-0288',
    'XEP-0344',
    'XEP-0368',
  ],
  components: ['XEP-0114'],
  cli: ['XEP-0227'],
  hub: ['XEP-0050'],
  'bridges/sip': [
    'RFC 3261',
    'RFC 3263',
    'RFC 3428',
    'RFC 3856',
    'RFC 3862',
    'RFC 3863',
    'RFC 3903',
    'RFC 3994',
    'RFC 4480',
    'RFC 5438',
    'RFC 5627',
    'RFC 6665',
    'RFC 7247',
    'RFC 7572',
    'RFC 8048',
    'XEP-0071',
    'XEP-0085',
    'XEP-0106',
    'XEP-0172',
    'XEP-0184',
    'XEP-0256',
    'XEP-0319',
    'XEP-0333',
  ],
};

const titles: Readonly<Record<string, string>> = {
  'RFC 3261': 'SIP: Session Initiation Protocol',
  'RFC 3263': 'SIP: Locating SIP Servers',
  'RFC 3428': 'SIP Extension for Instant Messaging (MESSAGE)',
  'RFC 3856': 'A Presence Event Package for SIP',
  'RFC 3862': 'Common Presence and Instant Messaging (CPIM): Message Format',
  'RFC 3863': 'Presence Information Data Format (PIDF)',
  'RFC 3903': 'SIP Extension for Event State Publication (PUBLISH)',
  'RFC 3994': 'Indication of Message Composition for Instant Messaging',
  'RFC 4480': 'RPID: Rich Presence Extensions to PIDF',
  'RFC 5438': 'Instant Message Disposition Notification (IMDN)',
  'RFC 5627': 'Globally Routable User Agent URIs (GRUUs) in SIP',
  'RFC 6665': 'SIP-Specific Event Notification',
  'RFC 7247': 'Interworking between SIP and XMPP: Architecture, Addresses, and Error Handling',
  'RFC 7572': 'Interworking between SIP and XMPP: Instant Messaging',
  'RFC 8048': 'Interworking between SIP and XMPP: Presence',
  'RFC 5802': 'Salted Challenge Response Authentication Mechanism (SCRAM)',
  'RFC 5929': 'Channel Bindings for TLS',
  'RFC 6120': 'XMPP: Core',
  'RFC 6121': 'XMPP: Instant Messaging and Presence',
  'RFC 7590': 'Use of TLS in XMPP',
  'RFC 7622': 'XMPP: Address Format',
  'RFC 7671': 'DANE: TLSA Records',
  'RFC 7677': 'SCRAM-SHA-256',
  'RFC 7711': 'PKIX over Secure HTTP (POSH)',
  'RFC 7712': 'Domain Name Associations (DNA) in XMPP',
  'RFC 8265': 'PRECIS: Usernames and Passwords',
  'RFC 8305': 'Happy Eyeballs Version 2',
  'RFC 9266': 'Channel Bindings for TLS 1.3',
};

interface Specification {
  /** `XEP-0199` or `RFC 6120`. */
  name: string;
  title: string;
  /** The version that was read; '' for an RFC. */
  version: string;
  link: string;
  /** Sections, where not all of it is meant. */
  sections: Set<string>;
  by: Set<string>;
  /** Whether a module that is off by default is all there is. */
  optional: boolean;
}

/** Everything that is declared, sorted. Throws where a declaration cannot be read or has no title. */
export function specifications(): Specification[] {
  const found = new Map<string, Specification>();
  const declare = (text: string, by: string, optional: boolean) => {
    const match = /^(XEP-(\d{4})|RFC (\d{1,5}))(?: (§.+))?$/.exec(text);
    if (!match) throw new Error(`${by} implements ${text}: XEP-NNNN or RFC NNNN is expected, with §section at will`);
    const [, name, xep, rfc, section] = match;
    let known = found.get(name);
    if (!known) {
      const [title, version] = xep ? (extensions[xep] ?? ['', '']) : [titles[name] ?? '', ''];
      if (!title) throw new Error(`${by} implements ${name}, whose title scripts/extensions.ts does not know`);
      const link = xep
        ? `https://xmpp.org/extensions/xep-${xep}.html`
        : `https://www.rfc-editor.org/rfc/rfc${rfc}.html`;
      known = { name, title, version, link, sections: new Set(), by: new Set(), optional: true };
      found.set(name, known);
    }
    if (section) known.sections.add(section);
    known.by.add(by);
    known.optional &&= optional;
  };
  for (const [room, declared] of Object.entries(rooms)) for (const text of declared) declare(text, room, false);
  for (const { name, implements: declared, defaultOn } of modules) {
    for (const text of declared) declare(text, name, defaultOn === false);
  }
  const key = ({ name }: Specification) => name.replace(/\d+/, digits => digits.padStart(6, '0'));
  return [...found.values()].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** docs/specifications.md */
export function asMarkdown(all: readonly Specification[]): string {
  const rows = all.map(({ name, title, version, link, sections, by, optional }) => {
    const where = [...by]
      .sort()
      .map(one => `\`${one}\``)
      .join(', ');
    const parts = [...sections].sort().join(', ');
    return `| [${name}](${link}) | ${title} | ${version} | ${parts} | ${where}${optional ? ' (off by default)' : ''} |`;
  });
  const listed = modules.map(({ name, defaultOn }) => `- \`${name}\`${defaultOn === false ? ', off by default' : ''}`);
  return `# Specifications

What the hub implements, and where. This page is made by \`node scripts/specifications.ts\` from what modules declare;
sections stand where a module is about a part.

| Specification | Title | Version read | Sections | Implemented by |
| --- | --- | --- | --- | --- |
${rows.join('\n')}

## Modules

Each is on or off per domain: \`modules\` in the [configuration](configuration.md). \`isthmus modules\` tells what is on.

${listed.sort().join('\n')}
`;
}

/** docs/isthmus.doap, in the vocabulary of XEP-0453. */
export function asDoap(all: readonly Specification[]): string {
  const text = (value: string) => escapeText(value);
  const { description, license } = JSON.parse(readFileSync(path('package.json'), 'utf8')) as Record<string, string>;
  const implemented = all.map(({ name, link, version, sections }) =>
    version === ''
      ? `    <implements rdf:resource='${escapeAttribute(`https://xmpp.org/rfcs/rfc${name.slice(4)}.html`)}'/>`
      : `    <implements>
      <xmpp:SupportedXep>
        <xmpp:xep rdf:resource='${escapeAttribute(link)}'/>
        <xmpp:status>${sections.size > 0 ? 'partial' : 'complete'}</xmpp:status>
        <xmpp:version>${text(version)}</xmpp:version>
      </xmpp:SupportedXep>
    </implements>`,
  );
  return `<?xml version='1.0' encoding='UTF-8'?>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'
         xmlns='http://usefulinc.com/ns/doap#'
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project>
    <name>Isthmus</name>
    <shortdesc xml:lang='en'>${text(description)}</shortdesc>
    <programming-language>TypeScript</programming-language>
    <license rdf:resource='https://spdx.org/licenses/${escapeAttribute(license)}.html'/>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
${implemented.join('\n')}
  </Project>
</rdf:RDF>
`;
}

/** The files that are made, with their text. */
export function made(): Record<string, string> {
  const all = specifications();
  return { 'docs/specifications.md': asMarkdown(all), 'docs/isthmus.doap': asDoap(all) };
}

function path(file: string): string {
  return resolve(import.meta.dirname, '..', file);
}

if (import.meta.main) for (const [file, text] of Object.entries(made())) writeFileSync(path(file), text);
