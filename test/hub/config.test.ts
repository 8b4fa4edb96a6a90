// The configuration as a whole: defaults, what does not go together, and what a change asks for.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { changed, loadConfig, parseConfig } from '../../src/hub/config.ts';
import { workplace } from '../support/command.ts';

const parse = (text: string) => parseConfig(text, '/etc/isthmus/my.yaml');
const wrong = (text: string) => {
  try {
    parse(text);
  } catch (error) {
    assert.equal((error as Error).name, 'ConfigError');
    return (error as Error).message.replace('/etc/isthmus/my.yaml:', '');
  }
  return 'nothing is wrong';
};

describe('the configuration', () => {
  it('serves localhost on loopback where there is none', () => {
    const config = loadConfig(null);
    assert.deepEqual([...config.domains.keys()], ['localhost']);
    assert.deepEqual(config.listen.c2s, [{ host: '127.0.0.1', port: 5222 }]);
    assert.deepEqual(config.listen.component, []);
    assert.equal(config.file, '');
    assert.equal(config.clients.registration, false);
    assert.equal(config.crossDomain.policy, 'closed');
  });

  it('has a default for everything but the domains', () => {
    const { clients, federation, limits, offline, modules } = parse('domains: { a.test: }');
    assert.deepEqual(clients.registrationLimit, { accounts: 100, per: 3_600_000 });
    assert.deepEqual(federation.queue, { stanzas: 1000, wait: 60_000 });
    assert.deepEqual(limits.stanzaSize, { c2s: 262_144, s2s: 524_288 });
    assert.deepEqual(offline, { store: true, exceptions: [], messages: 50 });
    assert.equal(modules.on.size, 0);
  });

  it('prepares domains, and knows aliases', () => {
    const config = parse('domains: { EXAMPLE.test: { aliases: [Chat.Example.test], admins: [Bard@example.test] } }');
    assert.deepEqual([...config.aliases], [['chat.example.test', 'example.test']]);
    assert.deepEqual(config.domains.get('example.test')?.admins, ['bard@example.test']);
    assert.equal(config.data, '/etc/isthmus/data');
  });

  for (const [text, message] of [
    ['log: {}', '1: domains: is missing; the domains served here are expected, or `attach`'],
    ['domains: {}', '1: domains: is empty; at least one domain is expected'],
    ['domains: { "a b": {} }', '1: domains.a b: is not a domain'],
    ['domains: { a.test: {} }\nlitsen: {}', '2: litsen: there is no such key; did you mean listen?'],
    ['domains: { a.test: { key: x } }', '1: domains.a.test.key: stands alone; `certificate` is expected as well'],
    ['domains: { a.test: { directory: corp } }', '1: domains.a.test.directory: there is no `corp` under `directories`'],
    [
      'domains:\n  a.test: { aliases: [b.test] }\n  b.test: {}',
      '2: domains.a.test.aliases: b.test is served or an alias already',
    ],
    [
      'domains: { a.test: {} }\ncomponents: { a.test: { secret: x } }',
      '2: components.a.test: is a domain that is served here already',
    ],
    [
      'domains: { a.test: {} }\ncomponents: { c.test: {} }',
      '2: components.c.test.secret: is missing; a secret is expected',
    ],
    ['domains: { a.test: {} }\nlisten: { c2s: ["x:1"], s2s: ["x:1"] }', '2: listen.s2s: x:1 is used by c2s already'],
    [
      'domains: { a.test: {} }\nlimits: { stanza-size: { c2s: 1KiB } }',
      '2: limits.stanza-size.c2s: is less than the 10,000 bytes that XMPP asks for',
    ],
    [
      'domains: { a.test: {} }\nattach: { address: "x:1" }',
      '2: attach: cannot stand beside `domains`: either users live here or on the other server',
    ],
    [
      'domains: { a.test: {} }\nfederation: { idle-timeout: 60d }',
      '2: federation.idle-timeout: "60d" is more than 24d',
    ],
    [
      'domains: { a.test: { contacts: { abuse: [someone] } } }',
      '1: domains.a.test.contacts.abuse: someone is not a URI such as mailto:abuse@hub.test',
    ],
    [
      'domains: { a.test: {} }\nexternal-services: { t: { type: turn, host: x, username: u } }',
      '2: external-services.t.username: `username` and `password` go together',
    ],
    [
      'domains: { a.test: {} }\nexternal-services: { t: { type: turn, host: x, secret: s, username: u, password: p } }',
      '2: external-services.t.username: cannot stand beside `secret`, which makes its own',
    ],
    [
      'domains: { a.test: {} }\nclients: { registration-fields: [age] }',
      '2: clients.registration-fields: "age" is not one of name, mail, mobile',
    ],
    ['domains: [a.test]', '1: domains: a map of keys is expected'],
    ['domains:\n\ta.test: {}', '2: Tabs are not allowed as indentation'],
    ['domains: { a.test: {}, A.test: {} }', '1: domains.A.test: is there already; a.test is expected once'],
    [
      'domains: { a.test: {} }\nlisten: { c2s: 5222 }',
      '2: listen.c2s: "5222" is not address:port (IPv6 addresses in brackets)',
    ],
    ['domains: { a.test: {} }\nlisten: ["127.0.0.1:5222"]', '2: listen: a map of keys is expected'],
    [
      'domains: { a.test: {} }\ndns: { servers: ["ns.test:53"] }',
      '2: dns.servers: ns.test is a name; an address such as 127.0.0.1:53 is expected',
    ],
    ['domains: { a.test: {} }\ndata: ""', '2: data: is empty; a path is expected'],
    [
      'domains: { a.test: {} }\nlog: { level: verbose }',
      '2: log.level: "verbose" is not one of trace, debug, info, warn, error',
    ],
    ['domains: { a.test: {} }\ncross-domain: open', '2: cross-domain: a map of keys is expected'],
    ['domains: { a.test: {} }\nclients: { require-tls: no }', '2: clients.require-tls: "no" is neither true nor false'],
    [
      'domains: { a.test: {} }\nclients: { mechanisms: [] }',
      '2: clients.mechanisms: is empty; at least one is expected',
    ],
    [
      'domains: { a.test: {} }\nclients: { mechanisms: [LOGIN] }',
      '2: clients.mechanisms: "LOGIN" is not one of SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN',
    ],
    [
      'domains: { a.test: {} }\ntls: { min-version: TLSv1.1 }',
      '2: tls.min-version: "TLSv1.1" is not one of TLSv1.2, TLSv1.3',
    ],
    [
      'domains: { a.test: {} }\ntls: { trust: [gone.crt] }',
      '2: tls.trust: /etc/isthmus/gone.crt cannot be read: ENOENT',
    ],
    [
      'domains: { a.test: {} }\nfederation: { policy: allow }',
      '2: federation.policy: "allow" is not one of open, closed',
    ],
    [
      'domains: { a.test: {} }\nfederation: { security: tls }',
      '2: federation.security: "tls" is not one of verified, encrypted, trusted',
    ],
    [
      'domains: { a.test: {} }\nfederation: { exceptions: ["*spam.test"] }',
      '2: federation.exceptions: "*spam.test" is not a domain',
    ],
    [
      'domains: { a.test: {} }\nfederation:\n  partners:\n    bank.test: trusted',
      '4: federation.partners.bank.test: a map of keys is expected',
    ],
    [
      'domains: { a.test: {} }\nfederation:\n  partners:\n    bank.test: { adress: "x:1" }',
      '4: federation.partners.bank.test.adress: there is no such key; did you mean address?',
    ],
    [
      'domains: { a.test: {} }\nfederation: { connect-timeout: 10 }',
      '2: federation.connect-timeout: 10 is not a time such as 500ms, 30s, 5m or 1h',
    ],
    [
      'domains: { a.test: {} }\nfederation: { dialback-secret: "env:NOT_THERE" }',
      '2: federation.dialback-secret: the environment has no variable NOT_THERE, or an empty one',
    ],
    ['domains: { a.test: {} }\nlimits: { stanza-size: 256KiB }', '2: limits.stanza-size: a map of keys is expected'],
    [
      'domains: { a.test: {} }\nlimits: { stanza-size: { c2s: 256KB } }',
      '2: limits.stanza-size.c2s: "256KB" is not a size such as 512B, 64KiB or 1MiB',
    ],
    [
      'domains: { a.test: {} }\nlimits: { rate: { s2s: 1MiB } }',
      '2: limits.rate.s2s: "1MiB" is not a rate such as 64KiB/s, nor 0 for none',
    ],
    [
      'domains: { a.test: {} }\nlimits: { connections: { per-address: -1 } }',
      '2: limits.connections.per-address: -1 is not a whole number 0 or more',
    ],
    ['domains: { a.test: {} }\noffline: true', '2: offline: a map of keys is expected'],
    [
      'domains: { a.test: {} }\noffline: { messages: many }',
      '2: offline.messages: "many" is not a whole number 0 or more',
    ],
    ['domains: { a.test: {} }\ncomponents: { "irc hub": { secret: x } }', '2: components.irc hub: is not a domain'],
    ['domains: { a.test: {} }\nbridges: { sip: {} }', '2: bridges.sip.kind: is missing; a text is expected'],
    ['domains: { a.test: {} }\nmodules: [ping]', '2: modules: a map of keys is expected'],
  ]) {
    it(`says: ${message}`, () => assert.equal(wrong(text), message));
  }

  it('says which file cannot be read', () => {
    assert.throws(() => loadConfig('/nowhere/my.yaml'), /^ConfigError: \/nowhere\/my\.yaml: cannot be read: ENOENT$/);
    const place = workplace({});
    const text = `domains: { a.test: { certificate: a.crt, key: a.key } }`;
    assert.throws(() => parseConfig(text, join(place.path, 'my.yaml')), /my\.yaml:1: .*a\.crt cannot be read: ENOENT/);
    place.remove();
  });

  it('tells what a change touches, and what only counts after a restart', () => {
    const before = parse('domains: { a.test: {} }\nbridges: { s: { kind: sms, domain: b.test } }');
    assert.deepEqual(changed(before, parse('domains: { a.test: {} }\nbridges: { s: { kind: sms, domain: b.test } }')), {
      keys: [],
      restart: [],
    });
    const after = parse(
      'domains: { a.test: { modules: { ping: false } } }\nbridges: { s: { kind: sms, domain: c.test } }',
    );
    assert.deepEqual(changed(before, after), { keys: ['domains', 'bridges'], restart: ['bridges'] });
  });
});
