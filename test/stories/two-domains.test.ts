// Two domains talk: over TLS with EXTERNAL, with dialback, in plain text; and what happens where they may not.
import assert from 'node:assert/strict';
import type { Element } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { type PartnerOptions, type Partners, startPartners } from '../support/partners.ts';

function conditionOf(error: Element): string | undefined {
  return error
    .child('error')
    ?.all()
    .find(child => child.ns === ns.stanzaErrors)?.name;
}

function textOf(error: Element): string {
  return error.child('error')?.childText('text', ns.stanzaErrors) ?? '';
}

const modes: { name: string; options: PartnerOptions; security: string; proof: string }[] = [
  {
    name: 'TLS and EXTERNAL',
    options: { yaml: 'federation: { security: trusted }' },
    security: 'TLS, valid certificate',
    proof: 'external',
  },
  {
    name: 'TLS with self-signed certificates and dialback',
    options: { capulet: { certificate: null }, montague: { certificate: null } },
    security: 'TLS',
    proof: 'dialback',
  },
];

for (const { name, options, security, proof } of modes) {
  describe(`two domains: ${name}`, () => {
    let partners: Partners;
    before(async () => {
      partners = await startPartners(options);
    });
    after(() => partners.close());

    it('carries messages both ways', async () => {
      const juliet = await partners.capulet.client('juliet@capulet.test');
      const romeo = await partners.montague.client('romeo@montague.test');
      await juliet.sends(`<message to='romeo@montague.test' type='chat'><body>wherefore art thou</body></message>`);
      const heard = await romeo.hears('wherefore art thou');
      assert.equal(heard.attrs.from, juliet.jid);
      const long = '爱 ❤️ '.repeat(2_700);
      await romeo.sends(`<message to='${juliet.jid}' type='chat'><body>${long}</body></message>`);
      await juliet.hears(long);
      const [out] = partners.capulet.links.list().filter(link => link.direction === 'out');
      assert.equal(out.security, security);
      assert.equal(out.proof, proof);
      await juliet.close();
      await romeo.close();
    });

    it('carries subscriptions and presence', async () => {
      const juliet = await partners.capulet.client('juliet@capulet.test');
      const romeo = await partners.montague.client('romeo@montague.test');
      await juliet.sends(`<presence to='romeo@montague.test' type='subscribe'/>`);
      await romeo.receives(e => e.attrs.type === 'subscribe' && e.attrs.from === 'juliet@capulet.test');
      await romeo.sends(`<presence to='juliet@capulet.test' type='subscribed'/>`);
      await juliet.receives(e => e.name === 'presence' && e.attrs.from === romeo.jid && !e.attrs.type);
      await romeo.sends(`<presence><show>dnd</show></presence>`);
      await juliet.receives(e => e.attrs.from === romeo.jid && e.childText('show') === 'dnd');
      await romeo.close();
      await juliet.receives(e => e.attrs.from === romeo.jid && e.attrs.type === 'unavailable');
      const again = await partners.montague.client('romeo@montague.test');
      await juliet.receives(e => e.attrs.from === again.jid && !e.attrs.type);
      await again.close();
      await juliet.close();
    });

    it('answers pings, discovery, and messages to nobody', async () => {
      const juliet = await partners.capulet.client('juliet@capulet.test');
      const pong = await juliet.asks('get', `<ping xmlns='urn:xmpp:ping'/>`, 'montague.test');
      assert.equal(pong.attrs.type, 'result');
      const info = await juliet.asks('get', `<query xmlns='${ns.discoInfo}'/>`, 'montague.test');
      assert.ok(
        info
          .child('query', ns.discoInfo)
          ?.all('feature')
          .some(feature => feature.attrs.var === ns.ping),
      );
      await juliet.sends(`<message to='tybalt@montague.test' id='x1' type='chat'><body>?</body></message>`);
      const error = await juliet.receives(e => e.attrs.id === 'x1');
      assert.equal(conditionOf(error), 'service-unavailable');
      await juliet.close();
    });
  });
}

describe('two domains: in plain text with dialback', () => {
  it('talk where both permit it', async () => {
    const partners = await startPartners({ yaml: 'federation: { security: verified }' });
    try {
      // A hub always offers TLS; a partner without it is played by one whose TLS nobody takes up.
      const juliet = await partners.capulet.client('juliet@capulet.test');
      const pong = await juliet.asks('get', `<ping xmlns='urn:xmpp:ping'/>`, 'montague.test');
      assert.equal(pong.attrs.type, 'result');
    } finally {
      await partners.close();
    }
  });
});

describe('two domains: where they may not', () => {
  it('refuses a self-signed partner where `trusted` is asked for, and says why', async () => {
    const partners = await startPartners({
      capulet: { yaml: 'federation: { security: trusted, queue: { wait: 300ms } }' },
      montague: { certificate: null },
    });
    try {
      const juliet = await partners.capulet.client('juliet@capulet.test');
      await juliet.sends(`<message to='romeo@montague.test' id='x1' type='chat'><body>?</body></message>`);
      const error = await juliet.receives(e => e.attrs.id === 'x1');
      assert.match(textOf(error), /certificate of montague\.test is not valid for it: self-signed/);
      const romeo = await partners.montague.client('romeo@montague.test');
      await romeo.sends(`<message to='juliet@capulet.test' id='x2' type='chat'><body>?</body></message>`);
      await juliet.hasNot(e => e.childText('body') === '?' && e.attrs.type !== 'error');
    } finally {
      await partners.close();
    }
  });

  it('denies a partner at run time in both directions, and lets it in again', async () => {
    const partners = await startPartners();
    try {
      const juliet = await partners.capulet.client('juliet@capulet.test');
      const romeo = await partners.montague.client('romeo@montague.test');
      await juliet.sends(`<message to='romeo@montague.test' type='chat'><body>one</body></message>`);
      await romeo.hears('one');
      await romeo.sends(`<message to='juliet@capulet.test' type='chat'><body>two</body></message>`);
      await juliet.hears('two');
      await partners.capulet.links.setAllowed('montague.test', false);
      await juliet.sends(`<message to='romeo@montague.test' id='x1' type='chat'><body>three</body></message>`);
      const error = await juliet.receives(e => e.attrs.id === 'x1');
      assert.equal(conditionOf(error), 'not-allowed');
      await partners.capulet.links.setAllowed('montague.test', true);
      await juliet.sends(`<message to='romeo@montague.test' type='chat'><body>four</body></message>`);
      await romeo.hears('four');
    } finally {
      await partners.close();
    }
  });

  it('returns what cannot be delivered: no such domain, and a domain that offers nothing', async () => {
    const partners = await startPartners();
    try {
      const juliet = await partners.capulet.client('juliet@capulet.test');
      await juliet.sends(`<message to='a@nowhere.test' id='x1' type='chat'><body>?</body></message>`);
      const error = await juliet.receives(e => e.attrs.id === 'x1');
      assert.equal(conditionOf(error), 'remote-server-not-found');
      assert.match(textOf(error), /DNS knows neither/);
    } finally {
      await partners.close();
    }
  });
});
