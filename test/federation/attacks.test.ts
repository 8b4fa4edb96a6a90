// What hostile servers try on an incoming stream, by the state it is in: each attack has its answer, and the hub goes on.
import assert from 'node:assert/strict';
import { createConnection, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ns } from '../../src/xmpp/namespaces.ts';
import { type Authority, createAuthority, type Issued, selfSigned } from '../support/authority.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { logTo } from '../support/log.ts';
import { until } from '../support/until.ts';
import { startZones, type Zones } from '../support/zones.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

type State = 'plain' | 'tls' | 'proved';

/** A server stream in the attacker's hands: bytes out, text in. */
class Attacker {
  socket: Socket | TLSSocket;
  text = '';
  ended = false;

  constructor(socket: Socket) {
    this.socket = socket;
    this.#listen();
  }

  #listen(): void {
    this.socket.on('data', data => {
      this.text += data;
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.ended = true;
    });
  }

  static async connect(port: number): Promise<Attacker> {
    const socket = createConnection({ host: '127.0.0.1', port });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new Attacker(socket);
  }

  send(xml: string | Uint8Array): void {
    this.socket.write(xml);
  }

  open(attributes = "from='montague.test' to='capulet.test'"): void {
    this.send(
      `<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='${ns.streams}' xmlns:db='${ns.dialback}' ${attributes} version='1.0'>`,
    );
  }

  async gets(wanted: RegExp): Promise<string> {
    await until(() => wanted.test(this.text) || this.ended).catch(() => {});
    assert.match(this.text, wanted);
    return this.text;
  }

  async startTls(certificate?: Issued): Promise<void> {
    this.open();
    await this.gets(/<\/stream:features>/);
    this.text = '';
    this.send(`<starttls xmlns='${ns.tls}'/>`);
    await this.gets(/proceed/);
    this.socket.removeAllListeners('data');
    const options = certificate ? { cert: certificate.certificate, key: certificate.key } : {};
    const secured = connectTls({
      socket: this.socket,
      rejectUnauthorized: false,
      servername: 'capulet.test',
      ...options,
    });
    await new Promise((resolve, reject) => secured.once('secureConnect', resolve).once('error', reject));
    this.socket = secured;
    this.text = '';
    this.#listen();
    this.open();
    await this.gets(/<\/stream:features>/);
    this.text = '';
  }

  async authenticate(): Promise<void> {
    this.send(`<auth xmlns='${ns.sasl}' mechanism='EXTERNAL'>=</auth>`);
    await this.gets(/<success/);
    this.text = '';
    this.open();
    await this.gets(/<\/stream:features>/);
    this.text = '';
  }
}

interface Attack {
  name: string;
  states: readonly State[];
  send: string | ((attacker: Attacker) => void | Promise<void>);
  /** What the attacker gets to see. */
  answer: RegExp;
  /** What the operator reads in the log. */
  log?: RegExp;
}

const every = ['plain', 'tls', 'proved'] as const;
const unproved = ['plain', 'tls'] as const;
const message = (from: string, to: string) => `<message from='${from}' to='${to}'><body>x</body></message>`;

