// Every request that the hub answers, with payloads that are missing, wrong or hostile: each gets a defined answer.
import assert from 'node:assert/strict';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { logTo } from '../support/log.ts';

/** What clients ask a server: element and namespace. */
const requests: [string, string][] = [
  ['query', ns.roster],
  ['query', ns.private],
  ['query', ns.version],
  ['query', ns.last],
  ['query', ns.register],
  ['query', ns.discoInfo],
  ['query', ns.discoItems],
  ['query', ns.archive],
  ['metadata', ns.archive],
  ['prefs', ns.archive],
  ['vCard', ns.vcard],
  ['ping', ns.ping],
  ['time', ns.time],
  ['blocklist', ns.blocking],
  ['block', ns.blocking],
  ['unblock', ns.blocking],
  ['enable', ns.carbons],
  ['disable', ns.carbons],
  ['enable', ns.push],
  ['disable', ns.push],
  ['command', ns.commands],
  ['query', 'jabber:iq:search'],
  ['services', 'urn:xmpp:extdisco:2'],
  ['credentials', 'urn:xmpp:extdisco:2'],
  ['bind', ns.bind],
  ['session', ns.session],
  ['pubsub', ns.pubsub],
  ['pubsub', ns.pubsubOwner],
  ['constructor', '__proto__'],
];

const long = 'x'.repeat(20_000);
const form = (inner: string) => `<x xmlns='jabber:x:data' type='submit'>${inner}</x>`;

/** Payloads, with NAME and NS for the element's own. */
const payloads: [string, string][] = [
  ['nothing inside', `<NAME xmlns='NS'/>`],
  ['text inside', `<NAME xmlns='NS'>&lt;script&gt; ' OR 1=1; -- \u202e</NAME>`],
  ['long text', `<NAME xmlns='NS'>${long}</NAME>`],
  [
    'wrong attributes',
    `<NAME xmlns='NS' jid='@@/' node='${'n'.repeat(3000)}' ver='-1' queryid='&lt;&apos;' action='x' default='x' sessionid='x'/>`,
  ],
  ['many items', `<NAME xmlns='NS'>${`<item jid='a@b.test' name='x' subscription='y'/>`.repeat(300)}</NAME>`],
  ['wrong items', `<NAME xmlns='NS'><item/><item jid=''/><item jid='@'/><jid>@</jid><always><jid/></always></NAME>`],
  ['elements of nowhere', `<NAME xmlns='NS'><x xmlns='urn:example:1'><y xmlns=''/></x></NAME>`],
  ['depth', `<NAME xmlns='NS'>${'<a>'.repeat(60)}${'</a>'.repeat(60)}</NAME>`],
  ['an empty form', `<NAME xmlns='NS'>${form('')}</NAME>`],
  [
    'a wrong form',
    `<NAME xmlns='NS'>${form(`<field/><field var='FORM_TYPE'/><field var='__proto__'><value>x</value></field><field var='with'><value/></field>`)}</NAME>`,
  ],
  ['a long form', `<NAME xmlns='NS'>${form(`<field var='a'><value>b</value></field>`.repeat(1000))}</NAME>`],
  [
    'a wrong page',
    `<NAME xmlns='NS'><set xmlns='${ns.resultSet}'><max>-1</max><after/><before/><index>x</index></set></NAME>`,
  ],
  ['two payloads', `<NAME xmlns='NS'/><NAME xmlns='NS'/>`],
];

describe('hostile requests', () => {
  let hub: TestHub;
  let mallory: Client;
  const errors: string[] = [];
  before(async () => {
    const log = logTo(line => errors.push(line), 'error');
    hub = await startTestHub(['hub.test'], {
      log,
      yaml: 'modules: { archive: true }\nclients: { require-tls: false }\nlimits: { rate: { c2s: 0 } }',
    });
    await hub.accounts.add('juliet@hub.test', 'a password');
    mallory = await hub.client('mallory@hub.test', { security: 'plain', mechanism: 'PLAIN' });
  });
  after(() => hub.close());

  for (const [name, space] of requests) {
    it(`are answered: ${name} of ${space}`, async () => {
      for (const [what, payload] of payloads) {
        const xml = payload.replaceAll('NAME', name).replaceAll('NS', space);
        for (const type of ['get', 'set'] as const) {
          for (const to of [undefined, 'hub.test', 'juliet@hub.test', 'nobody@hub.test', 'juliet@hub.test/x']) {
            const answer = await mallory.asks(type, xml, to);
            const condition = answer
              .child('error')
              ?.all()
              .find(e => e.ns === ns.stanzaErrors)?.name;
            const where = `${type} ${what} to ${to}`;
            assert.equal(answer.attrs.type === 'error', condition !== undefined, where);
            assert.notEqual(condition, 'internal-server-error', where);
            // Only items must look alike for those who are there and those who are not (XEP-0030 §8).
            const alike = space === ns.discoItems && type === 'get';
            if (to?.startsWith('nobody') && !alike) assert.equal(answer.attrs.type, 'error', where);
          }
        }
      }
      assert.deepEqual(errors, []);
    });
  }

  it('change nothing that is somebody else’s', async () => {
    const juliet = await hub.client('juliet@hub.test', {
      security: 'plain',
      mechanism: 'PLAIN',
      password: 'a password',
    });
    for (const [payload, name, space] of [
      [`<query xmlns='${ns.roster}'/>`, 'query', ns.roster],
      [`<blocklist xmlns='${ns.blocking}'/>`, 'blocklist', ns.blocking],
      [`<vCard xmlns='${ns.vcard}'/>`, 'vCard', ns.vcard],
    ]) {
      const answer = await juliet.asks('get', payload);
      assert.equal(answer.child(name, space)?.all().length, 0, payload);
    }
    const prefs = await juliet.asks('get', `<prefs xmlns='${ns.archive}'/>`);
    assert.equal(prefs.child('prefs', ns.archive)?.attrs.default, 'always');
    await juliet.close();
  });
});
