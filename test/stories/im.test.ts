// Who gets a message, a presence, an IQ: by type, by address and by the priorities of those who are there (RFC 6121 §8).
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client, ClientOptions } from '../support/client.ts';
import { type Place, places } from '../support/settings.ts';

const conditionOf = (answer: Element) =>
  answer
    .child('error')
    ?.all()
    .find(e => e.ns === ns.stanzaErrors)?.name;
let count = 0;

for (const { name, start } of places)
  describe(`instant messaging ${name}`, () => {
    let place: Place;
    let romeo: Client;
    /** The domain of those whom he writes to. */
    let domain: string;
    let users = 0;
    before(async () => {
      place = await start('offline: { messages: 3 }');
      domain = place.domains[1];
      romeo = await login(`romeo@${place.domains[0]}`, { resource: 'orchard' });
    });
    after(() => place.close());

    const login = (jid: string, options: Partial<ClientOptions> = {}) => place.client(jid, options);
    /** What he has sent has arrived, and the answers to it have. */
    const settled = () => romeo.asks('get', `<ping xmlns='${ns.ping}'/>`, domain);

    /** A new user with sessions of these priorities; null stands for one that has sent no presence. */
    async function user(...priorities: (number | null)[]): Promise<{ jid: string; sessions: Client[] }> {
      const jid = `juliet${++users}@${domain}`;
      await place.account(jid);
      const sessions: Client[] = [];
      for (const [n, priority] of priorities.entries()) {
        const session = await login(jid, { resource: `r${n}`, quiet: true });
        if (priority !== null) {
          await session.sends(`<presence><priority>${priority}</priority></presence>`);
          await session.receives(e => e.name === 'presence' && e.attrs.from === session.jid);
        }
        sessions.push(session);
      }
      return { jid, sessions };
    }

    describe('messages', () => {
      // Priorities, type, resource addressed ('' none, 'x' not there), who gets it (numbers), what comes back.
      type Row = [(number | null)[], string, string, number[], string | null];
      const table: Row[] = [];
      const kept = 'kept';
      for (const type of ['', 'normal', 'chat', 'telegram']) {
        const unmatched = (takers: number[], outcome: string | null): [number[], string | null] =>
          type === 'chat' ? [takers, outcome] : [[], 'service-unavailable'];
        table.push(
          [[], type, '', [], kept],
          [[null], type, '', [], kept],
          [[-1], type, '', [], kept],
          [[-1, -128, null], type, '', [], kept],
          [[0], type, '', [0], null],
          [[5, 0], type, '', [0], null],
          [[0, 5], type, '', [1], null],
          [[1, 1], type, '', [0, 1], null],
          [[-1, 0], type, '', [1], null],
          [[null, 0], type, '', [1], null],
          [[0, 5, -1, null], type, 'r0', [0], null],
          [[0, 5, -1, null], type, 'r2', [2], null],
          [[0, 5, -1, null], type, 'r3', [3], null],
          [[], type, 'x', ...unmatched([], kept)],
          [[0], type, 'x', ...unmatched([0], null)],
          [[0, 5], type, 'x', ...unmatched([1], null)],
          [[-1], type, 'x', ...unmatched([], kept)],
          [[null], type, 'x', ...unmatched([], kept)],
        );
      }
      table.push(
        [[0, 5, -1, null], 'headline', '', [0, 1], null],
        [[-1], 'headline', '', [], null],
        [[], 'headline', '', [], null],
        [[0, 5], 'headline', 'r0', [0], null],
        [[0], 'headline', 'x', [], null],
        [[], 'groupchat', '', [], 'service-unavailable'],
        [[0, 5], 'groupchat', '', [], 'service-unavailable'],
        [[0, 5], 'groupchat', 'r0', [0], null],
        [[0], 'groupchat', 'x', [], 'service-unavailable'],
        [[], 'error', '', [], null],
        [[0], 'error', '', [], null],
        [[0], 'error', 'r0', [0], null],
        [[0], 'error', 'x', [], null],
      );
      for (const [priorities, type, resource, takers, outcome] of table) {
        const who = priorities.length === 0 ? 'nobody' : priorities.map(p => p ?? 'unavailable').join(', ');
        const what = `${type || 'untyped'} to ${resource === '' ? 'the account' : resource === 'x' ? 'a missing resource' : resource}`;
        it(`${what} with ${who}: ${takers.map(n => `r${n}`).join(' and ') || (outcome ?? 'ignored')}`, async () => {
          const { jid, sessions } = await user(...priorities);
          const body = `message ${++count}`;
          const to = resource === '' ? jid : `${jid}/${resource}`;
          await romeo.sends(
            `<message to='${to}'${type && ` type='${type}'`} id='${body}'><body>${body}</body></message>`,
          );
          const hears = (e: Element) => e.name === 'message' && e.childText('body') === body;
          for (const n of takers) {
            const heard = await sessions[n].receives(hears);
            assert.equal(heard.attrs.to, to);
            assert.equal(heard.attrs.from, romeo.jid);
          }
          if (outcome !== null && outcome !== kept) {
            const error = await romeo.receives(e => e.attrs.id === body);
            assert.equal(error.attrs.type, 'error');
            assert.equal(error.attrs.from, to);
            assert.equal(conditionOf(error), outcome);
          }
          await settled();
          await romeo.hasNot(e => e.attrs.id === body);
          for (const session of sessions) await session.hasNot(hears);
          const later = await login(jid, { resource: 'later' });
          if (outcome === kept) assert.ok((await later.receives(hears)).child('delay', ns.delay));
          else await later.hasNot(hears);
          for (const session of [...sessions, later]) await session.close();
        });
      }

      it('to nobody at all come back, but for headlines and errors that need not', async () => {
        for (const type of ['normal', 'chat', 'groupchat']) {
          const id = `n${++count}`;
          await romeo.sends(`<message to='nobody@${domain}' type='${type}' id='${id}'><body>?</body></message>`);
          assert.equal(conditionOf(await romeo.receives(e => e.attrs.id === id)), 'service-unavailable');
        }
        await romeo.sends(`<message to='nobody@${domain}' type='error' id='none'><body>?</body></message>`);
        await settled();
        await romeo.hasNot(e => e.attrs.id === 'none');
      });

      it('without an address go to the sender’s own account', async () => {
        await romeo.sends(`<message type='chat'><body>to whom?</body></message>`);
        assert.equal((await romeo.hears('to whom?')).attrs.from, romeo.jid);
      });

      it('carry receipts and markers as they are', async () => {
        const { sessions } = await user(0);
        for (const child of [
          `<request xmlns='${ns.receipts}'/>`,
          `<received xmlns='${ns.receipts}' id='x1'/>`,
          `<markable xmlns='${ns.markers}'/>`,
          `<displayed xmlns='${ns.markers}' id='x2'/>`,
        ]) {
          const id = `p${++count}`;
          await romeo.sends(`<message to='${sessions[0].jid}' id='${id}'>${child}</message>`);
          const heard = await sessions[0].receives(e => e.attrs.id === id);
          assert.equal(heard.all().map(String).join(''), child);
        }
      });
    });

    describe('offline messages', () => {
      const messageTo = (jid: string, inner: string, type = 'chat') =>
        `<message to='${jid}' type='${type}' id='o${++count}'>${inner}</message>`;
      for (const [what, inner, isKept] of [
        ['a body', '<body>x</body>', true],
        ['a chat state alone', `<active xmlns='${ns.chatStates}'/>`, false],
        ['a chat state and a thread', `<thread>t</thread><gone xmlns='${ns.chatStates}'/>`, false],
        [
          'a chat state with an id of its own, a hint and a stamp',
          `<composing xmlns='${ns.chatStates}'/><origin-id xmlns='${ns.stableIds}' id='i'/><no-copy xmlns='${ns.hints}'/>
           <delay xmlns='${ns.delay}' stamp='2001-01-01T00:00:00Z'/>`,
          false,
        ],
        [
          'a chat state and a receipt',
          `<active xmlns='${ns.chatStates}'/><received xmlns='${ns.receipts}' id='r'/>`,
          true,
        ],
        ['a body not to be stored', `<body>x</body><no-store xmlns='${ns.hints}'/>`, false],
        ['a body not to be stored for long', `<body>x</body><no-permanent-store xmlns='${ns.hints}'/>`, true],
        ['a chat state to be stored', `<active xmlns='${ns.chatStates}'/><store xmlns='${ns.hints}'/>`, true],
      ] as const) {
        it(`${isKept ? 'keep' : 'leave'} ${what}`, async () => {
          const { jid } = await user();
          await romeo.sends(messageTo(jid, inner));
          const id = `o${count}`;
          if (!isKept) assert.equal(conditionOf(await romeo.receives(e => e.attrs.id === id)), 'service-unavailable');
          else await settled().then(() => romeo.hasNot(e => e.attrs.id === id));
          const later = await login(jid);
          if (isKept) await later.receives(e => e.attrs.id === id);
          else await later.hasNot(e => e.attrs.id === id);
          await later.close();
        });
      }

      it('are no more than the limit; the next one comes back', async () => {
        const { jid } = await user();
        for (let n = 0; n < 4; n++) await romeo.sends(messageTo(jid, '<body>x</body>'));
        const id = `o${count}`;
        assert.equal(conditionOf(await romeo.receives(e => e.attrs.id === id)), 'service-unavailable');
      });

      it('have one stamp of ours, whatever others have put there', async () => {
        const { jid } = await user();
        await romeo.sends(
          messageTo(
            jid,
            `<body>old</body><delay xmlns='${ns.delay}' from='gateway.test' stamp='2001-01-01T00:00:00Z'/>`,
          ),
        );
        await settled();
        const later = await login(jid);
        const stamps = (await later.hears('old')).all('delay', ns.delay);
        assert.deepEqual(stamps.map(({ attrs }) => attrs.from).sort(), [domain, 'gateway.test'].sort());
        await later.close();
      });

      it('wait while priorities are negative, and come when one is not any more', async () => {
        const { jid } = await user();
        await romeo.sends(messageTo(jid, '<body>patience</body>'));
        await settled();
        const later = await login(jid, { quiet: true });
        await later.sends('<presence><priority>-5</priority></presence>');
        await later.hasNot(e => e.childText('body') === 'patience');
        await later.sends('<presence><priority>0</priority></presence>');
        await later.hears('patience');
        await later.close();
      });

      it('come also where the user becomes available in the same breath', async () => {
        const { jid } = await user();
        const later = await login(jid, { quiet: true });
        await later.sends(`${messageTo(jid, '<body>note to self</body>')}<presence/>`);
        await later.hears('note to self');
        await later.close();
      });

      it('stay until the client shows that it has them', async () => {
        const { jid } = await user();
        await romeo.sends(messageTo(jid, '<body>keep me</body>'));
        await settled();
        const first = await login(jid, { quiet: true, resource: 'first' });
        await first.sends('<presence/>');
        await first.hears('keep me');
        first.drop();
        const second = await login(jid, { resource: 'second' });
        await second.hears('keep me');
        await second.hasNot(() => false);
        await second.close();
        const third = await login(jid, { resource: 'third' });
        await third.hasNot(e => e.childText('body') === 'keep me');
        await third.close();
      });

      it('stay through a crash until they are acknowledged, and go once by the session’s end', async () => {
        const { jid } = await user();
        await romeo.sends(messageTo(jid, '<body>acknowledge me</body>'));
        await settled();
        const first = await login(jid, { quiet: true, resource: 'first' });
        await first.sends(`<enable xmlns='${ns.streamManagement}'/>`);
        await first.receives(e => e.name === 'enabled');
        await first.sends('<presence/>');
        await first.hears('acknowledge me');
        await first.hasNot(() => false);
        first.drop();
        const second = await login(jid, { quiet: true, resource: 'second' });
        await second.sends(`<enable xmlns='${ns.streamManagement}'/><presence/>`);
        await second.hears('acknowledge me');
        await second.hasNot(e => e.childText('body') === 'acknowledge me');
        const all = await second.receives(e => e.name === 'r');
        assert.ok(all);
        // The presence, the message and the answers to two pings.
        await second.sends(`<a xmlns='${ns.streamManagement}' h='3'/>`);
        await second.hasNot(() => false);
        await second.close();
        const third = await login(jid, { resource: 'third' });
        await third.hasNot(e => e.childText('body') === 'acknowledge me');
        await third.close();
      });
    });

    describe('IQs', () => {
      const ping = `<ping xmlns='${ns.ping}'/>`;
      for (const [what, priorities, resource, answer] of [
        ['a resource', [0], 'r0', 'passes'],
        ['a resource of negative priority', [-1], 'r0', 'passes'],
        ['a resource without presence', [null], 'r0', 'passes'],
        ['a missing resource', [0], 'x', 'service-unavailable'],
        ['the missing resource of somebody away', [], 'x', 'service-unavailable'],
      ] as const) {
        for (const type of ['get', 'set'] as const) {
          it(`${type} to ${what}: ${answer}`, async () => {
            const { jid, sessions } = await user(...priorities);
            const id = `i${++count}`;
            await romeo.sends(`<iq type='${type}' id='${id}' to='${jid}/${resource}'>${ping}</iq>`);
            if (answer === 'passes') {
              const request = await sessions[0].receives(e => e.attrs.id === id);
              await sessions[0].sends(`<iq type='result' id='${id}' to='${request.attrs.from}'/>`);
              assert.equal((await romeo.receives(e => e.attrs.id === id)).attrs.type, 'result');
            } else {
              assert.equal(conditionOf(await romeo.receives(e => e.attrs.id === id)), answer);
            }
            for (const session of sessions) await session.close();
          });
        }
      }

      it('to an account are answered by the server and reach no client', async () => {
        const { jid, sessions } = await user(0);
        for (const payload of [`<x xmlns='urn:example:unknown'/>`, ping]) {
          assert.equal(conditionOf(await romeo.asks('get', payload, jid)), 'service-unavailable');
        }
        assert.equal(conditionOf(await romeo.asks('get', ping, `nobody@${domain}`)), 'service-unavailable');
        await sessions[0].hasNot(e => e.name === 'iq');
        await sessions[0].close();
      });

      it('to the domain and to oneself are answered', async () => {
        assert.equal((await romeo.asks('get', ping, domain)).attrs.type, 'result');
        assert.equal((await romeo.asks('get', ping)).attrs.type, 'result');
        const version = await romeo.asks('get', `<query xmlns='${ns.version}'/>`, domain);
        assert.ok(version.child('query', ns.version)?.childText('name'));
        assert.ok(version.child('query', ns.version)?.childText('version'));
      });

      it('results and errors to nobody vanish', async () => {
        for (const to of [`nobody@${domain}`, `nobody@${domain}/x`, domain, `romeo@${domain}/gone`]) {
          await romeo.sends(`<iq type='result' id='vain' to='${to}'/><iq type='error' id='vain' to='${to}'/>`);
        }
        await settled();
        await romeo.hasNot(e => e.attrs.id === 'vain');
      });
    });

    describe('presence', () => {
      it('is told to one’s own resources, both ways', async () => {
        const { sessions } = await user(0, 1);
        const [first, second] = sessions;
        await first.receives(e => e.name === 'presence' && e.attrs.from === second.jid);
        await second.receives(e => e.name === 'presence' && e.attrs.from === first.jid);
        await second.sends(`<presence type='unavailable'/>`);
        await first.receives(e => e.attrs.type === 'unavailable' && e.attrs.from === second.jid);
        for (const session of sessions) await session.close();
      });
    });
  });
