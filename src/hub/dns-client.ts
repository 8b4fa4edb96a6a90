// Questions to configured name servers: UDP first, TCP where the answer was cut, the next server where one fails.
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createConnection, isIPv6 } from 'node:net';
import dns2 from 'dns2';
import type { Endpoint } from './config.ts';
import { type Answer, DnsError, type DnsSource, type NaptrRecord, type RecordType, type TlsaRecord } from './dns.ts';

const { Packet } = dns2;

const types: Record<RecordType, number> = { A: 1, AAAA: 28, SRV: 33, NAPTR: 35, TXT: 16, TLSA: 52 };
const cname = 5;
const soa = 6;

/** For one try with one server, in ms; each server is tried twice. */
const tryTimeout = 2_000;
const mostAnswers = 200;
const longestChain = 8;

type DnsRecord = InstanceType<typeof Packet>['answers'][number] & {
  data?: Buffer;
  address?: string;
  target?: string;
  domain?: string;
  port?: number;
  priority?: number;
  weight?: number;
  minimum?: number;
};
type Message = InstanceType<typeof Packet>;

export class DnsClient implements DnsSource {
  readonly #servers: readonly Endpoint[];
  #closed = false;

  constructor(servers: readonly Endpoint[]) {
    this.#servers = servers;
  }

  async query(name: string, type: RecordType): Promise<Answer> {
    let failure = new DnsError('timeout', name);
    for (let attempt = 0; attempt < 2 * this.#servers.length && !this.#closed; attempt++) {
      const server = this.#servers[attempt % this.#servers.length];
      try {
        return read(await this.#exchange(server, name, type), name, type, isLoopback(server.host));
      } catch (error) {
        failure = error instanceof DnsError ? error : new DnsError('server-failure', name, (error as Error).message);
        if (failure.code === 'not-found') throw failure;
      }
    }
    throw failure;
  }

  close(): void {
    this.#closed = true;
  }

  async #exchange(server: Endpoint, name: string, type: RecordType): Promise<Message> {
    const id = randomInt(0x10000);
    const question = encodeQuestion(id, name, types[type]);
    const answer = await overUdp(server, question, bytes => accept(bytes, id, name, types[type]), name);
    if (!answer.header.tc) return answer;
    return overTcp(server, question, bytes => accept(bytes, id, name, types[type]), name);
  }
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1';
}

function encodeQuestion(id: number, name: string, type: number): Buffer {
  const packet = new Packet();
  packet.header = new (Packet as unknown as { Header: new (h: object) => Message['header'] }).Header({ id, rd: 1 });
  (packet.header as unknown as { ad: number }).ad = 1;
  packet.questions.push({ name: name.replace(/\.$/, ''), type, class: 1 } as never);
  const bytes = packet.toBuffer();
  bytes[3] |= 0x20; // AD: tell us whether the answer was validated (RFC 6840 §5.7)
  return bytes;
}

/** The message in `bytes` if it answers our question; else null (RFC 5452 §9.1: ids, question, and who sent it). */
function accept(bytes: Buffer, id: number, name: string, type: number): Message | null {
  if (bytes.length < 12 || bytes.readUInt16BE(0) !== id || !(bytes[2] & 0x80)) return null;
  // Counts beyond what a message can hold are refused before anything is read by them.
  if (bytes.readUInt16BE(4) !== 1 || bytes.readUInt16BE(6) > mostAnswers || bytes.readUInt16BE(8) > mostAnswers)
    return null;
  let message: Message;
  try {
    message = Packet.parse(bytes);
  } catch {
    return null;
  }
  const question = message.questions[0] as { name?: string; type?: number } | undefined;
  const asked = name.replace(/\.$/, '').toLowerCase();
  return question?.name?.toLowerCase() === asked && question.type === type ? message : null;
}

function overUdp(
  server: Endpoint,
  question: Buffer,
  parse: (bytes: Buffer) => Message | null,
  name: string,
): Promise<Message> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(server.host) ? 'udp6' : 'udp4');
    const end = (error: Error | null, message?: Message) => {
      clearTimeout(timer);
      socket.close();
      error ? reject(error) : resolve(message!);
    };
    const timer = setTimeout(() => end(new DnsError('timeout', name)), tryTimeout);
    socket.on('error', error => end(new DnsError('server-failure', name, error.message)));
    socket.on('message', (bytes, from) => {
      if (from.port !== server.port || from.address !== server.host) return;
      const message = parse(bytes);
      if (message) end(null, message); // Anything else is not ours: go on waiting.
    });
    // A connected socket would tell of refusals, but also change errors into crashes on some systems; send is enough.
    socket.send(question, server.port, server.host);
  });
}

