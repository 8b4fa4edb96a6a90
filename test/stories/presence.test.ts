// Presence as those see it who may: at login, as it changes, sent to somebody, and at the end; on one hub and over a link (RFC 6121 §4, §8).
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf } from '../support/capable.ts';
import type { Client, ClientOptions } from '../support/client.ts';
import { befriend, sees } from '../support/friends.ts';
import { type Place, places } from '../support/settings.ts';

const bare = (client: Client) => client.options.jid;
const from = (client: Client, type?: string) => (e: Element) =>
  e.name === 'presence' && e.attrs.from === client.jid && e.attrs.type === type;
const says = (status: string) => (e: Element) => e.name === 'presence' && e.childText('status') === status;
const anyOf = (client: Client) => (e: Element) => e.name === 'presence' && e.attrs.from === client.jid;

for (const { name, start } of places) {
  describe(`presence ${name}`, () => {
    let place: Place;
    let count = 0;
    before(async () => {
      place = await start();
    });
    after(() => place.close());

    function addresses(): [string, string] {
      const n = ++count;
      return [`romeo${n}@${place.domains[0]}`, `juliet${n}@${place.domains[1]}`];
    }
    async function pair(options: Partial<ClientOptions> = {}): Promise<[Client, Client]> {
      const [r, j] = addresses();
      return [await place.client(r, options), await place.client(j, options)];
    }
    async function settled(one: Client, other: Client): Promise<void> {
      for (const [client, peer] of [
        [one, other],
        [other, one],
      ]) {
        const id = `settle${Math.random()}`;
        await client.sends(`<message to='${peer.jid}' id='${id}'><body>settled</body></message>`);
        await peer.receives(e => e.attrs.id === id);
      }
    }
    async function friends(): Promise<[Client, Client]> {
      const [romeo, juliet] = await pair();
      await befriend(romeo, juliet);
      await settled(romeo, juliet);
      for (const client of [romeo, juliet]) client.inbox.length = 0;
      return [romeo, juliet];
    }
    async function close(...clients: Client[]): Promise<void> {
      for (const client of clients) await client.close();
    }

    it('comes with the first presence: to contacts, to one’s other devices, and theirs to the new one', async () => {
      const [romeo, juliet] = await friends();
      const second = await place.client(bare(romeo), { quiet: true });
      for (const client of [romeo, juliet]) await client.hasNot(anyOf(second));
      await second.sends('<presence><show>xa</show><status>second</status><priority>3</priority></presence>');
      for (const client of [romeo, juliet, second]) {
        const seen = await client.receives(from(second));
        assert.deepEqual([seen.childText('show'), seen.childText('priority')], ['xa', '3']);
        assert.equal(seen.attrs.to, client === juliet ? bare(juliet) : client.jid);
      }
      await second.receives(from(juliet));
      await second.receives(from(romeo));
      await close(second, romeo, juliet);
    });

    it('goes to those who may see it, not to those who are only seen', async () => {
      const [romeo, juliet] = await pair();
      await sees(romeo, juliet);
      await settled(romeo, juliet);
      juliet.inbox.length = 0;
      await romeo.sends('<presence><status>to nobody</status></presence>');
      await juliet.sends('<presence><status>to romeo</status></presence>');
      await romeo.receives(says('to romeo'));
      await settled(romeo, juliet);
      await juliet.hasNot(says('to nobody'));
      // Nor at the next login.
      const again = await place.client(bare(romeo));
      await again.receives(from(juliet));
      await settled(again, juliet);
      await juliet.hasNot(anyOf(again));
      await close(again, romeo, juliet);
    });

    it('ends with a status, and silently without any presence before', async () => {
      const [romeo, juliet] = await friends();
      await romeo.sends(`<presence type='unavailable'><status>gone home</status></presence>`);
      assert.equal((await juliet.receives(from(romeo, 'unavailable'))).childText('status'), 'gone home');
      await romeo.sends(`<presence type='unavailable'><status>again</status></presence>`);
      await settled(romeo, juliet);
      await juliet.hasNot(says('again'));
      // Who is unavailable hears nothing more, and hears it all after coming back.
      await juliet.sends('<presence><status>meanwhile</status></presence>');
      await settled(romeo, juliet);
      await romeo.hasNot(says('meanwhile'));
      await romeo.sends('<presence/>');
      await romeo.receives(says('meanwhile'));
      await juliet.receives(from(romeo));
      await close(romeo, juliet);
    });

    for (const how of ['closed', 'lost'] as const) {
      it(`ends with a session that is ${how}`, async () => {
        const [romeo, juliet] = await friends();
        if (how === 'closed') await romeo.close();
        else romeo.drop();
        await juliet.receives(from(romeo, 'unavailable'));
        await juliet.close();
      });
    }

    it('sent to somebody goes there alone, and is taken back at the end', async () => {
      const [romeo, juliet] = await pair();
      const mercutio = await place.client(`mercutio${count}@${place.domains[1]}`);
      for (const to of [juliet.jid, bare(mercutio)])
        await romeo.sends(`<presence to='${to}'><show>dnd</show></presence>`);
      assert.equal((await juliet.receives(from(romeo))).attrs.to, juliet.jid);
      assert.equal((await mercutio.receives(from(romeo))).attrs.to, bare(mercutio));
      await romeo.sends('<presence><status>changed</status></presence>');
      await romeo.sends(`<presence type='unavailable' to='${bare(mercutio)}'><status>enough</status></presence>`);
      await mercutio.receives(says('enough'));
      await romeo.sends(`<presence type='unavailable'><status>good night</status></presence>`);
      await juliet.receives(says('good night'));
      await settled(romeo, mercutio);
      for (const client of [juliet, mercutio]) await client.hasNot(anyOf(romeo));
      // The next end is told to nobody.
      await romeo.sends('<presence/>');
      await romeo.close();
      await settled(juliet, mercutio);
      await juliet.hasNot(anyOf(romeo));
      await close(juliet, mercutio);
    });

    it('sent to somebody by one who is not available is taken back as well', async () => {
      const [romeo, juliet] = await pair({ quiet: true });
      await romeo.sends(`<presence to='${juliet.jid}'/>`);
      await juliet.receives(from(romeo));
      romeo.drop();
      await juliet.receives(from(romeo, 'unavailable'));
      await juliet.close();
    });

    it('sent to a contact by one who is not available is taken back as well', async () => {
      const [romeo, juliet] = await friends();
      for (const end of ['unavailable', 'lost']) {
        const quiet = await place.client(bare(romeo), { quiet: true });
        await quiet.sends(`<presence to='${bare(juliet)}'/>`);
        await juliet.receives(from(quiet));
        if (end === 'lost') quiet.drop();
        else await quiet.sends(`<presence type='unavailable'/>`);
        await juliet.receives(from(quiet, 'unavailable'));
        quiet.drop();
      }
      await close(romeo, juliet);
    });

    it('sent to a contact is not taken back twice', async () => {
      const [romeo, juliet] = await friends();
      await romeo.sends(`<presence to='${juliet.jid}'><status>for you</status></presence>`);
      await juliet.receives(says('for you'));
      await romeo.close();
      await juliet.receives(from(romeo, 'unavailable'));
      const other = await place.client(`other${count}@${place.domains[0]}`);
      await settled(other, juliet);
      await juliet.hasNot(anyOf(romeo));
      await close(juliet, other);
    });

    for (const [type, what] of [
      ['', 'presence'],
      [` type='unavailable'`, 'the end of a presence'],
    ]) {
      it(`${what} reaches all available resources of an account, whatever their priority, as it is addressed`, async () => {
        const romeo = await place.client(addresses()[0]);
        for (const priorities of [
          [1],
          [0],
          [-1],
          [1, 1, -1, 1],
          [1, 2, -1, 3],
          [0, 0, -1, 0],
          [1, 0, -1, 3],
          [-1, -1, -1],
        ]) {
          const jid = addresses()[1];
          const juliets: Client[] = [];
          for (const priority of priorities) {
            const juliet = await place.client(jid, { quiet: true });
            await juliet.sends(`<presence><priority>${priority}</priority></presence>`);
            await juliet.receives(from(juliet));
            juliets.push(juliet);
          }
          const absent = await place.client(jid, { quiet: true });
          await romeo.sends(`<presence to='${jid}'${type}><status>marked</status><x xmlns='urn:marker'/></presence>`);
          for (const juliet of juliets) {
            const seen = await juliet.receives(says('marked'));
            assert.equal(seen.attrs.to, jid);
            assert.ok(seen.child('x', 'urn:marker'));
          }
          await absent.hasNot(says('marked'));
          await romeo.sends(`<presence to='${jid}/missing'${type}><status>lost</status></presence>`);
          await romeo.sends(`<presence to='${absent.jid}'${type}><status>exactly</status></presence>`);
          await absent.receives(says('exactly'));
          for (const juliet of juliets) await juliet.hasNot(says('lost'));
          await romeo.hasNot(e => e.attrs.type === 'error');
          await close(...juliets, absent);
        }
        await romeo.close();
      });
    }

    it('is not sent to a contact that cannot take it, until that shows that it can', async () => {
      const [romeo, juliet] = await friends();
      await juliet.sends(
        `<presence type='error' to='${romeo.jid}'><error type='cancel'><gone xmlns='${ns.stanzaErrors}'/></error></presence>`,
      );
      await romeo.receives(from(juliet, 'error'));
      await romeo.sends('<presence><status>unheard</status></presence>');
      await settled(romeo, juliet);
      await juliet.hasNot(says('unheard'));
      await juliet.sends('<presence><status>here</status></presence>');
      await romeo.receives(says('here'));
      await juliet.receives(says('unheard'));
      await romeo.sends('<presence><status>heard</status></presence>');
      await juliet.receives(says('heard'));
      await close(romeo, juliet);
    });

    it('has capabilities the first time, and again when they change (XEP-0115 §8.4)', async () => {
      const [romeo, juliet] = await friends();
      const caps = (ver: string) => `<c xmlns='${ns.caps}' hash='sha-1' node='urn:test' ver='${ver}'/>`;
      const verOf = (presence: Element) => presence.child('c', ns.caps)?.attrs.ver;
      let changes = 0;
      /** Romeo's next presence with this in it, as a client gets it: the capabilities in it. */
      const seen = async (inner: string, client: Client) => {
        await romeo.sends(`<presence><status>${++changes}</status>${inner}</presence>`);
        return verOf(await client.receives(says(String(changes))));
      };
      assert.equal(await seen(caps('one'), juliet), 'one');
      assert.equal(await seen(caps('one'), juliet), undefined);
      assert.equal(await seen('', juliet), undefined);
      // Who sees it for the first time gets them, although the client has not said them again.
      const second = await place.client(bare(juliet));
      const own = await place.client(bare(romeo));
      const tybalt = await place.client(`tybalt${count}@${place.domains[1]}`);
      await sees(tybalt, romeo);
      for (const client of [second, own, tybalt]) assert.equal(verOf(await client.receives(from(romeo))), 'one');
      await juliet.sends(`<presence type='probe' to='${romeo.jid}'/>`);
      assert.equal(verOf(await juliet.receives(e => from(romeo)(e) && e.attrs.to === juliet.jid)), 'one');
      for (const client of [juliet, second, own, tybalt])
        assert.equal(await seen(caps('two'), client), client === juliet ? 'two' : undefined);
      await romeo.sends(`<presence type='unavailable'/>`);
      for (const client of [juliet, second, own, tybalt]) await client.receives(from(romeo, 'unavailable'));
      assert.equal(await seen(caps('two'), juliet), 'two');
      await close(romeo, juliet, second, own, tybalt);
    });

    it('of a kind that there is not is refused', async () => {
      const [romeo, juliet] = await pair();
      for (const [xml, to] of [
        [`<presence type='invisible'/>`, undefined],
        [`<presence type='invisible' to='${juliet.jid}'/>`, juliet.jid],
        [`<presence type='available' to='${bare(juliet)}'/>`, bare(juliet)],
        ...['high', '1.5', '128', '-129', '0x1', '1e1', '--1', '9'.repeat(99)].map(
          priority =>
            [`<presence><priority>${priority}</priority><status>wrong</status></presence>`, undefined] as const,
        ),
        [`<presence type='subscribe'/>`, undefined],
      ] as const) {
        await romeo.sends(xml);
        const error = await romeo.receives(e => e.name === 'presence' && e.attrs.type === 'error');
        assert.deepEqual([conditionOf(error), error.attrs.from], ['bad-request', to]);
      }
      await settled(romeo, juliet);
      await juliet.hasNot(anyOf(romeo));
      await romeo.hasNot(says('wrong'));
      for (const priority of ['', ' 5 ', '+5', '-128', '127', '007']) {
        await romeo.sends(`<presence><priority>${priority}</priority><status>right</status></presence>`);
        await romeo.receives(says('right'));
      }
      await close(romeo, juliet);
    });
  });
}
