// Messages against a simple model: however badly clients behave, each message is where it has to be, once, and in order.
import assert from 'node:assert/strict';
import type { Acknowledgements } from '../../src/xmpp/acknowledgements.ts';
import type { Element } from '../../src/xmpp/element.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Stream } from '../../src/xmpp/stream.ts';
import { Random } from '../fuzz/random.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

const sm = ns.streamManagement;
const users = ['juliet@plain.test', 'romeo@plain.test', 'nurse@kept.test'];
const resources = ['phone', 'desk', 'watch'];
/** The most messages that are stored for a user, and how long a session can be resumed (ms). */
const mostStored = 4;
const resumptionTime = 86_399_000;

/** The time of resumption goes by when the model says so. */
class Clock {
  readonly #set = globalThis.setTimeout;
  readonly #clear = globalThis.clearTimeout;
  readonly #held = new Map<NodeJS.Timeout, () => void>();

  start(): void {
    const set = this.#set;
    const held = this.#held;
    globalThis.setTimeout = Object.assign((then: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) => {
      const timer = set(then, ms, ...args);
      if (ms === resumptionTime) held.set(timer, then);
      return timer;
    }, set) as typeof setTimeout;
    globalThis.clearTimeout = timer => {
      held.delete(timer as NodeJS.Timeout);
      this.#clear(timer);
    };
  }

  stop(): void {
    globalThis.setTimeout = this.#set;
    globalThis.clearTimeout = this.#clear;
  }

  get last(): NodeJS.Timeout {
    return [...this.#held.keys()].at(-1)!;
  }

  passes(timer: NodeJS.Timeout): void {
    const then = this.#held.get(timer);
    assert.ok(then, 'the session waits to be resumed');
    clearTimeout(timer);
    then();
  }
}

/** Kinds of messages: their type, what they carry, and what becomes of them. */
const kinds = {
  chat: { type: 'chat', xml: '<body>said</body>', copied: true, stored: true, archived: true },
  normal: { type: 'normal', xml: '<body>said</body>', copied: true, stored: true, archived: true },
  bare: { type: 'normal', xml: `<x xmlns='test'/>`, copied: false, stored: true, archived: false },
  headline: { type: 'headline', xml: '<body>news</body>', copied: false, stored: false, archived: false },
  groupchat: { type: 'groupchat', xml: '<body>said</body>', copied: false, stored: false, archived: false },
  state: { type: 'chat', xml: `<composing xmlns='${ns.chatStates}'/>`, copied: true, stored: false, archived: false },
  unstored: {
    type: 'chat',
    xml: `<body>said</body><no-store xmlns='${ns.hints}'/>`,
    copied: true,
    stored: false,
    archived: false,
  },
  uncopied: {
    type: 'chat',
    xml: `<body>said</body><no-copy xmlns='${ns.hints}'/>`,
    copied: false,
    stored: true,
    archived: true,
  },
  private: {
    type: 'chat',
    xml: `<body>said</body><private xmlns='${ns.carbons}'/>`,
    copied: false,
    stored: true,
    archived: true,
  },
} as const;
type Kind = keyof typeof kinds;

interface Message {
  readonly id: string;
  readonly kind: Kind;
  readonly sender: Device;
  readonly to: string;
  readonly resource: string;
  /** Whether the sender's other devices may see errors that answer it. */
  noted: boolean;
}

/** A message in the offline store, and to whom it is under way. */
interface Row {
  readonly user: string;
  readonly message: Message;
  holder: Device | null;
}

/** What a device is to get: a message, one that comes late, or the copy of one. */
interface Entry {
  readonly what: 'direct' | 'late' | 'sent' | 'received';
  readonly message: Message;
  readonly row?: Row;
  /** Which devices have the message, or have it coming. */
  readonly holders?: Set<Device>;
}

/** A bound session: its client, and what the model knows of it. */
class Device {
  readonly user: string;
  readonly resource: string;
  client!: Client;
  priority: number | null = null;
  carbons = false;
  active = true;
  /** Whether it reads, does not, or has lost its connection. */
  state: 'reading' | 'deaf' | 'lost' = 'reading';
  /** The id of its resumption; '' without, null without stream management. */
  resumption: string | null = null;
  timer: NodeJS.Timeout | null = null;
  /** The stanzas that it has been sent, and how many of them before they were counted. */
  readonly log: { xml: string; key: string }[] = [];
  #uncounted = 0;
  /** How many it has got on the stream that it is on, and those before. */
  #at = 0;
  acknowledged = 0;
  /** Stanzas it has sent. */
  sent = 0;
  readonly expected: Entry[] = [];
  readonly errors: string[] = [];
  readonly #heard = new Map<string, () => void>();
  #counts: ((h: number) => void)[] = [];

