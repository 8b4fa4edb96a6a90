// What an SMS bridge can be told: its section of the configuration, read and checked.
import { isIP } from 'node:net';
import type { Endpoint } from '../../hub/config.ts';
import type { Section } from '../../hub/settings.ts';
import { Jid } from '../../xmpp/jid.ts';
import { isOriginator } from './addresses.ts';
import type { DefaultAlphabet } from './alphabet.ts';
import type { Concatenation } from './segments.ts';

/** How to reach an SMS centre. Times are milliseconds. */
export interface SmscConfig {
  readonly name: string;
  readonly address: Endpoint;
  readonly systemId: string;
  readonly password: string;
  readonly systemType: string;
  /** One connection for both directions, one for each, or none for what comes back. */
  readonly bind: 'transceiver' | 'separate' | 'transmitter';
  readonly tls: boolean;
  /** Requests that may wait for their answers at once. */
  readonly window: number;
  /** Messages a second; 0: as fast as it takes them. */
  readonly rate: number;
  readonly responseTimeout: number;
  readonly enquireLink: number;
  /** Numbers that it is there for; empty: all. */
  readonly prefixes: readonly string[];
  /** What data coding 0 means to it. */
  readonly alphabet: DefaultAlphabet;
}

export type NumberSource = 'vcard' | 'directory' | 'account';

export interface QuietHours {
  /** Minutes after midnight; `until` may be smaller than `from`. */
  readonly from: number;
  readonly until: number;
  readonly timeZone: string;
}

export interface SmsConfig {
  readonly domain: string;
  /** In the order of fail-over. */
  readonly smscs: readonly SmscConfig[];
  readonly sender: string;
  readonly prefix: string;
  readonly country: string;
  readonly concatenation: Concatenation;
  readonly forwardOffline: boolean;
  readonly numberFrom: readonly NumberSource[];
  readonly receipts: 'delivery' | 'submission';
  /** Who may send: domains, bare JIDs, or `*`; null: the users of the domains hosted here. */
  readonly users: readonly string[] | null;
  readonly defaultRecipient: Jid | null;
  /** Prefixes that may be written to; empty: all. */
  readonly allow: readonly string[];
  readonly validity: number;
  readonly attempts: number;
  readonly retry: number;
  readonly reassembly: number;
  readonly quietHours: QuietHours | null;
  readonly stop: { readonly words: readonly string[]; readonly start: readonly string[]; readonly reply: string };
  /** The SMSCs, by name, on which users may use an account of their own. */
  readonly ownAccounts: readonly string[];
  /** -1: no limit. */
  readonly limits: {
    readonly perHour: number;
    readonly totalPerHour: number;
    readonly queue: number;
    readonly characters: number;
    readonly pairs: number;
  };
}

/** Reads the section of a bridge. Throws ConfigError. */
export function readSmsConfig(section: Section): SmsConfig {
  section.string('kind', 'sms');
  const smscs = readSmscs(section);
  const config: SmsConfig = {
    domain: section.domain('domain'),
    smscs,
    sender: readSender(section),
    prefix: section.string('prefix', '{name}: '),
    country: readCountry(section),
    concatenation: section.oneOf('concatenation', ['udh', 'udh-8', 'sar', 'payload'], 'udh'),
    forwardOffline: section.boolean('forward-offline', true),
    numberFrom: section.listOf('number-from', ['vcard', 'directory', 'account'], ['vcard', 'directory', 'account']),
    receipts: section.oneOf('receipts', ['delivery', 'submission'], 'delivery'),
    users: section.has('users') ? readUsers(section) : null,
    defaultRecipient: readRecipient(section),
    allow: readPrefixes(section, 'allow'),
    validity: section.duration('validity', 2 * 86_400_000),
    attempts: section.integer('attempts', 5, { min: 1, max: 100 }),
    retry: section.duration('retry', 10_000),
    reassembly: section.duration('reassembly', 5 * 60_000),
    quietHours: readQuietHours(section),
    stop: readStop(section.section('stop')),
    ownAccounts: section.strings('own-accounts', []),
    limits: readLimits(section.section('limits')),
  };
  for (const name of config.ownAccounts) {
    if (!smscs.some(smsc => smsc.name === name)) section.fail('own-accounts', `there is no SMSC ${name}`);
  }
  if (config.validity < 60_000 || config.validity > 63 * 86_400_000) {
    section.fail('validity', 'a time from 1m to 63d is expected');
  }
  section.done();
  return config;
}

/** `smsc` is the SMSC `main`; `smscs` names further ones, to fail over to or for prefixes of their own. */
function readSmscs(section: Section): SmscConfig[] {
  const smscs = section.has('smsc') ? [readSmsc('main', section.section('smsc'))] : [];
  for (const [name, one] of section.entries('smscs')) {
    if (smscs.some(smsc => smsc.name === name)) section.fail('smscs', `${name} is there already`);
    smscs.push(readSmsc(name, one));
  }
  if (smscs.length === 0) section.fail('smsc', 'is missing; where the SMS centre is');
  return smscs;
}

