// People as entries: the filters that find them, and what an entry says of a person.
import type { Person, PersonQuery } from '../../hub/directory.ts';
import { Jid } from '../../xmpp/jid.ts';
import type { LdapConfig, Searchable } from './config.ts';
import type { Entry } from './connection.ts';
import { all, any, equal, fill, fillPattern, like } from './filter.ts';
import { fromLocal, toLocal } from './localpart.ts';

/** A person and where its entry is. */
export interface Known {
  readonly person: Person;
  readonly dn: string;
}

/** Schemes that stand before addresses in attributes such as msRTCSIP-PrimaryUserAddress. */
const schemes = ['sip', 'xmpp', 'im', 'mailto'];
const scheme = /^(?:sips?|xmpp|im|pres|mailto|smtp):/i;
/** Longer texts are searched for by nobody. */
const longest = 256;

export class People {
  readonly #config: LdapConfig;
  readonly #domain: string;

  constructor(config: LdapConfig, domain: string) {
    this.#config = config;
    this.#domain = domain;
  }

  /** What is read of an entry. */
  get attributes(): string[] {
    const { user, name, mail, mobile, address } = this.#config.attributes;
    return [user, name, mail, mobile, address].filter(Boolean);
  }

  /** Everybody who may log in. */
  get everybody(): string {
    return this.#config.loginFilter.replaceAll('{0}', '*');
  }

  /** The one person with that localpart. */
  byUser(user: string): string {
    const { attributes } = this.#config;
    const name = fromLocal(user);
    if (attributes.address === '') return all(this.everybody, equal(attributes.user, name));
    const address = `${name}@${this.#domain}`;
    const forms = [address, ...schemes.map(one => `${one}:${address}`)];
    return all(this.everybody, any(...forms.map(form => equal(attributes.address, form))));
  }

  /** Whoever may log in by that name. */
  byLogin(login: string): string {
    return fill(this.#config.loginFilter, login);
  }

  byMail(mail: string): string | null {
    const { attributes } = this.#config;
    return attributes.mail === '' || mail.length > longest ? null : all(this.everybody, equal(attributes.mail, mail));
  }

  /** People that match; null where that cannot be asked. */
  byQuery(query: string | PersonQuery): string | null {
    const conditions = typeof query === 'string' ? this.#freely(query.trim()) : this.#exactly(query);
    return conditions.length === 0 ? null : all(this.everybody, ...conditions);
  }

  /** The text anywhere in a name, an account or a mail address; as a whole where no wildcards are allowed. */
  #freely(text: string): string[] {
    if (text === '' || text.length > longest) return [];
    const plain = text.replaceAll('*', '');
    const part = (field: Searchable) => (this.#allows(field) ? `*${plain}*` : plain);
    const fields = (['user', 'mail'] as const).filter(field => this.#config.attributes[field] !== '');
    const others = fields.map(field => this.#matches(field, part(field)));
    return [any(fillPattern(this.#config.nameFilter, part('name')), ...others)];
  }

  #exactly(query: PersonQuery): string[] {
    const { attributes, nameFilter } = this.#config;
    const conditions: string[] = [];
    for (const field of ['user', 'name', 'mail', 'mobile'] as const) {
      const text = query[field]?.trim() ?? '';
      if (text === '') continue;
      if (text.length > longest || attributes[field] === '') return [];
      if (field !== 'name') conditions.push(this.#matches(field, text));
      else conditions.push(this.#allows('name') ? fillPattern(nameFilter, text) : fill(nameFilter, text));
    }
    return conditions;
  }

  #matches(field: Searchable, text: string): string {
    const attribute = this.#config.attributes[field];
    return this.#allows(field) ? like(attribute, text) : equal(attribute, text);
  }

  #allows(field: Searchable): boolean {
    return this.#config.wildcards.includes(field);
  }

  /** The person that an entry is; null where it has no address in this domain. */
  read(entry: Entry): Known | null {
    const { attributes } = this.#config;
    const user = attributes.address === '' ? toLocal(entry.text(attributes.user)) : this.#userByAddress(entry);
    if (!user) return null;
    const person: { -readonly [K in keyof Person]: Person[K] } = { user };
    for (const field of ['name', 'mail', 'mobile'] as const) {
      const text = entry.text(attributes[field]).trim();
      if (text !== '') person[field] = text;
    }
    return { person, dn: entry.dn };
  }

  #userByAddress(entry: Entry): string | null {
    for (const value of entry.texts(this.#config.attributes.address)) {
      const address = value.trim().replace(scheme, '');
      const at = address.lastIndexOf('@');
      const domain = at < 0 ? null : Jid.tryParse(address.slice(at + 1));
      if (domain?.isDomain && domain.domain === this.#domain) return toLocal(address.slice(0, at));
    }
    return null;
  }
}
