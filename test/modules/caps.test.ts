// Verification strings of entity capabilities: the examples of the specification, and results made to deceive.
import assert from 'node:assert/strict';
import { verification } from '../../src/modules/caps.ts';
import { parseElement } from '../../src/xmpp/payload.ts';

const info = (inside: string) => parseElement(`<query xmlns='http://jabber.org/protocol/disco#info'>${inside}</query>`);
const features = (...names: string[]) => names.map(name => `<feature var='${name}'/>`).join('');
const exodus = `<identity category='client' type='pc' name='Exodus 0.9.1'/>`;
const common = [
  'http://jabber.org/protocol/caps',
  'http://jabber.org/protocol/disco#info',
  'http://jabber.org/protocol/disco#items',
  'http://jabber.org/protocol/muc',
];
const software = (type = "type='hidden'") => `<x xmlns='jabber:x:data' type='result'>
  <field var='FORM_TYPE' ${type}><value>urn:xmpp:dataforms:softwareinfo</value></field>
  <field var='os'><value>Mac</value></field>
  <field var='ip_version' type='text-multi'><value>ipv6</value><value>ipv4</value></field>
  <field var='software_version'><value>0.11</value></field>
  <field var='os_version'><value>10.5.1</value></field>
  <field var='software'><value>Psi</value></field></x>`;

describe('entity capabilities', () => {
  it('makes the verification strings of the specification, in whatever order things come', () => {
    assert.equal(verification(info(exodus + features(...common)), 'sha-1'), 'QgayPKawpkPSDYmwT/WM94uAlu0=');
    const psi = `<identity xml:lang='en' category='client' name='Psi 0.11' type='pc'/>
      <identity xml:lang='el' category='client' name='Ψ 0.11' type='pc'/>`;
    const reversed = [...common].reverse();
    assert.equal(verification(info(software() + features(...reversed) + psi), 'sha-1'), 'q07IKJEyjvHSyhy//CH0CxmKi8w=');
  });

  it('leaves out a form whose type is not hidden', () => {
    const plain = verification(info(exodus + features(...common)), 'sha-1');
    assert.equal(verification(info(exodus + features(...common) + software('')), 'sha-1'), plain);
  });

  const ill: [string, string][] = [
    ['an identity twice', exodus + exodus],
    ['a feature twice', exodus + features('a', 'a')],
    ['a form twice', exodus + software() + software()],
    ['a feature that ends early', exodus + features('a&lt;b')],
    ['an identity without a type', `<identity category='http:' type='' name='x'/>`],
  ];
  for (const [what, inside] of ill) {
    it(`takes no result with ${what}`, () => assert.equal(verification(info(inside), 'sha-1'), null));
  }

  it('knows no other hash functions than those it knows', () => {
    assert.equal(verification(info(exodus), 'crc-32'), null);
    assert.equal(verification(info(exodus), ''), null);
    assert.ok(verification(info(exodus), 'sha-256'));
  });
});
