// How fast the scanner makes stanzas of 326-byte chat messages, for portions of several sizes.
import { Scanner } from '../src/xmpp/scanner.ts';

const header = Buffer.from(
  "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
);
const stanzaSize = 326;

/** A chat message of 326 bytes with a body and two extensions; `number` varies its id and its addressee. */
function message(number: number): string {
  const id = `a${String(number).padStart(6, '0')}`;
  const head = `<message to='user${String(number % 500).padStart(4, '0')}@montague.example/phone' id='${id}' type='chat'>`;
  const tail = `<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/></message>`;
  const room = stanzaSize - head.length - tail.length - '<body></body>'.length;
  return `${head}<body>${'But soft, what light through yonder window breaks? It is the east. '.repeat(4).slice(0, room)}</body>${tail}`;
}

const perRound = 20_000;
const data = Buffer.from(Array.from({ length: perRound }, (_, number) => message(number)).join(''));

/** Microseconds that a stanza takes when the data comes in portions of that size. */
function measure(portion: number): number {
  let stanzas = 0;
  const scanner = new Scanner(
    {
      streamOpened() {},
      stanza() {
        stanzas++;
      },
      streamClosed() {},
    },
    { stanzaSize: 256 * 1024 },
  );
  scanner.push(header);
  // Portions come in buffers of their own, as from a socket.
  const portions: Buffer[] = [];
  for (let at = 0; at < data.length; at += portion) portions.push(Buffer.from(data.subarray(at, at + portion)));
  const began = performance.now();
  for (const one of portions) scanner.push(one);
  const took = performance.now() - began;
  if (stanzas !== perRound) throw new Error(`${stanzas} of ${perRound} stanzas came out`);
  return (took * 1000) / perRound;
}

const portions = [64, 256, 1024, 1460, 4096, 16384, 65536];
const rounds = Number(process.argv[2] ?? 15);
for (const portion of portions) measure(portion);
console.log('portion      MB/s   µs/stanza');
for (const portion of portions) {
  const times = Array.from({ length: rounds }, () => measure(portion)).sort((a, b) => a - b);
  const time = times[rounds >> 1];
  console.log(
    `${String(portion).padStart(7)} ${(stanzaSize / time).toFixed(0).padStart(9)} ${time.toFixed(2).padStart(11)}`,
  );
}
