// Several domains on one hub, several hubs for one domain: aliases, crossing, pools; and what operators change as it runs.
import assert from 'node:assert/strict';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { askAdmin } from '../../src/hub/admin.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { createAuthority } from '../support/authority.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { recordsOf, startPartners } from '../support/partners.ts';
import { until } from '../support/until.ts';
import { startZones } from '../support/zones.ts';

describe('aliases of a domain', () => {
  let hub: TestHub;
  before(async () => {
    hub = await startTestHub('{ hub.test: { aliases: [chat.hub.test] } }');
  });
  after(() => hub.close());

  it('mean the domain: for messages, presence, logins', async () => {
    const romeo = await hub.client('romeo@hub.test');
    const juliet = await hub.client('juliet@hub.test');
    await romeo.sends(`<message to='juliet@chat.hub.test' type='chat'><body>alias</body></message>`);
    assert.equal((await juliet.hears('alias')).attrs.to, 'juliet@hub.test');
    await romeo.sends(`<presence to='juliet@chat.hub.test' type='subscribe'/>`);
    await juliet.receives(e => e.attrs.type === 'subscribe' && e.attrs.from === 'romeo@hub.test');
    const again = await hub.client('romeo@hub.test', { jid: 'romeo@chat.hub.test' });
    assert.match(again.jid, /^romeo@hub\.test\//);
  });

  it('are the domain in rosters, so that whoever is asked can answer', async () => {
    const [tybalt, paris] = [await hub.client('tybalt@hub.test'), await hub.client('paris@hub.test')];
    const roster = (inner = '') => `<query xmlns='${ns.roster}'>${inner}</query>`;
    await tybalt.asks('set', roster(`<item jid='paris@chat.hub.test' name='Paris'/>`));
    await tybalt.sends(`<presence to='paris@chat.hub.test' type='subscribe'/>`);
    await paris.receives(e => e.attrs.type === 'subscribe');
    await paris.sends(`<presence to='tybalt@chat.hub.test' type='subscribed'/>`);
    await tybalt.receives(e => e.name === 'presence' && e.attrs.from === paris.jid);
    const items = (await tybalt.asks('get', roster())).child('query', ns.roster)?.all('item') ?? [];
    assert.deepEqual(
      items.map(({ attrs }) => attrs),
      [{ jid: 'paris@hub.test', name: 'Paris', subscription: 'to' }],
    );
  });

  it('answer what they are asked under their own name', async () => {
    const romeo = await hub.client('romeo@hub.test');
    for (const query of [`<query xmlns='${ns.discoInfo}'/>`, `<ping xmlns='${ns.ping}'/>`]) {
      const answer = await romeo.asks('get', query, 'chat.hub.test');
      assert.equal(answer.attrs.type, 'result');
      assert.equal(answer.attrs.from, 'chat.hub.test');
    }
  });

  it('do not get around a block', async () => {
    const romeo = await hub.client('romeo@hub.test');
    const juliet = await hub.client('juliet@hub.test');
    await juliet.asks('set', `<block xmlns='${ns.blocking}'><item jid='romeo@hub.test'/></block>`);
    await romeo.sends(`<message to='juliet@chat.hub.test' id='b1' type='chat'><body>let me in</body></message>`);
    await romeo.receives(e => e.attrs.id === 'b1' && e.attrs.type === 'error');
    await juliet.hasNot(e => e.childText('body') === 'let me in');
  });
});

describe('hosted domains among themselves', () => {
  const cases = [
    { yaml: 'cross-domain: { policy: closed }', reaches: false },
    { yaml: 'cross-domain: { policy: open }', reaches: true },
    { yaml: 'cross-domain: { policy: closed, exceptions: [sales.test] }', reaches: true },
    { yaml: 'cross-domain: { policy: open, exceptions: [sales.test] }', reaches: false },
  ];
  for (const { yaml, reaches } of cases) {
    it(`${reaches ? 'reach' : 'do not reach'} each other with ${yaml}`, async () => {
      const hub = await startTestHub(['hub.test', 'sales.test'], { yaml });
      try {
        const romeo = await hub.client('romeo@hub.test');
        const juliet = await hub.client('juliet@sales.test');
        await romeo.sends(`<message to='juliet@sales.test' id='c1' type='chat'><body>across</body></message>`);
        if (reaches) await juliet.hears('across');
        else {
          const error = await romeo.receives(e => e.attrs.id === 'c1');
          assert.match(String(error), /not-allowed/);
        }
        await romeo.sends(`<presence to='juliet@sales.test' id='c2' type='subscribe'/>`);
        if (reaches) await juliet.receives(e => e.attrs.type === 'subscribe');
        else {
          assert.match(String(await romeo.receives(e => e.attrs.id === 'c2')), /not-allowed/);
          await juliet.hasNot(e => e.attrs.type === 'subscribe');
        }
        const answer = await romeo.asks('get', `<query xmlns='${ns.discoInfo}'/>`, 'sales.test');
        assert.equal(answer.attrs.type, reaches ? 'result' : 'error');
      } finally {
        await hub.close();
      }
    });
  }
});

describe('a pool of hubs for one domain', () => {
  for (const shared of [true, false]) {
    it(`${shared ? 'answers' : 'cannot answer'} for keys of its other node where the secret is ${shared ? 'shared' : 'not shared'}`, async () => {
      const zones = await startZones('');
      const start = (domain: string, secret: string) =>
        startTestHub([domain], {
          yaml: `dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
federation: { queue: { wait: 1500ms }, dialback-secret: "${secret}" }`,
        });
      const one = await start('capulet.test', 'of the pool');
      const other = await start('capulet.test', shared ? 'of the pool' : 'of its own');
      const montague = await start('montague.test', 'elsewhere');
      try {
        // The name leads to the other node, which did not make the link.
        zones.set(`${recordsOf('capulet.test', other)}\n${recordsOf('montague.test', montague)}`);
        const juliet = await one.client('juliet@capulet.test');
        const romeo = await montague.client('romeo@montague.test');
        await juliet.sends(`<message to='${romeo.jid}' id='p1' type='chat'><body>from node one</body></message>`);
        if (shared) await romeo.hears('from node one');
        else assert.match(String(await juliet.receives(e => e.attrs.id === 'p1')), /dialback key/);
      } finally {
        for (const hub of [one, other, montague]) await hub.close();
        await zones.close();
      }
    });
  }
});

describe('what operators change while links are up', () => {
  it('a domain is denied and allowed at once, both ways, and after a restart', async () => {
    const partners = await startPartners();
    let { montague } = partners;
    try {
      const juliet = await partners.capulet.client('juliet@capulet.test');
      const romeo = await montague.client('romeo@montague.test');
      await juliet.sends(`<message to='${romeo.jid}' type='chat'><body>before</body></message>`);
      await romeo.hears('before');
      await montague.links.setAllowed('capulet.test', false);
      await until(() => montague.links.inbound.length === 0);
      await romeo.sends(`<message to='${juliet.jid}' id='d1' type='chat'><body>no</body></message>`);
      assert.match(String(await romeo.receives(e => e.attrs.id === 'd1')), /not-allowed.*denied by an operator/s);
      await juliet.sends(`<message to='${romeo.jid}' id='d2' type='chat'><body>no</body></message>`);
      await until(() => /policy-violation/.test(JSON.stringify(partners.capulet.links.show('montague.test').stories)));
      await romeo.hasNot(e => e.childText('body') === 'no' && e.attrs.type !== 'error');
      montague = await montague.restart();
      assert.match(String(montague.links.show('capulet.test').policy), /denied by an operator/);
      assert.match(String(montague.links.show('capulet.test').changed), /denied at run time/);
      await montague.links.setAllowed('capulet.test', true);
      const again = await montague.client('romeo@montague.test');
      await again.sends(`<message to='${juliet.jid}' type='chat'><body>after</body></message>`);
      await juliet.hears('after');
    } finally {
      await partners.capulet.close();
      await montague.close();
      await partners.zones.close();
    }
  });

  it('links that idle are closed, and open again without loss', async () => {
    const partners = await startPartners({ yaml: 'federation: { idle-timeout: 1s }' });
    try {
      const juliet = await partners.capulet.client('juliet@capulet.test');
      const romeo = await partners.montague.client('romeo@montague.test');
      for (let round = 0; round < 3; round++) {
        for (let n = 0; n < 5; n++) {
          await juliet.sends(`<message to='${romeo.jid}' type='chat'><body>r${round} n${n}</body></message>`);
        }
        // The timer behind this runs every half minute; the test does not wait for it.
        if (round < 2) {
          await romeo.hears(`r${round} n4`);
          partners.capulet.links.close('montague.test');
          await juliet.sends(`<message to='${romeo.jid}' type='chat'><body>behind ${round}</body></message>`);
          await romeo.hears(`behind ${round}`);
        }
      }
      await romeo.hears('r2 n4');
    } finally {
      await partners.close();
    }
  });

  it('a new certificate is shown by name to those who connect from then on', async () => {
    const authority = await createAuthority();
    const files: Record<string, string> = {};
    for (const name of ['hub', 'sales']) {
      const issued = await authority.issue({ names: [`${name}.test`] });
      files[`${name}.crt`] = issued.certificate;
      files[`${name}.key`] = issued.key;
    }
    const hub = await startTestHub(
      '{ hub.test: { certificate: hub.crt, key: hub.key }, sales.test: { certificate: sales.crt, key: sales.key } }',
      { files, listen: { 's2s-tls': '127.0.0.1:0' } },
    );
    try {
      const shown = (servername: string) =>
        new Promise<{ names: string; serial: string }>((resolve, reject) => {
          const { port } = hub.listening['s2s-tls'][0];
          const socket = connect(
            { host: '127.0.0.1', port, servername, rejectUnauthorized: false, ALPNProtocols: ['xmpp-server'] },
            () => {
              const { subjectaltname = '', serialNumber } = socket.getPeerCertificate();
              assert.equal(socket.alpnProtocol, 'xmpp-server');
              socket.destroy();
              resolve({ names: subjectaltname, serial: serialNumber });
            },
          );
          socket.on('error', reject);
        });
      const before = await shown('sales.test');
      assert.match(before.names, /sales\.test/);
      assert.match((await shown('hub.test')).names, /DNS:hub\.test/);
      const next = await authority.issue({ names: ['sales.test'] });
      writeFileSync(join(hub.directory, 'sales.key'), next.key);
      writeFileSync(join(hub.directory, 'next.crt'), next.certificate);
      copyFileSync(join(hub.directory, 'next.crt'), join(hub.directory, 'sales.crt'));
      hub.certificates.refresh();
      assert.notEqual((await shown('sales.test')).serial, before.serial);
      assert.match((await shown('hub.test')).names, /DNS:hub\.test/);
    } finally {
      await hub.close();
    }
  });
});

describe('isthmus federation ping', () => {
  it('fails where a domain cannot be reached, and says why', async () => {
    const partners = await startPartners();
    try {
      const ping = (domain: string) =>
        askAdmin(join(partners.capulet.directory, 'data'), 'federation', ['ping', domain]);
      assert.equal(((await ping('montague.test')) as { answer: string }).answer, 'pong');
      await assert.rejects(ping('nowhere.test'), /nowhere\.test: DNS knows neither/);
      await partners.capulet.links.setAllowed('montague.test', false);
      await assert.rejects(ping('montague.test'), /montague\.test: .*denied by an operator/);
    } finally {
      await partners.close();
    }
  });
});
