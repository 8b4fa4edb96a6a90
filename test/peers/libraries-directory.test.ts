// People of a real OpenLDAP, with the clients of both libraries.
import assert from 'node:assert/strict';
import type { TestHub } from '../support/hubs.ts';
import { type Slapd, startSlapd } from './ldap/slapd.ts';
import { type Library, runScript, startLibraryHub } from './libraries.ts';

const cases: [Library, passwords: string, mechanism: string][] = [
  ['slixmpp', 'bind', 'PLAIN'],
  ['aioxmpp', 'stored', 'SCRAM-SHA-256'],
];

describe('people of a directory', () => {
  let slapd: Slapd;
  let hub: TestHub | undefined;
  before(async () => {
    slapd = await startSlapd({ fixtures: ['flat.ldif', 'dynamic.ldif'] });
  });
  afterEach(() => hub?.close());
  after(() => slapd?.close());

  for (const [library, passwords, mechanism] of cases) {
    it(`log in with ${library}, and have their groups, cards and search`, async () => {
      hub = await startLibraryHub({
        users: [],
        domain: 'directory: corp',
        yaml: `directories: { corp: { kind: ldap, url: "${slapd.url}", base: "dc=hub,dc=test", passwords: ${passwords},
          bind: { dn: "cn=reader,dc=hub,dc=test", password: reader secret }, groups: { roster: [verona] } } }`,
      });
      assert.deepEqual(await runScript(library, 'directory.py', hub), {
        mechanisms: [mechanism, mechanism],
        entry: ['Juliet Capulet', ['All of Verona'], 'both'],
        photo: 'image/jpeg',
        name: ['Juliet Capulet'],
        found: [['juliet@hub.test']],
        group: 'chat',
      });
    });
  }
});
