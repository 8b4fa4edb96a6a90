import assert from 'node:assert/strict';
import {
  type Content,
  contentOf,
  idOf,
  type Saying,
  sayingOf,
  sayingsOf,
  stanzaOf,
  tokenOf,
  type Words,
} from '../../../src/bridges/sip/chat.ts';
import { parseCpim, writeCpim } from '../../../src/bridges/sip/cpim.ts';
import { splitText } from '../../../src/bridges/sip/text.ts';
import { StanzaError } from '../../../src/xmpp/errors.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { parseElement } from '../../../src/xmpp/payload.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';

const romeo = Jid.parse('romeo@hub.test/orchard');
const alice = Jid.parse('alice@sip.test');
const ends = { from: 'im:romeo@hub.test', to: 'im:alice@sip.test' };

const stanza = (inner: string, attrs = "id='m1' type='chat'") =>
  Stanza.from(parseElement(`<message xmlns='jabber:client' from='${romeo}' to='${alice}' ${attrs}>${inner}</message>`));
const text = (content: Content) => Buffer.from(content.body).toString();
const message = (contentType: string, body: string | Uint8Array, headers: Record<string, string> = {}) => ({
  contentType,
  body: typeof body === 'string' ? Buffer.from(body) : body,
  callId: 'call-1',
  header: (name: string) => headers[name.toLowerCase()],
});
/** What the other side makes of what was sent. */
const there = (saying: Saying, cpim: boolean) => {
  const { contentType, body, headers } = contentOf(saying, ends, cpim);
  return sayingOf(message(contentType, body, Object.fromEntries(headers.map(([n, v]) => [n.toLowerCase(), v]))));
};

describe('chat from XMPP to SIP', () => {
  it('takes the words, the subject, the language and the thread', () => {
    const [saying] = sayingsOf(
      stanza('<subject>Hi\r\nX: y</subject><body>Čau ☃ 👋🏽</body><thread>t1</thread>', "id='m1' xml:lang='cs'"),
    );
    assert.deepEqual(saying, {
      kind: 'words',
      text: 'Čau ☃ 👋🏽',
      subject: 'Hi X: y',
      lang: 'cs',
      id: 'm1',
      thread: 't1',
      wantsReceipt: false,
      wantsMarker: false,
    });
    const content = contentOf(saying, ends, false);
    assert.equal(content.contentType, 'text/plain;charset=UTF-8');
    assert.equal(text(content), 'Čau ☃ 👋🏽');
    assert.deepEqual(content.headers, [
      ['Subject', 'Hi X: y'],
      ['Content-Language', 'cs'],
    ]);
  });

  it('takes the body of the stanza’s language', () => {
    const bodies = "<body xml:lang='de'>Hallo</body><body xml:lang='cs'>Ahoj</body>";
    assert.equal((sayingsOf(stanza(bodies, "xml:lang='cs'"))[0] as Words).text, 'Ahoj');
    assert.equal((sayingsOf(stanza(bodies))[0] as Words).text, 'Hallo');
  });

  it('drops XHTML-IM where there is a body, and reads it where there is none', () => {
    const html =
      "<html xmlns='http://jabber.org/protocol/xhtml-im'><body xmlns='http://www.w3.org/1999/xhtml'>" +
      "<p>Hi  <b>you</b>,<br/>see <a href='http://x.test/'>this</a></p><p><img src='y' alt='a cat'/></p></body></html>";
    assert.equal((sayingsOf(stanza(`<body>plain</body>${html}`))[0] as Words).text, 'plain');
    assert.equal((sayingsOf(stanza(html))[0] as Words).text, 'Hi you,\nsee this (http://x.test/)\n\na cat');
  });

  const states: [string, boolean][] = [
    ['composing', true],
    ['paused', false],
    ['inactive', false],
    ['gone', false],
  ];
  for (const [state, active] of states) {
    it(`tells ${state} as ${active ? 'active' : 'idle'}`, () => {
      const [saying] = sayingsOf(stanza(`<${state} xmlns='http://jabber.org/protocol/chatstates'/>`));
      assert.equal((there(saying, false) as { active: boolean }).active, active);
    });
  }

  it('says nothing of its own for a state that comes with words', () => {
    const both = stanza("<body>x</body><active xmlns='http://jabber.org/protocol/chatstates'/>");
    assert.deepEqual(
      sayingsOf(both).map(saying => saying.kind),
      ['words'],
    );
  });

  it('asks for notifications in CPIM', () => {
    const asking = "<body>x</body><request xmlns='urn:xmpp:receipts'/><markable xmlns='urn:xmpp:chat-markers:0'/>";
    const [saying] = sayingsOf(stanza(asking, "id='odd id/1'"));
    const cpim = parseCpim(contentOf(saying, ends, true).body);
    assert.equal(cpim.headers.get('from'), '<im:romeo@hub.test>');
    assert.equal(
      cpim.headers.get('{urn:ietf:params:imdn}disposition-notification'),
      'positive-delivery, negative-delivery, display',
    );
    const read = there(saying, true) as Words;
    assert.deepEqual([read.text, read.id, read.wantsReceipt, read.wantsMarker], ['x', 'odd id/1', true, true]);
  });

  it('tells receipts and markers as notifications', () => {
    const receipt = sayingsOf(stanza("<received xmlns='urn:xmpp:receipts' id='z'/>"));
    assert.deepEqual(receipt, [{ kind: 'notice', id: 'z', disposition: 'delivered' }]);
    assert.deepEqual(there(receipt[0], true), receipt[0]);
    const marker = sayingsOf(stanza("<displayed xmlns='urn:xmpp:chat-markers:0' id='z'/>"));
    assert.deepEqual(there(marker[0], true), { kind: 'notice', id: 'z', disposition: 'displayed' });
  });

  it('has nothing to say for an empty message', () => {
    assert.deepEqual(sayingsOf(stanza('')), []);
    assert.deepEqual(sayingsOf(stanza('<body/>')), []);
  });
});

