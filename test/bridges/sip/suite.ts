// What every SIP engine does: one suite, run over the embedded engine and over drachtio, against a peer on real sockets.
import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { parseDigest } from '../../../src/bridges/sip/digest.ts';
import type {
  Engine,
  Notification,
  SubscriptionEnd,
  SubscriptionIn,
  WatchListener,
} from '../../../src/bridges/sip/engine.ts';
import type { Message } from '../../../src/bridges/sip/message.ts';
import { RecordingHandler, until } from '../../support/sip-engine.ts';
import { type Heard, type PeerOptions, type PeerProtocol, SipPeer } from '../../support/sip-peer.ts';

/** An engine under test, and where a peer reaches it. */
export interface Subject {
  engine: Engine;
  /** The port of the SIP side for that protocol. */
  port(protocol: PeerProtocol): number;
  /** It stands behind a SIP edge, whose wire carries text only and does not tell the edge's word from the peer's. */
  behindEdge?: boolean;
  /** What a peer shows and trusts. */
  peer?: PeerOptions;
  close(): Promise<void>;
}

/** Starts an engine with more YAML; 64·T1 is about `silence` ms. */
export type Start = (handler: RecordingHandler, yaml: string, silence: number) => Promise<Subject>;

class Listener implements WatchListener {
  readonly notifications: Notification[] = [];
  readonly ends: SubscriptionEnd[] = [];
  notify(notification: Notification): void {
    assert.equal(this.ends.length, 0, 'nothing comes after the end');
    this.notifications.push(notification);
  }
  ended(end: SubscriptionEnd): void {
    this.ends.push(end);
  }
}

const pidf = '<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:juliet@sip.test"/>';

