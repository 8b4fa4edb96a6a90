// The parser, the serialiser and the pieces below them: every trap that other SIP stacks have stepped into.
import { strict as assert } from 'node:assert';
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import { decodeBody } from '../../../src/bridges/sip/content.ts';
import {
  parseNameAddr,
  parseParams,
  parseSeconds,
  parseValue,
  parseVia,
  quote,
  splitList,
} from '../../../src/bridges/sip/fields.ts';
import { type Message, responseHeaders, writeRequest, writeResponse } from '../../../src/bridges/sip/message.ts';
import { defaultLimits, parseDatagram, StreamParser } from '../../../src/bridges/sip/parser.ts';
import { escapeUser, formatSipUri, parseUri, unescapeUser } from '../../../src/bridges/sip/uri.ts';

const essentials = {
  Via: 'SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx',
  From: '<sip:a@example.com>;tag=1',
  To: '<sip:b@example.com>',
  'Call-ID': 'c1',
  CSeq: '1 MESSAGE',
};

/** A message as bytes, from a start line and headers; undefined leaves a header out. */
function message(
  headers: Record<string, string | undefined> = {},
  body: string | Buffer = '',
  start = 'MESSAGE sip:b@example.com SIP/2.0',
): Buffer {
  const lines = Object.entries({ ...essentials, ...headers }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`],
  );
  return Buffer.concat([Buffer.from(`${[start, ...lines].join('\r\n')}\r\n\r\n`), Buffer.from(body)]);
}

const parse = (...args: Parameters<typeof message>): Message => parseDatagram(message(...args));
const faultOf = (...args: Parameters<typeof message>) => parse(...args).fault?.status ?? 0;
const throws = (...args: Parameters<typeof message>) => assert.throws(() => parse(...args), { name: 'SipSyntaxError' });

describe('The SIP parser', () => {
  it('takes the top branch where two Vias share a line', () => {
    const { branch, vias } = parse({
      Via: 'SIP/2.0/TCP top;branch=z9hG4bKtop, SIP/2.0/UDP bottom;branch=z9hG4bKbottom',
    });
    assert.equal(branch, 'z9hG4bKtop');
    assert.equal(vias.length, 2);
  });

  it('knows the compact forms', () => {
    const read = parse({
      Via: undefined,
      v: essentials.Via,
      o: 'presence',
      k: 'path',
      u: 'presence',
      s: 'hi',
      c: 'text/plain',
      e: 'gzip',
      m: '<sip:a@b>',
      l: '0',
    });
    for (const name of [
      'event',
      'supported',
      'allow-events',
      'subject',
      'content-type',
      'content-encoding',
      'contact',
    ]) {
      assert.notEqual(read.header(name), undefined, name);
    }
    assert.equal(
      parse({ From: undefined, f: essentials.From, To: undefined, t: essentials.To, 'Call-ID': undefined, i: 'c' })
        .fault,
      null,
    );
  });

  it('refuses headers that may come once and come twice', () => {
    const twice = (line: string) =>
      parseDatagram(Buffer.from(message().toString().replace('\r\n\r\n', `\r\n${line}\r\n\r\n`))).fault?.status;
    for (const line of [
      'From: <sip:evil@example.com>;tag=2',
      'f: <sip:e@e>',
      'To: <sip:x@y>',
      'Call-ID: other',
      'CSeq: 2 MESSAGE',
    ]) {
      assert.equal(twice(line), 400, line);
    }
    assert.equal(twice('Subject: x'), undefined);
  });

  it('refuses what lacks a header that must be there, and drops what cannot be answered', () => {
    for (const name of ['From', 'To', 'Call-ID']) assert.equal(faultOf({ [name]: undefined }), 400, name);
    throws({ Via: undefined });
    throws({ CSeq: undefined });
    throws({ CSeq: 'x MESSAGE' });
    throws({ CSeq: '1' });
    assert.equal(faultOf({ CSeq: '4294967296 MESSAGE' }), 400);
    assert.equal(faultOf({ CSeq: '1 OPTIONS' }), 400);
    assert.equal(faultOf({ 'Max-Forwards': 'many' }), 400);
    assert.equal(faultOf({ 'Max-Forwards': '256' }), 400);
    assert.equal(faultOf({ 'Max-Forwards': undefined }), 0);
  });

  it('drops a broken response', () => {
    for (const headers of [{ From: undefined }, { CSeq: 'abc' }, { 'Content-Length': '-1' }])
      throws(headers, '', 'SIP/2.0 200 OK');
    for (const start of ['SIP/2.0 099 x', 'SIP/2.0 700 x', 'SIP/2.0 20 x', 'SIP/3.0 200 OK', 'SIP/2.0 2000 x'])
      throws({}, '', start);
    assert.equal(parse({}, '', 'SIP/2.0 200 ').status, 200);
    assert.equal(parse({}, '', 'sip/2.0 404 Nicht gefunden').reason, 'Nicht gefunden');
  });

  it('reads request-URIs of sip, sips, tel, im and pres', () => {
    for (const [uri, user, host] of [
      ['sip:b@example.com', 'b', 'example.com'],
      ['sips:b%40c@EXAMPLE.com:5061;transport=tcp;lr', 'b%40c', 'example.com'],
      ['tel:+1-555-123;phone-context=x', '+1-555-123', ''],
      ['im:b@example.com', 'b', 'example.com'],
      ['pres:b@example.com', 'b', 'example.com'],
      ['sip:[2001:db8::1]:5060', '', '[2001:db8::1]'],
    ]) {
      const read = parse({}, '', `MESSAGE ${uri} SIP/2.0`);
      assert.equal(read.fault, null, uri);
      assert.deepEqual([read.uri?.user, read.uri?.host], [user, host]);
    }
    for (const uri of [
      'sip:',
      'sip:a b@c',
      'sip:@c',
      'sip:a@',
      'sip:a@b@c',
      'sip:a@b:99999',
      'sip:a@b:0',
      'sip:a@[1::2',
      'sip:a@1.2.3.456',
      'sip:a@b;x;x',
      'sip:ü@b',
      'im:b',
      'tel:',
      'tel:abc!',
      'nothing',
      '<sip:a@b>',
    ]) {
      assert.equal(parseUri(uri), null, uri);
    }
  });

  it('keeps Contact: *', () => {
    assert.equal(parse({ Contact: '*' }).header('contact'), '*');
  });

  it('counts Content-Length in bytes and keeps bodies as bytes', () => {
    const body = Buffer.concat([Buffer.from('ü😀'), Buffer.from([0, 0xff, 0xfe, 13, 10, 13, 10])]);
    const read = parse({ 'Content-Length': String(body.length) }, Buffer.concat([body, Buffer.from('behind')]));
    assert.deepEqual(read.body, body);
    assert.equal(faultOf({ 'Content-Length': '5' }, 'four'), 400);
    assert.equal(faultOf({ 'Content-Length': 'five' }), 400);
    assert.equal(faultOf({ 'Content-Length': '+5' }, '12345'), 400);
    assert.equal(faultOf({ 'Content-Length': '5 5' }, '12345'), 400);
    assert.deepEqual(parse({}, 'all the rest').body.toString(), 'all the rest');
  });

  it('refuses control characters, bare line ends and what is not UTF-8', () => {
    for (const value of ['a\0b', 'a\x07', 'a\nX-Evil: 1', 'a\rb', 'a\x7f'])
      assert.equal(faultOf({ Subject: value }), 400);
    const bytes = message({ Subject: 'XX' });
    bytes[bytes.indexOf('XX')] = 0xff;
    assert.equal(parseDatagram(bytes).fault?.status, 400);
    assert.equal(parse({ Subject: 'Grüße 😀' }).header('subject'), 'Grüße 😀');
    const faulty = parse({ From: '"\0" <sip:a@example.com>;tag=1' });
    assert.doesNotThrow(
      () => writeResponse(400, 'Bad Request', responseHeaders(faulty, 'x')),
      'the answer can be written',
    );
  });

  it('refuses header lines without a name', () => {
    for (const line of ['no colon', ': value', 'a b: c', 'ü: x', 'X\x00: y']) {
      const bytes = Buffer.from(message().toString().replace('\r\n\r\n', `\r\n${line}\r\n\r\n`));
      assert.equal(parseDatagram(bytes).fault?.status, 400, line);
    }
  });

  it('bounds headers, their number and bodies', () => {
    throws({ Subject: 'x'.repeat(defaultLimits.head) });
    const many = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`X-${i}`, 'x']));
    throws(many);
    assert.equal(parseDatagram(message({}, 'x'.repeat(100)), { ...defaultLimits, body: 99 }).fault?.status, 413);
  });

  it('takes hostile input in time that grows with its length', () => {
    const hostile = [
      `"${'\\'.repeat(30_000)}`,
      `${' ;'.repeat(15_000)}`,
      `<sip:${'a;'.repeat(15_000)}@b>`,
      `${'<'.repeat(30_000)}`,
      `${'a '.repeat(15_000)}<`,
      `sip:${'%41'.repeat(10_000)}`,
      `${'a.'.repeat(15_000)}!`,
    ];
    for (const value of hostile) {
      const before = process.cpuUsage().user;
      assert.doesNotThrow(() => parse({ From: value }));
      parseVia(`SIP/2.0/UDP ${value}`);
      parseUri(`sip:${value}`);
      assert.ok(process.cpuUsage().user - before < 100_000, `${value.slice(0, 10)} takes too long`);
    }
  });
});