const attacks: readonly Attack[] = [
  {
    name: 'a stanza before anything is proved',
    states: unproved,
    send: message('a@montague.test', 'juliet@capulet.test'),
    answer: /<not-authorized/,
    log: /has not proved itself/,
  },
  {
    name: 'a stanza from another domain than was proved',
    states: ['proved'],
    send: message('a@verona.test', 'juliet@capulet.test'),
    answer: /<invalid-from/,
    log: /verona.test has not proved itself/,
  },
  {
    name: 'a stanza in our own name',
    states: ['proved'],
    send: message('juliet@capulet.test', 'nurse@capulet.test'),
    answer: /<invalid-from/,
  },
  {
    name: 'a stanza from a subdomain of what was proved',
    states: ['proved'],
    send: message('a@sub.montague.test', 'juliet@capulet.test'),
    answer: /<invalid-from/,
  },
  {
    name: 'a stanza without `from`',
    states: ['proved'],
    send: `<message to='juliet@capulet.test'><body>x</body></message>`,
    answer: /<improper-addressing/,
  },
  {
    name: 'a stanza without `to`',
    states: ['proved'],
    send: `<message from='a@montague.test'><body>x</body></message>`,
    answer: /<improper-addressing/,
  },
  {
    name: 'a stanza for no address, from another domain than was proved',
    states: ['proved'],
    send: message('a@verona.test', '@'),
    answer: /<invalid-from/,
  },
  {
    name: 'a stanza for a domain that is not served',
    states: ['proved'],
    send: `<iq type='get' id='1' from='a@montague.test' to='verona.test'><ping xmlns='${ns.ping}'/></iq>`,
    answer: /.*/,
  },
  {
    name: 'a namespace of clients',
    states: ['proved'],
    send: `<message xmlns='urn:other' from='a@montague.test' to='juliet@capulet.test'/>`,
    answer: /<(unsupported-stanza-type|invalid-namespace)/,
  },
  {
    name: 'a key without domains',
    states: every,
    send: `<db:result>abc</db:result>`,
    answer: /<improper-addressing/,
  },
  {
    name: 'a key for a domain that is not served',
    states: ['tls'],
    send: `<db:result from='montague.test' to='verona.test'>abc</db:result>`,
    answer: /<db:result[^>]*type='error'.*<item-not-found/,
  },
  {
    name: 'a key in plain text where TLS is asked for',
    states: ['plain'],
    send: `<db:result from='montague.test' to='capulet.test'>abc</db:result>`,
    answer: /type='error'.*<policy-violation/,
  },
  {
    name: 'a forged key for a domain that is not there',
    states: ['tls'],
    send: `<db:result from='nowhere.test' to='capulet.test'>abc</db:result>`,
    answer: /type='error'.*<remote-server-not-found/,
    log: /dialback failed/,
  },
  {
    name: 'a key in the name of a denied domain',
    states: ['tls'],
    send: `<db:result from='denied.test' to='capulet.test'>abc</db:result>`,
    answer: /type='error'.*<not-allowed/,
  },
  {
    name: 'a question about a key of a domain that is not served',
    states: every,
    send: `<db:verify from='montague.test' to='verona.test' id='1'>abc</db:verify>`,
    answer: /<db:verify[^>]*type='error'.*<item-not-found/,
  },
  {
    name: 'a question about a forged key',
    states: every,
    send: `<db:verify from='montague.test' to='capulet.test' id='1'>${'0'.repeat(64)}</db:verify>`,
    answer: /<db:verify[^>]*type='invalid'/,
  },
  {
    name: 'an answer nobody asked for',
    states: every,
    send: `<db:result from='montague.test' to='capulet.test' type='valid'/>`,
    answer: /<unsupported-stanza-type/,
  },
  {
    name: 'a verification nobody asked for',
    states: every,
    send: `<db:verify from='montague.test' to='capulet.test' id='1' type='valid'/>`,
    answer: /<unsupported-stanza-type/,
  },
  {
    name: 'EXTERNAL without TLS',
    states: ['plain'],
    send: `<auth xmlns='${ns.sasl}' mechanism='EXTERNAL'>=</auth>`,
    answer: /<encryption-required/,
  },
  {
    name: 'EXTERNAL for another domain',
    states: ['tls'],
    send: `<auth xmlns='${ns.sasl}' mechanism='EXTERNAL'>${Buffer.from('verona.test').toString('base64')}</auth>`,
    answer: /<invalid-authzid/,
    log: /EXTERNAL refused/,
  },
  {
    name: 'another mechanism',
    states: ['tls'],
    send: `<auth xmlns='${ns.sasl}' mechanism='PLAIN'>AGEAYg==</auth>`,
    answer: /<invalid-mechanism/,
  },
  { name: 'an abort of SASL', states: ['tls'], send: `<abort xmlns='${ns.sasl}'/>`, answer: /<aborted/ },
  {
    name: 'stream management before anything is proved',
    states: unproved,
    send: `<enable xmlns='${ns.streamManagement}' resume='true'/>`,
    answer: /<failed[^>]*><unexpected-request/,
  },
  {
    name: 'the resumption of a stream of somebody else',
    states: ['proved'],
    send: `<resume xmlns='${ns.streamManagement}' previd='abc' h='0'/>`,
    answer: /<failed[^>]*><item-not-found/,
  },
  {
    name: 'an acknowledgement of more than was sent',
    states: ['proved'],
    send: `<enable xmlns='${ns.streamManagement}'/><a xmlns='${ns.streamManagement}' h='99'/>`,
    answer: /<undefined-condition/,
  },
  {
    name: 'a second STARTTLS',
    states: ['tls', 'proved'],
    send: `<starttls xmlns='${ns.tls}'/>`,
    answer: /<failure/,
  },
  {
    name: 'data behind the STARTTLS command',
    states: ['plain'],
    send: `<starttls xmlns='${ns.tls}'/>${message('a@montague.test', 'juliet@capulet.test')}`,
    answer: /<policy-violation/,
  },
  {
    name: 'compression, which nobody offered',
    states: every,
    send: `<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>`,
    answer: /<unsupported-stanza-type/,
  },
  {
    name: 'a document type with entities',
    states: every,
    send: `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>`,
    answer: /<(restricted-xml|not-well-formed)/,
  },
  {
    name: 'an undefined entity',
    states: every,
    send: '<message>&bomb;</message>',
    answer: /<(restricted-xml|not-well-formed)/,
  },
  { name: 'a processing instruction', states: every, send: '<?php exit ?>', answer: /<restricted-xml/ },
  {
    name: 'bytes that are not UTF-8',
    states: every,
    send: a => a.send(Buffer.from([0x3c, 0x61, 0x3e, 0xc3, 0x28])),
    answer: /<(bad-format|unsupported-encoding|not-well-formed)/,
  },
  { name: 'elements without end', states: every, send: '<a>'.repeat(10_000), answer: /<policy-violation/ },
  {
    name: 'a stanza without end',
    states: every,
    send: a => a.send(`<message><body>${'x'.repeat(600 * 1024)}`),
    answer: /<policy-violation/,
  },
];

