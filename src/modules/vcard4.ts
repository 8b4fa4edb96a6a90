// One profile in two forms: vcard-temp (XEP-0054) and vCard4 in XML (RFC 6351), as XEP-0292 §9 maps them.
import { type Element, el } from '../xmpp/element.ts';
import { ns } from '../xmpp/namespaces.ts';

const old = (name: string, ...children: (Element | string | null)[]) => el(name, ns.vcard, {}, ...children);
const now = (name: string, ...children: (Element | string | null)[]) => el(name, ns.vcard4, {}, ...children);

/** Fields that are one text in both: their names, and the type of the value there. */
const simple = [
  ['FN', 'fn', 'text'],
  ['NICKNAME', 'nickname', 'text'],
  ['BDAY', 'bday', 'date'],
  ['TZ', 'tz', 'text'],
  ['TITLE', 'title', 'text'],
  ['ROLE', 'role', 'text'],
  ['DESC', 'note', 'text'],
  ['NOTE', 'note', 'text'],
  ['PRODID', 'prodid', 'text'],
  ['REV', 'rev', 'timestamp'],
  ['UID', 'uid', 'uri'],
  ['URL', 'url', 'uri'],
] as const;
const simpleOf = new Map<string, readonly [string, string, string]>([
  ...simple.map(field => [field[0], field] as const),
  // The first one counts: what clients show of somebody is the description.
  ...simple.toReversed().map(field => [field[1], field] as const),
]);

/** The parts of structured fields, in the order in which they stand. */
const nameParts = [
  ['FAMILY', 'surname'],
  ['GIVEN', 'given'],
  ['MIDDLE', 'additional'],
  ['PREFIX', 'prefix'],
  ['SUFFIX', 'suffix'],
] as const;
const addressParts = [
  ['POBOX', 'pobox'],
  ['EXTADD', 'ext'],
  ['STREET', 'street'],
  ['LOCALITY', 'locality'],
  ['REGION', 'region'],
  ['PCODE', 'code'],
  ['CTRY', 'country'],
] as const;
/** What kind an address or a number is of; the others of vcard-temp went away. */
const kinds = ['home', 'work', 'voice', 'fax', 'pager', 'cell', 'video'];

/**
 * A vcard-temp as vCard4. What has no place there is left out; pictures that are not elsewhere too, unless `pictures`
 * asks for them, since they are avatars.
 */
export function toVcard4(vcard: Element, pictures = false): Element {
  return now('vcard', ...vcard.all().map(field => (field.ns === ns.vcard ? upwards(field, pictures) : null)));
}

function upwards(field: Element, pictures = false): Element | null {
  const text = (name: string) => field.childText(name).trim();
  const known = simpleOf.get(field.name);
  if (known?.[0] === field.name) return field.text.trim() ? now(known[1], now(known[2], field.text.trim())) : null;
  switch (field.name) {
    case 'N':
      return structured('n', field, nameParts, null);
    case 'ADR':
      return structured('adr', field, addressParts, parametersOf(field));
    case 'EMAIL':
      return text('USERID') ? now('email', parametersOf(field), now('text', text('USERID'))) : null;
    case 'TEL':
      return text('NUMBER') ? now('tel', parametersOf(field), numberOf(text('NUMBER'))) : null;
    case 'JABBERID':
      return field.text.trim() ? now('impp', now('uri', `xmpp:${field.text.trim()}`)) : null;
    case 'ORG': {
      const names = [field.child('ORGNAME'), ...field.all('ORGUNIT')].map(part => part?.text.trim() ?? '');
      return names.some(name => name !== '') ? now('org', ...names.map(name => now('text', name))) : null;
    }
    case 'GEO':
      return text('LAT') && text('LON') ? now('geo', now('uri', `geo:${text('LAT')},${text('LON')}`)) : null;
    case 'CATEGORIES': {
      const words = field.all('KEYWORD').filter(word => word.text.trim() !== '');
      return words.length > 0 ? now('categories', ...words.map(word => now('text', word.text.trim()))) : null;
    }
    case 'KEY':
      return text('CRED') ? now('key', now('text', text('CRED'))) : null;
    case 'PHOTO':
      if (text('EXTVAL')) return now('photo', now('uri', text('EXTVAL')));
      if (!pictures || !text('BINVAL')) return null;
      return now('photo', now('uri', `data:${text('TYPE')};base64,${text('BINVAL').replace(/\s+/g, '')}`));
    default:
      return null;
  }
}

type Parts = readonly (readonly [string, string])[];