describe('The stream parser', () => {
  const feed = (bytes: Buffer, portion: number): string[] => {
    const heard: string[] = [];
    const parser = new StreamParser(
      read => heard.push(`${read.callId}:${read.body}${read.fault ? ` ${read.fault.status}` : ''}`),
      () => heard.push('ping'),
    );
    for (let at = 0; at < bytes.length; at += portion) parser.push(Buffer.from(bytes.subarray(at, at + portion)));
    return heard;
  };
  const one = (id: string, body: string) =>
    message({ 'Call-ID': id, 'Content-Length': String(Buffer.byteLength(body)) }, body);

  it('cuts messages and keep-alives apart however they come', () => {
    const bytes = Buffer.concat([
      Buffer.from('\r\n\r\n'),
      one('a', 'hé\r\n\r\nllo'),
      one('b', ''),
      Buffer.from('\r\n'),
      one('c', 'x'),
      Buffer.from('\r\n\r\n\r\n\r\n'),
      one('d', 'y'.repeat(5000)),
    ]);
    const expected = ['ping', 'a:hé\r\n\r\nllo', 'b:', 'c:x', 'ping', 'ping', `d:${'y'.repeat(5000)}`];
    for (const portion of [1, 2, 3, 5, 64, 1000, bytes.length]) assert.deepEqual(feed(bytes, portion), expected);
  });

  it('gives up where the length is not said, is wrong or too long, after handing the request out', () => {
    for (const length of [undefined, '-1', '99999999', 'x']) {
      const heard: Message[] = [];
      const parser = new StreamParser(
        read => heard.push(read),
        () => {},
      );
      assert.throws(() => parser.push(message({ 'Content-Length': length }, 'body')), { name: 'SipSyntaxError' });
      assert.ok(heard[0].fault && heard[0].fault.status >= 400);
    }
  });

  it('does not wait for ever for a head that does not end', () => {
    const parser = new StreamParser(
      () => {},
      () => {},
    );
    assert.throws(() => {
      for (let i = 0; i < 100; i++) parser.push(Buffer.alloc(1024, 'x'));
    });
  });
});

