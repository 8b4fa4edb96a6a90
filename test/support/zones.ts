// A name server for tests and the demo: real packets over UDP and TCP, from zone files or records, and faults on demand.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server } from 'node:net';
import dns2 from 'dns2';
import type { Endpoint } from '../../src/hub/config.ts';

const { Packet } = dns2;

const types = { A: 1, NS: 2, CNAME: 5, SOA: 6, TXT: 16, AAAA: 28, SRV: 33, NAPTR: 35, TLSA: 52 } as const;
type Type = keyof typeof types;

export interface ZoneRecord {
  name: string;
  type: Type;
  ttl: number;
  /** The words behind the type, as in a zone file. */
  data: string[];
}

/** What the server does instead of answering properly. */
export type Fault = 'silent' | 'truncated' | 'servfail' | 'wrong id' | 'garbage';

export interface Zones {
  readonly server: Endpoint;
  /** Each question that came, as `TYPE name over udp|tcp`. */
  readonly questions: string[];
  /** Replaces all records. */
  set(zone: string | ZoneRecord[]): void;
  /** From now on, questions for this name (or, with '', all) meet this fault; null: no more. */
  fault(name: string, fault: Fault | null): void;
  /** Marks answers as validated (AD). */
  validated: boolean;
  close(): Promise<void>;
}

/** Reads the lines of a zone: `name [ttl] [IN] TYPE data…`; `;` begins a comment. Names are absolute. */
export function parseZone(text: string): ZoneRecord[] {
  const records: ZoneRecord[] = [];
  for (const line of text.split('\n')) {
    const words = (line.replace(/;.*/, '').match(/"[^"]*"|\S+/g) ?? []).map(word => word.replace(/^"|"$/g, ''));
    if (words.length < 3) continue;
    const [name, ...rest] = words;
    let ttl = 60;
    while (rest.length > 0 && !(rest[0] in types)) {
      if (/^\d+$/.test(rest[0])) ttl = Number(rest[0]);
      rest.shift();
    }
    const [type, ...data] = rest;
    records.push({ name: name.replace(/\.$/, '').toLowerCase(), type: type as Type, ttl, data });
  }
  return records;
}

export async function startZones(
  zone: string | ZoneRecord[],
  at: Endpoint = { host: '127.0.0.1', port: 0 },
): Promise<Zones> {
  let records = typeof zone === 'string' ? parseZone(zone) : zone;
  const faults = new Map<string, Fault>();
  const questions: string[] = [];
  const zones = { validated: false };

  const answer = (bytes: Buffer, over: 'udp' | 'tcp'): Buffer | null => {
    const request = Packet.parse(bytes);
    const question = request.questions[0] as { name: string; type: number };
    const name = question.name.toLowerCase();
    questions.push(
      `${Object.keys(types).find(key => types[key as Type] === question.type) ?? question.type} ${name} over ${over}`,
    );
    const fault = faults.get(name) ?? faults.get('');
    if (fault === 'silent') return null;
    if (fault === 'garbage') return Buffer.from(bytes.map((byte, i) => (i < 2 ? byte : byte ^ 0x5a)));
    const response = encode(bytes, respond(records, name, question.type), question);
    if (zones.validated) response[3] |= 0x20;
    if (fault === 'servfail') response[3] = (response[3] & 0xf0) | 2;
    if (fault === 'wrong id') response.writeUInt16BE(response.readUInt16BE(0) ^ 1, 0);
    if (over === 'udp' && (fault === 'truncated' || response.length > 1232)) {
      const cut = encode(bytes, { found: [], exists: true }, question);
      cut[2] |= 0x02;
      return cut;
    }
    return response;
  };

  // The two listeners share a port number; where the second cannot have it, both try another.
  for (;;) {
    const udp = createSocket('udp4');
    await new Promise<void>(resolve => udp.bind(at.port, at.host, resolve));
    const port = udp.address().port;
    const tcp = createServer(socket => {
      let received = Buffer.alloc(0);
      socket.on('error', () => {});
      socket.on('data', chunk => {
        received = Buffer.concat([received, chunk]);
        while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
          const size = received.readUInt16BE(0);
          const response = answer(received.subarray(2, 2 + size), 'tcp');
          received = received.subarray(2 + size);
          if (!response) continue;
          const length = Buffer.alloc(2);
          length.writeUInt16BE(response.length);
          socket.write(Buffer.concat([length, response]));
        }
      });
    });
    const listening = await new Promise<boolean>(resolve => {
      tcp.once('error', () => resolve(false));
      tcp.listen(port, at.host, () => resolve(true));
    });
    if (!listening) {
      udp.close();
      if (at.port !== 0) throw new Error(`TCP port ${port} is in use`);
      continue;
    }
    udp.on('message', (bytes, from) => {
      const response = answer(bytes, 'udp');
      if (response) udp.send(response, from.port, from.address);
    });
    return Object.assign(zones, {
      server: { host: at.host, port },
      questions,
      set: (next: string | ZoneRecord[]) => {
        records = typeof next === 'string' ? parseZone(next) : next;
      },
      fault: (name: string, fault: Fault | null) => {
        if (fault) faults.set(name, fault);
        else faults.delete(name);
      },
      close: () => closeBoth(udp, tcp),
    });
  }
}

