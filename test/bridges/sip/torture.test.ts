// The torture messages of RFC 4475, each with the verdict of the parser and the answer of the engine.
import { strict as assert } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import type { Flow } from '../../../src/bridges/sip/flow.ts';
import { Guard } from '../../../src/bridges/sip/guard.ts';
import type { Message } from '../../../src/bridges/sip/message.ts';
import { parseDatagram, StreamParser } from '../../../src/bridges/sip/parser.ts';
import type { Sender } from '../../../src/bridges/sip/sender.ts';
import { ServerTransactions } from '../../../src/bridges/sip/servers.ts';
import { Subscriptions } from '../../../src/bridges/sip/subscriptions.ts';
import { Uas } from '../../../src/bridges/sip/uas.ts';
import { engineConfig } from '../../support/sip-engine.ts';

const folder = new URL('../../../fixtures/sip/torture/', import.meta.url);

/**
 * What becomes of each: the answer to a request, `response` for one that is read, `dropped` for what nobody can be
 * answered or that is a response and broken. INVITE is well-formed SIP that is not spoken here: 405.
 */
const verdicts: Record<string, { section: string; verdict: number | 'response' | 'dropped'; why?: string }> = {
  wsinv: { section: '3.1.1.1', verdict: 405 },
  intmeth: { section: '3.1.1.2', verdict: 400, why: 'valid, but with a NUL, which never gets past the parser here' },
  esc01: { section: '3.1.1.3', verdict: 405 },
  escnull: { section: '3.1.1.4', verdict: 200 },
  esc02: { section: '3.1.1.5', verdict: 501 },
  lwsdisp: { section: '3.1.1.6', verdict: 200 },
  longreq: { section: '3.1.1.7', verdict: 405 },
  dblreq: { section: '3.1.1.8', verdict: 200, why: 'what stands behind the Content-Length is left out' },
  semiuri: { section: '3.1.1.9', verdict: 200 },
  transports: { section: '3.1.1.10', verdict: 200 },
  mpart01: { section: '3.1.1.11', verdict: 200 },
  unreason: { section: '3.1.1.12', verdict: 'response' },
  noreason: { section: '3.1.1.13', verdict: 'response' },
  badinv01: { section: '3.1.2.1', verdict: 400 },
  clerr: { section: '3.1.2.2', verdict: 400 },
  ncl: { section: '3.1.2.3', verdict: 400 },
  scalar02: { section: '3.1.2.4', verdict: 400 },
  scalarlg: { section: '3.1.2.5', verdict: 'dropped' },
  quotbal: { section: '3.1.2.6', verdict: 400 },
  ltgtruri: { section: '3.1.2.7', verdict: 400 },
  lwsruri: { section: '3.1.2.8', verdict: 400 },
  lwsstart: { section: '3.1.2.9', verdict: 400 },
  trws: { section: '3.1.2.10', verdict: 400 },
  escruri: { section: '3.1.2.11', verdict: 400 },
  baddate: { section: '3.1.2.12', verdict: 405, why: 'Date says nothing to us' },
  regbadct: { section: '3.1.2.13', verdict: 200, why: 'contacts are judged by who registers them' },
  badaspec: { section: '3.1.2.14', verdict: 400 },
  baddn: { section: '3.1.2.15', verdict: 400 },
  badvers: { section: '3.1.2.16', verdict: 505 },
  mismatch01: { section: '3.1.2.17', verdict: 400 },
  mismatch02: { section: '3.1.2.18', verdict: 400 },
  bigcode: { section: '3.1.2.19', verdict: 'dropped' },
  badbranch: { section: '3.2.1', verdict: 200 },
  insuf: { section: '3.3.1', verdict: 400 },
  unkscm: { section: '3.3.2', verdict: 416 },
  novelsc: { section: '3.3.3', verdict: 416 },
  unksm2: { section: '3.3.4', verdict: 200, why: 'whom To and From name is for the registrar to judge' },
  bext01: { section: '3.3.5', verdict: 420 },
  invut: { section: '3.3.6', verdict: 405 },
  regaut01: { section: '3.3.7', verdict: 200 },
  multi01: { section: '3.3.8', verdict: 400 },
  mcl01: { section: '3.3.9', verdict: 400 },
  bcast: { section: '3.3.10', verdict: 'response' },
  zeromf: { section: '3.3.11', verdict: 200, why: 'OPTIONS goes no further than here' },
  cparam01: { section: '3.3.12', verdict: 200 },
  cparam02: { section: '3.3.13', verdict: 200 },
  regescrt: { section: '3.3.14', verdict: 200 },
  sdp01: { section: '3.3.15', verdict: 405 },
  inv2543: { section: '3.4.1', verdict: 405 },
};