function overTcp(
  server: Endpoint,
  question: Buffer,
  parse: (bytes: Buffer) => Message | null,
  name: string,
): Promise<Message> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(server.port, server.host);
    let received = Buffer.alloc(0);
    const end = (error: Error | null, message?: Message) => {
      clearTimeout(timer);
      socket.destroy();
      error ? reject(error) : resolve(message!);
    };
    const timer = setTimeout(() => end(new DnsError('timeout', name)), tryTimeout);
    socket.on('error', error => end(new DnsError('server-failure', name, error.message)));
    socket.on('close', () => end(new DnsError('server-failure', name, 'connection closed')));
    const length = Buffer.alloc(2);
    length.writeUInt16BE(question.length);
    socket.write(Buffer.concat([length, question]));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const message = parse(received.subarray(2, 2 + received.readUInt16BE(0)));
      end(message ? null : new DnsError('bad-answer', name), message ?? undefined);
    });
  });
}

/** Picks the records of the name (following its CNAMEs) from an answer. Throws DnsError. */
function read(message: Message, name: string, type: RecordType, trusted: boolean): Answer {
  const { rcode, ad } = message.header as { rcode?: number; ad?: number };
  const authority = (message.authorities as DnsRecord[]).find(record => record.type === soa);
  const negative = authority ? Math.min(Math.max(authority.minimum ?? 60, 5), 300, authority.ttl ?? 300) : 60;
  if (rcode === Packet.RCODE.NXDOMAIN) throw new DnsError('not-found', name);
  if (rcode !== Packet.RCODE.NOERROR) throw new DnsError('server-failure', name, `code ${rcode}`);
  const answers = message.answers as DnsRecord[];
  let owner = name.replace(/\.$/, '').toLowerCase();
  let ttl = Number.POSITIVE_INFINITY;
  for (let links = 0; links < longestChain; links++) {
    const own = answers.filter(record => record.name?.toLowerCase() === owner);
    const found = own.filter(record => record.type === types[type]);
    if (found.length > 0) {
      const records = found.map(record => decode(record, type)).filter(record => record !== null);
      ttl = Math.min(ttl, ...found.map(record => record.ttl ?? 0));
      return { records, ttl, secure: trusted && Boolean(ad) };
    }
    const alias = own.find(record => record.type === cname && record.domain);
    if (!alias) break;
    ttl = Math.min(ttl, alias.ttl ?? 0);
    owner = alias.domain!.replace(/\.$/, '').toLowerCase();
  }
  return { records: [], ttl: Math.min(ttl, negative), secure: trusted && Boolean(ad) };
}

function decode(record: DnsRecord, type: RecordType): unknown {
  switch (type) {
    case 'A':
    case 'AAAA':
      return record.address ?? null;
    case 'SRV': {
      const { priority, weight, port, target } = record;
      if (port === undefined || target === undefined) return null;
      return { priority, weight, port, target: target === '' ? '.' : target };
    }
    case 'TXT':
      return Array.isArray(record.data) ? record.data.join('') : String(record.data ?? '');
    case 'NAPTR':
      return record.data ? decodeNaptr(record.data) : null;
    case 'TLSA':
      return record.data && record.data.length > 3 ? decodeTlsa(record.data) : null;
  }
}

/** RFC 3403 §4.1. Null where the bytes are not one. */
export function decodeNaptr(data: Buffer): NaptrRecord | null {
  if (data.length < 8) return null;
  let at = 4;
  const text = (): string => {
    const length = data[at] ?? 0;
    const value = data.toString('latin1', at + 1, at + 1 + length);
    at += 1 + length;
    return value;
  };
  const flags = text();
  const service = text();
  const regexp = text();
  const labels: string[] = [];
  while (at < data.length && data[at] > 0 && data[at] < 64) labels.push(text());
  return {
    order: data.readUInt16BE(0),
    preference: data.readUInt16BE(2),
    flags,
    service,
    regexp,
    replacement: labels.join('.'),
  };
}

function decodeTlsa(data: Buffer): TlsaRecord {
  return { usage: data[0], selector: data[1], matching: data[2], data: data.subarray(3) };
}