function closeBoth(udp: UdpSocket, tcp: Server): Promise<void> {
  udp.close();
  return new Promise(resolve => tcp.close(() => resolve()));
}

/** The records of a name, behind its CNAMEs, and whether there is such a name at all. */
function respond(records: ZoneRecord[], name: string, type: number): { found: ZoneRecord[]; exists: boolean } {
  const found: ZoneRecord[] = [];
  let owner = name;
  for (let links = 0; links < 16; links++) {
    const own = records.filter(record => record.name === owner);
    const matching = own.filter(record => types[record.type] === type);
    if (matching.length > 0) return { found: [...found, ...matching], exists: true };
    const alias = own.find(record => record.type === 'CNAME');
    if (!alias)
      return { found, exists: found.length > 0 || own.length > 0 || records.some(r => r.name.endsWith(`.${owner}`)) };
    found.push(alias);
    owner = alias.data[0].replace(/\.$/, '').toLowerCase();
  }
  return { found, exists: true };
}

function encode(
  request: Buffer,
  { found, exists }: { found: ZoneRecord[]; exists: boolean },
  question: { name: string; type: number },
): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(request.readUInt16BE(0), 0);
  header.writeUInt16BE(0x8580 | (exists ? 0 : 3), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(found.length, 6);
  const asked = Buffer.alloc(4);
  asked.writeUInt16BE(question.type, 0);
  asked.writeUInt16BE(1, 2);
  return Buffer.concat([header, encodeName(question.name), asked, ...found.map(encodeRecord)]);
}

function encodeName(name: string): Buffer {
  const labels = name
    .replace(/\.$/, '')
    .split('.')
    .filter(label => label !== '');
  return Buffer.concat([
    ...labels.map(label => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.from([0]),
  ]);
}

function encodeRecord({ name, type, ttl, data }: ZoneRecord): Buffer {
  const rdata = encodeData(type, data);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(types[type], 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt32BE(ttl, 4);
  fixed.writeUInt16BE(rdata.length, 8);
  return Buffer.concat([encodeName(name), fixed, rdata]);
}

function encodeData(type: Type, data: string[]): Buffer {
  const shorts = (...values: string[]) => {
    const bytes = Buffer.alloc(values.length * 2);
    for (const [i, value] of values.entries()) bytes.writeUInt16BE(Number(value), i * 2);
    return bytes;
  };
  const text = (value: string) => Buffer.concat([Buffer.from([Buffer.byteLength(value)]), Buffer.from(value)]);
  switch (type) {
    case 'A':
      return Buffer.from(data[0].split('.').map(Number));
    case 'AAAA':
      return ipv6(data[0]);
    case 'CNAME':
    case 'NS':
      return encodeName(data[0]);
    case 'SRV':
      return Buffer.concat([shorts(data[0], data[1], data[2]), encodeName(data[3])]);
    case 'TXT':
      return Buffer.concat(data.map(text));
    case 'NAPTR':
      return Buffer.concat([
        shorts(data[0], data[1]),
        text(data[2]),
        text(data[3]),
        text(data[4]),
        encodeName(data[5]),
      ]);
    case 'TLSA':
      return Buffer.concat([Buffer.from(data.slice(0, 3).map(Number)), Buffer.from(data[3], 'hex')]);
    case 'SOA':
      return Buffer.concat([
        encodeName(data[0]),
        encodeName(data[1]),
        ...data.slice(2, 7).map(n => Buffer.from(Number(n).toString(16).padStart(8, '0'), 'hex')),
      ]);
  }
}

function ipv6(address: string): Buffer {
  const [head, tail] = address.split('::');
  const left = head ? head.split(':') : [];
  const right = tail ? tail.split(':') : [];
  const zeros = Array<string>(8 - left.length - right.length).fill('0');
  const groups = tail === undefined ? left : [...left, ...zeros, ...right];
  return Buffer.from(groups.map(group => group.padStart(4, '0')).join(''), 'hex');
}