export function engineSuite(name: string, start: Start, protocols: readonly PeerProtocol[]): void {
  for (const protocol of protocols) {
    describe(`${name} over ${protocol.toUpperCase()}`, () => {
      let subject: Subject;
      let handler: RecordingHandler;
      let peer: SipPeer;

      /** The seconds that these take are not spent for each transport. */
      const onlyFirst = protocol === protocols[0] ? it : () => {};
      const open = async (yaml = '', silence = 3200): Promise<void> => {
        handler = new RecordingHandler();
        subject = await start(handler, yaml, silence);
        peer = await SipPeer.open(protocol, subject.peer);
        await peer.connect(subject.port(protocol));
      };
      const watch = (listener: Listener, more: { expires?: number } = {}) =>
        subject.engine.subscribe(
          {
            uri: peer.uri('juliet'),
            from: 'sip:romeo@hub.test',
            event: 'presence',
            accept: ['application/pidf+xml'],
            expires: 600,
            ...more,
          },
          listener,
        );
      /** A NOTIFY in the dialog of a SUBSCRIBE that was heard. */
      const notify = (
        subscribe: Heard,
        state: string,
        sequence = 1,
        body = pidf,
        tag = `peer-${peer.port || 'ws'}`,
      ) => {
        const { message } = subscribe;
        return peer.request(
          'NOTIFY',
          /<(.*)>/.exec(message.header('contact')!)![1],
          {
            From: `${message.header('to')};tag=${tag}`,
            To: message.header('from')!,
            'Call-ID': message.callId,
            CSeq: `${sequence} NOTIFY`,
            Event: 'presence',
            'Subscription-State': state,
            'Content-Type': body ? 'application/pidf+xml' : undefined,
          },
          body,
        );
      };
      const accepting = (expires = 600) => ({ Expires: String(expires), Contact: `<${peer.uri('juliet')}>` });
      const subscribe = (more: Record<string, string | undefined> = {}) =>
        peer.request('SUBSCRIBE', 'sip:romeo@hub.test', { Event: 'presence', Expires: '600', ...more });
      const tagOf = (message: Message) => message.toTag;

      afterEach(async () => {
        await peer?.close();
        await subject?.close();
      });

      it('takes a MESSAGE with unicode and says what it was answered', async () => {
        await open();
        handler.answer = () => ({ status: 202, headers: [['X-Kept', 'yes']] });
        const headers = {
          'Content-Type': 'text/plain;charset=UTF-8',
          Subject: 'Grüße',
          From: '"Jül \\"Q\\"" <sip:juliet@sip.test>;tag=1',
        };
        const answer = await peer.request('MESSAGE', 'sip:romeo%20m@hub.test;gr=balcony', headers, 'héllo 😀');
        assert.equal(answer.status, 202);
        assert.equal(answer.header('x-kept'), 'yes');
        assert.ok(tagOf(answer), 'the answer has a tag');
        const [request] = handler.requests;
        assert.equal(request.uri, 'sip:romeo%20m@hub.test;gr=balcony');
        assert.equal(request.from, 'sip:juliet@sip.test');
        assert.equal(request.displayName, 'Jül "Q"');
        assert.equal(request.header('subject'), 'Grüße');
        assert.equal(request.contentType, 'text/plain;charset=UTF-8');
        assert.equal(Buffer.from(request.body).toString(), 'héllo 😀');
        assert.equal(request.source.address, '127.0.0.1');
      });

      it('answers 500 for a handler that throws, and 405 for a method nobody takes', async () => {
        await open();
        handler.answer = () => {
          throw new Error('on purpose');
        };
        assert.equal((await peer.request('MESSAGE', 'sip:romeo@hub.test')).status, 500);
        const refused = await peer.request('REGISTER', 'sip:hub.test');
        assert.equal(refused.status, 405);
        assert.match(refused.header('allow') ?? '', /MESSAGE/);
      });

      it('answers OPTIONS by itself', async () => {
        await open();
        const answer = await peer.request('OPTIONS', 'sip:romeo@hub.test');
        assert.equal(answer.status, 200);
        assert.match(answer.header('allow') ?? '', /SUBSCRIBE/);
      });

      it('hands on a PUBLISH and its entity tag', async () => {
        await open();
        handler.answer = request => ({
          status: 200,
          headers: [
            ['SIP-ETag', 'x1'],
            ['Expires', request.header('Expires') ?? ''],
          ],
        });
        const answer = await peer.request('PUBLISH', 'sip:romeo@hub.test', { Event: 'presence', Expires: '60' }, pidf);
        assert.deepEqual([answer.status, answer.header('sip-etag'), answer.header('expires')], [200, 'x1', '60']);
      });

      if (protocol !== 'ws') {
        it('sends a MESSAGE and tells the final answer', async () => {
          await open();
          peer.onRequest = heard => heard.reply(peer.answer(heard, 202, { 'X-Kept': 'yes' }, '', 'Accepted for now'));
          const body = subject.behindEdge ? Buffer.from('ü\r\n😀') : Buffer.from([0, 255, 13, 10, 128]);
          const answer = await subject.engine.send({
            method: 'MESSAGE',
            uri: peer.uri('juliet'),
            from: 'sip:romeo@hub.test',
            displayName: 'Romeo "M" ü',
            headers: [['Subject', 'Grüße']],
            contentType: 'application/octet-stream',
            body,
          });
          assert.deepEqual(
            [answer.status, answer.reason, answer.local, answer.header('X-Kept')],
            [202, 'Accepted for now', false, 'yes'],
          );
          const { message } = peer.heard[0];
          assert.equal(message.uriText, peer.uri('juliet'));
          assert.equal(message.from.displayName, 'Romeo "M" ü');
          assert.equal(message.header('subject'), 'Grüße');
          assert.deepEqual(message.body, body);
          assert.equal(message.header('max-forwards'), '70');
        });

        it('tells answers that refuse, with Retry-After', async () => {
          await open();
          const statuses = [404, 480, 486, 500, 503, 603];
          peer.onRequest = heard =>
            heard.reply(peer.answer(heard, Number(heard.message.header('x-wanted')), { 'Retry-After': '120 (later)' }));
          for (const status of statuses) {
            const headers: [string, string][] = [['X-Wanted', String(status)]];
            const answer = await subject.engine.send({
              method: 'MESSAGE',
              uri: peer.uri('juliet'),
              from: 'sip:romeo@hub.test',
              headers,
            });
            assert.deepEqual([answer.status, answer.retryAfter, answer.local], [status, 120, false]);
          }
        });

        it('makes 408 of silence and 503 of nobody', async () => {
          await open('', 200);
          const silent = await subject.engine.send({
            method: 'MESSAGE',
            uri: peer.uri('juliet'),
            from: 'sip:romeo@hub.test',
          });
          assert.deepEqual([silent.status, silent.local], [408, true]);
          const nobody = await subject.engine.send({
            method: 'MESSAGE',
            uri: 'sip:juliet@127.0.0.1:1;transport=tcp',
            from: 'sip:romeo@hub.test',
          });
          assert.deepEqual([nobody.status, nobody.local || subject.behindEdge], [503, true]);
        });

        it('answers challenges with MD5 and SHA-256, once', async () => {
          await open(
            'credentials: { 127.0.0.1: { user: hub, password: secret }, other.test: { user: hub, password: other } }',
          );
          for (const [status, algorithm] of [
            [401, 'MD5'],
            [407, 'SHA-256'],
          ] as const) {
            const [challenge, proof] =
              status === 401 ? ['WWW-Authenticate', 'authorization'] : ['Proxy-Authenticate', 'proxy-authorization'];
            peer.onRequest = heard => {
              const credentials = heard.message.header(proof);
              const right = credentials && digestHolds(credentials, 'hub', 'secret', algorithm);
              heard.reply(
                right
                  ? peer.answer(heard, 200)
                  : peer.answer(heard, status, {
                      [challenge]: `Digest realm="other.test", nonce="n1", qop="auth", algorithm=${algorithm}, opaque="o"`,
                    }),
              );
            };
            const before = peer.heard.length;
            const answer = await subject.engine.send({
              method: 'MESSAGE',
              uri: peer.uri('juliet'),
              from: 'sip:romeo@hub.test',
            });
            assert.equal(answer.status, 200);
            const [first, second] = peer.heard.slice(before).map(({ message }) => message);
            if (subject.behindEdge) continue; // The edge has its own Call-IDs.
            assert.equal(first.callId, second.callId);
            assert.equal(second.cseq, first.cseq + 1);
          }
          peer.onRequest = heard =>
            heard.reply(
              peer.answer(heard, 401, { 'WWW-Authenticate': 'Digest realm="sip.test", nonce="n2", qop="auth"' }),
            );
          const before = peer.heard.length;
          const refused = await subject.engine.send({
            method: 'MESSAGE',
            uri: peer.uri('juliet'),
            from: 'sip:romeo@hub.test',
          });
          assert.deepEqual([refused.status, peer.heard.length - before], [401, 2]);
        });

        it('follows redirects, best first, and not in circles', async () => {
          await open();
          peer.onRequest = heard => {
            const { user } = heard.message.uri!;
            if (user === 'juliet')
              heard.reply(
                peer.answer(heard, 302, { Contact: `<${peer.uri('worse')}>;q=0.1, <${peer.uri('better')}>;q=0.9` }),
              );
            else if (user === 'circle') heard.reply(peer.answer(heard, 302, { Contact: `<${peer.uri('circle')}>` }));
            else heard.reply(peer.answer(heard, user === 'better' ? 200 : 404));
          };
          const answer = await subject.engine.send({
            method: 'MESSAGE',
            uri: peer.uri('juliet'),
            from: 'sip:romeo@hub.test',
          });
          assert.equal(answer.status, 200);
          assert.deepEqual(
            peer.heard.map(({ message }) => message.uri!.user),
            ['juliet', 'better'],
          );
          const circle = await subject.engine.send({
            method: 'MESSAGE',
            uri: peer.uri('circle'),
            from: 'sip:romeo@hub.test',
          });
          assert.equal(circle.status, 302);
        });

        it('refuses to write what would break out of a header', async () => {
          await open();
          const good = { method: 'MESSAGE' as const, uri: peer.uri('juliet'), from: 'sip:romeo@hub.test' };
          const bad = [
            { ...good, headers: [['Subject', 'a\r\nX-Evil: 1']] as [string, string][] },
            { ...good, headers: [['X\r\nEvil', '1']] as [string, string][] },
            { ...good, headers: [['Subject', 'a\0']] as [string, string][] },
            { ...good, displayName: 'a\nb' },
            { ...good, uri: 'sip:juliet\r\n@127.0.0.1' },
            { ...good, from: 'sip:romeo@hub.test>\r\nX-Evil: 1' },
            { ...good, to: 'sip:juliet@sip.test\r\nX-Evil: 1' },
            { ...good, contentType: 'text/plain\r\nX-Evil: 1', body: Buffer.from('x') },
          ];
          for (const request of bad) await assert.rejects(subject.engine.send(request), { name: 'SipSyntaxError' });
          assert.equal(peer.heard.length, 0);
        });

        it('watches, tells what NOTIFY says, and says good-bye', async () => {
          await open();
          const listener = new Listener();
          const subscription = watch(listener);
          const heard = await peer.nextRequest('SUBSCRIBE');
          assert.equal(heard.message.header('event'), 'presence');
          assert.equal(heard.message.header('expires'), '600');
          heard.reply(peer.answer(heard, 200, accepting()));
          assert.equal((await notify(heard, 'Pending;Expires=600', 1, '')).status, 200);
          assert.equal((await notify(heard, 'active;expires=599', 2)).status, 200);
          assert.deepEqual(
            listener.notifications.map(({ state, expires }) => [state, expires]),
            [
              ['pending', 600],
              ['active', 599],
            ],
          );
          assert.equal(listener.notifications[1].contentType, 'application/pidf+xml');
          assert.equal(Buffer.from(listener.notifications[1].body).toString(), pidf);
          const ended = subscription.end();
          const last = await peer.nextRequest('SUBSCRIBE');
          assert.equal(last.message.header('expires'), '0');
          assert.equal(last.message.callId, heard.message.callId);
          assert.ok(last.message.toTag);
          assert.ok(last.message.cseq > heard.message.cseq);
          last.reply(peer.answer(last, 200, accepting(0)));
          assert.equal((await notify(heard, 'terminated;reason=timeout', 3, '')).status, 200);
          await ended;
          assert.deepEqual(
            listener.ends.map(({ kind }) => kind),
            ['closed'],
          );
          assert.equal((await notify(heard, 'active', 4)).status, 481);
        });

        it('takes a NOTIFY that overtakes the 200', async () => {
          await open();
          const listener = new Listener();
          watch(listener);
          const heard = await peer.nextRequest('SUBSCRIBE');
          assert.equal((await notify(heard, 'active;expires=600', 1)).status, 200);
          heard.reply(peer.answer(heard, 202, accepting()));
          assert.equal((await notify(heard, 'active;expires=600', 2)).status, 200);
          assert.equal(listener.notifications.length, 2);
          assert.equal(
            (await notify(heard, 'active', 3, pidf, 'another')).status,
            481,
            'a second notifier is sent away',
          );
        });

        it('ends when the notifier says so, with its reason', async () => {
          await open();
          for (const [state, reason, retryAfter] of [
            ['terminated;reason=rejected', 'rejected', undefined],
            ['TERMINATED;Reason=Probation;Retry-After=30', 'probation', 30],
            ['terminated', '', undefined],
          ] as const) {
            const listener = new Listener();
            watch(listener);
            const heard = await peer.nextRequest('SUBSCRIBE');
            heard.reply(peer.answer(heard, 200, accepting()));
            await notify(heard, state, 1, '');
            await until(() => listener.ends.length === 1);
            assert.deepEqual(
              [listener.ends[0].kind, listener.ends[0].reason, listener.ends[0].retryAfter],
              ['terminated', reason, retryAfter],
            );
          }
        });

        it('tells why a subscription was refused, and asks for longer where it was too short', async () => {
          await open();
          for (const status of [403, 404, 480, 489, 503]) {
            const listener = new Listener();
            watch(listener);
            const heard = await peer.nextRequest('SUBSCRIBE');
            heard.reply(peer.answer(heard, status, { 'Retry-After': '77' }));
            await until(() => listener.ends.length === 1);
            assert.deepEqual(
              [listener.ends[0].kind, listener.ends[0].status, listener.ends[0].retryAfter],
              ['refused', status, 77],
            );
          }
          watch(new Listener(), { expires: 10 });
          const short = await peer.nextRequest('SUBSCRIBE');
          short.reply(peer.answer(short, 423, { 'Min-Expires': '90' }));
          const longer = await peer.nextRequest('SUBSCRIBE');
          assert.equal(longer.message.header('expires'), '90');
        });

        it('calls a subscription lost that nobody answers, or that no NOTIFY follows', async () => {
          await open('', 160);
          const silent = new Listener();
          watch(silent);
          await until(() => silent.ends.length === 1);
          assert.equal(silent.ends[0].kind, 'lost');
          peer.onRequest = heard => heard.reply(peer.answer(heard, 200, accepting()));
          const empty = new Listener();
          watch(empty);
          await until(() => empty.ends.length === 1);
          assert.equal(empty.ends[0].kind, 'lost');
        });

        onlyFirst(
          'keeps a subscription whose NOTIFYs name no time, and does not hurry where none is granted',
          async () => {
            await open('', 160);
            const listener = new Listener();
            watch(listener, { expires: 1 });
            const heard = await peer.nextRequest('SUBSCRIBE');
            heard.reply(peer.answer(heard, 200, accepting(1)));
            assert.equal((await notify(heard, 'active')).status, 200);
            const again = await peer.nextRequest('SUBSCRIBE');
            again.reply(peer.answer(again, 200, accepting(0)));
            assert.equal((await notify(heard, 'active;expires=0', 2)).status, 200);
            assert.equal(listener.ends.length, 0);
            assert.equal(
              new Set(
                peer.heard.filter(({ message }) => message.method === 'SUBSCRIBE').map(({ message }) => message.branch),
              ).size,
              2,
            );
          },
        );

        onlyFirst(
          'refreshes in the dialog, before the time is over and when asked, and loses it with 481',
          async () => {
            await open();
            const listener = new Listener();
            const subscription = watch(listener, { expires: 2 });
            const heard = await peer.nextRequest('SUBSCRIBE');
            heard.reply(peer.answer(heard, 200, accepting(2)));
            await notify(heard, 'active;expires=2');
            const second = await peer.nextRequest('SUBSCRIBE');
            assert.equal(second.message.toTag, `peer-${peer.port}`);
            second.reply(peer.answer(second, 200, accepting(600)));
            subscription.refresh(300);
            const third = await peer.nextRequest('SUBSCRIBE');
            assert.equal(third.message.header('expires'), '300');
            third.reply(peer.answer(third, 481));
            await until(() => listener.ends.length === 1);
            assert.deepEqual([listener.ends[0].kind, listener.ends[0].status], ['lost', 481]);
          },
        );
      }

      it('is watched: answers, notifies in order, refreshes and ends', async () => {
        await open();
        let subscription!: SubscriptionIn;
        const refreshed: number[] = [];
        const ended: string[] = [];
        handler.accept = (_request, made) => {
          subscription = made;
          made.onRefresh = expires => refreshed.push(expires);
          made.onEnd = why => {
            ended.push(why);
            void made.notify({ state: 'terminated', reason: 'timeout' });
          };
          void made.notify({ state: 'pending' });
          return { status: 200, headers: [['Expires', '300']] };
        };
        peer.onRequest = heard => heard.reply(peer.answer(heard, 200));
        const answer = await subscribe();
        assert.deepEqual([answer.status, answer.header('expires')], [200, '300']);
        const contact = /<(.*)>/.exec(answer.header('contact') ?? '')?.[1];
        assert.ok(contact, 'the answer has a Contact');
        const first = await peer.nextRequest('NOTIFY');
        assert.match(first.message.header('subscription-state')!, /^pending;expires=(300|299)$/);
        assert.equal(first.message.toTag, answer.fromTag);
        assert.equal(first.message.fromTag, answer.toTag);
        assert.equal(
          await subscription.notify({ state: 'active', contentType: 'application/pidf+xml', body: Buffer.from(pidf) }),
          200,
        );
        const second = await peer.nextRequest('NOTIFY');
        assert.match(second.message.header('subscription-state')!, /^active;expires=/);
        assert.equal(second.message.body.toString(), pidf);
        assert.equal(second.message.cseq, first.message.cseq + 1);
        const dialog = { To: answer.header('to'), From: answer.header('from'), 'Call-ID': answer.callId };
        const again = await subscribe({ ...dialog, CSeq: '9001 SUBSCRIBE', Expires: '200' });
        assert.deepEqual([again.status, again.header('expires')], [200, '200']);
        await until(() => refreshed.length === 1);
        const over = await subscribe({ ...dialog, CSeq: '9002 SUBSCRIBE', Expires: '0' });
        assert.equal(over.status, 200);
        const last = await peer.nextRequest('NOTIFY');
        assert.equal(last.message.header('subscription-state'), 'terminated;reason=timeout');
        assert.deepEqual([refreshed, ended], [[200], ['unsubscribed']]);
        assert.equal((await subscribe({ ...dialog, CSeq: '9003 SUBSCRIBE' })).status, 481);
        assert.equal(await subscription.notify({ state: 'active' }), 481);
      });

      it('refuses watchers as the handler says', async () => {
        await open();
        handler.accept = () => ({ status: 403, reason: 'Not for you' });
        const refused = await subscribe();
        assert.deepEqual([refused.status, refused.reason], [403, 'Not for you']);
        assert.equal((await subscribe({ Event: undefined })).status, 489);
      });

      onlyFirst('is told when the time of a watcher is over', async () => {
        await open();
        const ended: string[] = [];
        handler.accept = (_request, made) => {
          made.onEnd = why => {
            ended.push(why);
            void made.notify({ state: 'terminated', reason: 'timeout' });
          };
          return { status: 200 };
        };
        await subscribe({ Expires: '1' });
        const last = await peer.nextRequest('NOTIFY');
        assert.match(last.message.header('subscription-state')!, /^terminated/);
        assert.deepEqual(ended, ['expired']);
      });

      it('is told when a watcher is gone', async () => {
        await open();
        const ended: string[] = [];
        handler.accept = (_request, made) => {
          made.onEnd = why => ended.push(why);
          return { status: 200 };
        };
        peer.onRequest = heard => heard.reply(peer.answer(heard, 481));
        await subscribe();
        assert.equal(await handler.subscriptions[0].notify({ state: 'active' }), 481);
        assert.deepEqual(ended, ['lost']);
      });
    });
  }
}

/** Whether credentials prove a password (RFC 7616 §3.4.1), worked out apart from the engine. */
function digestHolds(value: string, user: string, password: string, algorithm: 'MD5' | 'SHA-256'): boolean {
  const get = (name: string) => parseDigest(value)?.get(name) ?? '';
  const h = (text: string) =>
    createHash(algorithm === 'MD5' ? 'md5' : 'sha256')
      .update(text)
      .digest('hex');
  const expected = h(
    `${h(`${user}:${get('realm')}:${password}`)}:${get('nonce')}:${get('nc')}:${get('cnonce')}:auth:${h(`MESSAGE:${get('uri')}`)}`,
  );
  return get('response') === expected && get('username') === user && get('opaque') === 'o';
}
