// Discovery, personal eventing, nodes, pictures and what people keep, used by a client library of another make.
import assert from 'node:assert/strict';
import { seenBy } from './libraries.ts';

describe('aioxmpp, of eventing', () => {
  const seen = seenBy('aioxmpp', 'eventing.py', { users: ['romeo', 'juliet', 'nurse'] });

  it('discovers domain, services and accounts', () => {
    assert.deepEqual(seen.identities, ['server/im']);
    for (const feature of ['urn:xmpp:carbons:2', 'urn:xmpp:blocking', 'vcard-temp', 'urn:xmpp:ping']) {
      assert.ok((seen.features as string[]).includes(feature), feature);
    }
    assert.deepEqual(seen.items, ['pubsub.hub.test']);
    assert.deepEqual(seen.account, ['account/registered', 'pubsub/pep']);
    assert.equal(seen.missing, 'item-not-found');
  });

  it('learns the capabilities of contacts, old and new', () => {
    assert.deepEqual(seen.caps, [true, true]);
    assert.equal(seen.client, true);
    assert.equal(seen.news, true);
  });

  it('hears of the tunes of contacts, also when it comes later', () => {
    assert.deepEqual(seen.tune, ['romeo@hub.test', 'Sigh no more', 'current']);
    assert.equal(seen.mine, 'romeo@hub.test');
    assert.equal(seen.current, 'Sigh no more');
    assert.equal(seen.stranger, 'not-authorized');
    assert.equal(seen.closed, 'not-allowed');
  });

  it('makes and configures nodes', () => {
    for (const feature of ['create-nodes', 'config-node', 'publish', 'subscribe', 'retrieve-items']) {
      assert.ok((seen.service as string[]).includes(feature), feature);
    }
    assert.equal(seen.again, 'conflict');
    assert.equal(seen.instant, true);
    assert.deepEqual(seen.model, ['open', true]);
    assert.equal(seen.configured, 'The news');
    assert.equal(seen.nodes, true);
  });

  it('publishes, retrieves and retracts', () => {
    assert.deepEqual(seen.subscribed, ['juliet@hub.test', 'subscribed', false]);
    assert.deepEqual(seen.published, ['news', 'one', 'one']);
    assert.deepEqual(seen.kept, ['three', 'two']);
    assert.equal(seen.given, true);
    assert.deepEqual(seen.most, ['three']);
    assert.deepEqual(seen.chosen, ['three']);
    assert.equal(seen.retracted, 'three');
  });

  it('manages who may publish, and who subscribes', () => {
    assert.equal(seen.forbidden, 'forbidden');
    assert.equal(seen.told, 'publisher');
    assert.deepEqual(seen.affiliations, [
      ['juliet@hub.test', 'publisher'],
      ['romeo@hub.test', 'owner'],
    ]);
    assert.equal(seen.publisher, 'hers');
    assert.deepEqual(seen.subscriptions, [['juliet@hub.test', 'subscribed']]);
    assert.deepEqual(seen.hers, [['news', 'subscribed']]);
  });

  it('purges and deletes nodes', () => {
    assert.equal(seen.purged, 0);
    assert.equal(seen.deleted, 'news');
    assert.equal(seen.gone, 'item-not-found');
  });

  it('shows a picture in eventing, card and presence alike', () => {
    assert.deepEqual(seen.avatar, ['romeo@hub.test', 'image/png', 14, true]);
    assert.equal(seen.photo, true);
    assert.equal(seen.hash, true);
    assert.equal(seen.converted, true);
    assert.equal(seen.disabled, 0);
    assert.equal(seen.bare, null);
  });

  it('changes its own card and no other', () => {
    assert.deepEqual(seen.name, ['Romeo Montague']);
    assert.equal(seen.theirs, 'forbidden');
  });

  it('keeps what is its own', () => {
    assert.equal(seen.empty, null);
    assert.equal(seen.private, 'buy <poison> & leave');
  });

  it('bookmarks in the old way what others find in the new', () => {
    assert.deepEqual(seen.bookmarks, [['garden@rooms.test', 'Orchard', true, 'Ro']]);
    assert.deepEqual(seen.native, [['garden@rooms.test', 'Orchard']]);
  });
});
