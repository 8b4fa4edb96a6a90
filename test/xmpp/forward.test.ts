// Forwarding: what is wrapped reads the same as what came.
import assert from 'node:assert/strict';
import { el } from '../../src/xmpp/element.ts';
import { forward } from '../../src/xmpp/forward.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';

const user = Jid.parse('juliet@capulet.test');

describe('forwarding', () => {
  for (const xml of [
    `<message from='a@b.test/c' to='d@e.test' type='chat' id='1&apos;2'><body>é &amp; &lt;</body></message>`,
    `<message from='a@b.test' to='d@e.test' xml:lang='cs'/>`,
    `<message from='a@b.test' to='d@e.test'><x xmlns='urn:example:1' xmlns:p='urn:example:2' p:y='z'><p:q/></x> </message>`,
  ]) {
    it(`wraps ${xml}`, () => {
      const inner = Stanza.parse(Buffer.from(xml));
      const delay = el('delay', ns.delay, { stamp: '2026-01-01T00:00:00Z' });
      const outer = forward(
        { from: user, to: user, type: 'chat' },
        el('result', ns.archive, { id: "o'ne" }),
        inner,
        delay,
      );
      assert.ok(outer.has('result', ns.archive));
      const again = Stanza.parse(outer.toBytes());
      for (const stanza of [outer, again]) {
        const result = stanza.child('result', ns.archive)!;
        assert.equal(result.attrs.id, "o'ne");
        const forwarded = result.child('forwarded', ns.forward)!;
        assert.equal(forwarded.child('delay', ns.delay)?.attrs.stamp, '2026-01-01T00:00:00Z');
        assert.equal(forwarded.child('message', ns.client)?.toString(), inner.element.toString());
      }
    });
  }
});
