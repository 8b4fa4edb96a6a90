// The embedded SIP engine with real SIP software: Kamailio as registrar, relay and presence server over UDP, TCP and TLS, and sipp.
import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createEmbedded } from '../../src/bridges/sip/embedded.ts';
import type { Engine, Notification, SubscriptionEnd } from '../../src/bridges/sip/engine.ts';
import { engineConfig, enginePort, RecordingHandler, until } from '../support/sip-engine.ts';
import { createSipTls, type SipTls } from '../support/sip-tls.ts';
import { startProcess } from './process.ts';

type Protocol = 'udp' | 'tcp' | 'tls';

const pidf = (state: string) =>
  `<?xml version="1.0" encoding="UTF-8"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:romeo@sip.test"><tuple id="a"><status><basic>${state}</basic></status></tuple></presence>`;

interface Running {
  engine: Engine;
  handler: RecordingHandler;
  close(): Promise<void>;
}

async function startEngine(listen: string[], yaml: string, trust: string[] = []): Promise<Running> {
  const port = enginePort({ trust });
  const engine = createEmbedded(
    engineConfig(`domains: [sip.test]\nlisten: [${listen.map(one => `"${one}"`)}]\n${yaml}`),
    port,
  );
  const handler = new RecordingHandler();
  await engine.start(handler);
  return {
    engine,
    handler,
    async close() {
      await engine.stop();
      port.close();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise(resolve => server.close(resolve));
  return port;
}

/** Kamailio that asks everybody for a digest before it registers or publishes them. */
async function startRegistrar(
  tls: SipTls,
): Promise<{ ports: Record<Protocol, number>; log(): string; stop(): Promise<void> }> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-kamailio-'));
  const [port, secure] = [await freePort(), await freePort()];
  const own = await tls.authority.issue({ names: ['sip.test', '127.0.0.1'] });
  const file = (name: string, text: string) => {
    writeFileSync(join(directory, name), text);
    return join(directory, name);
  };
  const [certificate, key] = [file('own.crt', own.certificate), file('own.key', own.key)];
  const section = `method = TLSv1.2+\nverify_certificate = no\nrequire_certificate = no\ncertificate = ${certificate}\nprivate_key = ${key}\nca_list = ${tls.ca}\n`;
  const tlsFile = file('tls.cfg', `[server:default]\n${section}\n[client:default]\n${section}`);
  const database = join(directory, 'kamailio.db');
  const db = new DatabaseSync(database);
  for (const schema of ['standard', 'presence'])
    db.exec(readFileSync(`/usr/share/kamailio/db_sqlite/${schema}-create.sql`, 'utf8'));
  db.close();
  const modules = [
    'db_sqlite',
    'tls',
    'tm',
    'sl',
    'rr',
    'pv',
    'maxfwd',
    'usrloc',
    'registrar',
    'siputils',
    'textops',
    'auth',
    'presence',
    'presence_xml',
  ];
  const config = file(
    'kamailio.cfg',
    `#!KAMAILIO
debug=2
log_stderror=yes
children=2
tcp_children=2
enable_tls=yes
auto_aliases=no
alias="sip.test"
listen=udp:127.0.0.1:${port}
listen=tcp:127.0.0.1:${port}
listen=tls:127.0.0.1:${secure}
tcp_connection_lifetime=3605
${modules.map(name => `loadmodule "${name}.so"`).join('\n')}
modparam("tls", "config", "${tlsFile}")
modparam("usrloc", "db_mode", 0)
modparam("presence", "db_url", "sqlite://${database}")
modparam("presence", "server_address", "sip:sip.test")
modparam("presence", "subs_db_mode", 0)
modparam("presence", "min_expires", 1)
modparam("presence_xml", "db_url", "sqlite://${database}")
modparam("presence_xml", "force_active", 1)
request_route {
  if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
  if (has_totag()) {
    if (loose_route() && !(uri == myself)) { t_relay(); exit; }
    if (is_method("SUBSCRIBE")) { handle_subscribe(); exit; }
    sl_send_reply("404", "Not Here");
    exit;
  }
  if (is_method("SUBSCRIBE")) {
    record_route();
    if ($rU == "direct") { if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; } t_relay(); exit; }
    if (!t_newtran()) { sl_reply_error(); exit; }
    handle_subscribe();
    t_release();
    exit;
  }
  if (is_method("REGISTER|PUBLISH")) {
    if (!pv_www_authenticate("sip.test", "wherefore", "0")) { www_challenge("sip.test", "1"); exit; }
    if (is_method("REGISTER")) { if (!save("location")) sl_reply_error(); exit; }
    if (!t_newtran()) { sl_reply_error(); exit; }
    handle_publish();
    t_release();
    exit;
  }
  if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
  if (!t_relay()) sl_reply_error();
}
`,
  );
  const args = ['-f', config, '-DD', '-E', '-m', '64', '-M', '8', '-Y', directory, '-P', join(directory, 'pid')];
  const running = await startProcess({ command: 'kamailio', args, cwd: directory }, { host: '127.0.0.1', port });
  return {
    ports: { udp: port, tcp: port, tls: secure },
    log: running.log,
    async stop() {
      await running.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

describe('The SIP engine and Kamailio', function () {
  this.timeout(40_000);
  let tls: SipTls;
  let kamailio: Awaited<ReturnType<typeof startRegistrar>>;

  before(async () => {
    tls = await createSipTls();
    kamailio = await startRegistrar(tls);
  });

  after(async () => {
    await kamailio?.stop();
    tls?.remove();
  });

  for (const protocol of ['udp', 'tcp', 'tls'] as const) {
    describe(`over ${protocol.toUpperCase()}`, () => {
      let running: Running;
      let contact: string;

      before(async () => {
        const hop = `sip:127.0.0.1:${kamailio.ports[protocol]};transport=${protocol}`;
        running = await startEngine(
          [`${protocol}:127.0.0.1:0`],
          `${tls.yaml}\nroutes: { sip.test: "${hop}" }\ncredentials: { sip.test: { user: romeo, password: wherefore } }`,
          [tls.ca],
        );
        contact = `${running.engine.addresses[0].slice(protocol.length + 1)};transport=${protocol}`;
      });

      after(() => running?.close());

      const register = (user: string, expires = 600) =>
        running.engine.send({
          method: 'REGISTER',
          uri: 'sip:sip.test',
          from: `sip:${user}@sip.test`,
          to: `sip:${user}@sip.test`,
          headers: [['Expires', String(expires)]],
        });

      it('registers with a digest', async () => {
        const answer = await register('romeo');
        assert.equal(answer.status, 200, kamailio.log());
        assert.match(answer.header('Contact') ?? '', /romeo@127\.0\.0\.1/);
      });

      it('sends a MESSAGE through it to itself: out as one request, in as another', async () => {
        await register('romeo');
        const body = Buffer.from('Schön, 😀');
        const answer = await running.engine.send({
          method: 'MESSAGE',
          uri: 'sip:romeo@sip.test',
          from: 'sip:juliet@sip.test',
          displayName: 'Jülia "J"',
          contentType: 'text/plain;charset=UTF-8',
          body,
        });
        assert.equal(answer.status, 200, kamailio.log());
        const request = running.handler.requests.at(-1)!;
        assert.deepEqual([request.from, request.displayName], ['sip:juliet@sip.test', 'Jülia "J"']);
        assert.deepEqual(Buffer.from(request.body), body);
      });

      it('is told of people who do not exist', async () => {
        const answer = await running.engine.send({
          method: 'MESSAGE',
          uri: 'sip:nobody@sip.test',
          from: 'sip:romeo@sip.test',
        });
        assert.equal(answer.status, 404);
      });

      it('publishes, watches, sees the changes and stops watching', async () => {
        const person = `sip:${protocol}@sip.test`;
        const publish = (state: string, tag?: string) =>
          running.engine.send({
            method: 'PUBLISH',
            uri: person,
            from: person,
            headers: [
              ['Event', 'presence'],
              ['Expires', '600'],
              ...(tag ? [['SIP-If-Match', tag] as [string, string]] : []),
            ],
            contentType: 'application/pidf+xml',
            body: Buffer.from(pidf(state)),
          });
        const published = await publish('open');
        assert.equal(published.status, 200, kamailio.log());
        const heard: Notification[] = [];
        const ends: SubscriptionEnd[] = [];
        const wish = {
          uri: person,
          from: 'sip:juliet@sip.test',
          event: 'presence',
          accept: ['application/pidf+xml'],
          expires: 600,
        };
        const subscription = running.engine.subscribe(wish, {
          notify: one => heard.push(one),
          ended: end => ends.push(end),
        });
        const says = (state: string) => () =>
          heard.some(
            one => one.state === 'active' && Buffer.from(one.body).toString().includes(`<basic>${state}</basic>`),
          );
        await until(says('open'), 4_000);
        assert.equal((await publish('closed', published.header('SIP-ETag'))).status, 200);
        await until(says('closed'), 10_000);
        const before = heard.length;
        subscription.refresh(300);
        await until(() => heard.length > before, 10_000);
        await subscription.end();
        assert.deepEqual(
          ends.map(({ kind }) => kind),
          ['closed'],
        );
      });

      it('is watched through it, route set and all', async () => {
        await register('direct');
        running.handler.accept = (_request, subscription) => {
          void subscription.notify({
            state: 'active',
            contentType: 'application/pidf+xml',
            body: Buffer.from(pidf('open')),
          });
          subscription.onEnd = () => void subscription.notify({ state: 'terminated', reason: 'timeout' });
          return { status: 200 };
        };
        const heard: Notification[] = [];
        const wish = {
          uri: 'sip:direct@sip.test',
          from: 'sip:juliet@sip.test',
          event: 'presence',
          accept: ['application/pidf+xml'],
          expires: 600,
        };
        const subscription = running.engine.subscribe(wish, { notify: one => heard.push(one), ended: () => {} });
        await until(() => heard.length > 0, 4_000);
        assert.equal(heard[0].state, 'active');
        await subscription.end();
        assert.equal(heard.at(-1)?.state, 'terminated');
        assert.deepEqual(running.engine.show().subscriptions, { incoming: 0, outgoing: 0 }, contact);
      });
    });
  }
});

describe('The SIP engine and sipp', function () {
  this.timeout(40_000);
  let running: Running;

  before(async () => {
    running = await startEngine(['udp:127.0.0.1:0', 'tcp:127.0.0.1:0'], 'limits: { per-source: 0 }');
    running.handler.accept = (_request, subscription) => {
      void subscription.notify({
        state: 'active',
        contentType: 'application/pidf+xml',
        body: Buffer.from(pidf('open')),
      });
      subscription.onEnd = () => void subscription.notify({ state: 'terminated', reason: 'timeout' });
      return { status: 200 };
    };
  });

  after(() => running?.close());

  /** Runs a scenario so many times; rejects with what sipp says where one fails. */
  const sipp = async (scenario: string, protocol: 'udp' | 'tcp', calls: number, rate: number): Promise<void> => {
    const directory = mkdtempSync(join(tmpdir(), 'isthmus-sipp-'));
    const port = running.engine.addresses
      .find(at => at.startsWith(protocol))!
      .split(':')
      .at(-1);
    const file = new URL(`sipp/${scenario}.xml`, import.meta.url).pathname;
    const args = [
      '-sf',
      file,
      '-m',
      String(calls),
      '-r',
      String(rate),
      '-l',
      '500',
      '-t',
      protocol === 'udp' ? 'u1' : 't1',
      '-i',
      '127.0.0.1',
      '-p',
      String(await freePort()),
      '-timeout',
      '30',
      '-timeout_error',
      '-trace_err',
      '-nostdin',
      `127.0.0.1:${port}`,
    ];
    const child = spawn('sipp', args, { cwd: directory, env: { ...process.env, TERM: 'dumb' } });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', chunk => (output = (output + chunk).slice(-4000)));
    const code = await new Promise(resolve => child.once('close', resolve));
    rmSync(directory, { recursive: true, force: true });
    assert.equal(code, 0, output);
  };

  for (const protocol of ['udp', 'tcp'] as const) {
    it(`takes a flood of MESSAGEs over ${protocol.toUpperCase()}, each once`, async () => {
      const before = running.handler.requests.length;
      await sipp('message', protocol, 5000, 2000);
      assert.equal(running.handler.requests.length - before, 5000);
    });

    it(`serves watchers over ${protocol.toUpperCase()}`, async () => {
      await sipp('watch', protocol, 500, 200);
      assert.deepEqual(running.engine.show().subscriptions, { incoming: 0, outgoing: 0 });
    });
  }
});
