// The SIP bridge under load: messages both ways over TCP and UDP beside Kamailio's relaying, and 10,000 subscriptions each way with a storm.
import { type ChildProcess, fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ns } from '../src/xmpp/namespaces.ts';
import type { Stanza } from '../src/xmpp/stanza.ts';
import { Stream } from '../src/xmpp/stream.ts';
import { startKamailio } from '../test/peers/kamailio.ts';
import { freePort } from '../test/support/sip.ts';
import { headerOf, respond, SipLoad, type SipText } from './load/sip.ts';
import { usageOf } from './load/usage.ts';

const messages = Number(process.argv[2] ?? 20_000);
const subscriptions = Number(process.argv[3] ?? 10_000);
const pairs = 200;
/** What is under way at once in one direction. */
const window = 100;
const text = 'Shall I hear more, or shall I speak at this? '.repeat(3).trim();

interface Used {
  cpu: number;
  memory: number;
  rss: number;
}

class HubProcess {
  readonly directory = mkdtempSync(join(tmpdir(), 'isthmus-bench-'));
  #child!: ChildProcess;

  async start(yaml: string): Promise<void> {
    const file = join(this.directory, 'isthmus.yaml');
    this.#child = fork(join(import.meta.dirname, 'load/sip-hub.ts'), [file, `data: data\n${yaml}`], {
      execArgv: ['--expose-gc'],
    });
    await new Promise<void>((resolve, reject) => {
      this.#child.once('message', () => resolve());
      this.#child.once('exit', code => reject(new Error(`the hub ended with ${code}`)));
    });
  }

  used(): Promise<Used> {
    return new Promise(resolve => {
      this.#child.once('message', used => resolve(used as Used));
      this.#child.send('used');
    });
  }

  async stop(): Promise<void> {
    const ended = new Promise(resolve => this.#child.once('exit', resolve));
    this.#child.send('stop');
    await ended;
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** The XMPP side: a component, which speaks for as many users as are wanted. */
class XmppLoad {
  readonly stream: Stream;
  take: (stanza: Stanza) => void = () => {};
  readonly ready: Promise<void>;

  constructor(port: number) {
    let shaken = () => {};
    this.ready = new Promise(resolve => {
      shaken = resolve;
    });
    this.stream = new Stream(
      createConnection({ host: '127.0.0.1', port }),
      { contentNs: ns.component, limits: { stanzaSize: 100_000 }, rate: 0, backlog: 256 * 1024 * 1024 },
      {
        opened: header => {
          const id = `${header.attrs.id ?? ''}secret`;
          this.stream.sendText(`<handshake>${createHash('sha1').update(id).digest('hex')}</handshake>`);
        },
        stanza: stanza => (stanza.name === 'handshake' ? shaken() : this.take(stanza)),
        closed: () => {},
      },
    );
    this.stream.open({ to: 'load.test' });
  }
}

function config(protocol: 'udp' | 'tcp', sip: number, component: number, peer: number): string {
  return `log: { level: warn, format: json }
domains: { hub.test: {} }
listen: { c2s: [], s2s: [], http: [], component: ["127.0.0.1:${component}"] }
components: { load.test: { secret: secret } }
limits: { rate: { c2s: 0, s2s: 0 } }
bridges:
  sip:
    kind: sip
    domains: [sip.test]
    listen: ["udp:127.0.0.1:${sip}", "tcp:127.0.0.1:${sip}"]
    routes: { sip.test: "sip:127.0.0.1:${peer};transport=${protocol}" }
    limits: { per-source: 0 }
`;
}

let counter = 0;

/** A request as a user agent writes it. */
function sipRequest(
  method: string,
  uri: string,
  from: string,
  port: number,
  protocol: string,
  more: string,
  body = '',
): string {
  const n = ++counter;
  return (
    `${method} ${uri} SIP/2.0\r\nVia: SIP/2.0/${protocol.toUpperCase()} 127.0.0.1:${port};branch=z9hG4bKbench${n};rport\r\n` +
    `Max-Forwards: 70\r\nFrom: <${from}>;tag=t${n}\r\nTo: <${uri}>\r\nCall-ID: call-${n}@bench\r\nCSeq: 1 ${method}\r\n` +
    `${more}Content-Length: ${body.length}\r\n\r\n${body}`
  );
}

/**
 * Does `total` things, so many at once; `begin` starts one, `done` says that one has ended. Datagrams can be lost:
 * what has not ended when nothing has for a second is counted as lost.
 */
function flood(total: number, begin: (i: number) => void): { done: () => void; finished: Promise<number> } {
  let begun = 0;
  let ended = 0;
  let lost = 0;
  let before = 0;
  const { promise, resolve } = Promise.withResolvers<number>();
  const more = () => {
    while (begun < total && begun - ended < window) begin(begun++);
  };
  const end = () => {
    clearInterval(watch);
    resolve(lost);
  };
  const watch = setInterval(() => {
    if (ended === before) {
      lost += begun - ended;
      ended = begun;
      if (ended === total) end();
      else more();
    }
    before = ended;
  }, 1_000);
  setImmediate(more);
  return {
    done: () => {
      if (++ended === total) end();
      else if (begun - ended < window / 2) more();
    },
    finished: promise,
  };
}

function report(what: string, count: number, ms: number, cpu: number, lost: number): void {
  console.log(
    `${what.padEnd(34)} ${((count / ms) * 1000).toFixed(0).padStart(6)} messages/s   ` +
      `${(cpu / count).toFixed(0).padStart(4)} µs of processor each${lost > 0 ? `   ${lost} lost` : ''}`,
  );
}

async function measureMessages(protocol: 'udp' | 'tcp'): Promise<void> {
  const [sip, component, peer] = [await freePort(), await freePort(), await freePort()];
  const hub = new HubProcess();
  await hub.start(config(protocol, sip, component, peer));
  let answered = () => {};
  const side = await SipLoad.start(peer, (message, reply) => {
    if (message.method !== '') reply(respond(message, 202, 'peer'));
    answered();
  });
  const xmpp = new XmppLoad(component);
  await xmpp.ready;

  const toSip = async (count: number) => {
    const { done, finished } = flood(count, i =>
      xmpp.stream.sendText(
        `<message from='u${i % pairs}@load.test/r' to='a${i % pairs}@sip.test' id='m${i}' type='chat'><body>${text}</body></message>`,
      ),
    );
    answered = done;
    return finished;
  };
  const toXmpp = async (count: number) => {
    const { done, finished } = flood(count, i => {
      const [to, from] = [`sip:u${i % pairs}@load.test`, `sip:a${i % pairs}@sip.test`];
      side.send(sipRequest('MESSAGE', to, from, peer, protocol, 'Content-Type: text/plain\r\n', text), sip, protocol);
    });
    answered = () => {};
    xmpp.take = done;
    return finished;
  };
  for (const [what, work] of [
    ['XMPP to SIP', toSip],
    ['SIP to XMPP', toXmpp],
  ] as const) {
    await work(messages / 4);
    const before = await hub.used();
    const began = performance.now();
    const lost = await work(messages);
    const ms = performance.now() - began;
    report(`${what}, ${protocol}`, messages, ms, (await hub.used()).cpu - before.cpu, lost);
  }
  xmpp.stream.destroy('done');
  side.close();
  await hub.stop();
}

/** Kamailio relays the same messages from one SIP peer to another. */
async function measureKamailio(protocol: 'udp' | 'tcp'): Promise<void> {
  const peer = await freePort();
  const kamailio = await startKamailio({ domain: 'other.test', hub: { host: '127.0.0.1', port: peer, protocol } });
  let done = () => {};
  const side = await SipLoad.start(peer, (message, reply) => {
    if (message.method !== '') reply(respond(message, 202, 'peer'));
    else if (message.status >= 200) done();
  });
  const run = async (count: number) => {
    const flooding = flood(count, i => {
      const [to, from] = [`sip:u${i % pairs}@load.test`, `sip:a${i % pairs}@sip.test`];
      const request = sipRequest('MESSAGE', to, from, peer, protocol, 'Content-Type: text/plain\r\n', text);
      side.send(request, kamailio.port, protocol);
    });
    done = flooding.done;
    return flooding.finished;
  };
  await run(messages / 4);
  const before = usageOf(kamailio.pid).cpu;
  const began = performance.now();
  const lost = await run(messages);
  const ms = performance.now() - began;
  report(`Kamailio relays, ${protocol}`, messages, ms, usageOf(kamailio.pid).cpu - before, lost);
  side.close();
  await kamailio.stop();
}

const document = (show: string) =>
  `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:a@sip.test"><tuple id="t1"><status><basic>open</basic><show xmlns="jabber:client">${show}</show></status></tuple></presence>`;

/** XMPP users who watch SIP users: each has a subscription of its own; then all SIP users change at once. */
async function measureWatches(): Promise<void> {
  const [sip, component, peer] = [await freePort(), await freePort(), await freePort()];
  const hub = new HubProcess();
  await hub.start(config('tcp', sip, component, peer));
  const dialogs: { request: SipText; sequence: number }[] = [];
  const notify = (dialog: (typeof dialogs)[number], show: string) => {
    const { request } = dialog;
    const body = document(show);
    const contact = /<([^>]+)>/.exec(headerOf(request, 'Contact'))?.[1] ?? '';
    const lines =
      `NOTIFY ${contact} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:${peer};branch=z9hG4bKn${++counter};rport\r\nMax-Forwards: 70\r\n` +
      `From: ${headerOf(request, 'To')};tag=peer\r\nTo: ${headerOf(request, 'From')}\r\nCall-ID: ${headerOf(request, 'Call-ID')}\r\n` +
      `CSeq: ${++dialog.sequence} NOTIFY\r\nContact: <sip:127.0.0.1:${peer};transport=tcp>\r\nEvent: presence\r\n` +
      `Subscription-State: active;expires=3600\r\nContent-Type: application/pidf+xml\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    side.send(lines, sip, 'tcp');
  };
  const side = await SipLoad.start(peer, (message, reply) => {
    if (message.method !== 'SUBSCRIBE') return;
    reply(respond(message, 200, 'peer', `Contact: <sip:127.0.0.1:${peer};transport=tcp>\r\nExpires: 3600\r\n`));
    const dialog = { request: message, sequence: 0 };
    dialogs.push(dialog);
    notify(dialog, 'away');
  });
  const xmpp = new XmppLoad(component);
  await xmpp.ready;
  const before = await hub.used();
  const making = flood(subscriptions, i =>
    xmpp.stream.sendText(`<presence from='u${i}@load.test' to='a${i}@sip.test' type='subscribe'/>`),
  );
  xmpp.take = stanza => {
    if (stanza.text('show') === 'away') making.done();
  };
  const began = performance.now();
  await making.finished;
  const made = performance.now() - began;
  const standing = await hub.used();
  const storm = new Promise<void>(resolve => {
    let seen = 0;
    xmpp.take = stanza => {
      if (stanza.text('show') === 'dnd' && ++seen === subscriptions) resolve();
    };
  });
  const stormed = performance.now();
  for (const dialog of dialogs) notify(dialog, 'dnd');
  await storm;
  tell('XMPP users watch SIP users', made, performance.now() - stormed, before, standing, await hub.used());
  xmpp.stream.destroy('done');
  side.close();
  await hub.stop();
}

/** SIP users who watch XMPP users: each in a dialog of its own; then all XMPP users change at once. */
async function measureWatchers(): Promise<void> {
  const [sip, component, peer] = [await freePort(), await freePort(), await freePort()];
  const hub = new HubProcess();
  await hub.start(config('tcp', sip, component, peer));
  let notified: (body: string) => void = () => {};
  const side = await SipLoad.start(peer, (message, reply) => {
    if (message.method !== 'NOTIFY') return;
    reply(respond(message, 200));
    notified(message.body);
  });
  const xmpp = new XmppLoad(component);
  await xmpp.ready;
  const presence = (to: string, from: string, show: string) =>
    xmpp.stream.sendText(`<presence from='${from}/r' to='${to}'><show>${show}</show></presence>`);
  const before = await hub.used();
  const making = flood(subscriptions, i => {
    const more = `Contact: <sip:a${i}@127.0.0.1:${peer};transport=tcp>\r\nEvent: presence\r\nExpires: 3600\r\nAccept: application/pidf+xml\r\n`;
    side.send(sipRequest('SUBSCRIBE', `sip:u${i}@load.test`, `sip:a${i}@sip.test`, peer, 'tcp', more), sip, 'tcp');
  });
  xmpp.take = stanza => {
    const [from, to] = [String(stanza.to), String(stanza.from)];
    if (stanza.type !== 'subscribe') return;
    xmpp.stream.sendText(`<presence from='${from}' to='${to}' type='subscribed'/>`);
    presence(to, from, 'away');
  };
  notified = body => {
    if (body.includes('>away<')) making.done();
  };
  const began = performance.now();
  await making.finished;
  const made = performance.now() - began;
  const standing = await hub.used();
  const storm = new Promise<void>(resolve => {
    let seen = 0;
    notified = body => {
      if (body.includes('>dnd<') && ++seen === subscriptions) resolve();
    };
  });
  const stormed = performance.now();
  for (let i = 0; i < subscriptions; i++) presence(`a${i}@sip.test`, `u${i}@load.test`, 'dnd');
  await storm;
  tell('SIP users watch XMPP users', made, performance.now() - stormed, before, standing, await hub.used());
  xmpp.stream.destroy('done');
  side.close();
  await hub.stop();
}

function tell(what: string, made: number, storm: number, before: Used, standing: Used, after: Used): void {
  const each = (standing.memory - before.memory) / subscriptions / 1024;
  console.log(
    `${what.padEnd(34)} ${subscriptions} made in ${(made / 1000).toFixed(1)} s, storm in ${(storm / 1000).toFixed(1)} s ` +
      `(${((after.cpu - standing.cpu) / subscriptions).toFixed(0)} µs each), ${each.toFixed(1)} KiB of memory each`,
  );
}

for (const protocol of ['tcp', 'udp'] as const) {
  await measureMessages(protocol);
  if (existsSync('/usr/sbin/kamailio')) await measureKamailio(protocol);
}
await measureWatches();
await measureWatchers();
process.exit(0);
