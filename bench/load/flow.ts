// Messages from senders to receivers, in a window or at a rate, and what they cost the server.
import type { Connection } from './client.ts';
import { counter } from './counter.ts';
import { usageOf } from './usage.ts';

export interface Pair {
  from: Connection;
  to: Connection;
}

export interface Cost {
  /** Processor time of the server per message, in µs. */
  cpu: number;
  /** Messages in a second. */
  rate: number;
  /** How long messages were under way, in ms. */
  p50: number;
  p99: number;
}

const window = 50;

/** A chat message as clients send it: a body of 120 characters, a chat state, a request for a receipt. */
function message(from: string, to: string, id: string): string {
  const extensions = "<active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>";
  return `<message from='${from}' to='${to}' type='chat' id='${id}'><body>${'x'.repeat(120)}</body>${extensions}</message>`;
}

/** Keeps a window of messages under way between each pair. */
export async function saturate(server: number, pairs: readonly Pair[], seconds: number): Promise<Cost> {
  let received = 0;
  for (const { from, to } of pairs) {
    const one = Buffer.from(message(from.jid, to.jid, '0123456789abcdef'));
    const batch = Buffer.concat(Array<Buffer>(window / 2).fill(one));
    let under = window;
    const messages = counter('</message>');
    to.onData = data => {
      const count = messages(data);
      received += count;
      under -= count;
      while (under <= window / 2) {
        under += window / 2;
        from.socket.write(batch);
      }
    };
    from.socket.write(batch);
    from.socket.write(batch);
  }
  await after(1.5);
  const before = { cpu: usageOf(server).cpu, received, at: performance.now() };
  await after(seconds);
  const cpu = usageOf(server).cpu - before.cpu;
  const count = received - before.received;
  const took = (performance.now() - before.at) / 1000;
  for (const { to } of pairs) to.onData = () => {};
  await after(0.5);
  return { cpu: cpu / count, rate: count / took, p50: Number.NaN, p99: Number.NaN };
}

/** Sends so many messages a second, whatever comes back, and times them. */
export async function pace(server: number, pairs: readonly Pair[], rate: number, seconds: number): Promise<Cost> {
  const times: number[] = [];
  let received = 0;
  const stamp = /id=['"]t(\d+)['"]/g;
  for (const { to } of pairs) {
    to.onData = data => {
      const now = performance.now();
      for (const [, at] of data.toString('latin1').matchAll(stamp)) {
        received++;
        times.push(now - Number(at) / 1000);
      }
    };
  }
  const began = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - began) * rate) / 1000;
    for (; sent < due; sent++) {
      const { from, to } = pairs[sent % pairs.length];
      from.socket.write(message(from.jid, to.jid, `t${Math.round(performance.now() * 1000)}`));
    }
  }, 1);
  await after(1.5);
  times.length = 0;
  const before = { cpu: usageOf(server).cpu, received };
  await after(seconds);
  const cpu = usageOf(server).cpu - before.cpu;
  const count = received - before.received;
  clearInterval(timer);
  times.sort((a, b) => a - b);
  const share = (part: number) => times[Math.floor(times.length * part)];
  await after(0.5);
  return { cpu: cpu / count, rate: count / seconds, p50: share(0.5), p99: share(0.99) };
}

export function after(seconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, seconds * 1000));
}
