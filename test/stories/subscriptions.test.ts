// Presence subscriptions as both sides see them, on one hub and over a link (RFC 6121 §3, §2.5.2).
import assert from 'node:assert/strict';
import { rostersOf } from '../../src/modules/rosters.ts';
import type { Element } from '../../src/xmpp/element.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { type Place, places } from '../support/settings.ts';

const query = (inner = '') => `<query xmlns='${ns.roster}'>${inner}</query>`;
const bare = (client: Client) => client.options.jid;
const itemsOf = (iq: Element) => iq.child('query', ns.roster)?.all('item') ?? [];
/** An item in short: subscription, what is asked, approval. */
const shown = ({ attrs }: Element) =>
  [attrs.subscription, attrs.ask && 'asked', attrs.approved && 'approved'].filter(Boolean).join(' ');
const isPresence = (from: string, type?: string) => (e: Element) =>
  e.name === 'presence' && e.attrs.from === from && e.attrs.type === type;

for (const { name, start } of places) {
  describe(`subscriptions ${name}`, () => {
    let place: Place;
    let pairs = 0;
    before(async () => {
      place = await start();
    });
    after(() => place.close());

    /** A client that asked for the roster. */
    async function enter(jid: string, options: { quiet?: boolean; interested?: boolean } = {}): Promise<Client> {
      const client = await place.client(jid, { quiet: options.quiet });
      if (options.interested !== false) await client.asks('get', query());
      return client;
    }
    function addresses(): [string, string] {
      const n = ++pairs;
      return [`romeo${n}@${place.domains[0]}`, `juliet${n}@${place.domains[1]}`];
    }
    async function pair(): Promise<[Client, Client]> {
      const [r, j] = addresses();
      return [await enter(r), await enter(j)];
    }
    /** How a client's roster has the contact; '' where it has not. */
    async function stateOf(client: Client, contact: string): Promise<string> {
      const items = itemsOf(await client.asks('get', query()));
      const item = items.find(({ attrs }) => attrs.jid === contact);
      return item ? shown(item) : '';
    }
    const pushed = async (client: Client, state: string): Promise<Element> => {
      const push = await client.receives(e => e.attrs.type === 'set' && itemsOf(e).some(item => shown(item) === state));
      return itemsOf(push)[0];
    };
    const say = (client: Client, type: string, to: string, inner = '') =>
      client.sends(`<presence type='${type}' to='${to}'>${inner}</presence>`);
    /** Waits until what `client` has sent has been dealt with at the other's hub as well. */
    async function settled(client: Client, other: Client): Promise<void> {
      const id = `settle${Math.random()}`;
      await client.sends(`<message to='${other.jid}' id='${id}'><body>settled</body></message>`);
      await other.receives(e => e.attrs.id === id);
    }
    async function close(...clients: Client[]): Promise<void> {
      for (const client of clients) await client.close();
    }
    /** `watcher` asks and `watched` says yes; what that brings them is taken out of the way. */
    async function subscribe(watcher: Client, watched: Client): Promise<void> {
      await say(watcher, 'subscribe', bare(watched));
      await watched.receives(isPresence(bare(watcher), 'subscribe'));
      await say(watched, 'subscribed', bare(watcher));
      await watcher.receives(isPresence(bare(watched), 'subscribed'));
      await watcher.receives(isPresence(watched.jid));
    }
    async function mutual(): Promise<[Client, Client]> {
      const [romeo, juliet] = await pair();
      await subscribe(romeo, juliet);
      await subscribe(juliet, romeo);
      await settled(romeo, juliet);
      await settled(juliet, romeo);
      for (const client of [romeo, juliet]) client.inbox.length = 0;
      return [romeo, juliet];
    }

    it('a request reaches all available resources with bare addresses and all that it says', async () => {
      const [r, j] = addresses();
      const juliets = [await enter(j), await enter(j, { interested: false }), await enter(j, { quiet: true })];
      const romeo = await enter(r);
      await say(romeo, 'subscribe', juliets[0].jid, `<status>please</status><nick xmlns='urn:nick'>R</nick>`);
      for (const juliet of juliets.slice(0, 2)) {
        const request = await juliet.receives(isPresence(r, 'subscribe'));
        assert.equal(request.attrs.to, j);
        assert.equal(request.childText('status'), 'please');
        assert.equal(request.childText('nick', 'urn:nick'), 'R');
      }
      await juliets[2].hasNot(e => e.attrs.type === 'subscribe');
      assert.equal((await pushed(romeo, 'none asked')).attrs.jid, j);
      for (const juliet of juliets) {
        assert.equal(await stateOf(juliet, r), '');
        await juliet.hasNot(e => itemsOf(e).length > 0 && e.attrs.type === 'set');
      }
      await close(romeo, ...juliets);
    });

    it('a second request while the first waits is not shown again', async () => {
      const [romeo, juliet] = await pair();
      await say(romeo, 'subscribe', bare(juliet));
      await juliet.receives(isPresence(bare(romeo), 'subscribe'));
      await say(romeo, 'subscribe', bare(juliet));
      await settled(romeo, juliet);
      await juliet.hasNot(e => e.attrs.type === 'subscribe');
      await close(romeo, juliet);
    });

    it('an answer goes from the bare address to interested resources, and presence with it', async () => {
      const [r, j] = addresses();
      const romeos = [await enter(r), await enter(r, { quiet: true }), await enter(r, { interested: false })];
      const juliets = [await enter(j), await enter(j)];
      await juliets[1].sends('<presence><show>away</show><status>upstairs</status></presence>');
      await juliets[0].receives(e => e.childText('status') === 'upstairs');
      await say(romeos[0], 'subscribe', j);
      await juliets[0].receives(isPresence(r, 'subscribe'));
      await say(juliets[0], 'subscribed', romeos[0].jid);
      for (const romeo of romeos.slice(0, 2)) {
        assert.equal((await romeo.receives(isPresence(j, 'subscribed'))).attrs.to, r);
        assert.equal((await pushed(romeo, 'to')).attrs.jid, j);
      }
      for (const juliet of juliets) assert.equal((await pushed(juliet, 'from')).attrs.jid, r);
      for (const juliet of juliets) await romeos[0].receives(isPresence(juliet.jid));
      await romeos[2].receives(isPresence(juliets[1].jid));
      await romeos[2].hasNot(e => e.attrs.type === 'subscribed');
      await romeos[1].hasNot(
        e => e.name === 'presence' && e.attrs.type === undefined && e.attrs.from !== romeos[1].jid,
      );
      await close(...romeos, ...juliets);
    });

    it('a no ends the asking', async () => {
      const [romeo, juliet] = await pair();
      await say(romeo, 'subscribe', bare(juliet));
      await juliet.receives(isPresence(bare(romeo), 'subscribe'));
      await say(juliet, 'unsubscribed', bare(romeo));
      await romeo.receives(isPresence(bare(juliet), 'unsubscribed'));
      await pushed(romeo, 'none');
      assert.equal(await stateOf(juliet, bare(romeo)), '');
      const again = await enter(bare(juliet));
      await again.hasNot(e => e.attrs.type === 'subscribe');
      await close(romeo, juliet, again);
    });

    it('a request that is taken back is gone', async () => {
      const [romeo, juliet] = await pair();
      await say(romeo, 'subscribe', bare(juliet));
      await juliet.receives(isPresence(bare(romeo), 'subscribe'));
      await say(romeo, 'unsubscribe', bare(juliet));
      await juliet.receives(isPresence(bare(romeo), 'unsubscribe'));
      assert.equal(await stateOf(romeo, bare(juliet)), 'none');
      const again = await enter(bare(juliet));
      await again.hasNot(e => e.attrs.type === 'subscribe');
      await close(romeo, juliet, again);
    });

    it('a request to somebody away waits, whole, through every login until it is answered', async () => {
      const [r, j] = addresses();
      await place.account(j);
      const romeo = await enter(r);
      await say(romeo, 'subscribe', j, `<status>please</status><x xmlns='urn:example:more'><y/></x>`);
      await pushed(romeo, 'none asked');
      const asks = isPresence(r, 'subscribe');
      let juliet = await enter(j, { quiet: true });
      await juliet.hasNot(asks);
      for (let login = 0; login < 2; login++) {
        await juliet.sends('<presence><priority>-1</priority></presence>');
        const request = await juliet.receives(asks);
        assert.equal(request.childText('status'), 'please');
        assert.ok(request.child('x', 'urn:example:more')?.child('y'));
        assert.equal(request.attrs.to, j);
        await juliet.sends('<presence><show>dnd</show></presence>');
        await juliet.receives(e => e.childText('show') === 'dnd');
        await juliet.hasNot(asks);
        await juliet.close();
        juliet = await enter(j, { quiet: true });
      }
      await say(juliet, 'subscribed', r);
      await romeo.receives(isPresence(j, 'subscribed'));
      await juliet.sends('<presence/>');
      await juliet.hasNot(asks);
      await romeo.receives(isPresence(juliet.jid));
      await close(romeo, juliet);
    });

    it('to nobody is passed over in silence, whatever is said', async () => {
      const romeo = await enter(addresses()[0]);
      const domain = place.domains[1];
      for (const type of ['', 'unavailable', 'subscribe', 'subscribed', 'unsubscribe', 'unsubscribed']) {
        for (const to of [`nobody${type}@${domain}`, `no${type}@${domain}/x`, `${domain}/${type}x`]) {
          await romeo.sends(`<presence to='${to}'${type && ` type='${type}'`}/>`);
        }
      }
      const there = await enter(`there${pairs}@${place.domains[1]}`);
      await settled(romeo, there);
      await settled(there, romeo);
      await romeo.hasNot(e => e.name === 'presence' && e.attrs.from !== romeo.jid);
      await close(romeo, there);
    });

    it('an approval that comes first answers the request by itself, and can be taken back', async () => {
      const [romeo, juliet] = await pair();
      assert.ok(juliet.features.child('sub', ns.subscriptionPreApproval));
      await say(juliet, 'subscribed', bare(romeo));
      await pushed(juliet, 'none approved');
      await say(juliet, 'unsubscribed', bare(romeo));
      await pushed(juliet, 'none');
      await say(juliet, 'subscribed', bare(romeo));
      await pushed(juliet, 'none approved');
      await settled(juliet, romeo);
      await romeo.hasNot(e => e.name === 'presence' && e.attrs.from === bare(juliet));
      await say(romeo, 'subscribe', bare(juliet));
      await romeo.receives(isPresence(bare(juliet), 'subscribed'));
      await romeo.receives(isPresence(juliet.jid));
      await pushed(juliet, 'from approved');
      await juliet.hasNot(e => e.attrs.type === 'subscribe');
      // It stays good for the next time.
      await say(romeo, 'unsubscribe', bare(juliet));
      await pushed(juliet, 'none approved');
      await close(romeo, juliet);
    });

    it('who is subscribed already is told so again', async () => {
      const [romeo, juliet] = await pair();
      await subscribe(romeo, juliet);
      // What a hub does that has lost its roster.
      const { hub } = place.hubOf(bare(romeo));
      rostersOf(hub).forget(Jid.parse(bare(romeo)));
      await say(romeo, 'subscribe', bare(juliet));
      await romeo.receives(isPresence(bare(juliet), 'subscribed'));
      await romeo.receives(isPresence(juliet.jid));
      await juliet.hasNot(e => e.attrs.type === 'subscribe');
      assert.equal(await stateOf(romeo, bare(juliet)), 'to');
      await close(romeo, juliet);
    });

    it('answers that nobody asked for change nothing and reach nobody', async () => {
      const [romeo, juliet] = await pair();
      for (const type of ['subscribed', 'unsubscribed', 'unsubscribe']) await say(romeo, type, bare(juliet));
      await settled(romeo, juliet);
      await juliet.hasNot(e => e.name === 'presence' && e.attrs.from !== juliet.jid);
      assert.equal(await stateOf(juliet, bare(romeo)), '');
      await close(romeo, juliet);
    });

    it('to oneself mean nothing', async () => {
      const [romeo] = await pair();
      for (const type of ['subscribe', 'subscribed', 'unsubscribe', 'unsubscribed'])
        await say(romeo, type, bare(romeo));
      await romeo.hasNot(e => e.name === 'presence' && e.attrs.from === bare(romeo));
      assert.equal(await stateOf(romeo, bare(romeo)), '');
      await romeo.close();
    });

    it('the watcher ends its own: it sees the other go, who is told', async () => {
      const [romeo, juliet] = await mutual();
      await say(romeo, 'unsubscribe', juliet.jid);
      assert.equal((await juliet.receives(isPresence(bare(romeo), 'unsubscribe'))).attrs.to, bare(juliet));
      await pushed(romeo, 'from');
      await pushed(juliet, 'to');
      await romeo.receives(isPresence(juliet.jid, 'unavailable'));
      await juliet.sends('<presence><status>unseen</status></presence>');
      await settled(juliet, romeo);
      await romeo.hasNot(e => e.childText('status') === 'unseen');
      await close(romeo, juliet);
    });

    it('the watched ends it: the other sees it go, and is told', async () => {
      const [romeo, juliet] = await mutual();
      await say(juliet, 'unsubscribed', romeo.jid);
      await romeo.receives(isPresence(juliet.jid, 'unavailable'));
      assert.equal((await romeo.receives(isPresence(bare(juliet), 'unsubscribed'))).attrs.to, bare(romeo));
      await pushed(romeo, 'from');
      await pushed(juliet, 'to');
      await close(romeo, juliet);
    });

    for (const [what, make, types] of [
      ['both', mutual, ['unsubscribe', 'unsubscribed']],
      ['to', () => oneWay(true), ['unsubscribe']],
      ['from', () => oneWay(false), ['unsubscribed']],
      ['none, asked', asked, ['unsubscribe']],
    ] as const) {
      it(`the removal of a contact with ${what} says ${types.join(' and ')}`, async () => {
        const [romeo, juliet] = await make();
        const removed = await romeo.asks('set', query(`<item jid='${bare(juliet)}' subscription='remove'/>`));
        assert.equal(conditionOf(removed), 'result');
        await pushed(romeo, 'remove');
        for (const type of types) {
          assert.equal((await juliet.receives(isPresence(bare(romeo), type))).attrs.to, bare(juliet));
        }
        await settled(romeo, juliet);
        await juliet.hasNot(e => /subscribe/.test(e.attrs.type ?? ''));
        assert.match(await stateOf(juliet, bare(romeo)), /^(none)?$/);
        assert.equal(await stateOf(romeo, bare(juliet)), '');
        if (what === 'both' || what === 'to') await romeo.receives(isPresence(juliet.jid, 'unavailable'));
        if (what === 'both' || what === 'from') await juliet.receives(isPresence(romeo.jid, 'unavailable'));
        await close(romeo, juliet);
      });
    }
    async function oneWay(forth: boolean): Promise<[Client, Client]> {
      const [romeo, juliet] = await pair();
      await (forth ? subscribe(romeo, juliet) : subscribe(juliet, romeo));
      await settled(juliet, romeo);
      for (const client of [romeo, juliet]) client.inbox.length = 0;
      return [romeo, juliet];
    }
    async function asked(): Promise<[Client, Client]> {
      const [romeo, juliet] = await pair();
      await say(romeo, 'subscribe', bare(juliet));
      await juliet.receives(isPresence(bare(romeo), 'subscribe'));
      return [romeo, juliet];
    }

    it('a request taken back in the same breath leaves nothing, even where it was approved before', async () => {
      for (const approved of [false, true]) {
        const [romeo, juliet] = await pair();
        if (approved) {
          await say(juliet, 'subscribed', bare(romeo));
          await pushed(juliet, 'none approved');
        }
        const removal = `<iq type='set' id='remove'>${query(`<item jid='${bare(juliet)}' subscription='remove'/>`)}</iq>`;
        await romeo.sends(`<presence type='subscribe' to='${bare(juliet)}'/>${removal}`);
        assert.equal((await romeo.receives(e => e.attrs.id === 'remove')).attrs.type, 'result');
        await settled(romeo, juliet);
        await settled(juliet, romeo);
        assert.equal(await stateOf(juliet, bare(romeo)), approved ? 'none approved' : '');
        const again = await enter(bare(juliet));
        await again.hasNot(e => e.attrs.type === 'subscribe');
        await close(romeo, juliet, again);
      }
    });

    for (const [what, end] of [
      ['a no', (to: string) => `<presence type='unsubscribed' to='${to}'/>`],
      [
        'a removal',
        (to: string) => `<iq type='set' id='remove'>${query(`<item jid='${to}' subscription='remove'/>`)}</iq>`,
      ],
    ] as const) {
      it(`a yes and ${what} in the same breath show nothing in the end`, async () => {
        const [romeo, juliet] = await pair();
        await say(romeo, 'subscribe', bare(juliet));
        await juliet.receives(isPresence(bare(romeo), 'subscribe'));
        await juliet.sends(`<presence type='subscribed' to='${bare(romeo)}'/>${end(bare(romeo))}`);
        await romeo.receives(isPresence(bare(juliet), 'unsubscribed'));
        await settled(juliet, romeo);
        const last = romeo.inbox.findLast(e => e.name === 'presence' && e.attrs.from === juliet.jid);
        assert.ok(last === undefined || last.attrs.type === 'unavailable', String(last));
        await close(romeo, juliet);
      });
    }

    it('a request that cannot be delivered comes back', async () => {
      const romeo = await enter(addresses()[0]);
      await say(romeo, 'subscribe', 'juliet@nowhere.test', '<status>please</status>');
      const error = await romeo.receives(isPresence('juliet@nowhere.test', 'error'));
      assert.equal(conditionOf(error), 'remote-server-not-found');
      assert.equal(await stateOf(romeo, 'juliet@nowhere.test'), 'none asked');
      await romeo.close();
    });

    it('a probe is answered for those who may see, and for nobody else', async () => {
      const [romeo, juliet] = await pair();
      await say(romeo, 'probe', bare(juliet));
      await settled(romeo, juliet);
      await settled(juliet, romeo);
      await romeo.hasNot(e => e.name === 'presence' && e.attrs.from === juliet.jid);
      await juliet.hasNot(e => e.attrs.type === 'probe');
      // A probe does not answer what the contact has to answer.
      await say(romeo, 'subscribe', bare(juliet));
      await juliet.receives(isPresence(bare(romeo), 'subscribe'));
      await say(romeo, 'probe', bare(juliet));
      await settled(romeo, juliet);
      await settled(juliet, romeo);
      assert.equal(await stateOf(romeo, bare(juliet)), 'none asked');
      await say(juliet, 'subscribed', bare(romeo));
      await romeo.receives(isPresence(juliet.jid));
      for (const [to, type] of [
        [bare(juliet), undefined],
        [juliet.jid, undefined],
        [`${bare(juliet)}/away`, 'unavailable'],
      ] as const) {
        await say(romeo, 'probe', to);
        await romeo.receives(isPresence(type ? to : juliet.jid, type));
      }
      await juliet.close();
      await romeo.receives(isPresence(juliet.jid, 'unavailable'));
      await say(romeo, 'probe', bare(juliet));
      await romeo.receives(isPresence(bare(juliet), 'unavailable'));
      await romeo.close();
    });
  });
}