describe('What SIP headers are made of', () => {
  it('reads addresses', () => {
    const cases: [string, string, string, [string, string | null][]][] = [
      ['sip:a@b;tag=1', '', 'sip:a@b', [['tag', '1']]],
      ['<sip:a@b;x=1>;tag=1', '', 'sip:a@b;x=1', [['tag', '1']]],
      [
        '"A <B> \\"C\\", D" <sip:a@b> ; Tag = "x y" ; q',
        'A <B> "C", D',
        'sip:a@b',
        [
          ['tag', 'x y'],
          ['q', null],
        ],
      ],
      ['A B<sip:a@b>', 'A B', 'sip:a@b', []],
      ['<tel:+1555>', '', 'tel:+1555', []],
    ];
    for (const [text, name, uri, params] of cases) {
      const read = parseNameAddr(text);
      assert.ok(read, text);
      assert.deepEqual([read.displayName, read.uri.text, [...read.params]], [name, uri, params]);
    }
    for (const text of [
      '',
      '"a <sip:a@b>',
      'a, b <sip:a@b>',
      '<sip:a@b',
      'sip:a@b?x=y',
      '<sip:a@b>;',
      '<sip:a@b>;;tag=1',
      '<sip:a@b>;tag=1;tag=2',
      '<sip:a@b> x',
      '"a""b" <sip:a@b>',
      'ü <sip:a@b>',
    ]) {
      assert.equal(parseNameAddr(text), null, text);
    }
  });

  it('quotes what it writes so that it reads the same', () => {
    for (const name of ['Romeo', 'a"b', 'a\\b', '\\"', 'ü😀', '<sip:evil@x>', 'a, b;c']) {
      assert.equal(parseNameAddr(`${quote(name)} <sip:a@b>`)?.displayName, name);
    }
  });

  it('reads Via, lists, values and seconds', () => {
    assert.deepEqual(parseVia('SIP/2.0/UDP [2001:db8::1]:5070;rport;received=2001:db8::9;branch=x'), {
      version: '2.0',
      transport: 'UDP',
      host: '[2001:db8::1]',
      port: 5070,
      params: new Map([
        ['rport', null],
        ['received', '2001:db8::9'],
        ['branch', 'x'],
      ]),
    });
    for (const text of ['SIP/2.0/UDP', 'SIP/2.0 host', 'HTTP/1.1/TCP host', 'SIP/2.0/UDP host:0', 'SIP/2.0/UDP a b']) {
      assert.ok(parseVia(text) === null || text.endsWith('a b'), text);
    }
    assert.deepEqual(splitList('a;x="1,2", <sip:b,c@d>, "e\\",f"'), ['a;x="1,2"', '<sip:b,c@d>', '"e\\",f"']);
    assert.equal(parseValue('Active;expires=600')?.value, 'active');
    assert.equal(parseParams(';a=1;A=2'), null);
    assert.deepEqual(
      [parseSeconds('600'), parseSeconds(' 5 '), parseSeconds('-1'), parseSeconds('99999999999'), parseSeconds('')],
      [600, 5, undefined, undefined, undefined],
    );
  });

  it('escapes users so that nothing is lost, and takes what is not valid', () => {
    for (const user of ['romeo', 'a b', '100%', 'ü', '日本', 'a@b', 'a;b?c/d', '"', "o'hara", 'x\\y', 'a\r\nb']) {
      const uri = parseUri(formatSipUri({ user: escapeUser(user), host: 'example.com' }));
      assert.ok(uri, user);
      assert.equal(unescapeUser(uri.user), user);
    }
    assert.equal(escapeUser('a\ud800'), 'a%EF%BF%BD');
    assert.equal(unescapeUser('100%'), null);
    assert.equal(unescapeUser('%ff'), null);
    assert.equal(unescapeUser('null-%00'), 'null-\0');
  });

  it('undoes content encodings within limits, zlib or raw', () => {
    const text = Buffer.from('<imdn/>'.repeat(50));
    const decoded = (encoding: string, body: Buffer, limit = 10_000) => {
      const read = parse({ 'Content-Encoding': encoding, 'Content-Length': String(body.length) }, body);
      const bytes = decodeBody(read, limit);
      return bytes && Buffer.from(bytes).toString();
    };
    assert.equal(decoded('deflate', deflateSync(text)), text.toString());
    assert.equal(decoded('deflate', deflateRawSync(text)), text.toString());
    assert.equal(decoded('GZIP', gzipSync(text)), text.toString());
    assert.equal(decoded('br', text), null);
    assert.equal(decoded('gzip', Buffer.from('no gzip')), null);
    assert.equal(decoded('gzip', gzipSync(Buffer.alloc(1_000_000))), null, 'a bomb');
  });
});

