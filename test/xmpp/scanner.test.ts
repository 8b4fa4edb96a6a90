// The scanner: what it hands on however the bytes come, and what it refuses.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { StreamError } from '../../src/xmpp/errors.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { Scanner, type StreamHeader } from '../../src/xmpp/scanner.ts';
import type { Stanza } from '../../src/xmpp/stanza.ts';
import { clientHeader, scan, serverHeader, singly, stanza, stanzas } from './scan.ts';

const session = readFileSync(new URL('../../fixtures/xmpp/client-stream.xml', import.meta.url));

describe('the scanner', () => {
  describe('on a whole session', () => {
    const whole = scan([session]);

    it('reads the header', () => {
      assert.equal(whole.error, '');
      assert.deepEqual(whole.headers, [
        {
          name: 'stream',
          ns: ns.streams,
          contentNs: ns.client,
          attrs: { from: 'juliet@capulet.example', to: 'capulet.example', version: '1.0', 'xml:lang': 'en' },
          prefixes: new Map([['stream', ns.streams]]),
        },
      ]);
    });

    it('hands on the stanzas in turn and then the end', () => {
      assert.deepEqual(
        whole.stanzas.map(one => `${one.ns} ${one.name} ${one.id}`),
        [
          'jabber:client iq bind-1',
          'jabber:client presence ',
          'jabber:client message m1',
          "jabber:client message it's",
          'jabber:client iq v1',
          'jabber:client message ',
          `${ns.streams} error `,
        ],
      );
      assert.equal(whole.closed, true);
    });

    it('keeps payloads as the bytes that came, without copying them', () => {
      const message = whole.stanzas[2];
      assert.equal(message.payload.buffer, session.buffer);
      assert.equal(message.text('body'), 'Wherefore art thou & <Romeo>? 日本 😀');
      assert.equal(whole.stanzas[3].text('body'), '<Romeo> & ]]>');
    });

    it('finds the same byte by byte', () => {
      assertSame(scan(singly(session)), whole);
    });

    it('finds the same wherever it is cut in two', () => {
      for (let at = 1; at < session.length; at++) {
        assertSame(scan([session.subarray(0, at), session.subarray(at)]), whole);
      }
    });
  });

  describe('reading a start tag', () => {
    it('takes the addresses, id, type and language, and leaves the rest as text', () => {
      const one = stanza(
        `<message  to = 'ROMEO@montague.example/x'\n from="a@b" id='&lt;1&#62;' type='groupchat' xml:lang="de" a='&amp;"' b=""/>`,
      );
      assert.equal(String(one.to), 'romeo@montague.example/x');
      assert.equal(String(one.from), 'a@b');
      assert.deepEqual([one.id, one.type, one.lang, one.extra], ['<1>', 'groupchat', 'de', ` a='&amp;"' b=""`]);
      assert.equal(one.payload.length, 0);
    });

    it('says which address is malformed', () => {
      assert.equal(stanza("<iq to='@'/>").malformed, 'to');
      assert.equal(stanza("<iq from='a b@c'/>").malformed, 'from');
      assert.equal(stanza("<iq to='' from='x'/>").malformed, 'to');
      assert.equal(stanza('<iq/>').malformed, '');
    });

    it('writes all content namespaces as one', () => {
      assert.equal(stanza('<iq/>', serverHeader).ns, ns.client);
      assert.equal(stanza("<iq xmlns='jabber:component:accept'/>").ns, ns.client);
      assert.equal(stanza("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>").ns, ns.sasl);
      assert.equal(stanza('<iq/>', '<x>').ns, '');
    });

    it('notes where the children are', () => {
      const one = stanza("<iq><a/>text<b xmlns='urn:b'><a xmlns='urn:c'/></b><p:c xmlns:p='urn:p' p:d='1'/></iq>");
      assert.equal(one.has('a', ns.client), true);
      assert.equal(one.has('a', 'urn:c'), false);
      assert.equal(String(one.child('b', 'urn:b')), "<b xmlns='urn:b'><a xmlns='urn:c'/></b>");
      assert.deepEqual(one.child('c', 'urn:p')?.attrs, { '{urn:p}d': '1' });
      assert.deepEqual(
        one.children.map(child => child.name),
        ['a', 'b', 'c'],
      );
    });
  });

  describe('making stanzas stand alone', () => {
    it('rewrites what uses a prefix of the stream header', () => {
      const one = stanza("<db:result from='a.example' to='b.example'>key&amp;</db:result>", serverHeader);
      assert.equal(one.name, 'result');
      assert.equal(one.ns, ns.dialback);
      assert.equal(String(one), `<result xmlns='${ns.dialback}' from='a.example' to='b.example'>key&amp;</result>`);
      const inner = stanza("<iq><db:x><y db:z='1'/></db:x></iq>", serverHeader);
      assert.equal(
        String(inner),
        `<iq><x xmlns='${ns.dialback}'><y xmlns='jabber:client' xmlns:ns0='${ns.dialback}' ns0:z='1'/></x></iq>`,
      );
    });

    it('rewrites children that use a prefix of the stanza itself', () => {
      const one = stanza("<iq xmlns:p='urn:p' p:a='1'><p:x/></iq>");
      assert.equal(String(one), "<iq xmlns:ns0='urn:p' ns0:a='1'><x xmlns='urn:p'/></iq>");
      assert.equal(one.has('x', 'urn:p'), true);
    });

    it('rewrites children that name a content namespace, which differs from stream to stream', () => {
      const one = stanza("<iq><x xmlns='jabber:server'><y/></x></iq>", serverHeader);
      assert.equal(String(one), '<iq><x><y/></x></iq>');
    });

    it('leaves alone what declares its own prefixes, and xml:', () => {
      const xml = "<iq xmlns:q='urn:q' q:r='2'><p:x xmlns:p='urn:p'><p:y xml:space='preserve'/></p:x></iq>";
      assert.equal(String(stanza(xml)), xml);
    });

    it('does not let a long namespace grow with every use', () => {
      const uri = `urn:${'x'.repeat(10_000)}`;
      const xml = `<iq xmlns:p='${uri}'>${'<p:a/>'.repeat(100)}</iq>`;
      assert.equal(scan([clientHeader, xml]).error, 'policy-violation');
    });
  });

  describe('at the start of a stream', () => {
    it('takes a byte order mark and an XML declaration', () => {
      for (const start of [
        '\ufeff',
        '\ufeff<?xml version="1.0"?>',
        "<?xml version='1.1' encoding='utf-8' standalone='yes' ?>\n",
        ' \n',
      ]) {
        const scanned = scan([start + clientHeader]);
        assert.equal(scanned.headers.length, 1, start);
        assert.equal(scan(singly(Buffer.from(start + clientHeader))).headers.length, 1, start);
      }
    });

    const refused: [string, string | Uint8Array][] = [
      ['unsupported-encoding', "<?xml version='1.0' encoding='ISO-8859-1'?>"],
      ['unsupported-encoding', Buffer.from('<a>', 'utf16le')],
      ['unsupported-encoding', Buffer.from('\ufeff<a>', 'utf16le')],
      ['unsupported-encoding', Buffer.from([0, 0x3c])],
      ['not-well-formed', "<?xml version='2.0'?>"],
      ['not-well-formed', "<?xml encoding='UTF-8'?>"],
      ['not-well-formed', `<?xml version='1.0'${' '.repeat(300)}?>`],
      ['not-well-formed', 'GET / HTTP/1.1\r\n'],
      ['not-well-formed', '</stream:stream>'],
      ['not-well-formed', '<stream:stream>'],
      ['not-well-formed', "<a b:c='1'>"],
      ['not-well-formed', '<![CDATA[x]]>'],
      ['restricted-xml', '<!-- -->'],
      ['restricted-xml', '<!DOCTYPE a>'],
      ['restricted-xml', '<?pi?>'],
      ['restricted-xml', "<?xml version='1.0'?><?xml version='1.0'?>"],
      ['policy-violation', `<a b='${'x'.repeat(16 * 1024)}'>`],
    ];
    for (const [condition, start] of refused) {
      it(`refuses ${JSON.stringify(String(start)).slice(0, 50)} as ${condition}`, () => {
        assert.equal(scan([start]).error, condition);
        assert.equal(scan(singly(Buffer.from(start))).error, condition);
      });
    }

    it('knows a header without content', () => {
      const scanned = scan(["<stream xmlns='urn:x'/>"]);
      assert.equal(scanned.headers[0].ns, 'urn:x');
      assert.equal(scanned.closed, true);
    });
  });

  describe('refuses', () => {
    const refused: Record<string, string[]> = {
      'not-well-formed': [
        '<a></b>',
        '<a><b></a></b>',
        '<a></ab>',
        '<ab></a>',
        '<a></a x>',
        '< a/>',
        '<1/>',
        '<a/ >',
        '<a b/>',
        '<a b=/>',
        '<a b=c/>',
        "<a b='1'c='2'/>",
        "<a b='<'/>",
        "<a b='1' b='2'/>",
        "<a xmlns:p='urn:x' xmlns:q='urn:x' p:b='1' q:b='2'/>",
        "<a b='&'/>",
        "<a b='&#0;'/>",
        "<a b='\x01'/>",
        '<a>&#0;</a>',
        '<a>&#8;</a>',
        '<a>&#xD800;</a>',
        '<a>&#xFFFE;</a>',
        '<a>&#x110000;</a>',
        '<a>&#;</a>',
        '<a>&#x;</a>',
        '<a>&#1x;</a>',
        '<a>&amp </a>',
        '<a>& b</a>',
        `<a>&#${'0'.repeat(100)}65;</a>`,
        '<a>]]></a>',
        '<a>]]]></a>',
        '<a>\x00</a>',
        '<a>\x0c</a>',
        '<a>\ufffe</a>',
        '<a>\uffff</a>',
        '<a><![CDATA[\x02]]></a>',
        '<a><![cdata[x]]></a>',
        '<a><!x></a>',
        '<p:a/>',
        "<a p:b='1'/>",
        '<a><p:b/></a>',
        "<a><b xmlns:p='urn:p'/><p:c/></a>",
        '<a:b:c/>',
        '<:a/>',
        '<a:/>',
        '<stream:1/>',
        "<a xmlns:p=''/>",
        "<a xmlns:xmlns='urn:x'/>",
        "<a xmlns:xml='urn:x'/>",
        "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
        "<a xmlns:p='http://www.w3.org/2000/xmlns/'/>",
        "<a xmlns='http://www.w3.org/2000/xmlns/'/>",
        "<a><b xmlns='http://www.w3.org/XML/1998/namespace'/></a>",
        '<xmlns:a/>',
        '</stream:strea>',
        '</a>',
        '<\u00d7/>',
        '<\u0301/>',
      ],
      'restricted-xml': [
        '<!-- x -->',
        '<a><!-- x --></a>',
        '<?x?>',
        '<a><?x?></a>',
        '<!DOCTYPE a>',
        '<a><!DOCTYPE a></a>',
        '<a>&foo;</a>',
        "<a b='&foo;'/>",
        '<a>&lt2;</a>',
      ],
      'invalid-xml': ['text', '<a/>text', '<![CDATA[x]]>', '&#32;'],
      'bad-namespace-prefix': ['<xml:a/>', '<a><xml:b/></a>'],
    };
    for (const [condition, cases] of Object.entries(refused)) {
      for (const xml of cases) {
        it(`${JSON.stringify(xml)} as ${condition}`, () => {
          // What follows brings the judgement of an unfinished tag about.
          const data = Buffer.from(`${clientHeader}${xml}<>`);
          assert.equal(scan([data]).error, condition);
          assert.equal(scan(singly(data)).error, condition);
        });
      }
    }

    const wrongBytes = [
      '80',
      'c0 80',
      'c1 bf',
      'c3 28',
      'e0 80 80',
      'ed a0 80',
      'ed bf bf',
      'f0 80 80 80',
      'f4 90 80 80',
      'f8 88 80 80 80',
      'e2 28 a1',
      'f0 9f 28',
      'ff',
    ];
    for (const hex of wrongBytes) {
      it(`bytes that are not UTF-8: ${hex}`, () => {
        const wrong = Buffer.from(hex.replaceAll(' ', ''), 'hex');
        for (const [before, after] of [
          ['<a>', '</a>'],
          ["<a b='", "'/>"],
          ['<a><![CDATA[', ']]></a>'],
          ['<a', '/>'],
        ]) {
          const data = Buffer.concat([Buffer.from(clientHeader + before), wrong, Buffer.from(`${after}<>`)]);
          assert.equal(scan([data]).error, 'unsupported-encoding');
          assert.equal(scan(singly(data)).error, 'unsupported-encoding');
        }
      });
    }
  });

  it('takes names of any script, references, CDATA sections and brackets in text', () => {
    const xml =
      "<é·1 日本='ü'><\u{10400}>&#x1F600;&#0000065;]]&gt; ]] ]&apos;&quot;</\u{10400} ><![CDATA[]] ]>&]]></é·1\n>";
    const one = stanza(xml);
    assert.equal(one.name, 'é·1');
    assert.equal(one.children[0].text, '\u{1f600}A]]> ]] ]\'"');
    assert.equal(one.element.text, ']] ]>&');
  });

  describe('limits', () => {
    const refuses = (xml: string, limits: object) => {
      const data = Buffer.from(clientHeader + xml);
      const all = { stanzaSize: 100_000, ...limits };
      const { error } = scan([data], all);
      assert.equal(scan(singly(data), all).error, error);
      return error;
    };

    it('the size of a stanza, to the byte', () => {
      const xml = `<a><b>${'x'.repeat(100)}</b></a>`;
      assert.equal(refuses(xml, { stanzaSize: xml.length, tag: 1000 }), '');
      assert.equal(refuses(xml, { stanzaSize: xml.length - 1, tag: 1000 }), 'policy-violation');
      assert.equal(refuses('<a>xxxxxxxxxxxxxxx', { stanzaSize: 16 }), 'policy-violation');
      assert.equal(refuses("<abc d='xxxxxxxxxxxxxxx", { stanzaSize: 16 }), 'policy-violation');
      assert.equal(refuses(`<a>${' '.repeat(20)}`, { stanzaSize: 16 }), 'policy-violation');
    });

    it('the depth', () => {
      const nested = (depth: number) => '<a>'.repeat(depth) + '</a>'.repeat(depth);
      assert.equal(refuses(nested(64), {}), '');
      assert.equal(refuses(nested(65), {}), 'policy-violation');
      assert.equal(refuses(nested(10_000), {}), 'policy-violation');
      assert.equal(refuses('<a><b/></a>', { depth: 1 }), 'policy-violation');
    });

    it('attributes, names, tags and children', () => {
      const many = (count: number) => `<a${Array.from({ length: count }, (_, i) => ` a${i}=''`).join('')}/>`;
      assert.equal(refuses(many(64), {}), '');
      assert.equal(refuses(many(65), {}), 'policy-violation');
      assert.equal(refuses(many(300), { attributes: 1000 }), 'policy-violation');
      assert.equal(refuses(`<${'a'.repeat(256)}/>`, {}), '');
      assert.equal(refuses(`<${'a'.repeat(257)}/>`, {}), 'policy-violation');
      assert.equal(refuses(`<a ${'a'.repeat(257)}=''/>`, {}), 'policy-violation');
      assert.equal(refuses(`<a b='${'x'.repeat(16 * 1024)}'/>`, {}), 'policy-violation');
      assert.equal(refuses(`<a><b c='${'x'.repeat(16 * 1024)}'/></a>`, {}), 'policy-violation');
      assert.equal(refuses(`<a></a${' '.repeat(16 * 1024)}>`, {}), 'policy-violation');
      assert.equal(refuses(`</stream:stream${' '.repeat(1000)}>`, {}), 'policy-violation');
      assert.equal(refuses(`<a>${'<b/>'.repeat(1000)}</a>`, {}), '');
      assert.equal(refuses(`<a>${'<b/>'.repeat(1001)}</a>`, {}), 'policy-violation');
    });

    it('the prefixes in scope', () => {
      const one = (from: number) => Array.from({ length: 60 }, (_, i) => ` xmlns:p${from + i}='urn:p'`).join('');
      const nested = (depth: number) =>
        Array.from({ length: depth }, (_, i) => `<a${one(i * 60)}>`).join('') + '</a>'.repeat(depth);
      assert.equal(refuses(nested(4).repeat(3), {}), '');
      assert.equal(refuses(nested(5), {}), 'policy-violation');
    });

    it('may be replaced between stanzas', () => {
      let seen = 0;
      const scanner: Scanner = new Scanner(
        {
          streamOpened() {},
          stanza: () => (seen++ === 0 ? scanner.setLimits({ stanzaSize: 1000 }) : undefined),
          streamClosed() {},
        },
        { stanzaSize: 20 },
      );
      scanner.push(Buffer.from(`${clientHeader}<a/><a>${'x'.repeat(500)}</a>`));
      assert.equal(seen, 2);
      assert.throws(() => scanner.push(Buffer.from(`<a>${'x'.repeat(1500)}</a>`)), { condition: 'policy-violation' });
    });

    it('take no more than linear time for a tag that comes byte by byte', () => {
      const began = performance.now();
      const tag = Buffer.from(`<a b='${'>'.repeat(15_000)}'/>`);
      assert.equal(scan([clientHeader, ...singly(tag)]).stanzas.length, 1);
      assert.equal(scan([clientHeader, '<a>', ...singly(Buffer.from('x'.repeat(60_000))), '</a>']).stanzas.length, 1);
      assert.ok(performance.now() - began < 5000);
    });
  });

  describe('under its handler', () => {
    const record = (act: (scanner: Scanner, event: StreamHeader | Stanza) => void) => {
      const events: string[] = [];
      const scanner: Scanner = new Scanner(
        {
          streamOpened(header) {
            events.push(`<${header.name}>`);
            act(scanner, header);
          },
          stanza(one) {
            events.push(one.name);
            act(scanner, one);
          },
          streamClosed: () => events.push('end'),
        },
        { stanzaSize: 1000 },
      );
      return { events, scanner };
    };

    it('expects a new header after a restart, with new declarations', () => {
      const { events, scanner } = record((self, event) => {
        if (event.name === 'auth') self.restart();
      });
      const data = Buffer.from(`${serverHeader}<auth/> \n<?xml version='1.0'?>\n${clientHeader}<iq/>`);
      scanner.push(data);
      assert.deepEqual(events, ['<stream>', 'auth', '<stream>', 'iq']);
      assert.throws(() => scanner.push(Buffer.from('<db:x/>')), { condition: 'not-well-formed' });
    });

    it('restarts in the same way byte by byte', () => {
      const { events, scanner } = record((self, event) => {
        if (event.name === 'auth') self.restart();
      });
      for (const byte of singly(
        Buffer.from(`${serverHeader}<auth/>\n<?xml version='1.0'?>\n${clientHeader}<iq/></stream:stream>`),
      ))
        scanner.push(byte);
      assert.deepEqual(events, ['<stream>', 'auth', '<stream>', 'iq', 'end']);
    });

    it('refuses what goes on with the old stream after a restart', () => {
      const { scanner } = record((self, event) => {
        if (event.name === 'auth') self.restart();
      });
      scanner.push(Buffer.from(`${serverHeader}<auth/>`));
      assert.throws(() => scanner.push(Buffer.from('</stream:stream>')), { condition: 'not-well-formed' });
    });

    it('pauses behind the stanza at hand, holds the rest, and goes on', () => {
      const { events, scanner } = record(self => self.pause());
      scanner.push(Buffer.from(`${clientHeader}<a/><b/>`));
      assert.deepEqual(events, ['<stream>']);
      assert.equal(scanner.buffered, 8);
      scanner.push(Buffer.from('<c>'));
      assert.equal(scanner.buffered, 11);
      scanner.resume();
      assert.deepEqual(events, ['<stream>', 'a']);
      scanner.resume();
      scanner.resume();
      assert.deepEqual(events, ['<stream>', 'a', 'b']);
      assert.equal(scanner.buffered, 3);
      scanner.push(Buffer.from('</c></stream:stream>'));
      scanner.resume();
      assert.deepEqual(events, ['<stream>', 'a', 'b', 'c', 'end']);
      assert.equal(scanner.buffered, 0);
    });

    it('counts what follows the stanza at hand', () => {
      const counts: number[] = [];
      const { scanner } = record(self => counts.push(self.buffered));
      scanner.push(Buffer.from(`${clientHeader}<starttls/><iq/>`));
      assert.deepEqual(counts, [16, 5, 0]);
      scanner.push(Buffer.from('<a>12'));
      assert.equal(scanner.buffered, 5);
    });

    it('takes more from inside a handler, after what is there', () => {
      const { events, scanner } = record((self, event) => {
        if (event.name === 'a') self.push(Buffer.from('<c/>'));
      });
      scanner.push(Buffer.from(`${clientHeader}<a/><b/>`));
      assert.deepEqual(events, ['<stream>', 'a', 'b', 'c']);
    });

    it('is dead after an error, its own or a handler’s', () => {
      const { events, scanner } = record(() => {});
      scanner.push(Buffer.from(clientHeader));
      assert.throws(() => scanner.push(Buffer.from('<a/>x<b/>')), StreamError);
      scanner.push(Buffer.from('<c/>'));
      scanner.resume();
      assert.deepEqual(events, ['<stream>', 'a']);
      const other = record(() => {
        throw new RangeError('mine');
      });
      assert.throws(() => other.scanner.push(Buffer.from(clientHeader)), RangeError);
      other.scanner.push(Buffer.from('<a/>'));
      assert.equal(other.events.length, 1);
      assert.equal(other.scanner.buffered, 0);
    });

    it('ignores what follows the end of the stream', () => {
      const scanned = scan([clientHeader, '</stream:stream>\n<a/>', 'x']);
      assert.deepEqual([scanned.closed, scanned.stanzas.length, scanned.error], [true, 0, '']);
    });

    it('takes white space between stanzas for nothing and holds none of it', () => {
      const { events, scanner } = record(() => {});
      scanner.push(Buffer.from(clientHeader));
      for (let i = 0; i < 1000; i++) scanner.push(Buffer.from(' \r\n\t'));
      assert.deepEqual([events.length, scanner.buffered], [1, 0]);
    });
  });

  it('keeps a stanza whole when the bytes behind it in the same area are new', () => {
    const found: Stanza[] = [];
    const scanner = new Scanner(
      { streamOpened() {}, stanza: one => found.push(one), streamClosed() {} },
      { stanzaSize: 10_000 },
    );
    scanner.push(Buffer.from(clientHeader));
    const xml = Array.from(
      { length: 500 },
      (_, i) => `<message id='${i}'><body>${'é'.repeat(i % 50)}${i}</body></message>`,
    ).join('');
    const data = Buffer.from(xml);
    for (let at = 0; at < data.length; at += 37) scanner.push(data.subarray(at, at + 37));
    assert.equal(found.map(String).join(''), xml);
  });

  it('costs an idle connection less than a kilobyte', () => {
    const chunk = Buffer.from(`${clientHeader}<message><body>hello</body><x xmlns='urn:x'/></message>`);
    const scanners: Scanner[] = [];
    const make = (count: number) => {
      for (let i = 0; i < count; i++) {
        const scanner = new Scanner({ streamOpened() {}, stanza() {}, streamClosed() {} }, { stanzaSize: 10_000 });
        scanner.push(chunk);
        scanners.push(scanner);
      }
    };
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    make(100);
    collect();
    const before = process.memoryUsage().heapUsed;
    make(2000);
    collect();
    const each = (process.memoryUsage().heapUsed - before) / 2000;
    assert.ok(each < 1024, `${each} bytes`);
    assert.equal(
      scanners.every(scanner => scanner.buffered === 0),
      true,
    );
  });
});

describe('stanzas on a stream', () => {
  it('come one after the other with or without white space', () => {
    assert.equal(stanzas(' <a/><b/>\n\t<c></c> ').length, 3);
  });
});

function assertSame(actual: ReturnType<typeof scan>, expected: ReturnType<typeof scan>): void {
  assert.equal(actual.error, expected.error);
  assert.equal(actual.closed, expected.closed);
  assert.deepEqual(actual.headers, expected.headers);
  assert.deepEqual(actual.stanzas.map(String), expected.stanzas.map(String));
  assert.deepEqual(
    actual.stanzas.map(one => one.index),
    expected.stanzas.map(one => one.index),
  );
}