  constructor(user: string, resource: string) {
    this.user = user;
    this.resource = resource;
  }

  get jid(): string {
    return `${this.user}/${this.resource}`;
  }

  get receptive(): boolean {
    return this.priority !== null && this.priority >= 0;
  }

  /** Listens to a stream from here on, with so many stanzas behind it. */
  listen(client: Client, at: number): void {
    this.client = client;
    this.#at = this.#uncounted + at;
    const { stream } = client;
    for (const element of client.inbox.splice(0)) this.#take(element);
    stream.handler = { ...stream.handler, stanza: ({ element }) => this.#take(element) };
  }

  #take(element: Element): void {
    const { name, attrs } = element;
    const xml = String(element);
    if (name === 'enabled') {
      this.#uncounted = this.#at;
      this.resumption = attrs.id ?? '';
    }
    if (name === 'a') this.#counts.shift()?.(Number(attrs.h));
    if (!['message', 'presence', 'iq'].includes(name)) return;
    const known = this.log[this.#at++];
    if (known) assert.equal(xml, known.xml, `${this.jid} is sent again what it has not acknowledged`);
    else this.log.push({ xml, key: name === 'message' ? keyOf(element) : '' });
    this.#heard.get(attrs.id ?? '')?.();
  }

  /** Reads nothing more. */
  deafens(): void {
    this.client.stream.socket.pause();
    this.state = 'deaf';
  }

  /** Takes no notice of what still comes. */
  leaves(): void {
    const { stream } = this.client;
    stream.handler = { ...stream.handler, stanza: () => {} };
    stream.socket.resume();
  }

  /** What it has got, as the server counts. */
  get got(): number {
    return this.log.length - this.#uncounted;
  }

  write(xml: string, stanzas = 1): void {
    this.sent += stanzas;
    void this.client.sends(xml);
  }

  /** Resolves when all that was written to it before has come. */
  async asks(inner = `<ping xmlns='${ns.ping}'/>`, type = 'get', to = ''): Promise<void> {
    const id = `ask-${this.sent}`;
    const heard = new Promise<void>(resolve => this.#heard.set(id, resolve));
    this.write(`<iq type='${type}' id='${id}'${to}>${inner}</iq>`);
    await heard;
    this.#heard.delete(id);
  }

  async count(): Promise<number> {
    const count = new Promise<number>(resolve => this.#counts.push(resolve));
    void this.client.sends(`<r xmlns='${sm}'/>`);
    return count;
  }

  /** What it has not acknowledged of what it was to get. */
  get left(): readonly Entry[] {
    if (this.resumption === null) return [];
    return this.expected.slice(this.log.slice(0, this.#uncounted + this.acknowledged).filter(isKept).length);
  }

  check(): void {
    assert.deepEqual(
      this.log.filter(isKept).map(({ key }) => key),
      this.expected.map(({ what, message }) => `${what} ${message.id}`),
      `${this.jid} has what it is to have`,
    );
    const errors = this.log.filter(isError).map(({ key }) => key);
    assert.deepEqual(errors.sort(), this.errors.toSorted(), `${this.jid} has the errors it is to have`);
  }
}

function isError({ key }: { key: string }): boolean {
  return /^(received )?error /.test(key);
}

function isKept({ key }: { key: string }): boolean {
  return key !== '' && !isError({ key });
}

function keyOf(message: Element): string {
  for (const direction of ['sent', 'received']) {
    const copied = message.child(direction, ns.carbons)?.child('forwarded', ns.forward)?.child('message', ns.client);
    if (copied) return `${direction}${copied.attrs.type === 'error' ? ' error' : ''} ${copied.attrs.id}`;
  }
  if (message.attrs.type === 'error') return `error ${message.attrs.id}`;
  const delays = message.all('delay', ns.delay).length;
  assert.ok(delays < 2, `${message} is delayed once`);
  return `${delays > 0 ? 'late' : 'direct'} ${message.attrs.id}`;
}

class Model {
  readonly #random: Random;
  readonly #clock: Clock;
  #hub: TestHub;
  #devices: Device[] = [];
  #rows: Row[] = [];
  readonly #archives = new Map<string, string[]>(users.map(user => [user, []]));
  /** What happens behind the turn that is under way. */
  #later: (() => void)[] = [];
  #serial = 0;

  constructor(random: Random, clock: Clock, hub: TestHub) {
    this.#random = random;
    this.#clock = clock;
    this.#hub = hub;
  }

  async step(): Promise<void> {
    const random = this.#random;
    const reading = this.#devices.filter(({ state }) => state === 'reading');
    const device = random.pick(reading);
    const kind = random.below(100);
    if (!device || kind < 10) await this.#bind();
    else if (kind < 50) await this.#sends(device);
    else if (kind < 60) this.#acknowledge(device);
    else if (kind < 65) await this.#turn(device);
    else if (kind < 70) device.deafens();
    else if (kind < 77) await this.#lose(random.pick(this.#devices.filter(({ state }) => state !== 'lost'))!);
    else if (kind < 80) await this.#cut(device);
    else if (kind < 88) await this.#resume();
    else if (kind < 92) this.#expire();
    else if (kind < 94) await this.#closes(device);
    else if (kind < 96) await this.#exaggerates(device);
    else if (kind < 98) {
      for (const deaf of this.#devices.filter(({ state }) => state === 'deaf')) {
        deaf.client.stream.socket.resume();
        deaf.state = 'reading';
      }
    } else await this.#restart();
    await this.#settle();
  }

  /** What is left to do is done, and everybody who reads has got what is on its way. */
  async #settle(): Promise<void> {
    for (const then of this.#later.splice(0)) then();
    const reading = this.#devices.filter(({ state }) => state === 'reading');
    for (let round = 0; round < 2; round++) await Promise.all(reading.map(device => device.asks()));
    for (const device of reading) {
      device.check();
      // Who goes on talking without stream management has what was written to it.
      if (device.resumption === null) this.#rows = this.#rows.filter(({ holder }) => holder !== device);
      else if (this.#random.below(20) === 0) assert.equal(await device.count(), device.sent, 'the server counts right');
    }
  }

  async close(): Promise<void> {
    for (const device of this.#devices) if (device.state !== 'lost') await this.#lose(device);
    for (const device of [...this.#devices]) this.#expires(device);
    for (const then of this.#later.splice(0)) then();
    for (const user of users) {
      const device = await this.#bindAs(user, 'last', null);
      this.#present(device, 0);
      await this.#settle();
      const archive = this.#archives.get(user)!;
      if (user.endsWith('kept.test')) {
        const from = device.log.length;
        await device.asks(
          `<query xmlns='${ns.archive}'><set xmlns='${ns.resultSet}'><max>50</max><before/></set></query>`,
          'set',
        );
        const found = device.log.slice(from).map(({ xml }) => /<message [^>]*\bid='(m\d+)'/.exec(xml)?.[1]);
        assert.deepEqual(
          found.filter(id => id !== undefined),
          archive.slice(-50),
        );
      }
    }
  }

  // What the clients do.

  async #bind(): Promise<void> {
    const random = this.#random;
    const device = await this.#bindAs(
      random.pick(users),
      random.pick(resources),
      random.pick([null, `resume='true'`, `resume='true'`, '']),
    );
    if (random.below(3) > 0) await this.#enable(device, true);
    if (random.below(5) > 0) this.#present(device, random.pick([-1, 0, 0, 5]));
  }

  async #bindAs(user: string, resource: string, management: string | null): Promise<Device> {
    const old = this.#devices.find(device => device.user === user && device.resource === resource);
    const client = await this.#hub.client(user, { security: 'plain', mechanism: 'PLAIN', quiet: true, resource });
    old?.leaves();
    if (old) this.#gone(old);
    const device = new Device(user, resource);
    device.listen(client, 0);
    if (management !== null) {
      await device.asks();
      device.write(`<enable xmlns='${sm}' ${management}/>`, 0);
      device.sent = 0;
      while (device.resumption === null) await turn();
    }
    this.#devices.push(device);
    return device;
  }

  async #enable(device: Device, on: boolean): Promise<void> {
    await device.asks(`<${on ? 'enable' : 'disable'} xmlns='${ns.carbons}'/>`, 'set');
    device.carbons = on;
  }

  async #turn(device: Device): Promise<void> {
    if (this.#random.below(2)) return this.#enable(device, !device.carbons);
    this.#activate(device);
  }

  #activate(device: Device): void {
    device.active = !device.active;
    device.write(`<${device.active ? 'active' : 'inactive'} xmlns='${ns.clientState}'/>`, 0);
  }

  #present(device: Device, priority: number | null): void {
    device.write(presenceOf(priority));
    this.#becomes(device, priority);
  }

  #becomes(device: Device, priority: number | null): void {
    const was = device.receptive;
    device.priority = priority;
    if (!was && device.receptive) this.#deliverRows(device);
  }

  /** Several messages in one write, and presence between them. */
  #compose(device: Device): { xml: string; happens: () => void }[] {
    const random = this.#random;
    return Array.from({ length: 1 + random.below(4) }, () => {
      if (random.below(6) === 0) {
        const priority = random.pick([null, -1, 0, 0, 5]);
        return { xml: presenceOf(priority), happens: () => this.#becomes(device, priority) };
      }
      const message: Message = {
        id: `m${++this.#serial}`,
        kind: random.pick(Object.keys(kinds) as Kind[]),
        sender: device,
        to: random.pick(users),
        resource: random.below(2) ? random.pick(resources) : '',
        noted: false,
      };
      const { type, xml } = kinds[message.kind];
      const to = message.resource ? `${message.to}/${message.resource}` : message.to;
      return {
        xml: `<message type='${type}' to='${to}' id='${message.id}'>${xml}</message>`,
        happens: () => this.#sent(message),
      };
    });
  }

  async #sends(device: Device): Promise<void> {
    const batch = this.#compose(device);
    device.write(batch.map(({ xml }) => xml).join(''), batch.length);
    for (const { happens } of batch) happens();
    await device.asks();
  }

  #acknowledge(device: Device): void {
    if (device.resumption === null) return;
    const h = device.got - this.#random.below(Math.min(4, device.got - device.acknowledged + 1));
    device.write(`<a xmlns='${sm}' h='${h}'/>`, 0);
    this.#acknowledged(device, h);
  }

  #acknowledged(device: Device, h: number): void {
    const before = device.left;
    device.acknowledged = h;
    const taken = before.slice(0, before.length - device.left.length).flatMap(({ row }) => row ?? []);
    this.#rows = this.#rows.filter(row => !taken.includes(row));
  }