describe('The SIP serialiser', () => {
  it('refuses everything that could break out of its place', () => {
    const wrong: (() => unknown)[] = [
      () => writeRequest('MESSAGE', 'sip:a@b', [['X', 'a\r\nb']]),
      () => writeRequest('MESSAGE', 'sip:a@b', [['X', 'a\nb']]),
      () => writeRequest('MESSAGE', 'sip:a@b', [['X', 'a\rb']]),
      () => writeRequest('MESSAGE', 'sip:a@b', [['X', 'a\0b']]),
      () => writeRequest('MESSAGE', 'sip:a@b', [['X: y\r\nZ', 'a']]),
      () => writeRequest('MESSAGE', 'sip:a@b', [['', 'a']]),
      () => writeRequest('MESSAGE', 'sip:a@b SIP/2.0\r\nX: y', []),
      () => writeRequest('MESSAGE', 'sip:a b', []),
      () => writeRequest('MESS AGE', 'sip:a@b', []),
      () => writeRequest('MESSAGE', '', []),
      () => writeResponse(200, 'OK\r\nX: y', []),
      () => writeResponse(99, 'x', []),
      () => writeResponse(200.5, 'x', []),
    ];
    for (const write of wrong) assert.throws(write, { name: 'SipSyntaxError' });
  });

  it('writes what the parser reads', () => {
    const body = Buffer.from([0, 1, 2, 255]);
    const headers = Object.entries({ ...essentials, Subject: 'ü' });
    const read = parseDatagram(writeRequest('MESSAGE', 'sip:b@example.com', headers, body));
    assert.equal(read.fault, null);
    assert.deepEqual([read.header('subject'), read.contentLength, read.body], ['ü', 4, body]);
  });
});
