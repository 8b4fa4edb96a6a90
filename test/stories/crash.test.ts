// A hub that is killed in the middle of its work, again and again: whatever it acknowledged is there afterwards.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { askAdmin } from '../../src/hub/admin.ts';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client, ClientOptions } from '../support/client.ts';
import { type HubProcess, hubDirectory } from '../support/process.ts';

const sm = ns.streamManagement;
const domain = 'hub.test';

/** What the hub has said it has kept, by kind. */
class Promised {
  readonly messages = new Set<string>();
  readonly contacts = new Set<string>();
  readonly blocked = new Set<string>();
  readonly accounts = new Set<string>();
  /** The number of the private document that was stored last, and of the one that was on its way after it. */
  stored = 0;
  storing = 0;

  get count(): number {
    return this.messages.size + this.contacts.size + this.blocked.size + this.accounts.size + this.stored;
  }
}

describe('a hub that is killed', () => {
  const place = hubDirectory(`domains: { ${domain}: {} }
clients: { require-tls: false, registration: true, registration-limit: { accounts: 0 } }
limits: { rate: { c2s: 0 } }
modules: { archive: true }
offline: { messages: 100000 }`);
  const promised = new Promised();
  let hub: HubProcess;
  let serial = 0;

  after(async () => {
    await hub?.kill('SIGKILL');
    place.remove();
  });

  /** Sends to somebody who is not there, and notes what stream management says of it (XEP-0198 §4). */
  async function writeMessages(author: Client, most = Number.POSITIVE_INFINITY): Promise<void> {
    const sent: string[] = [];
    let noted = 0;
    const note = () => {
      for (let at = 0; at < author.inbox.length; at++) {
        const { name, attrs } = author.inbox[at];
        if (name !== 'a') continue;
        author.inbox.splice(at--, 1);
        for (; noted < Number(attrs.h); noted++) promised.messages.add(sent[noted]);
      }
    };
    author.inbox.length = 0;
    await author.sends(`<enable xmlns='${sm}'/>`);
    await author.receives(e => e.name === 'enabled');
    while (sent.length < most) {
      const batch: string[] = [];
      for (let i = 0; i < 5; i++) {
        const body = `message ${serial++}`;
        sent.push(body);
        batch.push(`<message type='chat' to='absent@${domain}'><body>${body}</body></message>`);
      }
      await author.sends(`${batch.join('')}<r xmlns='${sm}'/>`);
      try {
        await author.waits(() => {
          note();
          return noted === sent.length;
        }, 'an acknowledgement');
      } catch {
        note();
        return;
      }
    }
  }

  /** Asks for one thing after the other to be kept, and notes each result. */
  async function change(client: Client, request: () => { payload: string; kept: () => void }): Promise<void> {
    try {
      for (;;) {
        const { payload, kept } = request();
        const answer = await client.asks('set', payload);
        assert.equal(answer.attrs.type, 'result', answer.toString());
        kept();
      }
    } catch (error) {
      if (client.ending === null) throw error;
    }
  }

  const contact = () => {
    const jid = `contact-${serial++}@elsewhere.test`;
    return {
      payload: `<query xmlns='${ns.roster}'><item jid='${jid}'/></query>`,
      kept: () => promised.contacts.add(jid),
    };
  };
  const block = () => {
    const jid = `blocked-${serial++}@elsewhere.test`;
    return {
      payload: `<block xmlns='${ns.blocking}'><item jid='${jid}'/></block>`,
      kept: () => promised.blocked.add(jid),
    };
  };
  const store = () => {
    const number = ++serial;
    promised.storing = number;
    return {
      payload: `<query xmlns='${ns.private}'><note xmlns='urn:note'>${number}</note></query>`,
      kept: () => {
        promised.stored = number;
      },
    };
  };
  const account = () => {
    const name = `user-${serial++}`;
    return {
      payload: `<query xmlns='${ns.register}'><username>${name}</username><password>a password for tests</password></query>`,
      kept: () => promised.accounts.add(name),
    };
  };

  const people = ['author', 'absent', 'romeo', 'juliet', 'nurse'];
  const login = (name: string, options: Partial<ClientOptions> = {}) =>
    hub.client(`${name}@${domain}`, { security: 'plain', quiet: true, ...options });
  const admin = (command: string, ...words: string[]) => askAdmin(join(place.path, 'data'), command, words);

  before(async () => {
    hub = await place.start();
    for (const name of people) await admin('account add', `${name}@${domain}`, 'a password for tests');
  });

  /** The bodies of messages as they come, until `enough`. */
  async function hears(client: Client, enough: (bodies: readonly string[]) => boolean): Promise<string[]> {
    const bodies: string[] = [];
    await client.waits(() => {
      for (const stanza of client.inbox.splice(0)) if (stanza.childText('body')) bodies.push(stanza.childText('body'));
      return enough(bodies);
    }, 'enough messages');
    return bodies;
  }

  /** The bodies in the archive of a client's user (XEP-0313 §4.3). */
  async function archived(client: Client): Promise<string[]> {
    const bodies: string[] = [];
    for (let after = ''; ; ) {
      const query = `<query xmlns='${ns.archive}'><set xmlns='${ns.resultSet}'><max>250</max>${after}</set></query>`;
      const answer = await client.asks('set', query);
      for (const { name, ...stanza } of client.inbox.splice(0)) {
        const result = name === 'message' ? stanza.children.find(child => typeof child !== 'string') : undefined;
        const forwarded = (result as Element | undefined)?.child('forwarded', ns.forward);
        bodies.push(forwarded?.child('message', ns.client)?.childText('body') ?? '');
      }
      const fin = answer.child('fin', ns.archive)!;
      if (fin.attrs.complete === 'true') return bodies;
      after = `<after>${fin.child('set', ns.resultSet)!.childText('last', ns.resultSet)}</after>`;
    }
  }

  const includesAll = (found: Iterable<string>, wanted: Iterable<string>) => {
    const there = new Set(found);
    assert.deepEqual(
      [...wanted].filter(one => !there.has(one)),
      [],
    );
  };

  /** The document is the last one acknowledged, or the one behind it. */
  async function checkDocument(): Promise<void> {
    const nurse = await login('nurse');
    const answer = await nurse.asks('get', `<query xmlns='${ns.private}'><note xmlns='urn:note'/></query>`);
    const number = Number(answer.child('query', ns.private)?.childText('note', 'urn:note'));
    assert.ok(number === promised.stored || number === promised.storing, `${number} is there`);
  }

  it('has every message, contact, blocked address, document and account that it acknowledged', async () => {
    for (let round = 0; round < 4; round++) {
      if (round > 0) hub = await place.start();
      const [author, romeo, juliet, nurse] = await Promise.all(
        ['author', 'romeo', 'juliet', 'nurse'].map(n => login(n)),
      );
      const stranger = await login('nobody', { bare: true });
      const before = promised.count;
      const working = [
        writeMessages(author),
        change(romeo, contact),
        change(juliet, block),
        change(nurse, store),
        change(stranger, account),
      ];
      await new Promise(resolve => setTimeout(resolve, 150 + Math.random() * 350));
      assert.equal((await hub.kill('SIGKILL')).signal, 'SIGKILL');
      await Promise.all(working);
      assert.ok(promised.count > before, 'there was something to lose');
    }
    for (const kind of ['messages', 'contacts', 'blocked', 'accounts'] as const)
      assert.ok(promised[kind].size > 0, kind);

    hub = await place.start();
    const roster = await (await login('romeo')).asks('get', `<query xmlns='${ns.roster}'/>`);
    includesAll(
      roster
        .child('query', ns.roster)!
        .all('item')
        .map(item => item.attrs.jid),
      promised.contacts,
    );
    const blocked = await (await login('juliet')).asks('get', `<blocklist xmlns='${ns.blocking}'/>`);
    includesAll(
      blocked
        .child('blocklist', ns.blocking)!
        .all('item')
        .map(item => item.attrs.jid),
      promised.blocked,
    );
    await checkDocument();
    const accounts = (await admin('account list', domain)) as { jid: string }[];
    includesAll(
      accounts.map(({ jid }) => jid),
      [...promised.accounts].map(name => `${name}@${domain}`),
    );
    await login([...promised.accounts].at(-1)!);

    const absent = await login('absent', { quiet: false });
    // There may be more than was acknowledged: what was kept just before a kill.
    const left = new Set(promised.messages);
    let seen = 0;
    const bodies = await hears(absent, all => {
      for (; seen < all.length; seen++) left.delete(all[seen]);
      return left.size === 0;
    });
    assert.equal(new Set(bodies).size, bodies.length, 'none is there twice');
    absent.inbox.length = 0;
    const inArchive = await archived(absent);
    includesAll(inArchive, promised.messages);
    assert.equal(new Set(inArchive).size, inArchive.length, 'none is archived twice');
    await absent.close();
  }).timeout(60_000);

  it('has what was delivered, but not acknowledged by its reader', async () => {
    const author = await login('author');
    const wanted = Array.from({ length: 40 }, (_, n) => `unread ${n}`);
    for (const body of wanted) {
      await author.sends(`<message type='chat' to='absent@${domain}'><body>${body}</body></message>`);
    }
    await author.hasNot(e => e.attrs.type === 'error');
    const reader = await login('absent');
    await reader.sends(`<enable xmlns='${sm}' resume='true'/><presence/>`);
    await hears(reader, all => all.length === 40);
    const { signal } = await hub.kill('SIGKILL');
    assert.equal(signal, 'SIGKILL');
    hub = await place.start();
    const again = await login('absent', { quiet: false });
    assert.deepEqual(await hears(again, all => all.length === 40), wanted);
    await again.close();
  }).timeout(30_000);

  it('closes every stream properly at SIGTERM, loses nothing, and ends with 0', async () => {
    const author = await login('author');
    const reader = await login('absent');
    await reader.sends(`<enable xmlns='${sm}' resume='true'/><presence/>`);
    await reader.receives(e => e.name === 'enabled');
    const halfway = await login('nobody', { bare: true });
    const mute = createConnection({ host: '127.0.0.1', port: hub.ports.c2s });
    mute.on('error', () => {});
    await new Promise(resolve => mute.once('connect', resolve));
    promised.messages.clear();
    const deaf = await login('romeo', { quiet: false });
    deaf.stream.socket.pause();
    const nurse = await login('nurse');
    const working = change(nurse, store);
    await writeMessages(author, 500);
    const since = performance.now();
    const { code, log, err } = await hub.kill('SIGTERM');
    assert.equal(code, 0, err);
    assert.ok(performance.now() - since < 8_000, 'it does not wait for those who do not read');
    assert.match(log, /"reason":"SIGTERM","msg":"ending"(.|\n)*"msg":"ended"\}\n$/);
    assert.equal(err, '');
    await working;
    for (const client of [author, reader, halfway, nurse]) {
      assert.deepEqual([client.ending?.by, client.ending?.error?.condition], ['peer', 'system-shutdown']);
    }
    assert.equal(existsSync(join(place.path, 'data', 'admin.sock')), false);
    assert.equal(promised.messages.size, 500);
    hub = await place.start();
    const again = await login('absent', { quiet: false });
    includesAll(await hears(again, all => all.length >= promised.messages.size), promised.messages);
    await checkDocument();
    assert.equal((await hub.kill('SIGINT')).code, 0);
  }).timeout(30_000);
});