function readSmsc(name: string, section: Section): SmscConfig {
  const text = (key: string, most: number, fallback?: string): string => {
    const value = key === 'password' ? section.secret(key, fallback) : section.string(key, fallback);
    // SMPP 3.4 §5.2.1–§5.2.3 has 15, 8 and 12; COMPAT(SMSCs): several give out longer ones.
    if (!/^[ -~]*$/.test(value) || value.length > most)
      section.fail(key, `at most ${most} ASCII characters are expected`);
    return value;
  };
  const smsc: SmscConfig = {
    name,
    address: section.endpoint('address'),
    systemId: text('system-id', 32),
    password: text('password', 32, ''),
    systemType: text('system-type', 32, ''),
    bind: section.oneOf('bind', ['transceiver', 'separate', 'transmitter'], 'transceiver'),
    tls: section.boolean('tls', false),
    window: section.integer('window', 10, { min: 1, max: 10_000 }),
    rate: section.integer('rate', 0, { min: 0, max: 100_000 }),
    responseTimeout: section.duration('response-timeout', 10_000),
    enquireLink: section.duration('enquire-link', 30_000),
    prefixes: readPrefixes(section, 'prefixes'),
    alphabet: section.oneOf('alphabet', ['gsm', 'latin1'], 'gsm'),
  };
  if (smsc.address.port === 0) section.fail('address', 'a port is expected');
  if (smsc.responseTimeout < 50) section.fail('response-timeout', 'at least 50ms are expected');
  if (smsc.enquireLink < 50) section.fail('enquire-link', 'at least 50ms are expected');
  section.done();
  return smsc;
}

function readSender(section: Section): string {
  const sender = section.string('sender');
  if (!isOriginator(sender)) {
    section.fail('sender', 'a number of 3 to 15 digits or a name of at most 11 letters and digits is expected');
  }
  return sender;
}

function readCountry(section: Section): string {
  const country = section.string('country', '').replace(/^\+/, '');
  if (!/^(?:[1-9]\d{0,3})?$/.test(country)) section.fail('country', 'a country code such as 49 is expected');
  return country;
}

function readPrefixes(section: Section, key: string): string[] {
  return section.strings(key, []).map(prefix => {
    if (!/^\+[1-9]\d{0,14}$/.test(prefix)) section.fail(key, `${prefix} is not a prefix such as "+49"`);
    return prefix;
  });
}

function readUsers(section: Section): string[] {
  return section.strings('users').map(user => {
    if (user === '*') return user;
    const jid = Jid.tryParse(user);
    if (!jid?.isBare) section.fail('users', `${user} is neither a domain nor user@domain nor *`);
    return jid.toString();
  });
}

function readRecipient(section: Section): Jid | null {
  const text = section.string('default-recipient', '');
  if (text === '') return null;
  return Jid.tryParse(text) ?? section.fail('default-recipient', `${text} is not an address`);
}

/** `{ from: "22:00", until: "07:00", time-zone: Europe/Berlin }`. */
function readQuietHours(section: Section): QuietHours | null {
  if (!section.has('quiet-hours')) return null;
  const hours = section.section('quiet-hours');
  const minutes = (key: string): number => {
    const match = /^([01]?\d|2[0-3]):([0-5]\d)$/.exec(hours.string(key));
    return match ? Number(match[1]) * 60 + Number(match[2]) : hours.fail(key, 'a time such as "22:00" is expected');
  };
  const quiet = { from: minutes('from'), until: minutes('until'), timeZone: hours.string('time-zone', 'UTC') };
  try {
    new Intl.DateTimeFormat('en', { timeZone: quiet.timeZone });
  } catch {
    hours.fail('time-zone', `${quiet.timeZone} is not a time zone such as Europe/Berlin`);
  }
  hours.done();
  return quiet;
}

function readStop(section: Section): SmsConfig['stop'] {
  const words = (key: string, fallback: string[]): string[] =>
    section.strings(key, fallback).map(word => word.trim().toUpperCase());
  const stop = {
    words: words('words', ['STOP', 'UNSUBSCRIBE', 'CANCEL', 'END', 'QUIT']),
    start: words('start', ['START', 'UNSTOP']),
    reply: section.string('reply', 'You will get no more messages from here. Write START to get them again.'),
  };
  section.done();
  return stop;
}

function readLimits(section: Section): SmsConfig['limits'] {
  const limits = {
    perHour: section.integer('per-hour', -1, { min: -1 }),
    totalPerHour: section.integer('total-per-hour', -1, { min: -1 }),
    queue: section.integer('queue', 512, { min: -1 }),
    characters: section.integer('characters', 500, { min: -1 }),
    pairs: section.integer('pairs', 100_000, { min: 1, max: 10_000_000 }),
  };
  section.done();
  return limits;
}

/** The name that a certificate of the SMSC has to have; undefined for an address. */
export function serverName({ address }: SmscConfig): string | undefined {
  return isIP(address.host) ? undefined : address.host;
}