  /** It counts more than there can have been. */
  async #exaggerates(device: Device): Promise<void> {
    if (device.resumption === null) return;
    device.write(`<a xmlns='${sm}' h='${device.got + 1_000}'/>`, 0);
    assert.equal((await device.client.ends()).error?.condition, 'undefined-condition');
    this.#gone(device);
  }

  async #closes(device: Device): Promise<void> {
    await device.client.close();
    await this.#isGone(device);
    this.#gone(device);
  }

  /** The connection of a device is lost; what was written to a deaf one has not come. */
  async #lose(device: Device): Promise<void> {
    device.client.drop();
    await this.#lost(device);
  }

  async #lost(device: Device): Promise<void> {
    if (!device.resumption) {
      await this.#isGone(device);
      return this.#gone(device);
    }
    while (this.#sessionOf(device)?.stream !== null) await turn();
    device.state = 'lost';
    device.timer = this.#clock.last;
  }

  /** The connection is lost while the device sends: only so much has come. */
  async #cut(device: Device): Promise<void> {
    if (!device.resumption) return;
    const batch = this.#compose(device);
    const before = device.sent;
    const { management } = this.#sessionOf(device)!;
    device.write(batch.map(({ xml }) => xml).join(''), batch.length);
    device.client.drop();
    while (this.#sessionOf(device)?.stream !== null) await turn();
    device.sent = management!.received;
    for (const { happens } of batch.slice(0, device.sent - before)) happens();
    await this.#lost(device);
  }

  async #resume(): Promise<void> {
    const random = this.#random;
    const resumable = this.#devices.filter(({ resumption }) => resumption);
    const device = random.pick(resumable.filter(({ state }) => state === 'lost')) ?? random.pick(resumable);
    if (!device) return;
    const connect = () =>
      this.#hub.client(device.user, { security: 'plain', mechanism: 'PLAIN', quiet: true, bind: false });
    const wrong = random.below(5) === 0;
    if (wrong) {
      const client = await connect();
      const h = random.below(2) ? device.got + 1_000 : device.acknowledged - 1;
      await client.sends(`<resume xmlns='${sm}' previd='${device.resumption}' h='${h}'/>`);
      assert.equal((await client.receives(e => e.is('failed', sm))).attrs.h, String(device.sent));
      await client.close();
    }
    const h = device.got - random.below(Math.min(3, device.got - device.acknowledged + 1));
    const clients = await Promise.all(random.below(4) ? [connect()] : [connect(), connect()]);
    const request = `<resume xmlns='${sm}' previd='${device.resumption}' h='${h}'/>`;
    await Promise.all(clients.map(client => client.sends(request)));
    const answers = await Promise.all(clients.map(client => client.receives(e => e.is('resumed', sm))));
    for (const answer of answers) assert.equal(answer.attrs.h, String(device.sent), 'the server counts right');
    // Of several the last one has the session; the others are told so.
    let client = clients[0];
    if (clients.length > 1) {
      while (clients.every(({ ending }) => ending === null)) await turn();
      client = clients.find(({ ending }) => ending === null)!;
    }
    this.#acknowledged(device, h);
    device.leaves();
    Object.assign(device, { state: 'reading', timer: null, active: true });
    device.listen(client, h);
  }

  #expire(): void {
    const lost = this.#devices.filter(({ state }) => state === 'lost');
    if (lost.length > 0) this.#expires(this.#random.pick(lost));
  }

  #expires(device: Device): void {
    if (!device.timer) return;
    this.#clock.passes(device.timer);
    this.#gone(device);
  }

  async #restart(): Promise<void> {
    for (const device of this.#devices) if (device.state === 'deaf') device.leaves();
    this.#hub = await this.#hub.restart();
    const devices = this.#devices.splice(0);
    for (const device of devices) this.#readdress(device);
    for (const row of this.#rows) row.holder = null;
  }

  get hub(): TestHub {
    return this.#hub;
  }

  #sessionOf({ jid }: Device): { stream: Stream | null; management: Acknowledgements | null } | undefined {
    return this.#hub.hub.sessions.get(Jid.parse(jid)) as never;
  }

  async #isGone(device: Device): Promise<void> {
    while (this.#sessionOf(device)) await turn();
  }

  // What the hub is to do.

  #of(user: string): Device[] {
    return this.#devices.filter(device => device.user === user);
  }

  #sent(message: Message): void {
    const { sender, to, resource, kind } = message;
    this.#archived(sender.user, message);
    const own = this.#of(sender.user);
    const copied = kinds[kind].copied && own.length > 1 && to !== sender.user;
    if (copied) {
      message.noted = this.#devices.some(({ carbons }) => carbons);
      for (const other of own) {
        if (other.carbons && other !== sender) this.#give(other, { what: 'sent', message });
      }
    }
    this.#route(message, resource, false);
  }

  #archived(user: string, message: Message): void {
    const archive = this.#archives.get(user)!;
    if (kinds[message.kind].archived && !archive.includes(message.id)) archive.push(message.id);
  }

  #route(message: Message, resource: string, late: boolean): void {
    const { type } = kinds[message.kind];
    const own = this.#of(message.to);
    if (resource !== '') {
      const device = own.find(one => one.resource === resource);
      if (device) return this.#deliver(message, [device], late);
      if (type === 'headline') return;
      if (type !== 'chat') return this.#refuse(message);
    }
    if (type === 'groupchat') return this.#refuse(message);
    const able = own.filter(({ receptive }) => receptive);
    const highest = Math.max(...able.map(({ priority }) => priority!));
    const takers = type === 'headline' ? able : able.filter(({ priority }) => priority === highest);
    this.#deliver(message, takers, late);
    if (takers.length === 0) this.#later.push(() => this.#keep(message));
  }

  #deliver(message: Message, takers: readonly Device[], late: boolean): void {
    this.#archived(message.to, message);
    const own = this.#of(message.to);
    const copied = kinds[message.kind].copied
      ? own.filter(one => one.carbons && !takers.includes(one) && one.jid !== message.sender.jid)
      : [];
    const holders = new Set([...takers, ...copied.filter(({ receptive }) => receptive)]);
    for (const taker of takers) this.#give(taker, { what: late ? 'late' : 'direct', message, holders });
    const what = own.some(({ jid }) => jid === message.sender.jid) ? 'sent' : 'received';
    for (const other of copied) this.#give(other, { what, message, holders });
  }

  #give(device: Device, entry: Entry): void {
    if (entry.message.kind === 'state' && !device.active) return;
    device.expected.push(entry);
  }

  /** Nobody takes it: it is stored or archived, or comes back. */
  #keep(message: Message): void {
    const { to: user, kind } = message;
    const { stored, archived, type } = kinds[kind];
    const archive = archived && user.endsWith('kept.test');
    if (stored && this.#rows.filter(row => row.user === user).length < mostStored) {
      this.#rows.push({ user, message, holder: null });
      const next = this.#of(user).find(({ receptive }) => receptive);
      if (next) this.#deliverRows(next);
    } else if (!archive && type !== 'headline') this.#refuse(message);
  }

  #refuse(message: Message): void {
    const { sender } = message;
    const own = this.#of(sender.user);
    const back = own.find(({ resource }) => resource === sender.resource);
    if (!back) return;
    back.errors.push(`error ${message.id}`);
    if (!message.noted || back !== sender) return;
    for (const other of own) if (other.carbons && other !== back) other.errors.push(`received error ${message.id}`);
  }

  #deliverRows(device: Device): void {
    for (const row of this.#rows) {
      if (row.user !== device.user || row.holder) continue;
      row.holder = device;
      this.#give(device, { what: 'late', message: row.message, row });
    }
  }

  #gone(device: Device): void {
    this.#devices = this.#devices.filter(other => other !== device);
    const left = this.#rows.filter(({ holder }) => holder === device);
    for (const row of left) row.holder = null;
    const next = this.#of(device.user).find(({ receptive }) => receptive);
    if (left.length > 0 && next) this.#deliverRows(next);
    this.#readdress(device);
  }

  /** What a device has not acknowledged, and no other has, goes to the account. */
  #readdress(device: Device): void {
    for (const { message, row, holders } of device.left) {
      if (row || !holders?.delete(device)) continue;
      if (holders.size === 0) this.#route(message, '', true);
    }
  }
}

function presenceOf(priority: number | null): string {
  return priority === null ? `<presence type='unavailable'/>` : `<presence><priority>${priority}</priority></presence>`;
}

function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}

describe('messages and a model of them', () => {
  const clock = new Clock();
  let model: Model;
  beforeEach(() => clock.start());
  afterEach(async () => {
    clock.stop();
    await model.hub.close();
  });

  const first = Date.now();
  for (let seed = first; seed < first + 5; seed++) {
    it(`agree (seed ${seed})`, async () => {
      const hub = await startTestHub('{ plain.test: {}, kept.test: { modules: { archive: true } } }', {
        yaml: `clients: { require-tls: false, resumption: { time: ${resumptionTime}ms } }
offline: { messages: ${mostStored} }
cross-domain: { policy: open }
limits: { rate: { c2s: 0 }, connections: { per-address: 1000 } }`,
      });
      for (const user of users) await hub.accounts.add(user, 'a password for tests');
      model = new Model(new Random(seed), clock, hub);
      for (let n = 0; n < 100; n++) await model.step();
      await model.close();
    }).timeout(20_000);
  }
});
