// What the configuration says of a calendar bridge.
import { readFileSync } from 'node:fs';
import { ConfigError, type Section } from '../../hub/settings.ts';
import type { BridgeKind } from '../bridge.ts';
import { CalendarBridge } from './bridge.ts';
import type { BrokerConfig } from './broker.ts';
import { ianaZone, systemZone } from './zones.ts';

/** A path on the hub's HTTP listener that takes calendar objects. */
export interface DoorConfig {
  name: string;
  path: string;
  user: string;
  password: string;
}

export interface CalendarConfig {
  domain: string;
  contentType: 'text/plain' | 'text/calendar';
  availability: boolean;
  offline: 'discard' | 'store' | 'sms';
  /** What becomes of a message that nothing can be made of. */
  unusable: 'accept' | 'reject';
  /** The zone of users who have named none. */
  zone: string;
  /** Domain of mail addresses → the XMPP domain whose users have the same names. */
  mailDomains: ReadonlyMap<string, string>;
  brokers: readonly BrokerConfig[];
  doors: readonly DoorConfig[];
  /** PEM of authorities besides the built-in ones. */
  authorities: readonly string[];
}

/** scheme → protocol, TLS, port */
const schemes: Record<string, [BrokerConfig['protocol'], boolean, number]> = {
  stomp: ['stomp', false, 61613],
  'stomp+ssl': ['stomp', true, 61614],
  stomps: ['stomp', true, 61614],
  amqp: ['amqp', false, 5672],
  amqps: ['amqp', true, 5671],
};

function readBroker(name: string, section: Section, domain: string): BrokerConfig | DoorConfig {
  const text = section.string('url');
  const match = /^([a-z+]+):(?:\/\/(\[[^\]]+\]|[^/:@?#]+)(?::(\d{1,5}))?)?(\/[^?#]*)?$/.exec(text);
  if (!match) section.fail('url', `${text.slice(0, 100)} is not a URL such as stomp://127.0.0.1:61613`);
  const [, scheme, host, port, path] = match;
  if (scheme === 'http') {
    if (host || !path || path === '/') {
      section.fail('url', 'http: takes a path of the hub’s own HTTP listener, such as http:/calendar');
    }
    const door = { name, path, user: section.string('user', ''), password: section.secret('password') };
    section.done();
    return door;
  }
  const known = schemes[scheme];
  if (!known || !host) {
    section.fail(
      'url',
      `${scheme}: is not one of ${Object.keys(schemes).join(', ')} with a host, nor http: with a path`,
    );
  }
  if (path && path !== '/') section.fail('url', 'a broker’s URL has no path; the destination is said by `topic`');
  const [protocol, tls, usual] = known;
  const broker: BrokerConfig = {
    name,
    protocol,
    tls,
    host: host.replace(/^\[|\]$/g, ''),
    port: port === undefined ? usual : Number(port),
    virtualHost: section.string('virtual-host', host),
    user: section.string('user', ''),
    password: section.secret('password', ''),
    topic: section.string('topic', 'DavNotificationTopic'),
    durable: section.boolean('durable', true),
    clientId: section.string('client-id', `isthmus-${domain}`),
  };
  if (!(broker.port > 0 && broker.port < 65_536)) section.fail('url', `${port} is no port`);
  section.done();
  return broker;
}

function readMailDomains(section: Section): Map<string, string> {
  const domains = section.section('mail-domains');
  const map = new Map(domains.keys.map(mail => [mail.toLowerCase(), domains.domain(mail)]));
  domains.done();
  return map;
}

export const calendar: BridgeKind<CalendarConfig> = {
  kind: 'calendar',
  config(section) {
    section.has('kind');
    const domain = section.domain('domain');
    const named = section.entries('brokers').map(([name, one]) => readBroker(name, one, domain));
    if (named.length === 0) section.fail('brokers', 'is empty; at least one broker or HTTP door is expected');
    const zone = section.string('time-zone', systemZone());
    const config: CalendarConfig = {
      domain,
      contentType: section.oneOf('content-type', ['text/plain', 'text/calendar'], 'text/plain'),
      availability: section.boolean('availability', true),
      offline: section.oneOf('offline', ['discard', 'store', 'sms'], 'discard'),
      unusable:
        section.oneOf('unusable', ['acknowledge', 'dead-letter'], 'acknowledge') === 'dead-letter'
          ? 'reject'
          : 'accept',
      zone: ianaZone(zone) ?? section.fail('time-zone', `${zone.slice(0, 60)} is not a zone such as Europe/Berlin`),
      mailDomains: readMailDomains(section),
      brokers: named.filter(one => 'protocol' in one),
      doors: named.filter(one => 'path' in one),
      authorities: [],
    };
    section.done();
    return config;
  },
  domains: config => [config.domain],
  create(config, port) {
    if (!port.inside && config.offline === 'sms') {
      throw new ConfigError('offline: sms needs the users to live here; attached, it is discard or store');
    }
    if (config.offline === 'sms' && ![...port.config.bridges.values()].some(({ kind }) => kind === 'sms')) {
      throw new ConfigError('offline: sms needs a bridge of kind sms');
    }
    if (!port.inside && config.doors.length > 0) {
      throw new ConfigError('an http: door needs the hub’s own listener; attached, there is none');
    }
    const authorities = port.config.tls.trust.map(path => readFileSync(path, 'utf8'));
    return new CalendarBridge({ ...config, authorities }, port);
  },
};