describe('chat from SIP to XMPP', () => {
  const words = (contentType: string, body: string | Uint8Array, headers = {}) =>
    sayingOf(message(contentType, body, headers)) as Words;

  it('reads plain text in the character sets that are in use', () => {
    assert.equal(words('text/plain', 'Grüße 🎉').text, 'Grüße 🎉');
    assert.equal(words('Text/Plain; charset="ISO-8859-1"', Buffer.from('Grüße', 'latin1')).text, 'Grüße');
    assert.equal(words('text/plain;charset=utf-16le', Buffer.from('Grüße', 'utf16le')).text, 'Grüße');
    assert.equal(words('text/plain', 'a\r\nb').text, 'a\nb');
  });

  it('makes a stanza of it', () => {
    const saying = words('text/plain', 'Hi <b>&', { subject: 'On\tit', 'content-language': 'en-GB, de' });
    const made = stanzaOf(saying, alice, romeo, 'fresh')!;
    assert.equal(
      made.toString(),
      "<message from='alice@sip.test' to='romeo@hub.test/orchard' id='fresh' type='chat' xml:lang='en-GB'>" +
        '<subject>On it</subject><body>Hi &lt;b&gt;&amp;</body><thread>call-1</thread>' +
        "<active xmlns='http://jabber.org/protocol/chatstates'/></message>",
    );
  });

  it('replaces what XML cannot carry', () => {
    const made = stanzaOf(words('text/plain', 'a\x00b\x1b[31m\u{1F600}'), alice, romeo, 'x')!;
    assert.equal(Stanza.parse(made.toBytes()).text('body'), 'a\ufffdb\ufffd[31m\u{1F600}');
  });

  it('tells when an old message was sent', () => {
    const saying = words('text/plain', 'late', { date: 'Sat, 13 Nov 2010 23:29:00 GMT' });
    const delay = stanzaOf(saying, alice, romeo, 'x')!.child('delay', 'urn:xmpp:delay');
    assert.equal(delay?.attrs.stamp, '2010-11-13T23:29:00.000Z');
  });

  it('keeps a request for notifications, whatever the prefix', () => {
    const body =
      'From: <im:alice@sip.test>\nTo: <im:romeo@hub.test>\nDateTime: 2026-01-01T00:00:00Z\nSubject: a\\u000ab\n' +
      'NS: x <urn:ietf:params:imdn>\nx.Message-ID: abc\nx.Disposition-Notification: positive-delivery, display\n\n' +
      'Content-Type: text/plain; charset=utf-8\n\nhello';
    const saying = words('message/cpim', body);
    assert.deepEqual([saying.text, saying.subject, saying.id], ['hello', 'a b', 'abc']);
    const made = stanzaOf(saying, alice, romeo, 'x')!;
    assert.equal(made.id, 'abc');
    assert.ok(made.has('request', 'urn:xmpp:receipts') && made.has('markable', 'urn:xmpp:chat-markers:0'));
  });

  it('makes receipts, markers and errors of notifications', () => {
    const imdn = (inner: string) =>
      sayingOf(
        message(
          'message/imdn+xml',
          `<imdn xmlns='urn:ietf:params:xml:ns:imdn'><message-id>m1</message-id>${inner}</imdn>`,
        ),
      )!;
    const delivered = imdn('<delivery-notification><status><delivered/></status></delivery-notification>');
    assert.match(`${stanzaOf(delivered, alice, romeo, 'x')}`, /<received xmlns='urn:xmpp:receipts' id='m1'\/>/);
    const displayed = imdn('<display-notification><status><displayed/></status></display-notification>');
    assert.match(`${stanzaOf(displayed, alice, romeo, 'x')}`, /<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'\/>/);
    const failed = imdn('<delivery-notification><status><failed/></status></delivery-notification>');
    const error = stanzaOf(failed, alice, romeo, 'x')!;
    assert.deepEqual([error.type, error.id, `${error.from}`], ['error', 'm1', 'alice@sip.test']);
    const stored = imdn('<processing-notification><status><stored/></status></processing-notification>');
    assert.equal(stanzaOf(stored, alice, romeo, 'x'), null);
  });

  it('passes on who writes, with the time for which it holds', () => {
    const body = (state: string) =>
      `<?xml version="1.0"?><!-- x --><isComposing xmlns='urn:ietf:params:xml:ns:im-iscomposing'><state>${state}</state><refresh>90</refresh></isComposing>`;
    const active = sayingOf(message('application/im-iscomposing+xml', body('active')))!;
    assert.deepEqual(active, { kind: 'writing', active: true, lasts: 90 });
    assert.ok(stanzaOf(active, alice, romeo, 'x')!.has('composing', 'http://jabber.org/protocol/chatstates'));
    const idle = sayingOf(message('application/im-iscomposing+xml', body('idle')))!;
    assert.ok(stanzaOf(idle, alice, romeo, 'x')!.has('paused', 'http://jabber.org/protocol/chatstates'));
  });

  it('is silent for nothing', () => {
    assert.equal(sayingOf(message('', '')), null);
    assert.equal(sayingOf(message('text/plain', ' \r\n')), null);
  });

  const wrong: [string, string, string | Uint8Array, string][] = [
    ['an unknown media type', 'application/x', 'x', 'not-acceptable'],
    ['no known character set', 'text/plain;charset=klingon', 'x', 'not-acceptable'],
    ['wrong UTF-8', 'text/plain', Buffer.from([0xc3, 0x28]), 'bad-request'],
    ['CPIM without a body', 'message/cpim', 'From: x', 'bad-request'],
    ['CPIM in CPIM', 'message/cpim', 'A: b\n\nContent-Type: message/cpim\n\nx', 'not-acceptable'],
    ['CPIM that is too short', 'message/cpim', 'A: b\n\nContent-Length: 50\n\nx', 'bad-request'],
    ['CPIM with endless headers', 'message/cpim', 'A: b\n'.repeat(1000), 'bad-request'],
    ['imdn that is not XML', 'message/imdn+xml', 'x', 'bad-request'],
    ['imdn with entities', 'message/imdn+xml', '<!DOCTYPE x [<!ENTITY a "b">]><imdn>&a;</imdn>', 'bad-request'],
    ['composing that is something else', 'application/im-iscomposing+xml', '<x/>', 'bad-request'],
  ];
  for (const [what, type, body, condition] of wrong) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => sayingOf(message(type, body)),
        (error: StanzaError) => error instanceof StanzaError && error.condition === condition,
      );
    });
  }
});

