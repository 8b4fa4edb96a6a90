// A thousand domains of a real Prosody, each with links of its own to and from the hub.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { recordsOf } from '../support/partners.ts';
import { until } from '../support/until.ts';
import { hubHost, type Meeting, startMeeting } from './meeting.ts';

/** A Prosody module by which everybody on a host says back what they hear: a message goes each way on its links. */
const parrot = `module:hook("message/bare", function (event)
  local reply = require "util.stanza".reply(event.stanza)
  reply.attr.type = "chat"
  reply:tag("body"):text("back from "..module.host):up()
  module:send(reply)
  return true
end, 10)
`;

const count = 1_000;
const zoneOf = (i: number): string => `z${i}.zones.test`;

describe(`prosody: ${count} domains`, () => {
  const plugins = mkdtempSync(join(tmpdir(), 'isthmus-plugins-'));
  const domains = Array.from({ length: count }, (_, i) => zoneOf(i));
  let meeting: Meeting;
  before(async () => {
    writeFileSync(join(plugins, 'mod_parrot.lua'), parrot);
    meeting = await startMeeting('prosody', {
      federation: 'queue: { wait: 60s }',
      yaml: 'limits: { connections: { per-address: 3000 } }',
      names: ['*.zones.test'],
      // As components they start in a fraction of the time that virtual hosts take.
      peer: {
        more: [`plugin_paths = { "${plugins}" }`, ...domains.map(name => `Component "${name}" "parrot"`)].join('\n'),
        level: 'error',
      },
      zone: (hub, domain, address) =>
        [
          ...[domain, ...domains].map(name => `_xmpp-server._tcp.${name} 60 IN SRV 5 1 5269 xmpp.prosody.test`),
          `xmpp.prosody.test 60 IN A ${address}`,
          recordsOf('hub.test', hub, hubHost),
        ].join('\n'),
    });
  });
  after(async () => {
    await meeting?.stop();
    rmSync(plugins, { recursive: true, force: true });
  });

  it('get and send a message each', async () => {
    const { hub, romeo } = meeting;
    const heard = () => new Set(romeo.inbox.map(e => e.childText('body') ?? ''));
    for (let from = 0; from < count; from += 50) {
      const some = domains.slice(from, from + 50);
      for (const domain of some) {
        await romeo.sends(`<message to='polly@${domain}' id='${domain}' type='chat'><body>?</body></message>`);
      }
      await until(() => {
        const h = heard();
        return some.every(domain => h.has(`back from ${domain}`));
      }, 20_000);
    }
    assert.deepEqual(romeo.inbox.filter(({ attrs }) => attrs.type === 'error').map(String), []);
    const links = hub.links.list();
    assert.equal(links.length, 2 * count);
    assert.ok(links.every(({ proof, state }) => proof === 'external' && state === 'open'));
  });
});
