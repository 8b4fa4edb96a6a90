// New people in the directory, and the passwords of those who were made here (RFC 3062, RFC 4511 §4.7).
import { Attribute, BerWriter, Change, ResultCodeError } from 'ldapts';
import type { WritableDirectory } from '../../hub/directory.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { LdapConfig, RegistrationConfig } from './config.ts';
import type { Connection } from './connection.ts';
import type { DomainPlace } from './domain.ts';
import { fromLocal } from './localpart.ts';
import { child, isWithin } from './name.ts';
import type { Known, People } from './people.ts';
import type { Pool } from './pool.ts';

export interface RegistrationParts {
  config: LdapConfig;
  registration: RegistrationConfig;
  domain: string;
  pool: Pool;
  place: DomainPlace;
  people: People;
  /** A person as the directory has it now. */
  find(user: string): Promise<Known | null>;
  /** What is remembered of a person is not true any more. */
  changed(user: string): void;
}

const passwordModify = '1.3.6.1.4.1.4203.1.11.1';
const mostListed = 1_000;
const conflict = 68;
const unsupported = 2;
const absent = 32;

export class Registration implements WritableDirectory {
  readonly #parts: RegistrationParts;

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
  }

  async add(user: string, password: string): Promise<void> {
    const { config, registration, domain, pool, find, changed } = this.#parts;
    if (password === '') throw new StanzaError('not-acceptable', 'a password is needed');
    if (await find(user)) throw new StanzaError('conflict', `${user}@${domain} exists already`);
    const name = fromLocal(user);
    const { attributes } = config;
    const values = new Map<string, readonly string[]>([
      ...registration.values.map(([key, template]) => [key, [template.replaceAll('{0}', () => name)]] as const),
      [attributes.user, [name]],
      ['objectClass', registration.classes],
    ]);
    if (attributes.address !== '') values.set(attributes.address, [`${name}@${domain}`]);
    const dn = child(attributes.user, name, await this.#base());
    const entry = [...values].map(([type, texts]) => new Attribute({ type, values: [...texts] }));
    await pool
      .asReader(async (connection, deadline) => {
        await connection.add(dn, entry, deadline);
        await this.#setPassword(connection, dn, password, deadline).catch(async error => {
          await connection.remove(dn, deadline).catch(() => {});
          throw error;
        });
      })
      .catch(refused);
    changed(user);
  }

  async setPassword(user: string, password: string): Promise<boolean> {
    const dn = await this.#own(user);
    if (dn === null) return false;
    if (password === '') throw new StanzaError('not-acceptable', 'a password is needed');
    await this.#parts.pool
      .asReader((connection, deadline) => this.#setPassword(connection, dn, password, deadline))
      .catch(refused);
    return true;
  }

  async remove(user: string): Promise<boolean> {
    const dn = await this.#own(user);
    if (dn === null) return false;
    await this.#parts.pool
      .asReader((connection, deadline) => connection.remove(dn, deadline))
      // Work may be begun again after its answer was lost.
      .catch(error => (error instanceof ResultCodeError && error.code === absent) || refused(error));
    this.#parts.changed(user);
    return true;
  }

  async *list(): AsyncGenerator<string> {
    const { pool, people } = this.#parts;
    const base = await this.#base();
    const search = { base, filter: people.everybody, attributes: people.attributes, limit: mostListed };
    for (const entry of await pool.search(search)) {
      const known = people.read(entry);
      if (known) yield known.person.user;
    }
  }

  async #base(): Promise<string> {
    const { place, registration, domain } = this.#parts;
    const found = await place.find();
    if (!found) throw new StanzaError('service-unavailable', `the directory has no entry for ${domain}`);
    return registration.base.replaceAll('{base}', () => found.base);
  }

  /** The entry of somebody who was made here: nobody else's is touched. Null: there is no such user. */
  async #own(user: string): Promise<string | null> {
    const known = await this.#parts.find(user);
    if (!known) return null;
    if (isWithin(known.dn, await this.#base())) return known.dn;
    throw new StanzaError('not-allowed', 'this account is kept in the directory and changed there');
  }

  /** The server hashes the password as it does all others, where it can; else it gets it as a value. */
  async #setPassword(connection: Connection, dn: string, password: string, deadline: number): Promise<void> {
    const writer = new BerWriter();
    writer.startSequence();
    writer.writeString(dn, 0x80);
    writer.writeString(password, 0x82);
    writer.endSequence();
    try {
      await connection.extended(passwordModify, writer.buffer, deadline);
    } catch (error) {
      if (!(error instanceof ResultCodeError && error.code === unsupported)) throw error;
      const modification = new Attribute({ type: 'userPassword', values: [password] });
      await connection.modify(dn, [new Change({ operation: 'replace', modification })], deadline);
    }
  }
}

/** What the directory refused, in the words of XMPP. */
function refused(error: unknown): never {
  if (!(error instanceof ResultCodeError)) throw error;
  if (error.code === conflict) throw new StanzaError('conflict', 'there is such an entry already');
  if (error.code === 19) throw new StanzaError('not-acceptable', 'the directory does not accept that password');
  throw new StanzaError('not-allowed', `the directory refuses that (${error.code})`);
}
