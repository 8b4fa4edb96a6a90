// Modules on or off per domain: handlers, features, filters and moments, and what the configuration may say.
import assert from 'node:assert/strict';
import { checkModules, parseConfig } from '../../src/hub/config.ts';
import { Kernel } from '../../src/hub/hub.ts';
import { silentLog } from '../../src/hub/log.ts';
import { createMetrics } from '../../src/hub/metrics.ts';
import type { Module, Sessions } from '../../src/hub/module.ts';
import { hubOrigin } from '../../src/hub/router.ts';
import type { Store } from '../../src/hub/store.ts';
import { el } from '../../src/xmpp/element.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';

const yaml = `
domains:
  on.test: { aliases: [also-on.test] }
  off.test: { aliases: [also-off.test], modules: { echo: false, rare: true } }
modules: { quiet: false }
`;

function module(name: string, seen: string[], defaultOn?: boolean): Module {
  return {
    name,
    implements: [],
    defaultOn,
    start(hub) {
      hub.feature('domain', `urn:${name}`);
      hub.identity('account', { category: 'test', type: name });
      hub.itemsFrom(domain => [{ jid: `${name}.${domain}` }]);
      hub.iq(`urn:${name}`, 'query', 'domain', () => el(name, `urn:${name}`));
      hub.filter(stanza => {
        seen.push(`${name} filter ${stanza.id}`);
        return stanza;
      });
      hub.on('roster-changed', user => {
        seen.push(`${name} roster ${user.domain}`);
      });
      hub.on('account-removed', user => {
        seen.push(`${name} removed ${user.domain}`);
      });
      hub.registrar = async (_domain, stanza) => stanza.result();
    },
  };
}

describe('modules on and off', () => {
  const metrics = createMetrics();
  after(() => metrics.close());
  const config = parseConfig(yaml, 'isthmus.yaml');
  const seen: string[] = [];
  const answers: Stanza[] = [];
  const hub = new Kernel(
    {
      config,
      log: silentLog(),
      metrics,
      store: {} as Store,
      sessions: { get: () => undefined } as unknown as Sessions,
      directories: new Map(),
    },
    [
      {
        name: 'all',
        owns: () => true,
        deliver(stanza, origin) {
          if (stanza.isRequest) return hub.answer(stanza, origin);
          answers.push(stanza);
        },
      },
    ],
  );
  before(async () => {
    for (const [name, defaultOn] of [['echo'], ['rare', false], ['quiet']] as const) {
      await hub.start(module(name, seen, defaultOn));
    }
  });
  beforeEach(() => {
    seen.length = 0;
    answers.length = 0;
  });

  async function ask(domain: string, name: string): Promise<string> {
    const from = Jid.parse('romeo@far.test/orchard');
    const request = Stanza.of('iq', { from, to: Jid.parse(domain), type: 'get', id: 'a' }, el('query', `urn:${name}`));
    await hub.router.route(request, hubOrigin);
    const [answer] = answers.splice(0);
    return answer.isError ? (answer.element.child('error')?.all()[0].name ?? '') : (answer.firstChild?.name ?? '');
  }

  it('answer requests only for domains that they are on for', async () => {
    assert.equal(await ask('on.test', 'echo'), 'echo');
    assert.equal(await ask('off.test', 'echo'), 'service-unavailable');
    assert.equal(await ask('on.test', 'rare'), 'service-unavailable');
    assert.equal(await ask('off.test', 'rare'), 'rare');
    assert.equal(await ask('on.test', 'quiet'), 'service-unavailable');
  });

  it('announce nothing where they are off', () => {
    assert.deepEqual(hub.features('domain', 'on.test'), ['urn:echo']);
    assert.deepEqual(hub.features('domain', 'off.test'), ['urn:rare']);
    assert.deepEqual(hub.identities('account', 'off.test'), [{ category: 'test', type: 'rare' }]);
    assert.deepEqual(hub.items('on.test'), [{ jid: 'echo.on.test' }]);
    assert.equal(hub.registrarOf('on.test'), null, 'the last that registered is off');
    assert.equal(hub.enabled('echo', 'on.test'), true);
    assert.equal(hub.enabled('echo', 'also-off.test'), false);
    assert.equal(hub.enabled('nothing', 'on.test'), false);
  });

  it('filter what has an end in a domain that they are on for', async () => {
    const pass = async (from: string, to: string, id: string) => {
      await hub.router.route(Stanza.of('message', { from: Jid.parse(from), to: Jid.parse(to), id }), hubOrigin);
    };
    await pass('a@off.test', 'b@far.test', 'out');
    await pass('a@far.test', 'b@also-off.test', 'in');
    await pass('a@off.test', 'b@on.test', 'across');
    await pass('a@far.test', 'b@gateway.test', 'through');
    assert.deepEqual(
      seen.filter(one => one.startsWith('echo')),
      ['echo filter across', 'echo filter through'],
    );
  });

  it('hear the moments of domains that they are on for, and of every removed account', async () => {
    hub.emit('roster-changed', Jid.parse('a@off.test'), Jid.parse('b@on.test'));
    hub.emit('roster-changed', Jid.parse('a@on.test'), Jid.parse('b@on.test'));
    await hub.emit('account-removed', Jid.parse('a@off.test'));
    assert.deepEqual(seen, [
      'rare roster off.test',
      'echo roster on.test',
      'echo removed off.test',
      'rare removed off.test',
      'quiet removed off.test',
    ]);
  });

  it('follow a configuration that is read anew', async () => {
    hub.config = parseConfig('{ domains: { on.test: {} }, modules: { echo: false } }', 'isthmus.yaml');
    assert.equal(await ask('on.test', 'echo'), 'service-unavailable');
    assert.equal(await ask('on.test', 'quiet'), 'quiet');
    hub.config = config;
    assert.equal(await ask('on.test', 'echo'), 'echo');
  });

  it('are refused with file, line and the known names where there is no such module', () => {
    const wrong = parseConfig('domains:\n  a.test:\n    modules:\n      archiv: true', 'my.yaml');
    assert.throws(
      () => checkModules(wrong, ['ping', 'archive']),
      /^ConfigError: my\.yaml:4: domains\.a\.test\.modules\.archiv: there is no such module; known are archive, ping$/,
    );
    assert.throws(
      () => parseConfig('domains: { a.test: {} }\nmodules: { ping: maybe }', 'my.yaml'),
      /neither true nor/,
    );
  });
});