/** The engine's answer to a datagram, as it would go out. */
function answerTo(request: Message): Promise<string> {
  return new Promise((resolve, reject) => {
    const remote = { address: '192.0.2.1', port: 5060 };
    const flow: Flow = {
      protocol: 'udp',
      reliable: false,
      remote,
      local: { address: '192.0.2.9', port: 5060 },
      certificateNames: [],
      closed: false,
      send: async bytes => resolve(Buffer.from(bytes).toString()),
      at: () => flow,
      close() {},
    };
    const sender = { hasSeen: () => false } as unknown as Sender;
    const servers = new ServerTransactions({ t1: 500, t2: 4000, t4: 5000 }, () => Promise.reject(new Error('no')));
    const ok = async () => ({ status: 200 });
    new Uas({
      sender,
      guard: new Guard(engineConfig('{ domains: [sip.test], listen: ["udp:127.0.0.1:0"] }')),
      servers,
      subscriptions: new Subscriptions(sender, 10, () => {}),
      handler: { message: ok, register: ok, options: ok },
      body: 65536,
      agent: 'test',
      patience: 1000,
      count: () => servers.stop(),
      failed: reject,
    }).receive(request, flow);
  });
}

describe('The torture messages of RFC 4475', () => {
  it('are all there', () => {
    const there = readdirSync(folder).map(file => file.replace('.sip', ''));
    assert.deepEqual(there.sort(), Object.keys(verdicts).sort());
  });

  for (const [name, { section, verdict, why }] of Object.entries(verdicts)) {
    it(`${section} ${name}: ${verdict}${why ? ` (${why})` : ''}`, async () => {
      const bytes = readFileSync(new URL(`${name}.sip`, folder));
      if (verdict === 'dropped') {
        assert.throws(() => parseDatagram(bytes), { name: 'SipSyntaxError' });
        return;
      }
      const message = parseDatagram(bytes);
      assert.equal(message.isRequest, verdict !== 'response');
      if (verdict === 'response') return;
      const answer = await answerTo(message);
      assert.equal(answer.slice(0, 11), `SIP/2.0 ${verdict}`);
      if (message.callId) assert.ok(answer.includes(`\r\nCall-ID: ${message.callId}\r\n`));
      for (const via of message.vias) assert.ok(answer.includes(`\r\nVia: ${via}`));
    });

    it(`${section} ${name} says the same when it comes byte by byte`, () => {
      const bytes = readFileSync(new URL(`${name}.sip`, folder));
      const outcome = (portion: number) => {
        const heard: string[] = [];
        const parser = new StreamParser(
          message =>
            heard.push(
              `${message.method} ${message.status} ${message.fault?.status} ${message.callId} ${message.body.toString()}`,
            ),
          () => heard.push('ping'),
        );
        try {
          for (let at = 0; at < bytes.length; at += portion) parser.push(Buffer.from(bytes.subarray(at, at + portion)));
        } catch (error) {
          heard.push((error as Error).name);
        }
        return heard;
      };
      assert.deepEqual(outcome(1), outcome(bytes.length));
      assert.deepEqual(outcome(7), outcome(bytes.length));
    });
  }

  it('wsinv is read to its last fold', () => {
    const message = parseDatagram(readFileSync(new URL('wsinv.sip', folder)));
    assert.deepEqual(
      [message.from.displayName, message.fromTag, message.toTag, message.cseq, message.header('max-forwards')],
      ['J Rosenberg \\"', '98asjd8', '1918181833n', 9, '0068'],
    );
    assert.deepEqual(message.via, {
      version: '2.0',
      transport: 'UDP',
      host: '192.0.2.2',
      port: undefined,
      params: new Map([['branch', '390skdjuw']]),
    });
    assert.equal(message.vias.length, 3);
    assert.equal(message.header('newfangledheader'), 'newfangled value continued newfangled value');
    assert.equal(message.header('subject'), '');
    assert.equal(message.body.length, 150);
  });

  it('mpart01 keeps every byte of its body', () => {
    const message = parseDatagram(readFileSync(new URL('mpart01.sip', folder)));
    assert.ok(Buffer.from(message.body).includes(Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))));
  });
});
