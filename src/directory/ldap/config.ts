// What a section of `directories` with `kind: ldap` says.
import type { Section } from '../../hub/settings.ts';
import { all, faultOf, fill } from './filter.ts';
import { parseName } from './name.ts';

export interface LdapServer {
  /** As configured, for the log. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** TLS from the first byte (ldaps). */
  readonly direct: boolean;
}

/** The attributes of a person; '' where there is none. */
export interface AttributeNames {
  user: string;
  name: string;
  mail: string;
  mobile: string;
  photo: string;
  /** Holds the whole address (`alice@hub.test`, `sip:alice@hub.test`); '': the address is user@domain. */
  address: string;
  /** Holds SCRAM keys or the password in the clear. */
  password: string;
}

export type Searchable = 'user' | 'name' | 'mail' | 'mobile';

export interface GroupsConfig {
  /** The label before the hosted domain under which groups have addresses. */
  host: string;
  base: string;
  filter: string;
  name: string;
  title: string;
  nesting: number;
  members: number;
  /** The names of the groups that stand in their members' rosters; `*`: all. */
  roster: string[];
  senders: 'members' | 'domain' | 'anyone';
}

export interface RegistrationConfig {
  /** Where new entries go; `{base}` stands for the domain's own base. */
  base: string;
  classes: string[];
  /** Further attributes of a new entry; `{0}` stands for the user's name. */
  values: [string, string][];
}

export type Layout = 'flat' | 'dc-tree' | 'organisations';

/** Times are milliseconds. */
export interface LdapConfig {
  readonly name: string;
  readonly servers: readonly LdapServer[];
  readonly startTls: boolean;
  readonly base: string;
  readonly bind: { readonly dn: string; readonly password: string } | null;
  readonly loginFilter: string;
  readonly nameFilter: string;
  readonly attributes: AttributeNames;
  readonly wildcards: readonly Searchable[];
  readonly passwords: 'bind' | 'stored';
  readonly searchLimit: number;
  readonly cache: number;
  readonly connections: number;
  readonly layout: Layout;
  readonly domainRoot: string;
  readonly domainFilter: string;
  readonly bases: ReadonlyMap<string, string>;
  readonly groups: GroupsConfig | null;
  readonly registration: RegistrationConfig | null;
}

const attributeForm = /^(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)$/;

/** Reads the section of the directory `name`. Throws ConfigError. */
export function readLdap(name: string, section: Section): LdapConfig {
  section.string('kind');
  const bind = section.has('bind') ? readBind(section.section('bind')) : null;
  const config: LdapConfig = {
    name,
    servers: readServers(section),
    startTls: section.boolean('starttls', false),
    base: readName(section, 'base'),
    bind,
    loginFilter: readTemplate(section, 'login-filter', '(&(objectClass=inetOrgPerson)(uid={0}))'),
    nameFilter: readTemplate(section, 'name-filter', '(&(objectClass=inetOrgPerson)(cn={0}))'),
    attributes: readAttributes(section.section('attributes')),
    wildcards: section.listOf('wildcards', ['user', 'name', 'mail', 'mobile'] as const, ['name']),
    passwords: section.oneOf('passwords', ['bind', 'stored'] as const, 'bind'),
    searchLimit: section.integer('search-limit', 40, { min: 1, max: 1000 }),
    cache: section.duration('cache', 12 * 60_000),
    connections: section.integer('connections', 10, { min: 1, max: 1000 }),
    layout: section.oneOf('layout', ['flat', 'dc-tree', 'organisations'] as const, 'flat'),
    domainRoot: readName(section, 'domain-root', ''),
    domainFilter: readTemplate(
      section,
      'domain-filter',
      '(|(sunPreferredDomain={0})(&(objectClass=organization)(o={0}))(associatedDomain={0}))',
    ),
    bases: readBases(section.section('bases')),
    groups: section.has('groups') ? readGroups(section.section('groups')) : null,
    registration: section.has('registration') ? readRegistration(section.section('registration')) : null,
  };
  section.done();
  if (config.startTls && config.servers.some(({ direct }) => direct)) {
    section.fail('starttls', 'goes with ldap://, not with ldaps://');
  }
  return config;
}

