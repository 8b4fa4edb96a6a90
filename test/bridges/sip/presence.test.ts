import assert from 'node:assert/strict';
import type { Device } from '../../../src/bridges/sip/device.ts';
import { readPidf, writePidf } from '../../../src/bridges/sip/pidf.ts';
import { deviceOf, presenceOf } from '../../../src/bridges/sip/presence.ts';
import { StanzaError } from '../../../src/xmpp/errors.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { parseElement } from '../../../src/xmpp/payload.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';

const juliet = Jid.parse('juliet@hub.test/balcony');
const alice = Jid.parse('alice@sip.test');
const entity = 'sip:juliet@hub.test';

const presence = (inner: string, attrs = '') =>
  Stanza.from(
    parseElement(`<presence xmlns='jabber:client' from='${juliet}' to='${alice}' ${attrs}>${inner}</presence>`),
  );
const write = (...devices: Device[]) => writePidf(entity, devices, device => `${entity};gr=${device.name}`);
const tuples = (inner: string, attrs = '') =>
  readPidf(
    Buffer.from(
      `<presence xmlns='urn:ietf:params:xml:ns:pidf' xmlns:r='urn:ietf:params:xml:ns:pidf:rpid' xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' entity='sip:a@b' ${attrs}>${inner}</presence>`,
    ),
  );
const open = (inner = '', id = 't1') => `<tuple id='${id}'><status><basic>open</basic></status>${inner}</tuple>`;
const told = (devices: Device[]) => devices.map(device => presenceOf(device, alice, juliet).toString());

describe('presence from XMPP to SIP', () => {
  it('writes what the standards and old user agents read', () => {
    const device = deviceOf(presence('<show>away</show><status>u oběda &lt;3</status><priority>13</priority>'));
    assert.equal(
      Buffer.from(write(device)).toString(),
      '<?xml version="1.0" encoding="UTF-8"?>\n' +
        '<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" ' +
        'xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="sip:juliet@hub.test">\n' +
        '<tuple id="ID-balcony">\n<status><basic>open</basic><show xmlns="jabber:client">away</show></status>\n' +
        '<contact priority="0.102">sip:juliet@hub.test;gr=balcony</contact>\n<note>u oběda &lt;3</note>\n</tuple>\n' +
        '<dm:person id="person">\n<rpid:activities><rpid:away /></rpid:activities>\n' +
        '<dm:note>u oběda &lt;3</dm:note>\n</dm:person>\n</presence>\n',
    );
  });

  it('says meeting where the calendar does', () => {
    const activity = `<activity xmlns='http://jabber.org/protocol/activity'><working><in_a_meeting/></working></activity>`;
    const device = deviceOf(presence(`<show>dnd</show>${activity}`));
    assert.match(Buffer.from(write(device)).toString(), /<rpid:activities><rpid:meeting \/><\/rpid:activities>/);
  });

  it('says that nobody is there', () => {
    assert.deepEqual(readPidf(write()), [
      { name: 'offline', reachable: false, open: false, show: '', status: [], priority: 0, idleSince: null },
    ]);
  });

  it('cannot be made to write anything else', () => {
    const nasty = {
      ...deviceOf(presence('')),
      name: '"><evil/>',
      status: [['', '</note><evil/>\0']] as [string, string][],
    };
    const [read] = readPidf(writePidf(`sip:"'<>&@x`, [nasty], () => '<evil/>'));
    assert.deepEqual(read.status, [['', '</note><evil/>\ufffd']]);
  });
});

describe('presence there and back', () => {
  const cases: Record<string, string> = {
    available: '',
    chat: '<show>chat</show>',
    away: '<show>away</show>',
    'extended away': '<show>xa</show>',
    busy: '<show>dnd</show>',
    'a status in two languages': "<status xml:lang='en'>Out</status><status xml:lang='cs'>Venku ☀</status>",
    'a priority': '<priority>64</priority>',
    'the highest priority': '<priority>127</priority>',
    idle: "<show>away</show><idle xmlns='urn:xmpp:idle:1' since='2026-01-02T03:04:05.000Z'/>",
  };
  for (const [what, inner] of Object.entries(cases)) {
    it(`keeps ${what}`, () => {
      const device = deviceOf(presence(inner));
      const [back] = readPidf(write(device));
      assert.deepEqual(back, device);
      assert.deepEqual(deviceOf(presenceOf(back, alice, juliet)), device);
    });
  }

  it('keeps devices apart, whatever their names', () => {
    const names = ['balcony', 'am Balkon', '日本', 'a/b', '-1'];
    const devices = names.map(name => ({ ...deviceOf(presence('')), name }));
    const document = writePidf(entity, devices, device => `${entity};gr=${encodeURIComponent(device.name)}`);
    assert.deepEqual(
      readPidf(document).map(device => device.name),
      names,
    );
  });

  it('keeps a negative priority the lowest', () => {
    assert.equal(readPidf(write(deviceOf(presence('<priority>-5</priority>'))))[0].priority, 0);
  });
});

