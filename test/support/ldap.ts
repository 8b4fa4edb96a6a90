// A stand-in for an LDAP server, for tests: a tree in memory behind real sockets that speaks as much of RFC 4511 as the hub asks, and can be slow, silent or gone.
import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { Issued } from './authority.ts';
import { type Ber, ber, inside, integer, readBer, toInteger } from './ber.ts';

type Values = Map<string, { name: string; values: Buffer[] }>;

export interface StandInEntry {
  dn: string;
  attributes: Values;
}

export interface StandInOptions {
  /** The tree, as LDIF. */
  ldif: string;
  /** A certificate: StartTLS is offered or, with `direct`, TLS comes first. */
  tls?: Issued;
  direct?: boolean;
  /** Searches without a bind are refused. */
  bound?: boolean;
  /** The one who may search, by name; whoever else is bound is refused. */
  reader?: string;
  /** Knows no Password Modify (RFC 3062). */
  old?: boolean;
}

export interface Behaviour {
  /** Answers after so many ms. */
  delay?: number;
  /** Takes what comes and says nothing. */
  silent?: boolean;
  /** Answers everything with that result code (RFC 4511 §4.1.9). */
  code?: number;
}

export interface LdapStandIn {
  readonly port: number;
  readonly url: string;
  /** What was asked, in order: `bind DN`, `search BASE FILTER`, `add DN` … */
  readonly operations: string[];
  readonly entries: Map<string, StandInEntry>;
  /** Connections that are open. */
  readonly connections: number;
  /** How it behaves from now on. */
  behave(how: Behaviour): void;
  /** Loses all connections. */
  drop(): void;
  /** Stops listening, and loses all connections; `start` listens on the same port again. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

const success = 0;

/** Reads LDIF: entries apart by empty lines, `name: value` or `name:: base64`, lines that go on with a space. */
export function parseLdif(text: string): StandInEntry[] {
  return text
    .replace(/^#.*\n/gm, '')
    .replace(/\n /g, '')
    .split(/\n\s*\n/)
    .map(block => block.trim())
    .filter(block => block !== '')
    .map(block => {
      const entry: StandInEntry = { dn: '', attributes: new Map() };
      for (const line of block.split('\n')) {
        const match = /^\s*([A-Za-z0-9;-]+)(::?)\s*(.*)$/.exec(line);
        if (!match) throw new Error(`not LDIF: ${line}`);
        const value = match[2] === '::' ? Buffer.from(match[3], 'base64') : Buffer.from(match[3].trim());
        if (match[1] === 'dn') entry.dn = value.toString();
        else add(entry.attributes, match[1], [value]);
      }
      return entry;
    });
}

function add(attributes: Values, name: string, values: Buffer[]): void {
  const known = attributes.get(name.toLowerCase());
  if (known) known.values.push(...values);
  else attributes.set(name.toLowerCase(), { name, values });
}

/** Names are equal whose texts are, but for case and spaces around the separators. */
export function keyOf(dn: string): string {
  return dn.replace(/\s*(?<!\\)([,=])\s*/g, '$1').toLowerCase();
}

export async function startLdapStandIn(options: StandInOptions): Promise<LdapStandIn> {
  const entries = new Map(parseLdif(options.ldif).map(entry => [keyOf(entry.dn), entry]));
  const operations: string[] = [];
  const sockets = new Set<Socket>();
  let behaviour: Behaviour = {};
  let server: Server;
  let port = 0;
  const start = () =>
    new Promise<void>((resolve, reject) => {
      server = createServer(socket => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
        socket.on('error', () => {});
        serveLdap(socket, { entries, operations, options, behaviour: () => behaviour });
      });
      server.once('error', reject);
      server.listen(port, '127.0.0.1', () => {
        ({ port } = server.address() as { port: number });
        resolve();
      });
    });
  const drop = () => {
    for (const socket of sockets) socket.destroy();
  };
  await start();
  return {
    get port() {
      return port;
    },
    get url() {
      return `${options.direct ? 'ldaps' : 'ldap'}://127.0.0.1:${port}`;
    },
    operations,
    entries,
    get connections() {
      return sockets.size;
    },
    behave: how => {
      behaviour = how;
    },
    drop,
    start,
    async stop() {
      const closed = new Promise<void>(resolve => server.close(() => resolve()));
      drop();
      await closed;
    },
  };
}

export interface Serving {
  entries: Map<string, StandInEntry>;
  operations: string[];
  options: Omit<StandInOptions, 'ldif'>;
  behaviour(): Behaviour;
}

interface Conversation extends Serving {
  bound: string;
}

/** Serves one connection. */
export function serveLdap(plain: Socket, serving: Serving): void {
  const conversation: Conversation = { ...serving, bound: '' };
  const { tls, direct } = serving.options;
  const secure = (socket: Socket): TLSSocket => {
    const context = createSecureContext({ cert: tls!.certificate, key: tls!.key });
    const secured = new TLSSocket(socket, { isServer: true, secureContext: context });
    secured.on('error', () => {});
    return secured;
  };
  const listenOn = (socket: Socket): void => {
    let received = Buffer.alloc(0);
    socket.on('data', function read(chunk: Buffer) {
      received = Buffer.concat([received, chunk]);
      for (let message = readBer(received); message; message = readBer(received)) {
        received = received.subarray(message.length);
        const { delay, silent } = serving.behaviour();
        if (silent) continue;
        const [id, operation] = inside(message.element);
        if (operation.tag === 0x42) return void socket.end();
        const respond = () => {
          const answers = answer(conversation, operation);
          if (!socket.destroyed)
            socket.write(Buffer.concat(answers.map(one => ber(0x30, integer(2, toInteger(id)), one))));
          const upgrade =
            operation.tag === 0x77 && inside(operation)[0].value.toString() === startTls && tls && !direct;
          if (!upgrade) return;
          socket.off('data', read);
          listenOn(secure(socket));
        };
        if (delay) setTimeout(respond, delay);
        else respond();
      }
    });
  };
  listenOn(direct ? secure(plain) : plain);
}

const startTls = '1.3.6.1.4.1.1466.20037';
const passwordModify = '1.3.6.1.4.1.4203.1.11.1';

function result(tag: number, code: number, text = ''): Buffer[] {
  return [ber(tag, ber(10, Buffer.from([code])), ber(4, ''), ber(4, text))];
}

/** What is answered to one operation. */
function answer(conversation: Conversation, operation: Ber): Buffer[] {
  const parts = operation.tag === 0x4a ? [] : inside(operation);
  const { code } = conversation.behaviour();
  if (code !== undefined)
    return result(operation.tag === 0x63 ? 0x65 : operation.tag === 0x4a ? 0x6b : operation.tag + 1, code);
  switch (operation.tag) {
    case 0x60:
      return result(0x61, bind(conversation, parts));
    case 0x63:
      return search(conversation, parts);
    case 0x68:
      return result(0x69, addEntry(conversation, parts));
    case 0x66:
      return result(0x67, modify(conversation, parts));
    case 0x4a:
      return result(0x6b, remove(conversation, operation.value.toString()));
    case 0x77:
      return result(0x78, extended(conversation, parts));
    default:
      return result(0x78, 2, 'not known here');
  }
}

function bind(conversation: Conversation, [, name, password]: Ber[]): number {
  const dn = name.value.toString();
  conversation.operations.push(`bind ${dn}`);
  conversation.bound = '';
  if (dn === '') return success;
  const entry = conversation.entries.get(keyOf(dn));
  const right = entry?.attributes.get('userpassword')?.values.some(value => value.equals(password.value));
  // A name without a password is an anonymous bind (RFC 4513 §5.1.2), and a trap for the careless.
  if (password.value.length === 0) return success;
  if (!right) return 49;
  conversation.bound = dn;
  return success;
}

function search(conversation: Conversation, [baseName, scope, , limit, , , filter, wanted]: Ber[]): Buffer[] {
  const base = baseName.value.toString();
  conversation.operations.push(`search ${base} ${filterText(filter)}`);
  if (conversation.options.bound && conversation.bound === '' && base !== '') return result(0x65, 50);
  const { reader } = conversation.options;
  if (reader !== undefined && conversation.bound !== reader && base !== '') return result(0x65, 50);
  if (base !== '' && !conversation.entries.has(keyOf(base))) return result(0x65, 32);
  const names = inside(wanted).map(({ value }) => value.toString().toLowerCase());
  const most = toInteger(limit);
  const found: Buffer[] = [];
  for (const entry of conversation.entries.values()) {
    if (!inScope(keyOf(entry.dn), keyOf(base), toInteger(scope)) || !matches(entry, filter)) continue;
    if (most > 0 && found.length >= most) return [...found, ...result(0x65, 4)];
    found.push(entryMessage(entry, names));
  }
  return [...found, ...result(0x65, success)];
}

function inScope(dn: string, base: string, scope: number): boolean {
  if (scope === 0) return dn === base;
  const below = base === '' ? dn : dn.endsWith(`,${base}`) ? dn.slice(0, -base.length - 1) : null;
  if (scope === 1) return below !== null && !/(?<!\\),/.test(below);
  return dn === base || below !== null;
}

function entryMessage({ dn, attributes }: StandInEntry, names: string[]): Buffer {
  const shown = [...attributes].filter(([key]) => names.includes(key) || names.includes('*') || names.length === 0);
  const list = shown.map(([, { name, values }]) =>
    ber(0x30, ber(4, name), ber(0x31, ...values.map(value => ber(4, value)))),
  );
  return ber(0x64, ber(4, dn), ber(0x30, ...list));
}

function textsOf(entry: StandInEntry, name: string): string[] {
  return entry.attributes.get(name.toLowerCase())?.values.map(value => value.toString().toLowerCase()) ?? [];
}

function matches(entry: StandInEntry, filter: Ber): boolean {
  if (filter.tag === 0x87) return textsOf(entry, filter.value.toString()).length > 0;
  const parts = inside(filter);
  switch (filter.tag) {
    case 0xa0:
      return parts.every(part => matches(entry, part));
    case 0xa1:
      return parts.some(part => matches(entry, part));
    case 0xa2:
      return !matches(entry, parts[0]);
    case 0xa3: {
      const value = parts[1].value.toString().toLowerCase();
      return textsOf(entry, parts[0].value.toString()).includes(value);
    }
    case 0xa4: {
      const pieces = inside(parts[1]);
      return textsOf(entry, parts[0].value.toString()).some(text => substring(text, pieces));
    }
    default:
      return false;
  }
}

function substring(text: string, pieces: Ber[]): boolean {
  let rest = text;
  for (const { tag, value } of pieces) {
    const piece = value.toString().toLowerCase();
    const at = tag === 0x82 ? (rest.endsWith(piece) ? rest.length - piece.length : -1) : rest.indexOf(piece);
    if (at < 0 || (tag === 0x80 && at !== 0)) return false;
    rest = rest.slice(at + piece.length);
  }
  return true;
}

/** The filter as it was understood, for looking at: values are quoted, so that no value looks like syntax. */
function filterText(filter: Ber): string {
  if (filter.tag === 0x87) return `(${filter.value}=*)`;
  const parts = inside(filter);
  const sign = { 160: '&', 161: '|', 162: '!' }[filter.tag];
  if (sign) return `(${sign}${parts.map(filterText).join('')})`;
  if (filter.tag === 0xa4) {
    const pieces = inside(parts[1]).map(({ tag, value }) => `${tag === 0x80 ? '' : '*'}"${value}"`);
    return `(${parts[0].value}=${pieces.join('')}…)`;
  }
  return `(${parts[0].value}="${parts[1]?.value}")`;
}

function addEntry({ entries, operations }: Conversation, [name, list]: Ber[]): number {
  const dn = name.value.toString();
  operations.push(`add ${dn}`);
  if (entries.has(keyOf(dn))) return 68;
  if (!entries.has(keyOf(dn.replace(/^.*?(?<!\\),/, '')))) return 32;
  const entry: StandInEntry = { dn, attributes: new Map() };
  for (const attribute of inside(list)) {
    const [type, values] = inside(attribute);
    add(
      entry.attributes,
      type.value.toString(),
      inside(values).map(({ value }) => Buffer.from(value)),
    );
  }
  entries.set(keyOf(dn), entry);
  return success;
}

function modify({ entries, operations }: Conversation, [name, changes]: Ber[]): number {
  const dn = name.value.toString();
  operations.push(`modify ${dn}`);
  const entry = entries.get(keyOf(dn));
  if (!entry) return 32;
  for (const change of inside(changes)) {
    const [type, values] = inside(inside(change)[1]);
    entry.attributes.delete(type.value.toString().toLowerCase());
    add(
      entry.attributes,
      type.value.toString(),
      inside(values).map(({ value }) => Buffer.from(value)),
    );
  }
  return success;
}

function remove({ entries, operations }: Conversation, dn: string): number {
  operations.push(`delete ${dn}`);
  return entries.delete(keyOf(dn)) ? success : 32;
}

function extended({ entries, operations, options }: Conversation, [name, value]: Ber[]): number {
  const oid = name.value.toString();
  if (oid === startTls) return options.tls && !options.direct ? success : 2;
  if (oid !== passwordModify || options.old) return 2;
  const [user, , password] = [0x80, 0x81, 0x82].map(tag =>
    inside(inside({ tag: 0, value: value.value })[0]).find(one => one.tag === tag),
  );
  const dn = user?.value.toString() ?? '';
  operations.push(`password ${dn}`);
  const entry = entries.get(keyOf(dn));
  if (!entry || !password) return 32;
  entry.attributes.delete('userpassword');
  add(entry.attributes, 'userPassword', [Buffer.from(password.value)]);
  return success;
}
