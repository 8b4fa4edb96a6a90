// Stanzas: reading them, making new ones of them, and what is written.
import assert from 'node:assert/strict';
import { el } from '../../src/xmpp/element.ts';
import { StanzaError } from '../../src/xmpp/errors.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { parseElement } from '../../src/xmpp/payload.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';
import { serverHeader, stanza } from './scan.ts';

const romeo = Jid.parse('romeo@montague.example/orchard');
const juliet = Jid.parse('juliet@capulet.example/balcony');
const chat = stanza(
  `<message from='${romeo}' to='${juliet}' id='1' type='chat' xml:lang='en' x='y'><body>hi &amp; bye</body><x xmlns='urn:x'><y/></x><z xmlns='urn:&amp;z'/></message>`,
);

describe('a stanza', () => {
  it('is written as it came', () => {
    assert.equal(
      String(chat),
      `<message from='${romeo}' to='${juliet}' id='1' type='chat' xml:lang='en' x='y'><body>hi &amp; bye</body><x xmlns='urn:x'><y/></x><z xmlns='urn:&amp;z'/></message>`,
    );
  });

  it('gives children by name and namespace', () => {
    assert.equal(chat.text('body'), 'hi & bye');
    assert.equal(chat.text('subject'), '');
    assert.equal(chat.has('body', ns.server), true);
    assert.equal(chat.has('bod', ns.client), false);
    assert.equal(chat.has('z', 'urn:&z'), true);
    assert.equal(chat.has('z', 'urn:&amp;z'), false);
    assert.equal(chat.child('x', 'urn:x')?.child('y')?.ns, 'urn:x');
    assert.equal(chat.child('x', 'urn:y'), null);
    assert.deepEqual(chat.firstChild, { name: 'body', ns: ns.client });
    assert.equal(stanza('<iq/>').firstChild, null);
  });

  it('reads as a tree and is made of one again', () => {
    const tree = chat.element;
    assert.deepEqual(tree.attrs, {
      from: String(romeo),
      to: String(juliet),
      id: '1',
      type: 'chat',
      'xml:lang': 'en',
      x: 'y',
    });
    assert.equal(tree.childText('body'), 'hi & bye');
    assert.equal(String(Stanza.from(tree)), String(chat));
  });

  it('is made of an element of another content namespace', () => {
    const one = Stanza.from(
      parseElement(
        "<message xmlns='jabber:server' to='@' from='a@b'><body>x</body><f xmlns='urn:f'><body xmlns='jabber:server'/></f></message>",
      ),
    );
    assert.equal(one.ns, ns.client);
    assert.equal(one.malformed, 'to');
    assert.equal(one.text('body'), 'x');
    assert.equal(
      String(one),
      "<message from='a@b'><body>x</body><f xmlns='urn:f'><body xmlns='jabber:client'/></f></message>",
    );
  });

  it('changes by becoming another', () => {
    const moved = chat.withAddresses(juliet, null).withId("2'").withType('').withLang('de');
    assert.equal(moved.head, `<message from='${juliet}' id='2&apos;' xml:lang='de' x='y'>`);
    assert.equal(moved.payload, chat.payload);
    assert.equal(chat.withTo(romeo).to, romeo);
    assert.equal(chat.withFrom(null).from, null);
    assert.equal(chat.withFrom(null).to, juliet);
  });

  it('takes children and drops them', () => {
    const more = chat
      .with(el('delay', ns.delay, { stamp: "'" }))
      .with(el('subject', ns.client, {}, 'é<'))
      .with(el('b', 'urn:"q'));
    assert.equal(more.child('delay', ns.delay)?.attrs.stamp, "'");
    assert.equal(more.text('subject'), 'é<');
    assert.equal(more.has('b', 'urn:"q'), true);
    assert.equal(more.children.length, 6);
    const less = more.without((name, childNs) => name === 'body' || childNs === 'urn:x');
    assert.deepEqual(
      less.children.map(child => child.name),
      ['z', 'delay', 'subject', 'b'],
    );
    assert.equal(less.text('subject'), 'é<');
    assert.equal(
      chat.without(() => false),
      chat,
    );
    assert.equal(String(stanza('<iq><a/></iq>').without(() => true)), '<iq/>');
  });

  it('keeps its children where its own namespace is another', () => {
    const features = stanza('<stream:features><a/><b xmlns="urn:b"/></stream:features>');
    assert.equal(features.ns, ns.streams);
    assert.equal(features.has('a', ns.client), true);
    assert.equal(features.with(el('c', ns.streams)).has('c', ns.streams), true);
    assert.equal(String(features.with(el('c', ns.client)).child('c', ns.client)), "<c xmlns='jabber:client'/>");
    assert.equal(features.element.all()[0].ns, ns.client);
  });

  it('is built of parts', () => {
    const one = Stanza.of(
      'iq',
      { to: juliet, type: 'get', id: 'a&b' },
      el('ping', ns.ping),
      null,
      el('é', ns.client, {}, 'ü'),
    );
    assert.equal(String(one), `<iq to='${juliet}' id='a&amp;b' type='get'><ping xmlns='urn:xmpp:ping'/><é>ü</é></iq>`);
    assert.equal(one.has('ping', ns.ping), true);
    assert.equal(one.text('é'), 'ü');
    assert.equal(one.isRequest, true);
    assert.equal(String(Stanza.of('presence', {})), '<presence/>');
  });

  it('answers with a result', () => {
    const request = stanza(`<iq from='${romeo}' to='${juliet}' id='7' type='get'><a xmlns='urn:a'/></iq>`);
    assert.equal(
      String(request.result(el('a', 'urn:a'))),
      `<iq from='${juliet}' to='${romeo}' id='7' type='result'><a xmlns='urn:a'/></iq>`,
    );
    assert.equal(request.result().payload.length, 0);
  });

  it('answers with an error that carries what it answers', () => {
    const answer = chat.error('item-not-found', 'no <such> thing', 'wait', el('why', 'urn:why'));
    assert.equal(answer.isError, true);
    assert.equal(answer.from, juliet);
    assert.equal(answer.to, romeo);
    const error = answer.child('error', ns.client);
    assert.equal(error?.attrs.type, 'wait');
    assert.ok(error?.child('item-not-found', ns.stanzaErrors));
    assert.equal(error?.childText('text', ns.stanzaErrors), 'no <such> thing');
    assert.ok(error?.child('why', 'urn:why'));
    assert.equal(answer.text('body'), 'hi & bye');
    const refused = chat.refuse(new StanzaError('forbidden'));
    assert.equal(refused.child('error', ns.client)?.attrs.type, 'auth');
  });

  it('is stored as bytes and read again', () => {
    for (const one of [
      chat,
      stanza("<db:result from='a' to='b'>x</db:result>", serverHeader),
      stanza("<iq xmlns:p='urn:p' p:a='1'/>"),
      chat.error('gone'),
      Stanza.of('message', { to: Jid.parse('a@b/\'"<é') }, el('body', ns.client, {}, '\u{1f600}\r\n')),
    ]) {
      const again = Stanza.parse(one.toBytes());
      assert.equal(String(again), String(one));
      assert.equal(String(again.to), String(one.to));
      assert.deepEqual(again.index, one.index);
      assert.equal(again.ns, one.ns);
    }
    assert.throws(() => Stanza.parse(Buffer.from('<a>')), { name: 'StreamError' });
    assert.throws(() => Stanza.parse(Buffer.from('<a/><b/>')), { name: 'StreamError' });
    assert.throws(() => Stanza.parse(Buffer.from('')), { name: 'StreamError' });
  });

  it('lets go of the chunk it came in', () => {
    const detached = chat.detach();
    assert.equal(detached.payload.buffer.byteLength, chat.payload.length);
    assert.equal(String(detached), String(chat));
    assert.equal(detached.detach(), detached);
  });
});

describe('a child that is written already', () => {
  it('reads like one that was built', () => {
    const stanza = Stanza.parse(Buffer.from(`<message to='a@b.test'><body>é</body></message>`));
    const xml = `<x xmlns='urn:example' by='é&amp;'/>`;
    const written = stanza.withWritten('x', 'urn:example', xml);
    assert.equal(written.toString(), stanza.with(parseElement(xml)).toString());
    for (const one of [written, Stanza.parse(written.toBytes())]) {
      assert.equal(one.child('x', 'urn:example')?.attrs.by, 'é&');
      assert.equal(one.text('body'), 'é');
    }
  });
});
