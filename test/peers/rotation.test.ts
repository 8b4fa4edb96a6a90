// A hub whose certificate is renewed while it talks to a real Prosody.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '../support/client.ts';
import { until } from '../support/until.ts';
import { type Meeting, says, startMeeting } from './meeting.ts';

/** A Prosody module that writes down the certificate of each peer: how the other side sees us. */
const witness = `module:set_global()
module:hook("s2s-check-certificate", function (event)
  if event.cert then module:log("info", "%s showed certificate %s", event.host, event.cert:serial()) end
end, 1000)
`;

describe('prosody: a certificate renewed under load', () => {
  const plugins = mkdtempSync(join(tmpdir(), 'isthmus-plugins-'));
  let meeting: Meeting;
  before(async () => {
    writeFileSync(join(plugins, 'mod_witness.lua'), witness);
    meeting = await startMeeting('prosody', {
      peer: { modules: ['witness', 'smacks'], more: `plugin_paths = { "${plugins}" }` },
    });
  });
  after(async () => {
    await meeting?.stop();
    rmSync(plugins, { recursive: true, force: true });
  });

  /** Sends numbered messages until told to stop; resolves with how many there were. */
  async function talk(from: Client, to: Client, on: () => boolean): Promise<number> {
    let count = 0;
    while (on()) await says(from, to, `t${count++}`);
    return count;
  }

  const serial = (pem: string | Uint8Array) => new X509Certificate(pem).serialNumber;
  const witnessed = (number: string) => meeting.peer.log().includes(`hub.test showed certificate ${number}`);

  it('is taken up without a restart, drops no link and loses nothing', async () => {
    const { authority, hub, romeo, juliet } = meeting;
    await says(romeo, juliet);
    await says(juliet, romeo);
    const first = serial(hub.certificates.certificateOf('hub.test')!);
    assert.ok(witnessed(first));
    const streams = () => [...hub.links.outbound, ...hub.links.inbound].map(link => link.stream);
    const before = streams();
    let on = true;
    const talking = Promise.all([talk(romeo, juliet, () => on), talk(juliet, romeo, () => on)]);
    const next = await authority.issue({ names: ['hub.test'], usages: ['serverAuth', 'clientAuth'] });
    writeFileSync(join(hub.directory, 'domain.crt'), next.certificate);
    writeFileSync(join(hub.directory, 'domain.key'), next.key);
    // Nothing asks the hub to look: it does so by itself.
    await until(() => serial(hub.certificates.certificateOf('hub.test')!) === serial(next.certificate), 15_000);
    on = false;
    const [there, back] = await talking;
    assert.ok(there > 50 && back > 50, `${there} there, ${back} back`);
    assert.deepEqual(streams(), before, 'the links are the same');
    assert.equal(witnessed(serial(next.certificate)), false);
    hub.links.close('prosody.test');
    await until(() => hub.links.list().length === 0, 10_000);
    await says(romeo, juliet);
    await says(juliet, romeo);
    assert.ok(witnessed(serial(next.certificate)), 'the peer saw the new one');
    assert.equal(hub.links.outbound[0].proof, 'external');
  });
});