const openings: readonly { name: string; header: string; answer: RegExp; log?: RegExp }[] = [
  {
    name: 'a wrong `to`',
    header: "from='montague.test' to='verona.test'",
    answer: /<host-unknown/,
    log: /verona.test is not served/,
  },
  {
    name: 'a denied `from`',
    header: "from='denied.test' to='capulet.test'",
    answer: /<policy-violation/,
    log: /denied.test is among/,
  },
  {
    name: 'an unbound prefix',
    header: "from='montague.test' to='capulet.test' x:a='1'",
    answer: /<(not-well-formed|bad-namespace-prefix)/,
  },
];

describe('attacks on server streams', () => {
  let authority: Authority;
  let zones: Zones;
  let hub: TestHub;
  let valid: Issued;
  let lines = '';
  let port = 0;

  before(async () => {
    authority = await createAuthority();
    zones = await startZones('');
    const own = await authority.issue({ names: ['capulet.test'] });
    valid = await authority.issue({ names: ['montague.test'] });
    const log = logTo(line => {
      lines += line;
    });
    hub = await startTestHub('{ capulet.test: { certificate: domain.crt, key: domain.key } }', {
      files: { 'ca.crt': authority.certificate, 'domain.crt': own.certificate, 'domain.key': own.key },
      log,
      yaml: `tls: { trust: [ca.crt] }
dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
federation: { exceptions: [denied.test], connect-timeout: 2s }`,
    });
    port = hub.listening.s2s[0].port;
  });
  after(async () => {
    await hub.close();
    await zones.close();
  });

  async function attackerIn(state: State): Promise<Attacker> {
    const attacker = await Attacker.connect(port);
    if (state === 'plain') {
      attacker.open();
      await attacker.gets(/<\/stream:features>/);
      attacker.text = '';
    } else {
      await attacker.startTls(state === 'proved' ? valid : undefined);
      if (state === 'proved') await attacker.authenticate();
    }
    return attacker;
  }

  const refuses: Record<State, string> = { plain: 'before TLS', tls: 'after TLS', proved: 'once proved' };
  for (const { name, states, send, answer, log } of attacks) {
    for (const state of states) {
      it(`${refuses[state]}: ${name}`, async () => {
        const attacker = await attackerIn(state);
        lines = '';
        if (typeof send === 'string') attacker.send(send);
        else await send(attacker);
        await attacker.gets(answer);
        if (log) await until(() => log.test(lines)).catch(() => assert.match(lines, log));
        attacker.socket.destroy();
      });
    }
  }

  for (const { name, header, answer, log } of openings) {
    it(`at the start: ${name}`, async () => {
      const attacker = await Attacker.connect(port);
      lines = '';
      attacker.open(header);
      await attacker.gets(answer);
      if (log) await until(() => log.test(lines)).catch(() => assert.match(lines, log));
      attacker.socket.destroy();
    });
  }

  it('EXTERNAL is not offered for an expired, a self-signed or a stranger’s certificate', async () => {
    const day = 86_400_000;
    const now = Date.now();
    const certificates = [
      await authority.issue({
        names: ['montague.test'],
        notBefore: new Date(now - 2 * day),
        notAfter: new Date(now - day),
      }),
      await selfSigned({ names: ['montague.test'] }),
      await (await createAuthority('Nobody')).issue({ names: ['montague.test'] }),
      await authority.issue({ names: ['verona.test'] }),
    ];
    for (const certificate of certificates) {
      const attacker = await Attacker.connect(port);
      await attacker.startTls(certificate);
      attacker.send(`<auth xmlns='${ns.sasl}' mechanism='EXTERNAL'>=</auth>`);
      await attacker.gets(/<not-authorized/);
      attacker.socket.destroy();
    }
  });

  it('nobody of all these got a word through, nor into the list of links', async () => {
    await until(() => hub.links.inbound.length === 0);
    const juliet = await hub.client('juliet@capulet.test');
    await juliet.hasNot(e => e.name === 'message');
  });

  it('ten thousand failed streams leave nothing behind', async () => {
    const header = `<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='${ns.streams}' from='x' to='verona.test' version='1.0'>`;
    const fail = () =>
      new Promise<void>(resolve => {
        const socket = createConnection({ host: '127.0.0.1', port }, () => socket.write(header));
        socket.on('data', () => {});
        socket.on('error', () => {});
        socket.on('close', () => resolve());
      });
    const round = async (count: number) => {
      let left = count;
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          while (left-- > 0) await fail();
        }),
      );
      await until(() => hub.links.inbound.length === 0);
      lines = '';
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const before = await round(2_000);
    const after = await round(10_000);
    assert.ok(after - before < 24 * 1024 * 1024, `the heap grew by ${Math.round((after - before) / 1024)} KiB`);
  }).timeout(60_000);
});