function readServers(section: Section): LdapServer[] {
  const urls = section.strings('url');
  if (urls.length === 0) section.fail('url', 'is empty; ldap://host:port or ldaps://host:port is expected');
  return urls.map(text => {
    const match = /^(ldaps?):\/\/(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/[\]]+))(?::(\d{1,5}))?\/?$/.exec(text);
    const port = Number(match?.[4] ?? (match?.[1] === 'ldaps' ? 636 : 389));
    if (!match || port < 1 || port > 65535) section.fail('url', `${text} is not ldap://host:port or ldaps://host:port`);
    return { url: text, host: match[2] ?? match[3], port, direct: match[1] === 'ldaps' };
  });
}

function readBind(section: Section): { dn: string; password: string } {
  const bind = { dn: readName(section, 'dn'), password: section.secret('password') };
  // A name without a password is an anonymous bind that looks like a real one (RFC 4513 §5.1.2).
  if (bind.password === '') section.fail('password', 'is empty; leave out `bind` to search anonymously');
  section.done();
  return bind;
}

function readName(section: Section, key: string, fallback?: string): string {
  const text = section.string(key, fallback);
  if (parseName(text) === null) section.fail(key, `${text} is not a distinguished name`);
  return text;
}

function readTemplate(section: Section, key: string, fallback: string): string {
  const template = section.string(key, fallback).trim();
  if (!template.includes('{0}')) section.fail(key, 'has no {0}, where the name that is looked for goes');
  // Templates are joined with other conditions, so each must be a whole filter by itself.
  const fault = faultOf(fill(template, 'x')) ?? faultOf(all(fill(template, 'x'), '(cn=*)'));
  if (fault) section.fail(key, fault);
  return template;
}

function readAttribute(section: Section, key: string, fallback: string): string {
  const name = section.string(key, fallback);
  if (name !== '' && !attributeForm.test(name)) section.fail(key, `${name} is not the name of an attribute`);
  return name;
}

function readAttributes(section: Section): AttributeNames {
  const attributes = {
    user: readAttribute(section, 'user', 'uid'),
    name: readAttribute(section, 'name', 'cn'),
    mail: readAttribute(section, 'mail', 'mail'),
    mobile: readAttribute(section, 'mobile', 'mobile'),
    photo: readAttribute(section, 'photo', 'jpegPhoto'),
    address: readAttribute(section, 'address', ''),
    password: readAttribute(section, 'password', 'userPassword'),
  };
  if (attributes.user === '') section.fail('user', 'is empty; the attribute that names a user is expected');
  section.done();
  return attributes;
}

function readBases(section: Section): Map<string, string> {
  const bases = new Map(section.keys.map(domain => [domain.toLowerCase(), readName(section, domain)]));
  section.done();
  return bases;
}

function readGroups(section: Section): GroupsConfig {
  const groups: GroupsConfig = {
    host: section.string('host', 'groups'),
    base: readName(section, 'base', ''),
    filter: section.string(
      'filter',
      '(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=groupOfURLs))',
    ),
    name: readAttribute(section, 'name', 'cn'),
    title: readAttribute(section, 'title', 'description'),
    nesting: section.integer('nesting', 5, { min: 0, max: 20 }),
    members: section.integer('members', 1000, { min: 1, max: 20_000 }),
    roster: section.strings('roster', []),
    senders: section.oneOf('senders', ['members', 'domain', 'anyone'] as const, 'domain'),
  };
  if (!/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(groups.host)) {
    section.fail('host', `${groups.host} is not a label of a domain; groups have addresses under HOST.DOMAIN`);
  }
  if (groups.name === '') section.fail('name', 'is empty; the attribute that names a group is expected');
  const fault = faultOf(groups.filter);
  if (fault) section.fail('filter', fault);
  section.done();
  return groups;
}

function readRegistration(section: Section): RegistrationConfig {
  const values = section.section('values');
  const registration: RegistrationConfig = {
    base: section.string('base'),
    classes: section.strings('classes', ['inetOrgPerson']),
    values: section.has('values')
      ? values.keys.map(key =>
          attributeForm.test(key) ? [key, values.string(key)] : values.fail(key, 'is not the name of an attribute'),
        )
      : [
          ['cn', '{0}'],
          ['sn', '{0}'],
        ],
  };
  if (parseName(registration.base.replaceAll('{base}', 'dc=x')) === null) {
    section.fail('base', `${registration.base} is not a distinguished name`);
  }
  values.done();
  section.done();
  return registration;
}
