import assert from 'node:assert/strict';
import { jidOfSip, parseSipAddress, sipAddress } from '../../../src/bridges/sip/addresses.ts';
import { StanzaError } from '../../../src/xmpp/errors.ts';
import { Jid } from '../../../src/xmpp/jid.ts';

describe('addresses between SIP and XMPP', () => {
  const pairs: [string, string][] = [
    ['juliet@hub.test', 'sip:juliet@hub.test'],
    ['o\\27malley@hub.test', "sip:o'malley@hub.test"],
    ['call\\20me\\20trouble@hub.test', 'sip:call%20me%20trouble@hub.test'],
    ['user\\40other.test@hub.test', 'sip:user%40other.test@hub.test'],
    ['a\\2fb\\3ac@hub.test', 'sip:a/b%3Ac@hub.test'],
    ['d\\26g\\22\\3c\\3e@hub.test', 'sip:d&g%22%3C%3E@hub.test'],
    ['back\\5c40slash@hub.test', 'sip:back%5C40slash@hub.test'],
    ['semi;colon?@hub.test', 'sip:semi%3Bcolon%3F@hub.test'],
    ['100%@hub.test', 'sip:100%25@hub.test'],
    ['#hash{}@hub.test', 'sip:%23hash%7B%7D@hub.test'],
    ['žofie@hub.test', 'sip:%C5%BEofie@hub.test'],
    ['romeo@münchen.test', 'sip:romeo@xn--mnchen-3ya.test'],
    ['+15551230000@sip.test', 'sip:+15551230000@sip.test;user=phone'],
    ['sip.test', 'sip:sip.test'],
    ['juliet@[2001:db8::1]', 'sip:juliet@[2001:db8::1]'],
  ];
  for (const [jid, uri] of pairs) {
    it(`${jid} is ${uri}, and back`, () => {
      assert.equal(sipAddress(Jid.parse(jid)), uri);
      assert.equal(jidOfSip(uri).toString(), Jid.parse(jid).toString());
    });
  }

  it('keeps a resource as a GRUU, and reads one', () => {
    const jid = Jid.parse('juliet@hub.test/am Balkon;1');
    assert.equal(sipAddress(jid, 'sip', true), 'sip:juliet@hub.test;gr=am%20Balkon%3B1');
    assert.equal(sipAddress(jid, 'pres'), 'pres:juliet@hub.test');
    assert.equal(jidOfSip('sip:juliet@hub.test;gr=am%20Balkon%3B1').toString(), jid.toString());
    assert.equal(jidOfSip('sip:juliet@hub.test;GR=urn:uuid:f81d;x').resource, 'urn:uuid:f81d');
  });

  const incoming: [string, string][] = [
    ['sips:Juliet@Hub.Test:5061;transport=tls', 'juliet@hub.test'],
    ['im:juliet@hub.test', 'juliet@hub.test'],
    ['pres:juliet@hub.test', 'juliet@hub.test'],
    ['SIP:juliet:secret@hub.test?Subject=x', 'juliet@hub.test'],
    ['sip:juliet@hub.test;user=phone;x="a"'.replaceAll('"', ''), 'juliet@hub.test'],
    ['sip:a;b=c@hub.test', 'a;b=c@hub.test'],
    ['sip:what?@hub.test', 'what?@hub.test'],
    ['sip:juliet@hub.test?To=sip:mallory@evil.test', 'juliet@hub.test'],
    ['sip:back\\slash@hub.test', 'back\\slash@hub.test'],
    ['tel:+1-555-123.0000;phone-context=+1', '+15551230000@sip.test'],
    ['tel:(0)30-1234', '0301234@sip.test'],
  ];
  for (const [uri, jid] of incoming) {
    it(`reads ${uri}`, () => assert.equal(jidOfSip(uri, 'sip.test').toString(), jid));
  }

  const bad = [
    '',
    'juliet@hub.test',
    'mailto:juliet@hub.test',
    'sip:',
    'sip:@hub.test',
    'sip:%zz@hub.test',
    'sip:%ff@hub.test',
    'sip:100%@hub.test',
    'sip:%20a@hub.test',
    'sip:%00@hub.test',
    'sip:a%0d%0aVia:x@hub.test',
    'sip:juliet@hub.test\r\nX: y',
    'sip:juliet@-.test',
    'sip:a b@hub.test',
    'tel:none',
    `sip:${'a'.repeat(5000)}@hub.test`,
    `sip:${'a'.repeat(1100)}@hub.test`,
    `sip:${'@'.repeat(3000)}`,
  ];
  for (const uri of bad) {
    it(`refuses ${JSON.stringify(uri).slice(0, 60)}`, () => {
      assert.throws(
        () => jidOfSip(uri, 'sip.test'),
        (error: StanzaError) => error instanceof StanzaError && error.condition === 'jid-malformed',
      );
    });
  }

  it('refuses telephone numbers where they have no domain', () => {
    assert.throws(() => jidOfSip('tel:+15551230000'), StanzaError);
    assert.deepEqual(parseSipAddress('tel:+1-555'), { scheme: 'tel', user: '+1555', host: '', gr: '' });
  });
});