function structured(name: string, field: Element, parts: Parts, parameters: Element | null): Element | null {
  const found = parts.flatMap(([from, to]) =>
    field.all(from).flatMap(part => (part.text.trim() ? now(to, part.text.trim()) : [])),
  );
  return found.length > 0 ? now(name, parameters, ...found) : null;
}

function parametersOf(field: Element): Element | null {
  const types = kinds.filter(kind => field.child(kind.toUpperCase()));
  const preferred = field.child('PREF') !== null;
  if (types.length === 0 && !preferred) return null;
  return now(
    'parameters',
    types.length > 0 ? now('type', ...types.map(kind => now('text', kind))) : null,
    preferred ? now('pref', now('integer', '1')) : null,
  );
}

/** A number as RFC 3966 §3 has it; what is none stays a text. */
function numberOf(text: string): Element {
  const number = text.replace(/[\s/]+/g, '-');
  return /^\+?[\d().-]*\d[\d().-]*$/.test(number) ? now('uri', `tel:${number}`) : now('text', text);
}

/** A vCard4 as vcard-temp. */
export function fromVcard4(vcard: Element): Element {
  return old('vCard', ...vcard.all().flatMap(field => (field.ns === ns.vcard4 ? downwards(field) : [])));
}

function downwards(field: Element): Element[] {
  const known = simpleOf.get(field.name);
  const value = firstOf(field);
  if (known?.[1] === field.name) return value ? [old(known[0], valuesOf(field).join(','))] : [];
  switch (field.name) {
    case 'n':
      return [old('N', ...partsOf(field, nameParts))];
    case 'adr':
      return [old('ADR', ...kindsOf(field, ['home', 'work']), ...partsOf(field, addressParts))];
    case 'email':
      return value ? [old('EMAIL', ...kindsOf(field, ['home', 'work']), old('INTERNET'), old('USERID', value))] : [];
    case 'tel':
      return value ? [old('TEL', ...kindsOf(field, kinds), old('NUMBER', value.replace(/^tel:/i, '')))] : [];
    case 'impp':
      return /^xmpp:/i.test(value) ? [old('JABBERID', value.slice(5))] : [];
    case 'org': {
      const [name, ...units] = valuesOf(field);
      return value ? [old('ORG', old('ORGNAME', name), ...units.map(unit => old('ORGUNIT', unit)))] : [];
    }
    case 'geo': {
      const [, latitude, longitude] = /^geo:(-?[\d.]+),(-?[\d.]+)/i.exec(value) ?? [];
      return latitude ? [old('GEO', old('LAT', latitude), old('LON', longitude))] : [];
    }
    case 'categories':
      return value ? [old('CATEGORIES', ...valuesOf(field).map(word => old('KEYWORD', word)))] : [];
    case 'key':
      return value ? [old('KEY', old('CRED', value))] : [];
    case 'photo':
      return value ? [pictureOf(value)] : [];
    default:
      return [];
  }
}

/** The texts of a field, whatever their type; an organisation has one for each of its parts. */
function valuesOf(field: Element): string[] {
  return field
    .all()
    .filter(child => child.ns === ns.vcard4 && child.name !== 'parameters')
    .map(child => child.text.trim());
}

function firstOf(field: Element): string {
  return valuesOf(field).find(text => text !== '') ?? '';
}

function partsOf(field: Element, parts: Parts): Element[] {
  return parts.flatMap(([to, from]) => {
    const text = field.all(from).map(part => part.text.trim());
    return text.some(part => part !== '') ? old(to, text.join(' ')) : [];
  });
}

function kindsOf(field: Element, known: readonly string[]): Element[] {
  const parameters = field.child('parameters');
  const types = parameters?.all('type').flatMap(type => type.all('text').map(text => text.text.trim().toLowerCase()));
  const found = known.filter(kind => types?.includes(kind)).map(kind => old(kind.toUpperCase()));
  return parameters?.child('pref') ? [...found, old('PREF')] : found;
}

function pictureOf(uri: string): Element {
  const [, type, data] = /^data:([\w.+/-]*);base64,([A-Za-z0-9+/=\s]*)$/i.exec(uri) ?? [];
  return data === undefined ? old('PHOTO', old('EXTVAL', uri)) : old('PHOTO', old('TYPE', type), old('BINVAL', data));
}

/** The fields of a vcard-temp that a vCard4 does not have, so that a new one of those says nothing of them. */
export function besideVcard4(vcard: Element): Element[] {
  return vcard.all().filter(field => upwards(field) === null && !replaced.has(field.name));
}

/** Empty or not, these are of the other form. */
const replaced = new Set([
  ...simpleOf.keys(),
  'N',
  'ADR',
  'EMAIL',
  'TEL',
  'JABBERID',
  'ORG',
  'GEO',
  'CATEGORIES',
  'KEY',
]);