describe('parts of chat', () => {
  it('writes CPIM that no value can break', () => {
    const body = Buffer.from('x');
    const bytes = writeCpim({ headers: [['Subject', 'a\r\nEvil: b\\']], contentType: 'text/plain', body });
    const read = parseCpim(bytes);
    assert.deepEqual([...read.headers], [['subject', 'a\r\nEvil: b\\']]);
    assert.equal(Buffer.from(read.body).toString(), 'x');
  });

  it('makes tokens of ids, and ids of tokens', () => {
    for (const id of ['abc', 'a b', 'x64-abc', 'ž/"\r\n', '='.repeat(300)]) {
      assert.match(tokenOf(id), /^[\w.!%*+`'~-]+$/);
      assert.equal(idOf(tokenOf(id)), id);
    }
  });

  it('splits at words, never inside a character, and loses nothing', () => {
    const long = 'slovo '.repeat(400).trim();
    const parts = splitText(long, 100, 100)!;
    assert.ok(parts.every(part => Buffer.byteLength(part) <= 100));
    assert.equal(parts.join(' '), long);
    const families = '👨‍👩‍👧‍👦'.repeat(20);
    const cut = splitText(families, 60, 100)!;
    assert.equal(cut.join(''), families);
    assert.ok(cut.every(part => part.length % '👨‍👩‍👧‍👦'.length === 0));
    assert.equal(splitText('é'.repeat(100), 1, 2), null);
    assert.equal(splitText(`a${'\u0301'.repeat(5000)}`, 1000, 20)!.join(''), `a${'\u0301'.repeat(5000)}`);
    assert.deepEqual(splitText('short', 100, 1), ['short']);
  });
});
