// Users that move between this hub and a real Prosody or ejabberd, by files of XEP-0227, both ways.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ns } from '../../src/xmpp/namespaces.ts';
import { createAuthority, type Issued } from '../support/authority.ts';
import { type Client, connectClient } from '../support/client.ts';
import { isthmus } from '../support/command.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { startZones, type Zones } from '../support/zones.ts';
import { startEjabberd } from './ejabberd.ts';
import { peerClient } from './people.ts';
import type { Peer } from './process.ts';
import { startProsody } from './prosody.ts';

const run = promisify(execFile);
const domain = 'moving.test';
const tune = 'http://jabber.org/protocol/tune';
const png = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex').toString('base64');

async function sets(client: Client, ...payloads: string[]): Promise<void> {
  for (const xml of payloads) {
    const answer = await client.asks('set', xml);
    assert.equal(answer.attrs.type, 'result', `${xml}: ${answer}`);
  }
}

async function gets(client: Client, xml: string): Promise<string> {
  return String(await client.asks('get', xml));
}

const contact = `<query xmlns='${ns.roster}'><item jid='nurse@far.test' name='Nurse'><group>House</group></item></query>`;
const card = `<vCard xmlns='${ns.vcard}'><FN>Juliet</FN></vCard>`;
const picture = `<vCard xmlns='${ns.vcard}'><FN>Juliet</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>${png}</BINVAL></PHOTO></vCard>`;
const note = `<query xmlns='${ns.private}'><prefs xmlns='urn:test:prefs'><a>1 &lt; 2</a></prefs></query>`;
const song = `<pubsub xmlns='${ns.pubsub}'><publish node='${tune}'><item id='current'><tune xmlns='${tune}'><title>Lark</title></tune></item></publish></pubsub>`;
const emptyCard = `<vCard xmlns='${ns.vcard}'/>`;
const emptyNote = `<query xmlns='${ns.private}'><prefs xmlns='urn:test:prefs'/></query>`;
const songs = `<pubsub xmlns='${ns.pubsub}'><items node='${tune}'/></pubsub>`;

