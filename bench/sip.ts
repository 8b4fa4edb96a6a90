// The embedded SIP engine under load: MESSAGEs in and out over TCP and UDP, and what each costs in CPU. The peer is a process of its own.
import { fork } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { createEmbedded } from '../src/bridges/sip/embedded.ts';
import type { Engine } from '../src/bridges/sip/engine.ts';
import { parseDatagram } from '../src/bridges/sip/parser.ts';
import { engineConfig, enginePort, RecordingHandler } from '../test/support/sip-engine.ts';

const count = Number(process.argv[2] ?? 50_000);
const window = 50;
const body = 'Shall I hear more, or shall I speak at this? '.repeat(3).trim();

type Protocol = 'udp' | 'tcp';
type Order = { listen: Protocol } | { flood: Protocol; port: number; count: number };
type Report = { port: number } | { done: true };

/** A MESSAGE of about 480 bytes. */
function message(protocol: Protocol, port: number, number: number): string {
  return [
    'MESSAGE sip:romeo@hub.test SIP/2.0',
    `Via: SIP/2.0/${protocol.toUpperCase()} 127.0.0.1:${port};branch=z9hG4bKbench${number};rport`,
    'Max-Forwards: 70',
    `From: "Juliet" <sip:juliet@sip.test>;tag=${number}`,
    'To: <sip:romeo@hub.test>',
    `Call-ID: ${number}@127.0.0.1`,
    'CSeq: 1 MESSAGE',
    'User-Agent: bench',
    'Content-Type: text/plain;charset=UTF-8',
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}

if (process.send) peer();
else await bench();

/** The other process: floods when it is told to, and answers requests with 200. */
function peer(): void {
  const tell = (report: Report) => process.send!(report);
  const answer = (text: string) => {
    const line = (name: string) => new RegExp(`^${name}: .*`, 'm').exec(text)![0].trim();
    return `SIP/2.0 200 OK\r\n${['Via', 'From', 'To', 'Call-ID', 'CSeq'].map(line).join('\r\n')}\r\nContent-Length: 0\r\n\r\n`;
  };
  /** Calls `each` for the head of every message in a stream; bodies are as long as the bench's own. */
  const heads = (each: (head: string) => void) => {
    let text = '';
    return (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end);
        const length = Number(/Content-Length: (\d+)/.exec(head)?.[1]);
        if (text.length < end + 4 + length) return;
        each(head);
        text = text.slice(end + 4 + length);
      }
    };
  };
  process.on('message', (order: Order) => {
    if ('listen' in order && order.listen === 'udp') {
      const udp = createSocket({ type: 'udp4', recvBufferSize: 1 << 20 });
      udp.on('message', (bytes, from) => udp.send(answer(bytes.toString('latin1')), from.port, from.address));
      udp.bind(0, '127.0.0.1', () => tell({ port: udp.address().port }));
    } else if ('listen' in order) {
      const server = createServer(socket =>
        socket.on(
          'data',
          heads(head => socket.write(answer(head))),
        ),
      );
      server.listen(0, '127.0.0.1', () => tell({ port: (server.address() as AddressInfo).port }));
    } else void flood(order);
  });

  async function flood({ flood: protocol, port, count: most }: Extract<Order, { flood: Protocol }>): Promise<void> {
    let [sent, answered] = [0, 0];
    const { createConnection } = await import('node:net');
    const socket: Socket | null = protocol === 'tcp' ? createConnection(port, '127.0.0.1') : null;
    const udp = protocol === 'udp' ? createSocket({ type: 'udp4', recvBufferSize: 1 << 20 }) : null;
    const own = udp
      ? await new Promise<number>(resolve => udp.bind(0, '127.0.0.1', () => resolve(udp.address().port)))
      : 5060;
    const base = Math.floor(Math.random() * 1e9) * 1000;
    const next = () => {
      if (sent >= most) return;
      const text = message(protocol, own, base + sent++);
      if (socket) socket.write(text);
      else udp!.send(text, port, '127.0.0.1');
    };
    const got = () => {
      if (++answered === most) {
        socket?.destroy();
        udp?.close();
        tell({ done: true });
      } else next();
    };
    socket?.on('data', heads(got));
    udp?.on('message', got);
    for (let i = 0; i < window; i++) next();
  }
}

async function bench(): Promise<void> {
  const port = enginePort();
  const engine = createEmbedded(
    engineConfig('{ domains: [sip.test], listen: ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"], limits: { per-source: 0 } }'),
    port,
  );
  const handler = new RecordingHandler();
  handler.message = async () => ({ status: 200 });
  await engine.start(handler);
  const child = fork(import.meta.filename);
  const order = (what: Order) =>
    new Promise<Report>(resolve => {
      child.once('message', report => resolve(report as Report));
      child.send(what);
    });
  const portOf = (protocol: Protocol) =>
    Number(
      engine.addresses
        .find(at => at.startsWith(protocol))!
        .split(':')
        .at(-1),
    );
  const measure = async (name: string, work: () => Promise<unknown>) => {
    const [cpu, began] = [process.cpuUsage(), performance.now()];
    await work();
    const seconds = (performance.now() - began) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    console.log(
      `${name.padEnd(10)} ${(count / seconds).toFixed(0).padStart(7)}/s ${((user + system) / count).toFixed(0).padStart(6)} µs CPU each`,
    );
  };

  const bytes = Buffer.from(message('tcp', 5060, 1));
  for (let round = 0; round < 3; round++) for (let i = 0; i < 20_000; i++) parseDatagram(bytes);
  const began = performance.now();
  for (let i = 0; i < count; i++) parseDatagram(bytes);
  console.log(`${bytes.length} bytes are parsed in ${(((performance.now() - began) * 1000) / count).toFixed(1)} µs`);
  for (const protocol of ['tcp', 'udp'] as const) {
    await order({ flood: protocol, port: portOf(protocol), count: 10_000 });
    await measure(`in, ${protocol}`, () => order({ flood: protocol, port: portOf(protocol), count }));
    const { port: to } = (await order({ listen: protocol })) as { port: number };
    await sendAll(engine, protocol, to, 10_000);
    await measure(`out, ${protocol}`, () => sendAll(engine, protocol, to, count));
  }
  child.kill();
  await engine.stop();
  port.close();
}

/** Sends so many, `window` at a time. */
async function sendAll(engine: Engine, protocol: Protocol, port: number, most: number): Promise<void> {
  let sent = 0;
  const request = {
    method: 'MESSAGE' as const,
    uri: `sip:juliet@127.0.0.1:${port};transport=${protocol}`,
    from: 'sip:romeo@hub.test',
    displayName: 'Romeo',
    contentType: 'text/plain;charset=UTF-8',
    body: Buffer.from(body),
  };
  const one = async () => {
    while (sent < most) {
      sent++;
      const { status } = await engine.send(request);
      if (status !== 200) throw new Error(`the peer answered ${status}`);
    }
  };
  await Promise.all(Array.from({ length: window }, one));
}