describe('presence from SIP to XMPP', () => {
  const activities: [string, string, string][] = [
    ['on-the-phone', 'dnd', 'On the phone'],
    ['meeting', 'dnd', 'Meeting'],
    ['busy', 'dnd', ''],
    ['away', 'away', ''],
    ['lunch', 'away', 'Lunch'],
    ['vacation', 'xa', 'Vacation'],
    ['unknown', '', ''],
    ['constructor', '', ''],
  ];
  for (const [activity, show, words] of activities) {
    it(`tells ${activity} as ${show || 'available'}`, () => {
      const person = `<dm:person id='p'><r:activities><r:${activity}/></r:activities></dm:person>`;
      const [device] = tuples(open() + person);
      assert.equal(device.show, show);
      assert.deepEqual(device.status, words ? [['en', words]] : []);
    });
  }

  it('tells the most binding of several activities, and the note before them', () => {
    const person =
      "<dm:person id='p'><r:activities><r:away/><r:meeting/></r:activities><dm:note xml:lang='de'>Sitzung</dm:note></dm:person>";
    assert.deepEqual(told(tuples(open() + person)), [
      "<presence from='alice@sip.test/t1' to='juliet@hub.test/balcony'><show>dnd</show><status xml:lang='de'>Sitzung</status></presence>",
    ]);
  });

  it('tells several devices', () => {
    const two =
      open("<contact priority='0.5'>sip:a@b;gr=desk</contact>") +
      "<tuple id='ID-mobile'><status><basic>closed</basic></status></tuple>";
    assert.deepEqual(told(tuples(two)), [
      "<presence from='alice@sip.test/desk' to='juliet@hub.test/balcony'><priority>64</priority></presence>",
      "<presence from='alice@sip.test/mobile' to='juliet@hub.test/balcony' type='unavailable'/>",
    ]);
  });

  it('finds out who is idle, by the tuple or by its device', () => {
    const since = '2026-03-01T10:00:00Z';
    const input = `<r:user-input last-input='${since}'>idle</r:user-input>`;
    const expected = [Date.parse(since), 'away'];
    const [own] = tuples(open(input));
    assert.deepEqual([own.idleSince, own.show], expected);
    const [by] = tuples(
      `${open('<dm:deviceID>urn:x</dm:deviceID>')}<dm:device id='d'>${input}<dm:deviceID>urn:x</dm:deviceID></dm:device>`,
    );
    assert.deepEqual([by.idleSince, by.show], expected);
    const [active] = tuples(open('<r:user-input>active</r:user-input>'));
    assert.deepEqual([active.idleSince, active.show], [null, '']);
  });

  it('reads Asterisk’s', () => {
    const document =
      '<?xml version="1.0" encoding="ISO-8859-1"?>\n<presence xmlns="urn:ietf:params:xml:ns:pidf" \n' +
      'xmlns:pp="urn:ietf:params:xml:ns:pidf:person"\nxmlns:es="urn:ietf:params:xml:ns:pidf:rpid:status:rpid-status"\n' +
      'xmlns:ep="urn:ietf:params:xml:ns:pidf:rpid:rpid-person"\nentity="sip:100@10.0.0.1">\n' +
      '<pp:person><status>\n<ep:activities><ep:busy/></ep:activities>\n</status></pp:person>\n<note>Besetzt: B\xfcro</note>\n' +
      '<tuple id="101">\n<contact priority="1">sip:juliet@hub.test</contact>\n<status><basic>closed</basic></status>\n</tuple>\n</presence>\n';
    assert.deepEqual(readPidf(Buffer.from(document, 'latin1')), [
      {
        name: '101',
        reachable: false,
        open: false,
        show: 'dnd',
        status: [['', 'Besetzt: Büro']],
        priority: 127,
        idleSince: null,
      },
    ]);
  });

  it('reads a person without devices, and nobody', () => {
    assert.deepEqual(told(tuples("<dm:person id='p'><r:activities><r:sleeping/></r:activities></dm:person>")), [
      "<presence from='alice@sip.test/sip' to='juliet@hub.test/balcony'><show>xa</show><status xml:lang='en'>Sleeping</status></presence>",
    ]);
    assert.deepEqual(tuples(''), []);
  });

  it('survives values that make no sense', () => {
    const [device] = tuples(
      "<tuple id=' '><status><basic>OPEN </basic><show xmlns='jabber:client'>gone</show></status>" +
        "<contact priority='9e9'>sip:%zz@x;gr=%zz</contact><note xml:lang='&lt;'>x</note></tuple>",
    );
    assert.deepEqual(device, {
      name: 'sip',
      reachable: false,
      open: true,
      show: '',
      status: [['', 'x']],
      priority: 0,
      idleSince: null,
    });
  });

  it('reads no more devices than a person has', () => {
    const many = Array.from({ length: 500 }, (_, i) => open('', `t${i}`)).join('');
    assert.equal(tuples(many).length, 32);
  });

  const hostile: Record<string, string | Buffer> = {
    'no XML': 'open',
    nothing: '',
    'another document': '<x/>',
    'a document type': "<!DOCTYPE presence [<!ENTITY a 'b'>]><presence xmlns='urn:ietf:params:xml:ns:pidf'/>",
    'an entity': "<presence xmlns='urn:ietf:params:xml:ns:pidf'>&lol;</presence>",
    'an open end': "<presence xmlns='urn:ietf:params:xml:ns:pidf'><tuple>",
    'an undeclared prefix': "<presence xmlns='urn:ietf:params:xml:ns:pidf'><r:x/></presence>",
    'wrong UTF-8': Buffer.from([0x3c, 0xff, 0xfe, 0x3e]),
    'UTF-16': Buffer.from("<presence xmlns='urn:ietf:params:xml:ns:pidf'/>", 'utf16le'),
    'too much': `<presence xmlns='urn:ietf:params:xml:ns:pidf'>${'<note>x</note>'.repeat(30_000)}</presence>`,
    'great depth': '<a>'.repeat(80_000),
    'a comment without end': "<!-- <presence xmlns='urn:ietf:params:xml:ns:pidf'/>",
  };
  for (const [what, document] of Object.entries(hostile)) {
    it(`refuses ${what}`, () => {
      const before = process.cpuUsage();
      assert.throws(() => readPidf(Buffer.from(document)), StanzaError);
      const { user } = process.cpuUsage(before);
      assert.ok(user < 500_000, `${user} µs`);
    });
  }
});