describe('users that move', () => {
  let zones: Zones;
  let certificate: Issued;
  let authority: string;
  let place: string;
  let hub: TestHub;
  let peer: Peer | undefined;

  before(async () => {
    const issuer = await createAuthority();
    authority = issuer.certificate;
    certificate = await issuer.issue({ names: [domain], usages: ['serverAuth', 'clientAuth'] });
    zones = await startZones('');
  });
  after(() => zones?.close());
  beforeEach(async () => {
    place = mkdtempSync(join(tmpdir(), 'isthmus-moving-'));
    hub = await startTestHub(`{ ${domain}: { modules: { archive: true } } }`);
  });
  afterEach(async () => {
    await peer?.stop();
    peer = undefined;
    await hub.close();
    rmSync(place, { recursive: true, force: true });
  });

  const account = (...args: string[]) => isthmus(['account', ...args, '-c', join(hub.directory, 'isthmus.yaml')]);
  const common = () => ({ domain, mode: 'plaintext' as const, dns: zones.server, authority, certificate });

  const prosody = (address: string) =>
    startProsody({
      ...common(),
      address,
      modules: ['private', 'vcard', 'pep', 'mam', 'offline'],
      more: `data_path = "${join(place, 'data')}"
authentication = "internal_hashed"
default_archive_policy = true`,
    });
  /** Has its own tool carry the users between its data and files of XEP-0227, one for each user. */
  const migrate = async (...args: [string, string]) => {
    for (const name of ['data', 'files']) mkdirSync(join(place, name), { recursive: true });
    const hosts = '{ "accounts"; "roster"; "vcard"; "private"; "archive-archive"; "pep-pubsub" }';
    const config = join(place, 'migrator.cfg.lua');
    writeFileSync(
      config,
      `data { hosts = { ["${domain}"] = ${hosts} }; type = "internal"; path = "${join(place, 'data')}" }
files { hosts = { ["${domain}"] = ${hosts} }; type = "xep0227"; path = "${join(place, 'files')}" }
`,
    );
    // It keeps files of XEP-0227 where its data usually are, and nowhere else, and as its own user.
    const tool = readFileSync('/usr/bin/prosody-migrator', 'utf8');
    const here = join(place, 'migrator.lua');
    const moved = tool.replace(/^CFG_DATADIR=.*$/m, `CFG_DATADIR='${join(place, 'files')}'`);
    writeFileSync(here, moved.replace('startup.switch_user();', ''));
    await run('lua5.4', [here, `--config=${config}`, '--keep-going', ...args]).catch(({ stdout }) =>
      assert.fail(stdout),
    );
  };
  const prosodyFile = (user: string) => join(place, 'files', `${user}@${domain}.xml`);

  it('come from Prosody', async () => {
    peer = await prosody('127.0.0.71');
    const juliet = await peerClient(peer, 'juliet');
    await sets(juliet, contact, card, note, song);
    await juliet.sends('<presence/>');
    await juliet.sends(`<message to='juliet@${domain}' type='chat' id='m1'><body>To myself</body></message>`);
    await juliet.hears('To myself');
    await juliet.close();
    await peer.stop();
    await migrate('data', 'files');
    const ran = await account('import', prosodyFile('juliet'), '--json');
    assert.equal(ran.code, 0, ran.err + ran.out);
    assert.match(ran.out, /juliet@moving\.test",\s*"result": "imported; has no SCRAM-SHA-256 keys/);
    const moved = await hub.client(`juliet@${domain}`, { password: 'secret', mechanism: 'SCRAM-SHA-1' });
    assert.match(
      await gets(moved, `<query xmlns='${ns.roster}'/>`),
      /jid='nurse@far\.test' name='Nurse' subscription='none'><group>House</,
    );
    assert.match(await gets(moved, emptyCard), /<FN>Juliet<\/FN>/);
    assert.match(await gets(moved, emptyNote), /<a>1 &lt; 2<\/a>/);
    assert.match(await gets(moved, songs), /<title>Lark<\/title>/);
    const asked = moved.asks('set', `<query xmlns='${ns.archive}'/>`);
    assert.match(String(await moved.receives(element => element.child('result', ns.archive) !== null)), /To myself/);
    await asked;
    await moved.close();
  });

  it('go to Prosody', async () => {
    const juliet = await hub.client(`juliet@${domain}`, { quiet: true });
    await sets(juliet, contact, card, note, song);
    await juliet.sends('<presence/>');
    await juliet.sends(`<message to='juliet@${domain}' type='chat' id='m1'><body>To myself</body></message>`);
    await juliet.hears('To myself');
    await juliet.close();
    const ran = await account('export', `juliet@${domain}`);
    assert.equal(ran.code, 0, ran.err);
    mkdirSync(join(place, 'files'));
    writeFileSync(prosodyFile('juliet'), ran.out);
    await migrate('files', 'data');
    peer = await prosody('127.0.0.72');
    const { address } = peer;
    const moved = await connectClient({
      jid: `juliet@${domain}`,
      password: 'a password for tests',
      host: address,
      port: 5222,
      security: 'plain',
      mechanism: 'PLAIN',
    });
    assert.match(await gets(moved, `<query xmlns='${ns.roster}'/>`), /nurse@far\.test/);
    assert.match(await gets(moved, emptyCard), /<FN>Juliet<\/FN>/);
    assert.match(await gets(moved, emptyNote), /<a>1 &lt; 2<\/a>/);
    assert.match(await gets(moved, songs), /<title>Lark<\/title>/);
    const asked = moved.asks('set', `<query xmlns='${ns.archive}'/>`);
    assert.match(String(await moved.receives(element => element.child('result', ns.archive) !== null)), /To myself/);
    await asked;
    await moved.close();
  });

  const ejabberd = (address: string) =>
    startEjabberd({
      ...common(),
      address,
      level: 'error',
      listen: `  - { port: 5280, ip: "${address}", module: ejabberd_http, request_handlers: { /api: mod_http_api } }
auth_password_format: scram
api_permissions: { all: { from: [mod_http_api], who: [{ ip: 127.0.0.0/8 }], what: ["*"] } }
`,
      more: `  mod_private: {}
  mod_vcard: {}
  mod_caps: {}
  mod_privacy: {}
  mod_blocking: {}
  mod_offline: {}
  mod_pubsub: { plugins: [flat, pep] }
`,
    });
  const api = async (command: string, body: object) => {
    const answer = await fetch(`http://${peer!.address}:5280/api/${command}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    assert.equal(answer.status, 200, await answer.text());
  };

  it('come from ejabberd', async () => {
    peer = await ejabberd('127.0.0.73');
    const juliet = await peerClient(peer, 'juliet');
    await sets(
      juliet,
      contact,
      picture,
      note,
      song,
      `<block xmlns='${ns.blocking}'><item jid='tybalt@far.test'/></block>`,
    );
    await juliet.close();
    const romeo = await peerClient(peer, 'romeo');
    await romeo.sends(`<message to='juliet@${domain}' type='chat'><body>Are you there?</body></message>`);
    await romeo.sends(`<presence to='juliet@${domain}' type='subscribe'/>`);
    await romeo.close();
    const directory = join(place, 'export');
    mkdirSync(directory);
    await api('export_piefxis', { dir: directory });
    const main = readdirSync(directory).find(name =>
      readFileSync(join(directory, name), 'utf8').includes('<server-data'),
    );
    const ran = await account('import', join(directory, main!), '--json');
    assert.equal(ran.code, 0, ran.err + ran.out);
    assert.match(ran.out, /juliet@moving\.test",\s*"result": "imported/);
    const moved = await hub.client(`juliet@${domain}`, { password: 'secret', mechanism: 'SCRAM-SHA-1', quiet: true });
    assert.match(
      await gets(moved, `<query xmlns='${ns.roster}'/>`),
      /jid='nurse@far\.test' name='Nurse' subscription='none'><group>House</,
    );
    assert.match(await gets(moved, emptyCard), /<FN>Juliet<\/FN><PHOTO><TYPE>image\/png/);
    assert.match(await gets(moved, emptyNote), /<a>1 &lt; 2<\/a>/);
    assert.match(await gets(moved, `<blocklist xmlns='${ns.blocking}'/>`), /tybalt@far\.test/);
    await moved.sends('<presence/>');
    await moved.hears('Are you there?');
    await moved.receives(element => element.attrs.type === 'subscribe');
    await moved.close();
  });

  it('go to ejabberd', async () => {
    const juliet = await hub.client(`juliet@${domain}`);
    await sets(
      juliet,
      contact,
      picture,
      note,
      song,
      `<block xmlns='${ns.blocking}'><item jid='tybalt@far.test'/></block>`,
    );
    await juliet.close();
    const romeo = await hub.client(`romeo@${domain}`);
    await romeo.sends(`<message to='juliet@${domain}' type='chat'><body>Are you there?</body></message>`);
    await romeo.close();
    const ran = await account('export', domain);
    const file = join(place, 'users.xml');
    // It reads passwords in the clear, and its own way of writing keys; not those of XEP-0227.
    writeFileSync(
      file,
      ran.out
        .replaceAll(/(<user [^>]*name='juliet')/g, "$1 password='secret'")
        .replaceAll(/<scram-credentials.*?<\/scram-credentials>/g, ''),
    );
    peer = await ejabberd('127.0.0.74');
    await api('import_piefxis', { file });
    const options = {
      jid: `juliet@${domain}`,
      password: 'secret',
      host: peer.address,
      port: 5222,
      security: 'plain' as const,
    };
    const moved = await connectClient({ ...options, mechanism: 'PLAIN' });
    assert.match(await gets(moved, `<query xmlns='${ns.roster}'/>`), /nurse@far\.test/);
    assert.match(await gets(moved, emptyCard), /(?=.*<FN>Juliet)(?=.*<PHOTO>)/);
    assert.match(await gets(moved, emptyNote), /<a>1 &lt; 2<\/a>/);
    assert.match(await gets(moved, `<blocklist xmlns='${ns.blocking}'/>`), /tybalt@far\.test/);
    await moved.sends('<presence/>');
    await moved.hears('Are you there?');
    await moved.close();
  });
});
